import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import { tell } from "../engine/announce.ts"
import type { FleetState, PendingAction } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { quietly } from "../engine/logEvent.ts"
import type { Next } from "../engine/move.ts"
import { toTransition } from "../shapes/transition.ts"
import type { Ballots } from "./ballots.ts"
import type { FleetContext } from "./context.ts"
import type { Pace } from "./lanes.ts"
import type { Committed, Records } from "./records.ts"

/** One operator action after others that were not told yet. All are made: an override never shortens an earlier one. */
const after = (before: PendingAction, action: PendingAction): PendingAction => {
  const told = before.steps ?? [before.next]
  // A reset leaves nothing of what came before it.
  const steps = action.why === "Reset" ? [action.next] : [...told, action.next]
  return { ...action, steps, next: (current, now) => steps.reduce((state, next) => next(state, now), current) }
}

/** What people do to circuits, and what this process found out by itself: told to the others, now or later. */
export class OperatorActions {
  private readonly context: FleetContext
  private readonly records: Records
  private readonly ballots: Ballots

  constructor(context: FleetContext, records: Records, ballots: Ballots) {
    this.context = context
    this.records = records
    this.ballots = ballots
  }

  speaksFor(circuit: LiveCircuit): string | undefined {
    if (!this.context.isShareable(circuit)) return undefined
    this.context.fleetStateOf(circuit)
    return this.context.voter
  }

  steer(circuit: LiveCircuit, action: PendingAction): Effect.Effect<void> {
    if (!this.context.isShareable(circuit)) return Effect.void
    return Effect.suspend(() => {
      const fleetState = this.context.fleetStateOf(circuit)
      const before = fleetState.actions.pending
      const now = this.context.now()
      const state = Circuit.expire(fleetState.record.known?.circuit ?? Circuit.initial, now)
      // What changes nothing, here or there, is nothing to tell.
      const { value } = circuit.control
      if (before === undefined && action.next(value, now) === value && action.next(state, now) === state)
        return Effect.void
      // Noted before it is told: who does it may not wait for the answer. What was not told yet comes first.
      fleetState.actions.pending = before === undefined ? action : after(before, action)
      // The operator does not wait for a store that has just failed.
      return this.tell(circuit, fleetState, fleetState.actions.pending, before === undefined, "Now")
    })
  }

  /** Tells the others what a person did here. */
  tell(
    circuit: LiveCircuit,
    fleetState: FleetState,
    action: PendingAction,
    first: boolean,
    pace: Pace
  ): Effect.Effect<void> {
    this.ballots.closed(circuit)
    return Effect.flatMap(this.records.commit(circuit, action.next, action, { expected: true, pace }), (committed) => {
      if (committed !== "Failed" && committed !== "Lost") {
        if (fleetState.actions.pending === action) fleetState.actions.pending = undefined
        this.announceEnd(circuit, committed, action)
        // What another said after it was left for the end of it, too.
        return committed === "Made" ? Effect.void : this.records.retake(circuit, fleetState, committed === "Same")
      }
      // It is this process's own until then. What came after it speaks for itself.
      if (fleetState.actions.pending === action) this.records.makeOwn(fleetState)
      this.context.putLast(circuit)
      const { trouble } = this.context.client
      return first
        ? quietly(
            Effect.logWarning(`${action.why} holds in this process only until the store can be told (${trouble})`)
          )
        : Effect.void
    })
  }

  /**
   * What this process found out for itself closes the fleet's circuit, too: at any time if a health check has passed, and only once the
   * cooldown is over if a probe of its own has succeeded.
   */
  close(circuit: LiveCircuit, by: "HealthCheck" | "Probe"): Effect.Effect<unknown> {
    const close: Next = (current, now) => {
      if (current._tag !== "Open" && current._tag !== "HalfOpen") return current
      // Another process may have opened it again meanwhile.
      if (by === "Probe" && Circuit.admission(current, now, circuit.policy) !== "Probe") return current
      return Circuit.close(current, now, circuit.policy)
    }
    const provenance = { why: "HealthCheckPassed", detail: undefined, actor: undefined } as const
    return Effect.tap(this.records.commit(circuit, close, provenance, { expected: true }), (committed) =>
      Effect.sync(() => this.announceEnd(circuit, committed, provenance))
    )
  }

  /**
   * Announces the end of an outage of the fleet, unless this process has done so: it was Closed already when it told the others, or in
   * an outage of its own.
   */
  private announceEnd(
    circuit: LiveCircuit,
    committed: Committed,
    { actor, detail, why }: Pick<PendingAction, "actor" | "detail" | "why">
  ): void {
    const { control, group, key, policy, fleetState } = circuit
    const before = fleetState?.record.replaced
    const outage = before && Circuit.outage(before)
    if (committed !== "Made" || fleetState === undefined || before === undefined || outage === undefined) return
    if (Circuit.outage(control.value) !== undefined || outage.at === fleetState.record.ended) return
    fleetState.record.ended = outage.at
    const { runtime, voter } = this.context
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
