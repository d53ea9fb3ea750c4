import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import type { Share, Unheard } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { quietly } from "../engine/logEvent.ts"
import { type Next, tell } from "../engine/move.ts"
import { toTransition } from "../shapes/transition.ts"
import type { Ballots } from "./ballots.ts"
import type { Ground } from "./context.ts"
import type { Pace } from "./lanes.ts"
import type { Committed, Records } from "./records.ts"

/** One operator action after others that were not told yet. All are made: an override never shortens an earlier one. */
const after = (before: Unheard, action: Unheard): Unheard => {
  const told = before.steps ?? [before.next]
  // A reset leaves nothing of what came before it.
  const steps = action.why === "Reset" ? [action.next] : [...told, action.next]
  return { ...action, steps, next: (current, now) => steps.reduce((state, next) => next(state, now), current) }
}

/** What people do to circuits, and what this process found out by itself: told to the others, now or later. */
export class OperatorActions {
  private readonly ground: Ground
  private readonly records: Records
  private readonly ballots: Ballots

  constructor(ground: Ground, records: Records, ballots: Ballots) {
    this.ground = ground
    this.records = records
    this.ballots = ballots
  }

  speaksFor(circuit: LiveCircuit): string | undefined {
    if (!this.ground.isShareable(circuit)) return undefined
    this.ground.shareOf(circuit)
    return this.ground.voter
  }

  steer(circuit: LiveCircuit, action: Unheard): Effect.Effect<void> {
    if (!this.ground.isShareable(circuit)) return Effect.void
    return Effect.suspend(() => {
      const share = this.ground.shareOf(circuit)
      const before = share.actions.unheard
      const now = this.ground.now()
      const state = Circuit.expire(share.record.known?.circuit ?? Circuit.initial, now)
      // What changes nothing, here or there, is nothing to tell.
      const { value } = circuit.control
      if (before === undefined && action.next(value, now) === value && action.next(state, now) === state)
        return Effect.void
      // Noted before it is told: who does it may not wait for the answer. What was not told yet comes first.
      share.actions.unheard = before === undefined ? action : after(before, action)
      // The operator does not wait for a store that has just failed.
      return this.tell(circuit, share, share.actions.unheard, before === undefined, "Now")
    })
  }

  /** Tells the others what a person did here. */
  tell(circuit: LiveCircuit, share: Share, action: Unheard, first: boolean, pace: Pace): Effect.Effect<void> {
    this.ballots.closed(circuit)
    return Effect.flatMap(this.records.commit(circuit, action.next, action, { expected: true, pace }), (committed) => {
      if (committed !== "Failed" && committed !== "Lost") {
        if (share.actions.unheard === action) share.actions.unheard = undefined
        this.announceEnd(circuit, committed, action)
        // What another said after it was left for the end of it, too.
        return committed === "Made" ? Effect.void : this.records.retake(circuit, share, committed === "Same")
      }
      // It is this process's own until then. What came after it speaks for itself.
      if (share.actions.unheard === action) this.records.makeOwn(share)
      this.ground.putLast(circuit)
      const { trouble } = this.ground.link
      return first
        ? quietly(
            Effect.logWarning(`${action.why} holds in this process only until the store can be told (${trouble})`)
          )
        : Effect.void
    })
  }

  /** What this process found out for itself closes the fleet's circuit, too. */
  close(circuit: LiveCircuit): Effect.Effect<unknown> {
    const close: Next = (current, now) =>
      current._tag === "Open" || current._tag === "HalfOpen" ? Circuit.close(current, now, circuit.policy) : current
    const about = { why: "HealthCheckPassed", detail: undefined, actor: undefined } as const
    return Effect.tap(this.records.commit(circuit, close, about, { expected: true }), (committed) =>
      Effect.sync(() => this.announceEnd(circuit, committed, about))
    )
  }

  /**
   * Announces the end of an outage of the fleet, unless this process has done so: it was Closed already when it told the others, or in
   * an outage of its own.
   */
  private announceEnd(
    circuit: LiveCircuit,
    committed: Committed,
    { actor, detail, why }: Pick<Unheard, "actor" | "detail" | "why">
  ): void {
    const { control, group, key, policy, share } = circuit
    const before = share?.record.replaced
    const outage = before && Circuit.outage(before)
    if (committed !== "Made" || share === undefined || before === undefined || outage === undefined) return
    if (Circuit.outage(control.value) !== undefined || outage.at === share.record.ended) return
    share.record.ended = outage.at
    const { runtime, voter } = this.ground
    const event = toTransition(before, control.value, runtime.time.now(), policy, {
      circuit: group.name,
      key,
      why,
      at: runtime.time.wall(),
      detail,
      actor,
      process: voter,
      action: undefined,
      scope: "fleet",
      mode: policy.mode,
      counts: undefined
    })
    tell(runtime, { ...event, from: control.value._tag })
  }
}
