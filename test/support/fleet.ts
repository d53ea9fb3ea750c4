import { assert } from "@effect/vitest"
import { type Context, Duration, Effect, Exit, Layer, PubSub, Random, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerEvent, BreakerPolicy, BreakerStore, CircuitBreaker, SharedStore } from "effect-fuse"
import { settings } from "./verbs.ts"

type Operation = "cast" | "swap" | "load" | "list"

/** What is wrong with a process's way to the store: set a field, and from then on it is. */
export class Trouble {
  /** What becomes of operations; `lost`: carried out, and never answered; `twice`: carried out a second time later. */
  now: "none" | "hang" | "fail" | "die" | "throw" | "lost" | "twice" = "none"
  /** Which operations it is about; all if none is named. */
  only: ReadonlyArray<Operation> = []
  /** Milliseconds that each operation takes, half of them on the way there. */
  slow = 0
  /** Whether announcements are dropped. */
  deaf = false
  /** Milliseconds by which announcements are late. */
  late = 0
  /** What was asked of the store, however that ended. */
  asked: Array<Operation> = []
}

/** A store as it looks from behind some trouble. */
export const troubled = (store: SharedStore.SharedStore, trouble: Trouble): SharedStore.SharedStore => {
  const operate = <A>(operation: Operation, run: Effect.Effect<A, SharedStore.StoreError>) => {
    trouble.asked.push(operation)
    const { only } = trouble
    const now = only.length > 0 && !only.includes(operation) ? "none" : trouble.now
    if (now === "throw") throw new Error("thrown")
    const wait = Effect.sleep(trouble.slow / 2)
    const slow = trouble.slow > 0 ? Effect.andThen(wait, Effect.ensuring(run, wait)) : run
    switch (now) {
      case "hang":
        return Effect.never
      case "fail":
        return Effect.fail(new SharedStore.StoreError({ operation, cause: new Error("refused") }))
      case "die":
        return Effect.die(new Error("died"))
      case "lost":
        return Effect.andThen(slow, Effect.never)
      case "twice":
        return Effect.tap(slow, () => Effect.forkDetach(Effect.delay(Effect.ignore(run), 20)))
      default:
        return slow
    }
  }
  return {
    cast: (request) => operate("cast", store.cast(request)),
    swap: (request) => operate("swap", store.swap(request)),
    load: (circuit) => operate("load", store.load(circuit)),
    list: (voice, ttl) => operate("list", store.list(voice, ttl)),
    changes: store.changes.pipe(
      Stream.filter(() => !trouble.deaf),
      Stream.mapEffect(
        (change) => (trouble.late > 0 ? Effect.delay(Effect.succeed(change), trouble.late) : Effect.succeed(change)),
        {
          concurrency: "unbounded",
          unordered: true
        }
      )
    )
  }
}

/** A store in memory that may lose all it has. Its eras go on, as the contract demands. */
export const wipeable = Effect.gen(function* () {
  const hub = yield* PubSub.unbounded<SharedStore.Change>()
  let lastEra = 0
  const open = Effect.gen(function* () {
    const store = yield* SharedStore.makeMemory
    for (let i = 0; i <= lastEra; i++) {
      yield* store.swap({ circuit: `past${i}`, expectedEra: 0, body: "", ttl: 1, listed: false })
    }
    const forward = Stream.runForEach(store.changes, (change) => PubSub.publish(hub, change))
    yield* Effect.forkScoped(forward, { startImmediately: true })
    return store
  })
  let store = yield* open
  const through: SharedStore.SharedStore = {
    cast: (request) => store.cast(request),
    swap: (request) =>
      Effect.tap(store.swap(request), ({ record }) =>
        Effect.sync(() => {
          lastEra = Math.max(lastEra, record?.era ?? 0)
        })
      ),
    load: (circuit) => store.load(circuit),
    list: (voice, ttl) => store.list(voice, ttl),
    changes: Stream.fromPubSub(hub)
  }
  const wipe = Effect.map(open, (next) => {
    store = next
  })
  return { store: through, wipe, announce: (change: SharedStore.Change) => PubSub.publish(hub, change) }
})

export interface Options extends BreakerStore.SharedOptions {
  /** One policy for every name, or some by name; the default one if nothing is said. */
  readonly policy?: Parameters<typeof settings>[0] | undefined
  readonly name?: string
  readonly key?: string
  /** How the store is at the start. */
  readonly trouble?: Partial<Trouble>
}

type Store = BreakerStore.BreakerStore

/** One process: the circuits that it has of a store, and the calls that it makes. */
export class Process {
  readonly trouble: Trouble
  private readonly context: Context.Context<Store>
  private readonly scope: Scope.Closeable
  private readonly which: readonly [string, { readonly key: string | undefined }]
  /** Calls that reached the dependency. */
  reached = 0

  constructor(
    trouble: Trouble,
    context: Context.Context<Store>,
    scope: Scope.Closeable,
    { key, name = "api" }: Options
  ) {
    this.trouble = trouble
    this.context = context
    this.scope = scope
    this.which = [name, { key }]
  }

  run<A, E, R>(effect: Effect.Effect<A, E, R>) {
    return Effect.provideContext(effect, this.context)
  }

  /** A call that ends so. */
  protect<A, E, R>(self: Effect.Effect<A, E, R>) {
    const reach = Effect.sync(() => {
      this.reached++
    })
    return this.run(CircuitBreaker.protect(Effect.andThen(reach, self), ...this.which))
  }

  get succeed() {
    return Effect.exit(this.protect(Effect.succeed("ok")))
  }

  get fail() {
    return Effect.exit(this.protect(Effect.fail("down")))
  }

  get state() {
    return this.run(CircuitBreaker.state(...this.which))
  }

  get inspect() {
    return this.run(CircuitBreaker.inspect(...this.which))
  }

  /** Ends as a process that is stopped does. */
  get stop() {
    return Scope.close(this.scope, Exit.void)
  }

  /** Ends as one that is killed does: nobody hears of it. */
  get crash() {
    return Effect.suspend(() => {
      this.trouble.now = "hang"
      this.trouble.only = []
      return Effect.forkDetach(this.stop, { startImmediately: true })
    })
  }
}

let seed = 0

/** Starts one more process on a store. */
export const start = (store: SharedStore.SharedStore, options: Options = {}) =>
  Effect.gen(function* () {
    const { key: _, name: __, policy = {}, trouble: initial, ...shared } = options
    const trouble = Object.assign(new Trouble(), initial)
    const scope = yield* Scope.fork(yield* Effect.scope)
    const layer = Layer.provideMerge(
      BreakerStore.layerShared(troubled(store, trouble), shared),
      BreakerPolicy.layer(settings(policy))
    )
    seed++
    const built = yield* Random.withSeed(Layer.buildWithScope(layer, scope), `process ${seed}`)
    // When the test is over the clock stands still: nothing may wait for it any more.
    yield* Effect.addFinalizer(() => Effect.sync(() => Object.assign(trouble, new Trouble())))
    return new Process(trouble, built, scope, options)
  })

/** So many processes, and a store that may be wiped. */
export const fleet = (size: number, options: Options | ((i: number) => Options) = {}) =>
  Effect.gen(function* () {
    seed = 0
    const { announce, store, wipe } = yield* wipeable
    const of = typeof options === "function" ? options : () => options
    const processes: Array<Process> = []
    for (let i = 0; i < size; i++) processes.push(yield* start(store, of(i)))
    // All are counted among those who live.
    yield* TestClock.adjust("6 seconds")
    const at = (i: number): Process => processes[i] ?? assert.fail(`there is no process ${i}`)
    const all = <A, E>(f: (process: Process) => Effect.Effect<A, E>) => Effect.forEach(processes, f)
    return { store, wipe, announce, processes, at, all, join: (more: Options = of(0)) => start(store, more) }
  })

/** Lets what goes on in the background go on. */
export const pause = (millis = 10) => TestClock.adjust(millis)

/** Each of them makes so many calls that fail, in turns, a few milliseconds apart. */
export const failing = (processes: ReadonlyArray<Process>, each: number, apart = 5) =>
  Effect.gen(function* () {
    for (let n = 0; n < each; n++) {
      for (const process of processes) {
        yield* process.fail
        yield* pause(apart)
      }
    }
  })

/** State and scope of each. */
export const standings = (processes: ReadonlyArray<Process>) =>
  Effect.forEach(processes, (process) =>
    Effect.map(process.inspect, ({ scope, state }) => `${state} ${scope}` as const)
  )

export const expectAll = (processes: ReadonlyArray<Process>, expected: string) =>
  Effect.map(standings(processes), (found) =>
    assert.deepStrictEqual(
      found,
      processes.map(() => expected)
    )
  )

/** The circuit of all of them opens: each has succeeded, then each fails. */
export const openTogether = (processes: ReadonlyArray<Process>, each = 3) =>
  Effect.gen(function* () {
    yield* Effect.forEach(processes, (process) => process.succeed)
    yield* failing(processes, each)
    yield* pause(200)
    yield* expectAll(processes, "Open fleet")
  })

/** Waits until every one of them may probe. */
export const cooldownOver = (processes: ReadonlyArray<Process>) =>
  Effect.flatMap(
    Effect.forEach(processes, (process) => Effect.map(process.inspect, (seen) => Duration.toMillis(seen.retryAfter))),
    (waits) => TestClock.adjust(Math.max(...waits))
  )

/** The transitions of a process from now on. */
export const transitions = (process: Process) =>
  Effect.gen(function* () {
    const seen: Array<BreakerEvent.BreakerEvent> = []
    const collect = Stream.runForEach(CircuitBreaker.events, (event) => Effect.sync(() => seen.push(event)))
    yield* Effect.forkChild(process.run(collect), { startImmediately: true })
    yield* pause(1)
    return () => seen.filter((event) => event._tag === "Transition")
  })
