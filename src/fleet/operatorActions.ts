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

/** Adds an action to those that the store has not received. All are applied, because an override never shortens an earlier one. */
const after = (before: PendingAction, action: PendingAction): PendingAction => {
  const earlier = before.steps ?? [before.next]
  // A reset undoes everything before it.
  const steps = action.why === "Reset" ? [action.next] : [...earlier, action.next]
  return { ...action, steps, next: (current, now) => steps.reduce((state, next) => next(state, now), current) }
}

/** Sends operator actions and passed health checks to the other processes: at once, or when the store answers again. */
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
      // An action that changes neither the state of this process nor that of the fleet is not sent.
      const { value } = circuit.control
      if (before === undefined && action.next(value, now) === value && action.next(state, now) === state)
        return Effect.void
      // Set before the action is sent, because the operator may stop waiting for the answer. Earlier actions that were not sent come
      // first.
      fleetState.actions.pending = before === undefined ? action : after(before, action)
      // The operator does not wait for a store that has just failed.
      return this.tell(circuit, fleetState, fleetState.actions.pending, before === undefined, "Now")
    })
  }

  /** Sends an operator action of this process to the store. */
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
        // A record that another process wrote in the meantime was not adopted yet.
        return committed === "Made" ? Effect.void : this.records.adoptKnown(circuit, fleetState, committed === "Same")
      }
      // Until the store has received it, the action holds in this process only. A later action does the same for itself.
      if (fleetState.actions.pending === action) this.records.decideAlone(fleetState)
      this.context.putLast(circuit)
      const { trouble } = this.context.client
      return first
        ? quietly(Effect.logWarning(`${action.why} holds in this process only until the store answers (${trouble})`))
        : Effect.void
    })
  }

  /**
   * Closes the fleet's circuit after this process has found that the dependency works. After a successful probe it does so only once the
   * cooldown is over; a passed health check does not wait for that.
   */
  close(circuit: LiveCircuit, by: "HealthCheck" | "Probe"): Effect.Effect<unknown> {
    const { client, isStalled } = this.context
    const foundAt = this.context.now()
    const close: Next = (current, now) => {
      if (current._tag !== "Open" && current._tag !== "HalfOpen") return current
      // This process may have been frozen since `foundAt`.
      if (isStalled() || client.isOld(foundAt)) return current
      // Another process may have opened it again in the meantime.
      if (by === "Probe" && Circuit.admission(current, now, circuit.policy) !== "Probe") return current
      return Circuit.close(current, now, circuit.policy)
    }
    const provenance = { why: "HealthCheckPassed", detail: undefined, actor: undefined } as const
    return Effect.tap(this.records.commit(circuit, close, provenance, { expected: true }), (committed) =>
      Effect.sync(() => this.announceEnd(circuit, committed, provenance))
    )
  }

  /** Announces the end of the fleet's outage if this process's own transition did not: it was Closed, or in its own outage. */
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
