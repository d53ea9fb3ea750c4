import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { BeginTransaction } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import { nowOf } from "../engine/time.ts"
import type { Exchange, ExchangeAnswer } from "../store/SharedStore.ts"
import { announcement } from "./announcements.ts"
import type { Database, SqlRow } from "./database.ts"
import { isNew, type LookUpAnswer, lookUp, lookUpAnswer, othersOf, validHeard } from "./lookUp.ts"
import { firstRow } from "./migrations.ts"
import { Turn } from "./turn.ts"

/** A voter that lives at least this much longer may renew its life without the lock: no other exchange buries it in the meantime. */
const safeMillis = 1_000

/** PostgreSQL takes the lock from a process that stalls for this long. */
const stalledMillis = 1_000

class TooLate extends Data.TaggedError("TooLate")<{ readonly time: number }> {}

/** Starts a stopwatch: a function that returns how many milliseconds have passed in this process. */
const stopwatch = Effect.map(Clock.Clock, (clock) => {
  const now = nowOf(clock)
  const began = now()
  return () => now() - began
})

const late = (time: number): ExchangeAnswer => ({ _tag: "Late", time: Math.floor(time) })

/** Carries out an exchange. The heartbeat of a live voter is one statement without the lock on the store; see `sqlStore`. */
export const exchange = (database: Database, exchange: Exchange): Effect.Effect<ExchangeAnswer, SqlError> => {
  const { casts, swaps, ttl } = exchange
  const isHeartbeat = casts.length === 0 && swaps.length === 0 && ttl > 2 * safeMillis
  return isHeartbeat
    ? Effect.flatMap(heartbeat(database, exchange), (answer) =>
        answer === undefined ? alone(database, exchange) : Effect.succeed(answer)
      )
    : alone(database, exchange)
}

const look = (
  database: Database,
  exchange: Exchange,
  before: Fragment
): Effect.Effect<LookUpAnswer | undefined, SqlError> =>
  Effect.map(database.rows(database.sql`${before} ${lookUp(database, exchange)}`), lookUpAnswer)

/**
 * Renews the life of a voter; `undefined` if this needs the lock, because it does not live for long enough. One statement on PostgreSQL.
 */
const heartbeat = (database: Database, exchange: Exchange): Effect.Effect<ExchangeAnswer | undefined, SqlError> => {
  const { now, sql } = database
  const { digest, notAfter = Infinity, ttl, voter } = exchange
  const safe = sql.literal(String(safeMillis))
  const inTime = notAfter === Infinity ? sql`` : sql`AND ${now} <= ${database.big(Math.floor(notAfter))}`
  const isGiven = digest === undefined ? sql`` : sql`, digest = ${digest}`
  const renewal = (heard: Fragment) => sql`UPDATE ${database.table("_voters")}
    SET ends_at = ${now} + ${database.big(Math.ceil(ttl))}, heard = ${heard} ${isGiven}
    WHERE voter = ${voter} AND ends_at > ${now} + ${safe} ${inTime}`
  const isOne = database.dialect === "pg"
  const before = isOne ? sql`WITH renewed AS (${renewal(validHeard(database, exchange))})` : sql``
  return Effect.gen(function* () {
    const passed = yield* stopwatch
    const found = yield* look(database, exchange, before)
    if (found === undefined) return undefined
    const { bornAt, head, life, own, rollCalls, time } = found
    if (time > notAfter) return late(time)
    if (own === undefined || own.endsAt <= time + safeMillis || isNew(found)) return undefined
    // MySQL would wait for the row of the store if the statement read it.
    const heard = exchange.life !== life || exchange.heard > head ? 0 : exchange.heard
    if (!isOne) yield* database.run(renewal(sql`${heard}`))
    const over = time + passed()
    if (over > notAfter) return late(over)
    const live = othersOf(found) + 1
    const liveFor = Math.max(0, time - bornAt)
    return { _tag: "Done", time, live, liveFor, life, head, rollCalls, casts: [], swaps: [] }
  })
}

/** Carries out an exchange with the lock on the store. */
const alone = (database: Database, exchange: Exchange): Effect.Effect<ExchangeAnswer, SqlError> => {
  const { notAfter = Infinity } = exchange
  const carriedOut = database.sql
    .withTransaction(
      Effect.gen(function* () {
        yield* lock(database)
        const passed = yield* stopwatch
        const found = yield* look(database, exchange, database.sql``)
        if (found === undefined) return yield* Effect.die(new Error("the row that was locked is not there"))
        const { time } = found
        if (time > notAfter) return late(time)
        const turn = new Turn(exchange, found)
        const ballots = turn.ballotsOf(database)
        const answer = turn.carryOut(ballots === undefined ? [] : yield* database.rows(database.sql`${ballots}`))
        for (const write of turn.begins(database)) yield* database.run(write)
        const writes = [...turn.writes(database)]
        let gone: ReadonlyArray<SqlRow> = []
        if (turn.isSweeping) {
          yield* database.runTogether(writes.splice(0))
          gone = yield* sweep(database, turn)
        }
        yield* database.runTogether([
          ...writes,
          ...turn.writeStore(database, gone),
          ...announcement(database, turn.announced)
        ])
        // If the process stalled, the deadline may have passed, and the exchange must not take effect.
        const over = time + passed()
        return over > notAfter ? yield* new TooLate({ time: over }) : answer
      })
    )
    .pipe(Effect.catchTag("TooLate", ({ time }) => Effect.succeed(late(time))))
  // With a stricter isolation level, transactions that wait for the lock would fail when it is released.
  return database.dialect === "pg"
    ? Effect.provideService(carriedOut, BeginTransaction, "BEGIN ISOLATION LEVEL READ COMMITTED")
    : carriedOut
}

/** Waits for the lock on the store. PostgreSQL takes it from a process that stalls; MySQL and MariaDB do when its connection ends. */
const lock = (database: Database): Effect.Effect<void, SqlError> => {
  const { dialect, sql } = database
  const table = database.table("_store")
  const locked = Effect.suspend(() => {
    switch (dialect) {
      case "pg":
        return database.rows(sql`SELECT id, set_config('idle_in_transaction_session_timeout',
          ${String(stalledMillis)}, true) FROM ${table} WHERE id = 1 FOR UPDATE`)
      case "mysql":
        // MySQL reads the first comment, and MariaDB the second: neither waits for longer than 5 seconds.
        return database.rows(sql`SELECT /*+ SET_VAR(innodb_lock_wait_timeout = 5) */ id FROM ${table}
          WHERE id = 1 FOR UPDATE /*M! WAIT 5 */`)
      case "sqlite":
        return database.rows(sql`UPDATE ${table} SET id = 1 WHERE id = 1 RETURNING id`)
    }
  })
  const made = Effect.flatMap(locked, (rows) =>
    rows.length > 0 ? Effect.void : Effect.andThen(database.run(firstRow(database)), locked)
  )
  return Effect.asVoid(made)
}

/** Deletes some rows that have ended. Returns the records among them. */
const sweep = (database: Database, turn: Turn): Effect.Effect<ReadonlyArray<SqlRow>, SqlError> => {
  const { sql } = database
  const swept = database.runTogether(turn.sweeps(database))
  return Effect.flatMap(Effect.andThen(swept, database.rows(sql`${turn.goneRecords(database)}`)), (gone) => {
    const circuits = gone.map((row) => row["circuit"])
    return gone.length === 0
      ? Effect.succeed(gone)
      : Effect.as(database.run(sql`DELETE FROM ${database.table("s")} WHERE circuit IN ${sql.in(circuits)}`), gone)
  })
}
