import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { BreakerMetrics, BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { TestFleet } from "effect-fuse/testing"
import { exchange } from "./support/fleet.ts"

const calls = (name: string, successes: number, failures = 0, key?: string) =>
  Effect.gen(function* () {
    const call = (self: Effect.Effect<void, string>) => Effect.exit(CircuitBreaker.protect(self, name, { key }))
    for (let i = 0; i < successes; i++) yield* call(Effect.void)
    for (let i = 0; i < failures; i++) yield* call(Effect.fail("down"))
  })

/** Longer than the pause between two heartbeats. */
const aHeartbeat = TestClock.adjust("6 seconds")

const nameIn = (overview: Operator.Overview, name: string): Operator.NameOverview =>
  overview.names.find((one) => one.name === name) ?? assert.fail(`the overview has no ${name}`)

const close = (actual: number | undefined, expected: number) =>
  assert.closeTo(actual ?? Number.NaN, expected, expected * 0.25)

describe("Operator.overview", () => {
  it.effect("has every name of the fleet, with the calls of all processes", () =>
    Effect.gen(function* () {
      const { at, processes, store } = yield* TestFleet.make(3)
      for (const process of processes) yield* process.run(calls("api", 4, 1))
      yield* at(0).run(calls("db", 2))
      yield* aHeartbeat
      const overview = yield* Operator.overview(store)
      assert.deepStrictEqual(
        [overview.processes, overview.digests, overview.unreadable, overview.leftOut, overview.circuits],
        [3, 3, 0, 0, []]
      )
      assert.deepStrictEqual(
        overview.names.map(({ name, processes, state }) => [name, processes, state]),
        [
          ["api", 3, "Closed"],
          ["db", 1, "Closed"]
        ]
      )
      const { traffic } = nameIn(overview, "api")
      assert.deepStrictEqual([traffic?.calls, traffic?.successes, traffic?.failures], [15, 12, 3])
      assert.strictEqual(traffic?.failureShare, 0.2)
      close(traffic?.millis, 5_000)
      close(traffic?.perSecond.calls, 3)
      close(traffic?.perSecond.failures, 0.6)
    })
  )

  it.effect("has the calls of the latest period only", () =>
    Effect.gen(function* () {
      const { at, store } = yield* TestFleet.make(1)
      yield* at(0).run(calls("api", 4))
      yield* aHeartbeat
      yield* aHeartbeat
      const { traffic } = nameIn(yield* Operator.overview(store), "api")
      assert.deepStrictEqual([traffic?.calls, traffic?.perSecond.calls, traffic?.failureShare], [0, 0, undefined])
    })
  )

  it.effect("counts the calls of a lost digest in the next digest", () =>
    Effect.gen(function* () {
      const { at, store } = yield* TestFleet.make(2)
      const { trouble } = at(0)
      Object.assign(trouble, { now: "fail", only: ["heartbeat"] })
      yield* at(0).run(calls("api", 40))
      yield* TestClock.adjust("5500 millis")
      Object.assign(trouble, { now: "none" })
      yield* TestClock.adjust("2 seconds")
      const { traffic } = nameIn(yield* Operator.overview(store), "api")
      assert.strictEqual(traffic?.calls, 40)
      assert.isAbove(traffic?.millis ?? 0, 5_500)
    })
  )

  it.effect("has the state of each name from the records, and the reasons of its circuits", () =>
    Effect.gen(function* () {
      const { at, store } = yield* TestFleet.make(2)
      yield* at(0).run(calls("api", 1))
      yield* at(0).run(calls("db", 1, 0, "a"))
      yield* Operator.isolate(store, "db", { key: "a", reason: "maintenance" })
      yield* Operator.isolate(store, "unused", { reason: "planned" })
      yield* aHeartbeat
      const overview = yield* Operator.overview(store)
      assert.deepStrictEqual(
        overview.names.map(({ name, notClosed, notClosedIn, processes, state }) => [
          ...[name, state, notClosed, processes, notClosedIn]
        ]),
        [
          ["api", "Closed", 0, 1, 0],
          ["db", "Isolated", 1, 2, 2],
          ["unused", "Isolated", 1, 2, 2]
        ]
      )
      assert.deepStrictEqual(overview.circuits, (yield* Operator.list(store)).circuits)
    })
  )

  it.effect(
    "has the state of the name's own circuit if that circuit is not Closed, otherwise the worst state of the keys",
    () =>
      Effect.gen(function* () {
        const { store } = yield* TestFleet.make(1)
        yield* Operator.open(store, "own")
        yield* Operator.isolate(store, "own", { key: "a" })
        yield* Operator.disable(store, "keys", { key: "a" })
        yield* Operator.isolate(store, "keys", { key: "b" })
        assert.deepStrictEqual(
          (yield* Operator.overview(store)).names.map(({ name, notClosed, state }) => [name, state, notClosed]),
          [
            ["keys", "Isolated", 2],
            ["own", "Open", 2]
          ]
        )
      })
  )

  it.effect("counts the processes that opened a circuit without the fleet", () =>
    Effect.gen(function* () {
      const policies = { default: { trip: Trip.consecutive(2), fleet: false as const } }
      const { at, store } = yield* TestFleet.make(2, { policies })
      yield* at(0).run(calls("api", 0, 3))
      yield* at(1).run(calls("api", 3))
      yield* aHeartbeat
      const { notClosedIn, processes, state, traffic } = nameIn(yield* Operator.overview(store), "api")
      assert.deepStrictEqual([state, processes, notClosedIn, traffic?.rejected], ["Closed", 2, 1, 1])
    })
  )

  it.effect(
    "has the worst keys of all processes: first the keys that are not Closed, then the keys with most failures",
    () =>
      Effect.gen(function* () {
        const policies = { default: { trip: Trip.consecutive(4), fleet: false as const } }
        const { at, processes, store } = yield* TestFleet.make(2, { policies })
        for (const process of processes) {
          for (const key of ["a", "b", "c", "d", "e", "f"]) yield* process.run(calls("api", 1, 1, key))
          yield* process.run(calls("api", 0, 2, "bad"))
        }
        yield* at(0).run(calls("api", 0, 4, "open"))
        yield* TestClock.adjust("5500 millis")
        const { keys, worstKeys } = nameIn(yield* Operator.overview(store), "api")
        assert.strictEqual(keys, 8)
        assert.deepStrictEqual(worstKeys.slice(0, 2), [
          { key: "open", state: "Open", failures: 0 },
          { key: "bad", state: "Closed", failures: 4 }
        ])
        assert.strictEqual(worstKeys.length, 5)
      })
  )

  it.effect("skips and counts a digest that it cannot read, and counts processes that send none", () =>
    Effect.gen(function* () {
      const { at, join, store } = yield* TestFleet.make(1)
      const silent = yield* join({ digest: false })
      yield* exchange(store, { voter: "foreign", ttl: 60_000, digest: "not a digest" })
      yield* at(0).run(calls("api", 1))
      yield* silent.run(calls("api", 1))
      yield* silent.run(calls("secret", 1))
      yield* aHeartbeat
      const { digests, names, processes, unreadable } = yield* Operator.overview(store)
      assert.deepStrictEqual([processes, digests, unreadable], [3, 1, 1])
      assert.deepStrictEqual(
        names.map(({ name, processes }) => [name, processes]),
        [["api", 1]]
      )
    })
  )

  it.effect("forgets a process that has left at once, and one that has crashed with its heartbeat", () =>
    Effect.gen(function* () {
      const { at, store } = yield* TestFleet.make(3)
      yield* at(1).run(calls("leaves", 1))
      yield* at(2).run(calls("crashes", 1))
      yield* aHeartbeat
      const names = Effect.map(Operator.overview(store), ({ names }) => names.map(({ name }) => name))
      assert.deepStrictEqual(yield* names, ["crashes", "leaves"])
      yield* at(1).stop
      assert.deepStrictEqual(yield* names, ["crashes"])
      yield* at(2).crash
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* names, [])
    })
  )

  it.effect("returns after a store wipe with the next heartbeat", () =>
    Effect.gen(function* () {
      const { at, store, wipe } = yield* TestFleet.make(1)
      yield* at(0).run(calls("api", 1))
      yield* aHeartbeat
      yield* wipe
      assert.deepStrictEqual((yield* Operator.overview(store)).names, [])
      yield* aHeartbeat
      assert.strictEqual(nameIn(yield* Operator.overview(store), "api").processes, 1)
    })
  )

  const commands = (options: TestFleet.Options) =>
    Effect.gen(function* () {
      const { store } = yield* TestFleet.make(1)
      const process = new TestFleet.Process(yield* TestFleet.start(store, { ...options, seed: "same" }))
      for (let i = 0; i < 20; i++) {
        yield* process.run(calls(`name-${i}`, 2))
        yield* TestClock.adjust("1 second")
      }
      return [...process.trouble.asked]
    })
  it.effect("costs no command: healthy processes ask the store the same with digests and without", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* commands({ digest: true }), yield* commands({ digest: false }))
    })
  )
})

describe("BreakerStore.makeOverview", () => {
  it.effect("has the circuits of the process and its traffic since the run before", () =>
    Effect.gen(function* () {
      const overview = yield* BreakerStore.makeOverview
      yield* calls("api", 6, 2)
      yield* CircuitBreaker.isolate("db", { reason: "maintenance", actor: "ann", for: "10 minutes" })
      yield* calls("db", 3)
      yield* TestClock.adjust("4 seconds")
      const first = yield* overview
      assert.deepStrictEqual([first.processes, first.digests, first.unreadable], [1, 1, 0])
      assert.deepStrictEqual(
        first.names.map(({ name, notClosed, state, traffic }) => [
          ...[name, state, notClosed, traffic?.calls, traffic?.rejected, traffic?.perSecond.calls]
        ]),
        [
          ["api", "Closed", 0, 8, 0, 2],
          ["db", "Isolated", 1, 0, 3, 0]
        ]
      )
      const [one] = first.circuits
      const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      assert.deepInclude(one, {
        ...{ _tag: "Known", name: "db", state: "Isolated", reason: "maintenance", actor: "ann", process: "" },
        ...{ since: now - 4_000, until: now + 596_000, why: "Isolated" }
      })
      yield* calls("api", 1)
      yield* TestClock.adjust("1 second")
      const second = nameIn(yield* overview, "api")
      assert.deepStrictEqual([second.traffic?.calls, second.traffic?.millis], [1, 1_000])
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  it.effect("says why a circuit is open, since when, and when it is retried", () =>
    Effect.gen(function* () {
      const overview = yield* BreakerStore.makeOverview
      yield* TestClock.adjust("1 hour")
      yield* calls("api", 0, 5)
      yield* TestClock.adjust("10 seconds")
      const [one] = (yield* overview).circuits
      const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      assert.deepInclude(one, { name: "api", state: "Open", why: "Tripped", since: now - 10_000, until: now + 20_000 })
      assert.deepInclude(one, { outage: { since: now - 10_000, openings: 1 } })
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  it.effect("has p50 and p95 of the period if durations are measured", () =>
    Effect.gen(function* () {
      const overview = yield* BreakerStore.makeOverview
      const call = (millis: number) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(CircuitBreaker.protect(Effect.sleep(millis), "api"))
          yield* TestClock.adjust(millis)
          yield* Fiber.join(fiber)
        })
      for (let i = 0; i < 18; i++) yield* call(10)
      for (let i = 0; i < 2; i++) yield* call(900)
      const first = nameIn(yield* overview, "api").traffic
      assert.isAtMost(first?.p50 ?? Infinity, 25)
      assert.isAbove(first?.p95 ?? 0, 250)
      yield* call(10)
      const second = nameIn(yield* overview, "api").traffic
      assert.isAtMost(second?.p95 ?? Infinity, 25)
    }).pipe(Effect.provide(Layer.provideMerge(BreakerMetrics.layer(), BreakerStore.layerMemory)))
  )

  it.effect("counts the calls of keys that were evicted", () =>
    Effect.gen(function* () {
      const overview = yield* BreakerStore.makeOverview
      for (let i = 0; i < 10; i++) yield* calls("api", 2, 0, `key-${i}`)
      const { keys, traffic } = nameIn(yield* overview, "api")
      assert.deepStrictEqual([keys, traffic?.calls], [2, 20])
    }).pipe(Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 2 })))
  )

  it.effect("has the adaptive limit while calls are limited", () =>
    Effect.gen(function* () {
      const overview = yield* BreakerStore.makeOverview
      const burst = (count: number, millis: number, end: Effect.Effect<void, Cause.TimeoutError>) =>
        Effect.gen(function* () {
          const call = CircuitBreaker.protect(Effect.andThen(Effect.sleep(millis), end), "api")
          const fibers = yield* Effect.forEach(Array.from({ length: count }), () => Effect.forkChild(Effect.exit(call)))
          yield* TestClock.adjust(millis)
          yield* Effect.forEach(fibers, Fiber.join)
        })
      for (let i = 0; i < 10; i++) yield* burst(1, 40, Effect.void)
      assert.isUndefined(nameIn(yield* overview, "api").traffic?.limit)
      yield* burst(20, 1_000, Effect.fail(new Cause.TimeoutError("too late")))
      const { limit } = yield* CircuitBreaker.inspect("api")
      assert.isAbove(limit ?? 0, 0)
      assert.strictEqual(nameIn(yield* overview, "api").traffic?.limit, limit)
    }).pipe(
      Effect.provide(
        Layer.provideMerge(
          BreakerStore.layerMemory,
          BreakerPolicy.layer({ default: { limit: true, trip: Trip.failures({ atLeast: 100_000, of: "1 minute" }) } })
        )
      )
    )
  )

  it.effect("reads the fleet if the store is shared", () =>
    Effect.gen(function* () {
      const { at } = yield* TestFleet.make(2)
      const overview = yield* at(0).run(BreakerStore.makeOverview)
      yield* at(1).run(calls("api", 3))
      yield* aHeartbeat
      const found = yield* overview
      assert.deepStrictEqual([found.processes, nameIn(found, "api").traffic?.calls], [2, 3])
    })
  )

  it.live("lets other work run while it reads many circuits", () =>
    Effect.gen(function* () {
      const overview = yield* BreakerStore.makeOverview
      for (let i = 0; i < 5_000; i++) yield* calls("api", 1, 0, `key-${i}`)
      let turns = 0
      let done = false
      const other = Effect.gen(function* () {
        while (!done) {
          turns++
          yield* Effect.yieldNow
        }
      })
      const fiber = yield* Effect.forkChild(other)
      const { names } = yield* overview
      done = true
      assert.isAtLeast(turns, 3)
      assert.deepStrictEqual([names[0]?.keys, names[0]?.traffic?.calls], [5_000, 5_000])
      yield* Fiber.join(fiber)
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )
})
