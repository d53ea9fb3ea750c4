import { assert, describe } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, Outcome, Trip } from "effect-fuse"
import {
  call,
  expectState,
  fail,
  hang,
  inspect,
  pass,
  play,
  quick,
  recordEvents,
  reject,
  rejectionIn,
  scenario,
  times
} from "./support/verbs.ts"

describe("While HalfOpen", () => {
  for (const probes of [1, 2, 4]) {
    scenario(
      `${probes} may probe at once, and a place given back is free for exactly one`,
      { ...quick, probes },
      function* () {
        yield* fail()
        yield* TestClock.adjust("10 seconds")
        const running = yield* times(probes, hang())
        yield* times(3, reject())
        assert.strictEqual((yield* inspect()).probing, probes)
        yield* running[0]?.interrupt ?? Effect.void
        const another = yield* hang()
        yield* reject()
        yield* Effect.forEach([another, ...running], (probe) => probe.interrupt)
        const { inFlight, probing } = yield* inspect()
        assert.deepStrictEqual([inFlight, probing], [0, 0])
      }
    )
  }

  scenario("all places are free again in the next HalfOpen", { ...quick, probes: 2 }, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    yield* hang()
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    yield* times(2, hang())
    yield* reject()
  })

  scenario("it closes after successesToClose, and not before", { ...quick, successesToClose: 3 }, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    yield* play("SS")
    yield* expectState("HalfOpen")
    yield* play("S")
    yield* expectState("Closed")
  })

  scenario(
    "a failure opens at once, whatever the trip asks for, and successes before it are forgotten",
    { trip: Trip.failures({ atLeast: 3, of: 100 }), cooldown: "10 seconds", successesToClose: 2 },
    function* () {
      yield* play("FFF")
      yield* TestClock.adjust("10 seconds")
      yield* play("SF")
      yield* expectState("Open")
      yield* TestClock.adjust("10 seconds")
      yield* play("S")
      yield* expectState("HalfOpen")
      yield* play("S")
      yield* expectState("Closed")
      // What was seen before the close is not held against it.
      assert.deepInclude((yield* inspect()).windows[0], { calls: 0, failures: 0 })
      yield* play("FF")
      yield* expectState("Closed")
    }
  )

  scenario(
    "10,000 callers at once run exactly the probes, and all others are rejected",
    { ...quick, probes: 3, successesToClose: 3 },
    function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      const gate = yield* Deferred.make<void>()
      let runs = 0
      const self = Effect.andThen(
        Effect.sync(() => runs++),
        Deferred.await(gate)
      )
      const fibers = yield* Effect.forEach(Array.from({ length: 10_000 }), () => Effect.forkChild(call(self)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([runs, (yield* inspect()).probing], [3, 3])
      yield* Deferred.succeed(gate, undefined)
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 3)
      assert.isTrue(exits.filter(Exit.isFailure).every((exit) => rejectionIn(exit).reason === "ProbesBusy"))
      const { inFlight, openings, state, totals } = yield* inspect()
      assert.deepStrictEqual([state, inFlight, openings, totals.calls, totals.rejected], ["Closed", 0, 1, 4, 9_997])
    }
  )
})

describe("An interrupted or Ignored probe frees its slot; ten in a row are reported", () => {
  const ignored = Effect.exit(CircuitBreaker.protect(Effect.void, "api", { classify: () => Outcome.ignored }))
  scenario("they are reported at the tenth and the twentieth, and the last decides nothing", quick, function* () {
    const events = yield* recordEvents
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    for (let i = 1; i <= 25; i++) {
      if (i % 2 === 0) yield* ignored
      else yield* Effect.flatMap(hang(), (probe) => probe.interrupt)
      const { probing, retryAfter, state } = yield* inspect()
      assert.deepStrictEqual([state, probing, Duration.toMillis(retryAfter)], ["HalfOpen", 0, 0])
    }
    const reports = (yield* events).filter((event) => event._tag === "ProbesIgnored")
    assert.deepStrictEqual(
      reports.map((event) => event.probes),
      [10, 20]
    )
    yield* pass()
    yield* expectState("Closed")
  })

  scenario("a probe that succeeds resets the count", { ...quick, successesToClose: 2 }, function* () {
    const events = yield* recordEvents
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    yield* times(9, ignored)
    yield* pass()
    yield* times(9, ignored)
    assert.isFalse((yield* events).some((event) => event._tag === "ProbesIgnored"))
  })
})

describe("failuresToReopen", () => {
  const policy = { ...quick, successesToClose: 3, failuresToReopen: 2 }

  scenario("a failed probe does not open again before it is the last, and announces nothing", policy, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    const events = yield* recordEvents
    yield* play("SF")
    yield* expectState("HalfOpen")
    assert.deepStrictEqual(
      (yield* events).map((event) => event._tag === "Transition" && event.to),
      ["HalfOpen"]
    )
    yield* play("SS")
    yield* expectState("Closed")
    assert.strictEqual((yield* inspect()).openings, 1)
  })

  scenario("the last of them opens the circuit again, with its error as the cause", policy, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    yield* play("FSF")
    const { cause, openings, outage, state } = yield* inspect()
    assert.deepStrictEqual([state, openings, outage?.openings], ["Open", 2, 2])
    assert.deepStrictEqual([cause?.why, cause?.detail], ["ProbeFailed", "boom"])
    // The next HalfOpen state starts its count again.
    yield* TestClock.adjust("10 seconds")
    yield* play("FSSS")
    yield* expectState("Closed")
  })

  scenario("a probe that takes too long counts as one of them", { ...policy, probeTimeout: "1 second" }, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    for (const state of ["HalfOpen", "Open"] as const) {
      const probe = yield* hang()
      yield* TestClock.adjust("1 second")
      assert.strictEqual(rejectionIn(yield* Fiber.await(probe.fiber)).reason, "ProbeTimedOut")
      yield* expectState(state)
    }
    assert.strictEqual((yield* inspect()).cause?.why, "ProbeTimedOut")
  })

  scenario("probes that run at once are all heard, up to the verdict", { ...policy, probes: 3 }, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    const [first, second, third] = [yield* hang(), yield* hang(), yield* hang()]
    yield* first.end(Exit.fail("boom"))
    yield* expectState("HalfOpen")
    yield* second.end(Exit.fail("boom"))
    yield* expectState("Open")
    yield* third.end(Exit.succeed("ok"))
    yield* expectState("Open")
  })

  scenario("the retryAfter of an earlier failed probe is heeded", policy, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    yield* Effect.exit(
      CircuitBreaker.protect(Effect.fail("busy"), "api", {
        classify: () => Outcome.failure({ retryAfter: "1 minute" })
      })
    )
    yield* TestClock.adjust("1 second")
    yield* fail()
    assert.strictEqual(Duration.toSeconds((yield* inspect()).retryAfter), 59)
  })

  /** How often 100 outages that are over are opened again, while a tenth of the calls fail. */
  const reopened = Effect.gen(function* () {
    let seed = 7
    const isFailing = () => {
      seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff
      return seed / 0x7fffffff < 0.1
    }
    let again = 0
    for (let i = 0; i < 100; i++) {
      yield* CircuitBreaker.reset("api")
      yield* CircuitBreaker.open("api")
      for (;;) {
        const { openings, retryAfter, state } = yield* inspect()
        if (state === "Closed") {
          again += openings - 1
          break
        }
        yield* TestClock.adjust(retryAfter)
        if (isFailing()) yield* fail()
        else yield* pass()
      }
    }
    return again
  })

  const tolerances = [
    [1, "150 times or more", (again: number) => again >= 150],
    [5, "3 times at most", (again: number) => again <= 3]
  ] as const
  for (const [failuresToReopen, times, holds] of tolerances) {
    scenario(
      `${failuresToReopen}: at 10 % errors, 100 outages that are over open again ${times}`,
      { trip: Trip.consecutive(100), cooldown: "10 seconds", successesToClose: 10, failuresToReopen },
      function* () {
        const again = yield* reopened
        assert.isTrue(holds(again), `${again}`)
      }
    )
  }
})

describe("HalfOpen ends early when its verdict is certain; excess callers are rejected, never queued", () => {
  scenario(
    "one failure opens at once, while other probes still run",
    { ...quick, probes: 3, successesToClose: 3 },
    function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      const [first, second, third] = [yield* hang(), yield* hang(), yield* hang()]
      yield* first.end(Exit.succeed("ok"))
      yield* second.end(Exit.fail("boom"))
      yield* expectState("Open")
      yield* third.end(Exit.succeed("ok"))
      yield* expectState("Open")
    }
  )

  scenario(
    "callers beyond the probes are rejected with a retryAfter",
    { ...quick, probes: 2, probeTimeout: "400 millis" },
    function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      const first = yield* hang()
      yield* TestClock.adjust("100 millis")
      const second = yield* hang()
      const { detail, reason, retryAfter, state } = yield* reject()
      assert.deepStrictEqual([state, reason, Duration.toMillis(retryAfter)], ["HalfOpen", "ProbesBusy", 300])
      // What opened it is still told.
      assert.strictEqual(detail, "1 failure in a row (limit 1)")
      yield* first.interrupt
      const third = yield* hang()
      yield* reject()
      yield* Effect.forEach([second, third], (probe) => probe.interrupt)
    }
  )
})

scenario(
  "a probe that has lost its lease to another probe changes nothing, nor does its retryAfter",
  { ...quick, mode: "observe", probeTimeout: "1 second" },
  function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    // Nothing interrupts a probe while the policy only observes: its lease goes to another call.
    const answer = yield* Deferred.make<never, { readonly retryAfter: string }>()
    const outlived = yield* Effect.forkDetach(call(Deferred.await(answer)), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    const probe = yield* hang()
    yield* Deferred.fail(answer, { retryAfter: "1 minute" })
    yield* Fiber.await(outlived)
    yield* probe.end(Exit.fail("boom"))
    const { retryAfter, state } = yield* inspect()
    assert.deepStrictEqual([state, Duration.toSeconds(retryAfter)], ["Open", 10])
  }
)

describe("A probe that hangs", () => {
  const policy = { ...quick, probeTimeout: "5 seconds" } as const

  scenario("is interrupted at probeTimeout, and its caller gets ProbeTimedOut", policy, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    const probe = yield* hang()
    yield* TestClock.adjust(4_999)
    assert.strictEqual(probe.fiber.pollUnsafe(), undefined)
    yield* TestClock.adjust(1)
    assert.strictEqual(rejectionIn(yield* Fiber.await(probe.fiber)).reason, "ProbeTimedOut")
    const { inFlight, lastFailures, openings, probing, state, totals } = yield* inspect()
    assert.deepStrictEqual([state, openings, inFlight, probing, totals.failures], ["Open", 2, 0, 0, 2])
    assert.strictEqual(lastFailures.at(-1)?.error, "a probe did not end within 5s")
  })

  for (const late of [Exit.succeed("late"), Exit.fail("late")]) {
    scenario(
      `and cannot be interrupted frees its place in bounded time; its late ${late._tag} changes nothing`,
      policy,
      function* () {
        yield* fail()
        yield* TestClock.adjust("10 seconds")
        const stuck = yield* hang({}, { uninterruptible: true })
        yield* reject()
        yield* TestClock.adjust("30 seconds")
        yield* pass()
        yield* expectState("Closed")
        const { epoch, windows } = yield* inspect()
        assert.strictEqual(rejectionIn(yield* stuck.end(late)).reason, "ProbeTimedOut")
        const after = yield* inspect()
        assert.deepStrictEqual([after.epoch, after.state, after.windows, after.inFlight], [epoch, "Closed", windows, 0])
      }
    )
  }

  scenario("is not interrupted with mode observe", { ...policy, mode: "observe" }, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    const probe = yield* hang()
    yield* TestClock.adjust("1 minute")
    assert.strictEqual((yield* inspect()).probing, 0)
    assert.deepStrictEqual(yield* probe.end(Exit.succeed("slow")), Exit.succeed("slow"))
  })
})

describe("After a close, a ramp lets a growing share through", () => {
  const ramping = { ...quick, ramp: "10 seconds" } as const
  const shareOf = (n: number) =>
    Effect.map(times(n, Effect.exit(call(Effect.void))), (exits) => exits.filter(Exit.isSuccess).length / n)

  scenario("from a tenth to all; the first call passes", ramping, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    yield* pass()
    yield* expectState("Closed")
    yield* pass()
    const { reason, retryAfter, state } = yield* reject()
    assert.deepStrictEqual([reason, state, Duration.toSeconds(retryAfter)], ["Ramping", "Closed", 1])
    const shares: Array<number> = []
    for (let second = 0; second <= 10; second++) {
      shares.push(yield* shareOf(200))
      yield* TestClock.adjust("1 second")
    }
    shares.forEach((share, second) => {
      assert.closeTo(share, Math.min(1, 0.1 + 0.09 * second), 0.011)
    })
    assert.strictEqual(shares[10], 1)
  })

  scenario("a failure opens as it would without", ramping, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    yield* pass()
    yield* fail()
    yield* expectState("Open")
  })

  scenario("an operator's close ramps too, a reset does not", ramping, function* () {
    yield* CircuitBreaker.open("api")
    yield* CircuitBreaker.close("api")
    assert.isBelow(yield* shareOf(50), 0.2)
    yield* CircuitBreaker.reset("api")
    assert.strictEqual(yield* shareOf(50), 1)
  })
})

scenario("A hint of a success before it is forgotten", { ...quick, trip: Trip.consecutive(2) }, function* () {
  const busy = Effect.exit(
    CircuitBreaker.protect(Effect.fail("busy"), "api", { classify: () => Outcome.failure({ retryAfter: "1 minute" }) })
  )
  yield* busy
  yield* pass()
  yield* play("FF")
  assert.strictEqual(Duration.toSeconds((yield* inspect()).retryAfter), 10)
})

scenario(
  "The longest hint of a streak counts, less the time since",
  { ...quick, trip: Trip.consecutive(3) },
  function* () {
    const busy = (retryAfter: Duration.Input) =>
      Effect.exit(
        CircuitBreaker.protect(Effect.fail("busy"), "api", { classify: () => Outcome.failure({ retryAfter }) })
      )
    yield* busy("1 minute")
    yield* TestClock.adjust("20 seconds")
    yield* busy("30 seconds")
    yield* fail()
    assert.strictEqual(Duration.toSeconds((yield* inspect()).retryAfter), 40)
  }
)
