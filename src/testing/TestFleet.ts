/**
 * A fleet of several processes in one test: they share circuits in virtual time, with faults between a process and the store.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { CircuitBreaker } from "effect-fuse"
 * import { TestFleet } from "effect-fuse/testing"
 *
 * const test = Effect.gen(function* () {
 *   const { at } = yield* TestFleet.make(3)
 *   const state = (i: number) => at(i).run(CircuitBreaker.state("bank"))
 *   yield* at(2).cutOff
 *   yield* at(0).run(CircuitBreaker.isolate("bank", { reason: "drill" }))
 *   yield* TestClock.adjust("100 millis")
 *   const before = [yield* state(0), yield* state(1), yield* state(2)]
 *   yield* at(2).reconnect
 *   yield* TestClock.adjust("10 seconds")
 *   return [before, yield* state(2)]
 * }).pipe(Effect.scoped, Effect.provide(TestClock.layer()))
 *
 * await Effect.runPromise(test) // => [["Isolated", "Isolated", "Closed"], "Isolated"]
 * ```
 *
 * Each process runs the real engine on a store in memory, so the fleet behaves as it does with Redis. It needs the `TestClock`, which
 * `it.effect` of `@effect/vitest` provides. A process receives announcements at once, and reads the store every `syncInterval`.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as BreakerStore from "../breaker/BreakerStore.ts"
import {
  anything,
  count,
  decodeArgument,
  decodeOptions,
  expected,
  type FieldsOf,
  field,
  isRecord,
  optional,
  refused,
  textOrEmpty
} from "../core/fields.ts"
import * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import { ofShared } from "../store/options.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { StoreTrouble, troubled, wipeable } from "./trouble.ts"

export type { Operation } from "./trouble.ts"
export { StoreTrouble as Trouble } from "./trouble.ts"

/**
 * Configures one process.
 *
 * @category options
 */
export interface Options extends BreakerStore.SharedOptions {
  /** The policies of the process. Default: the default policy for all circuits. */
  readonly policies?: BreakerPolicy.Settings | undefined
  /** The faults between the process and the store from the start. Default: none. */
  readonly trouble?: Partial<StoreTrouble> | undefined
}

const fields = {
  ...ofShared,
  policies: optional(anything),
  trouble: optional(field("an object", (input) => (isRecord(input) ? input : undefined)))
} satisfies FieldsOf<Options>

/**
 * One process of a fleet.
 *
 * @category models
 */
export class Process {
  readonly trouble: StoreTrouble
  private readonly context: Context.Context<BreakerStore.BreakerStore>
  private readonly scope: Scope.Closeable

  constructor({ context, scope, trouble }: Started) {
    this.trouble = trouble
    this.context = context
    this.scope = scope
  }

  /** Runs an effect in this process. */
  run<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, BreakerStore.BreakerStore>> {
    return Effect.provideContext(effect, this.context)
  }

  /**
   * Cuts the process off: the store no longer answers it, and it receives no announcements. For other faults, set the fields of
   * `trouble`.
   */
  get cutOff(): Effect.Effect<void> {
    return this.troubled({ now: "hang", only: [], deaf: true })
  }

  /** Removes all faults between the process and the store. */
  get reconnect(): Effect.Effect<void> {
    return this.troubled({ now: "none", only: [], slow: 0, deaf: false, late: 0 })
  }

  private troubled(how: Partial<StoreTrouble>): Effect.Effect<void> {
    return Effect.sync(() => void Object.assign(this.trouble, how))
  }

  /** Shuts the process down in order. It leaves the store, so the others stop counting it at once. */
  get stop(): Effect.Effect<void> {
    return Scope.close(this.scope, Exit.void)
  }

  /** Ends the process as a kill does. It cannot leave the store, so the others count it until its heartbeat expires. */
  get crash(): Effect.Effect<void> {
    return Effect.andThen(this.cutOff, Effect.asVoid(Effect.forkDetach(this.stop, { startImmediately: true })))
  }
}

/**
 * The parts of a {@link Process}.
 *
 * @category models
 */
export interface Started {
  readonly trouble: StoreTrouble
  readonly context: Context.Context<BreakerStore.BreakerStore>
  readonly scope: Scope.Closeable
}

/**
 * Starts a process on any store, with the faults of `trouble` between the two. `seed` fixes the random numbers of the process.
 *
 * @category constructors
 */
export const start = (
  store: SharedStore,
  options: Options & { readonly seed?: string | undefined } = {}
): Effect.Effect<Started, BreakerPolicy.PolicyError, Scope.Scope> => {
  const {
    policies = {},
    seed = "process",
    trouble: initial,
    ...shared
  } = decodeOptions("TestFleet.start", { ...fields, seed: optional(textOrEmpty) }, options)
  return Effect.gen(function* () {
    const trouble = Object.assign(new StoreTrouble(), initial)
    const scope = yield* Scope.fork(yield* Effect.scope)
    const layer = Layer.provideMerge(
      BreakerStore.layerShared(troubled(store, trouble), shared),
      BreakerPolicy.layer(policies as BreakerPolicy.Settings)
    )
    const context = yield* Random.withSeed(Layer.buildWithScope(layer, scope), seed)
    // After the test, the clock does not advance. Faults that remained would keep the shutdown waiting for ever.
    yield* Effect.addFinalizer(() => Effect.sync(() => Object.assign(trouble, new StoreTrouble())))
    return { trouble, context, scope }
  })
}

/**
 * Several processes and the store that they share.
 *
 * @category models
 */
export interface TestFleet {
  /** The store of the fleet, for assertions and for `Operator`. */
  readonly store: SharedStore
  /** Deletes everything in the store, as when a Redis is flushed. */
  readonly wipe: Effect.Effect<void>
  /** One of the `processes`, counted from 0. Throws a `RangeError` if there is no such process. */
  readonly at: (process: number) => Process
  /** The processes that {@link make} started. */
  readonly processes: ReadonlyArray<Process>
  /** Starts one more process. */
  readonly join: (options?: Options) => Effect.Effect<Process, BreakerPolicy.PolicyError>
}

/** After this time, the store counts all processes as alive. */
const settled = "6 seconds"

/**
 * Starts a fleet of `size` processes, and advances the clock by 6 seconds, after which the processes know one another.
 *
 * `options` is for all processes, or a function of the number of the process, counted from 0.
 *
 * @category constructors
 */
export const make = (
  size: number,
  options: Options | ((process: number) => Options) = {}
): Effect.Effect<TestFleet, BreakerPolicy.PolicyError, Scope.Scope> => {
  decodeArgument("TestFleet.make", "size", count, size)
  if (typeof options !== "function") decodeOptions("TestFleet.make", fields, options)
  return Effect.gen(function* () {
    const { store, wipe } = yield* wipeable
    const scope = yield* Effect.scope
    const of = typeof options === "function" ? options : () => options
    let seed = 0
    const join = (more: Options = of(0)) =>
      Effect.map(start(store, { ...more, seed: `process ${++seed}` }), (started) => new Process(started))
    const processes: Array<Process> = []
    for (let i = 0; i < size; i++) processes.push(yield* join(of(i)))
    yield* TestClock.adjust(settled)
    return {
      store,
      wipe: Scope.provide(wipe, scope),
      processes,
      at: (i) => {
        const found = processes[i]
        if (found === undefined) throw refused("TestFleet.at", "process", expected(`a number from 0 to ${size - 1}`, i))
        return found
      },
      join: (more) => Scope.provide(join(more), scope)
    }
  })
}
