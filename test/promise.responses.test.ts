import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { createBreaker, trip } from "effect-fuse/promise"
import { assert, describe, it } from "vitest"

/** What a circuit counts after one call that returns a value. */
const countsAfter = async (answer: unknown, options: object = {}) => {
  const breaker = createBreaker(async () => answer, {
    name: "api",
    trip: trip.consecutive(1),
    cooldown: 1_000,
    ...options
  })
  const given = await breaker.execute()
  const { failures, lastFailures, retryAfter, state, successes } = breaker.metrics
  await breaker.shutdown()
  return { given, failures, successes, state, retryAfter, error: lastFailures[0]?.error }
}

/** A response of another realm or of a library has a different class with the same tag. */
class Response_ {
  readonly status: number
  readonly headers: Headers
  readonly [Symbol.toStringTag] = "Response"
  constructor(status: number, headers: Record<string, string> = {}) {
    this.status = status
    this.headers = new Headers(headers)
  }
}

describe("a fetch response", () => {
  it.each([500, 502, 503, 504, 599, 429, 408])(
    "with status %i counts as a failure and is returned to the caller",
    async (status) => {
      for (const response of [new Response(null, { status }), new Response_(status)]) {
        const { error, failures, given, state } = await countsAfter(response)
        assert.strictEqual(given, response)
        assert.deepStrictEqual([failures, state, error], [1, "Open", `HTTP ${status}`])
      }
    }
  )

  it.each([200, 204, 301, 400, 401, 404, 409, 422])("with status %i counts as a success", async (status) => {
    for (const response of [new Response(null, { status }), new Response_(status), Response.error()]) {
      const { failures, state, successes } = await countsAfter(response)
      assert.deepStrictEqual([successes, failures, state], [1, 0, "Closed"])
    }
  })

  it("keeps the circuit open for the time in its Retry-After", async () => {
    const { retryAfter } = await countsAfter(new Response(null, { status: 503, headers: { "retry-after": "60" } }))
    assert.isTrue(retryAfter > 10_000 && retryAfter <= 60_000, String(retryAfter))
  })

  it("is classified in the same way if isFailure is given", async () => {
    const { failures } = await countsAfter(new Response(null, { status: 503 }), { isFailure: () => false })
    assert.strictEqual(failures, 1)
  })

  it("is neither retried nor replaced by the fallback, because it is not an error", async () => {
    let calls = 0
    const breaker = createBreaker(async () => new Response(null, { status: 500 + calls++ }), {
      name: "api",
      retry: 3,
      fallback: () => new Response("fallback")
    })
    assert.strictEqual((await breaker.execute()).status, 500)
    assert.strictEqual(calls, 1)
    await breaker.shutdown()
  })

  it("is recognized by its class, not by its shape", async () => {
    const headers = new Headers({ "retry-after": "60" })
    const others = [
      { status: 503, headers },
      { status: 503, headers, [Symbol.toStringTag]: "Other" },
      { status: "503", headers, [Symbol.toStringTag]: "Response" },
      { status: 503, [Symbol.toStringTag]: "Response" },
      503,
      null,
      new Request("http://a.test")
    ]
    for (const other of others) assert.strictEqual((await countsAfter(other)).successes, 1)
  })

  it("of a real server opens the circuit, and its body can still be read", async () => {
    const server = createServer((_, response) => response.writeHead(503, { "retry-after": "90" }).end("busy"))
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo
    const breaker = createBreaker((path: string) => fetch(`http://127.0.0.1:${port}${path}`), {
      name: "api",
      trip: trip.consecutive(2)
    })
    try {
      for (let i = 0; i < 2; i++) assert.strictEqual(await (await breaker.execute("/")).text(), "busy")
      assert.strictEqual(breaker.state, "Open")
      assert.isAbove(breaker.metrics.retryAfter, 60_000)
    } finally {
      await breaker.shutdown()
      server.close()
    }
  })
})
