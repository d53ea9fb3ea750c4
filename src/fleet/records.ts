import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import { printable } from "../core/printable.ts"
import type { FleetState, KnownRecord } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { quietly } from "../engine/logEvent.ts"
import { move, type Next } from "../engine/move.ts"
import { fromBody, fromCircuitId, type Provenance } from "../store/codec.ts"
import { isByPeople, isForce, isLift, policyAfter, toSwap, wallOf } from "../store/record.ts"
import type { Stored } from "../store/SharedStore.ts"
import type { FleetContext } from "./context.ts"
import type { Lanes, Pace } from "./lanes.ts"
import { endingMillis, Restoring } from "./restoring.ts"

/** So often a move is made anew on what another process wrote meanwhile. */
const attempts = 5

/** Processes do not all ask for the first probe at once: each waits up to a tenth of the opening more, at most this long. */
const maxJitterMillis = 1_000

/**
 * How a move of the fleet's ended: made; made, and another came after it already; nothing to do; another came first; or the
 * store did not answer.
 */
export type Committed = "Made" | "Overtaken" | "Same" | "Lost" | "Failed"

/** The fleet's records, as they come in and as this process writes them. */
export class Records {
  private readonly context: FleetContext
  private readonly lanes: Lanes
  /** Gives back what the store has lost. */
  readonly restoring: Restoring
  /** Is told when a circuit takes over the fleet's state. */
  onAdopted: (fleetState: FleetState) => void = () => {}

  constructor(context: FleetContext, lanes: Lanes) {
    this.context = context
    this.lanes = lanes
    this.restoring = new Restoring(context, lanes, (...found) => this.learn(...found))
  }

  /**
   * Takes over what the store has of a circuit. A newer record holds. An older one does not: an announcement may be late, but a
   * store that answers an older record than this process knew when it asked has lost the newer one, and is given it back.
   * `askedAt` is -Infinity for what was announced.
   */
  learn(circuit: LiveCircuit, stored: Stored | undefined, askedAt: number): Effect.Effect<void> {
    const { context } = this
    if (!context.isShareable(circuit)) return Effect.void
    if (stored !== undefined) context.noteEpoch(stored.epoch)
    // What was remembered of a circuit without a share counts again.
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
      // What the fleet decides from here on this process cannot follow: what it knows is its own.
      fleetState.record.known = undefined
      this.makeOwn(fleetState)
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

  /** Reads the records of circuits, by the store's names, and takes them over; whether the store answered. */
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
            (id, place) => {
              const which = fromCircuitId(id)
              const circuit = which === undefined ? undefined : registry.peek(which.name, which.key)
              return circuit === undefined ? Effect.void : this.learn(circuit, answer.records[place], askedAt)
            },
            { discard: true }
          )
          return Effect.as(learnt, true)
        }
      )
    })
  }

  /** The store has no record of the circuit any more: it has forgotten it, or lost it. */
  private isGone(circuit: LiveCircuit, known: KnownRecord | undefined): Effect.Effect<void> {
    const now = this.context.now()
    if (known === undefined) return Effect.void
    const isLost = now < known.keptUntil - endingMillis
    const { fleetState } = circuit
    // A closed circuit is worth giving back only if that lifts what another process might bring back.
    const isOver = Circuit.expire(known.circuit, now)._tag === "Closed" && !(isLost && isLift(known.provenance.why))
    if (fleetState !== undefined) {
      // A state that is not over lasts to its own end: a missing record is no sign of health.
      fleetState.record.known = isOver ? undefined : { ...known, epoch: 0 }
      if (isOver) fleetState.record.lost = undefined
    }
    return isLost && !isOver ? this.restoring.restore(circuit, known, 0) : Effect.void
  }

  /** From now on this process decides alone: the circuit's state is its own, and not the fleet's. */
  makeOwn(fleetState: FleetState): void {
    fleetState.record.adopted = -1
  }

  /** Makes the fleet's state this circuit's own. `expected` where this process has already made the transition. */
  private adopt(
    circuit: LiveCircuit,
    fleetState: FleetState,
    known: KnownRecord,
    expected: boolean
  ): Effect.Effect<void> {
    const { provenance } = known
    const { record } = fleetState
    // If this process is ahead, the transition that it has not told the store decides.
    if (record.ahead > 0 || (fleetState.actions.pending !== undefined && !expected)) return Effect.void
    if (this.isForeign(circuit, known)) {
      return Effect.andThen(this.lift(circuit, fleetState, provenance), this.reportPolicy(circuit))
    }
    const own = circuit.control.value
    // A process that has opened by itself since then knows better.
    if (isOutlived(own, fleetState, known)) return Effect.void
    if (this.isOwnAfterLift(own, fleetState, known)) {
      if (Circuit.isForced(own)) return Effect.asVoid(this.lift(circuit, fleetState, provenance))
      this.makeOwn(fleetState)
      record.ownBeneath = false
      return Effect.void
    }
    const byAnother = this.isOfAnother(circuit, known)
    this.onAdopted(fleetState)
    const jitter = this.jitter(circuit, known)
    // Its end may be over for long; a process that releases a circuit itself has told its callers already.
    const isReleased = provenance.why === "Released" && provenance.process !== this.context.voter
    const next: Next = (from, now) => {
      const state = Circuit.expire(known.circuit, now)
      // Beneath an override this process keeps its own state, if the fleet's is of another policy or its own opening lasts longer.
      record.ownBeneath =
        Circuit.isForced(state) && (byAnother || (isForce(provenance.why) && outlasts(beneath(from), state.under, now)))
      const there =
        record.ownBeneath && Circuit.isForced(state)
          ? { ...state, under: Circuit.force(from, state._tag, state.since, state).under }
          : counted(
              later(isReleased ? lastsTo(state, now) : state, from, jitter, provenance.why),
              from,
              now,
              provenance.why
            )
      return merge(from, there, fleetState, provenance.why, expected)
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

  /** Whether lifting an override leaves an opening that this process made itself: beneath it, or while it did not know of it. */
  private isOwnAfterLift(own: Circuit.Circuit, fleetState: FleetState, { provenance, circuit }: KnownRecord): boolean {
    if (provenance.why !== "Released" || Circuit.isForced(circuit)) return false
    const isOwn = fleetState.record.ownBeneath || (!Circuit.isForced(own) && !fleetState.isFleets(own))
    return isOwn && outlasts(beneath(own), circuit, this.context.now())
  }

  /** What the fleet says counts again, after it was not listened to. `expected` where this process has said the same. */
  retake(circuit: LiveCircuit, fleetState: FleetState, expected: boolean): Effect.Effect<void> {
    const { known } = fleetState.record
    return known === undefined ? Effect.void : this.adopt(circuit, fleetState, known, expected)
  }

  /** Processes do not all probe at once: not at the end of an opening, of another's lease, or of an override above an opening. */
  private jitter(circuit: LiveCircuit, { provenance, circuit: known }: KnownRecord): number {
    if (this.context.live <= 1) return 0
    const { random } = this.context
    const opening = beneath(known)
    if (opening._tag === "Open") return random() * Math.min(maxJitterMillis, (opening.until - opening.since) / 10)
    if (known._tag !== "HalfOpen" || provenance.process === this.context.voter) return 0
    return random() * Math.min(maxJitterMillis, circuit.policy.probeTimeoutMillis / 10)
  }

  /** The fleet's state, as far as it is one for this process. */
  current(circuit: LiveCircuit, now: number): Circuit.Circuit {
    const known = circuit.fleetState?.record.known
    return known === undefined || this.isForeign(circuit, known) ? Circuit.initial : Circuit.expire(known.circuit, now)
  }

  /** What a process under another policy decided is not for this one; what people force is for all. */
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

  /** From now on it is this process's own: all that another has said of it goes, or what was forced. */
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

  /** An override that was for all is lifted for all; beneath it is what is this process's own. */
  private lift(circuit: LiveCircuit, fleetState: FleetState, provenance: Provenance): Effect.Effect<unknown> {
    const lift: Next = (from) => (fleetState.isFleets(from) ? Circuit.release(from) : from)
    const { actor, action, detail, process, why } = provenance
    return Effect.tap(move(this.context.runtime, circuit, why, lift, { detail, actor, process, action }), (moved) =>
      Effect.sync(() => {
        if (moved === undefined) return
        this.makeOwn(fleetState)
        fleetState.record.ownBeneath = false
      })
    )
  }

  /**
   * Moves the fleet's circuit to what `next` makes of its state. Where another process came first it is asked again, on what
   * that one wrote, unless the move is `fenced`: meant for this epoch only. `expected` where this process moved already.
   */
  commit(
    circuit: LiveCircuit,
    next: Next,
    provenance: Omit<Provenance, "process" | "policy" | "origin" | "at">,
    how: { readonly fenced?: number; readonly expected?: boolean; readonly pace?: Pace } = {}
  ): Effect.Effect<Committed> {
    const { expected = false, fenced, pace = "Now" } = how
    return Effect.suspend(() => {
      const fleetState = this.context.fleetStateOf(circuit)
      const { record } = fleetState
      const before = record.known
      if (expected) record.ahead++
      const attempt = this.attempt(circuit, fleetState, next, provenance, { fenced, pace }, attempts)
      const turn = record.turn.withPermit(attempt)
      if (!expected) return Effect.flatMap(turn, (made) => this.settle(circuit, fleetState, made, before, false))
      return Effect.flatMap(
        Effect.ensuring(
          turn,
          Effect.sync(() => {
            record.ahead--
          })
        ),
        (made) => this.settle(circuit, fleetState, made, before, true)
      )
    })
  }

  /** What a move that was made, or not, leaves this process with. */
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
    // Something may have been learnt while it was on its way, which was left for the end of it.
    const behind = fleetState.isFleets(control) && control._tag !== known.circuit._tag
    const takes = made || (expected ? committed !== "Failed" || known !== before : behind)
    return Effect.as(takes ? this.adopt(circuit, fleetState, known, made && expected) : Effect.void, committed)
  }

  private attempt(
    circuit: LiveCircuit,
    fleetState: FleetState,
    next: Next,
    provenance: Omit<Provenance, "process" | "policy" | "origin" | "at">,
    how: { readonly fenced: number | undefined; readonly pace: Pace },
    left: number
  ): Effect.Effect<Committed> {
    const { context, lanes } = this
    const { record } = fleetState
    return Effect.suspend(() => {
      const base = record.known
      const epoch = base?.epoch ?? 0
      if (how.fenced !== undefined && epoch !== how.fenced) return Effect.succeed<Committed>("Lost")
      if (!lanes.takes(how.pace)) return Effect.succeed<Committed>("Failed")
      const now = context.now()
      const current = isByPeople(provenance.why)
        ? Circuit.expire(base?.circuit ?? Circuit.initial, now)
        : this.current(circuit, now)
      const state = next(current, now)
      if (state === current) return Effect.succeed<Committed>("Same")
      // While the circuit is HalfOpen, one lease that is taken or given back, or one probe that ends, is no verdict.
      const written: Provenance = {
        ...provenance,
        ...(state._tag === "HalfOpen" ? { why: "CooldownOver", detail: undefined } : {}),
        policy: this.policyOf(circuit, base, provenance.why),
        process: context.voter,
        at: context.runtime.time.wall()
      }
      record.committing++
      // Written when it is sent: what a record says of times is relative to that.
      const make = () => {
        // While it waited, this process may have learnt that another process has written the record.
        if (how.fenced !== undefined && (record.known?.epoch ?? 0) !== epoch) return undefined
        const sent: Provenance = { ...written, at: context.runtime.time.wall() }
        return toSwap(context.idOf(circuit), epoch, state, context.now(), sent)
      }
      const swapped = Effect.ensuring(
        lanes.swap(make, how.pace),
        Effect.sync(() => {
          record.committing--
        })
      )
      return Effect.flatMap(swapped, (reply): Effect.Effect<Committed> => {
        if (reply === undefined) return Effect.succeed("Failed")
        if (reply === "Dropped") return Effect.succeed("Lost")
        const { answer, sentAt } = reply
        if (answer.swapped && answer.record !== undefined) {
          context.noteEpoch(answer.record.epoch)
          // Its announcement, or what another built on it, may have come before the answer.
          if (record.known !== base && record.known !== undefined && record.known.epoch > answer.record.epoch) {
            return Effect.succeed("Overtaken")
          }
          const at = context.now()
          record.lost = undefined
          record.replaced = base?.circuit
          record.known = {
            epoch: answer.record.epoch,
            origin: answer.record.epoch,
            circuit: endingLater(state, at - sentAt),
            provenance: written,
            at,
            keptUntil: keptUntil(state, sentAt, written.why),
            since: wallOf(state, written, now)
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

  private policyOf(circuit: LiveCircuit, base: KnownRecord | undefined, why: Circuit.Why): string | undefined {
    if (why === "Tripped") return this.context.fingerprint(circuit.policy)
    if (isByPeople(why)) return policyAfter(why, base?.provenance)
    return base === undefined || this.isForeign(circuit, base) ? undefined : base.provenance.policy
  }

  /** Reports that the fleet has another policy for a circuit. */
  reportPolicy(circuit: LiveCircuit): Effect.Effect<void> {
    return this.report(circuit, "another trip, slowCall, fleet or mode in the policy")
  }

  /** Logs, once for each circuit, that the fleet has something that this process does not share. */
  private report(circuit: LiveCircuit, what: string): Effect.Effect<void> {
    if (!circuit.reportsFirst("fleet")) return Effect.void
    const key = circuit.key === undefined ? "" : ` ["${printable(circuit.key)}"]`
    const which = `"${printable(circuit.group.name)}"${key}`
    return quietly(
      Effect.logWarning(`Other processes have ${what} for the circuit ${which}: they and this one decide apart`)
    )
  }
}

const keptUntil = (circuit: Circuit.Circuit, writtenAt: number, why: Circuit.Why): number =>
  writtenAt + (Fleet.keptFor(circuit, writtenAt, isLift(why)) ?? Infinity)

const beneath = (circuit: Circuit.Circuit): Circuit.Circuit => (Circuit.isForced(circuit) ? circuit.under : circuit)

/** Whether an opening lasts longer than the other state, by more than processes wait at random. */
const outlasts = (own: Circuit.Circuit, other: Circuit.Circuit, now: number): boolean =>
  own._tag === "Open" && own.until > now && (other._tag !== "Open" || own.until > other.until + maxJitterMillis)

/**
 * The others count the end of an opening from when the store took it, which was at some time between when it was sent and when that
 * was answered. This process must not be ahead of them.
 */
const endingLater = (circuit: Circuit.Circuit, by: number): Circuit.Circuit => {
  if (circuit._tag === "Open") return { ...circuit, until: circuit.until + by }
  if (!Circuit.isForced(circuit) || circuit.under._tag !== "Open") return circuit
  return { ...circuit, under: { ...circuit.under, until: circuit.under.until + by } }
}

const lastsTo = (state: Circuit.Circuit, until: number): Circuit.Circuit =>
  state._tag === "Open" ? { ...state, until: Math.max(state.until, until) } : state

/** This process waits a little longer than the fleet, and never less than it knew that it would. */
const later = (state: Circuit.Circuit, from: Circuit.Circuit, jitter: number, why: Circuit.Why): Circuit.Circuit => {
  if (Circuit.isForced(state)) {
    // When the override ends the opening beneath it may be over for long, in all processes. A release must find the opening's own end.
    return jitter > 0 && state.under._tag === "Open" ? { ...state, spread: jitter } : state
  }
  if (state._tag === "HalfOpen" && jitter > 0) {
    return { ...state, leases: state.leases.map(({ id, until }) => ({ id, until: until + jitter })) }
  }
  if (state._tag !== "Open") return state
  const until = state.until + jitter
  // What operators do may shorten it, but a release does not: it ends overrides only.
  const mayShorten = isByPeople(why) && why !== "Released"
  return { ...state, until: from._tag === "Open" && !mayShorten ? Math.max(from.until, until) : until }
}

/**
 * The fleet's state with the number of openings that this process has counted, if that is higher: the fleet does not know of openings
 * that this process made by itself.
 */
const counted = (there: Circuit.Circuit, from: Circuit.Circuit, now: number, why: Circuit.Why): Circuit.Circuit => {
  if (isByPeople(why) || Circuit.isForced(there) || Circuit.isForced(from)) return there
  if (there._tag === "Closed") {
    const openings = Circuit.openings(from, now)
    if (openings <= there.openings) return there
    const openFor = from._tag === "Open" ? Math.min(now, from.until) - from.since : from.openFor
    return { ...there, openings, openFor: Math.max(there.openFor, openFor) }
  }
  const least = from._tag === "Closed" ? Circuit.nextOpening(from, now) : from.openings
  return there.openings >= least ? there : { ...there, openings: least }
}

/** The fleet's state as this process's own: in a new epoch, unless it is the one that it is in already. */
const merge = (
  from: Circuit.Circuit,
  there: Circuit.Circuit,
  fleetState: FleetState,
  why: Circuit.Why,
  expected: boolean
): Circuit.Circuit => {
  const fleets = fleetState.isFleets(from)
  // Who probes alone, as the store did not answer, finds out by himself.
  if (from._tag === "HalfOpen" && there._tag === "HalfOpen" && !fleets) return from
  const same =
    from._tag === there._tag &&
    (there._tag === "Closed" ? expected || why !== "Reset" : fleets && (expected || there._tag === "HalfOpen"))
  return { ...there, epoch: same ? from.epoch : from.epoch + 1 }
}

/** Whether the fleet's close is older than what this process opened by itself for. */
const isOutlived = (own: Circuit.Circuit, fleetState: FleetState, { provenance, circuit }: KnownRecord): boolean =>
  circuit._tag === "Closed" &&
  own._tag === "Open" &&
  !fleetState.isFleets(own) &&
  own.since > circuit.since &&
  !isByPeople(provenance.why)
