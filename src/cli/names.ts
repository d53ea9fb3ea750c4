import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import leven from "leven"
import { shortId } from "../audit/trailRows.ts"
import { printable } from "../core/printable.ts"
import type * as Operator from "../operator/Operator.ts"
import { defaultPrefix } from "../redis/store.ts"
import type { Database } from "../sql/database.ts"
import * as migrations from "../sql/migrations.ts"
import { circuitId, fromCircuitId } from "../store/codec.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import type { CommandFailure } from "./messages.ts"
import { overviewOn } from "./overview.ts"
import { checkTables, type OnRedis, type OnSql, type OpenedServer, whereTrail, withDatabase } from "./server.ts"
import type { CommandSettings } from "./settings.ts"

// ---- Names ----------------------------------------------------------------------------------------------------------

/** At most this many names are read, to recognize a name and to suggest others. */
const mostNames = 10_000

const namesOf = (ids: ReadonlyArray<string>): ReadonlyArray<string> =>
  ids.flatMap((id) => {
    const found = fromCircuitId(id)
    return found === undefined ? [] : [found.name]
  })

/** A scan of Redis looks at about this many keys per step, and takes at most this many steps. */
const scanned = 1_000
const mostScans = 100

/** All that the steps of a scan find, up to {@link mostNames}. */
const scan = (
  { redis }: OnRedis,
  command: readonly [name: string, ...args: ReadonlyArray<string>],
  found: (items: ReadonlyArray<string>) => ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, unknown> =>
  Effect.gen(function* () {
    const all: Array<string> = []
    const [name, ...before] = command
    let cursor = "0"
    for (let step = 0; step < mostScans && all.length < mostNames; step++) {
      const args = name === "SCAN" ? [cursor, ...before] : [...before, cursor]
      const reply = redis.send<readonly [string, ReadonlyArray<string>]>(name, ...args, "COUNT", String(scanned))
      const [next, items] = yield* reply
      all.push(...found(items))
      cursor = String(next)
      if (cursor === "0") break
    }
    return all
  })

/** The names of all records and ballots under a prefix, also of records that are not listed. */
const redisNames = (server: OnRedis, prefix: string): Effect.Effect<ReadonlyArray<string>, unknown> => {
  const begin = `{${prefix}}:ballots:`
  const pattern = `${begin.replaceAll(/[*?[\]\\]/g, "\\$&")}*`
  const records = scan(server, ["HSCAN", `{${prefix}}:records`], (items) => items.filter((_, index) => index % 2 === 0))
  const ballots = scan(server, ["SCAN", "MATCH", pattern], (keys) => keys.map((key) => key.slice(begin.length)))
  return Effect.map(Effect.all([records, ballots]), (ids) => namesOf(ids.flat()))
}

const sqlNames = ({ database }: OnSql) => {
  const { sql } = database
  return Effect.map(
    database.rows(sql`SELECT circuit FROM ${database.table("s")} UNION SELECT circuit FROM ${database.table("_ballots")}
      LIMIT ${sql.literal(String(mostNames))}`),
    (rows) => namesOf(rows.map((row) => String(row["circuit"])))
  )
}

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
    const { server } = opened
    const prefix = settings.prefix._tag === "Some" ? settings.prefix.value : defaultPrefix
    const inStore = opened.ask(server.kind === "Redis" ? redisNames(server, prefix) : sqlNames(server))
    const inTrail = Effect.flatMap(whereTrail(settings), (where) =>
      where === undefined
        ? Effect.succeed([])
        : withDatabase(settings, (trail) =>
            Effect.matchEffect(checkTables(trail, migrations.ofTrail), {
              // A database without the tables has no trail.
              onFailure: () => Effect.succeed([]),
              onSuccess: () => trail.ask(namesInTrail(trail.server.database, name))
            })
          )
    )
    const inDigests = yield* Effect.result(overviewOn(store, opened))
    const overview = inDigests._tag === "Success" ? inDigests.success : undefined
    const stored = yield* Effect.all([Effect.result(inStore), Effect.result(inTrail)], { concurrency: 2 })
    const used = Result.map(inDigests, ({ names }) => names.map(({ name }) => name))
    const results = [used, ...stored]
    return {
      overview,
      names: new Set(results.flatMap((one) => (one._tag === "Success" ? one.success : []))),
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
