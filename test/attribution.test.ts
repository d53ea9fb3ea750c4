import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit } from "effect"
import { type BreakerStore, BulkheadFull, CircuitBreaker, CircuitOpen, Resilience, Trip } from "effect-fuse"
import { createBreaker, trip } from "effect-fuse/promise"
import { inspect, scenario } from "./support/verbs.ts"

const open = CircuitOpen.make({
  circuit: "theirs",
  key: undefined,
  state: "Open",
  scope: "local",
  reason: "Cooldown",
  retryAfter: Duration.seconds(1),
  openings: 1,
  downSince: undefined,
  dependency: undefined,
  detail: undefined
})

/** Errors of the user's own code whose classes are those that policies raise. */
const errors: ReadonlyArray<readonly [what: string, error: Error]> = [
  ["a TimeoutError of Effect", new Cause.TimeoutError("the user's own")],
  ["a BulkheadFull", BulkheadFull.make({ bulkhead: "theirs", concurrency: 1, queue: 0 })],
  ["a CircuitOpen", open],
  ["a CircuitOpen of a probe that timed out", CircuitOpen.make({ ...open, circuit: "api", reason: "ProbeTimedOut" })]
]

describe("In the promise face an error of the function's own stays as it is:", () => {
  for (const [what, error] of errors) {
    const fn = async () => {
      throw error
    }
    const ends = (options: object) =>
      createBreaker(fn, { name: "api", trip: trip.consecutive(100), ...options })
        .execute()
        .then(
          () => assert.fail("expected a rejection"),
          (caught: unknown) => caught
        )

    const around: ReadonlyArray<readonly [what: string, options: object]> = [
      ["without a timeout", { timeout: false }],
      ["with a timeout", { timeout: "1 minute" }],
      ["in a bulkhead", { bulkhead: { concurrency: 1 } }],
      ["with retries", { retry: { times: 2, minDelay: 1 } }],
      ["while it waits for its circuit", { retry: { times: 0, waitForCircuit: "1 minute" } }]
    ]
    for (const [how, options] of around) {
      it(`${what}, ${how}`, async () => {
        assert.strictEqual(await ends(options), error)
      })
    }

    it(`${what}, for retry.while`, async () => {
      const seen: Array<unknown> = []
      const again = (one: unknown) => seen.push(one) > 0
      assert.strictEqual(await ends({ retry: { times: 2, minDelay: 1, while: again } }), error)
      assert.deepStrictEqual(
        seen.map((one) => one === error),
        [true, true, true].slice(0, seen.length)
      )
      assert.isAtLeast(seen.length, 2)
    })

    it(`${what}, for the fallback`, async () => {
      const seen: Array<unknown> = []
      const breaker = createBreaker(fn, { fallback: (one) => seen.push(one) as never })
      await breaker.execute()
      assert.strictEqual(seen[0], error)
    })
  }

  it("a TimeoutError of Effect, for isFailure and isIgnored", async () => {
    const error = new Cause.TimeoutError("the user's own")
    const seen: Array<unknown> = []
    const look = (one: unknown) => {
      seen.push(one)
      return false
    }
    const breaker = createBreaker(
      async () => {
        throw error
      },
      { isFailure: look, isIgnored: look }
    )
    await breaker.execute().catch(() => {})
    assert.strictEqual(seen.length, 2)
    assert.isTrue(seen.every((one) => one === error))
  })

  it("a CircuitOpen after another error gets no cause", async () => {
    const reasons = [new Error("down"), open]
    const breaker = createBreaker(
      async () => {
        throw reasons.shift()
      },
      { retry: { times: 1, minDelay: 1 } }
    )
    assert.strictEqual(await breaker.execute().catch((caught) => caught), open)
    assert.isUndefined(open.cause)
  })
})

describe("In Effect an error of the call's own stays as it is:", () => {
  for (const [what, error] of errors) {
    const pipelines = {
      protect: CircuitBreaker.protect("api"),
      "protect with isFailure": CircuitBreaker.protect("api", { isFailure: () => true }),
      timeout: Resilience.timeout("1 minute"),
      bulkhead: Resilience.bulkhead({ concurrency: 1 }),
      retry: Resilience.retry({ times: 0 }),
      standard: Resilience.standard("api", { retry: false })
    } as const
    for (const [name, policy] of Object.entries(pipelines)) {
      scenario(`${what}, through ${name}`, { trip: Trip.consecutive(100) }, function* () {
        const call = policy as unknown as (
          self: Effect.Effect<never, unknown>
        ) => Effect.Effect<never, unknown, BreakerStore.BreakerStore>
        const exit = yield* Effect.exit(call(Effect.fail(error)))
        assert.strictEqual(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, error)
      })
    }
  }

  scenario("a TimeoutError, for isFailure", { trip: Trip.consecutive(100) }, function* () {
    const error = new Cause.TimeoutError("the user's own")
    const seen: Array<unknown> = []
    const look = (one: unknown) => seen.push(one) < 0
    yield* Effect.exit(CircuitBreaker.protect(Effect.fail(error), "api", { isFailure: look }))
    assert.strictEqual(seen[0], error)
    assert.strictEqual((yield* inspect()).totals.successes, 1)
  })
})
