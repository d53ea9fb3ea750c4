/**
 * Circuit breakers for effects: stop calling a dependency that is down, and notice when it is back.
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
   * What a retry budget has counted recently, and how many retries it has refused since it was created.
   *
   * @category models
   */
  BudgetView
} from "../engine/budget.ts"
export type {
  /**
   * A snapshot of one circuit: its state and the cause, its counts and rates, its last failures.
   *
   * @category models
   */
  Inspection,
  /**
   * The contents of one window of a circuit's trip.
   *
   * @category models
   */
  WindowView
} from "../engine/inspection.ts"
export type {
  /**
   * One of the last failures of a circuit, as text.
   *
   * @category models
   */
  LastFailure,
  /**
   * The calls of one tenant on a circuit that all tenants share.
   *
   * @category models
   */
  TenantCounts
} from "../engine/liveCircuit.ts"
export type { ByHand, Target } from "../shapes/byHand.ts"
export type { Released } from "../shapes/overrides.ts"

/**
 * How a circuit classifies the end of a call.
 *
 * By default, a success is a Success, errors and defects are Failures, and rejections by another policy (`CircuitOpen`, `BulkheadFull`,
 * `RateLimiterError`) are Ignored. A call that was only interrupted is Ignored, whatever these options say.
 *
 * @category options
 */
export interface Reading<in A, in E, out R = never> {
  /**
   * Classifies the whole exit, as a value or as an effect. Cannot be combined with the other two options.
   *
   * The caller waits for the effect. If the caller is interrupted meanwhile, so is the effect, and the outcome is Ignored. A classifier
   * that throws or dies does not affect the caller: the circuit logs the problem once and applies the default.
   */
  readonly classify?:
    | ((exit: Exit.Exit<A, E>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome, never, R>)
    | undefined
  /** Which errors are Failures. Other errors are answers, and count as Success. Defects are always Failures. */
  readonly isFailure?: ((error: E) => boolean) | undefined
  /** Which errors say nothing about the dependency. Checked before `isFailure`. */
  readonly isIgnored?: ((error: E) => boolean) | undefined
}

/**
 * The key and the policy of a circuit.
 *
 * @category options
 */
export interface CircuitOptions extends Target {
  /**
   * Overrides fields of the policy that `BreakerPolicy` has for this name. Write it once, as a constant: a second, different policy for the
   * same name in one store is a defect. It applies from the first call on. An operator action before that uses the policy of
   * `BreakerPolicy`.
   */
  readonly policy?: BreakerPolicy.Input | undefined
}

/**
 * The key and the policy of a circuit, and how it classifies the ends of its calls.
 *
 * @category options
 */
export interface ProtectOptions<in A, in E, out R = never> extends CircuitOptions, Reading<A, E, R> {}

/** Options that classify exits fit effects of certain types, the others fit all effects. These types tell the two apart. */
type Reads = { readonly classify: unknown }
type ReadsErrors<E> = Omit<Reading<never, E>, "classify"> & { readonly classify?: undefined } & (
    | { readonly isFailure: unknown }
    | { readonly isIgnored: unknown }
  )
type ReadsNot = { readonly [K in keyof Reading<never, never>]?: undefined }

/**
 * Runs an effect under a circuit: fails with `CircuitOpen` while the circuit rejects, otherwise runs the effect and records how it ends.
 *
 * The effect keeps its own errors and gains one, `CircuitOpen`. A store never adds another error. An invalid option throws a `RangeError`
 * that names the field when `protect` is called, before anything runs.
 *
 * **Details**
 *
 * Inside a call of the same circuit (same name, same key) on the same fiber tree, the effect is part of that call: it takes no permit, is
 * not counted, and only the outer `protect` classifies the end. This includes effects inside `Effect.timeout`, retries and forked fibers,
 * until the outer call ends or the circuit changes state.
 *
 * A probe, the call that tests whether the dependency is back, is interrupted after the policy's `probeTimeout`.
 *
 * **Gotchas**
 *
 * Put `Effect.timeout` inside `protect`. Outside, a timeout is an interruption, which says nothing about the dependency.
 *
 * @category combinators
 */
export const protect: {
  // The data-first overload comes first: if no overload fits, the compiler reports the error of the last one.
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
 * The options of {@link forEach}.
 *
 * @category options
 */
export interface ForEachOptions<in I, in B, in E, out R2 = never> extends ProtectOptions<B, E, R2> {
  readonly name: string
  /** The maximum number of concurrent calls: 1 or more, or `unbounded`. Default: 1. */
  readonly concurrency?: number | "unbounded" | undefined
  /** Runs for each rejected item, and provides its result. Default: the item fails with `CircuitOpen`. */
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
 * Runs a call for each item under one circuit. Returns one exit per item, in the order of the items: the result or the error of the call,
 * or the exit of `onOpen` if the circuit rejected the item. A failed item does not stop the others.
 *
 * After the first rejection, the remaining items are rejected without asking the circuit again, unless a ramp or a limit is the reason.
 * Calls that have started continue. While the circuit recovers, the items run one at a time as probes, until it is Closed.
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
 * An admitted call, until it is settled or lapses.
 *
 * @category models
 */
export interface Permit {
  readonly [PermitTypeId]: Call
}

const PermitTypeId: unique symbol = Symbol.for("effect-fuse/CircuitBreaker/Permit")

/**
 * Asks whether a call may be made now: the first of two steps, for callers that cannot wrap an effect.
 *
 * The caller must {@link settle} the permit once. A permit that is never settled lapses, and counts as Ignored: a probe after the policy's
 * `probeTimeout`, any other after `lease` (default 10 minutes). If the fiber may be interrupted in between, use
 * `Effect.acquireUseRelease(admit, use, settle)`.
 *
 * Inside a {@link protect} of the same circuit, the permit is part of that call, and settling it changes nothing. A `protect` after
 * `admit` is a separate call.
 *
 * @category two steps
 */
export const admit = (
  name: string,
  options?: CircuitOptions & { readonly lease?: Duration.Input | undefined }
): Effect.Effect<Permit, CircuitOpen, BreakerStore> =>
  Effect.map(admitCall(name, options), (call): Permit => ({ [PermitTypeId]: call }))

/**
 * Reports how the call ended, as an outcome or as an exit: the second step after {@link admit}. An exit is classified as by
 * {@link protect} without options. Settling again, or after the permit has lapsed, does nothing. Any other value is a defect, a
 * `TypeError`.
 *
 * @category two steps
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
 * The state of a circuit; `Closed` if no call has used it. Reading it changes nothing: after its cooldown, a circuit stays Open until a
 * call probes it.
 *
 * @category getters
 */
export const state = (name: string, options?: Target): Effect.Effect<Circuit.State, never, BreakerStore> =>
  control.state(name, options)

/**
 * `scope` says whether this process (`local`) or the whole fleet (`fleet`) decided the state. States that an operator has set in a shared
 * store are `fleet`. Closed circuits, and all circuits of a store that is not shared, are `local`.
 *
 * @category getters
 */
export const scope = (name: string, options?: Target): Effect.Effect<"local" | "fleet", never, BreakerStore> =>
  control.scope(name, options)

/**
 * A snapshot of one circuit: its state and the cause, its counts and rates, its last failures.
 *
 * @category getters
 */
export const inspect = (name: string, options?: Target): Effect.Effect<Inspection, never, BreakerStore> =>
  control.inspection(name, options)

/**
 * Snapshots of all circuits of the store.
 *
 * @category getters
 */
export const list: Effect.Effect<ReadonlyArray<Inspection>, never, BreakerStore> = control.list

/**
 * Waits until a circuit lets all calls through: until it is Closed and no dependency blocks it, or until it is Disabled. Returns at once if
 * the policy only observes or is switched off.
 *
 * Waiting does not probe the circuit: another call, or the policy's `probe`, has to. Add an `Effect.timeout` to limit the wait.
 *
 * `awaitClosed` ends for all waiting callers at once, because it reports a state and admits no call. If the callers then call the
 * dependency, use `waitForCircuit` of `Resilience.retry`, which lets them go in waves.
 *
 * @category getters
 */
export const awaitClosed = (name: string, options?: Target): Effect.Effect<void, never, BreakerStore> =>
  control.awaitClosed(name, options)

/**
 * The events of all circuits of the store, from the subscription on. A subscriber that falls 4,096 events behind loses the oldest ones. The
 * stream ends when the store closes.
 *
 * @category getters
 */
export const events: Stream.Stream<BreakerEvent, never, BreakerStore> = Stream.unwrap(
  BreakerStore.use(({ runtime }) => Effect.map(runtime.events.subscribable, Stream.fromPubSubTake))
)

/**
 * The circuit that an operator action is for, the reason, the operator, and how long the action lasts.
 *
 * @category options
 */
export interface ByHandFor extends ByHand {
  /** How long the action lasts, above 0. Default: an override lasts until {@link release}, an opening as long as after a trip. */
  readonly for?: Duration.Input | undefined
}

const stateAfter = (...action: Parameters<typeof control.byHand>): Effect.Effect<Circuit.State, never, BreakerStore> =>
  Effect.map(control.byHand(...action), ({ state }) => state)

/**
 * Forces a circuit to reject every call until {@link release}, or for the duration `for`. Returns the state after the action, as all
 * operator actions except {@link release} do.
 *
 * Without a key, it applies to all keys of the name, including those that are Disabled. A policy that only observes or is switched off
 * rejects no calls. The state beneath the override is kept: an opening keeps its end, and counted calls still count.
 *
 * A later override never shortens an earlier one. The circuit is Isolated until the last isolation ends, and then Disabled until the last
 * {@link disable} ends. A second override of the same kind by the same `actor` extends the first.
 *
 * @category operator actions
 */
export const isolate = (name: string, options?: ByHandFor): Effect.Effect<Circuit.State, never, BreakerStore> =>
  stateAfter("isolate", name, options)

/**
 * Lets every call through, uncounted, until {@link release}, or for the duration `for`. Without a key, it applies to all keys of the name
 * except those that are Isolated: {@link isolate} takes precedence.
 *
 * @category operator actions
 */
export const disable = (name: string, options?: ByHandFor): Effect.Effect<Circuit.State, never, BreakerStore> =>
  stateAfter("disable", name, options)

/**
 * Ends all overrides that any operator has set with {@link isolate} and {@link disable}. Returns the state after it, and the overrides
 * that it ended. Calls that were counted beneath them still count.
 *
 * @category operator actions
 */
export const release = (name: string, options?: ByHand): Effect.Effect<Released, never, BreakerStore> =>
  control.byHand("release", name, options)

/**
 * Opens a circuit as a trip does: it cools down for `for`, or for the policy's cooldown, and then probes and closes by itself. An Open
 * circuit gets a new end. Beneath an override, the opening takes effect when the override ends.
 *
 * @category operator actions
 */
export const open = (name: string, options?: ByHandFor): Effect.Effect<Circuit.State, never, BreakerStore> =>
  stateAfter("open", name, options)

/**
 * Closes a circuit, with the ramp of its policy. Beneath an override, the close takes effect when the override ends.
 *
 * @category operator actions
 */
export const close = (name: string, options?: ByHand): Effect.Effect<Circuit.State, never, BreakerStore> =>
  stateAfter("close", name, options)

/**
 * Returns a circuit to its initial state: Closed, with empty windows, no past openings and no override. Calls in flight change nothing when
 * they end. The totals are kept.
 *
 * @category operator actions
 */
export const reset = (name: string, options?: ByHand): Effect.Effect<Circuit.State, never, BreakerStore> =>
  stateAfter("reset", name, options)
