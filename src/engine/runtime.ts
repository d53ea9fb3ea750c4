import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as PubSub from "effect/PubSub"
import type * as Take from "effect/Take"
import type { BreakerEvent } from "../shapes/BreakerEvent.ts"
import type { EventLoop } from "./eventLoop.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import type { Peers } from "./peers.ts"
import type { Time } from "./time.ts"

/** What the circuits of one store share. */
export interface Runtime {
  readonly time: Time
  /** What is known about stalls of the process. */
  readonly loop: EventLoop
  readonly events: PubSub.PubSub<Take.Take<BreakerEvent>>
  /** Who must miss nothing is told in the same breath, and keeps nobody waiting. */
  readonly observers: Set<(event: BreakerEvent) => void>
  /** Runs an effect as long as the store lives, with the services of the store and not those of some caller. */
  readonly background: (effect: Effect.Effect<unknown>) => Fiber.Fiber<unknown, unknown>
  /** Starts or stops the health check of a circuit, as its state and its policy say. */
  readonly checkHealth: (circuit: LiveCircuit) => void
  /** The other processes, where there are any. */
  peers: Peers | undefined
}
