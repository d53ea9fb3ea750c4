import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Sharing } from "../engine/peers.ts"
import type { Registry } from "../engine/registry.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { Ballots } from "./ballots.ts"
import { Ground } from "./context.ts"
import { Judging } from "./judging.ts"
import { Lanes } from "./lanes.ts"
import { Places } from "./leases.ts"
import { OperatorActions } from "./operatorActions.ts"
import { Records } from "./records.ts"
import { Repair } from "./repair.ts"
import { Hearing } from "./rollCalls.ts"
import { Stall } from "./stall.ts"
import { Link } from "./storeClient.ts"

/** Makes the circuits of a process part of a fleet, as long as the scope is open. */
export const share = (
  registry: Registry,
  store: SharedStore,
  of: Pick<Ground, "voter" | "policies" | "random" | "syncMillis" | "connectMillis">
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    const { runtime } = registry
    const link = new Link(store, runtime.time)
    const stall = new Stall(runtime.loop)
    const ground = new Ground({ ...of, registry, store, link })
    const lanes = new Lanes(ground, new Hearing())
    const records = new Records(ground, lanes)
    const ballots = new Ballots(ground, records, lanes, new Judging(ground, records))
    const places = new Places(ground, records)
    const actions = new OperatorActions(ground, records, ballots)
    const repair = new Repair({ ground, records, ballots, places, actions, lanes, stall })
    link.onDown = () => {
      // Ballots that were cast meanwhile did not arrive.
      lanes.begin()
      repair.wentDown()
    }
    link.onReturn = () => repair.returned()
    link.isStalled = () => stall.isNow || runtime.loop.hasJustStalled
    ballots.isStalled = () => stall.isNow
    link.onStep = () => lanes.begin()
    lanes.voting = ballots
    records.onAdopted = (share) => ballots.adopted(share)
    runtime.sharing = {
      store,
      process: ground.voter,
      isCutOff: () => !link.answered || link.down,
      failed: (circuit, now) => ballots.failed(circuit, now),
      succeeded: (circuit, now) => ballots.succeeded(circuit, now),
      opening: (circuit, now) => ballots.opening(circuit, now),
      moved: (circuit, from, to, why) => {
        // After this move has been announced: what the fleet makes of it comes later.
        const closesFleets = why === "HealthCheckPassed" && from.epoch === circuit.share?.record.adopted
        if (closesFleets) runtime.background(Effect.andThen(Effect.yieldNow, actions.close(circuit)))
        if (to._tag === "Open" && why !== "OpenedByHand") ballots.opened(circuit)
        else if (to._tag === "Closed") ballots.closed(circuit)
      },
      place: (circuit, restore) => places.place(circuit, restore),
      spare: (circuit) => places.spare(circuit),
      settled: (circuit, lease, verdict) => places.settled(circuit, lease, verdict),
      speaksFor: (circuit) => actions.speaksFor(circuit),
      steer: (circuit, action) => actions.steer(circuit, action),
      // Done at once: the call that is the first must not be rejected by what concerns others.
      disowned: (circuit) => void runtime.background(records.disown(circuit, "Reset")),
      created: (circuit) => ballots.created(circuit),
      forgotten: (circuit) => ground.forget(circuit)
    } satisfies Sharing
    return repair.run
  })
