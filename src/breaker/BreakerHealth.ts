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
import { decodeArgument, listOf, text } from "../core/fields.ts"
import type { BreakerStore } from "./BreakerStore.ts"
import { list } from "./control.ts"
import { type Health as HealthOf, healthOf, healthOfNames } from "./health.ts"

/**
 * The health of several circuits: how many of the `total` are `healthy` and `unhealthy`, which names are `unknown`, the mean
 * `failureRate`, and each circuit.
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
 * The health of the circuits of these names, with all keys. Each name counts in `total`. A name that no call has used yet has no circuit: it
 * is `unknown`, neither healthy nor unhealthy. Throws a `RangeError` if `names` is not an array of texts.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BreakerHealth, BreakerStore, CircuitBreaker } from "effect-fuse"
 *
 * const program = Effect.gen(function* () {
 *   yield* Effect.succeed("hello").pipe(CircuitBreaker.protect("api"))
 *   const { healthy, total, unknown } = yield* BreakerHealth.checkOnly(["api", "mail"])
 *   return `${healthy} of ${total}, unknown: ${unknown}`
 * })
 * await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory)) // => "1 of 2, unknown: mail"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const checkOnly = (names: ReadonlyArray<string>): Effect.Effect<Health, never, BreakerStore> => {
  const decoded = decodeArgument("BreakerHealth.checkOnly", "names", listOf(text), names)
  return Effect.map(list, (circuits) => healthOfNames(circuits, decoded))
}
