/**
 * A circuit for each tenant, without passing a key around.
 *
 * **When to use**
 *
 * Wrap the work for one customer in {@link within}. Each breaker inside has a separate circuit for that customer, so that a customer with
 * wrong credentials does not stop the others. With `tenants: "shared"` in its policy, a breaker has one circuit for all tenants. With
 * `"counted"`, it also counts the calls of each tenant.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { decodeArgument, field } from "../core/fields.ts"
import { CurrentTenant } from "./currentTenant.ts"

/**
 * Maximum number of characters of a tenant.
 *
 * @category constants
 */
export const maxLength = 256

/**
 * The tenant of the current fiber, or `undefined`.
 *
 * @category references
 */
export const Current: Context.Reference<string | undefined> = CurrentTenant

/**
 * Runs an effect for a tenant. Throws a `RangeError` unless the tenant is a text of 1 to 256 characters.
 *
 * The circuit of tenant `acme` has the key `acme`. A call with the key `key` inside has the circuit `acme/key`. Inspection and operator
 * actions use these keys, so do not mix tenants with keys that callers choose freely in one name.
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
