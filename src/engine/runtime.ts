import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { BreakerEvent } from "../shapes/BreakerEvent.ts"
import type { EventLoop } from "./eventLoop.ts"
import type { Events } from "./events.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import type { Peers } from "./peers.ts"
import type { Time } from "./time.ts"

/** What the circuits of one store share. */
export interface Runtime {
  readonly time: Time
  readonly loop: EventLoop
  /** Returns random numbers from 0 to below 1. */
  readonly random: () => number
  readonly events: Events
  /** Called synchronously with each event, so that they miss none. They must return at once. */
  readonly observers: Set<(event: BreakerEvent) => void>
  /** Runs an effect with the services of the store, and not those of a caller, until it ends or the store is closed. */
  readonly background: (effect: Effect.Effect<unknown>) => Fiber.Fiber<unknown, unknown>
  readonly checkHealth: (circuit: LiveCircuit) => void
  /** Whether events are logged, and added to the spans of callers. A promise breaker without `log` does neither. */
  logsEvents: boolean
  /** The fleet, if the store is shared. */
  peers: Peers | undefined
}
