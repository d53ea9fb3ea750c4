import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Duration, Effect, Exit, Fiber, pipe, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Deadline, Outcome, Resilience, Trip } from "effect-fuse"
import { failingCall, lasts } from "./support/timing.ts"
import { scenario } from "./support/verbs.ts"

const millis = Effect.map(Deadline.remaining, Duration.toMillis)

/** Runs an effect that fails. Returns its error and its duration in milliseconds. */
const ended = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const began = yield* Clock.currentTimeMillis
    const fiber = yield* Effect.forkChild(
      Effect.flatMap(Effect.exit(self), (exit) => Effect.map(Clock.currentTimeMillis, (now) => ({ exit, now })))
    )
    yield* TestClock.adjust("1 day")
    const { exit, now } = yield* Fiber.join(fiber)
    return { took: now - began, error: Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined }
  })

const kindOf = (error: unknown) =>
  Deadline.isDeadlineExceeded(error) ? "deadline" : Cause.isTimeoutError(error) ? "timeout" : error

describe("within", () => {
  it.effect("without a deadline, the remaining time is infinite, and the attempt is 1", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Deadline.remaining, Duration.infinity)
      assert.strictEqual(yield* Deadline.attempt, 1)
    })
  )

  it.effect("the remaining time shrinks as time passes", () =>
    Effect.gen(function* () {
      const both = Deadline.within(Effect.all([millis, Effect.andThen(Effect.sleep("1 second"), millis)]), "3 seconds")
      const fiber = yield* Effect.forkChild(both)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [3_000, 2_000])
    })
  )

  it.effect("interrupts the effect at the deadline, and fails with a TimeoutError that names the deadline", () =>
    Effect.gen(function* () {
      let interrupted = false
      const hanging = Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          interrupted = true
        })
      )
      const { error, took } = yield* ended(pipe(hanging, Deadline.within("3 seconds")))
      assert.deepStrictEqual([kindOf(error), took, interrupted], ["deadline", 3_000, true])
      assert.include(String(error), "The deadline of '3s' is over")
    })
  )

  it.effect.prop(
    "if deadlines are nested, the earliest applies",
    [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5_000 })))],
    ([durations]) =>
      Effect.gen(function* () {
        const nested = (inner: Effect.Effect<never, Cause.TimeoutError>) =>
          durations.reduce((self, millis) => Deadline.within(self, millis), inner)
        let left = 0
        const seen = Effect.andThen(
          Effect.map(millis, (n) => {
            left = n
          }),
          Effect.never
        )
        const { took } = yield* ended(Deadline.within(nested(seen), 4_000))
        const least = Math.min(4_000, ...durations)
        assert.deepStrictEqual([left, took], [least, least])
      })
  )

  it.effect.each([
    ["timeout", Resilience.timeout("1 second")],
    ["within", Deadline.within("1 second")]
  ] as const)("after the deadline, a call in a detached fiber does not start: %s", ([, around]) =>
    Effect.gen(function* () {
      let calls = 0
      const call = around(Effect.sync(() => calls++))
      const late = Effect.andThen(Effect.sleep("2 seconds"), Effect.exit(call))
      const fiber = yield* Deadline.within(Effect.forkDetach(late), "1 second")
      yield* TestClock.adjust("2 seconds")
      const exit = yield* Fiber.join(fiber)
      assert.strictEqual(kindOf(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined), "deadline")
      assert.strictEqual(calls, 0)
    })
  )

  it.effect.each([0, -1, Duration.zero, Duration.negate(Duration.seconds(1)), Duration.negativeInfinity])(
    "a computed duration of %s fails at once and does not run the effect",
    (over) =>
      Effect.gen(function* () {
        let ran = false
        const error = yield* Effect.flip(
          Deadline.within(
            Effect.sync(() => {
              ran = true
            }),
            over
          )
        )
        assert.deepStrictEqual([kindOf(error), ran, error.message], ["deadline", false, "The deadline is over"])
      })
  )

  it.effect("accepts the result of `remaining`: an infinite duration sets no deadline", () =>
    Effect.gen(function* () {
      const outside = yield* Deadline.remaining
      assert.deepStrictEqual(yield* Deadline.within(Deadline.remaining, outside), Duration.infinity)
      const inside = Deadline.within(Deadline.remaining, Duration.infinity)
      assert.deepStrictEqual(yield* Deadline.within(inside, "3 seconds"), Duration.seconds(3))
    })
  )

  it("throws an error that names the field if a value is not a duration", () => {
    for (const wrong of [Number.NaN, "soon", undefined, {}]) {
      assert.throws(() => Deadline.within(Effect.void, wrong as never), RangeError, /^Deadline\.within: duration: /)
    }
  })
})

describe("a timeout", () => {
  it.effect.each([
    { own: 1_000, deadline: 3_000, kind: "timeout", took: 1_000 },
    { own: 3_000, deadline: 1_000, kind: "deadline", took: 1_000 }
  ])("of $own ms with a deadline of $deadline ms: the $kind interrupts the call", ({ deadline, kind, own, took }) =>
    Effect.gen(function* () {
      const end = yield* ended(Deadline.within(pipe(Effect.never, Resilience.timeout(own)), deadline))
      assert.deepStrictEqual([kindOf(end.error), end.took], [kind, took])
    })
  )

  it.effect("rounds the deadline to whole milliseconds in its error", () =>
    Effect.gen(function* () {
      const hanging = pipe(Effect.never, Resilience.timeout("10 seconds"))
      const inner = yield* ended(Deadline.within(hanging, Duration.micros(49_966n)))
      assert.include(String(inner.error), "Operation timed out after '50ms', at the deadline of the caller")
      const outer = yield* ended(Deadline.within(Effect.never, Duration.micros(49_966n)))
      assert.include(String(outer.error), "The deadline of '50ms' is over")
    })
  )
})

describe("a retry", () => {
  const retry = Resilience.retry({ times: 10, schedule: Schedule.spaced("1 second") })

  it.effect("does not start if its delay does not fit, and the call fails with its last error", () =>
    Effect.gen(function* () {
      const { between, call } = failingCall()
      const { error, took } = yield* ended(Deadline.within(retry(call), "3500 millis"))
      assert.deepStrictEqual([error, took, between()], ["boom", 3_000, [1_000, 1_000, 1_000]])
    })
  )

  it.effect("numbers its attempts", () =>
    Effect.gen(function* () {
      const attempts: Array<number> = []
      const call = Effect.andThen(
        Effect.map(Deadline.attempt, (n) => attempts.push(n)),
        Effect.fail("boom")
      )
      yield* ended(Deadline.within(retry(call), "3500 millis"))
      assert.deepStrictEqual(attempts, [1, 2, 3, 4])
    })
  )

  it.effect("inside another retry, repeats the call only during the first attempt of the outer retry", () =>
    Effect.gen(function* () {
      const { between, call } = failingCall()
      const two = Resilience.retry({ times: 2, schedule: Schedule.spaced("1 second") })
      yield* ended(Deadline.within(two(two(call)), "1 hour"))
      assert.strictEqual(between().length + 1, 5)
    })
  )

  it.effect("without a deadline, nested retries multiply", () =>
    Effect.gen(function* () {
      const { between, call } = failingCall()
      const two = Resilience.retry({ times: 2, schedule: Schedule.spaced("1 second") })
      yield* ended(two(two(call)))
      assert.strictEqual(between().length + 1, 9)
    })
  )

  it.effect.each([
    { left: 1_900, attempts: 1 },
    { left: 2_200, attempts: 2 }
  ])("needs its delay and the median of the circuit: with $left ms, $attempts attempt(s)", ({ attempts, left }) =>
    Effect.gen(function* () {
      const resilient = Resilience.standard("api", { retry: { times: 1, schedule: Schedule.spaced("1 second") } })
      const healthy = resilient(Effect.sleep("1 second"))
      for (let i = 0; i < 10; i++) yield* lasts(Deadline.within(healthy, "10 seconds"))
      const { between, call } = failingCall()
      const { error } = yield* ended(Deadline.within(resilient(call), left))
      assert.deepStrictEqual([error, between().length + 1], ["boom", attempts])
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  it.effect("waits for a circuit no longer than the deadline allows", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("api", { for: "10 seconds" })
      const call = pipe(
        Effect.succeed("up"),
        CircuitBreaker.protect("api"),
        Resilience.retry({ waitForCircuit: "1 minute" })
      )
      const { error, took } = yield* ended(Deadline.within(call, "5 seconds"))
      assert.strictEqual((error as { readonly _tag: string })._tag, "CircuitOpen")
      assert.strictEqual(took, 0)
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  it.effect.each([
    ["x-envoy-overloaded", "true", 1],
    ["x-should-retry", "false", 1],
    ["x-should-retry", "true", 3]
  ] as const)("of a response with %s: %s makes %i attempt(s)", ([name, value, attempts]) =>
    Effect.gen(function* () {
      let calls = 0
      const call = Effect.suspend(() => {
        calls++
        return Effect.fail({ response: { status: 503, headers: { [name]: value } } })
      })
      yield* ended(Resilience.retry()(call))
      assert.strictEqual(calls, attempts)
    })
  )
})

describe("a hedge", () => {
  const copies = (deadline: number, attempt: "first" | "second") =>
    Effect.gen(function* () {
      let calls = 0
      const call = Effect.suspend(() => {
        calls++
        return Effect.never
      })
      const hedged = Resilience.hedge({ after: "1 second" })(call)
      let failed = attempt === "first"
      const flaky = Effect.suspend(() => {
        if (failed) return hedged
        failed = true
        return Effect.fail("boom")
      })
      yield* ended(Deadline.within(Resilience.retry({ schedule: Schedule.spaced(1) })(flaky), deadline))
      return calls
    })

  it.effect("starts no copy if the remaining time is too short, or while a caller retries", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* copies(3_000, "first"), 2)
      assert.strictEqual(yield* copies(900, "first"), 1)
      assert.strictEqual(yield* copies(3_000, "second"), 1)
    })
  )
})

describe("a hedge with a budget", () => {
  it.effect.each([
    { left: 1_900, copies: 1 },
    { left: 2_200, copies: 2 }
  ])("starts a copy if its delay and the median of the circuit fit: with $left ms, $copies", ({ copies, left }) =>
    Effect.gen(function* () {
      let calls = 0
      let millis = 1_000
      const call = CircuitBreaker.protect(
        Effect.suspend(() => {
          calls++
          return Effect.sleep(millis)
        }),
        "api"
      )
      for (let i = 0; i < 10; i++) yield* lasts(Deadline.within(call, "1 minute"))
      calls = 0
      millis = 60_000
      const hedged = Resilience.hedge({ after: "1 second", budget: "api" })(call)
      yield* lasts(Deadline.within(hedged, left))
      assert.strictEqual(calls, copies)
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )
})

describe("a call that the deadline interrupts", () => {
  const policy = { trip: Trip.consecutive(1_000) }
  const counts = Effect.map(CircuitBreaker.inspect("api"), ({ totals }) => [totals.failures, totals.ignored])
  const pipelines = {
    protect: (call: Effect.Effect<unknown>) => CircuitBreaker.protect(call, "api"),
    timeout: (call: Effect.Effect<unknown>) =>
      pipe(call, Resilience.timeout("1 minute"), CircuitBreaker.protect("api")),
    standard: Resilience.standard("api", { retry: false, timeout: "1 minute" }),
    "a timeout that becomes a defect": (call: Effect.Effect<unknown>) =>
      pipe(call, Resilience.timeout("1 minute"), Effect.orDie, CircuitBreaker.protect("api")),
    "a timeout that becomes another error": (call: Effect.Effect<unknown>) =>
      pipe(
        call,
        Resilience.timeout("1 minute"),
        Effect.mapError(() => "slow"),
        CircuitBreaker.protect("api")
      ),
    "a timeout that becomes an answer": (call: Effect.Effect<unknown>) =>
      pipe(
        call,
        Resilience.timeout("1 minute"),
        Effect.orElseSucceed(() => 503),
        CircuitBreaker.protect("api", {
          classify: (exit) => (Exit.isSuccess(exit) && exit.value === 503 ? Outcome.failure() : Outcome.success)
        })
      )
  }
  const cases = [
    { usual: undefined, deadline: 499, failures: 0 },
    { usual: undefined, deadline: 500, failures: 1 },
    { usual: 20, deadline: 39, failures: 0 },
    { usual: 20, deadline: 50, failures: 1 },
    { usual: 3_000, deadline: 5_000, failures: 0 },
    { usual: 3_000, deadline: 6_000, failures: 1 }
  ]
  type Under = (call: Effect.Effect<unknown>) => Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
  for (const [name, under] of Object.entries<Under>(pipelines)) {
    it.effect.each(cases)(
      `of ${name}: after $deadline ms, if calls usually take $usual ms, counts as $failures Failures`,
      ({ deadline, failures, usual }) =>
        Effect.gen(function* () {
          if (usual !== undefined) {
            for (let i = 0; i < 10; i++) yield* lasts(Deadline.within(under(Effect.sleep(usual)), "1 minute"))
          }
          yield* lasts(Deadline.within(under(Effect.never), deadline))
          assert.deepStrictEqual(yield* counts, [failures, 1 - failures])
        }).pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(BreakerPolicy.layer({ default: policy })))
    )
  }

  scenario("is judged without its waiting time in a bulkhead", policy, function* () {
    const one = Resilience.standard("api", { retry: false, bulkhead: { concurrency: 1, queue: 10 } })
    const late = (call: Effect.Effect<unknown>) => Effect.exit(Deadline.within(one(call), "1 second"))
    // After the first call, the second call has 400 milliseconds left, and the third call has 0.
    yield* lasts(Effect.all([Effect.sleep("600 millis"), Effect.never, Effect.never].map(late), { concurrency: 3 }))
    assert.deepStrictEqual(yield* counts, [0, 2])
    // After the first call, the second call has 600 milliseconds left.
    yield* lasts(Effect.all([Effect.sleep("400 millis"), Effect.never].map(late), { concurrency: 2 }))
    assert.deepStrictEqual(yield* counts, [1, 2])
  })

  scenario("is a Success if its timeout becomes an answer that counts as a Success", policy, function* () {
    const call = pipe(
      Effect.never,
      Resilience.timeout("1 minute"),
      Effect.orElseSucceed(() => "cached"),
      CircuitBreaker.protect("api")
    )
    yield* lasts(Deadline.within(call, "50 millis"))
    assert.strictEqual((yield* CircuitBreaker.inspect("api")).totals.successes, 1)
  })

  scenario("is a Failure if it fails before the deadline", policy, function* () {
    yield* lasts(Deadline.within(pipelines.protect(Effect.delay(Effect.die("down"), "30 millis")), "50 millis"))
    assert.deepStrictEqual(yield* counts, [1, 0])
  })

  scenario("is Ignored if its caller was interrupted before the deadline", policy, function* () {
    const fiber = yield* Effect.forkChild(Deadline.within(pipelines.protect(Effect.never), "1 minute"))
    yield* TestClock.adjust("50 seconds")
    yield* Fiber.interrupt(fiber)
    assert.deepStrictEqual(yield* counts, [0, 1])
  })

  scenario(
    "opens the circuit of a hung dependency even if all callers have deadlines",
    { trip: Trip.consecutive(5) },
    function* () {
      for (let i = 0; i < 5; i++) {
        const fiber = yield* Effect.forkChild(
          Effect.exit(Deadline.within(pipelines.standard(Effect.never), "1 second"))
        )
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
      }
      assert.strictEqual(yield* CircuitBreaker.state("api"), "Open")
    }
  )

  scenario("frees its probe slot", { trip: Trip.consecutive(1), cooldown: "10 seconds" }, function* () {
    yield* Effect.exit(pipelines.standard(Effect.die("down")))
    yield* TestClock.adjust("10 seconds")
    yield* lasts(Deadline.within(pipelines.standard(Effect.never), "100 millis"))
    assert.strictEqual(yield* pipelines.standard(Effect.succeed("up")), "up")
  })
})
