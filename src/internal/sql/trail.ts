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
import { idOf, isNewer, type Row, toLine, toState } from "./trailRows.ts"

/** What a trail is written with, checked. */
export interface Writing {
  /** Of whom it is: unique for each run of a program. */
  readonly run: string
  /** How the process is called. */
  readonly process: string
  /** What is written with the line of an event, as JSON. */
  readonly metadata: (event: Transition) => string | null
  readonly flushMillis: number
  readonly maxPending: number
}

const longestPauseMillis = 30_000

/**
 * States of a process's own count for this long after its last heartbeat. A process renews it three times as often, while it has
 * such states and no longer.
 */
export const heartbeat = { countsMillis: 30_000, everyMillis: 10_000 }

/** A state to be written, or a row to be deleted. */
interface Change {
  readonly circuit: string
  readonly owner: string
  readonly state: Row | undefined
}

/** What happened, kept until it is written: each once, whatever becomes of the database. */
export class Trail {
  private readonly database: Database
  private readonly writing: Writing
  private readonly pending = MutableList.make<Row>()
  /** The latest state of each circuit that is not written yet, by circuit and owner. */
  private readonly changes = new Map<string, Change>()
  /** Circuits whose state is this process's own, and not Closed; and a name for that, which none had before. */
  private readonly own = new Map<string, string>()
  /** Circuits that are not Closed in the fleet, as far as this process knows. */
  private readonly fleets = new Set<string>()
  private written = 0
  private dropped = 0
  private serial = 0
  private arrived = Deferred.makeUnsafe<void>()
  private reported = false
  private readonly turn = Semaphore.makeUnsafe(1)

  /** The metadata of an event. */
  get metadata(): Writing["metadata"] {
    return this.writing.metadata
  }

  constructor(database: Database, writing: Writing) {
    this.database = database
    this.writing = writing
  }

  /** How many events were written, wait, and found no room. */
  get stats() {
    return { written: this.written, pending: this.pending.length, dropped: this.dropped }
  }

  /**
   * Keeps what a circuit did. The process that makes a transition of the fleet writes it, and the others do not. An operator outside
   * of the fleet may have no trail: each process writes that action, under one id. `own` is this process's name in the fleet.
   */
  note(event: BreakerEvent, own: string | undefined): void {
    if (event._tag !== "Transition") return
    const isAnothers = event.process !== undefined && event.process !== own
    const isWritten = !isAnothers || event.deed !== undefined
    if (isWritten) this.addLine(event)
    if (event.scope === "fleet") this.noteFleets(event, isWritten)
    else this.noteOwn(event)
    if (this.hasWork) Deferred.doneUnsafe(this.arrived, Exit.void)
  }

  private addLine(event: Transition): void {
    if (this.pending.length >= this.writing.maxPending) {
      MutableList.take(this.pending)
      this.dropped++
    }
    const { metadata, process, run } = this.writing
    const serial = (++this.serial).toString(36).padStart(8, "0")
    const id = event.deed === undefined ? `${run}-${serial}` : actionId(event)
    // Alone, a process goes on with an outage that began as the fleet's.
    const circuit = idOf(event)
    const isFleets = event.scope === "fleet" || this.fleets.has(circuit)
    const owner = isFleets ? "" : (this.own.get(circuit) ?? this.nextOwn)
    MutableList.append(this.pending, toLine(event, { id, metadata: metadata(event), process, owner }))
  }

  /** The fleet decides from here on: what this process had decided for itself is over. */
  private noteFleets(event: Transition, isWritten: boolean): void {
    const circuit = idOf(event)
    if (this.own.delete(circuit)) this.change({ circuit, owner: this.writing.run, state: undefined })
    if (isWritten) this.change({ circuit, owner: "", state: toState(event, "") })
    if (event.to === "Closed") this.fleets.delete(circuit)
    else this.fleets.add(circuit)
  }

  private noteOwn(event: Transition): void {
    const circuit = idOf(event)
    const { run } = this.writing
    if (event.to === "Closed") {
      this.own.delete(circuit)
      this.fleets.delete(circuit)
    } else if (!this.own.has(circuit)) this.own.set(circuit, this.nextOwn)
    this.change({ circuit, owner: run, state: toState(event, run) })
  }

  private get nextOwn(): string {
    return `${this.writing.run}-${this.serial.toString(36)}`
  }

  private change(change: Change): void {
    this.changes.set(`${change.circuit} ${change.owner}`, change)
  }

  private get hasWork(): boolean {
    return this.pending.length > 0 || this.changes.size > 0
  }

  /** Writes what there is, again and again, for ever. */
  get run(): Effect.Effect<never> {
    const pause = Effect.sleep(Duration.millis(this.writing.flushMillis))
    const wait = Effect.suspend(() => (this.hasWork ? Effect.void : Deferred.await(this.arrived)))
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
      const lines = MutableList.toArrayN(this.pending, batchSize)
      const changes = [...this.changes].slice(0, batchSize)
      const { dropped } = this
      if (lines.length === 0 && changes.length === 0) {
        this.arrived = Deferred.makeUnsafe<void>()
        return Effect.void
      }
      const written = this.write(
        lines,
        changes.map(([, change]) => change)
      )
      return Effect.flatMap(this.database.apart(written), () => {
        // What found no room meanwhile was taken from the front.
        MutableList.takeNVoid(this.pending, Math.max(0, lines.length - (this.dropped - dropped)))
        this.written += lines.length
        // What changed again meanwhile is written the next time.
        for (const [key, change] of changes) if (this.changes.get(key) === change) this.changes.delete(key)
        return this.batches
      })
    })
  }

  private write(lines: ReadonlyArray<Row>, changes: ReadonlyArray<Change>): Effect.Effect<void, SqlError> {
    const { database } = this
    const { sql } = database
    const states: Array<Row> = []
    const gone: Array<string> = []
    // All lock them in the same order, so that no two wait for each other.
    const inOrder = changes.toSorted((a, b) =>
      a.circuit < b.circuit || (a.circuit === b.circuit && a.owner < b.owner) ? -1 : 1
    )
    for (const { circuit, state } of inOrder) {
      if (state === undefined) gone.push(circuit)
      else states.push(state)
    }
    // Said twice, as after an answer that was lost, it is there once.
    return sql.withTransaction(
      Effect.gen({ self: this }, function* () {
        if (lines.length > 0) yield* writeLines(database, lines)
        if (states.some(({ owner }) => owner !== "")) yield* this.writeHeartbeat
        if (states.length > 0) yield* writeStates(database, states)
        if (gone.length > 0) {
          const whose = sql`owner = ${this.writing.run} AND ${sql.in("circuit_id", gone)}`
          yield* database.run(sql`DELETE FROM ${database.table("_states")} WHERE ${whose}`)
        }
      })
    )
  }

  /** Renews the heartbeat, again and again, for ever: while there are states that count by it. */
  get beats(): Effect.Effect<never> {
    const beat = Effect.suspend(() => (this.own.size === 0 ? Effect.void : this.database.apart(this.writeHeartbeat)))
    // What keeps lines from being written has been reported there.
    const once = Effect.ignoreCause(this.turn.withPermit(beat))
    return Effect.forever(Effect.andThen(Effect.sleep(Duration.millis(heartbeat.everyMillis)), once))
  }

  private get writeHeartbeat(): Effect.Effect<void, SqlError> {
    const { database } = this
    const { now, sql } = database
    const { process, run } = this.writing
    const row = sql`(${run}, ${storable(process)}, ${now} + ${database.big(heartbeat.countsMillis)})`
    const insert = sql`INSERT INTO ${database.table("_heartbeats")} (owner, process, ends_at) VALUES ${row}`
    return database.run(sql`${insert} ${database.onConflict(["owner"], ["ends_at"])}`)
  }

  /** What this process had of its own ends with it. */
  get leave(): Effect.Effect<void, SqlError> {
    const { database } = this
    const { sql } = database
    const ofOwner = (table: "_states" | "_heartbeats") =>
      database.run(sql`DELETE FROM ${database.table(table)} WHERE owner = ${this.writing.run}`)
    return Effect.andThen(this.flush, database.apart(Effect.andThen(ofOwner("_states"), ofOwner("_heartbeats"))))
  }
}

/** A name for one run of a program, which no other has. */
export const runOf = (process: string): Effect.Effect<string> =>
  Effect.map(
    Clock.currentTimeMillis,
    (now) =>
      `${circuitId(process, undefined).slice(0, 60)}~${Math.floor(now).toString(36)}${globalThis.crypto.randomUUID().slice(0, 8)}`
  )

/** Each line once, however often it is written. */
const writeLines = (database: Database, lines: ReadonlyArray<Row>): Effect.Effect<void, SqlError> =>
  database.run(database.sql`${database.insert("_events", lines)} ${database.unlessThere}`)

/** Of two states of one circuit the later one is kept, whichever is written first. */
const writeStates = (database: Database, states: ReadonlyArray<Row>): Effect.Effect<void, SqlError> => {
  const { sql } = database
  const columns = Object.keys(states[0] ?? {}).filter((name) => !["circuit_id", "owner", "version"].includes(name))
  const insert = database.insert("_states", states)
  if (database.dialect === "mysql") {
    // `version` last: the others look at the one that was there.
    const isLater = sql.literal(isNewer("VALUES(version)", "version"))
    const newer = (column: string) => sql`${sql(column)} = IF(${isLater}, VALUES(${sql(column)}), ${sql(column)})`
    return database.run(sql`${insert} ON DUPLICATE KEY UPDATE ${sql.csv([...columns, "version"].map(newer))}`)
  }
  const update = database.onConflict(["circuit_id", "owner"], [...columns, "version"])
  const [there] = sql`${database.table("_states")}.version`.compile(true)
  return database.run(sql`${insert} ${update} WHERE ${sql.literal(isNewer("excluded.version", there))}`)
}

/** The line of an operator action has the same id, whoever writes it. */
const actionId = ({ deed, why }: Transition): string => `${deed}-${why}`

/** Writes operator actions, which processes that hear of them write as well: each is there once. */
export const writeActions = (
  database: Database,
  actions: ReadonlyArray<Transition>,
  metadata: (event: Transition) => string | null
): Effect.Effect<void, SqlError> => {
  const batches = Array.from({ length: Math.ceil(actions.length / batchSize) }, (_, i) =>
    actions.slice(i * batchSize, (i + 1) * batchSize).toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1))
  )
  return Effect.forEach(
    batches,
    (batch) => {
      const lines = batch.map((event) =>
        toLine(event, { id: actionId(event), metadata: metadata(event), process: "operator", owner: "" })
      )
      const states = batch.map((event) => toState(event, ""))
      return database.sql.withTransaction(Effect.andThen(writeLines(database, lines), writeStates(database, states)))
    },
    { discard: true }
  )
}
