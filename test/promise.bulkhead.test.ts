import { BulkheadFullError, createBreaker, TimeoutError } from "effect-fuse/promise"
import { assert, describe, it } from "vitest"

/** A function whose calls end when the test says so, whatever their signal says. */
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

describe("a place in the bulkhead", () => {
  for (const end of ["end", "fail"] as const) {
    it(`that is held until the function has settled is free when it does: ${end}`, async () => {
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

  it("is free as soon as the call ends, if nothing else is said", async () => {
    const { fn, running } = stubborn()
    const breaker = createBreaker(fn, { name: "api", timeout: 10, bulkhead: { concurrency: 1 } })
    for (let i = 0; i < 2; i++) assert.instanceOf(await errorOf(breaker.execute()), TimeoutError)
    assert.strictEqual(running.length, 2)
    await breaker.shutdown()
  })

  it("is held after the caller has left, whose call ends at once and with the reason of its signal", async () => {
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

  it("is given up by a caller that leaves while it waits, and its function is not called", async () => {
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

  it("is held by each attempt of a retry for itself", async () => {
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

  it("costs no caller the answer of its function", async () => {
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

  it("is held until nothing else", () => {
    const holdUntil = "forever" as "settled"
    assert.throws(
      () => createBreaker(async () => {}, { name: "api", bulkhead: { concurrency: 1, holdUntil } }),
      /bulkhead.holdUntil: expected "settled", got "forever"/
    )
  })
})
