import { assert, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Schedule, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import {
  call,
  expectState,
  fail,
  hang,
  inspect,
  pass,
  play,
  quick,
  reject,
  scenario,
  succeed
} from "./support/verbs.ts"

const waiting = () => Effect.forkChild(CircuitBreaker.awaitClosed("api"), { startImmediately: true })
const onDb = { breakers: { api: { ...quick, dependsOn: ["db"] }, db: quick } }

scenario("inspect shows what blocks a circuit, and for how long", onDb, function* () {
  yield* fail({ name: "db" })
  const error = yield* reject()
  assert.strictEqual(error.message, 'Circuit "api" depends on "db", which lets no calls through, retry after 10s')
  const { blockedBy, retryAfter, state } = yield* inspect()
  assert.deepStrictEqual([state, blockedBy, Duration.toSeconds(retryAfter)], ["Closed", "db", 10])
})

scenario("awaitClosed waits for what a circuit depends on, to close or to have cooled down", onDb, function* () {
  yield* fail({ name: "db" })
  const first = yield* waiting()
  yield* TestClock.adjust("9 seconds")
  assert.isUndefined(first.pollUnsafe())
  yield* TestClock.adjust("1 second")
  assert.isDefined(first.pollUnsafe())
  yield* fail({ name: "db" })
  const second = yield* waiting()
  yield* CircuitBreaker.close("db")
  yield* TestClock.adjust("1 millis")
  assert.isDefined(second.pollUnsafe())
})

scenario("awaitClosed sees a dependency that is first used, and breaks, while it waits", onDb, function* () {
  yield* fail()
  const fiber = yield* waiting()
  yield* fail({ name: "db" })
  yield* CircuitBreaker.close("api")
  yield* TestClock.adjust("9 seconds")
  assert.isUndefined(fiber.pollUnsafe())
  yield* TestClock.adjust("1 second")
  assert.isDefined(fiber.pollUnsafe())
})

scenario("awaitClosed sees a circuit that was made, and opened, while it waited for its name", quick, function* () {
  yield* CircuitBreaker.isolate("api")
  const fiber = yield* Effect.forkChild(CircuitBreaker.awaitClosed("api", { key: "k" }), { startImmediately: true })
  yield* CircuitBreaker.open("api", { key: "k" })
  yield* CircuitBreaker.release("api")
  yield* TestClock.adjust("1 second")
  assert.isUndefined(fiber.pollUnsafe())
  yield* CircuitBreaker.close("api", { key: "k" })
  yield* TestClock.adjust("1 millis")
  assert.isDefined(fiber.pollUnsafe())
})

for (const policy of [{ enabled: false }, { mode: "observe" }] satisfies ReadonlyArray<BreakerPolicy.Input>) {
  scenario(`awaitClosed does not wait with ${JSON.stringify(policy)}`, { ...quick, ...policy }, function* () {
    yield* CircuitBreaker.open("api")
    yield* CircuitBreaker.awaitClosed("api")
    yield* pass()
    assert.strictEqual((yield* inspect()).enabled, policy.enabled !== false)
  })
}

const stuck = Trip.stuck({ calls: 2, olderThan: "1 second" })

scenario("calls that hang since before a transition set off no trip after it", { ...quick, trip: stuck }, function* () {
  yield* hang()
  yield* hang()
  yield* TestClock.adjust("1 second")
  yield* reject()
  yield* TestClock.adjust("10 seconds")
  yield* pass()
  yield* pass()
  yield* expectState("Closed")
  yield* hang()
  yield* TestClock.adjust("1 second")
  yield* pass()
})

const mixed = Trip.any(Trip.failureRate({ threshold: 0.5, minimumCalls: 20, over: 100 }), stuck)
scenario("an arrival asks only whether calls are stuck: a success trips no other rule", { trip: mixed }, function* () {
  yield* play("F".repeat(10) + "S".repeat(10))
  yield* pass()
  yield* fail()
  yield* expectState("Open")
})

scenario("a probe that the caller's region protects from interruption runs to its end", quick, function* () {
  const log: Array<string> = []
  const connect = Effect.gen(function* () {
    log.push("opened")
    yield* Effect.sleep("1 minute")
    log.push("done")
    return "socket"
  })
  const use = Effect.acquireRelease(call(connect), () => Effect.sync(() => log.push("closed")))
  yield* fail()
  yield* TestClock.adjust("10 seconds")
  const fiber = yield* Effect.forkChild(Effect.scoped(use), { startImmediately: true })
  yield* TestClock.adjust("1 minute")
  yield* TestClock.adjust("1 minute")
  assert.isDefined(fiber.pollUnsafe())
  assert.deepStrictEqual(log, ["opened", "done", "closed"])
})

scenario(
  "a flag that is interrupted protects, and interrupts no call",
  { ...quick, enabled: Effect.interrupt },
  function* () {
    yield* pass()
    yield* fail()
    yield* expectState("Open")
  }
)

scenario("an error is named, and never shown whole", quick, function* () {
  const error = { _tag: "Down", status: 503, body: "x".repeat(10_000), password: "secret", toJSON: () => assert.fail() }
  yield* Effect.exit(call(Effect.fail(error)))
  assert.strictEqual((yield* inspect()).lastFailures[0]?.error, "Down (503)")
  yield* CircuitBreaker.reset("api")
  yield* Effect.exit(call(Effect.fail({ password: "secret" })))
  assert.strictEqual((yield* inspect()).lastFailures[1]?.error, "an object")
})

scenario(
  "the time that reading an exit takes does not make the call slow",
  { ...quick, slowCall: "1 second" },
  function* () {
    const classify = () => Effect.as(Effect.sleep("5 seconds"), { _tag: "Success" } as const)
    const fiber = yield* Effect.forkChild(CircuitBreaker.protect(Effect.void, "api", { classify }), {
      startImmediately: true
    })
    yield* TestClock.adjust("5 seconds")
    assert.isDefined(fiber.pollUnsafe())
    assert.strictEqual((yield* inspect()).totals.slow, 0)
  }
)

scenario("the circuit that many keys share is inspected and controlled by its own key", quick, function* () {
  const long = "x".repeat(600)
  yield* fail({ key: long })
  yield* expectState("Open", { key: "(overflow)" })
  yield* CircuitBreaker.reset("api", { key: "(overflow)" })
  yield* pass({ key: long })
  assert.strictEqual((yield* CircuitBreaker.list).length, 1)
})

scenario("a dependency that only observes since a reload no longer blocks a call", quick, function* () {
  let settings: BreakerPolicy.Settings = { default: quick, breakers: { api: { dependsOn: ["db"] } } }
  const reloading = BreakerPolicy.layerReloading(
    Effect.sync(() => settings),
    Schedule.spaced("1 second")
  )
  yield* Effect.gen(function* () {
    yield* fail({ name: "db" })
    yield* succeed()
    yield* reject()
    settings = { ...settings, breakers: { ...settings.breakers, db: { mode: "observe" } } }
    yield* TestClock.adjust("1 second")
    yield* pass()
  }).pipe(Effect.provide(reloading))
})

let checked = 0
const check = Effect.sync(() => {
  checked++
  throw new Error("still down")
})
scenario("a health check continues through reloads that change other fields", quick, function* () {
  checked = 0
  let cooldown = 100
  const load = Effect.sync(() => ({
    default: { ...quick, cooldown: ++cooldown, maxCooldown: "1 hour", probe: { check, schedule: "3 seconds" } }
  }))
  yield* Effect.gen(function* () {
    yield* fail()
    for (let i = 0; i < 30; i++) {
      yield* TestClock.adjust("1 second")
      yield* CircuitBreaker.state("api")
    }
    assert.strictEqual(checked, 10)
  }).pipe(Effect.provide(BreakerPolicy.layerReloading(load, Schedule.spaced("1 second"))))
})

scenario("an isolation at any operation of a release still holds for every key", quick, function* () {
  yield* pass({ key: "k" })
  const scheduler = yield* Scheduler.Scheduler
  const run = Effect.runSyncWith(yield* Effect.context<BreakerStore.BreakerStore>())
  let isolated = 0
  for (let point = 0, reached = true; reached; point++) {
    reached = false
    yield* CircuitBreaker.isolate("api")
    let operations = 0
    const counting: Scheduler.Scheduler = {
      executionMode: scheduler.executionMode,
      makeDispatcher: () => scheduler.makeDispatcher(),
      shouldYield: (fiber) => {
        if (operations++ === point) {
          reached = true
          run(CircuitBreaker.isolate("api"))
        }
        return fiber.currentOpCount >= 4
      }
    }
    yield* Effect.provideService(CircuitBreaker.release("api"), Scheduler.Scheduler, counting)
    if ((yield* CircuitBreaker.state("api")) === "Isolated") {
      isolated++
      yield* reject({ key: "k" })
    } else yield* pass({ key: "k" })
  }
  assert.isAbove(isolated, 3)
})

it.effect(
  "a circuit is not evicted while a call waits for its flag, and can be evicted after the call was interrupted",
  () =>
    Effect.gen(function* () {
      const latch = yield* Deferred.make<boolean>()
      const flagged = { trip: Trip.consecutive(1), enabled: Deferred.await(latch) }
      const protect = (key: string) => CircuitBreaker.protect(Effect.fail("down"), "api", { key, policy: flagged })
      const gone = yield* Effect.forkChild(protect("gone"), { startImmediately: true })
      yield* Fiber.interrupt(gone)
      const waits = yield* Effect.forkChild(Effect.exit(protect("kept")), { startImmediately: true })
      assert.strictEqual((yield* BreakerStore.stats).evicted, 1)
      const late = yield* Effect.forkChild(Effect.exit(protect("late")), { startImmediately: true })
      assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 2, evicted: 1, overflowed: 1 })
      yield* Deferred.succeed(latch, true)
      yield* Fiber.join(waits)
      yield* Fiber.join(late)
      assert.strictEqual(yield* CircuitBreaker.state("api", { key: "kept" }), "Open")
    }).pipe(Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 1 })))
)
