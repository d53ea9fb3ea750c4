import { createBreaker, trip } from "effect-fuse/promise"
import { assert, describe, it } from "vitest"

// What a promise function throws may say how long to wait, as the errors of HTTP clients do.

const errors: ReadonlyArray<readonly [what: string, fields: object]> = [
  ["retryAfter in milliseconds", { retryAfter: 60_000 }],
  ["retryAfter as a duration", { retryAfter: "1m" }],
  ["retryAfter as the text of the header", { retryAfter: "60" }],
  ["retryAfter as the date of the header", { retryAfter: new Date(Date.now() + 60_000).toUTCString() }],
  ["headers of fetch", { status: 429, headers: new Headers({ "retry-after": "60" }) }],
  ["a response of fetch", { response: new Response(null, { status: 503, headers: { "retry-after": "60" } }) }],
  ["a response with plain headers", { response: { status: 429, headers: { "retry-after": "60" } } }],
  ["a response of an AWS client", { $response: { statusCode: 503, headers: { "retry-after": "60" } } }],
  ["a cause", { cause: Object.assign(new Error("429"), { headers: { "retry-after-ms": "60000" } }) }]
]

const failing = (fields: object) => {
  let calls = 0
  const fn = async () => {
    calls++
    throw Object.assign(new Error("busy"), fields)
  }
  return { fn, calls: () => calls }
}

describe("an error with a retry hint,", () => {
  for (const [what, fields] of errors) {
    it(`${what}, keeps the circuit open for that long`, async () => {
      const breaker = createBreaker(failing(fields).fn, { name: "api", trip: trip.consecutive(1), cooldown: 1_000 })
      await breaker.execute().catch(() => {})
      const { retryAfter, state } = breaker.metrics
      assert.strictEqual(state, "Open")
      assert.isTrue(retryAfter > 10_000 && retryAfter <= 60_000, String(retryAfter))
      await breaker.shutdown()
    })

    it(`${what}, is not retried if that is longer than maxDelay`, async () => {
      const { calls, fn } = failing(fields)
      const breaker = createBreaker(fn, { name: "api", retry: { times: 3, maxDelay: 100 } })
      await breaker.execute().then(
        () => assert.fail("it succeeded"),
        (error: Error) => assert.strictEqual(error.message, "busy")
      )
      assert.strictEqual(calls(), 1)
      await breaker.shutdown()
    })
  }

  it("shorter than the delay, is not retried before the hint has passed", async () => {
    const at: Array<number> = []
    const breaker = createBreaker(
      async () => {
        at.push(performance.now())
        if (at.length === 1) throw Object.assign(new Error("busy"), { retryAfter: 150 })
        return "ok"
      },
      { name: "api", retry: { times: 1, minDelay: 1, maxDelay: 1_000 } }
    )
    assert.strictEqual(await breaker.execute(), "ok")
    const [first = 0, second = 0] = at
    assert.isAtLeast(second - first, 149)
    await breaker.shutdown()
  })
})
