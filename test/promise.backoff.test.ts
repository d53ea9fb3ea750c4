import { createBreaker } from "effect-fuse/promise"
import { afterEach, assert, beforeEach, describe, it, vi } from "vitest"

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe("the retry of a promise breaker", () => {
  for (const [backoff, expected] of [
    ["linear", [0, 100, 300, 600]],
    ["exponential", [0, 100, 300, 700]]
  ] as const) {
    it(`with ${backoff} backoff calls at ${expected} milliseconds`, async () => {
      const began = Date.now()
      const at: Array<number> = []
      const breaker = createBreaker(
        async () => {
          at.push(Date.now() - began)
          throw new Error("down")
        },
        { retry: { times: 3, minDelay: 100, backoff, jitter: 0 } }
      )
      const ended = breaker.execute().catch(() => {})
      await vi.advanceTimersByTimeAsync(2_000)
      await ended
      assert.deepStrictEqual(at, [...expected])
      await breaker.shutdown()
    })
  }
})
