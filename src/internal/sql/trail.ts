import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as MutableList from "effect/MutableList"
import * as Semaphore from "effect/Semaphore"
import type { SqlError } from "effect/sql/SqlError"
import type { BreakerEvent, Transition } from "../../BreakerEvent.ts"
import { circuitId } from "../codec.ts"
import { quietly } from "../engine/logEvent.ts"
import { foreignText } from "../foreign.ts"
import { batchSize, type Database, storable } from "./database.ts"

/** What a trail is written with, checked. */
export interface Writing {
  /** Of whom it is: unique for each run of a program. */
  readonly run: string
  /** How the process is called. */
  readonly process: string
  readonly metadata: string | null
  readonly flushMillis: number
  readonly maxPending: number
}

const longestPauseMillis = 30_000

type Line = Readonly<Record<string, string | number | null>>

const whole = (n: number | undefined): number | null => (n === undefined ? null : Math.round(n))

const textOrNull = (text: string | undefined): string | null => (text === undefined ? null : storable(text))

const longestId = 1_400

/** A text for an index, which takes no long ones: of these the beginning, and a number made of the whole. */
export const shortId = (id: string): string => {
  if (id.length <= longestId) return id
  const sums = [0x811c9dc5, 0x1b873593, 0x9e3779b1, 0x85ebca6b]
  for (let i = 0; i < id.length; i++) {
    const place = i % sums.length
    sums[place] = Math.imul((sums[place] as number) ^ id.charCodeAt(i), 0x01000193)
  }
  const mixed = sums.map((one, i) => (Math.imul(one ^ (sums[(i + 1) % 4] as number), 0x01000193) >>> 0).toString(36))
  return `${id.slice(0, longestId)}~${mixed.join("")}`
}

/** What happened, kept until it is written: each once, whatever becomes of the database. */
export class Trail {
  private readonly database: Database
  private readonly writing: Writing
  private readonly pending = MutableList.make<Line>()
  private written = 0
  private dropped = 0
  private serial = 0
  /** Since when circuits let no calls through; only those that do not are kept. */
  private readonly downSince = new Map<string, number>()
  private arrived = Deferred.makeUnsafe<void>()
  private reported = false
  private readonly turn = Semaphore.makeUnsafe(1)

  constructor(database: Database, writing: Writing) {
    this.database = database
    this.writing = writing
  }

  /** How many events were written, wait, and found no room. */
  get stats() {
    return { written: this.written, pending: this.pending.length, dropped: this.dropped }
  }

  /**
   * What a circuit does is the fleet's when this process did it; what others did they write themselves. Who is none of them
   * does not: then each does, under one id.
   */
  note(event: BreakerEvent, own: string | undefined): void {
    if (event._tag !== "Transition") return
    const isAnothers = event.process !== undefined && event.process !== own
    if (isAnothers && event.deed === undefined) return
    if (this.pending.length >= this.writing.maxPending) {
      MutableList.take(this.pending)
      this.dropped++
    }
    MutableList.append(this.pending, this.toRow(event))
    Deferred.doneUnsafe(this.arrived, Exit.void)
  }

  private toRow(event: Transition): Line {
    const { actor, at, circuit, counts, deed, detail, era, from, key, lastedMillis, mode, openings, scope, to, why } =
      event
    const id = shortId(circuitId(circuit, key))
    const since = this.downSince.get(id)
    const isDown = to === "Open" || to === "HalfOpen" || to === "Isolated"
    if (isDown && since === undefined) this.downSince.set(id, at)
    if (!isDown) this.downSince.delete(id)
    const { metadata, process, run } = this.writing
    return {
      id: deed === undefined ? `${run}-${(++this.serial).toString(36).padStart(8, "0")}` : `${deed}-${why}`,
      at: Math.round(at),
      circuit_id: id,
      circuit: storable(circuit),
      circuit_key: textOrNull(key),
      from_state: from,
      to_state: to,
      why,
      detail: textOrNull(detail),
      actor: textOrNull(actor),
      scope,
      process: storable(event.process ?? process),
      mode,
      era,
      openings,
      retry_after: event.retryAfterMillis,
      lasted: whole(lastedMillis),
      down_for: !isDown && since !== undefined ? Math.max(0, Math.round(at - since)) : null,
      calls: whole(counts?.calls),
      failures: whole(counts?.failures),
      slow: whole(counts?.slow),
      streak: whole(counts?.streak),
      metadata
    }
  }

  /** Writes what there is, again and again, for ever. */
  get run(): Effect.Effect<never> {
    const pause = Effect.sleep(Duration.millis(this.writing.flushMillis))
    const wait = Effect.suspend(() => (this.pending.length > 0 ? Effect.void : Deferred.await(this.arrived)))
    let failures = 0
    const once = Effect.matchCauseEffect(this.flush, {
      onSuccess: () =>
        Effect.sync(() => {
          failures = 0
          this.reported = false
        }),
      onFailure: (cause) => {
        const first = !this.reported
        this.reported = true
        const later = Effect.sleep(Duration.millis(Math.min(longestPauseMillis, 500 * 2 ** failures++)))
        const said = "What circuits do cannot be written down; it is kept until it can"
        return first ? Effect.andThen(quietly(Effect.logWarning(`${said}: ${foreignText(cause)}`)), later) : later
      }
    })
    return Effect.forever(Effect.andThen(wait, Effect.andThen(pause, once)))
  }

  /** Writes all that there is now; one at a time does. */
  get flush(): Effect.Effect<void, SqlError> {
    return this.turn.withPermit(this.batches)
  }

  private get batches(): Effect.Effect<void, SqlError> {
    return Effect.suspend(() => {
      const batch = MutableList.toArrayN(this.pending, batchSize)
      const { dropped } = this
      if (batch.length === 0) {
        this.arrived = Deferred.makeUnsafe<void>()
        return Effect.void
      }
      return Effect.flatMap(this.database.apart(this.write(batch)), () => {
        // What found no room meanwhile was taken from the front.
        MutableList.takeNVoid(this.pending, batch.length - (this.dropped - dropped))
        this.written += batch.length
        return this.batches
      })
    })
  }

  private write(batch: ReadonlyArray<Line>): Effect.Effect<void, SqlError> {
    const { database } = this
    const { sql } = database
    const insert = database.insert("_events", batch)
    const states = new Map<string, Line>()
    for (const row of batch) {
      const owner = row["scope"] === "fleet" ? "" : this.writing.run
      const state: Line = {
        circuit_id: row["circuit_id"] ?? "",
        owner,
        circuit: row["circuit"] ?? "",
        circuit_key: row["circuit_key"] ?? null,
        state: row["to_state"] ?? "",
        since: row["at"] ?? 0,
        why: row["why"] ?? "",
        detail: row["detail"] ?? null,
        actor: row["actor"] ?? null,
        openings: row["openings"] ?? 0,
        ends_at: row["retry_after"] === null ? null : Number(row["at"]) + Number(row["retry_after"])
      }
      states.set(`${state["circuit_id"]} ${owner}`, state)
    }
    // All lock them in the same order, so that no two wait for each other.
    const inOrder = [...states].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, state]) => state)
    // Said twice, as after an answer that was lost, it is there once.
    return sql.withTransaction(
      Effect.andThen(database.run(sql`${insert} ${database.unlessThere}`), this.writeStates(inOrder))
    )
  }

  /** The latest of each; one that is older than what is there changes nothing. */
  private writeStates(states: ReadonlyArray<Line>): Effect.Effect<void, SqlError> {
    const { database } = this
    const { sql } = database
    const columns = ["state", "since", "why", "detail", "actor", "openings", "ends_at"]
    const table = database.table("_states")
    const insert = database.insert("_states", states)
    if (database.dialect === "mysql") {
      // `since` last: the others look at the one that was there.
      const newer = (column: string) =>
        sql`${sql(column)} = IF(VALUES(since) >= since, VALUES(${sql(column)}), ${sql(column)})`
      const order = [...columns.filter((column) => column !== "since"), "since"]
      return database.run(sql`${insert} ON DUPLICATE KEY UPDATE ${sql.csv(order.map(newer))}`)
    }
    return database.run(
      sql`${insert} ${database.onConflict(["circuit_id", "owner"], columns)} WHERE excluded.since >= ${table}.since`
    )
  }

  /** What this process had of its own ends with it. */
  get leave(): Effect.Effect<void, SqlError> {
    const { database } = this
    const own = database.sql`DELETE FROM ${database.table("_states")} WHERE owner = ${this.writing.run}`
    return Effect.andThen(this.flush, database.apart(database.run(own)))
  }
}

/** A name for one run of a program, which no other has. */
export const runOf = (process: string): Effect.Effect<string> =>
  Effect.map(
    Clock.currentTimeMillis,
    (now) =>
      `${circuitId(process, undefined).slice(0, 60)}~${Math.floor(now).toString(36)}${globalThis.crypto.randomUUID().slice(0, 8)}`
  )
