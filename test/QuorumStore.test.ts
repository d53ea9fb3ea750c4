import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Stream } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, QuorumStore, SharedStore } from "effect-fuse"
import { SharedStoreContract } from "effect-fuse/testing"
import { cooldownOver, expectAll, openTogether, pause, start, Trouble, troubled, wipeable } from "./support/fleet.ts"
import { times } from "./support/verbs.ts"

const three = Effect.all([SharedStore.makeMemory, SharedStore.makeMemory, SharedStore.makeMemory])

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

/** A circuit's record in one of the stores, as any process would read it through all of them. */
const recordIn = (store: SharedStore.SharedStore) => store.load("api")

describe("Three stores in memory as one keep the contract", () => {
  for (const [what, size] of [
    ["one handle", 1],
    ["a handle for each process", 2]
  ] as const) {
    describe(what, () => {
      const stores = Effect.runSync(three)
      const shared = Effect.runSync(QuorumStore.make(stores))
      const handle = size === 1 ? Effect.succeed(shared) : QuorumStore.make(stores)
      for (const { name, test } of SharedStoreContract.cases(handle)) it.live(name, () => test, 60_000)
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
        yield* openTogether(processes)
        yield* cooldownOver(processes)
        for (let i = 0; i < 5; i++) {
          yield* Effect.forkChild(at(0).succeed, { startImmediately: true })
          yield* TestClock.adjust("2 seconds")
        }
        yield* expectAll(processes, "Closed local")
        yield* Effect.forkChild(at(1).run(CircuitBreaker.isolate("api")), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* expectAll([...processes, yield* join], "Isolated fleet")
        yield* Effect.forkChild(at(2).run(CircuitBreaker.release("api")), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* expectAll(processes, "Closed local")
      })
    )
  }

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

  it.effect("lost everything is given what the others have", () =>
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

  it.effect("was cut off takes on what was decided without it, and does not become younger by that", () =>
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
      // Who reaches only this one finds the opening with the end that it always had.
      for (const region of [0, 1]) set(region, { now: "fail" }, [3])
      const late = yield* join
      set(0, { now: "fail", deaf: true }, [3])
      set(1, { now: "fail", deaf: true }, [3])
      yield* TestClock.adjust("6 seconds")
      yield* expectAll([late], "Open fleet")
      // Twelve seconds later, by a random delay of up to a second in each.
      const passed = before - Duration.toMillis((yield* late.inspect).retryAfter)
      assert.isTrue(passed >= 11_000 && passed <= 13_100, String(passed))
    })
  )

  it.effect("was cut off while somebody released says nothing against it when it is back", () =>
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

describe("When two of three are away", () => {
  it.effect("the one that is left says what holds", () =>
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
  it.effect("what the one that is left announces is heard", () =>
    Effect.gen(function* () {
      const { at, processes, set } = yield* regions(2)
      for (const region of [0, 1]) set(region, { now: "fail", deaf: true })
      yield* TestClock.adjust("6 seconds")
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* pause(100)
      yield* expectAll(processes, "Isolated fleet")
    })
  )
  it.effect("and the third, too: each process is on its own, until they are back", () =>
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
  for (const [what, distances] of races) {
    it.effect(`have one winner, on whom all agree: ${what}`, () =>
      Effect.gen(function* () {
        const stores = yield* three
        const handles = yield* Effect.forEach(distances, (millis) => slow(millis)(stores))
        const swaps = yield* Effect.forEach(handles, (handle, i) =>
          Effect.forkChild(
            handle.swap({ circuit: "api", expectedEra: 0, body: `by ${i}`, ttl: 60_000, listed: true }),
            { startImmediately: true }
          )
        )
        yield* TestClock.adjust("1 second")
        const answers = yield* Effect.forEach(swaps, (fiber) => fiber.pollUnsafe() ?? assert.fail("not answered"))
        const winners = answers.flatMap(({ swapped }, i) => (swapped ? [`by ${i}`] : []))
        assert.strictEqual(winners.length, 1, String(winners))
        const reader = yield* QuorumStore.make(stores)
        assert.strictEqual((yield* reader.load("api"))?.body, winners[0])
        for (const { record } of answers) assert.strictEqual(record?.body, winners[0])
      })
    )
  }
})

describe("A list", () => {
  it.effect("after a region was away for hundreds of records is not kept waiting by making them agree", () =>
    Effect.gen(function* () {
      const stores = yield* three
      const troubles = stores.map(() => new Trouble())
      const quorum = yield* QuorumStore.make(stores.map((store, i) => troubled(store, troubles[i] ?? assert.fail())))
      const away = troubles[2] ?? assert.fail("no region")
      away.now = "fail"
      const record = { expectedEra: 0, body: "x", ttl: 600_000, listed: true }
      for (let i = 0; i < 500; i++) yield* quorum.swap({ ...record, circuit: `circuit ${i}` })
      away.now = "none"
      for (const trouble of troubles) trouble.slow = 2
      yield* TestClock.adjust("5 seconds")
      const list = yield* Effect.forkChild(quorum.list("voice", 10_000), { startImmediately: true })
      yield* TestClock.adjust("250 millis")
      const { records } = yield* list.pollUnsafe() ?? assert.fail("not answered")
      assert.strictEqual(records.length, 500)
      for (const trouble of troubles) trouble.slow = 0
      assert.strictEqual((yield* stores[2]?.list("voice", 10_000) ?? assert.fail("no store")).records.length, 500)
    })
  )
})

describe("Inquiries", () => {
  it.effect("are heard of the regions that are left, though they were not heard for a while before", () =>
    Effect.gen(function* () {
      const stores = yield* three
      const troubles = stores.map(() => new Trouble())
      const quorum = yield* QuorumStore.make(stores.map((store, i) => troubled(store, troubles[i] ?? assert.fail())))
      let heard = 0
      const listen = Stream.runForEach(quorum.changes, () => Effect.sync(() => heard++))
      yield* Effect.forkChild(listen, { startImmediately: true })
      // It takes a few turns until all three are listened to.
      yield* times(5, pause(1))
      const ballot = { circuit: "api", era: 0, box: "box", voice: "voice", ballot: [1], ttl: 10_000, inquire: 300 }
      const inquire = Effect.andThen(quorum.cast(ballot), TestClock.adjust("2 seconds"))
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
