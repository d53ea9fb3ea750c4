/**
 * How all circuits are, as one answer: for a health check, a status page, a test.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BreakerHealth, BreakerStore, CircuitBreaker } from "effect-fuse"
 *
 * const program = Effect.gen(function* () {
 *   yield* Effect.succeed("hello").pipe(CircuitBreaker.protect("api"))
 *   yield* CircuitBreaker.isolate("mail")
 *   const { circuits, healthy, total } = yield* BreakerHealth.check
 *   return [`${healthy} of ${total}`, ...circuits.map(({ circuit, state }) => `${circuit}: ${state}`)]
 * })
 * await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory)) // => ["1 of 2", "api: Closed", "mail: Isolated"]
 * ```
 *
 * As JSON over HTTP: `BreakerRoutes` of `effect-fuse/http`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { BreakerStore } from "./BreakerStore.ts"
import { list } from "./internal/service/control.ts"
import { type Health as HealthOf, healthOf } from "./internal/service/health.ts"

/**
 * Several circuits as one answer: how many are `healthy` of a `total`, the mean `failureRate`, and each circuit.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health extends HealthOf {}

/**
 * How all circuits of the store are, all of the same moment. A hundred thousand of them take about an eighth of a second.
 *
 * @category getters
 * @since 0.1.0
 */
export const check: Effect.Effect<Health, never, BreakerStore> = Effect.map(list, healthOf)

/**
 * How the circuits of these names are, of every key; a name that nobody has used is healthy, and not among them.
 *
 * @category getters
 * @since 0.1.0
 */
export const checkOnly = (names: ReadonlyArray<string>): Effect.Effect<Health, never, BreakerStore> =>
  Effect.map(list, (circuits) => healthOf(circuits.filter(({ circuit }) => names.includes(circuit))))
