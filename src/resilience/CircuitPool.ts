/**
 * A pool of members, each with its own circuit. If members are interchangeable, such as replicas, regions or providers, use {@link call}:
 * it chooses a member with a circuit that lets the call through. If members differ, use {@link callMember}: it calls a member by its name.
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
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import type { ByHand, Inspection, Reading } from "../breaker/CircuitBreaker.ts"
import { readingFields } from "../breaker/classifyOptions.ts"
import * as control from "../breaker/control.ts"
import { type Health as HealthOf, healthOf } from "../breaker/health.ts"
import { circuitName } from "../breaker/options.ts"
import { inlinePolicy, registryOf, toSubject } from "../breaker/protect.ts"
import {
  decodeArgument,
  decodeOptions,
  field,
  functionField,
  optional,
  positiveMillis,
  refused,
  word
} from "../core/fields.ts"
import { inspect as inspectCircuit } from "../engine/inspection.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import { membersField, weighted, weightsField } from "./declaration.ts"
import { discovering, type Source } from "./discovery.ts"
import { PoolMembers } from "./members.ts"
import { type Choose, callNamed, callOne, type MemberCall, type Pool, type Run } from "./pool.ts"

/**
 * How a pool chooses among the members whose circuits let calls through.
 *
 * - `fastest`: draws two random members, and takes the one with the lower product of its usual duration and its calls in flight. It leaves
 *   out members that are much slower than the others, see {@link MemberInspection.leftOut}.
 * - `leastBusy`: the member with the fewest calls of this pool in flight.
 * - `roundRobin`: each member in turn, in proportion to the weights.
 * - `inOrder`: the first member in the list. The others are standbys.
 *
 * @category options
 */
export type Choice = Choose

/**
 * The policy of a pool. Its `keys` are the members.
 *
 * @category options
 */
export interface PolicyInput<in out Name extends string = string> extends Omit<BreakerPolicy.Input, "keys"> {
  /** The fields that differ for some members: an object by member, or a function. */
  readonly keys?:
    | { readonly [Key in Name]?: BreakerPolicy.KeyInput }
    | ((key: string) => BreakerPolicy.KeyInput | undefined)
    | undefined
}

/**
 * The options of a pool.
 *
 * @category options
 */
export interface Options<out Members, in out Name extends string = string> {
  /**
   * The members. Either an object from names to the values that calls receive, such as hosts or clients. Or a list of names, which are also
   * the values: it keeps its order even if the names are numbers.
   */
  readonly members: Members
  /** How to choose a member. Default: `fastest`. */
  readonly choose?: Choice | undefined
  /** The relative share of calls for each member, above 0. Default: 1 for each member. Not for `inOrder`. */
  readonly weights?: { readonly [Key in Name]?: number } | undefined
  /** Overrides fields of the policy that `BreakerPolicy` has for this name. `keys` overrides fields for single members. */
  readonly policy?: PolicyInput<Name> | undefined
}

const TypeId: unique symbol = Symbol.for("effect-fuse/CircuitPool")

/**
 * A pool of members, each with its own circuit. `A` is the type of the values that calls receive. `ByName` maps each member name to the
 * type of its value.
 *
 * @category models
 */
export interface CircuitPool<out A, out ByName extends object = object> {
  readonly name: string
  /** The names of the members. They change if the pool discovers its members. */
  readonly members: ReadonlyArray<string>
  readonly [TypeId]: Pool & { readonly types?: { readonly A: A; readonly ByName: ByName } }
}

/**
 * Whether a value is a pool.
 *
 * @category guards
 */
export const isCircuitPool = (value: unknown): value is CircuitPool<unknown> =>
  typeof value === "object" && value !== null && TypeId in value

const poolField = field("a pool of CircuitPool.make", (input) => (isCircuitPool(input) ? input : undefined))

const checked = (operation: string, pool: unknown): CircuitPool<unknown> =>
  decodeArgument(operation, "pool", poolField, pool)

const choiceFields = {
  choose: optional(word("fastest", "leastBusy", "roundRobin", "inOrder")),
  weights: optional(weightsField),
  policy: inlinePolicy
}

const fields = { members: membersField, ...choiceFields }

const toPool = (
  name: string,
  members: PoolMembers,
  choose: Choose = "fastest",
  policy: Pool["policy"]
): CircuitPool<never, never> => ({
  name,
  get members() {
    return members.declared.map((one) => one.name)
  },
  [TypeId]: { name, choose, policy, members }
})

/**
 * Creates a pool. Create it once, as a constant. Throws a `RangeError` that names the invalid option.
 *
 * @category constructors
 */
export const make: {
  <const Name extends string>(
    name: string,
    options: Options<ReadonlyArray<Name>, NoInfer<Name>>
  ): CircuitPool<string, { readonly [Key in Name]: string }>
  <M extends object>(
    name: string,
    options: Options<M, NoInfer<keyof M & string>> & (M extends ReadonlyArray<unknown> ? never : unknown)
  ): CircuitPool<M[keyof M], M>
} = (name: string, options: object): CircuitPool<never, never> => {
  const operation = "CircuitPool.make"
  const { choose, members, policy, weights } = decodeOptions(operation, fields, options)
  checkWeights(operation, choose, weights)
  return toPool(circuitName(operation, name), new PoolMembers(weighted(operation, members, weights)), choose, policy)
}

const checkWeights = (operation: string, choose: Choose | undefined, weights: unknown): void => {
  if (choose !== "inOrder" || weights === undefined) return
  throw refused(operation, "weights", "expected nothing, as inOrder calls the first member of the list")
}

/**
 * The type of the values that calls of a pool receive: the values of an object, or the names of a list.
 *
 * @category models
 */
export type Member<M extends object> = M extends ReadonlyArray<infer A> ? A : M[keyof M]

/**
 * Where a pool finds its members, and how it chooses among them.
 *
 * @category options
 */
export interface DiscoverOptions<M extends object, out E = never, out R = never> {
  /**
   * An effect that looks the members up, or a stream that emits all members whenever they change. As in {@link make}, the members are an
   * object from names to values, or a list of names.
   */
  readonly members: Effect.Effect<M, E, R> | Stream.Stream<M, E, R>
  /** The time between two runs of the effect. A stream that has ended or failed starts again after this time. Default: 30 seconds. */
  readonly every?: Duration.Input | undefined
  /** How to choose a member. Default: `fastest`. */
  readonly choose?: Choice | undefined
  /** A function from the name and value of a member to its relative share of calls, above 0. Default: 1 for each member. Not for `inOrder`. */
  readonly weights?: ((name: string, value: NoInfer<Member<M>>) => number) | undefined
  /** Overrides fields of the policy that `BreakerPolicy` has for this name, for all members. */
  readonly policy?: BreakerPolicy.Input | undefined
}

/**
 * Creates a pool that updates its members until the scope closes, for example from a service registry or DNS. The effect waits for the
 * first list that is not empty, and fails if the first lookup fails.
 *
 * A member that stays in the list keeps its circuit and its measurements. Calls in flight of a removed member end as usual, and its circuit
 * is evicted when room is needed. If a later lookup fails or finds no members, the pool keeps its members and logs a warning.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BreakerStore, CircuitPool } from "effect-fuse"
 *
 * const lookup = Effect.succeed(["10.0.0.1", "10.0.0.2"]) // ask a service registry
 *
 * const program = Effect.gen(function* () {
 *   const hosts = yield* CircuitPool.discover("search", { members: lookup, every: "10 seconds" })
 *   return yield* CircuitPool.call(hosts, (host) => Effect.succeed(`answer of ${host.slice(0, 6)}`))
 * })
 * await Effect.runPromise(Effect.provide(Effect.scoped(program), BreakerStore.layerMemory)) // => "answer of 10.0.0"
 * ```
 *
 * @category constructors
 */
export const discover = <M extends object, E = never, R = never>(
  name: string,
  options: DiscoverOptions<M, E, R>
): Effect.Effect<CircuitPool<Member<M>>, E, R | Scope.Scope> => {
  const operation = "CircuitPool.discover"
  const { choose, every = 30_000, members, policy, weights } = decodeOptions(operation, discoverFields, options)
  checkWeights(operation, choose, weights)
  const of = circuitName(operation, name)
  const discovered = Effect.map(discovering(operation, of, members, every, weights), (found) =>
    toPool(of, found, choose, policy)
  )
  return discovered as Effect.Effect<CircuitPool<Member<M>>, E, R | Scope.Scope>
}

const sourceField = field<Source>("an effect or a stream of members", (input) =>
  Effect.isEffect(input) || Stream.isStream(input) ? (input as Source) : undefined
)

const discoverFields = {
  ...choiceFields,
  members: sourceField,
  every: optional(positiveMillis),
  weights: optional(functionField)
}

/**
 * Calls one member, under that member's circuit. The call may be the probe of a member whose cooldown is over.
 *
 * If no circuit lets calls through, the call fails with the `CircuitOpen` of the circuit with the shortest wait. The pool does not repeat a
 * failed call with another member. To repeat failed calls, add a retry.
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
    const its = checked(operation, pool)[TypeId]
    return callOne(its, readingOf(operation, its, options), f)
  }
)

const readingOf = (operation: string, { name }: Pool, options: Reading<unknown, unknown> | undefined): MemberCall =>
  toSubject(operation, name, decodeOptions(operation, readingFields, options))

/**
 * Calls the member with this name, under its circuit. An unknown name is a type error. If the circuit rejects the call, the call fails with
 * `CircuitOpen`, and the pool calls no other member.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BreakerStore, CircuitPool } from "effect-fuse"
 *
 * const services = CircuitPool.make("services", {
 *   members: { payments: "https://payments.example", search: "https://search.example" },
 *   policy: { cooldown: "10 seconds", keys: { payments: { cooldown: "1 minute" } } }
 * })
 *
 * const pay = CircuitPool.callMember(services, "payments", (url) => Effect.succeed(`paid at ${url}`))
 * await Effect.runPromise(Effect.provide(pay, BreakerStore.layerMemory)) // => "paid at https://payments.example"
 * ```
 *
 * @category combinators
 */
export const callMember = <M extends object, Name extends keyof M & string, B, E, R, R2 = never>(
  pool: CircuitPool<unknown, M>,
  name: Name,
  f: (member: M[Name], name: Name) => Effect.Effect<B, E, R>,
  options?: Reading<B, E, R2>
): Effect.Effect<B, E | CircuitOpen, R | R2 | BreakerStore> => {
  const operation = "CircuitPool.callMember"
  const { members, [TypeId]: its } = checked(operation, pool)
  decodeArgument(operation, "name", word(...members), name)
  decodeArgument(operation, "f", functionField, f)
  const call = callNamed(its, name, readingOf(operation, its, options as Reading<unknown, unknown>), f as Run)
  return call as Effect.Effect<B, E | CircuitOpen, R | R2 | BreakerStore>
}

/**
 * Resets the circuits of all members in one transaction: this process never sees a partial reset. Other processes with the same
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
      healthOf(members.map((key) => inspectCircuit(registry, registry.view(name, key, caller, its.policy))))
    )
  })
}

/**
 * One member of a pool, as this process sees it.
 *
 * @category models
 */
export interface MemberInspection {
  readonly name: string
  readonly weight: number
  /** The calls of this pool in flight. */
  readonly inFlight: number
  /**
   * The usual duration of a call: a moving average in which failures count as long calls. `undefined` before the first call has ended, and
   * unless the pool chooses the `fastest` member.
   */
  readonly latency: Duration.Duration | undefined
  /**
   * How much longer the pool leaves the member out because it is much slower than the others; `undefined` if it is not left out. Zero means
   * that the next call may try it. If too few other circuits let calls through, the pool also calls members that it has left out.
   */
  readonly leftOut: Duration.Duration | undefined
  readonly circuit: Inspection
}

/**
 * The members with their latencies, loads and circuits, all read at the same moment and listed in the members' order.
 *
 * @category getters
 */
export const inspect = (
  pool: CircuitPool<unknown>
): Effect.Effect<ReadonlyArray<MemberInspection>, never, BreakerStore> => {
  const { name, [TypeId]: its } = checked("CircuitPool.inspect", pool)
  return Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const caller = registry.callerOf(fiber.context)
    const now = registry.runtime.time.now()
    return Effect.succeed(
      its.members.stateOf(its, registry).members.map((one) => ({
        name: one.name,
        weight: one.weight,
        inFlight: one.busy,
        latency: one.latency === undefined ? undefined : Duration.millis(one.latency),
        leftOut: one.leftOut && Duration.millis(Math.max(0, one.leftOut.until - now)),
        circuit: inspectCircuit(registry, registry.view(name, one.name, caller, its.policy))
      }))
    )
  })
}
