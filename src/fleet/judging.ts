import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import type { FleetState } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { nextCooldown } from "../engine/opening.ts"
import { limits, type StoredTally } from "../store/SharedStore.ts"
import type { FleetContext } from "./context.ts"
import type { Fence, Records } from "./records.ts"

/** How long an opening counts as failing while other processes succeed. Then it objects, until the circuit fails again. */
const believedMillis = 5_000

/** After a roll call the sum is read again, first after `firstResumMillis`. The wait doubles up to `lastResumMillis`. */
const firstResumMillis = 5
const lastResumMillis = 2_000

/** While the store is too young to know all processes, the sum is read again after this long. */
const youngMillis = 1_000

/** Casts ballots. The store's answer to a cast contains the sum. */
export interface Casting {
  readonly say: (circuit: LiveCircuit, fleetState: FleetState, atOnce?: boolean) => void
  readonly later: (circuit: LiveCircuit, fleetState: FleetState, millis: number) => void
}

/** Decides what follows from the sum of the ballots. */
export class Judging {
  private readonly context: FleetContext
  private readonly records: Records

  constructor(context: FleetContext, records: Records) {
    this.context = context
    this.records = records
  }

  /** Judges a sum of `fence`: opens the circuit for all, calls the roll, or reads the sum again later. */
  weigh(
    casting: Casting,
    circuit: LiveCircuit,
    fleetState: FleetState,
    fence: Fence,
    stored: StoredTally
  ): Effect.Effect<void> {
    const { context } = this
    const { policy } = circuit
    const { fleet, trip } = policy
    const { ballots } = fleetState
    const now = context.now()
    const current = this.records.current(circuit, now)
    ballots.roll = 0
    if (fleet === false || fleetState.epoch !== fence.epoch || !mayOpen(current, now)) return Effect.void
    const { live } = context
    const { abstained, asked, rolled, sums, voters } = stored
    const tally = Fleet.fromSums(sums, { voters, live, abstained, asked })
    this.doubt(casting, circuit, fleetState, tally, now)
    const openings = Circuit.openings(current, now)
    const more = { openings, time: context.runtime.time.wall(), young: context.isStoreYoung }
    const verdict = judge(tally, trip, fleet, more)
    ballots.agreed = verdict._tag === "Wait" ? verdict.agreed : verdict._tag !== "Lost"
    if (verdict._tag !== "RollCall") ballots.resumMillis = 0
    switch (verdict._tag) {
      case "Open":
        return this.open(casting, circuit, fleetState, fence, current, verdict)
      case "Young":
        casting.later(circuit, fleetState, context.spread(youngMillis))
        return Effect.void
      case "RollCall": {
        const every = Math.min(Fleet.rollCallEvery(context.syncMillis), limits.rollCallMillis)
        ballots.roll = every
        if (rolled === undefined || rolled >= every) casting.say(circuit, fleetState, true)
        // A half-convinced process leaves this to a convinced process. With a quorum of at least one half, a convinced process exists.
        else if (ballots.conviction === 1 || fleet.quorum < 0.5) this.readAgain(casting, circuit, fleetState)
        return Effect.void
      }
      case "Wait": {
        if (now >= ballots.inquiryUntil || asked === undefined) return Effect.void
        // The other processes have `hold` to answer: read the sum again after that.
        const { holdMillis } = fleet
        casting.later(circuit, fleetState, asked < holdMillis ? holdMillis - asked + 1 : holdMillis)
        return Effect.void
      }
      default:
        return Effect.void
    }
  }

  private readAgain(casting: Casting, circuit: LiveCircuit, fleetState: FleetState): void {
    const { ballots } = fleetState
    // Do not ask a slow store more often than it answers.
    const least = Math.max(firstResumMillis, ballots.tookMillis)
    ballots.resumMillis = Math.min(lastResumMillis, Math.max(least, 2 * ballots.resumMillis))
    casting.later(circuit, fleetState, this.context.spread(ballots.resumMillis))
  }

  /** Doubts an opening of this process if other processes still succeed after a while. */
  private doubt(casting: Casting, circuit: LiveCircuit, fleetState: FleetState, tally: Fleet.Tally, now: number): void {
    const { opened } = fleetState.ballots
    if (opened === undefined || opened.doubted) return
    const wait = opened.at + believedMillis - now
    if (wait > 0 || tally.voters === tally.failing) {
      // Otherwise the ballot would count until the store drops it, which takes longer.
      casting.later(circuit, fleetState, wait > 0 ? wait : believedMillis)
      return
    }
    fleetState.ballots.opened = { ...opened, doubted: true }
    casting.say(circuit, fleetState)
  }

  private open(
    casting: Casting,
    circuit: LiveCircuit,
    fleetState: FleetState,
    fenced: Fence,
    current: Circuit.Circuit,
    { agreed, detail }: Extract<Fleet.Judgement, { readonly _tag: "Open" }>
  ): Effect.Effect<void> {
    const { runtime } = this.context
    const own = circuit.control.value
    const hint = Math.max(circuit.seen().hintUntil, own._tag === "Open" ? own.until : 0)
    const commit = Effect.suspend(() => {
      const from = countedBefore(current, own, this.context.now())
      return Effect.flatMap(nextCooldown(runtime, circuit, from, hint), (openFor) => {
        const cause: Circuit.Cause = { why: "Tripped", detail, actor: undefined }
        return this.records.commit(
          circuit,
          (state, now) => {
            if (!mayOpen(state, now)) return state
            const at = runtime.time.wall()
            const opened = Circuit.open(countedBefore(state, own, now), now, { openFor, cause, at })
            // The outage began when this process opened its own circuit, if it did so before the fleet agreed.
            return { ...opened, outage: { ...(Circuit.outage(own) ?? opened.outage), agreed } }
          },
          cause,
          { fenced }
        )
      })
    })
    return Effect.sync(() => {
      // The lane of the casts must not wait for the lane of the swaps.
      runtime.background(
        Effect.map(commit, (committed) => {
          if (committed === "Failed" && !this.context.client.down) this.readAgain(casting, circuit, fleetState)
        })
      )
    })
  }
}

/** Whether the fleet may open the circuit: it is Closed, or its cooldown is over and no process probes it. */
const mayOpen = (circuit: Circuit.Circuit, now: number): circuit is Circuit.Closed | Circuit.Open =>
  circuit._tag === "Closed" || (circuit._tag === "Open" && now >= circuit.until)

/**
 * The fleet's closed circuit with this process's number of openings, if that is higher. If this process has opened by itself, its
 * current opening does not count: the fleet is about to make the same one.
 */
const countedBefore = <C extends Circuit.Circuit>(state: C, own: Circuit.Circuit, now: number): C => {
  if (state._tag !== "Closed" || Circuit.isForced(own)) return state
  const counted = own._tag === "Closed" ? Circuit.openings(own, now) : own.openings - 1
  return counted > Circuit.openings(state, now) ? { ...state, openings: counted, openFor: Infinity } : state
}

/** A custom trip that throws does not trip. A process logs the error when it judges its own calls. */
const judge: typeof Fleet.judge = (...args) => {
  try {
    return Fleet.judge(...args)
  } catch {
    return { _tag: "Wait", agreed: false }
  }
}
