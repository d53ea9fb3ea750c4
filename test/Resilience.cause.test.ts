import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, pipe, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, CircuitOpen, Resilience, Trip } from "effect-fuse"
import { CircuitOpenError, createBreaker, createManager, TimeoutError, trip } from "effect-fuse/promise"
import { full, plain } from "./support/rejections.ts"
import { capture, type Line, quick, rejectionIn, scenario } from "./support/verbs.ts"

const soon = { schedule: Schedule.spaced("1 second"), times: 9, while: () => true } as const
const third = { trip: Trip.consecutive(3), cooldown: "1 minute" } as const

/** The exit of an effect while virtual time passes. */
const ended = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(self, { startImmediately: true })
    yield* TestClock.adjust("50 seconds")
    return yield* Fiber.await(fiber)
  })

/** A call that fails with each of these errors in turn, and then always with the last. */
const failing = (...errors: ReadonlyArray<unknown>) => {
  let n = 0
  return Effect.suspend(() => Effect.fail(errors[Math.min(n++, errors.length - 1)]))
}

describe("A retry that ends because the circuit opened", () => {
  const real = new Error("the real reason", { cause: "the wire" })

  const policies: ReadonlyArray<readonly [what: string, policy: Resilience.Pipeline<CircuitOpen.CircuitOpen, never>]> =
    [
      ["Resilience.standard", Resilience.standard("api", { retry: soon }) as never],
      ["Resilience.retry", Resilience.pipeline(Resilience.breaker("api"), Resilience.retry(soon)) as never],
      [
        "a retry that waits for the circuit, but not long enough",
        Resilience.pipeline(
          Resilience.breaker("api"),
          Resilience.retry({ ...soon, waitForCircuit: "1 second" })
        ) as never
      ],
      [
        "a retry around a retry",
        Resilience.pipeline(Resilience.breaker("api"), Resilience.retry(soon), Resilience.retry(soon)) as never
      ]
    ]

  for (const [what, policy] of policies) {
    scenario(`of ${what} has the last real error as its cause`, third, function* () {
      const error = rejectionIn(yield* ended(policy(failing("first", full, "second", real))))
      assert.strictEqual(error.reason, "Cooldown")
      assert.strictEqual(error.cause, real)
      assert.instanceOf(error, CircuitOpen.CircuitOpen)
    })
  }

  scenario("has no cause if no attempt reached the dependency", quick, function* () {
    yield* CircuitBreaker.open("api", { for: "1 hour" })
    const error = rejectionIn(yield* ended(pipe(Effect.fail("down"), Resilience.standard("api", { retry: soon }))))
    assert.isUndefined(error.cause)
    assert.isFalse("cause" in Object.fromEntries(Object.entries(error)))
  })

  scenario("does not take what another policy rejected for the dependency's error", quick, function* () {
    const open = CircuitOpen.make({ ...plain, circuit: "other" })
    const again = Resilience.retry(soon)
    const error = rejectionIn(yield* ended(pipe(failing(full, open), again)))
    assert.strictEqual(error, open)
    assert.isUndefined(error.cause)
  })

  scenario("keeps the cause that it has already", quick, function* () {
    const open = CircuitOpen.make({ ...plain, circuit: "other", cause: real })
    const error = rejectionIn(yield* ended(pipe(failing("another error", open), Resilience.retry(soon))))
    assert.strictEqual(error.cause, real)
  })

  it("has its cause neither in JSON, nor on the wire, nor in a copy of its fields", () => {
    const error = CircuitOpen.make({ ...plain, cause: { password: "hunter2" } })
    assert.deepStrictEqual(error.cause, { password: "hunter2" })
    assert.notInclude(JSON.stringify(error), "hunter2")
    assert.notInclude(JSON.stringify(Schema.encodeSync(CircuitOpen.CircuitOpen)(error)), "hunter2")
    assert.notInclude(error.message + String(error), "hunter2")
    assert.notInclude(Object.keys(error), "cause")
  })

  scenario("leaves the rejection that another caller has as it is", quick, function* () {
    const shared = CircuitOpen.make(plain)
    const error = rejectionIn(yield* ended(pipe(failing("down", shared), Resilience.retry(soon))))
    assert.strictEqual(error.cause, "down")
    assert.isUndefined(shared.cause)
    assert.deepStrictEqual({ ...error }, { ...shared })
  })
})

describe("Without Effect", () => {
  it("the last real error is the cause of the CircuitOpenError", async () => {
    const errors = ["first", "second", "the real reason"].map((message) => new Error(message))
    let n = 0
    const breaker = createBreaker(
      async () => {
        throw errors[n++]
      },
      { trip: trip.consecutive(3), retry: { times: 5, minDelay: 1, jitter: 0 } }
    )
    const error = await breaker.execute().catch((error: unknown) => error)
    assert.instanceOf(error, CircuitOpenError)
    assert.strictEqual(error.cause, errors[2])
    const next = await breaker.execute().catch((error: unknown) => error)
    assert.instanceOf(next, CircuitOpenError)
    assert.isFalse("cause" in next)
  })

  it("a time-out in the cause is a TimeoutError of the promise face", async () => {
    const manager = createManager()
    const breaker = manager.register("slow", () => new Promise(() => {}), {
      timeout: 5,
      trip: trip.consecutive(2),
      retry: { times: 5, minDelay: 1, jitter: 0 }
    })
    const error = await breaker.execute().catch((error: unknown) => error)
    assert.instanceOf(error, CircuitOpenError)
    assert.instanceOf(error.cause, TimeoutError)
    assert.deepInclude(error.cause, { circuit: "slow", timeout: 5 })
  })
})

describe("The log line of an opening", () => {
  const opening = (lines: ReadonlyArray<Line>) =>
    lines.filter(({ message }) => message.includes("opened")).map(({ message }) => message)

  scenario("names the last failure", third, function* () {
    const lines: Array<Line> = []
    const wire = Object.assign(new Error("connect"), { code: "ECONNREFUSED" })
    const call = failing("first", "second", new TypeError("fetch failed", { cause: wire }))
    yield* capture(lines, ended(pipe(call, Resilience.standard("api", { retry: soon }))))
    assert.deepStrictEqual(opening(lines), [
      'Circuit "api" opened: 3 failures in a row (limit 3); last failure: TypeError: fetch failed (ECONNREFUSED)'
    ])
  })

  scenario(
    "names no failure if slow calls opened the circuit",
    {
      trip: Trip.any(Trip.slowRate({ threshold: 1, minimumCalls: 1, over: "1 minute" }), Trip.consecutive(9)),
      slowCall: "1 second"
    },
    function* () {
      yield* Effect.exit(CircuitBreaker.protect(Effect.fail("long ago"), "api"))
      yield* TestClock.adjust("1 hour")
      const lines: Array<Line> = []
      yield* capture(lines, ended(CircuitBreaker.protect(Effect.sleep("2 seconds"), "api")))
      assert.lengthOf(opening(lines), 1)
      assert.notInclude(opening(lines).join(), "long ago")
    }
  )
})
