import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import { printableCircuit } from "../core/printable.ts"
import type { FleetState, KnownRecord } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { quietly } from "../engine/logEvent.ts"
import { move, type Next } from "../engine/move.ts"
import { fromBody, fromCircuitId, type Provenance } from "../store/codec.ts"
import { isByPeople, isForce, isLift, policyAfter, toSwap, wallOf } from "../store/record.ts"
import type { Stored } from "../store/SharedStore.ts"
import {
  beneath,
  delayed,
  endingLater,
  isOutlived,
  keptUntil,
  lastingTo,
  maxJitterMillis,
  outlasts,
  withEpoch,
  withOwnOpenings
} from "./adopted.ts"
import type { FleetContext } from "./context.ts"
import type { Lanes, Pace } from "./lanes.ts"
import { endingMillis, Restoring } from "./restoring.ts"

/** The most attempts of a transition, if other processes write the record in between. */
const attempts = 5

/**
 * The result of a fleet transition:
 *
 * - `Made`: the record was written.
 * - `Overtaken`: it was written, and another process has already replaced it.
 * - `Same`: there was nothing to write.
 * - `Lost`: another process wrote the record first.
 * - `Failed`: the store did not answer.
 */
export type Committed = "Made" | "Overtaken" | "Same" | "Lost" | "Failed"

/** Limits a transition to the epoch of a sum of ballots, and to the time in which the sum is recent. */
export interface Fence {
  readonly epoch: number
  /** When this process asked for the sum. */
  readonly askedAt: number
}

interface Decided {
  /** The transition replaces this record. */
  readonly base: KnownRecord | undefined
  readonly state: Circuit.Circuit
  readonly written: Provenance
  readonly at: number
}

/** Reads and writes the fleet's records, and adopts their states in this process. */
export class Records {
  private readonly context: FleetContext
  private readonly lanes: Lanes
  readonly restoring: Restoring
  /** Called when a circuit adopts the fleet's state. */
  onAdopted: (fleetState: FleetState) => void = () => {}

  constructor(context: FleetContext, lanes: Lanes) {
    this.context = context
    this.lanes = lanes
    this.restoring = new Restoring(context, lanes, (...found) => this.learn(...found))
  }

  /**
   * Learns the record that the store has of a circuit. A newer record is adopted; an older announcement is ignored, because it may be
   * late. If an answer contains an older record than this process knew when it asked (`askedAt`), the store has lost the newer one, and
   * it is written back. `askedAt` is -Infinity for announcements.
   */
  learn(circuit: LiveCircuit, stored: Stored | undefined, askedAt: number): Effect.Effect<void> {
    const { context } = this
    if (!context.isShareable(circuit)) return Effect.void
    if (stored !== undefined) context.noteEpoch(stored.epoch)
    // A circuit without fleet state may have a remembered override.
    const known = (context.knows(circuit) ? context.fleetStateOf(circuit) : undefined)?.record.known
    const isSame = (known?.epoch ?? 0) === (stored?.epoch ?? 0)
    if (isSame && (known === undefined || known.epoch > 0)) return Effect.void
    const isAnswer = known === undefined || askedAt >= known.at
    if (stored === undefined) return isAnswer ? this.isGone(circuit, known) : Effect.void
    const now = context.now()
    const read = fromBody(stored.body, now - stored.age)
    const origin = read?.provenance.origin ?? stored.epoch
    if (known !== undefined && origin <= known.origin) {
      if (origin === known.origin) return Effect.sync(() => this.restoring.isBack(circuit, known, stored.epoch))
      return isAnswer ? this.restoring.restore(circuit, known, stored.epoch) : Effect.void
    }
    const fleetState = context.fleetStateOf(circuit)
    fleetState.record.lost = undefined
    if (read === undefined) {
      // This process cannot follow the fleet any more, so it decides alone.
      fleetState.record.known = undefined
      this.decideAlone(fleetState)
      return this.report(circuit, "a record that this version cannot read")
    }
    fleetState.record.known = {
      epoch: stored.epoch,
      origin,
      circuit: read.circuit,
      provenance: read.provenance,
      at: now,
      keptUntil: keptUntil(read.circuit, now - stored.age, read.provenance.why),
      since: wallOf(read.circuit, read.provenance, now - stored.age)
    }
    return this.adopt(circuit, fleetState, fleetState.record.known, false)
  }

  /** Loads and learns the records of circuit ids. Returns whether the store answered. */
  loadAll(ids: ReadonlyArray<string>): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const { client, registry } = this.context
      const askedAt = this.context.now()
      return Effect.flatMap(
        client.read((store) => store.load(ids)),
        (answer) => {
          if (answer === undefined) return Effect.succeed(false)
          const learnt = Effect.forEach(
            ids,
            (id, index) => {
              const which = fromCircuitId(id)
              const circuit = which === undefined ? undefined : registry.peek(which.name, which.key)
              return circuit === undefined ? Effect.void : this.learn(circuit, answer.records[index], askedAt)
            },
            { discard: true }
          )
          return Effect.as(learnt, true)
        }
      )
    })
  }

  /** The store has no record of the circuit: it has dropped or lost it. */
  private isGone(circuit: LiveCircuit, known: KnownRecord | undefined): Effect.Effect<void> {
    const now = this.context.now()
    if (known === undefined) return Effect.void
    const isLost = now < known.keptUntil - endingMillis
    const { fleetState } = circuit
    // A closed circuit is only written back if that lifts an override that another process might bring back.
    const isOver = Circuit.expire(known.circuit, now)._tag === "Closed" && !(isLost && isLift(known.provenance.why))
    if (fleetState !== undefined) {
      // A state lasts to its own end: a missing record is no sign of health.
      fleetState.record.known = isOver ? undefined : { ...known, epoch: 0 }
      if (isOver) fleetState.record.lost = undefined
    }
    return isLost && !isOver ? this.restoring.restore(circuit, known, 0) : Effect.void
  }

  /** From now on this process decides the state of the circuit alone. */
  decideAlone(fleetState: FleetState): void {
    fleetState.record.adopted = -1
  }

  /** Applies the fleet's state to the circuit of this process. `expected` if this process has already made the transition. */
  private adopt(
    circuit: LiveCircuit,
    fleetState: FleetState,
    known: KnownRecord,
    expected: boolean
  ): Effect.Effect<void> {
    const { provenance } = known
    const { record } = fleetState
    // If this process has made a transition that the store does not have yet, that transition decides.
    if (record.ahead > 0 || (fleetState.actions.pending !== undefined && !expected)) return Effect.void
    if (this.isForeign(circuit, known)) {
      return Effect.andThen(this.lift(circuit, fleetState, provenance), this.reportPolicy(circuit))
    }
    const own = circuit.control.value
    // This process has opened by itself since then, so its evidence is newer.
    if (isOutlived(own, fleetState, known)) return Effect.void
    if (this.isOwnAfterLift(own, fleetState, known)) {
      if (Circuit.isForced(own)) return Effect.asVoid(this.lift(circuit, fleetState, provenance))
      this.decideAlone(fleetState)
      record.ownBeneath = false
      return Effect.void
    }
    const byAnother = this.isOfAnother(circuit, known)
    this.onAdopted(fleetState)
    const jitter = this.jitter(circuit, known)
    // The end of the state may be long over. A process that releases a circuit itself has already answered its callers.
    const isReleased = provenance.why === "Released" && provenance.process !== this.context.voter
    const next: Next = (from, now) => {
      const state = Circuit.expire(known.circuit, now)
      // Beneath an override this process keeps its own state if the fleet's state is of another policy, or if its own opening lasts
      // longer.
      record.ownBeneath =
        Circuit.isForced(state) && (byAnother || (isForce(provenance.why) && outlasts(beneath(from), state.under, now)))
      const there =
        record.ownBeneath && Circuit.isForced(state)
          ? { ...state, under: Circuit.force(from, state._tag, state.since, state).under }
          : withOwnOpenings(
              delayed(isReleased ? lastingTo(state, now) : state, from, jitter, provenance.why),
              from,
              now,
              provenance.why
            )
      return withEpoch(from, there, fleetState, provenance.why, expected)
    }
    const { actor, action, detail, process, why } = provenance
    return Effect.asVoid(
      move(this.context.runtime, circuit, why, next, {
        detail,
        actor,
        process,
        action,
        at: action === undefined ? undefined : provenance.at,
        since: known.since,
        found: this.context.starting
      })
    )
  }

  /** Whether a lifted override uncovers an opening that this process made by itself, beneath the override or before it knew of it. */
  private isOwnAfterLift(own: Circuit.Circuit, fleetState: FleetState, { provenance, circuit }: KnownRecord): boolean {
    if (provenance.why !== "Released" || Circuit.isForced(circuit)) return false
    const isOwn = fleetState.record.ownBeneath || (!Circuit.isForced(own) && !fleetState.isFleets(own))
    return isOwn && outlasts(beneath(own), circuit, this.context.now())
  }

  /** Adopts the known record, which this process has ignored so far. `expected` if this process has made the same transition. */
  adoptKnown(circuit: LiveCircuit, fleetState: FleetState, expected: boolean): Effect.Effect<void> {
    const { known } = fleetState.record
    return known === undefined ? Effect.void : this.adopt(circuit, fleetState, known, expected)
  }

  /** A random delay, so that processes do not all probe at once after an opening, a lease or an override ends. */
  private jitter(circuit: LiveCircuit, { provenance, circuit: known }: KnownRecord): number {
    if (this.context.live <= 1) return 0
    const { random } = this.context
    const opening = beneath(known)
    if (opening._tag === "Open") return random() * Math.min(maxJitterMillis, (opening.until - opening.since) / 10)
    if (known._tag !== "HalfOpen" || provenance.process === this.context.voter) return 0
    return random() * Math.min(maxJitterMillis, circuit.policy.probeTimeoutMillis / 10)
  }

  /** The fleet's state, or Closed if there is none for this process. */
  current(circuit: LiveCircuit, now: number): Circuit.Circuit {
    const known = circuit.fleetState?.record.known
    return known === undefined || this.isForeign(circuit, known) ? Circuit.initial : Circuit.expire(known.circuit, now)
  }

  /** Whether a process with another policy decided the state, which then does not apply here. Overrides apply to all processes. */
  isForeign(circuit: LiveCircuit, known: KnownRecord): boolean {
    return !Circuit.isForced(known.circuit) && this.isOfAnother(circuit, known)
  }

  private isOfAnother(circuit: LiveCircuit, { provenance }: KnownRecord): boolean {
    return (
      provenance.policy !== undefined &&
      circuit.group.declared &&
      provenance.policy !== this.context.fingerprint(circuit.policy)
    )
  }

  /** Takes a circuit out of the fleet: ends the states (`Reset`) or the overrides (`Released`) that other processes decided. */
  disown(circuit: LiveCircuit, why: "Reset" | "Released"): Effect.Effect<unknown> {
    return Effect.suspend(() => {
      const { fleetState } = circuit
      const provenance = fleetState?.record.known?.provenance
      const byAnother =
        fleetState?.isFleets(circuit.control.value) === true && provenance?.process !== this.context.voter
      this.context.forget(circuit)
      return byAnother
        ? move(this.context.runtime, circuit, why, why === "Reset" ? Circuit.reset : Circuit.release, {
            detail: "its policy keeps it to each process"
          })
        : Effect.void
    })
  }

  /** Lifts an override of the fleet. The state beneath it is this process's own. */
  private lift(circuit: LiveCircuit, fleetState: FleetState, provenance: Provenance): Effect.Effect<unknown> {
    const lift: Next = (from) => (fleetState.isFleets(from) ? Circuit.release(from) : from)
    const { actor, action, detail, process, why } = provenance
    return Effect.tap(move(this.context.runtime, circuit, why, lift, { detail, actor, process, action }), (moved) =>
      Effect.sync(() => {
        if (moved === undefined) return
        this.decideAlone(fleetState)
        fleetState.record.ownBeneath = false
      })
    )
  }

  /**
   * Makes a transition of the fleet: writes what `next` returns for its state. If another process wrote the record first, `next` is
   * called again with the new state, unless the transition is `fenced`. `expected` if this process has already made the transition.
   */
  commit(
    circuit: LiveCircuit,
    next: Next,
    provenance: Omit<Provenance, "process" | "policy" | "origin" | "at">,
    how: { readonly fenced?: Fence; readonly expected?: boolean; readonly pace?: Pace } = {}
  ): Effect.Effect<Committed> {
    const { expected = false, fenced, pace = "Now" } = how
    return Effect.suspend(() => {
      const fleetState = this.context.fleetStateOf(circuit)
      const { record } = fleetState
      const before = record.known
      if (expected) record.ahead++
      const attempt = this.attempt(circuit, fleetState, next, provenance, { fenced, pace }, attempts)
      const ended = Effect.sync(() => {
        if (expected) record.ahead--
      })
      return Effect.flatMap(Effect.ensuring(record.turn.withPermit(attempt), ended), (committed) =>
        this.settle(circuit, fleetState, committed, before, expected)
      )
    })
  }

  /** Adopts the known record after a transition, if necessary. */
  private settle(
    circuit: LiveCircuit,
    fleetState: FleetState,
    committed: Committed,
    before: KnownRecord | undefined,
    expected: boolean
  ): Effect.Effect<Committed> {
    const { known } = fleetState.record
    if (known === undefined) return Effect.succeed(committed)
    const made = committed === "Made"
    const control = circuit.control.value
    // A record that was learnt during the write was not adopted.
    const behind = fleetState.isFleets(control) && control._tag !== known.circuit._tag
    const takes = made || (expected ? committed !== "Failed" || known !== before : behind)
    return Effect.as(takes ? this.adopt(circuit, fleetState, known, made && expected) : Effect.void, committed)
  }

  private attempt(
    circuit: LiveCircuit,
    fleetState: FleetState,
    next: Next,
    provenance: Omit<Provenance, "process" | "policy" | "origin" | "at">,
    how: { readonly fenced: Fence | undefined; readonly pace: Pace },
    left: number
  ): Effect.Effect<Committed> {
    const { context, lanes } = this
    const { record } = fleetState
    return Effect.suspend(() => {
      if (how.fenced !== undefined && fleetState.epoch !== how.fenced.epoch) return Effect.succeed<Committed>("Lost")
      if (!lanes.takes(how.pace)) return Effect.succeed<Committed>("Failed")
      if (this.decide(circuit, record.known, next, provenance) === undefined) return Effect.succeed<Committed>("Same")
      record.committing++
      let decided: Decided | undefined
      let dropped: Committed = "Same"
      // This process decides when it sends the swap. While the swap was queued, this process may have been frozen, or have learnt another
      // record.
      const make = () => {
        decided = undefined
        if (how.fenced !== undefined) {
          dropped = fleetState.epoch === how.fenced.epoch ? "Failed" : "Lost"
          if (dropped === "Lost" || context.isStalled() || context.client.isOld(how.fenced.askedAt)) return undefined
        }
        dropped = "Same"
        decided = this.decide(circuit, record.known, next, provenance)
        if (decided === undefined) return undefined
        const { at, base, state, written } = decided
        return toSwap(context.idOf(circuit), base?.epoch ?? 0, state, at, written)
      }
      const swapped = Effect.ensuring(
        lanes.swap(make, how.pace),
        Effect.sync(() => {
          record.committing--
        })
      )
      return Effect.flatMap(swapped, (reply): Effect.Effect<Committed> => {
        if (reply === undefined) return Effect.succeed("Failed")
        if (reply === "Dropped" || decided === undefined) return Effect.succeed(dropped)
        const { answer, sentAt } = reply
        const { base, state, written } = decided
        if (answer.swapped && answer.record !== undefined) {
          context.noteEpoch(answer.record.epoch)
          // The announcement of this write, or a later record, may have arrived before the answer.
          if (record.known !== base && record.known !== undefined && record.known.epoch > answer.record.epoch) {
            return Effect.succeed("Overtaken")
          }
          const at = context.now()
          // This process may have been frozen before it read the answer. The store wrote the record before its deadline.
          const took = Math.min(at - sentAt, context.client.deadlineMillis)
          record.lost = undefined
          record.replaced = base?.circuit
          record.known = {
            epoch: answer.record.epoch,
            origin: answer.record.epoch,
            circuit: endingLater(state, took),
            provenance: written,
            at,
            keptUntil: keptUntil(state, sentAt, written.why),
            since: wallOf(state, written, decided.at)
          }
          return Effect.succeed("Made")
        }
        const again =
          how.fenced !== undefined || left <= 1
            ? Effect.succeed<Committed>("Lost")
            : this.attempt(circuit, fleetState, next, provenance, how, left - 1)
        return Effect.andThen(this.learn(circuit, answer.record, sentAt), again)
      })
    })
  }

  /** Applies a transition to the state of the fleet. Returns `undefined` if the transition changes nothing. */
  private decide(
    circuit: LiveCircuit,
    base: KnownRecord | undefined,
    next: Next,
    provenance: Omit<Provenance, "process" | "policy" | "origin" | "at">
  ): Decided | undefined {
    const { context } = this
    const at = context.now()
    const current = isByPeople(provenance.why)
      ? Circuit.expire(base?.circuit ?? Circuit.initial, at)
      : this.current(circuit, at)
    const state = next(current, at)
    if (state === current) return undefined
    // While the circuit is HalfOpen, a change of its leases or the end of one probe is not a decision about its state.
    const written: Provenance = {
      ...provenance,
      ...(state._tag === "HalfOpen" ? { why: "CooldownOver", detail: undefined } : {}),
      policy: this.policyOf(circuit, base, provenance.why),
      process: context.voter,
      at: context.runtime.time.wall()
    }
    return { base, state, written, at }
  }

  /** Call this when the store's clock has leapt forward: the store then drops all records earlier. */
  leapt(millis: number): void {
    for (const { fleetState } of this.context.shared) {
      const known = fleetState?.record.known
      if (known !== undefined) known.keptUntil -= millis
    }
  }

  private policyOf(circuit: LiveCircuit, base: KnownRecord | undefined, why: Circuit.Why): string | undefined {
    if (why === "Tripped") return this.context.fingerprint(circuit.policy)
    if (isByPeople(why)) return policyAfter(why, base?.provenance)
    return base === undefined || this.isForeign(circuit, base) ? undefined : base.provenance.policy
  }

  reportPolicy(circuit: LiveCircuit): Effect.Effect<void> {
    return this.report(circuit, "another trip, slowCall, fleet or mode in the policy")
  }

  /** Logs once for each circuit why this process does not follow the fleet. */
  private report(circuit: LiveCircuit, what: string): Effect.Effect<void> {
    if (!circuit.reportsFirst("fleet")) return Effect.void
    const named = printableCircuit(circuit.group.name, circuit.key)
    return quietly(
      Effect.logWarning(
        `Other processes have ${what} for the circuit ${named}: they and this process decide separately`
      )
    )
  }
}
