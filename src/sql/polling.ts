import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { SqlError } from "effect/sql/SqlError"
import { type Change, limits } from "../store/SharedStore.ts"
import { type Database, type SqlRow, toNumber, toWhole } from "./database.ts"
import { rollCallOf } from "./lookUp.ts"

/** The most records in one poll. The next poll reads the rest. */
const maxRecords = 200

/** How far the changes of a database have been read. */
interface Position {
  readonly life: string
  readonly epoch: number
  readonly head: number
}

/**
 * One statement that reads the records and roll calls after a position, or only the present position of the store. Records that were
 * never listed are left out: no index finds them, and no process waits for them.
 */
const look = (database: Database, after: Position | undefined) => {
  const { now, sql } = database
  const store = sql`SELECT 'store' AS kind, '' AS name, '' AS box, life AS body, epoch AS a, head AS b, 0 AS c, 0 AS d
    FROM ${database.table("_store")} WHERE id = 1`
  if (after === undefined) return store
  return sql`${store}
    UNION ALL SELECT * FROM (SELECT 'record' AS kind, circuit AS name, '' AS box, body, epoch AS a, 0 AS b, 0 AS c, 0 AS d
      FROM ${database.table("s")} WHERE changed = 1 AND epoch > ${database.big(after.epoch)}
        AND (ends_at IS NULL OR ends_at > ${now})
      ORDER BY epoch LIMIT ${sql.literal(String(maxRecords))}) records
    UNION ALL SELECT * FROM (SELECT 'roll' AS kind, circuit AS name, box, '' AS body, seq AS a, prev AS b, epoch AS c, term AS d
      FROM ${database.table("_rolls")} WHERE seq > ${database.big(after.head)} AND ends_at > ${now}
      ORDER BY seq LIMIT ${sql.literal(String(limits.rollCalls))}) rolls`
}

/** The changes in a poll, and the position of the next poll. */
const read = (rows: ReadonlyArray<SqlRow>, after: Position | undefined) => {
  const of = (kind: string) =>
    rows.filter((row) => row["kind"] === kind).sort((one, other) => toNumber(one["a"]) - toNumber(other["a"]))
  const [store] = of("store")
  const at: Position = { life: String(store?.["body"]), epoch: toWhole(store?.["a"]), head: toWhole(store?.["b"]) }
  // In a new life of the store the position has no meaning. The next heartbeat notices the changes that are skipped here.
  if (after === undefined || at.life !== after.life || at.epoch < after.epoch || at.head < after.head) {
    return { at, changes: [] }
  }
  // Rows beyond the store's own last numbers were written by another program.
  const records = of("record").filter((row) => toWhole(row["a"]) > 0 && toWhole(row["a"]) <= at.epoch)
  const rollCalls = of("roll")
    .map(rollCallOf)
    .filter(({ seq }) => seq > 0 && seq <= at.head)
  const changes: ReadonlyArray<Change> = [
    ...records.map((row): Change => {
      return { _tag: "Record", circuit: String(row["name"]), epoch: toWhole(row["a"]), body: String(row["body"]) }
    }),
    ...rollCalls.map((rollCall): Change => ({ _tag: "RollCall", ...rollCall }))
  ]
  const last = <A>(all: ReadonlyArray<A>, most: number, number: (one: A) => number, end: number): number => {
    const one = all.at(-1)
    return all.length < most || one === undefined ? end : number(one)
  }
  return {
    at: {
      life: at.life,
      epoch: last(records, maxRecords, (row) => toWhole(row["a"]), at.epoch),
      head: last(rollCalls, limits.rollCalls, ({ seq }) => seq, at.head)
    },
    changes
  }
}

/** The changes of a database without announcements, read about every `millis`. The interval varies, to spread the reads. */
export const polled = <E>(
  database: Database,
  millis: number,
  run: (rows: Effect.Effect<ReadonlyArray<SqlRow>, SqlError>) => Effect.Effect<ReadonlyArray<SqlRow>, E>
): Stream.Stream<Change, E> => {
  const wait = Effect.flatMap(Random.next, (random) => Effect.sleep(millis * (0.8 + 0.4 * random)))
  return Stream.suspend(() => {
    let after: Position | undefined
    const poll = Effect.suspend(() =>
      Effect.map(run(database.rows(database.sql`${look(database, after)}`)), (rows) => {
        const { at, changes } = read(rows, after)
        after = at
        return changes
      })
    )
    return Stream.flattenIterable(
      Stream.concat(Stream.fromEffect(poll), Stream.fromEffectRepeat(Effect.andThen(wait, poll)))
    )
  })
}
