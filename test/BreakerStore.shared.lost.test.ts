import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, Circuit, CircuitBreaker, MemoryStore, SharedStore, Trip } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { fromBody, toBody } from "../src/store/codec.ts"
import { byHand } from "./support/byHand.ts"
import {
  cooldownOver,
  exchange,
  expectAll,
  failing,
  fleet,
  intercepted,
  isRoutine,
  load,
  openTogether,
  type Process,
  pause,
  standings,
  start,
  write
} from "./support/fleet.ts"

/** What a store has of a circuit: its state and why. */
const kept = (store: SharedStore.SharedStore, circuit = "api") =>
  Effect.map(load(store, circuit), (record) => {
    const read = record && fromBody(record.body, 0)
    return read === undefined ? undefined : `${read.circuit._tag}, ${read.provenance.why}`
  })

const retryAfter = (process: Process) => Effect.map(process.inspect, (seen) => Duration.toMillis(seen.retryAfter))

/** Milliseconds until the opening ends that a store has, also beneath an override. */
const endInStore = (store: SharedStore.SharedStore) =>
  Effect.map(load(store, "api"), (record) => {
    const circuit = record && fromBody(record.body, -record.age)?.circuit
    const opening = circuit !== undefined && Circuit.isForced(circuit) ? circuit.under : circuit
    assert(opening?._tag === "Open")
    return opening.until
  })

describe("A store that fails over and has lost its latest writes", () => {
  it.effect("is given an isolation back, once, by those that know it", () =>
    Effect.gen(function* () {
      const { all, at, processes, save, store } = yield* fleet(3)
      yield* all((process) => process.succeed)
      const failover = yield* save
      yield* at(0).run(CircuitBreaker.isolate("api", { reason: "drill" }))
      yield* pause()
      const before = (yield* load(store, "api"))?.epoch ?? 0
      yield* failover
      assert.isUndefined(yield* kept(store))
      yield* TestClock.adjust("8 seconds")
      yield* expectAll(processes, "Isolated fleet")
      assert.strictEqual(yield* kept(store), "Isolated, Isolated")
      assert.isAbove((yield* load(store, "api"))?.epoch ?? 0, before)
      const late = yield* start(store)
      yield* expectAll([late], "Isolated fleet")
      assert.strictEqual((yield* late.inspect).cause?.detail, "drill")
    })
  )

  it.effect("is given an opening back with its end, over the older record that it has", () =>
    Effect.gen(function* () {
      const { at, processes, save, store } = yield* fleet(2)
      yield* at(0).run(CircuitBreaker.open("api", { for: "1 second" }))
      yield* at(0).run(CircuitBreaker.reset("api"))
      yield* pause()
      const failover = yield* save
      yield* at(0).run(CircuitBreaker.open("api", { for: "1 minute" }))
      yield* pause()
      const retryAfter = Effect.map(at(1).inspect, (seen) => Duration.toMillis(seen.retryAfter))
      const before = yield* retryAfter
      yield* failover
      assert.strictEqual(yield* kept(store), "Closed, Reset")
      yield* TestClock.adjust("10 seconds")
      yield* expectAll(processes, "Open fleet")
      assert.strictEqual(yield* kept(store), "Open, OpenedByHand")
      const late = yield* start(store)
      yield* expectAll([late], "Open fleet")
      assert.closeTo(yield* retryAfter, before - 10_000, 10)
      assert.closeTo(Duration.toMillis((yield* late.inspect).retryAfter), before - 10_000, 1_500)
    })
  )

  it.effect("is given all back by processes that notice the loss again and again before they give it back", () =>
    Effect.gen(function* () {
      const { at, save, store } = yield* fleet(3, { syncInterval: 50 })
      const circuits = ["a", "b", "c", "d", "e"]
      const each = (act: (circuit: string) => Effect.Effect<unknown, never, BreakerStore.BreakerStore>) =>
        Effect.forEach(circuits, (circuit) => at(0).run(act(circuit)))
      yield* each((circuit) => CircuitBreaker.isolate(circuit))
      yield* each((circuit) => CircuitBreaker.release(circuit))
      yield* TestClock.adjust("1 second")
      const failover = yield* save
      yield* each((circuit) => CircuitBreaker.isolate(circuit, { reason: "incident" }))
      yield* TestClock.adjust("1 second")
      yield* failover
      yield* TestClock.adjust("5 seconds")
      const found = yield* Effect.forEach(circuits, (circuit) => kept(store, circuit))
      assert.deepStrictEqual(found, Array(circuits.length).fill("Isolated, Isolated"))
    })
  )

  it.effect("is given a release back, over an isolation that a process brings back that missed it", () =>
    Effect.gen(function* () {
      const { all, at, processes, store, wipe } = yield* fleet(3)
      yield* all((process) => process.succeed)
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Isolated fleet")
      // One is cut off, and misses the release; and all is well for long.
      yield* at(2).cutOff
      yield* at(0).run(CircuitBreaker.release("api"))
      yield* TestClock.adjust("2 minutes")
      yield* expectAll([at(0), at(1)], "Closed local")
      yield* wipe
      yield* at(2).reconnect
      yield* TestClock.adjust("30 seconds")
      yield* expectAll(processes, "Closed local")
      assert.strictEqual(yield* kept(store), "Closed, Released")
    })
  )

  it.effect("gives epochs above all that any of its processes knows, though its clock is behind", () =>
    Effect.gen(function* () {
      const { store, wipe } = yield* fleet(0)
      yield* TestClock.adjust("1 hour")
      const floors: Array<number> = []
      const noted = intercepted(store, (one, carryOut) => {
        if (one.swaps.length > 0) floors.push(one.floor)
        return carryOut
      })
      const a = yield* start(noted)
      yield* a.run(CircuitBreaker.isolate("api"))
      yield* TestClock.adjust("6 seconds")
      const before = (yield* load(store, "api"))?.epoch ?? 0
      yield* wipe
      yield* TestClock.adjust("10 seconds")
      assert.isAtLeast(floors.at(-1) ?? 0, before)
      assert.isAbove((yield* load(store, "api"))?.epoch ?? 0, before)
    })
  )

  it.effect("has lost the roll calls, too: a process that heard more hears the new ones", () =>
    Effect.gen(function* () {
      const { all, at, processes, wipe } = yield* fleet(5, { policy: { trip: Trip.consecutive(4) } })
      yield* openTogether([at(0), at(1), at(2)])
      yield* TestClock.adjust("6 seconds")
      yield* wipe
      yield* all((process) => process.run(CircuitBreaker.reset("api")))
      yield* TestClock.adjust("40 seconds")
      yield* openTogether([at(0), at(1), at(2)])
      yield* expectAll(processes, "Open fleet")
    })
  )
})

describe("A store that can be read and not written", () => {
  it.effect("shows a newcomer what is isolated and what is open", () =>
    Effect.gen(function* () {
      const { at, join, processes } = yield* fleet(2)
      yield* openTogether(processes)
      yield* at(0).run(CircuitBreaker.isolate("other"))
      const late = yield* join({ trouble: { now: "fail", only: ["heartbeat", "cast", "swap"] } })
      yield* expectAll([late], "Open fleet")
      assert.strictEqual(yield* late.run(CircuitBreaker.state("other")), "Isolated")
      yield* TestClock.adjust("6 seconds")
      yield* at(0).run(CircuitBreaker.release("other"))
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(yield* late.run(CircuitBreaker.state("other")), "Closed")
    })
  )

  it.effect("lets a process probe by itself", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      yield* openTogether(processes)
      Object.assign(at(0).trouble, { now: "fail", only: ["heartbeat", "cast", "swap"] })
      yield* cooldownOver(processes)
      yield* TestClock.adjust("6 seconds")
      assert.isTrue(Exit.isSuccess(yield* at(0).succeed))
    })
  )
})

describe("A process that starts", () => {
  const isolated = Effect.gen(function* () {
    const store = yield* MemoryStore.make
    yield* Operator.isolate(store, "api")
    return store
  })
  const startOn = (store: SharedStore.SharedStore, options: BreakerStore.SharedOptions = {}) =>
    Effect.forkChild(
      Effect.flatMap(Layer.build(BreakerStore.layerShared(store, options)), (context) =>
        Effect.provideContext(CircuitBreaker.state("api"), context)
      ),
      { startImmediately: true }
    )

  it.effect("waits for the connection and then for what is open, each with a budget of its own", () =>
    Effect.gen(function* () {
      const store = yield* isolated
      const connected = yield* Deferred.make<void>()
      const late: SharedStore.SharedStore = {
        ...store,
        connected: Deferred.await(connected),
        page: (since, limit) => Effect.delay(store.page(since, limit), 150)
      }
      const started = yield* startOn(late)
      yield* TestClock.adjust("900 millis")
      assert.isUndefined(started.pollUnsafe())
      yield* Deferred.succeed(connected, undefined)
      yield* TestClock.adjust("200 millis")
      assert.strictEqual(yield* Fiber.join(started), "Isolated")
    }).pipe(Effect.provide(Logger.layer([])))
  )

  for (const [connectTimeout, millis] of [
    [undefined, 1_000],
    ["3 seconds", 3_000]
  ] as const) {
    it.effect(`waits ${millis} ms for a connection that does not come, and 200 ms for an answer`, () =>
      Effect.gen(function* () {
        const store = yield* isolated
        const never: SharedStore.SharedStore = { ...store, connected: Effect.never, page: () => Effect.never }
        const started = yield* startOn(never, { connectTimeout })
        yield* TestClock.adjust(millis + 199)
        assert.isUndefined(started.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* Fiber.join(started), "Closed")
      }).pipe(Effect.provide(Logger.layer([])))
    )
  }

  it.effect(
    "knows three thousand open circuits of a slow store that drops every second read, and goes on where it was",
    () =>
      Effect.gen(function* () {
        const { store } = yield* fleet(0)
        const writer = yield* start(store)
        for (let i = 0; i < 3_000; i++) {
          yield* Effect.forkChild(writer.run(CircuitBreaker.open("api", { key: `k${i}`, for: "10 minutes" })), {
            startImmediately: true
          })
        }
        yield* TestClock.adjust("10 seconds")
        let reads = 0
        const asked: Array<number> = []
        const slow: SharedStore.SharedStore = {
          ...store,
          page: (since, limit) => {
            asked.push(since)
            return reads++ % 2 === 1 ? Effect.never : Effect.delay(store.page(since, limit), 200)
          }
        }
        const late = yield* Effect.forkChild(start(slow), { startImmediately: true })
        yield* TestClock.adjust("15 seconds")
        const process = yield* Fiber.join(late)
        for (const key of ["k0", "k1500", "k2999"]) {
          assert.strictEqual(yield* process.run(CircuitBreaker.state("api", { key })), "Open")
        }
        // What was read is not read again.
        assert.deepStrictEqual(
          asked,
          [...asked].sort((a, b) => a - b)
        )
        assert.strictEqual(new Set(asked).size, 3_000 / SharedStore.limits.page + 1)
      })
  )

  it.effect("reads little where two thousand circuits are open and nothing changes", () =>
    Effect.gen(function* () {
      const { at, store } = yield* fleet(2)
      for (let i = 0; i < 2_000; i++) {
        yield* Effect.forkChild(at(0).run(CircuitBreaker.open("api", { key: `k${i}`, for: "10 minutes" })), {
          startImmediately: true
        })
      }
      yield* TestClock.adjust("20 seconds")
      let records = 0
      const counted: SharedStore.SharedStore = {
        ...store,
        page: (since, limit) =>
          Effect.tap(store.page(since, limit), ({ changes }) =>
            Effect.sync(() => {
              records += changes.length
            })
          )
      }
      const late = yield* start(counted)
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(records, 2_000)
      late.trouble.asked = []
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(records, 2_000)
      assert.isTrue(isRoutine(late.trouble.asked))
      assert.isAtMost(late.trouble.asked.length, 2 * 13)
    })
  )
})

describe("What was seen before the store went down", () => {
  it.effect("is told when it is back, and what was seen meanwhile is not", () =>
    Effect.gen(function* () {
      const policy = { trip: Trip.consecutive(50), fleet: { suspectAfter: 20 } }
      const { store } = yield* fleet(0)
      const streaks: Array<number> = []
      const noted = intercepted(store, ({ casts }, carryOut) => {
        for (const { ballot } of casts) streaks.push(ballot?.[3] ?? -1)
        return carryOut
      })
      const one = yield* start(noted, { policy })
      yield* start(store, { policy })
      yield* TestClock.adjust("6 seconds")
      yield* failing([one], 15)
      one.trouble.now = "fail"
      yield* TestClock.adjust("8 seconds")
      yield* failing([one], 3)
      one.trouble.now = "none"
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(streaks, [])
      yield* failing([one], 4)
      yield* pause(200)
      // Four now, and those of before; the three of meanwhile are kept back.
      assert.strictEqual(streaks.length, 0)
      yield* failing([one], 2)
      yield* pause(500)
      assert.include([20, 21], streaks[0], streaks.join())
    })
  )
})

describe("A roll call about a record that a process has not read", () => {
  it.effect("is not answered before the record is read: without a ballot it would count as an abstention", () =>
    Effect.gen(function* () {
      const { all, at, processes } = yield* fleet(5)
      yield* all((process) => process.succeed)
      const behind = [at(2), at(3), at(4)]
      // They hear of roll calls by heartbeats, and of nothing else.
      for (const { trouble } of behind) Object.assign(trouble, { deaf: true, now: "fail", only: ["page"] })
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* at(0).run(CircuitBreaker.release("api"))
      yield* pause()
      for (let i = 0; i < 8; i++) {
        yield* failing([at(0), at(1)], 1)
        yield* TestClock.adjust("1500 millis")
      }
      yield* expectAll(processes.slice(0, 2), "Open local")
      yield* expectAll(behind, "Closed local")
    })
  )
})

describe("An opening that a process made itself", () => {
  it.effect("is not shortened by a release, wherever that is done", () =>
    Effect.gen(function* () {
      for (const releasing of [0, 1]) {
        const { all, at } = yield* fleet(3, { policy: { cooldown: "1 minute" } })
        yield* all((process) => process.succeed)
        yield* failing([at(0)], 5)
        yield* expectAll([at(0)], "Open local")
        yield* at(1 - releasing).run(CircuitBreaker.isolate("api"))
        yield* TestClock.adjust("6 seconds")
        yield* expectAll([at(0)], "Isolated fleet")
        yield* at(releasing).run(CircuitBreaker.release("api"))
        yield* TestClock.adjust("6 seconds")
        yield* expectAll([at(0)], "Open local")
        yield* TestClock.adjust("40 seconds")
        yield* expectAll([at(0)], "Open local")
        yield* expectAll([at(1), at(2)], "Closed local")
      }
    })
  )

  const overrides: ReadonlyArray<
    readonly [
      string,
      ReadonlyArray<readonly ["isolate" | "disable", who: number, millis?: number]>,
      ends: "release" | "time"
    ]
  > = [
    [
      "two isolations of two operators, released",
      [
        ["isolate", 0],
        ["isolate", 1]
      ],
      "release"
    ],
    [
      "an isolation over a disabling, released",
      [
        ["disable", 1],
        ["isolate", 2]
      ],
      "release"
    ],
    [
      "a disabling beneath an isolation, released",
      [
        ["isolate", 1],
        ["disable", 0]
      ],
      "release"
    ],
    [
      "an isolation, then a disabling, that end by themselves",
      [
        ["isolate", 1, 6_000],
        ["disable", 2, 12_000]
      ],
      "time"
    ],
    ["a disabling that ends by itself", [["disable", 0, 12_000]], "time"]
  ]
  for (const [what, acts, ends] of overrides) {
    for (const away of [false, true]) {
      if (away && ends === "time") continue
      it.effect(`is neither shortened nor counted again by ${what}${away ? " while the store is away" : ""}`, () =>
        Effect.gen(function* () {
          const { all, at } = yield* fleet(3, { policy: { cooldown: "1 minute" } })
          yield* all((process) => process.succeed)
          yield* failing([at(0)], 5)
          const before = yield* at(0).inspect
          for (const [act, who, millis] of acts) {
            yield* at(who).run(byHand(act, "api", { actor: `operator ${who}`, for: millis }))
            yield* pause()
          }
          yield* TestClock.adjust("6 seconds")
          yield* expectAll(
            [at(0)],
            `${acts.some(([act, , millis]) => act === "isolate" && millis === undefined) ? "Isolated" : "Disabled"} fleet`
          )
          if (away) at(0).trouble.now = "fail"
          if (ends === "release") yield* at(0).run(CircuitBreaker.release("api"))
          yield* TestClock.adjust("6 seconds")
          at(0).trouble.now = "none"
          // The end of an override is detected by the next call.
          yield* at(0).succeed
          yield* TestClock.adjust("6 seconds")
          const { openings, outage, state } = yield* at(0).inspect
          assert.deepStrictEqual([state, openings, outage], ["Open", before.openings, before.outage])
          yield* TestClock.adjust("30 seconds")
          yield* expectAll([at(0)], "Open local")
          yield* expectAll([at(1), at(2)], "Closed local")
          yield* TestClock.adjust("15 seconds")
          yield* at(0).succeed
          yield* expectAll([at(0)], "Closed local")
        })
      )
    }
  }

  it.effect("is not shortened by a release of an override that the process did not know", () =>
    Effect.gen(function* () {
      const { all, at } = yield* fleet(3, { policy: { cooldown: "1 minute" } })
      yield* all((process) => process.succeed)
      yield* failing([at(0)], 5)
      yield* expectAll([at(0)], "Open local")
      yield* at(0).cutOff
      const before = yield* retryAfter(at(0))
      yield* at(1).run(CircuitBreaker.isolate("api"))
      yield* at(1).run(CircuitBreaker.release("api"))
      yield* pause()
      yield* at(0).reconnect
      yield* TestClock.adjust("6 seconds")
      yield* expectAll([at(0)], "Open local")
      assert.strictEqual(yield* retryAfter(at(0)), before - 6_010)
      yield* expectAll([at(1), at(2)], "Closed local")
    })
  )

  it.effect(
    "is not shortened, where an opening of the fleet ends a little sooner and an override above that is released",
    () =>
      Effect.gen(function* () {
        const { at, store } = yield* fleet(1, { policy: { cooldown: "10 seconds" } })
        yield* at(0).cutOff
        yield* failing([at(0)], 5)
        yield* expectAll([at(0)], "Open local")
        const before = yield* retryAfter(at(0))
        yield* Operator.open(store, "api", { for: before - 500 })
        yield* Operator.isolate(store, "api")
        yield* Operator.release(store, "api")
        yield* at(0).reconnect
        yield* TestClock.adjust("6 seconds")
        yield* expectAll([at(0)], "Open fleet")
        assert.strictEqual(yield* retryAfter(at(0)), before - 6_000)
      })
  )

  it.effect("is counted once, also where the fleet opens after it closed", () =>
    Effect.gen(function* () {
      const { all, at, processes } = yield* fleet(3, { policy: { cooldown: "10 seconds" } })
      yield* all((process) => process.succeed)
      yield* failing([at(0)], 5)
      yield* TestClock.adjust("11 seconds")
      yield* at(0).succeed
      yield* expectAll([at(0)], "Closed local")
      yield* TestClock.adjust("1 second")
      yield* openTogether(processes)
      assert.strictEqual((yield* at(0).inspect).openings, 2)
    })
  )
})

describe("An opening of the fleet", () => {
  for (const releasing of [0, 1]) {
    it.effect(`keeps its end when process ${releasing} releases an isolation above it that would last longer`, () =>
      Effect.gen(function* () {
        const { at, processes, store } = yield* fleet(2, { policy: { cooldown: "10 seconds" } })
        yield* openTogether(processes)
        yield* at(0).run(CircuitBreaker.isolate("api", { for: "1 hour" }))
        yield* TestClock.adjust("2 seconds")
        yield* expectAll(processes, "Isolated fleet")
        yield* at(releasing).run(CircuitBreaker.release("api"))
        yield* pause(500)
        yield* expectAll(processes, "Open fleet")
        const end = yield* endInStore(store)
        for (const process of processes) assert.closeTo((yield* retryAfter(process)) - end, 500, 500)
      })
    )
  }

  it.effect(
    "keeps its end when a process that is cut off releases an isolation above it, and another one does so, too",
    () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(2, { policy: { cooldown: "30 seconds" } })
        yield* openTogether(processes)
        yield* at(0).run(CircuitBreaker.isolate("api", { for: "1 hour" }))
        yield* TestClock.adjust("2 seconds")
        yield* expectAll(processes, "Isolated fleet")
        yield* at(0).cutOff
        yield* Effect.forkChild(at(0).run(CircuitBreaker.release("api")), { startImmediately: true })
        yield* at(1).run(CircuitBreaker.release("api"))
        yield* TestClock.adjust("2 seconds")
        for (const process of processes) assert.closeTo(yield* retryAfter(process), 26_000, 1_000)
        yield* at(0).reconnect
        yield* TestClock.adjust("6 seconds")
        yield* expectAll(processes, "Open fleet")
        for (const process of processes) assert.closeTo(yield* retryAfter(process), 20_000, 1_000)
      })
  )

  it.effect("keeps its end when two isolations above it are released, of which the first would last longer", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2, { policy: { cooldown: "30 seconds" } })
      yield* openTogether(processes)
      for (const [who, hours] of [
        [0, 2],
        [1, 1]
      ] as const) {
        yield* at(who).run(CircuitBreaker.isolate("api", { for: `${hours} hours`, actor: `operator ${who}` }))
        yield* TestClock.adjust("1 second")
      }
      yield* at(1).run(CircuitBreaker.release("api"))
      yield* TestClock.adjust("1 second")
      yield* expectAll(processes, "Open fleet")
      for (const process of processes) assert.closeTo(yield* retryAfter(process), 27_000, 1_000)
    })
  )

  it.effect("ends with what was closed by hand, beneath an override that a process did not know", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2, { policy: { cooldown: "1 minute" } })
      yield* openTogether(processes)
      yield* at(0).cutOff
      yield* at(1).run(CircuitBreaker.close("api"))
      yield* at(1).run(CircuitBreaker.isolate("api"))
      yield* at(1).run(CircuitBreaker.release("api"))
      yield* pause()
      yield* at(0).reconnect
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect(
    "is no reason to stay isolated after a release, where the process could not read a record before that",
    () =>
      Effect.gen(function* () {
        const { at, store } = yield* fleet(1)
        const rewrite = (to: (body: string) => string) =>
          Effect.gen(function* () {
            const { body, epoch } = (yield* load(store, "api")) ?? assert.fail("there is no record")
            assert.isTrue((yield* write(store, "api", { expectedEpoch: epoch, body: to(body) })).swapped)
            yield* TestClock.adjust("100 millis")
            return body
          })
        yield* at(0).run(CircuitBreaker.open("api", { for: "10 seconds" }))
        yield* Operator.isolate(store, "api", { for: "1 hour" })
        yield* TestClock.adjust("100 millis")
        yield* expectAll([at(0)], "Isolated fleet")
        const isolated = fromBody(yield* rewrite(() => "of another version"), 0) ?? assert.fail("it is not readable")
        yield* expectAll([at(0)], "Isolated local")
        // Another process has closed the circuit beneath the isolation meanwhile.
        yield* rewrite(() => toBody(Circuit.initial, 0, { ...isolated.provenance, why: "Released" }))
        yield* expectAll([at(0)], "Closed local")
      }).pipe(Effect.provide(Logger.layer([])))
  )

  const operate =
    (...acts: ReadonlyArray<Effect.Effect<unknown, never, BreakerStore.BreakerStore>>) =>
    (processes: ReadonlyArray<Process>) =>
      Effect.forEach(processes.slice(0, 1), (process) =>
        Effect.forkChild(process.run(Effect.all(acts)), { startImmediately: true })
      )
  const open = CircuitBreaker.open("api", { for: "1 second" })
  const writes: ReadonlyArray<
    readonly [string, Circuit.Circuit["_tag"], (processes: ReadonlyArray<Process>) => Effect.Effect<unknown>]
  > = [
    ["the processes trip", "Open", (processes) => failing(processes, 3)],
    ["an operator opens the circuit", "Open", operate(open)],
    [
      "an operator isolates the circuit after that",
      "Isolated",
      operate(open, CircuitBreaker.isolate("api", { for: "300 millis" }))
    ]
  ]
  for (const [what, state, act] of writes) {
    it.effect(`ends no sooner in the process that wrote it than in the store, if ${what} and the store is slow`, () =>
      Effect.gen(function* () {
        // A process waits up to 100 ms longer at random. That is less than a write takes to reach the store.
        const { all, processes, store } = yield* fleet(2, { policy: { cooldown: "1 second" } })
        yield* all((process) => process.succeed)
        for (const { trouble } of processes) trouble.slow = 240
        yield* act(processes)
        const expected = `${state} fleet`
        for (let i = 0; i < 100 && !(yield* standings(processes)).every((one) => one === expected); i++) yield* pause()
        yield* expectAll(processes, expected)
        // The answer to the process that wrote it is on its way back.
        yield* pause(130)
        for (const { trouble } of processes) trouble.slow = 0
        yield* expectAll(processes, expected)
        const end = yield* endInStore(store)
        for (const process of processes) assert.isAtLeast(yield* retryAfter(process), end)
      })
    )
  }
})

it.effect("A voter that leaves takes its ballots with it", () =>
  Effect.gen(function* () {
    const { at, store } = yield* fleet(3)
    yield* failing([at(0)], 3)
    yield* pause(200)
    yield* at(0).stop
    const { live } = yield* exchange(store)
    assert.strictEqual(live, 2)
  })
)
