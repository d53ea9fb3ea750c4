import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { SqlError, UnknownError } from "effect/sql/SqlError"
import { detached } from "../connection/detached.ts"
import { listening, type Times } from "../connection/listening.ts"
import { fromText, toText } from "../store/announcements.ts"
import {
  type Change,
  type Changed,
  type Exchange,
  type ExchangeAnswer,
  type LoadAnswer,
  limits,
  type PageAnswer,
  type SharedStore,
  type Stored,
  StoreError
} from "../store/SharedStore.ts"
import { type Database, type Row, toNumber } from "./database.ts"
import { Turn } from "./exchange.ts"
import { type Found, foundIn, isNew, lookUp, othersOf, toWhole } from "./lookUp.ts"
import { firstRow } from "./migrations.ts"
import { polled } from "./polling.ts"

type Messages = Stream.Stream<{ readonly payload: string }, SqlError>

/** Texts that databases find by an index must not be longer. */
export const longestCircuit = 2_000

/** PostgreSQL announces at most 8,000 bytes. The announcement of a longer body has no body, and its reader loads the record. */
const longestText = 7_900

/** The text of an announcement, without the body if that is too long. */
const short = (change: Change): string => {
  const text = toText(change)
  const isLong = change._tag === "Record" && new TextEncoder().encode(text).length > longestText
  return isLong ? toText({ ...change, body: "" }) : text
}

/** A voter that lives at least this much longer may renew its life without the lock: no other exchange buries it meanwhile. */
const safeMillis = 1_000

/** A process that holds the lock and stands still loses it after this long, where the database can take it away. */
const stalledMillis = 1_000

/** A number of milliseconds. Anything else, as SQLite may have a text in the place of a number, is as good as 0. */
const toAge = (value: unknown): number => {
  const millis = toNumber(value)
  return millis > 0 && millis < Infinity ? millis : 0
}

const toStored = (row: Row): Stored | undefined => {
  const epoch = toWhole(row["epoch"])
  return epoch === 0 || row["body"] === null ? undefined : { epoch, body: String(row["body"]), age: toAge(row["age"]) }
}

/** Whether a table or a column is missing. Most databases report this as a syntax error; SQLite has no code for it. */
const makesNoSense = ({ reason }: SqlError): boolean =>
  reason._tag === "SqlSyntaxError" || /no such (table|column)/.test(String(reason.cause))

/** Two transactions got in each other's way. */
const isConflict = ({ reason }: SqlError): boolean =>
  reason._tag === "DeadlockError" ||
  reason._tag === "SerializationError" ||
  // MariaDB reports a conflict like this since version 11.6.
  /Record has changed since last read/.test(String(reason.cause))

/** Rolls back a transaction that came too late. */
class TooLate extends Data.TaggedError("TooLate")<{ readonly time: number }> {}

/** Starts a stopwatch: a function that returns how many milliseconds have passed in this process. */
const stopwatch = Effect.map(Clock.Clock, (clock) => {
  const began = clock.monotonicTimeNanosUnsafe()
  return () => Number(clock.monotonicTimeNanosUnsafe() - began) / 1e6
})

const late = (time: number): ExchangeAnswer => ({ _tag: "Late", time: Math.floor(time) })

/**
 * The contract in SQL.
 *
 * Exchanges that cast, swap, join or leave are carried out one after the other: each is a transaction that begins with the lock
 * on one row, so none can deadlock with another, and epochs become visible in their order. A heartbeat of a voter that lives is
 * one statement without that lock. Reads are one statement each.
 */
export class Store implements SharedStore {
  readonly longestCircuit = longestCircuit
  private readonly database: Database
  private readonly pollMillis: number
  private readonly broken = Deferred.makeUnsafe<void>()
  private readonly audible: (messages: Messages) => Messages

  constructor(database: Database, pollMillis = 1_000, times?: Times) {
    this.database = database
    this.pollMillis = pollMillis
    const cause = new Error("nothing is heard, not even own announcements")
    const silent = () => new SqlError({ reason: new UnknownError({ cause, message: cause.message }) })
    this.audible = listening(
      "PostgreSQL",
      Effect.suspend(() => this.announceNothing),
      silent,
      times
    )
  }

  /** Completes when the tables cannot be used any more: they are missing, or have other columns. */
  get ended(): Effect.Effect<void> {
    return Deferred.await(this.broken)
  }

  readonly exchange = (exchange: Exchange): Effect.Effect<ExchangeAnswer, StoreError> => {
    const { casts, swaps, ttl } = exchange
    const alone = this.alone(exchange)
    const isHeartbeat = casts.length === 0 && swaps.length === 0 && ttl > 2 * safeMillis
    return this.run(
      "exchange",
      isHeartbeat
        ? Effect.flatMap(this.heartbeat(exchange), (answer) => (answer === undefined ? alone : Effect.succeed(answer)))
        : alone
    )
  }

  /** Renews the life of a voter; `undefined` if the voter does not live, or not for much longer. */
  private heartbeat(exchange: Exchange): Effect.Effect<ExchangeAnswer | undefined, SqlError> {
    const { database } = this
    const { now, sql } = database
    const { notAfter = Infinity, ttl, voter } = exchange
    const safe = sql.literal(String(safeMillis))
    const inTime = notAfter === Infinity ? sql`` : sql`AND ${now} <= ${database.big(Math.floor(notAfter))}`
    const renew = (heard: number) =>
      database.run(sql`UPDATE ${database.table("_voters")}
        SET ends_at = ${now} + ${database.big(Math.ceil(ttl))}, heard = ${heard}
        WHERE voter = ${voter} AND ends_at > ${now} + ${safe} ${inTime}`)
    return Effect.gen({ self: this }, function* () {
      const passed = yield* stopwatch
      const found = yield* this.look(exchange)
      if (found === undefined) return undefined
      const { bornAt, head, life, own, rollCalls, time } = found
      if (time > notAfter) return late(time)
      if (own === undefined || own.endsAt <= time + safeMillis || isNew(found)) return undefined
      yield* renew(exchange.life !== life || exchange.heard > head ? 0 : exchange.heard)
      const over = time + passed()
      if (over > notAfter) return late(over)
      const live = othersOf(found) + 1
      const liveFor = Math.max(0, time - bornAt)
      return { _tag: "Done", time, live, liveFor, life, head, rollCalls, casts: [], swaps: [] }
    })
  }

  private look(exchange: Exchange): Effect.Effect<Found | undefined, SqlError> {
    const { database } = this
    return Effect.map(database.rows(database.sql`${lookUp(database, exchange)}`), foundIn)
  }

  /** Carries out an exchange while no other exchange is carried out. */
  private alone(exchange: Exchange): Effect.Effect<ExchangeAnswer, SqlError> {
    const { database } = this
    const { notAfter = Infinity } = exchange
    return database.sql
      .withTransaction(
        Effect.gen({ self: this }, function* () {
          yield* this.lock
          const passed = yield* stopwatch
          const found = yield* this.look(exchange)
          if (found === undefined) return yield* Effect.die(new Error("the row that was locked is not there"))
          const { time } = found
          if (time > notAfter) return late(time)
          const turn = new Turn(exchange, found)
          const ballots = turn.ballotsOf(database)
          const answer = turn.carryOut(ballots === undefined ? [] : yield* database.rows(database.sql`${ballots}`))
          for (const write of turn.writes(database)) yield* write
          const gone = turn.isSweeping ? yield* this.sweep(turn) : []
          for (const write of turn.writeStore(database, gone)) yield* write
          yield* this.announce(turn.announced)
          // If the process stood still in between, the deadline may have passed, and the exchange must not be carried out.
          const over = time + passed()
          return over > notAfter ? yield* new TooLate({ time: over }) : answer
        })
      )
      .pipe(Effect.catchTag("TooLate", ({ time }) => Effect.succeed(late(time))))
  }

  /**
   * Waits until no other exchange is carried out. PostgreSQL takes the lock from a process that stands still in the middle, as
   * MySQL and MariaDB do when its connection ends.
   */
  private get lock(): Effect.Effect<void, SqlError> {
    const { database } = this
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
    // Where the database's default is stricter, those that wait for the lock would fail when it is given up.
    const level = dialect === "pg" ? database.run(sql`SET TRANSACTION ISOLATION LEVEL READ COMMITTED`) : Effect.void
    return Effect.asVoid(Effect.andThen(level, made))
  }

  /** Deletes some of what has ended, and answers the records that it deleted. */
  private sweep(turn: Turn): Effect.Effect<ReadonlyArray<Row>, SqlError> {
    const { database } = this
    const { sql } = database
    const swept = Effect.forEach(turn.sweeps(database), (sweep) => sweep, { discard: true })
    return Effect.flatMap(Effect.andThen(swept, database.rows(sql`${turn.goneRecords(database)}`)), (gone) => {
      const circuits = gone.map((row) => row["circuit"])
      return gone.length === 0
        ? Effect.succeed(gone)
        : Effect.as(database.run(sql`DELETE FROM ${database.table("s")} WHERE circuit IN ${sql.in(circuits)}`), gone)
    })
  }

  readonly page = (since: number, limit: number): Effect.Effect<PageAnswer, StoreError> => {
    const { database } = this
    const { now, sql } = database
    const records = database.table("s")
    const most = Math.max(0, Math.min(Math.floor(limit), limits.page))
    // An epoch beyond all numbers was written by another program.
    const last = sql.literal(String(Number.MAX_SAFE_INTEGER - 1))
    const found = database.rows(sql`
      SELECT 'store' AS kind, '' AS circuit, epoch, life AS body, trimmed AS age, ${now} AS written_at, 0 AS listed
        FROM ${database.table("_store")} WHERE id = 1
      UNION ALL SELECT 'live', '', COUNT(*), '', 0, 0, 0 FROM ${database.table("_voters")} WHERE ends_at > ${now}
      UNION ALL SELECT 'listed', '', COUNT(*), '', 0, 0, 0 FROM ${records}
        WHERE listed = 1 AND (ends_at IS NULL OR ends_at > ${now})
      UNION ALL SELECT * FROM (SELECT 'change' AS kind, circuit, epoch,
          CASE WHEN ends_at IS NULL OR ends_at > ${now} THEN body END AS body, ${now} - written_at AS age, written_at, listed
        FROM ${records} WHERE changed = 1 AND epoch > ${database.big(since)} AND epoch <= ${last}
        ORDER BY epoch LIMIT ${sql.literal(String(most))}) changes`)
    return this.run(
      "page",
      Effect.map(found, (rows) => {
        const one = (kind: string): Row => rows.find((row) => row["kind"] === kind) ?? {}
        const changes = rows.flatMap((row): ReadonlyArray<Changed> => {
          const epoch = toWhole(row["epoch"])
          if (row["kind"] !== "change" || epoch === 0) return []
          return [
            {
              circuit: String(row["circuit"]),
              epoch,
              listed: toNumber(row["listed"]) === 1,
              record: toStored(row)
            }
          ]
        })
        const store = one("store")
        return {
          time: toAge(store["written_at"]),
          live: toWhole(one("live")["epoch"]),
          life: String(store["body"] ?? ""),
          epoch: toWhole(store["epoch"]),
          trimmed: toWhole(store["age"]),
          listed: toWhole(one("listed")["epoch"]),
          changes: changes.sort((a, b) => a.epoch - b.epoch)
        }
      })
    )
  }

  readonly load = (circuits: ReadonlyArray<string>): Effect.Effect<LoadAnswer, StoreError> =>
    this.run("load", this.records(circuits))

  private records(circuits: ReadonlyArray<string>): Effect.Effect<LoadAnswer, SqlError> {
    const { database } = this
    const { now, sql } = database
    const found =
      circuits.length === 0
        ? sql``
        : sql`UNION ALL SELECT circuit, epoch, body, ${now} - written_at FROM ${database.table("s")}
            WHERE circuit IN ${sql.in(circuits)} AND (ends_at IS NULL OR ends_at > ${now})`
    // No circuit has an empty name.
    return Effect.map(
      database.rows(sql`SELECT '' AS circuit, ${now} AS epoch, '' AS body, 0 AS age ${found}`),
      (rows) => {
        const records = new Map(rows.map((row) => [String(row["circuit"]), row]))
        const time = toAge(records.get("")?.["epoch"])
        records.delete("")
        return {
          time,
          records: circuits.map((circuit) => {
            const row = records.get(circuit)
            return row === undefined ? undefined : toStored(row)
          })
        }
      }
    )
  }

  /** Announces changes on PostgreSQL. Other processes receive them when the transaction is committed. */
  private announce(changes: ReadonlyArray<Change>): Effect.Effect<void, SqlError> {
    const { database } = this
    const { channel, sql } = database
    if (database.dialect !== "pg" || changes.length === 0) return Effect.void
    const texts = changes.map((change) => sql`(${database.text(short(change))})`)
    return database.run(sql`SELECT pg_notify(${channel}, t.message) FROM (VALUES ${sql.csv(texts)}) AS t(message)`)
  }

  get changes(): Stream.Stream<Change, StoreError> {
    const { announcing, channel } = this.database
    if (announcing === undefined) {
      return polled(this.database, this.pollMillis, (rows) => this.run("changes", rows))
    }
    // If finalizers ran one after the other, the client would wait for the answer to UNLISTEN before it closes the connection. On a
    // silent connection it would wait for ever, and the connection would keep its place in the pool.
    const listened = detached(announcing.listen(channel), "parallel")
    return Stream.unwrap(Effect.map(listened, (queue) => this.audible(Stream.fromQueue(queue)))).pipe(
      Stream.mapEffect(({ payload }) => this.toChange(payload)),
      Stream.filter((change) => change !== undefined),
      Stream.mapError((cause) => new StoreError({ operation: "changes", cause }))
    )
  }

  /** Sends an empty announcement. Returns whether the database took it, which a standby does not. */
  private get announceNothing(): Effect.Effect<boolean> {
    const { channel, sql } = this.database
    const sent = this.database.apart(this.database.run(sql`SELECT pg_notify(${channel}, '')`))
    return Effect.match(Effect.timeout(sent, "5 seconds"), { onFailure: () => false, onSuccess: () => true })
  }

  /** The change of an announcement; `undefined` if another program sent it. Loads a body that the announcement does not have. */
  private toChange(text: string): Effect.Effect<Change | undefined, SqlError> {
    const change = fromText(text)
    if (change?._tag !== "Record" || change.body !== "") return Effect.succeed(change)
    const { circuit } = change
    return Effect.map(this.records([circuit]), ({ records: [record] }) =>
      record === undefined ? undefined : { _tag: "Record", circuit, epoch: record.epoch, body: record.body }
    )
  }

  private run<A>(operation: StoreError["operation"], effect: Effect.Effect<A, SqlError>): Effect.Effect<A, StoreError> {
    const again = Effect.retry(effect, { times: 3, while: isConflict }).pipe(
      Effect.tapError((error) => (makesNoSense(error) ? Deferred.succeed(this.broken, undefined) : Effect.void))
    )
    return Effect.mapError(this.database.apart(again), (cause) => new StoreError({ operation, cause }))
  }
}
