import { assert } from "@effect/vitest"
import { Duration, Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerEvent, type BreakerStore, CircuitBreaker, SharedStore } from "effect-fuse"
import { TestFleet } from "effect-fuse/testing"
import { StoreTrouble, troubled, wipeable } from "../../src/testing/trouble.ts"
import { exchanged } from "./exchanged.ts"
import { settings } from "./verbs.ts"

export { StoreTrouble as Trouble, troubled, wipeable }

export interface Options extends BreakerStore.SharedOptions {
  /** One policy for every name, or some by name; the default one if nothing is said. */
  readonly policy?: Parameters<typeof settings>[0] | undefined
  readonly name?: string
  readonly key?: string
  /** How the store is at the start. */
  readonly trouble?: Partial<StoreTrouble>
}

/** One process: the circuits that it has of a store, and the calls that it makes. */
export class Process extends TestFleet.Process {
  private readonly which: readonly [string, { readonly key: string | undefined }]
  /** Calls that reached the dependency. */
  reached = 0

  constructor(started: TestFleet.Started, { key, name = "api" }: Options) {
    super(started)
    this.which = [name, { key }]
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
}

/** An exchange by no voter. */
export const exchange = (store: SharedStore.SharedStore, more: Partial<SharedStore.Exchange> = {}) =>
  exchanged(store, { voter: "test", ttl: 0, ...more })

/** Writes a record, by default a listed one that lasts where there is none. */
export const write = (store: SharedStore.SharedStore, circuit: string, more: Partial<SharedStore.Swap> = {}) => {
  const swap = { circuit, expectedEpoch: 0, body: "", ttl: undefined, listed: true, ...more }
  return Effect.map(exchange(store, { swaps: [swap] }), ({ swaps: [answer] }) => answer ?? assert.fail("no answer"))
}

export const load = (store: SharedStore.SharedStore, circuit: string) =>
  Effect.map(store.load([circuit]), ({ records: [record] }) => record)

/** The circuits that are listed. */
export const listed = (store: SharedStore.SharedStore) =>
  Effect.map(store.page(0, SharedStore.limits.page), ({ changes }) =>
    changes.filter(({ listed, record }) => listed && record !== undefined)
  )

/** A store on which something is done with some exchanges before they reach it. */
export const intercepted = (
  store: SharedStore.SharedStore,
  exchange: (
    exchange: SharedStore.Exchange,
    carryOut: Effect.Effect<SharedStore.ExchangeAnswer, SharedStore.StoreError>
  ) => Effect.Effect<SharedStore.ExchangeAnswer, SharedStore.StoreError>
): SharedStore.SharedStore => ({ ...store, exchange: (one) => exchange(one, store.exchange(one)) })

/** What a process asks of the store while there is nothing to say. */
export const isRoutine = (asked: ReadonlyArray<TestFleet.Operation>): boolean =>
  asked.every((operation) => operation === "page" || operation === "heartbeat")

let seed = 0

/** Starts one more process on a store. */
export const start = (store: SharedStore.SharedStore, options: Options = {}) => {
  const { key: _, name: __, policy = {}, ...rest } = options
  return Effect.map(
    TestFleet.start(store, { ...rest, policies: settings(policy), seed: `process ${++seed}` }),
    (started) => new Process(started, options)
  )
}

/** So many processes, and a store that may be wiped. */
export const fleet = (size: number, options: Options | ((i: number) => Options) = {}) =>
  Effect.gen(function* () {
    seed = 0
    const { announce, save, store, wipe } = yield* wipeable
    const of = typeof options === "function" ? options : () => options
    const processes: Array<Process> = []
    for (let i = 0; i < size; i++) processes.push(yield* start(store, of(i)))
    // All are counted among those who live.
    yield* TestClock.adjust("6 seconds")
    const at = (i: number): Process => processes[i] ?? assert.fail(`there is no process ${i}`)
    const all = <A, E>(f: (process: Process) => Effect.Effect<A, E>) => Effect.forEach(processes, f)
    return { store, wipe, save, announce, processes, at, all, join: (more: Options = of(0)) => start(store, more) }
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

/** Starts a call of a process, and waits until it has reached the dependency or was rejected. */
export const begin = <A, E>(process: Process, self: Effect.Effect<A, E>) =>
  Effect.tap(Effect.forkChild(process.protect(self), { startImmediately: true }), () => pause(1))
