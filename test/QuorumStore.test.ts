import { readFile } from "node:fs/promises"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, MemoryStore, SharedStore } from "effect-fuse"
import * as QuorumStore from "effect-fuse/QuorumStore"
import { SharedStoreContract } from "effect-fuse/testing"
import { castOf, exchanged, swapOf } from "./support/exchanges.ts"
import {
  cooldownOver,
  expectAll,
  failing,
  openTogether,
  type Process,
  pause,
  start,
  Trouble,
  troubled,
  wipeable
} from "./support/fleet.ts"
import { times } from "./support/verbs.ts"

const three = Effect.all([MemoryStore.make, MemoryStore.make, MemoryStore.make])

/** Regions with a store each, and processes that reach all of them, each with troubles of its own on the way. */
const regions = (size: number) =>
  Effect.gen(function* () {
    const stores = [yield* wipeable, yield* wipeable, yield* wipeable]
    const ways: Array<ReadonlyArray<Trouble>> = []
    const join = Effect.suspend(() => {
      const troubles = stores.map(() => new Trouble())
      ways.push(troubles)
      return Effect.flatMap(
        QuorumStore.make(stores.map(({ store }, i) => troubled(store, troubles[i] ?? new Trouble()))),
        (store) => start(store)
      )
    })
    const processes = yield* Effect.forEach(Array.from({ length: size }), () => join)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const trouble of ways.flat()) Object.assign(trouble, new Trouble())
      })
    )
    yield* TestClock.adjust("6 seconds")
    const at = (i: number) => processes[i] ?? assert.fail(`there is no process ${i}`)
    /** Sets what is wrong with a region, for some processes or for all. */
    const set = (region: number, trouble: Partial<Trouble>, of = ways.map((_, i) => i)) => {
      for (const i of of) Object.assign(ways[i]?.[region] ?? {}, trouble)
    }
    return { stores, processes, at, join, set }
  })

const well: Partial<Trouble> = { now: "none", slow: 0, deaf: false }

/** All processes see failures, and open within `millis`. After the cooldown, calls of the first process close the circuit for all. */
const openedAndClosed = (processes: ReadonlyArray<Process>, millis: number) =>
  Effect.gen(function* () {
    yield* Effect.forEach(processes, (process) => process.succeed)
    yield* failing(processes, 3)
    yield* TestClock.adjust(millis)
    yield* expectAll(processes, "Open fleet")
    yield* cooldownOver(processes)
    for (let i = 0; i < 5; i++) {
      yield* Effect.forkChild(processes[0]?.succeed ?? assert.fail("there is no process"), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
    }
    yield* expectAll(processes, "Closed local")
  })

/** A circuit's record in one of the stores, as any process would read it through all of them. */
const recordIn = (store: SharedStore.SharedStore) => Effect.map(store.load(["api"]), ({ records: [record] }) => record)

describe("Three stores in memory as one keep the contract", () => {
  for (const [what, size] of [
    ["one handle", 1],
    ["a handle for each process", 2]
  ] as const) {
    describe(what, () => {
      const made = Effect.gen(function* () {
        yield* TestClock.setTime(1_800_000_000_000)
        const stores = yield* three
        const shared = yield* QuorumStore.make(stores)
        return size === 1 ? Effect.succeed(shared) : QuorumStore.make(stores)
      })
      const names = SharedStoreContract.cases(MemoryStore.make)
      for (const [place, { name }] of names.entries()) {
        it.effect(
          name,
          () =>
            Effect.gen(function* () {
              const { test } = SharedStoreContract.cases(yield* made)[place] ?? assert.fail("no such case")
              const fiber = yield* Effect.forkChild(test)
              // Stores in memory need no other time.
              while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("5 millis")
              yield* Fiber.join(fiber)
            }),
          60_000
        )
      }
    })
  }
})

describe("A region that", () => {
  const troubles: ReadonlyArray<readonly [string, Partial<Trouble>]> = [
    ["fails", { now: "fail" }],
    ["hangs", { now: "hang" }],
    ["dies", { now: "die" }],
    ["throws", { now: "throw" }],
    ["loses its answers", { now: "lost" }],
    ["is slow", { slow: 300 }]
  ]
  for (const [what, trouble] of troubles) {
    it.effect(`${what} is not missed: opened, probed and closed together, forced and released`, () =>
      Effect.gen(function* () {
        const { at, join, processes, set } = yield* regions(3)
        set(0, { ...trouble, deaf: true })
        yield* openedAndClosed(processes, 2_000)
        yield* Effect.forkChild(at(1).run(CircuitBreaker.isolate("api")), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* expectAll([...processes, yield* join], "Isolated fleet")
        yield* Effect.forkChild(at(2).run(CircuitBreaker.release("api")), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* expectAll(processes, "Closed local")
      })
    )
  }

  it.effect("hangs is waited for once, until its deadline, and is used again when it answers", () =>
    Effect.gen(function* () {
      const stores = yield* three
      const away = new Trouble()
      const quorum = yield* QuorumStore.make(stores.map((store, i) => troubled(store, i === 2 ? away : new Trouble())))
      const isAnswered = (millis: number) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(quorum.load(["api"]), { startImmediately: true })
          yield* TestClock.adjust(millis)
          return fiber.pollUnsafe() !== undefined
        })
      away.now = "hang"
      assert.isFalse(yield* isAnswered(499))
      yield* TestClock.adjust(1)
      for (let i = 0; i < 20; i++) {
        assert.isTrue(yield* isAnswered(0), `read ${i} waits for a region that did not answer`)
        yield* TestClock.adjust("400 millis")
      }
      assert.isBelow(away.asked.length, 8)
      away.now = "none"
      yield* TestClock.adjust("2 seconds")
      yield* isAnswered(0)
      const { length } = away.asked
      yield* isAnswered(0)
      assert.isAbove(away.asked.length, length)
    })
  )

  it.live("has its answer in the socket after a stall of the process is not left out", () =>
    Effect.gen(function* () {
      const [one, two, three_] = yield* three
      let asked = 0
      const reading: SharedStore.SharedStore = {
        ...three_,
        load: (circuits) =>
          Effect.suspend(() => {
            asked++
            return Effect.andThen(
              Effect.promise(() => readFile(new URL(import.meta.url))),
              three_.load(circuits)
            )
          })
      }
      const quorum = yield* QuorumStore.make([one, two, reading])
      const fiber = yield* Effect.forkChild(quorum.load(["api"]), { startImmediately: true })
      const until = performance.now() + 700
      while (performance.now() < until);
      yield* Fiber.join(fiber)
      yield* quorum.load(["api"])
      assert.strictEqual(asked, 2)
    })
  )

  it.effect("cannot announce: the other two still do", () =>
    Effect.gen(function* () {
      const stores = yield* three
      const broken = stores.map((store, i) =>
        i === 0
          ? {
              ...store,
              changes: Stream.fail(new SharedStore.StoreError({ operation: "changes", cause: "refused" }))
            }
          : store
      )
      const make = Effect.flatMap(QuorumStore.make(broken), (store) => start(store))
      const processes = [yield* make, yield* make] as const
      yield* TestClock.adjust("6500 millis")
      yield* processes[0].run(CircuitBreaker.isolate("api"))
      yield* pause(50)
      yield* expectAll(processes, "Isolated fleet")
    })
  )

  it.effect("lost everything gets the records of the others", () =>
    Effect.gen(function* () {
      const { at, join, processes, stores } = yield* regions(3)
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* pause()
      yield* stores[1]?.wipe ?? Effect.void
      yield* TestClock.adjust("6 seconds")
      yield* expectAll([...processes, yield* join], "Isolated fleet")
      assert.isDefined(yield* recordIn(stores[1]?.store ?? assert.fail("no store")))
    })
  )

  it.effect("was cut off adopts the decisions that it missed, and does not become younger", () =>
    Effect.gen(function* () {
      const { join, processes, set, stores } = yield* regions(3)
      set(2, { now: "fail", deaf: true })
      yield* openTogether(processes)
      yield* TestClock.adjust("5 seconds")
      const before = Duration.toMillis((yield* (processes[0] ?? assert.fail()).inspect).retryAfter)
      set(2, well)
      yield* TestClock.adjust("6 seconds")
      const body = (yield* recordIn(stores[2]?.store ?? assert.fail("no store")))?.body
      assert.match(body ?? "", /"Open"/)
      // A process that reaches only this region finds the opening with the end that it always had.
      for (const region of [0, 1]) set(region, { now: "fail" }, [3])
      const late = yield* join
      set(0, { now: "fail", deaf: true }, [3])
      set(1, { now: "fail", deaf: true }, [3])
      yield* TestClock.adjust("6 seconds")
      yield* expectAll([late], "Open fleet")
      // Twelve seconds have passed. Each process adds a random delay of up to a second.
      const passed = before - Duration.toMillis((yield* late.inspect).retryAfter)
      assert.isTrue(passed >= 11_000 && passed <= 13_100, String(passed))
    })
  )

  it.effect("was cut off during a release does not undo the release when it is back", () =>
    Effect.gen(function* () {
      const { at, join, processes, set } = yield* regions(2)
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* pause()
      set(0, { now: "fail", deaf: true })
      yield* at(0).run(CircuitBreaker.release("api"))
      yield* TestClock.adjust("10 minutes")
      set(0, well)
      yield* TestClock.adjust("11 seconds")
      yield* expectAll([...processes, yield* join], "Closed local")
    })
  )
})

describe("A region that is still connecting", () => {
  /** A store that takes operations only once it is connected. */
  const connecting = (store: SharedStore.SharedStore) => {
    const there = Deferred.makeUnsafe<void>()
    const asked = { count: 0 }
    const whenThere = <A>(effect: Effect.Effect<A, SharedStore.StoreError>) =>
      Effect.suspend(() => {
        asked.count++
        return Effect.andThen(Deferred.await(there), effect)
      })
    const waiting: SharedStore.SharedStore = {
      ...store,
      connected: Deferred.await(there),
      exchange: (exchange) => whenThere(store.exchange(exchange)),
      page: (since, limit) => whenThere(store.page(since, limit)),
      load: (circuits) => whenThere(store.load(circuits))
    }
    return { store: waiting, connect: Deferred.succeed(there, undefined), asked }
  }
  const settled = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
      yield* TestClock.adjust("600 millis")
      return yield* Fiber.join(fiber)
    })

  it.effect("is asked as soon as it is connected, and not only after a rest", () =>
    Effect.gen(function* () {
      const [one, two, three_] = yield* three
      const late = connecting(three_)
      const quorum = yield* QuorumStore.make([one, two, late.store])
      yield* settled(quorum.load(["api"]))
      const { count } = late.asked
      yield* TestClock.adjust("10 seconds")
      yield* settled(quorum.load(["api"]))
      assert.strictEqual(late.asked.count, count, "it was asked while it was connecting")
      yield* late.connect
      yield* settled(quorum.load(["api"]))
      assert.strictEqual(late.asked.count, count + 1)
    })
  )

  it.effect("delays the start while most regions are connecting", () =>
    Effect.gen(function* () {
      const [one, two, three_] = yield* three
      const [a, b, c] = [connecting(one), connecting(two), connecting(three_)]
      const quorum = yield* QuorumStore.make([a.store, b.store, c.store])
      const fiber = yield* Effect.forkChild(quorum.connected ?? assert.fail("it is connected"), {
        startImmediately: true
      })
      yield* b.connect
      yield* pause(10)
      assert.isUndefined(fiber.pollUnsafe())
      yield* a.connect
      yield* Fiber.join(fiber)
      assert.isUndefined((yield* QuorumStore.make([one, two, c.store])).connected)
      assert.isDefined((yield* QuorumStore.make([one, b.store, c.store])).connected)
    })
  )
})

/** Processes of three regions. Each is near its own store, and every operation on another store takes this long. */
const apart = (millis: number) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(1_800_000_000_000)
    const wipeables = [yield* wipeable, yield* wipeable, yield* wipeable]
    const stores = wipeables.map(({ store }) => store)
    const far = Object.assign(new Trouble(), { slow: millis, late: millis / 2 })
    const processes = yield* Effect.forEach([0, 1, 2], (near) =>
      Effect.flatMap(QuorumStore.make(stores.map((store, i) => (i === near ? store : troubled(store, far)))), (store) =>
        Effect.gen(function* () {
          const starting = yield* Effect.forkChild(start(store), { startImmediately: true })
          yield* TestClock.adjust("1 second")
          return yield* Fiber.join(starting)
        })
      )
    )
    // The processes say farewell without the clock, after the commands in flight have ended.
    yield* Effect.addFinalizer(() =>
      Effect.andThen(
        Effect.sync(() => Object.assign(far, new Trouble())),
        TestClock.adjust("2 seconds")
      )
    )
    yield* TestClock.adjust("6 seconds")
    const at = (i: number) => processes[i] ?? assert.fail(`there is no process ${i}`)
    /** Of the store in the third region. */
    const third = wipeables[2] ?? assert.fail("there is no third store")
    return { processes, at, wipe: third.wipe, recordOf: recordIn(third.store) }
  })

describe("Regions that are far apart", () => {
  for (const millis of [60, 150, 300]) {
    it.effect(`${millis} ms: open, probe, close, isolate and release together`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* apart(millis)
        yield* openedAndClosed(processes, 6_000)
        yield* Effect.forkChild(at(1).run(CircuitBreaker.isolate("api")), { startImmediately: true })
        yield* TestClock.adjust("6 seconds")
        yield* expectAll(processes, "Isolated fleet")
        yield* Effect.forkChild(at(2).run(CircuitBreaker.release("api")), { startImmediately: true })
        yield* TestClock.adjust("6 seconds")
        yield* expectAll(processes, "Closed local")
      })
    )
    it.effect(`${millis} ms: a store that lost everything gets the records of the others`, () =>
      Effect.gen(function* () {
        const { at, processes, wipe, recordOf } = yield* apart(millis)
        yield* Effect.forkChild(at(0).run(CircuitBreaker.isolate("api")), { startImmediately: true })
        yield* TestClock.adjust("6 seconds")
        yield* wipe
        yield* TestClock.adjust("12 seconds")
        yield* expectAll(processes, "Isolated fleet")
        assert.isDefined(yield* recordOf)
      })
    )
  }
})

describe("When two of three are away", () => {
  it.effect("the remaining region decides", () =>
    Effect.gen(function* () {
      const { at, processes, set } = yield* regions(3)
      for (const region of [0, 1]) set(region, { now: "fail", deaf: true })
      yield* openTogether(processes).pipe(
        Effect.catchDefect(() => TestClock.adjust("6 seconds")),
        Effect.andThen(expectAll(processes, "Open fleet"))
      )
      yield* cooldownOver(processes)
      assert.isTrue(Exit.isSuccess(yield* at(0).succeed))
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Closed local")
    })
  )
  it.effect("the announcements of the remaining region are received", () =>
    Effect.gen(function* () {
      const { at, processes, set } = yield* regions(2)
      for (const region of [0, 1]) set(region, { now: "fail", deaf: true })
      yield* TestClock.adjust("6 seconds")
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* pause(100)
      yield* expectAll(processes, "Isolated fleet")
    })
  )
  it.effect("if the third fails, too, each process decides alone until they are back", () =>
    Effect.gen(function* () {
      const { at, processes, set } = yield* regions(2)
      for (const region of [0, 1, 2]) set(region, { now: "fail", deaf: true })
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* TestClock.adjust("10 seconds")
      yield* expectAll(processes.slice(0, 1), "Isolated local")
      yield* expectAll(processes.slice(1), "Closed local")
      for (const region of [0, 1, 2]) set(region, well)
      yield* TestClock.adjust("7 seconds")
      yield* expectAll(processes, "Isolated fleet")
    })
  )
})

describe("Swaps at the same moment", () => {
  const slow = (millis: ReadonlyArray<number>) => (stores: ReadonlyArray<SharedStore.SharedStore>) =>
    QuorumStore.make(stores.map((store, i) => troubled(store, Object.assign(new Trouble(), { slow: millis[i] ?? 0 }))))
  /** Processes choose epochs at random, and so rarely the same one. */
  const same = { nextDoubleUnsafe: () => 0.5, nextIntUnsafe: () => 5 }
  const races: ReadonlyArray<readonly [string, ReadonlyArray<ReadonlyArray<number>>]> = [
    [
      "equally far",
      [
        [10, 10, 10],
        [10, 10, 10]
      ]
    ],
    [
      "each near to another region",
      [
        [2, 20, 40],
        [40, 20, 2]
      ]
    ],
    [
      "three, each nearest to its own",
      [
        [2, 30, 40],
        [40, 2, 30],
        [30, 40, 2]
      ]
    ],
    [
      "five",
      [
        [2, 30, 40],
        [40, 2, 30],
        [30, 40, 2],
        [10, 10, 10],
        [6, 6, 6]
      ]
    ]
  ]
  for (const epochs of ["an epoch of its own", "the same epoch"]) {
    for (const [what, distances] of races) {
      it.effect(`have one winner, on which all agree, with ${epochs}: ${what}`, () =>
        Effect.gen(function* () {
          const stores = yield* three
          // Each process may list the stores in another order.
          const rotated = <A>(all: ReadonlyArray<A>, by: number) => [...all.slice(by % 3), ...all.slice(0, by % 3)]
          const handles = yield* Effect.forEach(distances, (millis, i) =>
            Effect.provideService(
              slow(rotated(millis, i))(rotated(stores, i)),
              Random.Random,
              epochs === "the same epoch" ? same : { ...same, nextDoubleUnsafe: () => i / distances.length }
            )
          )
          const swaps = yield* Effect.forEach(handles, (handle, i) =>
            Effect.forkChild(
              swapOf(handle, { circuit: "api", expectedEpoch: 0, body: `by ${i}`, ttl: 60_000, listed: true }),
              { startImmediately: true }
            )
          )
          yield* TestClock.adjust("1 second")
          const answers = yield* Effect.forEach(swaps, (fiber) => fiber.pollUnsafe() ?? assert.fail("not answered"))
          const winners = answers.flatMap(({ swapped }, i) => (swapped ? [`by ${i}`] : []))
          assert.strictEqual(winners.length, 1, String(winners))
          const reader = yield* QuorumStore.make(stores)
          assert.strictEqual((yield* recordIn(reader))?.body, winners[0])
          for (const { record } of answers) assert.strictEqual(record?.body, winners[0])
          // A heartbeat gives the record of the winner to the stores that have another one.
          yield* exchanged(reader)
          for (const store of stores) {
            assert.isTrue((yield* recordIn(store))?.body.endsWith(` ${winners[0]}`))
          }
        })
      )
    }
  }
})

const written = ({ changes }: SharedStore.PageAnswer) => changes.map(({ circuit, epoch }) => ({ circuit, epoch }))

describe("A page", () => {
  it.effect("after a region was away for hundreds of records has all of them, and heartbeats make them agree", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_800_000_000_000)
      const stores = yield* three
      const troubles = stores.map(() => new Trouble())
      const quorum = yield* QuorumStore.make(stores.map((store, i) => troubled(store, troubles[i] ?? assert.fail())))
      const away = troubles[2] ?? assert.fail("no region")
      away.now = "fail"
      const record = { expectedEpoch: 0, body: "x", ttl: 600_000, listed: true }
      for (let i = 0; i < 500; i++) yield* swapOf(quorum, { ...record, circuit: `circuit-${i}` })
      away.now = "none"
      for (const trouble of troubles) trouble.slow = 2
      yield* TestClock.adjust("5 seconds")
      const read = yield* Effect.forkChild(quorum.page(0, 1_000), { startImmediately: true })
      yield* TestClock.adjust("250 millis")
      const page = yield* read.pollUnsafe() ?? assert.fail("not answered")
      assert.strictEqual(page.changes.length, 500)
      for (const trouble of troubles) trouble.slow = 0
      const third = stores[2] ?? assert.fail("no store")
      assert.strictEqual((yield* third.page(0, 1_000)).listed, 0)
      yield* times(20, exchanged(quorum))
      assert.strictEqual((yield* third.page(0, 1_000)).listed, 500)
      // What was written again has the epoch that it had.
      assert.deepStrictEqual(written(yield* quorum.page(0, 1_000)), written(page))
    })
  )

  it.effect("has all records, though the regions number those differently that were written again", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_800_000_000_000)
      const stores = yield* three
      const troubles = stores.map(() => new Trouble())
      const quorum = yield* QuorumStore.make(stores.map((store, i) => troubled(store, troubles[i] ?? assert.fail())))
      const record = { expectedEpoch: 0, body: "x", ttl: 600_000, listed: true }
      for (let i = 0; i < 60; i++) {
        const away = troubles[Math.floor(i / 5) % 3] ?? assert.fail("no region")
        away.now = "fail"
        yield* swapOf(quorum, { ...record, circuit: `circuit-${i}` })
        away.now = "none"
        if (i % 5 === 4) {
          yield* TestClock.adjust("1500 millis")
          yield* quorum.page(0, 1_000)
          yield* exchanged(quorum)
        }
      }
      const other = yield* QuorumStore.make(stores)
      const found: Array<string> = []
      for (let since = 0; ; ) {
        const { changes } = yield* other.page(since, 7)
        found.push(...changes.map(({ circuit }) => circuit))
        since = changes.at(-1)?.epoch ?? since
        if (changes.length < 7) break
      }
      assert.deepStrictEqual(
        found,
        Array.from({ length: 60 }, (_, i) => `circuit-${i}`)
      )
    })
  )
})

describe("A read", () => {
  it.effect("writes nothing, also if the regions have different records", () =>
    Effect.gen(function* () {
      const stores = yield* three
      const record = { circuit: "api", expectedEpoch: 0, body: "x", ttl: 600_000, listed: true }
      yield* swapOf(yield* QuorumStore.make(stores.slice(0, 2)), record)
      const quorum = yield* QuorumStore.make(stores)
      assert.strictEqual((yield* recordIn(quorum))?.body, "x")
      assert.strictEqual((yield* quorum.page(0, 10)).changes.length, 1)
      const third = stores[2] ?? assert.fail("no store")
      assert.isUndefined(yield* recordIn(third))
      yield* exchanged(quorum)
      assert.isDefined(yield* recordIn(third))
    })
  )
})

describe("Abstentions", () => {
  const cast = { circuit: "api", epoch: 0, box: "b", ballot: [1], ttl: 60_000, inquire: 0, roll: 0 }
  /** Processes with a handle each, and troubles of each on the way to each region. */
  const processes = Effect.gen(function* () {
    yield* TestClock.setTime(1_800_000_000_000)
    const stores = yield* three
    return yield* Effect.forEach(["a", "b", "c"], (voter) =>
      Effect.gen(function* () {
        const troubles = stores.map(() => new Trouble())
        const store = yield* QuorumStore.make(stores.map((one, i) => troubled(one, troubles[i] ?? assert.fail())))
        yield* exchanged(store, { voter })
        return { voter, store, troubles }
      })
    )
  })

  it.effect("count when all regions have them: the number of possible objectors is the largest of any region", () =>
    Effect.gen(function* () {
      const [a, b, c] = yield* processes
      assert(a !== undefined && b !== undefined && c !== undefined)
      yield* castOf(a.store, { ...cast, roll: 30_000 }, { voter: "a" })
      const hear = ({ store, voter }: typeof a) =>
        Effect.flatMap(exchanged(store, { voter }), ({ head }) => exchanged(store, { voter, heard: head }))
      const look = Effect.flatMap(hear(a), ({ head }) =>
        Effect.map(castOf(a.store, cast, { voter: "a", heard: head }), ({ tally }) => tally?.abstained)
      )
      yield* hear(a)
      assert.strictEqual(yield* look, 0)
      yield* hear(b)
      assert.strictEqual(yield* look, 1)
      for (const trouble of c.troubles.slice(0, 1)) trouble.now = "fail"
      yield* hear(c)
      assert.strictEqual(yield* look, 1)
      for (const trouble of c.troubles) trouble.now = "none"
      yield* TestClock.adjust("2 seconds")
      yield* hear(c)
      assert.strictEqual(yield* look, 2)
    })
  )

  it.effect("do not reach a region that the ballots did not reach, as long as the roll call counts", () =>
    Effect.gen(function* () {
      const [a, b] = yield* processes
      assert(a !== undefined && b !== undefined)
      yield* castOf(a.store, { ...cast, roll: 30_000 }, { voter: "a", heard: 0 })
      const { head } = yield* exchanged(b.store, { voter: "b" })
      const [first, ...others] = b.troubles
      assert(first !== undefined)
      first.now = "fail"
      // Its ballot comes with what it has heard, and does not reach the first region.
      yield* castOf(b.store, cast, { voter: "b", heard: head })
      first.now = "none"
      yield* TestClock.adjust("2 seconds")
      yield* exchanged(b.store, { voter: "b", heard: head })
      // Process a reaches that region alone: there b has no ballot, and must not seem to abstain.
      for (const trouble of a.troubles.slice(1)) trouble.now = "fail"
      yield* exchanged(a.store, { voter: "a", heard: (yield* exchanged(a.store, { voter: "a" })).head })
      const { tally } = yield* castOf(a.store, cast, { voter: "a" })
      assert.deepStrictEqual([tally?.voters, tally?.abstained], [1, 0])
      assert.strictEqual(others.length, 2)
    })
  )
})

describe("A region that lost everything", () => {
  const cast = { circuit: "api", epoch: 0, box: "b", ballot: [1], ttl: 60_000, inquire: 0, roll: 0 }

  it.effect("starts a new life of the store: its cursors are empty, and those of the other regions stay", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_800_000_000_000)
      const regions = [yield* MemoryStore.makeControlled, yield* MemoryStore.makeControlled]
      const stores = regions.map(({ store }) => store)
      const [first, second] = stores
      assert(first !== undefined && second !== undefined)
      const store = yield* QuorumStore.make(stores)
      const { head, life } = yield* Effect.andThen(exchanged(store), castOf(store, { ...cast, roll: 60_000 })).pipe(
        Effect.andThen(exchanged(store))
      )
      const abstained = (region: SharedStore.SharedStore) =>
        Effect.map(castOf(region, { ...cast, ballot: undefined }, { voter: "reader", ttl: 0 }), (answer) => {
          return answer.tally?.abstained
        })
      yield* exchanged(store, { voter: "w", heard: head })
      yield* exchanged(store, { voter: "v", heard: head })
      assert.deepStrictEqual([yield* abstained(first), yield* abstained(second)], [1, 1])
      yield* regions[0]?.wipe ?? Effect.void
      // No time has passed: the roll that is called there again has the same number.
      yield* castOf(store, { ...cast, roll: 60_000 }, { heard: head, life })
      const answer = yield* exchanged(store, { voter: "w", heard: head, life })
      assert.notStrictEqual(answer.life, life)
      assert.deepStrictEqual([yield* abstained(first), yield* abstained(second)], [0, 1])
      assert.strictEqual((yield* store.page(0, 1)).life, answer.life)
      yield* exchanged(store, { voter: "w", heard: answer.head, life: answer.life })
      yield* exchanged(store, { voter: "v", heard: answer.head, life: answer.life })
      assert.deepStrictEqual([yield* abstained(first), yield* abstained(second)], [1, 1])
    })
  )
})

describe("Inquiries", () => {
  it.effect("are received from the remaining regions after a pause", () =>
    Effect.gen(function* () {
      const stores = yield* three
      const troubles = stores.map(() => new Trouble())
      const quorum = yield* QuorumStore.make(stores.map((store, i) => troubled(store, troubles[i] ?? assert.fail())))
      let heard = 0
      const listen = Stream.runForEach(quorum.changes, () => Effect.sync(() => heard++))
      yield* Effect.forkChild(listen, { startImmediately: true })
      // It takes a few turns until all three are listened to.
      yield* times(5, pause(1))
      const ballot = { circuit: "api", epoch: 0, box: "box", ballot: [1], ttl: 10_000, inquire: 300, roll: 0 }
      const inquire = Effect.andThen(castOf(quorum, ballot), TestClock.adjust("2 seconds"))
      const set = (places: ReadonlyArray<number>, trouble: Partial<Trouble>) => {
        for (const place of places) Object.assign(troubles[place] ?? {}, trouble)
      }
      set([1, 2], { deaf: true })
      yield* times(20, inquire)
      assert.strictEqual(heard, 20)
      set([1, 2], { deaf: false })
      set([0], { now: "fail", deaf: true })
      yield* times(20, inquire)
      // The first may as well be the last of before, announced late by another region: it is not heard twice.
      assert.strictEqual(heard, 20 + 19)
    })
  )
})
