import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import { foreignText } from "../core/foreign.ts"
import type { FleetState } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { quietly } from "../engine/logEvent.ts"
import { TrafficMeter } from "../engine/traffic.ts"
import { fromBody, fromCircuitId } from "../store/codec.ts"
import { encode } from "../store/digest.ts"
import type { Change } from "../store/SharedStore.ts"
import { isUnconnected, storeAnnotation } from "../store/unconnected.ts"
import type { Ballots } from "./ballots.ts"
import type { FleetContext } from "./context.ts"
import type { Lanes } from "./lanes.ts"
import type { Leases } from "./leases.ts"
import type { OperatorActions } from "./operatorActions.ts"
import { Pages } from "./pages.ts"
import type { Records } from "./records.ts"
import type { StallDetector } from "./stall.ts"

/** How often a store that does not answer is asked again, unless `syncInterval` is shorter. */
const downMillis = 1_000

/** How long a process that starts waits to read which circuits are open, once the store is connected. */
const startMillis = 200

/** If writes succeed, this process logs a warning after this many failed reads in a row. */
const missesReported = 3

const stepMillis = 20

/** How long shutdown waits for the last messages to reach the store. */
const endMillis = 500

/** About how long a process waits before it listens again, when the stream of announcements has ended. */
const listenAgainMillis = 1_000

/**
 * Waits for an effect for at most this long, in steps that each count for the time they should take. If the machine is busy, the time
 * in which the process does not run does not count, because it cannot receive an answer then.
 */
const waitAtMost = (self: Effect.Effect<unknown>, millis: number): Effect.Effect<void> => {
  const wait = (left: number): Effect.Effect<void> =>
    left <= 0 ? Effect.void : Effect.flatMap(Effect.sleep(Math.min(stepMillis, left)), () => wait(left - stepMillis))
  return Effect.raceFirst(Effect.asVoid(self), wait(millis))
}

/** Keeps this process in step with the store: receives announcements, reads what it missed, and writes back what the store lost. */
export class Repair {
  private readonly context: FleetContext
  private readonly records: Records
  private readonly ballots: Ballots
  private readonly leases: Leases
  private readonly actions: OperatorActions
  private readonly lanes: Lanes
  private readonly pages: Pages
  private readonly stall: StallDetector
  private readonly meter: TrafficMeter
  /** Whether this process has ignored an announcement. */
  private hasMissed = false
  private reported = false
  /** Whether the store reported by itself that it is not connected. */
  private away = false
  /** Whether a warning says that reads fail although the store answers writes. */
  private reportedReads = false

  constructor(of: {
    readonly context: FleetContext
    readonly records: Records
    readonly ballots: Ballots
    readonly leases: Leases
    readonly actions: OperatorActions
    readonly lanes: Lanes
    readonly stall: StallDetector
  }) {
    this.context = of.context
    this.records = of.records
    this.ballots = of.ballots
    this.leases = of.leases
    this.actions = of.actions
    this.lanes = of.lanes
    this.pages = new Pages(of.context, of.records)
    this.stall = of.stall
    this.meter = new TrafficMeter(of.context.registry)
  }

  /** Runs in the background until the scope closes. Then this process leaves the fleet. */
  get run(): Effect.Effect<void, never, Scope.Scope> {
    const { context } = this
    const listen = Effect.suspend(() => Stream.runForEach(context.store.changes, (change) => this.hear(change)))
    const tick = Math.min(downMillis, context.syncMillis)
    let synced = context.now()
    const repair = Effect.suspend(() => {
      const now = context.now()
      for (const circuit of context.shared)
        if (circuit.fleetState !== undefined) this.ballots.renew(circuit, circuit.fleetState)
      const isBehind = this.pages.misses > 0 || this.hasMissed || context.isStalled()
      const isWell = context.client.misses === 0 && !isBehind
      if (isWell && now - synced < context.syncMillis - tick / 2) return Effect.void
      synced = now
      this.hasMissed = false
      // A defect must not end the loop.
      return Effect.catchCause(this.sync, (cause) =>
        quietly(Effect.logError(`Circuits could not be compared with those of other processes: ${foreignText(cause)}`))
      )
    })
    const later = Effect.suspend(() => Effect.sleep(tick * (0.9 + 0.2 * context.random())))
    // All processes may lose their connection at the same moment.
    const listenLater = Effect.suspend(() => Effect.sleep(context.spread(listenAgainMillis)))
    return Effect.gen({ self: this }, function* () {
      yield* Effect.addFinalizer(() => Effect.timeoutOption(this.leave, endMillis))
      yield* Effect.forkScoped(this.stall.watch(() => this.keepBack()))
      // Listen again when the stream ends or fails.
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.ignoreCause(listen), listenLater)))
      if (context.store.connected !== undefined) {
        yield* waitAtMost(context.store.connected, context.connectMillis)
      }
      const started = Effect.sync(() => {
        context.starting = false
      })
      // On a busy machine the first read may time out although the store is well: it is repeated. A read that fails at once is not.
      let isAwaited = true
      const readFirst: Effect.Effect<boolean> = Effect.suspend(() => {
        const askedAt = context.now()
        return Effect.flatMap(this.pages.read, (isRead) =>
          isRead || !isAwaited || context.now() - askedAt < startMillis ? Effect.succeed(isRead) : readFirst
        )
      })
      // Read the open circuits first. Then wait for the heartbeat: from then on the other processes count this one.
      const begin = Effect.andThen(Effect.ensuring(readFirst, started), this.exchange)
      const first = yield* Effect.forkScoped(begin)
      yield* waitAtMost(Fiber.await(first), startMillis)
      isAwaited = false
      const loop = Effect.andThen(Fiber.await(first), Effect.forever(Effect.andThen(later, repair)))
      yield* Effect.forkScoped(loop)
    })
  }

  private hear(change: Change): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { context } = this
      if (change._tag === "RollCall") this.lanes.hear(change)
      const which = fromCircuitId(change.circuit)
      if (which === undefined) return Effect.void
      const circuit = context.registry.peek(which.name, which.key)
      if (change._tag !== "Record") return circuit === undefined ? Effect.void : this.answer(circuit, change)
      if (context.isStalled()) {
        // The announcement may have waited during the whole stall. The store knows how old the record is.
        this.hasMissed = true
        return Effect.void
      }
      const now = context.now()
      const read = fromBody(change.body, now)
      // This process learns the result of its own write from the answer.
      const isCommitting = (circuit?.fleetState?.record.committing ?? 0) > 0
      if (isCommitting && read?.provenance.process === context.voter) return Effect.void
      const matters = read !== undefined && Fleet.isListed(read.circuit, now)
      const found = circuit ?? (matters ? context.registry.own(which.name, which.key, context.policies) : undefined)
      if (found === undefined || (!matters && !context.knows(found))) return Effect.void
      return this.records.learn(found, { ...change, age: 0 }, Number.NEGATIVE_INFINITY)
    })
  }

  /** Answers an inquiry. Reports once if other processes use another ballot box. The casts lane answers roll calls. */
  private answer(circuit: LiveCircuit, change: Exclude<Change, { readonly _tag: "Record" }>): Effect.Effect<void> {
    const { context, records } = this
    if (!context.isShareable(circuit) || !circuit.group.declared) return Effect.void
    if (change.box !== context.boxOf(circuit)) return records.reportPolicy(circuit)
    if (change._tag === "RollCall") return Effect.void
    const known = circuit.fleetState?.epoch ?? 0
    const asked = Effect.sync(() => this.ballots.asked(circuit))
    // Later announcements must not wait for this read.
    return known >= change.epoch
      ? asked
      : Effect.sync(() => {
          context.runtime.background(Effect.andThen(records.loadAll([change.circuit]), asked))
        })
  }

  private get sync(): Effect.Effect<void> {
    const both = Effect.all([this.pages.read, this.exchange], { concurrency: 2 })
    return Effect.andThen(both, Effect.andThen(this.reportReads, this.tidy))
  }

  private get exchange(): Effect.Effect<void> {
    const { context, lanes } = this
    return Effect.flatMap(context.digest ? this.heartbeatWithDigest : lanes.heartbeat(), (answered) =>
      !answered && context.client.down ? this.reportDown : Effect.void
    )
  }

  private get heartbeatWithDigest(): Effect.Effect<boolean> {
    return Effect.flatMap(this.meter.read, ({ begin, millis, names }) =>
      Effect.tap(this.lanes.heartbeat(encode(millis, names)), (answered) => {
        // What did not arrive is in the next digest.
        if (answered) begin()
        return Effect.void
      })
    )
  }

  /** Sends operator actions and records that the store does not have, and removes fleet state that is no longer needed. */
  private get tidy(): Effect.Effect<void> {
    const { context } = this
    return Effect.suspend(() => {
      if (context.client.down) return Effect.void
      const at = context.now()
      const each = Effect.forEach([...context.shared], (circuit) => this.tidyOne(circuit, at), { discard: true })
      return Effect.andThen(this.leases.giveBack, Effect.andThen(this.pages.loadEnded, each))
    })
  }

  private tidyOne(circuit: LiveCircuit, at: number): Effect.Effect<unknown> {
    const { context } = this
    const { fleetState } = circuit
    if (fleetState === undefined) return Effect.void
    // Applies a reloaded policy.
    context.registry.peek(circuit.group.name, circuit.key)
    // The reloaded policy keeps the circuit out of the fleet. No other process would announce the end of an override.
    if (!context.isShareable(circuit)) return this.records.disown(circuit, "Released")
    this.records.restoring.giveBack(circuit, fleetState)
    const { pending } = fleetState.actions
    if (pending !== undefined) {
      // An action that is being sent is not sent again: another operator may undo it in between.
      return fleetState.record.ahead > 0
        ? Effect.void
        : this.actions.tell(circuit, fleetState, pending, false, "Patient")
    }
    if (this.isBehind(circuit, fleetState, at)) return this.actions.close(circuit, "Probe")
    return Effect.sync(() => {
      if (this.isForgotten(circuit, fleetState, at)) context.registry.drop(circuit)
      else if (this.isOver(circuit, fleetState, at)) context.forget(circuit)
    })
  }

  /** Whether the circuit needs no fleet state any more. */
  private isOver(circuit: LiveCircuit, fleetState: FleetState, now: number): boolean {
    const { known } = fleetState.record
    return (
      circuit.control.value._tag === "Closed" &&
      (known === undefined || known.circuit._tag === "Closed") &&
      !fleetState.lease.asking &&
      fleetState.record.committing === 0 &&
      fleetState.record.lost === undefined &&
      this.ballots.isSilent(fleetState, now) &&
      circuit.seen().isQuiet(now)
    )
  }

  /** Whether this is an opening of other processes that is over and dropped by the store, of a circuit never called here. */
  private isForgotten(circuit: LiveCircuit, fleetState: FleetState, now: number): boolean {
    const { known } = fleetState.record
    const isOver = known?.epoch === 0 && known.circuit._tag === "Open" && now >= known.circuit.until
    return isOver && circuit.calls === 0 && this.ballots.isSilent(fleetState, now)
  }

  /** Whether this process closed the circuit while it was cut off, and the fleet's opening is over but not closed. */
  private isBehind(circuit: LiveCircuit, { record: { known } }: FleetState, now: number): boolean {
    return (
      circuit.control.value._tag === "Closed" &&
      known !== undefined &&
      !this.records.isForeign(circuit, known) &&
      Circuit.admission(Circuit.expire(known.circuit, now), now, circuit.policy) === "Probe"
    )
  }

  private get reportDown(): Effect.Effect<void> {
    if (this.reported) return Effect.void
    // A store that is not connected logs its own warning, with the reason.
    if (isUnconnected(this.context.store)) {
      this.away = true
      return Effect.void
    }
    this.reported = true
    const line = `The store of the circuits does not answer: ${this.context.client.trouble}`
    return Effect.annotateLogs(quietly(Effect.logWarning(line)), storeAnnotation, "circuits")
  }

  /**
   * A store that answers writes and fails reads is not down: this process votes, but learns nothing from other processes. The usual reason is
   * a missing right or a missing index.
   */
  private get reportReads(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { misses, trouble } = this.pages
      if (misses === 0 && this.reportedReads) {
        this.reportedReads = false
        return quietly(Effect.logInfo("The changes of other processes can be read again"))
      }
      const isOnlyReads = misses >= missesReported && this.context.client.misses === 0
      if (!isOnlyReads || this.reportedReads) return Effect.void
      this.reportedReads = true
      const line = `The store answers, but this process cannot read the changes of other processes: ${trouble}`
      return Effect.annotateLogs(quietly(Effect.logWarning(line)), storeAnnotation, "circuits")
    })
  }

  wentDown(): void {
    for (const circuit of this.context.registry.all()) this.ballots.copyEvidence(circuit)
  }

  returned(): void {
    if (this.reported || this.away) {
      this.reported = false
      this.away = false
      this.context.runtime.background(quietly(Effect.logInfo("The store of the circuits answers again")))
    }
    this.keepBack()
  }

  /** The store's clock has leapt forward, or this process was suspended. What this process saw may be old. */
  leapt(millis: number): void {
    this.records.leapt(millis)
    this.keepBack()
  }

  private keepBack(): void {
    for (const circuit of this.context.registry.all()) this.ballots.keepBack(circuit)
  }

  private get leave(): Effect.Effect<unknown> {
    const { context } = this
    return Effect.suspend(() => {
      context.leaving = true
      if (context.client.down) return Effect.void
      return Effect.all([this.leases.leave, this.lanes.heartbeat()], { concurrency: 2, discard: true })
    })
  }
}
