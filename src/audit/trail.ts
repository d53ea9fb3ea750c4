import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as MutableList from "effect/MutableList"
import * as Semaphore from "effect/Semaphore"
import type { SqlError } from "effect/sql/SqlError"
import { foreignText } from "../core/foreign.ts"
import { nextStamp } from "../core/stamp.ts"
import { quietly } from "../engine/logEvent.ts"
import type { BreakerEvent, Transition } from "../shapes/BreakerEvent.ts"
import { batchSize, type Database, storable } from "../sql/database.ts"
import { circuitId } from "../store/codec.ts"
import type { MetadataOf } from "./metadata.ts"
import { idOf, isNewer, type TrailRow, toLine, toState } from "./trailRows.ts"

export interface Writing {
  /** Unique for each run of a program. */
  readonly run: string
  readonly process: string
  readonly metadata: MetadataOf
  readonly flushMillis: number
  readonly maxPending: number
}

const longestPauseMillis = 30_000

/**
 * A state that one process decided alone is valid for `countsMillis` after the last heartbeat of that process. While a process has
 * such a state, it renews its heartbeat at each `everyMillis`.
 */
export const heartbeat = { countsMillis: 30_000, everyMillis: 10_000 }

/** A state to write. If `state` is `undefined`, the row of this circuit and owner is deleted. */
interface StateChange {
  readonly circuit: string
  readonly owner: string
  readonly state: TrailRow | undefined
}

/** Queues events and states until they are written: each line exactly once, even if the database fails in between. */
export class Trail {
  private readonly database: Database
  private readonly writing: Writing
  private readonly pending = MutableList.make<TrailRow>()
  /** The latest state of each circuit, by circuit and owner, if it has not been written yet. */
  private readonly changes = new Map<string, StateChange>()
  /** Circuits that this process alone decided to open or force, each with a unique name for its outages. */
  private readonly own = new Map<string, string>()
  /** Circuits whose shared state is not Closed, as far as this process knows. */
  private readonly fleets = new Set<string>()
  private written = 0
  private dropped = 0
  private serial = 0
  private arrived = Deferred.makeUnsafe<void>()
  private readonly turn = Semaphore.makeUnsafe(1)

  get metadata(): MetadataOf {
    return this.writing.metadata
  }

  constructor(database: Database, writing: Writing) {
    this.database = database
    this.writing = writing
  }

  get stats() {
    return { written: this.written, pending: this.pending.length, dropped: this.dropped }
  }

  /**
   * Queues a transition. If all processes share the transition, only the process that made it writes the line. An operator outside
   * the fleet may have no trail, so every process writes that action under the same id. `own` is the name of this process in the fleet.
   */
  note(event: BreakerEvent, own: string | undefined): void {
    if (event._tag !== "Transition") return
    const isAnothers = event.process !== undefined && event.process !== own
    const isWritten = !isAnothers || event.action !== undefined
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
    this.serial++
    // Lines of one millisecond are read in the order of their ids.
    const id = event.action === undefined ? `${nextStamp(event.at)}-${run}` : actionId(event)
    // If a process loses the store during an outage of the fleet, it continues that outage alone.
    const circuit = idOf(event)
    const isFleets = event.scope === "fleet" || this.fleets.has(circuit)
    const owner = isFleets ? "" : (this.own.get(circuit) ?? this.nextOwn)
    MutableList.append(this.pending, toLine(event, { id, metadata: metadata(event), process, owner }))
  }

  /** From here on the fleet decides the state of the circuit, which replaces the state that this process decided alone. */
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

  private change(change: StateChange): void {
    this.changes.set(`${change.circuit} ${change.owner}`, change)
  }

  private get hasWork(): boolean {
    return this.pending.length > 0 || this.changes.size > 0
  }

  /** Runs forever. Writes what is queued. */
  get run(): Effect.Effect<never> {
    const pause = Effect.sleep(Duration.millis(this.writing.flushMillis))
    const wait = Effect.suspend(() => (this.hasWork ? Effect.void : Deferred.await(this.arrived)))
    let failures = 0
    const once = Effect.matchCauseEffect(this.flush, {
      onSuccess: () =>
        Effect.sync(() => {
          failures = 0
        }),
      onFailure: (cause) => {
        const first = failures === 0
        const later = Effect.sleep(Duration.millis(Math.min(longestPauseMillis, 500 * 2 ** failures++)))
        const line = "The audit trail cannot be written; events are kept until it can"
        return first ? Effect.andThen(quietly(Effect.logWarning(`${line}: ${foreignText(cause)}`)), later) : later
      }
    })
    return Effect.forever(Effect.andThen(wait, Effect.andThen(pause, once)))
  }

  /** Writes everything that is queued. Only one fiber writes at a time. */
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
        // Events that were dropped during the write were at the front.
        MutableList.takeNVoid(this.pending, Math.max(0, lines.length - (this.dropped - dropped)))
        this.written += lines.length
        // A state that changed during the write is written with the next batch.
        for (const [key, change] of changes) if (this.changes.get(key) === change) this.changes.delete(key)
        return this.batches
      })
    })
  }

  private write(lines: ReadonlyArray<TrailRow>, changes: ReadonlyArray<StateChange>): Effect.Effect<void, SqlError> {
    const { database } = this
    const { sql } = database
    const states: Array<TrailRow> = []
    const gone: Array<string> = []
    // All processes lock the rows in the same order, so that they cannot deadlock.
    const inOrder = changes.toSorted((a, b) =>
      a.circuit < b.circuit || (a.circuit === b.circuit && a.owner < b.owner) ? -1 : 1
    )
    for (const { circuit, state } of inOrder) {
      if (state === undefined) gone.push(circuit)
      else states.push(state)
    }
    // Idempotent: after a lost answer the same lines are written again.
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

  /** Runs forever. Renews the heartbeat while this process has states that depend on it. */
  get beats(): Effect.Effect<never> {
    const beat = Effect.suspend(() => (this.own.size === 0 ? Effect.void : this.database.apart(this.writeHeartbeat)))
    // A database error needs no report here: the writer of the lines reports it.
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

  /** Writes what is queued, and deletes the states that this process decided alone. */
  get leave(): Effect.Effect<void, SqlError> {
    const { database } = this
    const { sql } = database
    const ofOwner = (table: "_states" | "_heartbeats") =>
      database.run(sql`DELETE FROM ${database.table(table)} WHERE owner = ${this.writing.run}`)
    return Effect.andThen(this.flush, database.apart(Effect.andThen(ofOwner("_states"), ofOwner("_heartbeats"))))
  }
}

/** A unique id for one run of a program. */
export const runOf = (process: string): Effect.Effect<string> =>
  Effect.map(
    Clock.currentTimeMillis,
    (now) =>
      `${circuitId(process, undefined).slice(0, 60)}~${Math.floor(now).toString(36)}${globalThis.crypto.randomUUID().slice(0, 8)}`
  )

/** A line that is already there is not written again. */
const writeLines = (database: Database, lines: ReadonlyArray<TrailRow>): Effect.Effect<void, SqlError> =>
  database.run(database.sql`${database.insert("_events", lines)} ${database.unlessThere}`)

/** Keeps the later of two states of one circuit, in whichever order they are written. */
const writeStates = (database: Database, states: ReadonlyArray<TrailRow>): Effect.Effect<void, SqlError> => {
  const { sql } = database
  const columns = Object.keys(states[0] ?? {}).filter((name) => !["circuit_id", "owner", "version"].includes(name))
  const insert = database.insert("_states", states)
  if (database.dialect === "mysql") {
    // MySQL assigns the columns in order: `version` is last because the others compare with the previous version.
    const isLater = sql.literal(isNewer("VALUES(version)", "version"))
    const newer = (column: string) => sql`${sql(column)} = IF(${isLater}, VALUES(${sql(column)}), ${sql(column)})`
    return database.run(sql`${insert} ON DUPLICATE KEY UPDATE ${sql.csv([...columns, "version"].map(newer))}`)
  }
  const update = database.onConflict(["circuit_id", "owner"], [...columns, "version"])
  const [there] = sql`${database.table("_states")}.version`.compile(true)
  return database.run(sql`${insert} ${update} WHERE ${sql.literal(isNewer("excluded.version", there))}`)
}

/** All processes that write an operator action give its line this id. */
const actionId = ({ action, why }: Transition): string => `${action}-${why}`

/** Writes operator actions. Processes that receive an action write it too, under the same id, so each action has one line. */
export const writeActions = (
  database: Database,
  actions: ReadonlyArray<Transition>,
  metadata: MetadataOf
): Effect.Effect<void, SqlError> => {
  const batches = Arr.chunksOf(actions, batchSize).map((batch) =>
    batch.toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1))
  )
  return Effect.forEach(
    batches,
    (batch) => {
      const lines = batch.map((event) =>
        toLine(event, { id: actionId(event), metadata: metadata(event), process: "operator", owner: "" })
      )
      // One statement may write a row only once: the last action on a circuit decides its state.
      const states = [...new Map(batch.map((event) => [idOf(event), toState(event, "")])).values()]
      return database.sql.withTransaction(Effect.andThen(writeLines(database, lines), writeStates(database, states)))
    },
    { discard: true }
  )
}
