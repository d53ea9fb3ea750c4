import type * as Effect from "effect/Effect"
import type { Failure } from "../core/Outcome.ts"
import * as Trip from "../core/Trip.ts"
import { reportOnce } from "./announce.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { openAtOnce, opensAtOnce, openTripped } from "./opening.ts"
import type { Runtime } from "./runtime.ts"

/** Evaluates a trip. If it trips, returns the effect that opens the circuit. */
export const judge = (
  runtime: Runtime,
  circuit: LiveCircuit,
  epoch: number,
  now: number,
  trip: Trip.Trip | undefined
): Effect.Effect<unknown> | undefined => {
  const seen = circuit.trips(now, runtime.time.wall(), runtime.loop)
  let tripped: Trip.Trip | undefined
  try {
    tripped = trip === undefined ? undefined : Trip.tripped(trip, seen)
  } catch (error) {
    return reportOnce(circuit, "trip", "threw; it does not trip", error)
  }
  if (tripped === undefined) return undefined
  return openTripped(runtime, circuit, epoch, now, Trip.describe(tripped, seen))
}

/** {@link judge} for a failure that was counted. The circuit also opens if the failure opens it by itself. */
export const judgeFailure = (
  runtime: Runtime,
  circuit: LiveCircuit,
  epoch: number,
  now: number,
  failure: Failure,
  hintMillis: number
): Effect.Effect<unknown> | undefined =>
  opensAtOnce(failure, hintMillis)
    ? openAtOnce(runtime, circuit, epoch, now, hintMillis)
    : judge(runtime, circuit, epoch, now, circuit.policy.trip)
