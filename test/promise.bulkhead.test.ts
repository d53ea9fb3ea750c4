import { BulkheadFullError, createBreaker, TimeoutError } from "effect-fuse/promise"
import { assert, describe, it } from "vitest"

/** A function that ignores its signal. The test ends its calls. */
const stubborn = () => {
  const running: Array<{ readonly end: () => void; readonly fail: () => void }> = []
  const fn = () =>
    new Promise<string>((resolve, reject) => {
      running.push({ end: () => resolve("ended"), fail: () => reject(new Error("failed")) })
    })
  return { fn, running }
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 5))
const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    (value) => assert.fail(`it answered ${value}`),
    (error: unknown) => error
  )

describe("a permit of the bulkhead", () => {
  for (const end of ["end", "fail"] as const) {
    it(`with holdUntil "settled" is released when the function settles: ${end}`, async () => {
      const { fn, running } = stubborn()
      const breaker = createBreaker(fn, {
        name: "api",
        timeout: 10,
        bulkhead: { concurrency: 1, holdUntil: "settled" }
      })
      assert.instanceOf(await errorOf(breaker.execute()), TimeoutError)
      assert.instanceOf(await errorOf(breaker.execute()), BulkheadFullError)
      assert.strictEqual(running.length, 1)
      running[0]?.[end]()
      await settle()
      const next = breaker.execute()
      await settle()
      running[1]?.end()
      assert.strictEqual(await next, "ended")
      await breaker.shutdown()
    })
  }

  it("is released when the call ends by default", async () => {
    const { fn, running } = stubborn()
    const breaker = createBreaker(fn, { name: "api", timeout: 10, bulkhead: { concurrency: 1 } })
    for (let i = 0; i < 2; i++) assert.instanceOf(await errorOf(breaker.execute()), TimeoutError)
    assert.strictEqual(running.length, 2)
    await breaker.shutdown()
  })

  it("stays held after the caller aborts, although the call rejects at once with the reason of the signal", async () => {
    const { fn, running } = stubborn()
    const breaker = createBreaker(fn, { name: "api", bulkhead: { concurrency: 1, queue: 1, holdUntil: "settled" } })
    const caller = new AbortController()
    const first = errorOf(breaker.with({ signal: caller.signal }).execute())
    await settle()
    caller.abort(new Error("gone"))
    assert.strictEqual(String(await first), "Error: gone")
    const second = breaker.execute()
    await settle()
    assert.strictEqual(running.length, 1, "the second one began beside the first one")
    running[0]?.end()
    await settle()
    running[1]?.end()
    assert.strictEqual(await second, "ended")
    const { failures, ignored, successes } = breaker.metrics
    assert.deepStrictEqual([successes, failures, ignored], [1, 0, 1])
    await breaker.shutdown()
  })

  it("is not taken by a caller that aborts while it waits in the queue, and its function is not called", async () => {
    const { fn, running } = stubborn()
    const breaker = createBreaker(fn, { name: "api", bulkhead: { concurrency: 1, queue: 1, holdUntil: "settled" } })
    const first = breaker.execute()
    const caller = new AbortController()
    const second = errorOf(breaker.with({ signal: caller.signal }).execute())
    await settle()
    caller.abort(new Error("gone"))
    assert.strictEqual(String(await second), "Error: gone")
    running[0]?.end()
    assert.strictEqual(await first, "ended")
    await settle()
    assert.strictEqual(running.length, 1)
    await breaker.shutdown()
  })

  it("is taken by each attempt of a retry", async () => {
    const { fn, running } = stubborn()
    const breaker = createBreaker(fn, {
      name: "api",
      timeout: 10,
      retry: { times: 5, minDelay: 1, maxDelay: 2 },
      bulkhead: { concurrency: 2, holdUntil: "settled" }
    })
    assert.instanceOf(await errorOf(breaker.execute()), BulkheadFullError)
    assert.strictEqual(running.length, 2)
    await breaker.shutdown()
  })

  it("passes on the result of each function", async () => {
    const breaker = createBreaker(async (n: number) => n * 2, {
      name: "api",
      bulkhead: { concurrency: 2, queue: 100, holdUntil: "settled" }
    })
    const all = await Promise.all(Array.from({ length: 50 }, (_, n) => breaker.execute(n)))
    assert.deepStrictEqual(
      all,
      Array.from({ length: 50 }, (_, n) => n * 2)
    )
    await breaker.shutdown()
  })

  it("rejects an invalid holdUntil", () => {
    const holdUntil = "forever" as "settled"
    assert.throws(
      () => createBreaker(async () => {}, { name: "api", bulkhead: { concurrency: 1, holdUntil } }),
      /bulkhead.holdUntil: expected "settled", got "forever"/
    )
  })
})
