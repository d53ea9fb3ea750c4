import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerStore, CircuitBreaker, type SharedStore, Trip } from "effect-fuse"
import { fromBody } from "../src/store/codec.ts"
import {
  cooldownOver,
  exchange,
  expectAll,
  failing,
  fleet,
  intercepted,
  load,
  openTogether,
  pause,
  start
} from "./support/fleet.ts"

const kept = (store: SharedStore.SharedStore, circuit = "api") =>
  Effect.map(load(store, circuit), (record) => {
    const read = record && fromBody(record.body, 0)
    return read === undefined ? undefined : `${read.circuit._tag}, ${read.provenance.why}`
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

  it.effect("that also lost the roll calls sends new roll calls to a process with a later cursor", () =>
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

describe("What was seen before the store went down", () => {
  it.effect("reaches the store when it is back, and what was seen meanwhile does not", () =>
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
      // The heartbeats of these processes receive only roll calls.
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
