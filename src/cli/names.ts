import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import leven from "leven"
import { shortId } from "../audit/trailRows.ts"
import { printable } from "../core/printable.ts"
import type * as Operator from "../operator/Operator.ts"
import type { Database } from "../sql/database.ts"
import * as migrations from "../sql/migrations.ts"
import { circuitId, fromCircuitId } from "../store/codec.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { checkTables } from "./databaseServer.ts"
import type { CommandFailure } from "./messages.ts"
import { withTrail } from "./opening.ts"
import { overviewOn } from "./overview.ts"
import type { OpenedServer } from "./server.ts"
import type { CommandSettings } from "./settings.ts"

// ---- Names ----------------------------------------------------------------------------------------------------------

/** At most this many names are read, to recognize a name and to suggest others. */
const mostNames = 10_000

const namesOf = (ids: ReadonlyArray<string>): ReadonlyArray<string> =>
  ids.flatMap((id) => {
    const found = fromCircuitId(id)
    return found === undefined ? [] : [found.name]
  })

export const trailNames = (database: Database) => {
  const { sql } = database
  return Effect.map(
    database.rows(
      sql`SELECT DISTINCT circuit FROM ${database.table("_states")} LIMIT ${sql.literal(String(mostNames))}`
    ),
    (rows) => rows.map((row) => String(row["circuit"]))
  )
}

/** Whether the trail has a transition of the name's own circuit. The table of last states may have lost an old circuit. */
const trailHas = (database: Database, name: string) =>
  Effect.map(
    database.rows(database.sql`SELECT circuit_id FROM ${database.table("_events")}
      WHERE circuit_id = ${shortId(circuitId(name, undefined))} LIMIT 1`),
    (rows) => rows.length > 0
  )

const namesInTrail = (database: Database, name: string) =>
  Effect.map(Effect.all([trailNames(database), trailHas(database, name)]), ([names, has]) =>
    has ? [...names, name] : names
  )

/**
 * The names in the store, in the digests of the processes, and in the trail. If one of them cannot be read, its names are missing, and
 * `failures` says why.
 */
export interface StoredNames {
  /** `undefined` if it cannot be read. */
  readonly overview: Operator.Overview | undefined
  readonly names: ReadonlySet<string>
  readonly failures: ReadonlyArray<CommandFailure>
}

/**
 * The names of all circuits that a live process uses, that have a record or ballots in the store, or that are in the trail.
 */
export const knownNames = (
  store: SharedStore,
  opened: OpenedServer,
  settings: CommandSettings,
  name: string
): Effect.Effect<StoredNames> =>
  Effect.gen(function* () {
    const inStore = Effect.map(opened.ask(opened.server.circuits(mostNames)), namesOf)
    const inTrail = withTrail(settings, opened, (trail) =>
      Effect.matchEffect(checkTables(trail, migrations.ofTrail), {
        // A database without the tables has no trail.
        onFailure: () => Effect.succeed([]),
        onSuccess: () => trail.ask(namesInTrail(trail.server.database, name))
      })
    )
    const inDigests = yield* Effect.result(overviewOn(store, opened))
    const overview = inDigests._tag === "Success" ? inDigests.success : undefined
    const stored = yield* Effect.all([Effect.result(inStore), Effect.result(inTrail)], { concurrency: 2 })
    const used = Result.map(inDigests, ({ names }) => names.map(({ name }) => name))
    const results = [used, ...stored]
    return {
      overview,
      names: new Set(results.flatMap((one) => (one._tag === "Success" ? (one.success ?? []) : []))),
      failures: results.flatMap((one) => (one._tag === "Failure" ? [one.failure] : []))
    }
  })

// ---- Suggestions ----------------------------------------------------------------------------------------------------

const mostSuggestions = 3

/** Names are compared up to this length: a comparison takes time in proportion to the square of it. */
const compared = 200

/** The known names that are most similar to a name: first those that differ in few letters, then those that contain it. */
export const nearest = (name: string, known: Iterable<string>): ReadonlyArray<string> => {
  const wanted = name.toLowerCase().slice(0, compared)
  const most = Math.ceil(wanted.length * 0.4)
  const ranked = [...new Set(known)]
    .map((one) => {
      const other = one.toLowerCase().slice(0, compared)
      const distance = leven(wanted, other, { maxDistance: most + 1 })
      const contains = wanted.length >= 3 && (other.includes(wanted) || wanted.includes(other))
      return { one, rank: distance <= most ? distance : contains ? most + 1 : Infinity }
    })
    .filter(({ rank }) => rank < Infinity)
    .sort((a, b) => a.rank - b.rank || (a.one < b.one ? -1 : 1))
  // If only upper and lower case differ, that name is meant.
  const same = ranked.filter(({ rank }) => rank === 0)
  return (same.length > 0 ? same : ranked).slice(0, mostSuggestions).map(({ one }) => one)
}

/** A suggestion such as ` Did you mean "payments" or "payouts"?`. Empty if no name is similar. */
export const didYouMean = (name: string, known: Iterable<string>): string => {
  const names = nearest(name, known).map((one) => `"${printable(one)}"`)
  const last = names.pop()
  if (last === undefined) return ""
  return ` Did you mean ${names.length === 0 ? last : `${names.join(", ")} or ${last}`}?`
}
