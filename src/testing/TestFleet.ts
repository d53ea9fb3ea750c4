/**
 * Several processes in one test, which share their circuits in virtual time, and faults between them and their store.
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
 * It is the real engine, on a store in memory: what it does here it does with Redis. It needs the `TestClock`, which `it.effect` of
 * `@effect/vitest` provides. A process hears of others at once, and compares what it knows with the store every `syncInterval`.
 *
 * @since 0.1.0
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

export type {
  /**
   * What is asked of a store.
   *
   * @category models
   * @since 0.1.0
   */
  Operation
} from "./trouble.ts"
export {
  /**
   * What is wrong with a process's way to the store: set a field, and from then on it is.
   *
   * @category models
   * @since 0.1.0
   */
  StoreTrouble as Trouble
} from "./trouble.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends BreakerStore.SharedOptions {
  /** The policies of the process. Default: the library's. */
  readonly policies?: BreakerPolicy.Settings | undefined
  /** What is wrong with its way to the store from the start. */
  readonly trouble?: Partial<StoreTrouble> | undefined
}

const fields = {
  ...ofShared,
  policies: optional(anything),
  trouble: optional(field("an object", (input) => (isRecord(input) ? input : undefined)))
} satisfies FieldsOf<Options>

/**
 * One process of a fleet: circuits of its own, which it shares with the others.
 *
 * @category models
 * @since 0.1.0
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

  /** From now on the store does not answer this process, and it hears of nothing. `trouble` knows more kinds of that. */
  get cutOff(): Effect.Effect<void> {
    return this.troubled({ now: "hang", only: [], deaf: true })
  }

  /** From now on nothing is wrong with its way to the store. */
  get reconnect(): Effect.Effect<void> {
    return this.troubled({ now: "none", only: [], slow: 0, deaf: false, late: 0 })
  }

  private troubled(how: Partial<StoreTrouble>): Effect.Effect<void> {
    return Effect.sync(() => void Object.assign(this.trouble, how))
  }

  /** Ends as a process that is stopped does: the others know. */
  get stop(): Effect.Effect<void> {
    return Scope.close(this.scope, Exit.void)
  }

  /** Ends as one that is killed does: nobody hears of it. */
  get crash(): Effect.Effect<void> {
    return Effect.andThen(this.cutOff, Effect.asVoid(Effect.forkDetach(this.stop, { startImmediately: true })))
  }
}

/**
 * What a {@link Process} is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Started {
  readonly trouble: StoreTrouble
  readonly context: Context.Context<BreakerStore.BreakerStore>
  readonly scope: Scope.Closeable
}

/**
 * Starts a process on any store, behind what trouble there is. `seed` makes what is left to chance the same each time.
 *
 * @category constructors
 * @since 0.1.0
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
    // When the test is over the clock stands still: nothing may wait for it any more.
    yield* Effect.addFinalizer(() => Effect.sync(() => Object.assign(trouble, new StoreTrouble())))
    return { trouble, context, scope }
  })
}

/**
 * @category models
 * @since 0.1.0
 */
export interface TestFleet {
  /** What they share: to look at it, and for `Operator`. */
  readonly store: SharedStore
  /** The store forgets all it has, as a Redis that is flushed. */
  readonly wipe: Effect.Effect<void>
  /** One of the processes that were there from the start, counted from 0. */
  readonly at: (process: number) => Process
  readonly processes: ReadonlyArray<Process>
  /** One more process, now. */
  readonly join: (options?: Options) => Effect.Effect<Process, BreakerPolicy.PolicyError>
}

/** All are counted among those who live after so long. */
const settled = "6 seconds"

/**
 * So many processes, all alike or each as a function says. The clock has then gone on for six seconds.
 *
 * @category constructors
 * @since 0.1.0
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
