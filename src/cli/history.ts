import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as questions from "../audit/queries.ts"
import { type SnapshotCounts, series } from "../audit/snapshotRows.ts"
import { grouped } from "../core/grouped.ts"
import * as migrations from "../sql/migrations.ts"
import { checkTables } from "./databaseServer.ts"
import { answer, CommandFailure, iso, lasting, Painted } from "./messages.ts"
import { didYouMean, trailNames } from "./names.ts"
import { whereTrail, withDatabase } from "./opening.ts"
import type { CommandSettings } from "./settings.ts"
import { type Column, type Screen, screen, styleOf, table } from "./table.ts"

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

const columns: ReadonlyArray<Column> = [
  { head: "TIME" },
  { head: "CIRCUIT", long: true },
  { head: "KEY", long: true },
  { head: "FROM", styleOf },
  { head: "TO", styleOf },
  { head: "WHY", long: true },
  { head: "DOWN FOR" },
  { head: "BY", long: true },
  { head: "PROCESS", long: true }
]

const toText = (entries: ReadonlyArray<questions.Entry>, on: Screen): string =>
  table(
    columns,
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
    ]),
    on
  )

export interface HistoryInput {
  readonly name: Option.Option<string>
  readonly key: Option.Option<string>
  readonly limit: number
  readonly before: Option.Option<Date>
  readonly wide: boolean
}

export const history = ({ before, key, limit, name, wide }: HistoryInput, settings: CommandSettings) =>
  Effect.gen(function* () {
    if (Option.isNone(name) && Option.isSome(key)) {
      return yield* new CommandFailure({
        code: 1,
        message: "--key needs the name of a circuit: history NAME --key KEY"
      })
    }
    const circuit = Option.getOrUndefined(Option.map(name, (name) => ({ name, key: Option.getOrUndefined(key) })))
    const { entries, hint } = yield* withDatabase(settings, (opened) =>
      Effect.gen(function* () {
        yield* checkTables(opened, migrations.ofTrail)
        const entries = yield* opened.ask(
          questions.history(opened.server.database, {
            circuit,
            limit,
            before: Option.getOrUndefined(before)?.getTime()
          })
        )
        if (entries.length > 0 || circuit === undefined) return { entries, hint: "" }
        const names = yield* opened.ask(trailNames(opened.server.database))
        return { entries, hint: names.includes(circuit.name) ? "" : didYouMean(circuit.name, names) }
      })
    )
    const text =
      entries.length === 0 ? `The trail has no matching transition.${hint}` : toText(entries, yield* screen(wide))
    yield* answer(settings.json, { entries: entries.map(toLine) }, new Painted(text))
  })

// ---- Snapshots ------------------------------------------------------------------------------------------------------

/** The number of rejected calls of a name, and the number of processes whose snapshots show it. */
export interface RejectedCalls {
  readonly calls: number
  readonly processes: number
}

/** The count starts from a snapshot that is at most this much older than the outage. */
const beforeMillis = 3_600_000

/**
 * The calls that one process rejected since a moment. The counters of a process never fall. If they fall in the snapshots, the
 * process was restarted, or several processes use one name: the number is unknown then.
 */
const rejectedBy = (snapshots: ReadonlyArray<SnapshotCounts>, since: number): number | undefined => {
  const base = snapshots.findLast(({ at }) => at <= since) ?? snapshots[0]
  const counted = snapshots.filter(({ at }) => base !== undefined && at >= base.at)
  const falls = counted.some(({ rejected }, index) => index > 0 && rejected < (counted[index - 1]?.rejected ?? 0))
  return base === undefined || falls || counted.length < 2 ? undefined : (counted.at(-1)?.rejected ?? 0) - base.rejected
}

export const rejectedIn = (snapshots: ReadonlyArray<SnapshotCounts>, since: number): RejectedCalls | undefined => {
  const counted = [...grouped(snapshots, ({ process }) => process).values()]
    .map((own) => rejectedBy(own, since))
    .filter((calls) => calls !== undefined)
  return counted.length === 0
    ? undefined
    : { calls: counted.reduce((sum, calls) => sum + calls, 0), processes: counted.length }
}

/** The rejected calls of a name since a moment. `undefined` without a trail, without snapshots, or if the trail cannot be read. */
export const rejectedSince = (
  settings: CommandSettings,
  name: string,
  since: number
): Effect.Effect<RejectedCalls | undefined> =>
  Effect.gen(function* () {
    if ((yield* whereTrail(settings)) === undefined) return undefined
    const within = (yield* Clock.currentTimeMillis) - since + beforeMillis
    const snapshots = yield* withDatabase(settings, ({ ask, server }) =>
      ask(series(server.database, { name, within, limit: 10_000 }))
    )
    return rejectedIn(snapshots, since)
  }).pipe(Effect.orElseSucceed(() => undefined))
