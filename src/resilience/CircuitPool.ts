/**
 * A pool of interchangeable members, such as replicas, regions or providers. Each member has its own circuit, and a call goes to a member
 * whose circuit lets it through.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BreakerStore, CircuitBreaker, CircuitPool } from "effect-fuse"
 *
 * const replicas = CircuitPool.make("replicas", { members: { eu: "eu.db.example", us: "us.db.example" } })
 *
 * const query = CircuitPool.call(replicas, (host) => Effect.succeed(`answer of ${host}`))
 *
 * const program = Effect.gen(function* () {
 *   yield* CircuitBreaker.isolate("replicas", { key: "eu" })
 *   const { healthy, total } = yield* CircuitPool.health(replicas)
 *   return [yield* query, yield* query, `${healthy} of ${total}`]
 * })
 * await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory)) // => ["answer of us.db.example", "answer of us.db.example", "1 of 2"]
 * ```
 *
 * The circuit of a member has the pool's name, and the member's name as its key. Inspect and control it with `CircuitBreaker`.
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import type { ByHand, Reading } from "../breaker/CircuitBreaker.ts"
import { readingFields } from "../breaker/classifyOptions.ts"
import * as control from "../breaker/control.ts"
import { type Health as HealthOf, healthOf } from "../breaker/health.ts"
import { circuitName } from "../breaker/options.ts"
import { inlinePolicy, registryOf, toSubject } from "../breaker/protect.ts"
import { decodeArgument, decodeOptions, field, functionField, isRecord, optional, word } from "../core/fields.ts"
import { inspect } from "../engine/inspection.ts"
import { maxKeyLength } from "../engine/registry.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import { type Choose, callOne, type PoolState } from "./pool.ts"

/**
 * The options of a pool.
 *
 * @category options
 */
export interface Options<out Members> {
  /**
   * The members. Either an object from names to the values that calls receive, such as hosts or clients. Or a list of names, which are also
   * the values: it keeps its order even if the names are numbers.
   */
  readonly members: Members
  /**
   * How to choose among the members whose circuits let calls through. Default: `roundRobin`.
   *
   * - `roundRobin`: each in turn.
   * - `inOrder`: the first of the list. The others are standbys.
   * - `leastBusy`: the member with the fewest calls of this pool in flight.
   */
  readonly choose?: "roundRobin" | "inOrder" | "leastBusy" | undefined
  /** Overrides fields of the policy that `BreakerPolicy` has for this name, for all members. */
  readonly policy?: BreakerPolicy.Input | undefined
}

const TypeId: unique symbol = Symbol.for("effect-fuse/CircuitPool")

/**
 * A pool of members, each with its own circuit.
 *
 * @category models
 */
export interface CircuitPool<out A> {
  readonly name: string
  readonly members: ReadonlyArray<string>
  readonly [TypeId]: {
    readonly values: ReadonlyArray<A>
    readonly choose: Choose
    readonly policy: Partial<BreakerPolicy.Policy> | undefined
    readonly state: PoolState
  }
}

/**
 * Whether a value is a pool.
 *
 * @category guards
 */
export const isCircuitPool = (value: unknown): value is CircuitPool<unknown> =>
  typeof value === "object" && value !== null && TypeId in value

type Members = ReadonlyArray<readonly [name: string, value: unknown]>

const members = field<Members>("an object from names to values, or a list of names, at least one", (input) => {
  const found = Array.isArray(input)
    ? input.map((name) => [name, name] as const)
    : isRecord(input)
      ? Object.entries(input)
      : []
  const names = found.map(([name]) => name)
  const sound = names.every((name) => typeof name === "string" && name !== "" && name.length <= maxKeyLength)
  return names.length > 0 && sound && new Set(names).size === names.length ? found : undefined
})

const poolField = field("a pool of CircuitPool.make", (input) => (isCircuitPool(input) ? input : undefined))

const checked = (operation: string, pool: unknown): CircuitPool<unknown> =>
  decodeArgument(operation, "pool", poolField, pool)

const fields = {
  members,
  choose: optional(word("roundRobin", "inOrder", "leastBusy")),
  policy: inlinePolicy
}

/**
 * The type of the values that calls of a pool receive.
 *
 * @category models
 */
export type Member<M extends object> = M extends ReadonlyArray<infer A> ? A : M[keyof M]

/**
 * Creates a pool. Create it once, as a constant. Throws a `RangeError` that names the invalid option.
 *
 * @category constructors
 */
export const make = <M extends object>(
  name: string,
  options: Options<M> & (M extends ReadonlyArray<unknown> ? { readonly members: ReadonlyArray<string> } : unknown)
): CircuitPool<Member<M>> => {
  const operation = "CircuitPool.make"
  const { choose = "roundRobin", members, policy } = decodeOptions(operation, fields, options)
  return {
    name: circuitName(operation, name),
    members: members.map(([name]) => name),
    [TypeId]: {
      values: members.map(([, value]) => value as Member<M>),
      choose,
      policy,
      state: { last: -1, busy: [] }
    }
  }
}

/**
 * Calls one member, under that member's circuit. The call may be the probe of a member whose cooldown is over.
 *
 * If no circuit lets calls through, it fails with the `CircuitOpen` of the circuit that will do so first. A call that has failed is not
 * repeated with another member: add a retry for that.
 *
 * @category combinators
 */
export const call: {
  <A, B, E, R, R2 = never>(
    pool: CircuitPool<A>,
    f: (member: A, name: string) => Effect.Effect<B, E, R>,
    options?: Reading<B, E, R2>
  ): Effect.Effect<B, E | CircuitOpen, R | R2 | BreakerStore>
  <A, B, E, R, R2 = never>(
    f: (member: A, name: string) => Effect.Effect<B, E, R>,
    options?: Reading<B, E, R2>
  ): (pool: CircuitPool<A>) => Effect.Effect<B, E | CircuitOpen, R | R2 | BreakerStore>
} = dual(
  (args) => typeof args[0] !== "function",
  (
    pool: CircuitPool<unknown>,
    f: (member: unknown, name: string) => Effect.Effect<unknown, unknown>,
    options?: Reading<unknown, unknown>
    // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  ): any => {
    const operation = "CircuitPool.call"
    decodeArgument(operation, "f", functionField, f)
    const { choose, policy, state, values } = checked(operation, pool)[TypeId]
    const of = toSubject(operation, pool.name, { ...decodeOptions(operation, readingFields, options), policy })
    const subjects = pool.members.map((key) => ({ ...of, key }))
    return callOne(subjects, choose, state, (member) => f(values[member], pool.members[member] as string))
  }
)

/**
 * Resets the circuits of all members in one transaction: this process never sees only some of them reset. Other processes with the same
 * store receive one change for each circuit. For a tenant, this resets only that tenant's circuits.
 *
 * @category operator actions
 */
export const resetAll = (
  pool: CircuitPool<unknown>,
  options?: Omit<ByHand, "key">
): Effect.Effect<void, never, BreakerStore> =>
  control.resetAll("CircuitPool.resetAll", checked("CircuitPool.resetAll", pool).name, pool.members, options)

/**
 * The health of a pool: the numbers of healthy and unhealthy members, the mean failure rate, and the circuits.
 *
 * @category models
 */
export interface Health extends HealthOf {}

/**
 * The health of the members, all read at the same moment and listed in the members' order.
 *
 * @category getters
 */
export const health = (pool: CircuitPool<unknown>): Effect.Effect<Health, never, BreakerStore> => {
  const { members, name, [TypeId]: its } = checked("CircuitPool.health", pool)
  return Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const caller = registry.callerOf(fiber.context)
    return Effect.succeed(
      healthOf(members.map((key) => inspect(registry, registry.view(name, key, caller, its.policy))))
    )
  })
}
