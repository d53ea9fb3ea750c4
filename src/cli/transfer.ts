import { writeFileSync } from "node:fs"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as questions from "../audit/queries.ts"
import { plural } from "../core/plural.ts"
import { printableCircuit, printableJson } from "../core/printable.ts"
import * as Operator from "../operator/Operator.ts"
import * as migrations from "../sql/migrations.ts"
import * as exported from "../store/exported.ts"
import { by } from "./actor.ts"
import { asked } from "./circuits.ts"
import { checkTables } from "./databaseServer.ts"
import { fileLabel, inFile, readText } from "./files.ts"
import { answer, CommandFailure, lasting } from "./messages.ts"
import { withDatabase, withStore } from "./opening.ts"
import { confirm } from "./question.ts"
import { record } from "./recording.ts"
import type { CommandSettings } from "./settings.ts"

/** A line of progress on a terminal, which is erased at the end. */
const progress = (what: string) => {
  const live = process.stderr.isTTY === true
  let shownAt = 0
  return {
    at: (done: number, total?: number) => {
      // At most ten times per second.
      if (!live || Date.now() - shownAt < 100) return
      shownAt = Date.now()
      process.stderr.write(`\r\u001b[K${what} ${done}${total === undefined ? "" : ` of ${total}`}`)
    },
    over: Effect.sync(() => {
      if (live && shownAt > 0) process.stderr.write("\r\u001b[K")
    })
  }
}

const unreadableNote = (ids: ReadonlyArray<Operator.Identity>, what: string) =>
  ids.length === 0
    ? Effect.void
    : Console.error(
        `${plural(ids.length, "record")} that this version cannot read ${what}: ${ids
          .slice(0, 10)
          .map(({ key, name }) => printableCircuit(name, key))
          .join(", ")}${ids.length > 10 ? ", ..." : ""}`
      )

export const exporting = ({ out }: { readonly out: Option.Option<string> }, settings: CommandSettings) =>
  Effect.gen(function* () {
    const { circuits, json, unreadable } = yield* withStore(settings, (store, opened) =>
      asked(opened, () => Operator.exportAll(store))
    )
    yield* unreadableNote(unreadable, unreadable.length === 1 ? "was not exported" : "were not exported")
    if (Option.isNone(out)) return yield* Console.log(printableJson(json))
    yield* inFile(out.value, () => writeFileSync(out.value, `${json}\n`))
    const said = `${plural(circuits, "circuit")} written to ${fileLabel(out.value)}`
    yield* answer(settings.json, { circuits, file: out.value, unreadable: unreadable.length }, said)
  })

export interface Importing {
  readonly file: string
  readonly actor: Option.Option<string>
  readonly yes: boolean
}

export const importing = ({ actor, file, yes }: Importing, settings: CommandSettings) =>
  Effect.gen(function* () {
    const json = yield* readText(file)
    // An invalid file is reported before the confirmation.
    const sound = exported.read(json, 0, 0)
    if (Result.isFailure(sound)) {
      return yield* new CommandFailure({ code: 1, message: `${fileLabel(file)}: ${sound.failure}` })
    }
    const bar = progress("Imported")
    const { circuits, unreadable } = yield* withStore(settings, (store, opened) =>
      Effect.andThen(
        confirm(
          `The circuits of ${fileLabel(file)} will replace those with the same names in ${opened.server.label}.`,
          yes,
          settings
        ),
        Effect.tap(
          asked(opened, () =>
            Operator.importAll(store, json, { ...by(actor), onProgress: (done, total) => bar.at(done, total) })
          ),
          ({ transitions }) => record(settings, opened, transitions)
        )
      )
    ).pipe(Effect.ensuring(bar.over))
    yield* unreadableNote(unreadable, unreadable.length === 1 ? "was not changed" : "were not changed")
    yield* answer(
      settings.json,
      { circuits, unreadable: unreadable.map(({ key, name }) => ({ name, key })) },
      `${plural(circuits, "circuit")} imported`
    )
    if (unreadable.length > 0) yield* new CommandFailure({ code: 3, message: "Some circuits could not be imported." })
  })

/** The arguments of `cleanup`; durations are milliseconds. */
export interface Cleanup {
  readonly olderThan: number
  readonly closedFor: Option.Option<number>
  readonly batch: number
  readonly yes: boolean
}

export const cleanup = ({ batch, closedFor, olderThan, yes }: Cleanup, settings: CommandSettings) =>
  Effect.gen(function* () {
    const bar = progress("Deleted")
    const deleted = yield* withDatabase(settings, (opened) =>
      Effect.gen(function* () {
        yield* checkTables(opened, migrations.ofTrail)
        yield* confirm(
          `Everything older than ${lasting(olderThan)} will be deleted from the trail in ${opened.server.label}.`,
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

export const migrate = ({ yes }: { readonly yes: boolean }, settings: CommandSettings) =>
  Effect.gen(function* () {
    const label = yield* withDatabase(settings, (opened) => {
      const { client, database, label } = opened.server
      const made = Effect.provideContext(database.apart(migrations.migrate(database)), client)
      return confirm(`Missing tables will be created in ${label}.`, yes, settings).pipe(
        Effect.andThen(opened.ask(made)),
        Effect.as(label)
      )
    })
    yield* answer(settings.json, { migrated: true }, `All tables exist in ${label}`)
  })
