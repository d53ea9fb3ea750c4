import { writeFileSync } from "node:fs"
import * as Console from "effect/Console"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Operator from "../../Operator.ts"
import * as exported from "../exported.ts"
import { printableJson } from "../printable.ts"
import * as migrations from "../sql/migrations.ts"
import * as questions from "../sql/questions.ts"
import { asked, which } from "./circuits.ts"
import { fileLabel, inFile, readText } from "./files.ts"
import { checkTables, withDatabase, withStore } from "./place.ts"
import { confirm } from "./question.ts"
import { countFlag, durationFlag, handle, yesFlag } from "./settings.ts"
import { actorFlag, by } from "./steering.ts"
import { answer, Failure, lasting, plural } from "./words.ts"

/** Says how far it came, where somebody looks, and is gone afterwards. */
const progress = (what: string) => {
  const live = process.stderr.isTTY === true
  let saidAt = 0
  return {
    at: (done: number, total?: number) => {
      // A terminal need not hear more often.
      if (!live || Date.now() - saidAt < 100) return
      saidAt = Date.now()
      process.stderr.write(`\r\u001b[K${what} ${done}${total === undefined ? "" : ` of ${total}`}`)
    },
    over: Effect.sync(() => {
      if (live && saidAt > 0) process.stderr.write("\r\u001b[K")
    })
  }
}

const unreadableNote = (ids: ReadonlyArray<Operator.Identity>, what: string) =>
  ids.length === 0
    ? Effect.void
    : Console.error(
        `${plural(ids.length, "record")} that this version cannot read ${what}: ${ids
          .slice(0, 10)
          .map(({ key, name }) => which(name, key))
          .join(", ")}${ids.length > 10 ? ", ..." : ""}`
      )

export const exporting = Command.make(
  "export",
  {
    out: Flag.String("out").pipe(
      Flag.withAlias("o"),
      Flag.withMetavar("FILE"),
      Flag.withDescription("Write into this file, instead of to the output"),
      Flag.optional
    )
  },
  handle(({ out }, settings) =>
    Effect.gen(function* () {
      const { circuits, json, unreadable } = yield* withStore(settings, (store, opened) =>
        asked(opened, () => Operator.exportAll(store))
      )
      yield* unreadableNote(unreadable, unreadable.length === 1 ? "is not in it" : "are not in it")
      if (Option.isNone(out)) return yield* Console.log(printableJson(json))
      yield* inFile(out.value, () => writeFileSync(out.value, `${json}\n`))
      const said = `${plural(circuits, "circuit")} written to ${fileLabel(out.value)}`
      yield* answer(settings.json, { circuits, file: out.value, unreadable: unreadable.length }, said)
    })
  )
).pipe(
  Command.withDescription("All circuits that are not closed, as JSON, for import"),
  Command.withExamples([
    { command: "effect-fuse export --redis redis://old:6379 | effect-fuse import - --yes --redis redis://new:6379" }
  ])
)

export const importing = Command.make(
  "import",
  {
    file: Argument.String("file").pipe(Argument.withDescription("What export wrote; - for the input")),
    actor: actorFlag,
    yes: yesFlag
  },
  handle(({ actor, file, yes }, settings) =>
    Effect.gen(function* () {
      const json = yield* readText(file)
      // Before anybody is asked anything.
      const sound = exported.read(json, 0, 0)
      if (Result.isFailure(sound)) {
        return yield* new Failure({ code: 1, message: `${fileLabel(file)}: ${sound.failure}` })
      }
      const bar = progress("Imported")
      const { circuits, unreadable } = yield* withStore(settings, (store, opened) =>
        Effect.andThen(
          confirm(`Circuits of ${opened.server.label} will become what ${fileLabel(file)} says.`, yes, settings),
          asked(opened, () =>
            Operator.importAll(store, json, { ...by(actor), onProgress: (done, total) => bar.at(done, total) })
          )
        )
      ).pipe(Effect.ensuring(bar.over))
      yield* unreadableNote(unreadable, unreadable.length === 1 ? "was left as it is" : "were left as they are")
      yield* answer(
        settings.json,
        { circuits, unreadable: unreadable.map(({ key, name }) => ({ name, key })) },
        `${plural(circuits, "circuit")} imported`
      )
      if (unreadable.length > 0) yield* new Failure({ code: 3, message: "Not all of them could be imported." })
    })
  )
).pipe(Command.withDescription("Makes circuits what export wrote, in all processes; others stay as they are"))

export const cleanup = Command.make(
  "cleanup",
  {
    olderThan: durationFlag("older-than", "Delete lines and snapshots that are older, such as 90d"),
    closedFor: durationFlag("closed-for", "Forget circuits that have been closed for longer (as --older-than)").pipe(
      Flag.optional
    ),
    batch: countFlag("batch", "How many rows one statement deletes (1000)").pipe(Flag.withDefault(1_000)),
    yes: yesFlag
  },
  handle(({ batch, closedFor, olderThan, yes }, settings) =>
    Effect.gen(function* () {
      const bar = progress("Deleted")
      const deleted = yield* withDatabase(settings, (opened) =>
        Effect.gen(function* () {
          yield* checkTables(opened, migrations.ofTrail)
          yield* confirm(
            `What is older than ${lasting(olderThan)} will be deleted from the trail in ${opened.server.label}.`,
            yes,
            settings
          )
          const limits = { olderThan, closedFor: Option.getOrElse(closedFor, () => olderThan), batch }
          return yield* Effect.mapError(questions.prune(opened.server.database, limits, bar.at), (error) =>
            opened.failed(error)
          )
        })
      ).pipe(Effect.ensuring(bar.over))
      yield* answer(settings.json, { deleted }, `${plural(deleted, "row")} deleted`)
    })
  )
).pipe(
  Command.withDescription(
    "Deletes what is old from the trail, in batches; what is forced or open is kept, however old"
  ),
  Command.withExamples([{ command: "effect-fuse cleanup --older-than 7d --yes --database postgres://localhost/shop" }])
)

export const migrate = Command.make(
  "migrate",
  { yes: yesFlag },
  handle(({ yes }, settings) =>
    Effect.gen(function* () {
      const label = yield* withDatabase(settings, (opened) => {
        const { client, database, label } = opened.server
        const made = Effect.provideContext(database.apart(migrations.migrate(database)), client)
        return confirm(`Tables will be made in ${label}, where they are missing.`, yes, settings).pipe(
          Effect.andThen(opened.ask(made)),
          Effect.as(label)
        )
      })
      yield* answer(settings.json, { migrated: true }, `The tables are there: ${label}`)
    })
  )
).pipe(
  Command.withDescription("Makes the tables of circuits and of the trail that are missing: for programs that may not")
)
