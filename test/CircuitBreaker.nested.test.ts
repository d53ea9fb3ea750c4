import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, CircuitPool, Outcome, Resilience, Trip } from "effect-fuse"
import { StreamBreaker } from "effect-fuse/queue"
import {
  expectState,
  fail,
  inspect,
  pass,
  play,
  quick,
  reject,
  rejectionIn,
  scenario,
  succeed
} from "./support/verbs.ts"

const protect = CircuitBreaker.protect("api")

type Wrapped = Effect.Effect<string, unknown, BreakerStore.BreakerStore>

/** What may stand between the two calls of one circuit. */
const between: ReadonlyArray<readonly [what: string, wrap: (inner: Wrapped) => Wrapped]> = [
  ["nothing", (inner) => inner],
  ["Effect.timeout", (inner) => Effect.timeout(inner, "1 second")],
  ["a child fiber", (inner) => Effect.flatMap(Effect.forkChild(inner), Fiber.join)],
  ["a detached fiber", (inner) => Effect.flatMap(Effect.forkDetach(inner), Fiber.join)],
  ["a fiber in a scope", (inner) => Effect.scoped(Effect.flatMap(Effect.forkScoped(inner), Fiber.join))],
  ["a race", (inner) => Effect.raceFirst(inner, Effect.never)],
  [
    "a runtime made inside",
    (inner) =>
      Effect.flatMap(Effect.context<BreakerStore.BreakerStore>(), (context) =>
        Effect.flatMap(
          Effect.promise(() => Effect.runPromiseExitWith(context)(inner)),
          (exit) => exit
        )
      )
  ],
  ["a service that is provided", (inner) => Effect.provide(inner, BreakerPolicy.layer({ default: quick }))],
  ["another circuit", (inner) => CircuitBreaker.protect(inner, "other")],
  ["the circuit again", (inner) => protect(inner)],
  ["Resilience.retry", (inner) => Resilience.retry({ times: 0 })(inner)],
  ["Resilience.hedge", (inner) => Resilience.hedge({ after: "1 minute" })(inner)],
  ["a bulkhead", (inner) => Resilience.bulkhead({ concurrency: 1 })(inner)]
]

describe("A call inside another call of the same circuit is part of that call", () => {
  for (const [what, wrap] of between) {
    scenario(`${what} between them: one call is counted, its probe closes the circuit`, quick, function* () {
      let up = false
      const inner = protect(Effect.suspend(() => (up ? Effect.succeed("yes") : Effect.fail("down"))))
      const outer = protect(wrap(inner))
      yield* Effect.exit(outer)
      yield* expectState("Open")
      assert.strictEqual((yield* inspect()).totals.failures, 1)
      up = true
      yield* TestClock.adjust("10 seconds")
      const exit = yield* Effect.exit(outer)
      assert.isTrue(Exit.isSuccess(exit), String(exit))
      yield* expectState("Closed")
      const { calls, rejected, successes } = (yield* inspect()).totals
      assert.deepStrictEqual([calls, successes, rejected], [2, 1, 0])
    })
  }

  const inners: ReadonlyArray<
    readonly [what: string, inner: Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>]
  > = [
    [
      "forEach",
      Effect.flatMap(CircuitBreaker.forEach([1, 2, 3], Effect.succeed, { name: "api", concurrency: 3 }), Effect.all)
    ],
    ["a pipeline", Resilience.standard("api")(Effect.succeed(1))],
    ["cascade", Resilience.cascade([{ name: "api", call: Effect.succeed(1) }])],
    ["awaitClosed", CircuitBreaker.awaitClosed("api")],
    [
      "admit and settle",
      Effect.acquireUseRelease(
        CircuitBreaker.admit("api"),
        () => Effect.succeed(1),
        (permit) => CircuitBreaker.settle(permit, Outcome.failure())
      )
    ],
    ["a stream", Stream.runDrain(StreamBreaker.mapEffect(Stream.make(1, 2), "api", () => Effect.succeed(1)))]
  ]
  for (const [what, inner] of inners) {
    scenario(`${what} inside a probe is part of the probe`, quick, function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      const fiber = yield* Effect.forkChild(protect(inner), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      const exit = fiber.pollUnsafe()
      assert.isTrue(exit !== undefined && Exit.isSuccess(exit), String(exit))
      yield* expectState("Closed")
      assert.strictEqual((yield* inspect()).totals.calls, 2)
    })
  }

  scenario("all items of a batch inside a probe may run at once", quick, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    let running = 0
    let most = 0
    const item = Effect.gen(function* () {
      most = Math.max(most, ++running)
      yield* Effect.sleep("1 second")
      running--
    })
    const batch = CircuitBreaker.forEach([1, 2, 3], () => item, { name: "api", concurrency: 3 })
    const fiber = yield* Effect.forkChild(protect(batch), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(fiber)
    assert.strictEqual(most, 3)
  })

  scenario("the classifier of the outer call decides", { trip: Trip.consecutive(5) }, function* () {
    const inner = CircuitBreaker.protect(Effect.fail("not found"), "api", { isFailure: () => true })
    yield* Effect.exit(CircuitBreaker.protect(inner, "api", { isFailure: () => false }))
    const { failures, successes } = (yield* inspect()).totals
    assert.deepStrictEqual([successes, failures], [1, 0])
  })

  scenario("attempts of a retry inside the outer call are one call", { trip: Trip.consecutive(2) }, function* () {
    let attempts = 0
    const inner = protect(Effect.suspend(() => (++attempts < 3 ? Effect.fail("down") : Effect.succeed("yes"))))
    const outer = protect(Effect.retry(inner, { times: 5 }))
    assert.strictEqual(yield* outer, "yes")
    const { calls, failures, successes } = (yield* inspect()).totals
    assert.deepStrictEqual([attempts, calls, successes, failures], [3, 1, 1, 0])
  })

  scenario("two protects of one name around a call that hangs time out as one probe", quick, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    const fiber = yield* Effect.forkChild(Effect.exit(protect(protect(Effect.never))), { startImmediately: true })
    yield* TestClock.adjust("30 seconds")
    assert.strictEqual(rejectionIn(yield* Fiber.join(fiber)).reason, "ProbeTimedOut")
    yield* expectState("Open")
  })

  scenario("a pool inside a call of one of its members calls that member", quick, function* () {
    const pool = CircuitPool.make("api", { members: ["a"] })
    const call = CircuitPool.call(pool, (member) => Effect.succeed(member))
    const outer = CircuitBreaker.protect(call, "api", { key: "a" })
    yield* fail({ key: "a" })
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(yield* outer, "a")
    yield* expectState("Closed", { key: "a" })
  })

  scenario("what was passed uncounted is passed once", { ...quick, mode: "observe" }, function* () {
    yield* fail()
    yield* protect(protect(Effect.void))
    const { passed, wouldReject } = (yield* inspect()).totals as { passed: number; wouldReject?: number }
    assert.strictEqual(passed, 1)
    assert.isTrue(wouldReject === undefined || wouldReject === 1)
  })
})

describe("A call inside another call is a call of its own", () => {
  scenario("with another key of the same name", quick, function* () {
    const inner = CircuitBreaker.protect(Effect.fail("down"), "api", { key: "b" })
    yield* Effect.exit(CircuitBreaker.protect(Effect.ignore(inner), "api", { key: "a" }))
    yield* expectState("Closed", { key: "a" })
    yield* expectState("Open", { key: "b" })
  })

  scenario("without a key inside one with a key", quick, function* () {
    yield* Effect.exit(CircuitBreaker.protect(Effect.ignore(protect(Effect.fail("down"))), "api", { key: "a" }))
    yield* expectState("Closed", { key: "a" })
    yield* expectState("Open")
  })

  it.effect("in another store", () =>
    Effect.gen(function* () {
      const inner = Effect.provide(Effect.exit(protect(Effect.fail("down"))), BreakerStore.layerMemoryWith({}))
      yield* protect(inner)
      assert.strictEqual((yield* inspect()).totals.failures, 0)
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  scenario("once the outer call has ended", quick, function* () {
    const scope = yield* Scope.Scope
    const later = Effect.delay(fail(), "5 seconds")
    yield* protect(Effect.forkIn(later, scope))
    yield* TestClock.adjust("5 seconds")
    yield* expectState("Open")
    assert.strictEqual((yield* inspect()).totals.calls, 2)
  })

  scenario("once the circuit has moved: an opening meanwhile rejects it", quick, function* () {
    const exit = yield* Effect.exit(protect(Effect.andThen(CircuitBreaker.open("api"), protect(Effect.void))))
    assert.strictEqual(rejectionIn(exit).reason, "Cooldown")
  })

  scenario("once an operator has isolated its name, for keys too", quick, function* () {
    const keyed = CircuitBreaker.protect("api", { key: "a" })
    const exit = yield* Effect.exit(keyed(Effect.andThen(CircuitBreaker.isolate("api"), keyed(Effect.void))))
    assert.strictEqual(rejectionIn(exit).reason, "Isolated")
  })

  scenario("beside a permit that was admitted alone", { trip: Trip.consecutive(5) }, function* () {
    const permit = yield* CircuitBreaker.admit("api")
    yield* pass()
    yield* CircuitBreaker.settle(permit, Outcome.success)
    assert.strictEqual((yield* inspect()).totals.calls, 2)
  })

  scenario("beside another call that runs at the same time", quick, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    const probe = yield* Effect.forkChild(protect(Effect.sleep("5 seconds")), { startImmediately: true })
    yield* Effect.yieldNow
    assert.strictEqual((yield* reject()).reason, "ProbesBusy")
    yield* TestClock.adjust("5 seconds")
    yield* Fiber.join(probe)
    yield* pass()
  })

  scenario("after the outer one on the same fiber", { trip: Trip.consecutive(5) }, function* () {
    yield* protect(protect(Effect.void))
    yield* succeed()
    assert.strictEqual((yield* inspect()).totals.calls, 2)
  })
})

describe("However many calls came before", () => {
  scenario(
    "a probe recognises the calls inside it",
    { trip: Trip.consecutive(1), cooldown: "10 seconds" },
    function* () {
      yield* play("S".repeat(1_500))
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      yield* protect(Effect.timeout(protect(Effect.void), Duration.seconds(1)))
      yield* expectState("Closed")
    }
  )

  scenario(
    "nested pairs count once, from the second pair on at the latest",
    { trip: Trip.consecutive(5) },
    function* () {
      yield* play("S".repeat(1_500))
      const nested = protect(Effect.timeout(protect(Effect.void), "1 second"))
      yield* nested
      const before = (yield* inspect()).totals.calls
      yield* nested
      yield* nested
      assert.strictEqual((yield* inspect()).totals.calls, before + 2)
    }
  )
})
