/**
 * A circuit for each tenant, without passing a key around.
 *
 * **When to use**
 *
 * Wrap what is done for one customer in {@link within}. Every breaker inside then has a circuit of its own for that
 * customer, so that one whose credentials fail does not stop the others. A policy with `tenants: "shared"` keeps one
 * circuit for all, `"counted"` also counts each tenant's calls on it.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { decodeArgument, field } from "../core/fields.ts"
import { CurrentTenant } from "./currentTenant.ts"

/**
 * How many characters a tenant has at most: tenants come from outside, and become keys.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxLength = 256

/**
 * The tenant of the current fiber, or `undefined`.
 *
 * @category references
 * @since 0.1.0
 */
export const Current: Context.Reference<string | undefined> = CurrentTenant

/**
 * Runs an effect for a tenant. Throws a `RangeError` unless the tenant is a text of 1 to 256 characters.
 *
 * The circuit of tenant `acme` has the key `acme`; with a key of its own inside, `acme/key`. By these keys it is looked at
 * and steered from outside, so do not use keys that callers choose beside tenants under one name.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BreakerStore, CircuitBreaker, Tenant } from "effect-fuse"
 *
 * const call = Effect.succeed("ok").pipe(CircuitBreaker.protect("api"))
 * const program = Effect.andThen(Tenant.within("acme")(call), CircuitBreaker.list)
 *
 * const circuits = await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory))
 * circuits.map((circuit) => circuit.key) // => ["acme"]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const within: {
  (tenant: string): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, tenant: string): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, tenant: string): Effect.Effect<A, E, R> => {
  return Effect.provideService(self, CurrentTenant, decodeArgument("Tenant.within", "tenant", tenantField, tenant))
})

const tenantField = field(`a text of 1 to ${maxLength} characters`, (input) =>
  typeof input === "string" && input !== "" && input.length <= maxLength ? input : undefined
)
