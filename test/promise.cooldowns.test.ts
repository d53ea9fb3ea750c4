import { type CreateOptions, createBreaker, trip } from "effect-fuse/promise"
import { afterEach, assert, beforeEach, describe, it, vi } from "vitest"

type Cooldown = CreateOptions<[], unknown>["cooldown"]

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const make = (cooldown: Cooldown, more: object = {}, lines: Array<string> = []) =>
  createBreaker(
    async () => {
      throw new Error("down")
    },
    { name: "api", trip: trip.consecutive(1), cooldown, log: (_, line) => lines.push(line), ...more }
  )

/** How long each of several openings in a row lasts, in milliseconds. */
const openings = async (breaker: ReturnType<typeof make>, count = 4) => {
  const found: Array<number> = []
  for (let i = 0; i < count; i++) {
    await breaker.execute().catch(() => {})
    const { retryAfter } = breaker.metrics
    found.push(retryAfter)
    await vi.advanceTimersByTimeAsync(retryAfter)
  }
  await breaker.shutdown()
  return found
}

describe("a cooldown", () => {
  const rows: ReadonlyArray<readonly [cooldown: Cooldown, expected: ReadonlyArray<number>, more?: object]> = [
    ["5s", [5_000, 5_000, 5_000, 5_000]],
    [
      ["5s", 30_000, "5m"],
      [5_000, 30_000, 300_000, 300_000]
    ],
    [["5s"], [5_000, 5_000, 5_000, 5_000]],
    [{ linear: "10s" }, [10_000, 20_000, 30_000, 40_000]],
    [{ linear: "10s", step: "1s" }, [10_000, 11_000, 12_000, 13_000]],
    [{ exponential: "1s", factor: 3 }, [1_000, 3_000, 9_000, 27_000]],
    [(opening) => opening * 1_000, [1_000, 2_000, 3_000, 4_000]],
    [(opening) => (opening < 3 ? "1s" : "1m"), [1_000, 1_000, 60_000, 60_000]],
    [{ linear: "10s" }, [10_000, 15_000, 15_000, 15_000], { maxCooldown: "15s" }],
    [["10s", "1h"], [10_000, 15_000, 15_000, 15_000], { maxCooldown: "15s" }]
  ]
  for (const [cooldown, expected, more] of rows) {
    it(`of ${JSON.stringify(cooldown) ?? cooldown} lasts ${expected}, ${JSON.stringify(more)}`, async () => {
      assert.deepStrictEqual(await openings(make(cooldown, more)), expected)
    })
  }

  it("that is linear and jittered varies around the linear delays", async () => {
    const found = await openings(make({ linear: "10s", jittered: true }))
    for (const [i, millis] of found.entries()) assert.closeTo(millis, 10_000 * (i + 1), 2_000 * (i + 1) + 1)
    assert.notDeepEqual(found, [10_000, 20_000, 30_000, 40_000])
  })

  const wrong: ReadonlyArray<readonly [what: string, cooldown: () => unknown, message: RegExp]> = [
    ["throws", () => assert.fail("no cooldown"), /no cooldown/],
    ["returns no time", () => "soon", /cooldown: the function: expected a duration of 0 or more .*, got "soon"/],
    ["returns a negative time", () => -1, /expected a duration of 0 or more/]
  ]
  it.each(wrong)("whose function %s lasts for maxCooldown, and the cause is logged", async (_, cooldown, message) => {
    const lines: Array<string> = []
    const found = await openings(make(cooldown as () => number, { maxCooldown: "1m" }, lines), 1)
    assert.deepStrictEqual(found, [60_000])
    assert.isTrue(
      lines.some((line) => message.test(line)),
      lines.join("\n")
    )
  })

  it.each([
    [[], /cooldown: expected a list of 1 or more, got \[\]/],
    [["1s", "soon"], /cooldown\.1: expected a duration of 0 or more/],
    [["1s", -1], /cooldown\.1: expected a duration of 0 or more/],
    [{ linear: 0 }, /linear: expected a duration above 0/],
    [{ linear: "1s", step: "no" }, /step: expected a duration above 0/],
    [{ linear: "1s", factor: 2 }, /factor: unknown field/]
  ])("of %j is refused", (cooldown, message) => {
    assert.throws(() => make(cooldown as Cooldown), message)
  })
})

describe("a retry", () => {
  const delays = async (retry: object) => {
    const at: Array<number> = []
    const breaker = createBreaker(
      async () => {
        at.push(Date.now())
        throw new Error("down")
      },
      { name: "api", trip: trip.consecutive(100), retry: { jitter: 0, ...retry } }
    )
    const ended = breaker.execute().catch(() => {})
    await vi.advanceTimersByTimeAsync(60_000)
    await ended
    await breaker.shutdown()
    return at.slice(1).map((time, i) => time - (at[i] ?? 0))
  }

  it("waits longer by the same amount each time with a linear backoff", async () => {
    assert.deepStrictEqual(
      await delays({ times: 4, minDelay: "1s", maxDelay: "3s", backoff: "linear" }),
      [1_000, 2_000, 3_000, 3_000]
    )
    assert.deepStrictEqual(await delays({ times: 3, minDelay: "1s" }), [1_000, 2_000, 4_000])
  })

  it("rejects an unknown backoff", () => {
    assert.throws(
      () => createBreaker(async () => {}, { name: "api", retry: { backoff: "fibonacci" as "linear" } }),
      /backoff: expected "exponential" or "linear", got "fibonacci"/
    )
  })
})
