/**
 * The health of all circuits in one value: for a health check, a status page or a test.
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
 * `BreakerRoutes` of `effect-fuse/http` serves the same value as JSON.
 */
import * as Effect from "effect/Effect"
import { decodeArgument, listOf, text } from "../core/fields.ts"
import type { BreakerStore } from "./BreakerStore.ts"
import { list } from "./control.ts"
import { type Health as HealthOf, healthOf, healthOfNames } from "./health.ts"

/**
 * The health of several circuits: the numbers of healthy and unhealthy circuits, the names without a circuit, the mean failure rate, and
 * the circuits themselves.
 *
 * @category models
 */
export interface Health extends HealthOf {}

/**
 * The health of all circuits of the store, all read at the same moment. Reading 100,000 circuits takes about 125 milliseconds.
 *
 * @category getters
 */
export const check: Effect.Effect<Health, never, BreakerStore> = Effect.map(list, healthOf)

/**
 * The health of the circuits with these names, including all of their keys. `total` counts every name: a name that no call has used yet has
 * no circuit, and is listed in `unknown` as neither healthy nor unhealthy. Throws a `RangeError` if `names` is not an array of strings.
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
 */
export const checkOnly = (names: ReadonlyArray<string>): Effect.Effect<Health, never, BreakerStore> => {
  const decoded = decodeArgument("BreakerHealth.checkOnly", "names", listOf(text), names)
  return Effect.map(list, (circuits) => healthOfNames(circuits, decoded))
}
