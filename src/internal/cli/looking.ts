import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Operator from "../../Operator.ts"
import type { SharedStore } from "../../SharedStore.ts"
import { printable } from "../printable.ts"
import * as migrations from "../sql/migrations.ts"
import * as questions from "../sql/questions.ts"
import { asked, toData, toTable, which } from "./circuits.ts"
import { checkTables, type Opened, withDatabase, withStore } from "./place.ts"
import { countFlag, durationFlag, handle, keyFlag, nameArgument, type Settings } from "./settings.ts"
import { answer, Failure, iso, lasting, plural, report, table, toJson } from "./words.ts"

type Listed = Effect.Success<ReturnType<typeof Operator.list>>

const listed = (store: SharedStore, opened: Opened) => asked(opened, () => Operator.list(store))

/** A fleet with another prefix looks like this, too. */
const isNothing = ({ circuits, processes }: Listed): boolean => circuits.length === 0 && processes === 0

const summary = (all: Listed): string => {
  const { circuits, processes } = all
  if (isNothing(all))
    return "Nobody is there: no process lives, and no circuit is kept. Has the store another --prefix?"
  return `${circuits.length === 0 ? "All circuits are closed" : `${plural(circuits.length, "circuit")} not closed`}; ${plural(processes, "process", "processes")} alive`
}

const toText = (all: Listed, at: number): string =>
  [...(all.circuits.length === 0 ? [] : [toTable(all.circuits, at), ""]), summary(all)].join("\n")

const toListData = ({ circuits, processes }: Listed) => ({ processes, circuits: circuits.map(toData) })

export const list = Command.make(
  "list",
  {
    exitCode: Flag.Boolean("exit-code").pipe(
      Flag.withDescription("End with 3 if a circuit is not closed, or nobody is there"),
      Flag.withDefault(false)
    )
  },
  handle(({ exitCode }, settings) =>
    Effect.gen(function* () {
      const all = yield* withStore(settings, listed)
      yield* answer(settings.json, toListData(all), toText(all, yield* Clock.currentTimeMillis))
      if (exitCode && (all.circuits.length > 0 || isNothing(all))) {
        yield* new Failure({ code: 3, message: summary(all) })
      }
    })
  )
).pipe(
  Command.withDescription("All circuits that are not simply closed: a healthy circuit is not in the store"),
  Command.withExamples([
    { command: "effect-fuse list --redis redis://localhost:6379", description: "What is open, forced or recovering" },
    { command: "effect-fuse list --exit-code --json", description: "For a script, with REDIS_URL or DATABASE_URL set" }
  ])
)

// ---- One ------------------------------------------------------------------------------------------------------------

const details = (one: Operator.Known | Operator.Unreadable, at: number): string =>
  Object.entries(toData(one))
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([field, value]) => {
      const text = printable(String(value))
      const millis = field === "since" || field === "until" ? Date.parse(text) - at : undefined
      const away = millis === undefined ? "" : millis <= 0 ? ` (${lasting(-millis)} ago)` : ` (in ${lasting(millis)})`
      return `${field.padEnd(10)}${text}${away}`
    })
    .join("\n")

export const show = Command.make(
  "show",
  { name: nameArgument, key: keyFlag },
  handle(({ key, name }, settings) =>
    Effect.gen(function* () {
      const only = Option.getOrUndefined(key)
      const found = yield* withStore(settings, (store, opened) =>
        only === undefined
          ? Effect.map(
              Effect.all([asked(opened, () => Operator.inspect(store, name)), listed(store, opened)]),
              ([own, { circuits }]) => [
                ...(own === undefined ? [] : [own]),
                ...circuits.filter((one) => one.name === name && one.key !== undefined)
              ]
            )
          : Effect.map(
              asked(opened, () => Operator.inspect(store, name, { key: only })),
              (one) => (one === undefined ? [] : [one])
            )
      )
      const at = yield* Clock.currentTimeMillis
      const text =
        found.length === 0
          ? `The store has nothing of ${which(name, only)}: it is closed, or nobody calls it.`
          : found.map((one) => details(one, at)).join("\n\n")
      yield* answer(settings.json, { circuits: found.map(toData) }, text)
    })
  )
).pipe(Command.withDescription("What the store has of a circuit, and of all its keys"))

// ---- Live -----------------------------------------------------------------------------------------------------------

const clear = "\u001b[2J\u001b[H"

/** What makes a list another one: times are told anew each time, and may be a millisecond off. */
const gist = ({ circuits, processes }: Listed): string =>
  JSON.stringify([processes, circuits.map((one) => [one.name, one.key, one.era, "state" in one ? one.state : ""])])

/** Shows the circuits again and again: when the store announces something, and every so often. */
const watching = (settings: Settings, everyMillis: number, live: boolean, seenBefore: { gist: string }) => {
  const look = (store: SharedStore, opened: Opened) =>
    Effect.gen(function* () {
      const all = yield* listed(store, opened)
      const at = yield* Clock.currentTimeMillis
      if (live) {
        process.stdout.write(`${clear}${opened.server.label}  ${iso(at)}\n\n${toText(all, at)}\n`)
        return
      }
      // What is not looked at by somebody is written when it is another.
      const seen = gist(all)
      if (seen === seenBefore.gist) return
      seenBefore.gist = seen
      yield* Console.log(
        settings.json ? toJson({ at: iso(at), ...toListData(all) }) : `${iso(at)}\n${toText(all, at)}\n`
      )
    })
  return withStore(settings, (store, opened) =>
    Effect.scoped(
      Effect.gen(function* () {
        const heard = yield* Queue.sliding<void>(1)
        const hearing = Stream.runForEach(store.changes, () => Queue.offer(heard, undefined))
        // Where nothing can be heard one looks every so often all the same.
        yield* Effect.forkScoped(Effect.ignoreCause(hearing))
        yield* Effect.forever(Effect.andThen(look(store, opened), Effect.timeoutOption(Queue.take(heard), everyMillis)))
      })
    )
  )
}

export const watch = Command.make(
  "watch",
  {
    every: durationFlag("every", "How often to look, where the store announces nothing (2s)").pipe(
      Flag.withDefault(2_000)
    )
  },
  handle(({ every }, settings) => {
    const live = process.stdout.isTTY === true && !settings.json
    const again = (failure: Failure) =>
      failure.code === 2
        ? Effect.andThen(report(failure, settings.json), Effect.sleep("1 second"))
        : Effect.fail(failure)
    // What was there before a store was away is not new when it is back.
    const seenBefore = { gist: "" }
    return Effect.forever(Effect.catchTag(watching(settings, every, live, seenBefore), "Failure", again))
  })
).pipe(
  Command.withDescription(
    "The circuits that are not closed, as they change, until it is interrupted. Where nobody looks it writes what is new: with --json a line for each change"
  )
)

// ---- The trail ------------------------------------------------------------------------------------------------------

const toLine = (entry: questions.Entry) => ({
  at: iso(entry.at),
  circuit: entry.circuit,
  key: entry.key,
  from: entry.from,
  to: entry.to,
  why: entry.why,
  detail: entry.detail,
  actor: entry.actor,
  scope: entry.scope,
  process: entry.process,
  mode: entry.mode,
  openings: entry.openings,
  retry_after_ms: entry.retryAfterMillis,
  lasted_ms: entry.lastedMillis,
  down_ms: entry.downMillis,
  counts: entry.counts,
  metadata: entry.metadata,
  id: entry.id
})

const historyTable = (entries: ReadonlyArray<questions.Entry>): string =>
  table(
    ["TIME", "CIRCUIT", "KEY", "FROM", "TO", "WHY", "DOWN FOR", "BY", "PROCESS"],
    entries.map((entry) => [
      iso(entry.at) ?? "",
      entry.circuit,
      entry.key ?? "",
      entry.from,
      entry.to,
      entry.detail === undefined || entry.detail === "" ? entry.why : `${entry.why}: ${entry.detail}`,
      entry.downMillis === undefined ? "" : lasting(entry.downMillis),
      entry.actor ?? "",
      entry.process
    ])
  )

export const history = Command.make(
  "history",
  {
    name: Argument.optional(nameArgument),
    key: keyFlag,
    limit: countFlag("limit", "How many lines at most (20)").pipe(Flag.withDefault(20)),
    before: Flag.Date("before").pipe(
      Flag.withDescription("Only what was before this time, such as 2026-11-21T10:00:00Z"),
      Flag.optional
    )
  },
  handle(({ before, key, limit, name }, settings) =>
    Effect.gen(function* () {
      const circuit = Option.map(name, (name) => ({ name, key: Option.getOrUndefined(key) }))
      if (Option.isNone(circuit) && Option.isSome(key)) {
        return yield* new Failure({ code: 1, message: "--key: say the name of the circuit, too" })
      }
      const entries = yield* withDatabase(settings, (opened) =>
        Effect.andThen(
          checkTables(opened, migrations.ofTrail),
          opened.ask(
            questions.history(opened.server.database, {
              circuit: Option.getOrUndefined(circuit),
              limit,
              before: Option.getOrUndefined(before)?.getTime()
            })
          )
        )
      )
      const text = entries.length === 0 ? "The trail has no such line." : historyTable(entries)
      yield* answer(settings.json, { entries: entries.map(toLine) }, text)
    })
  )
).pipe(
  Command.withDescription(
    "What the trail has of a circuit, or of all, the latest first: the database of effect-fuse/audit"
  ),
  Command.withExamples([{ command: "effect-fuse history payments --limit 50 --database postgres://localhost/shop" }])
)
