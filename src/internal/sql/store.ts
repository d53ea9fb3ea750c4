import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import {
  type Cast,
  type CastAnswer,
  type Change,
  type ListAnswer,
  type SharedStore,
  type Stored,
  StoreError,
  type Swap,
  type SwapAnswer,
  type Tally
} from "../../SharedStore.ts"
import { type Database, type Row, toNumber } from "./database.ts"

/** What databases find by an index may not be longer. */
export const longestCircuit = 2_000

/** What has ended is deleted this often by each process; until then it is only not looked at. */
const sweepMillis = 60_000
/** PostgreSQL announces no more than 8,000 bytes; who gets no body asks for it. */
const longestText = 7_900

/** A number of milliseconds; what is none, as where SQLite has a text in the place of a number, is as good as 0. */
const toAge = (value: unknown): number => {
  const millis = toNumber(value)
  return millis > 0 && millis < Infinity ? millis : 0
}

const toStored = (row: Row | undefined): Stored | undefined =>
  row === undefined ? undefined : { era: toNumber(row["era"]), body: String(row["body"]), age: toAge(row["age"]) }

/** 0 is the era of no record, and never that of one. */
const isOfEra = (record: Stored | undefined, era: number): boolean =>
  record === undefined ? era === 0 : era !== 0 && record.era === era

/** A table or a column that is not there: databases call it an error of syntax, or, as SQLite does, any error. */
const makesNoSense = ({ reason }: SqlError): boolean =>
  reason._tag === "SqlSyntaxError" || /no such (table|column)/.test(String(reason.cause))

const isConflict = ({ reason }: SqlError): boolean =>
  reason._tag === "DeadlockError" || reason._tag === "SerializationError"

const noTally: Tally = { voices: 0, sums: [], asked: undefined }

const tallyOf = (rows: ReadonlyArray<Row>): Tally => {
  const ballots = rows.flatMap((row) => {
    const text = row["kind"] === "ballot" ? String(row["body"]) : ""
    const numbers = text.split(",").map(Number)
    // What somebody else wrote there is none.
    return text !== "" && numbers.every(Number.isSafeInteger) ? [numbers] : []
  })
  if (ballots.length === 0) return noTally
  const sums: Array<number> = []
  for (const numbers of ballots) {
    numbers.forEach((n, place) => {
      sums[place] = (sums[place] ?? 0) + n
    })
  }
  const asked = rows.find((row) => row["kind"] === "asked")
  return {
    voices: ballots.length,
    sums,
    asked: asked === undefined ? undefined : toAge(asked["age"])
  }
}

/** What takes its time to end, as a connection to a server that hangs does, ends by itself: nobody waits for that. */
const letGo = <A, E>(open: Effect.Effect<A, E, Scope.Scope>): Effect.Effect<A, E, Scope.Scope> =>
  Effect.gen(function* () {
    const own = yield* Scope.make()
    const opening = yield* Effect.forkDetach(Scope.provide(open, own))
    const close = Effect.andThen(Fiber.await(opening), Scope.close(own, Exit.void))
    yield* Effect.addFinalizer(() => Effect.forkDetach(close))
    return yield* Fiber.join(opening)
  })

/** The contract in SQL: short statements, of which none waits for another process but those of a swap. */
export class Store implements SharedStore {
  readonly longestCircuit = longestCircuit
  private readonly database: Database
  private readonly pollMillis: number
  private sweptAt = Number.NEGATIVE_INFINITY
  private readonly broken = Deferred.makeUnsafe<void>()

  constructor(database: Database, pollMillis: number) {
    this.database = database
    this.pollMillis = pollMillis
  }

  /** When what is asked of the tables makes no sense to the database: they are gone, or are others. */
  get ended(): Effect.Effect<void> {
    return Deferred.await(this.broken)
  }

  readonly cast = (request: Cast): Effect.Effect<CastAnswer, StoreError> => {
    const { ballot, era, inquire } = request
    const written = ballot === undefined ? this.takeBack(request) : this.put(request, ballot)
    const answered = Effect.flatMap(written, () => this.look(request))
    return this.run(
      "cast",
      Effect.flatMap(answered, (answer) => {
        const asks = inquire > 0 && answer.tally !== undefined && answer.tally.voices > 0
        if (!asks) return Effect.succeed(answer)
        return Effect.flatMap(this.ask(request), (began) =>
          began && answer.tally !== undefined
            ? Effect.as(this.announce("I", request.circuit, era, request.box), {
                ...answer,
                tally: { ...answer.tally, asked: 0 }
              })
            : Effect.succeed(answer)
        )
      })
    )
  }

  /** That the record of a circuit is of this era, as part of a statement. */
  private isOf(circuit: string, era: number): Fragment {
    const { database } = this
    const { now, sql } = database
    return sql`COALESCE((SELECT r.era FROM ${database.table("s")} r WHERE r.circuit = ${circuit}
      AND (r.ends_at IS NULL OR r.ends_at > ${now})), 0) = ${era}`
  }

  private put({ box, circuit, era, ttl, voice }: Cast, ballot: ReadonlyArray<number>) {
    const { database } = this
    const { now, sql } = database
    return database.run(sql`INSERT INTO ${database.table("_ballots")} (circuit, box, voice, era, numbers, ends_at)
      SELECT ${this.database.text(circuit)}, ${this.database.text(box)}, ${this.database.text(voice)}, ${this.database.big(era)}, ${this.database.text(ballot.join(","))}, ${now} + ${this.database.big(Math.ceil(ttl))}
      ${sql.literal(database.dialect === "mysql" ? "FROM DUAL" : "")} WHERE ${this.isOf(circuit, era)}
      ${database.onConflict(["circuit", "box", "voice"], ["era", "numbers", "ends_at"])}`)
  }

  private takeBack({ box, circuit, era, voice }: Cast) {
    const { database } = this
    return database.run(database.sql`DELETE FROM ${database.table("_ballots")}
      WHERE circuit = ${circuit} AND box = ${box} AND voice = ${voice} AND era = ${era}`)
  }

  /** The record of a circuit, what is in a box, and who lives: in one statement. */
  private look({ box, circuit, era }: Cast): Effect.Effect<CastAnswer, SqlError> {
    const { database } = this
    const { now, sql } = database
    const found = database.rows(sql`
      SELECT 'record' AS kind, era, body, ${now} - written_at AS age FROM ${database.table("s")}
        WHERE circuit = ${circuit} AND (ends_at IS NULL OR ends_at > ${now})
      UNION ALL SELECT 'ballot', era, numbers, 0 FROM ${database.table("_ballots")}
        WHERE circuit = ${circuit} AND box = ${box} AND era = ${era} AND ends_at > ${now}
      UNION ALL SELECT 'asked', era, '', ${now} - asked_at FROM ${database.table("_inquiries")}
        WHERE circuit = ${circuit} AND box = ${box} AND era = ${era} AND ends_at > ${now}
      UNION ALL SELECT 'live', COUNT(*), '', 0 FROM ${database.table("_voices")} WHERE ends_at > ${now}`)
    return Effect.map(found, (rows) => {
      const record = toStored(rows.find((row) => row["kind"] === "record"))
      return {
        record,
        tally: isOfEra(record, era) ? tallyOf(rows) : undefined,
        live: toNumber(rows.find((row) => row["kind"] === "live")?.["era"] ?? 0)
      }
    })
  }

  /** Whether an inquiry began by this: none did lately. */
  private ask({ box, circuit, era, inquire, ttl }: Cast): Effect.Effect<boolean, SqlError> {
    const { database } = this
    const { now, sql } = database
    const table = database.table("_inquiries")
    const insert = (asked: Fragment, ends: Fragment) =>
      sql`INSERT INTO ${table} (circuit, box, era, asked_at, ends_at) VALUES (${circuit}, ${box}, ${era}, ${asked}, ${ends})`
    const begin = insert(now, sql`${now} + ${this.database.big(Math.ceil(ttl))}`)
    const due = (asked: Fragment, of: Fragment) =>
      sql`(${of} <> ${this.database.big(era)} OR ${asked} > ${now} OR ${asked} <= ${now} - ${this.database.big(inquire)})`
    if (database.dialect !== "mysql") {
      return Effect.map(
        database.rows(sql`${begin}
          ON CONFLICT (circuit, box) DO UPDATE SET era = excluded.era, asked_at = excluded.asked_at, ends_at = excluded.ends_at
          WHERE ${due(sql`${table}.asked_at`, sql`${table}.era`)} RETURNING era`),
        (rows) => rows.length > 0
      )
    }
    // It has no condition here: the row is looked at under its lock, which many can only wait for where there is a row.
    const locked = database.run(sql`${insert(sql`0`, sql`0`)} ON DUPLICATE KEY UPDATE box = VALUES(box)`)
    const isDue = database.rows(
      sql`SELECT ${due(sql`asked_at`, sql`era`)} AS due FROM ${table} WHERE circuit = ${circuit} AND box = ${box} FOR UPDATE`
    )
    return database.sql.withTransaction(
      Effect.flatMap(Effect.andThen(locked, isDue), ([row]) =>
        toNumber(row?.["due"]) === 0
          ? Effect.succeed(false)
          : Effect.as(
              database.run(sql`${begin} ${database.onConflict(["circuit", "box"], ["era", "asked_at", "ends_at"])}`),
              true
            )
      )
    )
  }

  readonly swap = (request: Swap): Effect.Effect<SwapAnswer, StoreError> => {
    const { circuit, expectedEra } = request
    const { database } = this
    const denied = (record: Stored | undefined): SwapAnswer => ({ swapped: false, record })
    const locked = database.sql.withTransaction(
      Effect.flatMap(Effect.andThen(this.readCommitted, this.nextEra), (era) =>
        Effect.flatMap(this.one(circuit), (current) =>
          isOfEra(current, expectedEra) ? this.write(request, era) : Effect.succeed(denied(current))
        )
      )
    )
    // Looked at before anything is locked: of many who come at once most are too late.
    return this.run(
      "swap",
      Effect.flatMap(this.one(circuit), (current) =>
        isOfEra(current, expectedEra) ? locked : Effect.succeed(denied(current))
      )
    )
  }

  /**
   * The lock is what orders swaps. Where the database's default is stricter, all who wait for it would fail when it is given up,
   * and no number of attempts would be enough for many.
   */
  private get readCommitted(): Effect.Effect<void, SqlError> {
    const { dialect, sql } = this.database
    return dialect === "pg" ? this.database.run(sql`SET TRANSACTION ISOLATION LEVEL READ COMMITTED`) : Effect.void
  }

  /** Greater than any before. Who has it holds the lock of all swaps until his transaction ends. */
  private get nextEra(): Effect.Effect<number, SqlError> {
    const { database } = this
    const { dialect, now, sql } = database
    const greatest = sql.literal(dialect === "sqlite" ? "MAX" : "GREATEST")
    const insert = sql`INSERT INTO ${database.table("_eras")}`
    // Where somebody emptied the table, the time goes on.
    const next =
      dialect === "mysql"
        ? sql`${insert} (id, era) VALUES (1, ${now} * 1000) ON DUPLICATE KEY UPDATE era = GREATEST(era + 1, VALUES(era))`
        : sql`${insert} AS last (id, era) VALUES (1, ${now} * 1000)
            ON CONFLICT (id) DO UPDATE SET era = ${greatest}(last.era + 1, excluded.era)`
    return Effect.map(
      Effect.andThen(database.run(next), database.rows(sql`SELECT era FROM ${database.table("_eras")} WHERE id = 1`)),
      ([row]) => toNumber(row?.["era"])
    )
  }

  private write({ body, circuit, listed, ttl }: Swap, era: number): Effect.Effect<SwapAnswer, SqlError> {
    const { database } = this
    const { now, sql } = database
    const ends = ttl === undefined ? sql`NULL` : sql`${now} + ${this.database.big(Math.max(1, Math.ceil(ttl)))}`
    return database
      .run(
        sql`INSERT INTO ${database.table("s")} (circuit, era, body, listed, written_at, ends_at)
          VALUES (${circuit}, ${era}, ${body}, ${listed ? 1 : 0}, ${now}, ${ends})
          ${database.onConflict(["circuit"], ["era", "body", "listed", "written_at", "ends_at"])}`
      )
      .pipe(
        Effect.andThen(database.run(sql`DELETE FROM ${database.table("_ballots")} WHERE circuit = ${circuit}`)),
        Effect.andThen(database.run(sql`DELETE FROM ${database.table("_inquiries")} WHERE circuit = ${circuit}`)),
        Effect.andThen(this.announce("R", circuit, era, body)),
        Effect.as({ swapped: true, record: { era, body, age: 0 } })
      )
  }

  private one(circuit: string): Effect.Effect<Stored | undefined, SqlError> {
    const { database } = this
    const { now, sql } = database
    return Effect.map(
      database.rows(sql`SELECT era, body, ${now} - written_at AS age FROM ${database.table("s")}
        WHERE circuit = ${circuit} AND (ends_at IS NULL OR ends_at > ${now})`),
      ([row]) => toStored(row)
    )
  }

  readonly load = (circuit: string): Effect.Effect<Stored | undefined, StoreError> =>
    this.run("load", this.one(circuit))

  readonly list = (voice: string, ttl: number): Effect.Effect<ListAnswer, StoreError> => {
    const { database } = this
    const { now, sql } = database
    const voices = database.table("_voices")
    const lives =
      ttl > 0
        ? database.run(sql`INSERT INTO ${voices} (voice, ends_at) VALUES (${voice}, ${now} + ${this.database.big(Math.ceil(ttl))})
            ${database.onConflict(["voice"], ["ends_at"])}`)
        : database.run(sql`DELETE FROM ${voices} WHERE voice = ${voice}`)
    const found = database.rows(sql`
      SELECT 'record' AS kind, circuit, era, body, ${now} - written_at AS age FROM ${database.table("s")}
        WHERE listed = 1 AND (ends_at IS NULL OR ends_at > ${now})
      UNION ALL SELECT 'live', '', COUNT(*), '', 0 FROM ${voices} WHERE ends_at > ${now}`)
    return this.run(
      "list",
      Effect.flatMap(lives, () => Effect.andThen(this.sweep, found)).pipe(
        Effect.map((rows) => ({
          live: toNumber(rows.find((row) => row["kind"] === "live")?.["era"] ?? 0),
          records: rows.flatMap((row) => {
            const record = row["kind"] === "record" ? toStored(row) : undefined
            return record === undefined ? [] : [{ ...record, circuit: String(row["circuit"]) }]
          })
        }))
      )
    )
  }

  /** Deletes what has ended, now and then. */
  private get sweep(): Effect.Effect<void, SqlError> {
    const { database } = this
    const { now, sql } = database
    return Effect.flatMap(Clock.currentTimeMillis, (at) => {
      if (at - this.sweptAt < sweepMillis) return Effect.void
      this.sweptAt = at
      return Effect.forEach(
        ["s", "_ballots", "_inquiries", "_voices"] as const,
        (table) => database.run(sql`DELETE FROM ${database.table(table)} WHERE ends_at <= ${now}`),
        { discard: true }
      )
    })
  }

  /** Where the database can: the others hear of it when this is committed. */
  private announce(tag: "R" | "I", circuit: string, era: number, rest: string): Effect.Effect<void, SqlError> {
    const { database } = this
    if (database.dialect !== "pg") return Effect.void
    const begin = `${tag} ${era} ${circuit} `
    const text = begin + (new TextEncoder().encode(begin + rest).length > longestText ? "" : rest)
    return database.run(database.sql`SELECT pg_notify(${database.channel}, ${text})`)
  }

  get changes(): Stream.Stream<Change, StoreError> {
    const { announcing } = this.database
    const heard =
      announcing === undefined
        ? this.polled
        : Stream.unwrap(
            Effect.map(letGo(announcing.listen(this.database.channel)), (queue) => Stream.fromQueue(queue))
          ).pipe(Stream.mapEffect(({ payload }) => this.toChange(payload)))
    return Stream.mapError(
      Stream.filter(heard, (change) => change !== undefined),
      (cause) => new StoreError({ operation: "changes", cause })
    )
  }

  private toChange(text: string): Effect.Effect<Change | undefined, SqlError> {
    const found = /^([RI]) (\d+) (\S+) (.*)$/s.exec(text)
    if (found === null) return Effect.succeed(undefined)
    const [, tag, digits, circuit = "", rest = ""] = found
    const era = Number(digits)
    if (!Number.isSafeInteger(era)) return Effect.succeed(undefined)
    if (tag === "I") return Effect.succeed({ _tag: "Inquiry", circuit, era, box: rest })
    if (rest !== "") return Effect.succeed({ _tag: "Record", circuit, era, body: rest })
    return Effect.map(this.one(circuit), (record) =>
      record === undefined ? undefined : { _tag: "Record", circuit, era: record.era, body: record.body }
    )
  }

  /** What is new since it was looked at last. */
  private get polled(): Stream.Stream<Change, SqlError> {
    const { database } = this
    const { sql } = database
    const seen = { era: Number.NEGATIVE_INFINITY, asked: Number.NEGATIVE_INFINITY }
    const latest = database.rows(sql`SELECT
      COALESCE((SELECT era FROM ${database.table("_eras")} WHERE id = 1), 0) AS era, ${database.now} AS asked`)
    const begin = Effect.map(latest, ([row]) => {
      seen.era = toNumber(row?.["era"])
      seen.asked = toNumber(row?.["asked"])
    })
    // What is beyond the last era, or the present, somebody else wrote: nothing would be heard of after it.
    const fresh = Effect.suspend(() =>
      database.rows(sql`
        SELECT 'R' AS tag, circuit, era, body, 0 AS asked FROM ${database.table("s")}
          WHERE era > ${seen.era} AND era <= (SELECT era FROM ${database.table("_eras")} WHERE id = 1)
        UNION ALL SELECT 'I', circuit, era, box, asked_at FROM ${database.table("_inquiries")}
          WHERE asked_at >= ${seen.asked} AND asked_at <= ${database.now}
        ORDER BY era`)
    )
    const changes = Effect.map(fresh, (rows) =>
      rows.map((row): Change => {
        const [circuit, era, text] = [String(row["circuit"]), toNumber(row["era"]), String(row["body"])]
        if (row["tag"] === "I") {
          seen.asked = Math.max(seen.asked, toNumber(row["asked"]) + 1)
          return { _tag: "Inquiry", circuit, era, box: text }
        }
        seen.era = Math.max(seen.era, era)
        return { _tag: "Record", circuit, era, body: text }
      })
    )
    const again = Effect.andThen(Effect.sleep(Duration.millis(this.pollMillis)), changes)
    return Stream.unwrap(Effect.as(begin, Stream.flatMap(Stream.fromEffectRepeat(again), Stream.fromIterable)))
  }

  private run<A>(operation: StoreError["operation"], effect: Effect.Effect<A, SqlError>): Effect.Effect<A, StoreError> {
    // Two that got in each other's way: all of these may be said again.
    const again = Effect.retry(effect, { times: 3, while: isConflict }).pipe(
      Effect.tapError((error) => (makesNoSense(error) ? Deferred.succeed(this.broken, undefined) : Effect.void))
    )
    return Effect.mapError(this.database.apart(again), (cause) => new StoreError({ operation, cause }))
  }
}
