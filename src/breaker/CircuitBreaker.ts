/**
 * Circuit breakers for effects: stop calling what is down, notice when it is back.
 *
 * ```ts
 * import { Effect, pipe } from "effect"
 * import { BreakerStore, CircuitBreaker } from "effect-fuse"
 *
 * const program = pipe(
 *   Effect.succeed("hello"),
 *   CircuitBreaker.protect("api"),
 *   Effect.catchTag("CircuitOpen", (open) => Effect.succeed(`try again in ${open.retryAfter}`))
 * )
 *
 * await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory)) // => "hello"
 * ```
 *
 * @since 0.1.0
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type * as Circuit from "../core/Circuit.ts"
import { concurrency, decodeArgument, decodeOptions, field, functionField, optional, text } from "../core/fields.ts"
import type * as Outcome from "../core/Outcome.ts"
import type { Call } from "../engine/call.ts"
import { isOutcome } from "../engine/classify.ts"
import type { Inspection } from "../engine/inspection.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import type { BreakerEvent } from "../shapes/BreakerEvent.ts"
import type { ByHand, Target } from "../shapes/byHand.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import type { Released } from "../shapes/overrides.ts"
import { BreakerStore } from "./BreakerStore.ts"
import { runBatch } from "./batch.ts"
import * as control from "./control.ts"
import { admit as admitCall, guard, subject, subjectFields, toSubject } from "./protect.ts"

export type {
  /**
   * What a retry budget has counted lately, and what it has refused since it was made.
   *
   * @category models
   * @since 0.1.0
   */
  BudgetView
} from "../engine/budget.ts"
export type {
  /**
   * Everything about one circuit at one moment: its state and why, its counts and rates, its last failures.
   *
   * @category models
   * @since 0.1.0
   */
  Inspection,
  /**
   * What a window of a circuit's trip holds.
   *
   * @category models
   * @since 0.1.0
   */
  WindowView
} from "../engine/inspection.ts"
export type {
  /**
   * One of the last failures of a circuit, as text.
   *
   * @category models
   * @since 0.1.0
   */
  LastFailure,
  /**
   * The calls of one tenant on a circuit that all tenants share.
   *
   * @category models
   * @since 0.1.0
   */
  TenantCounts
} from "../engine/liveCircuit.ts"
export type { ByHand, Target } from "../shapes/byHand.ts"
export type { Released } from "../shapes/overrides.ts"

/**
 * How the end of a call is read. By default a success is a Success, errors and defects are Failures, and what another
 * policy rejected is Ignored: `CircuitOpen`, `BulkheadFull`, `RateLimiterError`. Whatever is said here, a call that was only interrupted is Ignored.
 *
 * @category options
 * @since 0.1.0
 */
export interface Reading<in A, in E, out R = never> {
  /**
   * Reads the whole exit, at once or with an effect. Cannot be combined with the other two options. The caller waits for the
   * effect. If the caller is interrupted meanwhile, so is the effect, and the outcome is Ignored. A classifier that throws or dies
   * does not affect the caller: the circuit logs it once and reads the exit as by default.
   */
  readonly classify?:
    | ((exit: Exit.Exit<A, E>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome, never, R>)
    | undefined
  /** Which errors are failures; others are answers, and count as Success. Defects are always failures. */
  readonly isFailure?: ((error: E) => boolean) | undefined
  /** Which errors tell nothing of the dependency. Asked before `isFailure`. */
  readonly isIgnored?: ((error: E) => boolean) | undefined
}

/**
 * Which circuit, under which policy.
 *
 * @category options
 * @since 0.1.0
 */
export interface CircuitOptions extends Target {
  /**
   * What differs from the policy that `BreakerPolicy` has for this name. Write it once, as a constant: a name has one
   * policy in a store, and a second one that differs is a defect. It holds from the first call on: what an operator does before that
   * uses the policy that `BreakerPolicy` has.
   */
  readonly policy?: BreakerPolicy.Input | undefined
}

/**
 * Which circuit, under which policy, and how the ends of its calls are read.
 *
 * @category options
 * @since 0.1.0
 */
export interface ProtectOptions<in A, in E, out R = never> extends CircuitOptions, Reading<A, E, R> {}

/** Options that read exits are for effects of certain types, others for all: told apart by what is given. */
type Reads = { readonly classify: unknown }
type ReadsErrors<E> = Omit<Reading<never, E>, "classify"> & { readonly classify?: undefined } & (
    | { readonly isFailure: unknown }
    | { readonly isIgnored: unknown }
  )
type ReadsNot = { readonly [K in keyof Reading<never, never>]?: undefined }

/**
 * Lets calls through while the circuit allows it, and learns from how they end.
 *
 * The effect keeps its own errors and gains one, `CircuitOpen`; no state of a store can add another. An
 * invalid option throws a `RangeError` that names the field here, before anything runs.
 *
 * Inside a call of the same circuit (same name, same key) on the same fiber tree, it is part of that call: it takes no permit, is not
 * counted, and only the outer `protect` reads the end. This holds through `Effect.timeout`, retries and forked fibers, until
 * the outer call ends or the circuit changes state.
 *
 * A probe, the call that finds out whether the dependency is back, is interrupted at the policy's `probeTimeout`. Put
 * `Effect.timeout` inside `protect`: outside it a timeout is an interruption, which says nothing of the dependency.
 *
 * @category combinators
 * @since 0.1.0
 */
export const protect: {
  // Data first comes first: of a call that fits none, compilers tell what is wrong with the last.
  <A, E, R, R2 = never>(
    self: Effect.Effect<A, E, R>,
    name: string,
    options?: ProtectOptions<A, E, R2>
  ): Effect.Effect<A, E | CircuitOpen, R | R2 | BreakerStore>
  <E>(
    name: string,
    options: CircuitOptions & ReadsErrors<E>
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R | BreakerStore>
  <A, E, R2 = never>(
    name: string,
    options: ProtectOptions<A, E, R2> & Reads
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R | R2 | BreakerStore>
  (
    name: string,
    options?: CircuitOptions & ReadsNot
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R | BreakerStore>
  <A, E, R2 = never>(
    name: string,
    options: ProtectOptions<A, E, R2>
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R | R2 | BreakerStore>
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types; options are checked when it is applied
} = (...args: ReadonlyArray<any>): any => {
  if (Effect.isEffect(args[0])) return guard(args[0], subject("CircuitBreaker.protect", args[1], args[2]))
  const checked = subject("CircuitBreaker.protect", args[0], args[1])
  return (self: Effect.Effect<unknown, unknown>) => guard(self, checked)
}

/**
 * @category options
 * @since 0.1.0
 */
export interface ForEachOptions<in I, in B, in E, out R2 = never> extends ProtectOptions<B, E, R2> {
  /** The name of the circuit. */
  readonly name: string
  /** How many items are called for at once: a number of 1 or more (default 1), or `unbounded`. */
  readonly concurrency?: number | "unbounded" | undefined
  /** Takes the place of the result of an item that was not called for. Default: the item's error is `CircuitOpen`. */
  readonly onOpen?:
    | ((item: I, open: CircuitOpen, index: number) => Effect.Effect<unknown, unknown, unknown>)
    | undefined
}

const iterable = field<Iterable<unknown>>("an iterable", (input) =>
  typeof (input as Iterable<unknown> | null | undefined)?.[Symbol.iterator] === "function"
    ? (input as Iterable<unknown>)
    : undefined
)
const forEachFields = {
  ...subjectFields,
  name: text,
  concurrency: optional(concurrency),
  onOpen: optional(functionField)
}

/**
 * Calls for each of many items under one circuit, and gives each its end, in their order: what the call gave, the error or
 * defect with which it failed, or, where the circuit let no call through, what `onOpen` makes of that. One item's failure stops no other.
 *
 * An open circuit is asked once, and not for each item; when it opens midway, what has begun ends, and no other item is
 * called for. Of a circuit that recovers, one item after the other is a probe, until it is Closed.
 *
 * ```ts
 * import { Effect, Exit } from "effect"
 * import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
 *
 * const save = (n: number) => (n < 3 ? Effect.succeed(`saved ${n}`) : Effect.fail("disk full"))
 *
 * const program = CircuitBreaker.forEach([1, 2, 3, 4, 5], save, {
 *   name: "disk",
 *   policy: { trip: Trip.consecutive(1) },
 *   onOpen: (n) => Effect.succeed(`kept ${n} for later`)
 * })
 * const ends = await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory))
 * ends.map((end) => (Exit.isSuccess(end) ? end.value : "failed")) // => ["saved 1", "saved 2", "failed", "kept 4 for later", "kept 5 for later"]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const forEach: {
  <I, B, E, R, C, E2, R3, R2 = never>(
    items: Iterable<I>,
    f: (item: I, index: number) => Effect.Effect<B, E, R>,
    options: ForEachOptions<I, B, E, R2> & {
      readonly onOpen: (item: I, open: CircuitOpen, index: number) => Effect.Effect<C, E2, R3>
    }
  ): Effect.Effect<ReadonlyArray<Exit.Exit<B | C, E | E2>>, never, R | R2 | R3 | BreakerStore>
  <I, B, E, R, R2 = never>(
    items: Iterable<I>,
    f: (item: I, index: number) => Effect.Effect<B, E, R>,
    options: ForEachOptions<I, B, E, R2> & { readonly onOpen?: undefined }
  ): Effect.Effect<ReadonlyArray<Exit.Exit<B, E | CircuitOpen>>, never, R | R2 | BreakerStore>
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types; options are checked when it is applied
} = (items: Iterable<any>, f: (item: any, index: number) => any, options: ForEachOptions<any, any, any, any>): any => {
  const operation = "CircuitBreaker.forEach"
  decodeArgument(operation, "items", iterable, items)
  decodeArgument(operation, "f", functionField, f)
  const { concurrency = 1, name, onOpen, ...given } = decodeOptions(operation, forEachFields, options)
  const batch = { subject: toSubject(operation, name, given), concurrency, run: f, onOpen }
  return Effect.suspend(() => runBatch(Array.from(items), batch))
}

/**
 * What an admitted call holds until it is settled.
 *
 * @category models
 * @since 0.1.0
 */
export interface Permit {
  readonly [PermitTypeId]: Call
}

const PermitTypeId: unique symbol = Symbol.for("effect-fuse/CircuitBreaker/Permit")

/**
 * The first of two steps, for callers that cannot wrap an effect: asks whether a call may be made now.
 *
 * Inside a {@link protect} of the same circuit the permit is part of that call, and settling it changes nothing. The other way
 * round each is a call of its own: `protect` knows nothing of a permit that was admitted before it.
 *
 * Whoever gets the permit must {@link settle} it, once. One that is never settled lapses, as Ignored: a probe's after the
 * policy's `probeTimeout`, any other after `lease` (default 10 minutes). Where the fiber may be interrupted in between, use
 * `Effect.acquireUseRelease(admit, use, settle)`.
 *
 * @category two steps
 * @since 0.1.0
 */
export const admit = (
  name: string,
  options?: CircuitOptions & { readonly lease?: Duration.Input | undefined }
): Effect.Effect<Permit, CircuitOpen, BreakerStore> =>
  Effect.map(admitCall(name, options), (call): Permit => ({ [PermitTypeId]: call }))

/**
 * The second step: says how the call ended, as an outcome or as an exit, which is read as {@link protect} does by default.
 * The second time, or after the permit has lapsed, nothing happens. Anything else as the end is a `TypeError`, a defect.
 *
 * @category two steps
 * @since 0.1.0
 */
export const settle = (permit: Permit, end: Outcome.Outcome | Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      const call = permit[PermitTypeId]
      if (!Exit.isExit(end) && !isOutcome(end)) {
        return Effect.die(new TypeError("CircuitBreaker.settle: expected an Outcome or an Exit"))
      }
      return (Exit.isExit(end) ? call.settle(end, restore) : call.settleAs(end)) ?? Effect.void
    })
  )

/**
 * The state of a circuit; `Closed` if it was never used. Looking changes nothing: a circuit whose cooldown is over stays
 * Open until a call probes it.
 *
 * @category getters
 * @since 0.1.0
 */
export const state = (name: string, options?: Target): Effect.Effect<Circuit.State, never, BreakerStore> =>
  control.state(name, options)

/**
 * Whose word the state of a circuit is: `fleet` if all processes with the same store have agreed on it, or somebody forced
 * it; `local` if it is this process's own, as everything is where the store is not shared, and every Closed circuit.
 *
 * @category getters
 * @since 0.1.0
 */
export const scope = (name: string, options?: Target): Effect.Effect<"local" | "fleet", never, BreakerStore> =>
  control.scope(name, options)

/**
 * Everything about a circuit.
 *
 * @category getters
 * @since 0.1.0
 */
export const inspect = (name: string, options?: Target): Effect.Effect<Inspection, never, BreakerStore> =>
  control.inspection(name, options)

/**
 * Everything about every circuit of the store.
 *
 * @category getters
 * @since 0.1.0
 */
export const list: Effect.Effect<ReadonlyArray<Inspection>, never, BreakerStore> = control.list

/**
 * Waits until a circuit lets calls through: until it is Closed and nothing that it depends on blocks it, or until it is
 * Disabled.
 *
 * Somebody else has to probe it (a caller, or the policy's `probe`), so bound it with `Effect.timeout`. Where the policy only
 * observes or is switched off there is nothing to wait for.
 *
 * All callers that wait are told at once, because it reports a state and admits no call. For callers that then call the
 * dependency, use `waitForCircuit` of `Resilience.retry`: it lets them go in waves.
 *
 * @category getters
 * @since 0.1.0
 */
export const awaitClosed = (name: string, options?: Target): Effect.Effect<void, never, BreakerStore> =>
  control.awaitClosed(name, options)

/**
 * What happens to all circuits of the store, from now on. A subscriber that falls 4,096 events behind loses the oldest. The
 * stream ends with the store.
 *
 * @category getters
 * @since 0.1.0
 */
export const events: Stream.Stream<BreakerEvent, never, BreakerStore> = Stream.unwrap(
  BreakerStore.useSync((registry) => Stream.fromPubSubTake(registry.runtime.events))
)

/**
 * The circuit that an operator action is for, the reason, the operator, and how long the action lasts.
 *
 * @category options
 * @since 0.1.0
 */
export interface ByHandFor extends ByHand {
  /** A duration above 0. Default: an override lasts until `release`, an opening lasts as long as after a trip. */
  readonly for?: Duration.Input | undefined
}

/** Takes an operator action. The result is the state after it. */
const stateAfter = (...action: Parameters<typeof control.byHand>): Effect.Effect<Circuit.State, never, BreakerStore> =>
  Effect.map(control.byHand(...action), ({ state }) => state)

/**
 * Forces a circuit open: every call is rejected until {@link release}, or for as long as `for` says (but none where the
 * policy only observes or is switched off). Without a key it holds for all keys of the name, also for those that are
 * Disabled. What was going on beneath goes on after it: an opening keeps its end, and the calls that were counted still count.
 *
 * A later override never shortens an earlier one: while several stand, the circuit is Isolated until the last one that isolates
 * ends, and then Disabled until the last one that disables ends. A second one of a kind by the same `actor` extends the first.
 *
 * Answers the state that then holds, as all of these do.
 *
 * @category by hand
 * @since 0.1.0
 */
export const isolate = (name: string, options?: ByHandFor): Effect.Effect<Circuit.State, never, BreakerStore> =>
  stateAfter("isolate", name, options)

/**
 * Lets every call through, uncounted, until {@link release}, or for as long as `for` says. Without a key it holds for all
 * keys of the name but those that are Isolated. It does not end an {@link isolate}: what rejects decides.
 *
 * @category by hand
 * @since 0.1.0
 */
export const disable = (name: string, options?: ByHandFor): Effect.Effect<Circuit.State, never, BreakerStore> =>
  stateAfter("disable", name, options)

/**
 * Ends all overrides of a circuit that {@link isolate} and {@link disable} have set, by any operator, and answers which it
 * ended. What was counted beneath them goes on counting.
 *
 * @category by hand
 * @since 0.1.0
 */
export const release = (name: string, options?: ByHand): Effect.Effect<Released, never, BreakerStore> =>
  control.byHand("release", name, options)

/**
 * Opens a circuit as a trip would: it cools down (for the policy's cooldown, or `for`), probes and closes by itself. An
 * Open one gets a new end. Beneath an override it changes what holds afterwards.
 *
 * @category by hand
 * @since 0.1.0
 */
export const open = (name: string, options?: ByHandFor): Effect.Effect<Circuit.State, never, BreakerStore> =>
  stateAfter("open", name, options)

/**
 * Closes a circuit, with its ramp if it has one. Beneath an override it changes what holds afterwards.
 *
 * @category by hand
 * @since 0.1.0
 */
export const close = (name: string, options?: ByHand): Effect.Effect<Circuit.State, never, BreakerStore> =>
  stateAfter("close", name, options)

/**
 * Makes a circuit as new: Closed, nothing in its windows, no memory of openings, no override. Calls in flight change
 * nothing when they end. Its totals go on.
 *
 * @category by hand
 * @since 0.1.0
 */
export const reset = (name: string, options?: ByHand): Effect.Effect<Circuit.State, never, BreakerStore> =>
  stateAfter("reset", name, options)
