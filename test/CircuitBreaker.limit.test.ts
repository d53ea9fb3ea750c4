import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, CircuitPool, Outcome, Resilience, Trip } from "effect-fuse"
import {
  fail,
  type Hanging,
  hang,
  inspect,
  pass,
  recordEvents,
  reject,
  rejectionIn,
  scenario,
  start,
  times
} from "./support/verbs.ts"

const never = Trip.failures({ atLeast: 100_000, of: "1 minute" })
const limited: BreakerPolicy.Input = { limit: true, trip: never }

const timedOut = Exit.fail("late") as Exit.Exit<string, string>
const endAll = (calls: ReadonlyArray<Hanging>, exit: Exit.Exit<string, string>) =>
  Effect.forEach(calls, ({ end }) => end(exit))

/** A call that takes `millis`, and then ends with `end`. */
const lasting = (millis: number, end: Effect.Effect<unknown, unknown> = Effect.void, key?: string) =>
  Effect.exit(CircuitBreaker.protect(Effect.andThen(Effect.sleep(millis), end), "api", { key }))

const timeout = Effect.fail(new Cause.TimeoutError("too late"))

/** Starts `n` calls at once. Each call lasts `millis`. Returns their exits. */
const burst = (n: number, millis: number, end?: Effect.Effect<unknown, unknown>, key?: string) =>
  Effect.gen(function* () {
    const fibers = yield* times(n, start(lasting(millis, end, key)))
    yield* TestClock.adjust(millis)
    return yield* Effect.forEach(fibers, Fiber.join)
  })

/** Makes healthy calls, and then twenty calls that time out together: a limit of 10 or less begins. */
const overload = (key?: string, calls = 20) =>
  Effect.andThen(
    Effect.repeat(burst(1, 40, Effect.void, key), { times: 9 }),
    Effect.andThen(burst(calls, 1_000, timeout, key), inspect({ key }))
  )

const reasons = (exits: ReadonlyArray<Exit.Exit<unknown, unknown>>) =>
  exits.filter(Exit.isFailure).map((exit) => rejectionIn(exit).reason)

describe("a limit", () => {
  scenario("rejects no call without evidence of overload", limited, function* () {
    const calls = yield* times(300, hang())
    assert.strictEqual((yield* inspect()).limit, undefined)
    yield* endAll(calls, Exit.succeed("ok"))
  })

  scenario("begins when calls time out, and then rejects the calls in excess of it", limited, function* () {
    const { limit, state } = yield* overload()
    assert.strictEqual(state, "Closed")
    assert.isAtLeast(limit ?? 0, 1)
    assert.isAtMost(limit ?? 0, 10)
    yield* TestClock.adjust("6 seconds")
    const calls = yield* times(limit ?? 0, hang())
    const { message, reason, retryAfter, state: found } = yield* reject()
    assert.deepStrictEqual([reason, found], ["Limited", "Closed"])
    assert.match(message, /^Circuit "api" admits no more calls now because of its limit, retry after \d+ms$/)
    assert.isAtLeast(Duration.toMillis(retryAfter), 50)
    assert.isAtMost(Duration.toMillis(retryAfter), 150)
    yield* endAll(calls.slice(0, 1), Exit.succeed("ok"))
    // The call ended and freed one slot. Its success raised the limit by 0 or 1.
    yield* hang()
    const { limit: grown = 0 } = yield* inspect()
    assert.include([limit, (limit ?? 0) + 1], grown)
    yield* times(grown - (limit ?? 0), hang())
    yield* reject()
  })

  const errors: Readonly<Record<string, [boolean, unknown]>> = {
    "the timeout error of Effect": [true, new Cause.TimeoutError()],
    "the error of AbortSignal.timeout": [true, new DOMException("too late", "TimeoutError")],
    ETIMEDOUT: [true, Object.assign(new Error("connect"), { code: "ETIMEDOUT" })],
    "an error whose cause is a timeout": [true, new Error("query failed", { cause: new Cause.TimeoutError() })],
    "an error with status 429": [true, { status: 429 }],
    "an error with statusCode 503": [true, { statusCode: 503 }],
    "an error whose response has status 503": [true, { response: { status: 503 } }],
    "an error of an SDK whose $response has statusCode 429": [true, { $response: { statusCode: 429 } }],
    "status 500": [false, { status: 500 }],
    "status 504": [false, { status: 504 }],
    "any other error": [false, new Error("no such table")],
    "a text": [false, "timeout"],
    nothing: [false, undefined]
  }
  for (const [name, [begins, error]] of Object.entries(errors)) {
    scenario(`${begins ? "begins" : "does not begin"} after failures with ${name}`, limited, function* () {
      yield* burst(20, 30, Effect.fail(error))
      assert.strictEqual((yield* inspect()).limit !== undefined, begins)
    })
  }

  const outcomes: Readonly<Record<string, [boolean, Outcome.Outcome, unknown]>> = {
    "overload: true": [true, Outcome.failure({ overload: true }), "plain"],
    "overload: false, whatever the error is": [false, Outcome.failure({ overload: false }), new Cause.TimeoutError()],
    "no overload, but a timeout as the error": [true, Outcome.failure(), new Cause.TimeoutError()],
    "no overload and a plain error": [false, Outcome.failure(), "plain"],
    "a success": [false, Outcome.success, new Cause.TimeoutError()],
    Ignored: [false, Outcome.ignored, new Cause.TimeoutError()]
  }
  for (const [name, [begins, outcome, error]] of Object.entries(outcomes)) {
    scenario(
      `${begins ? "begins" : "does not begin"} after calls that are classified as ${name}`,
      limited,
      function* () {
        const call = CircuitBreaker.protect(Effect.fail(error), "api", { classify: () => outcome })
        yield* times(20, Effect.exit(call))
        assert.strictEqual((yield* inspect()).limit !== undefined, begins)
      }
    )
  }

  scenario("begins after calls that are admitted and settled in two steps", limited, function* () {
    const permits = yield* times(20, CircuitBreaker.admit("api"))
    yield* Effect.forEach(permits, (permit) => CircuitBreaker.settle(permit, Outcome.failure({ overload: true })))
    assert.isAtMost((yield* inspect()).limit ?? Infinity, 10)
  })

  scenario("does not change after interrupted calls, which make room for others", limited, function* () {
    const { limit = 0 } = yield* overload()
    yield* TestClock.adjust("6 seconds")
    const calls = yield* times(limit, hang())
    yield* reject()
    yield* Effect.forEach(calls, ({ interrupt }) => interrupt)
    const after = yield* inspect()
    assert.deepStrictEqual([after.limit, after.inFlight], [limit, 0])
    yield* times(limit, hang())
    yield* reject()
  })

  scenario("grows with successes, and ends after 10 seconds without a rejection", limited, function* () {
    const events = yield* recordEvents
    const { limit = 0 } = yield* overload()
    yield* TestClock.adjust("6 seconds")
    yield* Effect.repeat(burst(1, 40), { times: 300 })
    assert.strictEqual((yield* inspect()).limit, undefined)
    const found = (yield* events).filter(({ _tag }) => _tag !== "Transition")
    assert.deepStrictEqual(
      found.map(({ _tag }) => _tag),
      ["LimitBegan", "LimitEnded"]
    )
    const [began, ended] = found
    assert.isTrue(began?._tag === "LimitBegan" && began.why === "Overload" && began.limit >= limit)
    assert.isTrue(ended?._tag === "LimitEnded" && ended.lastedMillis > 10_000)
  })

  scenario("has a fixed bound at any time, if `max` is set", { ...limited, limit: { max: 3 } }, function* () {
    assert.strictEqual((yield* inspect()).limit, 3)
    const [first] = yield* times(3, hang())
    assert.strictEqual((yield* reject()).reason, "Limited")
    yield* first?.end(Exit.succeed("ok")) ?? Effect.void
    yield* hang()
  })

  scenario(
    "begins after late successes, if `objective` is set",
    { ...limited, limit: { objective: "200 millis" } },
    function* () {
      yield* burst(20, 199)
      assert.strictEqual((yield* inspect()).limit, undefined)
      yield* burst(20, 201)
      assert.isNumber((yield* inspect()).limit)
    }
  )

  scenario("applies to one key", limited, function* () {
    assert.isNumber((yield* overload("a")).limit)
    const calls = yield* times(50, hang({ key: "b" }))
    yield* endAll(calls, Exit.succeed("ok"))
  })

  scenario(
    "of a dependency does not block the circuits that need it",
    { breakers: { api: limited, shop: { dependsOn: ["api"] } } },
    function* () {
      yield* overload()
      yield* pass({ name: "shop" })
    }
  )

  scenario("of calls that hang does not reject for ever", limited, function* () {
    const { limit = 0 } = yield* overload()
    yield* TestClock.adjust("6 seconds")
    yield* times(limit, hang())
    yield* TestClock.adjust("10 seconds")
    yield* reject()
    yield* times(limit, hang())
    yield* reject()
  })
})

describe("the circuit of a policy with a limit", () => {
  const policy: BreakerPolicy.Input = { limit: true, trip: Trip.consecutive(5) }

  scenario("does not open after timeouts if a call has succeeded within 10 seconds", policy, function* () {
    yield* pass()
    for (let i = 0; i < 9; i++) {
      yield* burst(3, 1_000, timeout)
      assert.strictEqual((yield* inspect()).state, "Closed")
    }
  })

  scenario("opens after timeouts if no call succeeds for 10 seconds", policy, function* () {
    const events = yield* recordEvents
    yield* pass()
    for (let i = 0; i < 60; i++) yield* burst(1, 1_000, timeout)
    const [opened] = (yield* events).filter((event) => event._tag === "Transition")
    assert.deepStrictEqual([opened?.why, opened?.detail], ["Tripped", "5 failures in a row (limit 5)"])
    // A rest before each of the failures lasts at most 5 seconds.
    assert.isAtLeast(opened?.at ?? 0, 14_000)
    assert.isAtMost(opened?.at ?? Infinity, 40_000)
  })

  scenario("opens after plain failures in a row only if the streak has lasted a second", policy, function* () {
    yield* pass()
    yield* times(20, fail())
    assert.strictEqual((yield* inspect()).state, "Closed")
    yield* TestClock.adjust(999)
    yield* fail()
    assert.strictEqual((yield* inspect()).state, "Closed")
    yield* TestClock.adjust(1)
    yield* fail()
    assert.strictEqual((yield* inspect()).state, "Open")
  })

  scenario("opens at a failure rate as without a limit", { limit: true }, function* () {
    yield* times(10, pass())
    yield* times(10, fail())
    assert.strictEqual((yield* inspect()).state, "Open")
  })

  scenario(
    "stays open for 5 seconds, and then its limit begins with the number of probes",
    { ...policy, probes: 2 },
    function* () {
      const events = yield* recordEvents
      yield* CircuitBreaker.open("api")
      assert.strictEqual(Duration.toMillis((yield* inspect()).retryAfter), 5_000)
      assert.strictEqual((yield* inspect()).limit, undefined)
      yield* TestClock.adjust("5 seconds")
      yield* pass()
      assert.strictEqual((yield* inspect()).limit, 2)
      const calls = yield* times(2, hang())
      assert.strictEqual((yield* reject()).reason, "Limited")
      yield* endAll(calls, Exit.succeed("ok"))
      yield* TestClock.adjust("11 seconds")
      yield* pass()
      assert.deepStrictEqual(
        (yield* events).map((event) => (event._tag === "Transition" ? event.to : event._tag)),
        ["Open", "HalfOpen", "Closed", "LimitBegan", "LimitEnded"]
      )
    }
  )

  scenario("does not count calls that began before it closed", policy, function* () {
    yield* times(30, hang())
    yield* CircuitBreaker.open("api", { for: "1 second" })
    yield* TestClock.adjust("1 second")
    yield* pass()
    yield* hang()
    yield* reject()
    assert.strictEqual((yield* inspect()).inFlight, 31)
  })

  scenario(
    "waits as long as the dependency asks after five refusals in a row, but at most `maxCooldown`",
    { ...limited, maxCooldown: "20 seconds" },
    function* () {
      yield* CircuitBreaker.open("api")
      yield* TestClock.adjust("5 seconds")
      yield* pass()
      yield* TestClock.adjust("2 minutes")
      for (let i = 0; i < 5; i++) {
        yield* TestClock.adjust("6 seconds")
        yield* lasting(0, Effect.fail({ status: 503, retryAfter: "1 minute" }))
      }
      const rest = Duration.toMillis((yield* inspect()).retryAfter)
      assert.isAtLeast(rest, 20_050)
      assert.isAtMost(rest, 20_150)
    }
  )

  scenario("is in its initial state after a reset", policy, function* () {
    yield* overload()
    yield* CircuitBreaker.reset("api")
    assert.strictEqual((yield* inspect()).limit, undefined)
    yield* times(100, hang())
  })

  scenario("is healthy while its calls are limited", policy, function* () {
    const { limit = 0 } = yield* overload()
    yield* TestClock.adjust("6 seconds")
    yield* times(limit, hang())
    yield* reject()
    yield* CircuitBreaker.awaitClosed("api")
    assert.strictEqual((yield* inspect()).state, "Closed")
  })
})

describe("in mode observe", () => {
  scenario("a limit rejects no call, and reports what it would reject", { ...limited, mode: "observe" }, function* () {
    const events = yield* recordEvents
    const { limit = 0 } = yield* overload()
    yield* TestClock.adjust("6 seconds")
    yield* times(limit + 5, hang())
    const { inFlight, totals } = yield* inspect()
    assert.deepStrictEqual([inFlight, totals.rejected, totals.wouldReject], [limit, 0, 5])
    const [began] = (yield* events).filter(({ _tag }) => _tag === "LimitBegan")
    assert.strictEqual(began !== undefined && "mode" in began && began.mode, "observe")
  })

  scenario("a limit does not end while it would reject calls", { ...limited, mode: "observe" }, function* () {
    yield* overload()
    for (let second = 0; second < 11; second++) {
      yield* burst(100, 40)
      yield* TestClock.adjust(960)
    }
    assert.isNumber((yield* inspect()).limit)
  })
})

describe("a policy that is reloaded", () => {
  const reloaded = (first: BreakerPolicy.Input, second: BreakerPolicy.Input) => {
    let current = first
    return BreakerPolicy.layerReloading(
      Effect.sync(() => {
        const settings = { default: current }
        current = second
        return settings
      })
    )
  }
  const scenarios = <E>(
    name: string,
    first: BreakerPolicy.Input,
    second: BreakerPolicy.Input,
    body: () => Generator<Effect.Effect<unknown, E, BreakerStore.BreakerStore>, void, never>
  ) =>
    it.effect(
      name,
      () =>
        Effect.gen(body).pipe(
          Effect.scoped,
          Effect.provide(BreakerStore.layerMemory),
          Effect.provide(reloaded(first, second))
        ) as Effect.Effect<void, E | BreakerPolicy.PolicyError>
    )

  scenarios(
    "changes the rules of a limit, but not the limit itself",
    limited,
    { ...limited, limit: { max: 2 } },
    function* () {
      const { limit = 0 } = yield* overload(undefined, 100)
      assert.isAbove(limit, 2)
      yield* TestClock.adjust("6 seconds")
      const calls = yield* times(3, hang())
      yield* BreakerPolicy.reload
      assert.deepStrictEqual([(yield* inspect()).limit, (yield* inspect()).inFlight], [2, 3])
      yield* reject()
      yield* endAll(calls.slice(0, 2), Exit.succeed("ok"))
      yield* hang()
    }
  )

  scenarios("ends a limit if it has none", limited, { trip: never }, function* () {
    const events = yield* Effect.scoped(recordEvents)
    yield* overload()
    yield* BreakerPolicy.reload
    assert.strictEqual((yield* inspect()).limit, undefined)
    yield* times(100, hang())
    yield* events
  })

  scenarios("can begin to have a limit", { trip: never }, limited, function* () {
    const calls = yield* times(20, hang())
    yield* BreakerPolicy.reload
    yield* inspect()
    yield* Effect.forEach(calls, ({ end }) => end(timedOut))
    yield* burst(20, 1_000, timeout)
    assert.isNumber((yield* inspect()).limit)
  })
})

describe("callers that wait for a circuit with a limit", () => {
  const waiting = (n: number, takes: number) =>
    Effect.gen(function* () {
      const call = Resilience.pipeline(
        Resilience.breaker("api"),
        Resilience.retry({ times: 0, waitForCircuit: "5 minutes" })
      )
      let inFlight = 0
      const seen = { began: [] as Array<number>, most: 0 }
      const fibers = yield* Effect.forEach(
        Array.from({ length: n }, (_, i) => i),
        (i) =>
          start(
            call(
              Effect.suspend(() => {
                seen.began.push(i)
                inFlight++
                seen.most = Math.max(seen.most, inFlight)
                return Effect.ensuring(
                  Effect.sleep(takes),
                  Effect.sync(() => {
                    inFlight--
                  })
                )
              })
            )
          )
      )
      return { fibers, seen }
    })

  scenario(
    "start as soon as other calls end, the oldest first, and never more at once than the limit",
    { limit: { max: 4 } },
    function* () {
      const { fibers, seen } = yield* waiting(60, 40)
      // 15 times 4 calls of 40 milliseconds. A line that only looked every 50 milliseconds would need longer.
      for (let i = 0; i < 69; i++) yield* TestClock.adjust(10)
      assert.strictEqual(seen.began.length, 60)
      assert.deepStrictEqual(
        seen.began,
        Array.from({ length: 60 }, (_, i) => i)
      )
      assert.strictEqual(seen.most, 4)
      for (const fiber of fibers) assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
    }
  )

  scenario("all start after a close, as the limit grows", { limit: true }, function* () {
    yield* CircuitBreaker.open("api", { for: "10 seconds" })
    const { fibers, seen } = yield* waiting(200, 40)
    yield* TestClock.adjust("9 seconds")
    assert.strictEqual(seen.began.length, 0)
    for (let i = 0; i < 200; i++) yield* TestClock.adjust(50)
    assert.strictEqual(seen.began.length, 200)
    for (const fiber of fibers) assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
  })
})

describe("a batch of calls", () => {
  scenario("rejects only the calls above the limit", { limit: { max: 3 } }, function* () {
    const fiber = yield* start(
      CircuitBreaker.forEach([1, 2, 3, 4, 5], (n) => Effect.as(Effect.sleep(10), n), {
        name: "api",
        concurrency: "unbounded"
      })
    )
    yield* TestClock.adjust(10)
    const exits = yield* Fiber.join(fiber)
    assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, true, true, false, false])
    assert.deepStrictEqual(reasons(exits), ["Limited", "Limited"])
    yield* pass()
  })
})

describe("a pool of members with limits", () => {
  scenario(
    "chooses a member below its limit, and rejects a call only if all members are at their limits",
    {},
    function* () {
      const pool = CircuitPool.make("hosts", { members: ["a", "b"], choose: "inOrder", policy: { limit: { max: 1 } } })
      const call = CircuitPool.call(pool, (member) => Effect.as(Effect.sleep(10), member))
      const fibers = yield* times(3, start(Effect.exit(call)))
      yield* TestClock.adjust(10)
      const exits = yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(
        // Which of two equal members is chosen first is random.
        exits
          .filter(Exit.isSuccess)
          .map(({ value }) => value)
          .sort(),
        ["a", "b"]
      )
      assert.deepStrictEqual(reasons(exits), ["Limited"])
    }
  )
})
