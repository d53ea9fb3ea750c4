import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerPolicy, type BreakerStore, CircuitBreaker, Outcome, Trip } from "effect-fuse"
import { interruptEverywhere } from "./support/interrupting.ts"
import {
  call,
  expectState,
  fail,
  hang,
  inspect,
  lasting,
  pass,
  quick,
  recordEvents,
  reject,
  scenario,
  times
} from "./support/verbs.ts"

type Run = Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>

/** A call that suspends this number of times before it ends. */
const suspending = <E = never>(n: number, end: Effect.Effect<unknown, E> = Effect.void) =>
  Effect.andThen(times(n, Effect.yieldNow), end)

/** No call is in flight, no probe runs, and the counts add up. */
const nothingLeft = (name: string) =>
  Effect.map(inspect({ name }), ({ inFlight, probing, totals: { calls, failures, ignored, successes } }) => {
    assert.deepStrictEqual({ inFlight, probing }, { inFlight: 0, probing: 0 })
    assert.strictEqual(calls, successes + failures + ignored)
  })

/** So that the cooldown of a circuit is over without moving the clock. */
const toProbe = (name: string) => Effect.exit(call(Effect.fail("boom"), { name }))

describe("Interrupted at any operation, a call leaves nothing behind", () => {
  const deciding = () => Effect.as(suspending(2), Outcome.success)
  const cases: ReadonlyArray<
    readonly [what: string, policy: BreakerPolicy.Input, before: (name: string) => Run, body: (name: string) => Run]
  > = [
    ["that ends at once", quick, () => Effect.void, (name) => call(Effect.void, { name })],
    ["that suspends once", quick, () => Effect.void, (name) => call(suspending(1), { name })],
    ["that suspends five times", quick, () => Effect.void, (name) => call(suspending(5), { name })],
    ["that fails and trips", quick, () => Effect.void, (name) => call(suspending(2, Effect.fail("boom")), { name })],
    ["that dies and trips", quick, () => Effect.void, (name) => call(suspending(2, Effect.die("bug")), { name })],
    [
      "whose classifier is an effect",
      quick,
      () => Effect.void,
      (name) => CircuitBreaker.protect(suspending(1), name, { classify: deciding })
    ],
    [
      "whose classifier dies",
      quick,
      () => Effect.void,
      (name) =>
        CircuitBreaker.protect(suspending(1), name, { classify: () => suspending(1, Effect.die("bug")) as never })
    ],
    [
      "whose flag is an effect",
      { ...quick, enabled: Effect.as(suspending(2), true) },
      () => Effect.void,
      (name) => call(suspending(1), { name })
    ],
    ["that probes", { ...quick, cooldown: 0 }, toProbe, (name) => call(suspending(3), { name })],
    [
      "that probes and fails",
      { ...quick, cooldown: 0 },
      toProbe,
      (name) => call(suspending(3, Effect.fail("boom")), { name })
    ],
    [
      "that probes and dies",
      { ...quick, cooldown: 0 },
      toProbe,
      (name) => call(suspending(3, Effect.die("bug")), { name })
    ],
    [
      "that probes beneath a dependency",
      { ...quick, cooldown: 0, dependsOn: ["other"] },
      toProbe,
      (name) => call(suspending(2), { name })
    ],
    [
      "that probes with mode observe",
      { ...quick, cooldown: 0, mode: "observe" },
      toProbe,
      (name) => call(suspending(2), { name })
    ],
    [
      "that probes with a classifier",
      { ...quick, cooldown: 0 },
      toProbe,
      (name) => CircuitBreaker.protect(suspending(1), name, { classify: deciding })
    ],
    [
      "after a close, while it ramps",
      { ...quick, cooldown: 0, ramp: "1 minute" },
      (name) => Effect.andThen(toProbe(name), call(Effect.void, { name })),
      (name) => call(suspending(2), { name })
    ],
    [
      "when calls are watched for being stuck",
      { trip: Trip.stuck({ calls: 1, olderThan: "1 second" }) },
      () => Effect.void,
      (name) => call(suspending(2), { name })
    ],
    [
      "in two steps",
      quick,
      () => Effect.void,
      (name) => Effect.acquireUseRelease(CircuitBreaker.admit(name), () => suspending(2), CircuitBreaker.settle)
    ],
    [
      "in two steps that probe",
      { ...quick, cooldown: 0 },
      toProbe,
      (name) => Effect.acquireUseRelease(CircuitBreaker.admit(name), () => suspending(2), CircuitBreaker.settle)
    ]
  ]
  for (const [what, policy, before, body] of cases) {
    scenario(what, policy, function* () {
      const name = (run: number) => `api ${run}`
      let interrupts = 0
      const points = yield* interruptEverywhere(
        (run) => Effect.andThen(before(name(run)), body(name(run))),
        (run, exit) => {
          if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) interrupts++
          return nothingLeft(name(run))
        }
      )
      assert.isAbove(interrupts, 3)
      assert.isAtMost(interrupts, points)
    })
  }

  scenario(
    "a probe that was interrupted leaves a circuit that can still close",
    { ...quick, cooldown: 0 },
    function* () {
      const name = (run: number) => `api ${run}`
      yield* interruptEverywhere(
        (run) => Effect.andThen(toProbe(name(run)), call(suspending(2), { name: name(run) })),
        (run) => Effect.andThen(pass({ name: name(run) }), expectState("Closed", { name: name(run) }))
      )
    }
  )
})

scenario(
  "A permit whose settle is interrupted is settled, or can still be settled",
  { ...quick, cooldown: 0 },
  function* () {
    const permits = new Map<number, CircuitBreaker.Permit>()
    const admit = (run: number) =>
      Effect.uninterruptible(
        Effect.andThen(
          toProbe(`api ${run}`),
          Effect.map(CircuitBreaker.admit(`api ${run}`), (permit) => permits.set(run, permit))
        )
      )
    const settle = (run: number) =>
      Effect.suspend(() => CircuitBreaker.settle(permits.get(run) ?? assert.fail(), Outcome.success))
    yield* interruptEverywhere(
      (run) => Effect.andThen(admit(run), settle(run)),
      (run) =>
        permits.has(run) ? Effect.andThen(settle(run), expectState("Closed", { name: `api ${run}` })) : Effect.void
    )
    assert.isAbove(permits.size, 3)
  }
)

scenario("An operator action that is interrupted is done and announced, or not done at all", quick, function* () {
  const events = yield* recordEvents
  const found = new Set<boolean>()
  yield* interruptEverywhere(
    (run) => CircuitBreaker.isolate(`api ${run}`),
    (run) =>
      Effect.gen(function* () {
        const done = (yield* inspect({ name: `api ${run}` })).state === "Isolated"
        const announced = (yield* events).some((event) => event.circuit === `api ${run}`)
        assert.strictEqual(announced, done, `interrupted at ${run}`)
        if (done) yield* reject({ name: `api ${run}`, key: "k" })
        else yield* pass({ name: `api ${run}`, key: "k" })
        found.add(done)
      })
  )
  assert.strictEqual(found.size, 2)
})

describe("Many fibers", () => {
  scenario("10,000 on one circuit: the totals are exact", { trip: Trip.consecutive(1_000_000) }, function* () {
    const bodies = [
      suspending(1),
      suspending(2, Effect.fail("boom")),
      suspending(1, Effect.die("bug")),
      suspending(1, Effect.interrupt),
      Effect.void
    ]
    const fibers = yield* Effect.forEach(Array.from({ length: 10_000 }), (_, i) =>
      Effect.forkChild(call(bodies[i % bodies.length] ?? Effect.void))
    )
    yield* Effect.forEach(fibers, Fiber.await, { discard: true })
    const { inFlight, totals } = yield* inspect()
    assert.deepStrictEqual(
      [inFlight, totals.calls, totals.successes, totals.failures, totals.ignored],
      [0, 10_000, 4_000, 4_000, 2_000]
    )
  })

  scenario("1,000 that fail at once open once, and all are counted", quick, function* () {
    const calls = yield* times(1_000, hang())
    yield* Effect.forEach(calls, (one) => one.end(Exit.fail("boom")), { concurrency: "unbounded" })
    const { epoch, inFlight, openings, state, totals } = yield* inspect()
    assert.deepStrictEqual([state, epoch, openings, inFlight, totals.failures], ["Open", 1, 1, 0, 1_000])
  })
})

scenario(
  "An interrupted caller gets its interruption immediately, and the circuit ignores the call",
  quick,
  function* () {
    const one = yield* hang()
    yield* one.interrupt
    const exit = yield* Fiber.await(one.fiber)
    assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    const { streak, totals } = yield* inspect()
    assert.deepStrictEqual([streak, totals.ignored, totals.failures], [0, 1, 0])
  }
)

describe("Slow calls", () => {
  const slow: BreakerPolicy.Input = {
    trip: Trip.slowRate({ threshold: 0.5, minimumCalls: 5, over: 10 }),
    slowCall: "4 seconds",
    cooldown: "10 seconds"
  }

  scenario("a slow failure counts as slow and as failed, and the rate opens", slow, function* () {
    yield* times(2, lasting(0))
    yield* lasting(4_000)
    yield* lasting(4_000, Exit.fail("slow and wrong"))
    yield* expectState("Closed")
    assert.deepInclude((yield* inspect()).windows[0], {
      calls: 4,
      failures: 1,
      slow: 2,
      slowRate: 0.5,
      failureRate: 0.25
    })
    yield* lasting(4_000)
    yield* expectState("Open")
    assert.strictEqual((yield* inspect()).cause?.detail, "3 of 5 calls were slow in the last 10 calls (limit 50%)")
  })

  scenario("one millisecond less is not slow", slow, function* () {
    yield* times(10, lasting(3_999))
    assert.deepInclude((yield* inspect()).windows[0], { calls: 10, slow: 0 })
  })

  scenario(
    "calls that are stuck open it while none has ended",
    { trip: Trip.stuck({ calls: 3, olderThan: "5 seconds" }), cooldown: "10 seconds" },
    function* () {
      const calls = yield* times(3, hang())
      yield* TestClock.adjust(4_999)
      yield* pass()
      yield* TestClock.adjust(1)
      const { detail, reason } = yield* reject()
      assert.deepStrictEqual([reason, detail], ["Cooldown", "3 or more calls running for 5s or longer"])
      assert.strictEqual((yield* inspect()).inFlight, 3)
      yield* Effect.forEach(calls, (one) => one.end(Exit.succeed("at last")))
      yield* expectState("Open")
    }
  )

  scenario(
    "calls that end in time are not stuck",
    { trip: Trip.stuck({ calls: 3, olderThan: "5 seconds" }) },
    function* () {
      const [first] = yield* times(3, hang())
      yield* TestClock.adjust("4 seconds")
      yield* first?.interrupt ?? Effect.void
      yield* TestClock.adjust("1 hour")
      yield* pass()
      yield* expectState("Closed")
    }
  )
})

scenario(
  "A transaction that rolls back does not undo the failure that a circuit counted inside it",
  quick,
  function* () {
    yield* Effect.exit(Effect.tx(Effect.andThen(Effect.ignore(fail()), Effect.fail("undo"))))
    yield* expectState("Open")
  }
)
