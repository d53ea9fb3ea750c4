/**
 * Several of the same kind, of which any will do: replicas, regions, providers. Each has a circuit of its own, and a call goes
 * to one whose circuit lets it through.
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
 * A member's circuit has the pool's name and the member's own as its key: look at it and steer it with `CircuitBreaker`.
 *
 * @since 0.1.0
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
 * @category options
 * @since 0.1.0
 */
export interface Options<out Members> {
  /**
   * By name, what a call is given to make it with: a host, a client. Or a list of names, which are given themselves, and whose
   * order counts even where names are numbers.
   */
  readonly members: Members
  /**
   * Which of the members that let calls through is called: the one whose turn it is (`roundRobin`, the default), the first
   * (`inOrder`: the others stand by), or the one with the fewest calls of this pool in flight (`leastBusy`).
   */
  readonly choose?: "roundRobin" | "inOrder" | "leastBusy" | undefined
  /** What differs from the policy that `BreakerPolicy` has for this name: one for all members. */
  readonly policy?: BreakerPolicy.Input | undefined
}

const TypeId: unique symbol = Symbol.for("effect-fuse/CircuitPool")

/**
 * @category models
 * @since 0.1.0
 */
export interface CircuitPool<out A> {
  readonly name: string
  /** The names of its members. */
  readonly members: ReadonlyArray<string>
  readonly [TypeId]: {
    readonly values: ReadonlyArray<A>
    readonly choose: Choose
    readonly policy: Partial<BreakerPolicy.Policy> | undefined
    readonly slots: PoolState
  }
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isCircuitPool = (value: unknown): value is CircuitPool<unknown> =>
  typeof value === "object" && value !== null && TypeId in value

type Members = ReadonlyArray<readonly [name: string, value: unknown]>

const members = field<Members>("one name or more, each with what its calls are given, or a list of names", (input) => {
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
 * What the calls of a pool with these members are given.
 *
 * @category models
 * @since 0.1.0
 */
export type Member<M extends object> = M extends ReadonlyArray<infer A> ? A : M[keyof M]

/**
 * A pool: made once, as a constant. Throws a `RangeError` that names the option that is wrong.
 *
 * @category constructors
 * @since 0.1.0
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
      slots: { last: -1, busy: [] }
    }
  }
}

/**
 * Makes a call with one member, under that member's circuit. A member whose cooldown is over gets its turn: its call is the
 * probe. A call that has begun is made with no other: for that put a retry around it.
 *
 * While no circuit lets calls through it fails with the `CircuitOpen` of the one that will first.
 *
 * @category combinators
 * @since 0.1.0
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
    const { choose, slots, policy, values } = checked(operation, pool)[TypeId]
    const of = toSubject(operation, pool.name, { ...decodeOptions(operation, readingFields, options), policy })
    const subjects = pool.members.map((key) => ({ ...of, key }))
    return callOne(subjects, choose, slots, (slot) => f(values[slot], pool.members[slot] as string))
  }
)

/**
 * Makes all members' circuits as new, in one transaction: nobody sees one that is reset and another that is not yet. Other
 * processes with the same store hear of each by itself. Within a tenant these are the tenant's.
 *
 * @category by hand
 * @since 0.1.0
 */
export const resetAll = (
  pool: CircuitPool<unknown>,
  options?: Omit<ByHand, "key">
): Effect.Effect<void, never, BreakerStore> =>
  control.resetAll("CircuitPool.resetAll", checked("CircuitPool.resetAll", pool).name, pool.members, options)

/**
 * Several circuits as one answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health extends HealthOf {}

/**
 * How its members are, all of the same moment and in their order.
 *
 * @category getters
 * @since 0.1.0
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
