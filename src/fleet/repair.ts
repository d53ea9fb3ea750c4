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
import { fromBody, fromCircuitId } from "../store/codec.ts"
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

/** A store that does not answer is asked again after this long, or sooner if it is asked more often anyway. */
const downMillis = 1_000

/** How long a process that starts waits to read which circuits are open, once the store is connected. */
const startMillis = 200

/** At the start, a process waits in steps of this length. */
const stepMillis = 20

/** A process that ends waits this long at most to say so. */
const endMillis = 500

/** The announcements of a store that lost them are asked for again after about this long. */
const listenAgainMillis = 1_000

/**
 * Waits for an effect for at most this long. Each step counts as long as it should have taken: of a process that starts on a busy
 * machine, the time in which it does not run does not count, because it cannot receive an answer then.
 */
const waitAtMost = (self: Effect.Effect<unknown>, millis: number): Effect.Effect<void> => {
  const wait = (left: number): Effect.Effect<void> =>
    left <= 0 ? Effect.void : Effect.flatMap(Effect.sleep(Math.min(stepMillis, left)), () => wait(left - stepMillis))
  return Effect.raceFirst(Effect.asVoid(self), wait(millis))
}

/** Hears what is announced, asks for what was not, and makes good what got lost. */
export class Repair {
  private readonly context: FleetContext
  private readonly records: Records
  private readonly ballots: Ballots
  private readonly leases: Leases
  private readonly actions: OperatorActions
  private readonly lanes: Lanes
  private readonly pages: Pages
  private readonly stall: StallDetector
  private reported = false
  /** Whether the store reported by itself that it is not connected. */
  private away = false

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
  }

  /** As long as its scope is open; then this process leaves. */
  get run(): Effect.Effect<void, never, Scope.Scope> {
    const { context } = this
    const listen = Effect.suspend(() => Stream.runForEach(context.store.changes, (change) => this.hear(change)))
    const tick = Math.min(downMillis, context.syncMillis)
    let synced = context.now()
    const repair = Effect.suspend(() => {
      const now = context.now()
      for (const circuit of context.shared)
        if (circuit.fleetState !== undefined) this.ballots.renew(circuit, circuit.fleetState)
      const isWell = context.client.misses === 0 && !this.pages.isBehind
      if (isWell && now - synced < context.syncMillis - tick / 2) return Effect.void
      synced = now
      // A defect must not end the loop.
      return Effect.catchCause(this.sync, (cause) =>
        quietly(Effect.logError(`Circuits could not be compared with those of other processes: ${foreignText(cause)}`))
      )
    })
    const later = Effect.suspend(() => Effect.sleep(tick * (0.9 + 0.2 * context.random())))
    // All processes lose their connection at the same time.
    const listenLater = Effect.suspend(() => Effect.sleep(context.spread(listenAgainMillis)))
    return Effect.gen({ self: this }, function* () {
      yield* Effect.addFinalizer(() => Effect.timeoutOption(this.leave, endMillis))
      yield* Effect.forkScoped(this.stall.watch(() => this.keepBack()))
      // A stream that ends is as deaf as one that fails.
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.ignoreCause(listen), listenLater)))
      if (context.store.connected !== undefined) {
        yield* waitAtMost(context.store.connected, context.connectMillis)
      }
      const started = Effect.sync(() => {
        context.starting = false
      })
      // If the first read takes too long while this process hardly gets to run, it is repeated. One that fails at once is not.
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
      if (change._tag === "RollCall") return circuit === undefined ? Effect.void : this.compare(circuit, change.box)
      if (change._tag === "Inquiry") return circuit === undefined ? Effect.void : this.answer(circuit, change)
      const now = context.now()
      const read = fromBody(change.body, now)
      // What this process writes it learns from the answer, which is on its way.
      const isCommitting = (circuit?.fleetState?.record.committing ?? 0) > 0
      if (isCommitting && read?.provenance.process === context.voter) return Effect.void
      const matters = read !== undefined && Fleet.isListed(read.circuit, now)
      const found = circuit ?? (matters ? context.registry.own(which.name, which.key, context.policies) : undefined)
      if (found === undefined || (!matters && !context.knows(found))) return Effect.void
      return this.records.learn(found, { ...change, age: 0 }, Number.NEGATIVE_INFINITY)
    })
  }

  private answer(circuit: LiveCircuit, change: Change & { readonly _tag: "Inquiry" }): Effect.Effect<void> {
    const { context, records } = this
    if (!context.isShareable(circuit) || !circuit.group.declared) return Effect.void
    if (change.box !== context.boxOf(circuit)) return records.reportPolicy(circuit)
    const known = circuit.fleetState?.epoch ?? 0
    const asked = Effect.sync(() => this.ballots.asked(circuit))
    // What is announced meanwhile must not wait for this.
    return known >= change.epoch
      ? asked
      : Effect.sync(() => {
          context.runtime.background(Effect.andThen(records.loadAll([change.circuit]), asked))
        })
  }

  /** Says once that other processes count their ballots in another box. */
  private compare(circuit: LiveCircuit, box: string): Effect.Effect<void> {
    const { context, records } = this
    if (!context.isShareable(circuit) || !circuit.group.declared || box === context.boxOf(circuit)) return Effect.void
    return records.reportPolicy(circuit)
  }

  /** Reads what has changed and says that this process lives, then tidies up. */
  private get sync(): Effect.Effect<void> {
    return Effect.andThen(Effect.all([this.pages.read, this.exchange], { concurrency: 2 }), this.tidy)
  }

  private get exchange(): Effect.Effect<void> {
    return Effect.flatMap(this.lanes.heartbeat, (answered) =>
      !answered && this.context.client.down ? this.reportDown : Effect.void
    )
  }

  /** Sends what the store has not been told, and forgets circuits that are well again. */
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
    // Takes over a policy that was reloaded.
    context.registry.peek(circuit.group.name, circuit.key)
    // A reload has taken it out of the fleet. No other process would announce the end of an override.
    if (!context.isShareable(circuit)) return this.records.disown(circuit, "Released")
    this.records.restoring.giveBack(circuit, fleetState)
    const { pending } = fleetState.actions
    if (pending !== undefined) {
      // Do not send an action again while it is on its way: another operator may undo it in between.
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

  /** Whether there is nothing left that the fleet and this circuit have with one another. */
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

  /** Whether it is an opening of others that is over, that the store has forgotten, and that nobody here ever called. */
  private isForgotten(circuit: LiveCircuit, fleetState: FleetState, now: number): boolean {
    const { known } = fleetState.record
    const isOver = known?.epoch === 0 && known.circuit._tag === "Open" && now >= known.circuit.until
    return isOver && circuit.calls === 0 && this.ballots.isSilent(fleetState, now)
  }

  /**
   * Whether the fleet's opening is over and nobody has closed it, though this process has found out, while it was on its
   * own, that it may be.
   */
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

  /** The store goes down: what was seen up to now may be told later. */
  wentDown(): void {
    for (const circuit of this.context.registry.all()) this.ballots.copyEvidence(circuit)
  }

  /** The store answers again: what was seen meanwhile is kept back. */
  returned(): void {
    if (this.reported || this.away) {
      this.reported = false
      this.away = false
      this.context.runtime.background(quietly(Effect.logInfo("The store of the circuits answers again")))
    }
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
      return Effect.all([this.leases.leave, this.lanes.heartbeat], { concurrency: 2, discard: true })
    })
  }
}
