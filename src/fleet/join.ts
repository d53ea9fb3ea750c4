import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Peers } from "../engine/peers.ts"
import type { Registry } from "../engine/registry.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { Ballots } from "./ballots.ts"
import { FleetContext } from "./context.ts"
import { Judging } from "./judging.ts"
import { Lanes } from "./lanes.ts"
import { Leases } from "./leases.ts"
import { OperatorActions } from "./operatorActions.ts"
import { Records } from "./records.ts"
import { Repair } from "./repair.ts"
import { Hearing } from "./rollCalls.ts"
import { StallDetector } from "./stall.ts"
import { StoreClient } from "./storeClient.ts"

/** Makes the circuits of a process part of a fleet, as long as the scope is open. */
export const joinFleet = (
  registry: Registry,
  store: SharedStore,
  of: Pick<FleetContext, "voter" | "policies" | "random" | "syncMillis" | "connectMillis" | "digest">
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    const { runtime } = registry
    const client = new StoreClient(store, runtime.time)
    const stall = new StallDetector(runtime.loop)
    const context = new FleetContext({ ...of, registry, store, client })
    const lanes = new Lanes(context, new Hearing())
    const records = new Records(context, lanes)
    const ballots = new Ballots(context, records, lanes, new Judging(context, records))
    const leases = new Leases(context, records)
    const actions = new OperatorActions(context, records, ballots)
    const repair = new Repair({ context, records, ballots, leases, actions, lanes, stall })
    client.onDown = () => {
      // Ballots that were cast during the failures did not arrive.
      lanes.begin()
      repair.wentDown()
    }
    client.onReturn = () => {
      repair.returned()
      ballots.returned()
    }
    client.isStalled = () => stall.isNow || runtime.loop.hasJustStalled
    context.isStalled = () => stall.isNow
    client.onStep = (millis) => {
      lanes.begin()
      if (millis > 0) repair.leapt(millis)
    }
    lanes.voting = ballots
    records.onAdopted = (fleetState) => ballots.adopted(fleetState)
    runtime.peers = {
      store,
      process: context.voter,
      isCutOff: () => !client.answered || client.down,
      failed: (circuit, now) => ballots.failed(circuit, now),
      succeeded: (circuit, now) => ballots.succeeded(circuit, now),
      opening: (circuit, now) => ballots.opening(circuit, now),
      moved: (circuit, from, to, why) => {
        // After this transition is announced, because the fleet announces its own afterwards.
        const closesFleets = why === "HealthCheckPassed" && from.epoch === circuit.fleetState?.record.adopted
        if (closesFleets) runtime.background(Effect.andThen(Effect.yieldNow, actions.close(circuit, "HealthCheck")))
        if (to._tag === "Open" && why !== "OpenedByHand") ballots.opened(circuit)
        else if (to._tag === "Closed") ballots.closed(circuit)
      },
      grant: (circuit, restore) => leases.grant(circuit, restore),
      spare: (circuit) => leases.spare(circuit),
      settled: (circuit, lease, verdict) => leases.settled(circuit, lease, verdict),
      speaksFor: (circuit) => actions.speaksFor(circuit),
      steer: (circuit, action) => actions.steer(circuit, action),
      // At once: a state that other processes decided must not reject the first call of this circuit.
      disowned: (circuit) => void runtime.background(records.disown(circuit, "Reset")),
      created: (circuit) => ballots.created(circuit),
      forgotten: (circuit) => context.forget(circuit)
    } satisfies Peers
    return repair.run
  })
