import { mock } from "node:test"
import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import { createBreaker, createManager, trip } from "effect-fuse/promise"

const realImmediate = globalThis.setImmediate
const turn = () => new Promise<void>((resolve) => realImmediate(resolve))

interface Fake {
  readonly start: () => void
  readonly advance: (millis: number) => Promise<void>
  /** Advances the time in one step. */
  readonly jump: (millis: number) => Promise<void>
  readonly stop: () => void
}

const byVitest = (options?: Parameters<typeof vi.useFakeTimers>[0]): Fake => ({
  start: () => void vi.useFakeTimers(options),
  advance: async (millis) => void (await vi.advanceTimersByTimeAsync(millis)),
  jump: async (millis) => {
    vi.advanceTimersByTime(millis)
    await vi.advanceTimersByTimeAsync(0)
  },
  stop: () => void vi.useRealTimers()
})

const byNode = (apis?: ReadonlyArray<"setTimeout" | "setInterval" | "Date">): Fake => ({
  start: () => (apis === undefined ? mock.timers.enable() : mock.timers.enable({ apis: [...apis] })),
  advance: async (millis) => {
    for (let passed = 0; passed < millis; passed += 1_000) {
      for (let i = 0; i < 3; i++) await turn()
      mock.timers.tick(Math.min(1_000, millis - passed))
    }
    for (let i = 0; i < 3; i++) {
      await turn()
      mock.timers.tick(0)
    }
  },
  jump: async (millis) => {
    for (let i = 0; i < 3; i++) await turn()
    mock.timers.tick(millis)
    for (let i = 0; i < 3; i++) await turn()
  },
  stop: () => mock.timers.reset()
})

const fakes: Readonly<Record<string, Fake>> = {
  "vi.useFakeTimers()": byVitest(),
  "vi.useFakeTimers, without performance": byVitest({
    toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"]
  }),
  // Jest and vitest use the same library, @sinonjs/fake-timers. Jest fakes these by default, and `process.nextTick`, which vitest cannot.
  "the defaults of jest.useFakeTimers()": byVitest({
    toFake: [
      "Date",
      "performance",
      "setTimeout",
      "clearTimeout",
      "setInterval",
      "clearInterval",
      "setImmediate",
      "clearImmediate",
      "queueMicrotask",
      "hrtime"
    ]
  }),
  "node:test's mock.timers.enable()": byNode(),
  "node:test's, with setTimeout and Date only": byNode(["setTimeout", "Date"])
}

const one = { trip: trip.consecutive(1), timeout: false } as const

/** A function that fails while it is told to. */
const dependency = () => {
  const self = {
    down: true,
    calls: 0,
    get: async () => {
      self.calls++
      if (self.down) throw new Error("down")
      return "up"
    }
  }
  return self
}

const end = (promise: Promise<unknown>): { value: unknown } => {
  const ended: { value: unknown } = { value: "pending" }
  promise.then(
    (value) => {
      ended.value = value
    },
    (error) => {
      ended.value = error.code ?? error.message
    }
  )
  return ended
}

/** What each needs time for; `advance` moves it. */
const times: Readonly<Record<string, (advance: Fake["advance"]) => Promise<void>>> = {
  "a cooldown": async (advance) => {
    const api = dependency()
    const breaker = createBreaker(api.get, { ...one, cooldown: "30 seconds" })
    assert.strictEqual(await breaker.execute().catch((error) => error.message), "down")
    api.down = false
    assert.strictEqual(breaker.metrics.retryAfter, 30_000)
    await advance(29_000)
    assert.strictEqual(await breaker.execute().catch((error) => error.code), "CIRCUIT_OPEN")
    assert.strictEqual(breaker.metrics.retryAfter, 1_000)
    await advance(1_000)
    assert.strictEqual(await breaker.execute(), "up")
  },
  "a timeout": async (advance) => {
    const breaker = createBreaker(() => new Promise(() => {}), { timeout: "5 seconds" })
    const ended = end(breaker.execute())
    await advance(4_000)
    assert.strictEqual(ended.value, "pending")
    await advance(1_000)
    assert.strictEqual(ended.value, "TIMEOUT")
  },
  "the timeout of a probe": async (advance) => {
    const breaker = createBreaker(() => new Promise(() => {}), {
      ...one,
      probeTimeout: "5 seconds",
      cooldown: "1 second"
    })
    await breaker.open()
    await advance(1_000)
    const ended = end(breaker.execute())
    await advance(5_000)
    assert.strictEqual(ended.value, "CIRCUIT_OPEN")
    assert.strictEqual(breaker.state, "Open")
  },
  "the delays of a retry": async (advance) => {
    const api = dependency()
    const retry = { times: 2, minDelay: "1 second", jitter: 0 }
    const ended = end(createBreaker(api.get, { timeout: false, retry }).execute())
    await advance(500)
    assert.strictEqual(api.calls, 1)
    await advance(500)
    assert.strictEqual(api.calls, 2)
    await advance(2_000)
    assert.deepStrictEqual([api.calls, ended.value], [3, "down"])
  },
  "a call that waits for its circuit": async (advance) => {
    const api = dependency()
    api.down = false
    const retry = { times: 0, waitForCircuit: "1 minute" }
    const breaker = createBreaker(api.get, { ...one, cooldown: "10 seconds", retry })
    await breaker.open()
    const ended = end(breaker.execute())
    await advance(9_000)
    assert.strictEqual(ended.value, "pending")
    await advance(2_000)
    assert.strictEqual(ended.value, "up")
  },
  "an isolation that ends": async (advance) => {
    const breaker = createBreaker(async () => "up")
    await breaker.isolate({ for: "1 hour" })
    assert.strictEqual(await breaker.execute().catch((error) => error.code), "CIRCUIT_OPEN")
    await advance(3_600_000)
    assert.strictEqual(await breaker.execute(), "up")
  },
  "a window": async (advance) => {
    const api = dependency()
    const over = "10 seconds"
    const breaker = createBreaker(api.get, { timeout: false, trip: trip.failures({ atLeast: 2, of: over }) })
    await breaker.execute().catch(() => {})
    await advance(20_000)
    await breaker.execute().catch(() => {})
    assert.strictEqual(breaker.state, "Closed")
    await breaker.execute().catch(() => {})
    assert.strictEqual(breaker.state, "Open")
  },
  "a slow call": async (advance) => {
    const breaker = createBreaker(() => new Promise<void>((resolve) => setTimeout(resolve, 3_000)), {
      slowCall: "3 seconds"
    })
    const ended = end(breaker.execute())
    await advance(3_000)
    assert.deepStrictEqual([ended.value, breaker.metrics.slow], [undefined, 1])
  },
  "a health check": async (advance) => {
    let checks = 0
    const probe = { check: () => ++checks > 1, every: "10 seconds" }
    const breaker = createBreaker(async () => "up", { cooldown: "1 hour", probe })
    await breaker.open()
    await advance(10_000)
    assert.deepStrictEqual([checks, breaker.state], [1, "Open"])
    await advance(10_000)
    assert.deepStrictEqual([checks, breaker.state], [2, "Closed"])
    await breaker.shutdown()
  }
}

afterEach(() => {
  // First, because vitest keeps the timers that it finds when it is first used.
  mock.timers.reset()
  vi.useRealTimers()
})

for (const [name, fake] of Object.entries(fakes)) {
  describe(`Fake timers control all times of a promise breaker: ${name}:`, () => {
    for (const [what, test] of Object.entries(times)) {
      it(what, async () => {
        fake.start()
        try {
          await test(fake.advance)
        } finally {
          fake.stop()
        }
      })
    }

    it("a jump of the fake time is not a stall: timeouts that it delays are Failures", async () => {
      fake.start()
      const breaker = createBreaker(() => new Promise(() => {}), { timeout: "5 seconds" })
      const calls = Array.from({ length: 5 }, () => end(breaker.execute()))
      await fake.jump(3_600_000)
      assert.deepStrictEqual(new Set(calls.map(({ value }) => value)), new Set(["TIMEOUT"]))
      const { failures, ignored, state } = breaker.metrics
      assert.deepStrictEqual({ failures, ignored, state }, { failures: 5, ignored: 0, state: "Open" })
      fake.stop()
    })

    it("they also control a breaker that opened before they were installed", async () => {
      const api = dependency()
      const breaker = createManager().register("api", api.get, { ...one, cooldown: "30 seconds" })
      await breaker.execute().catch(() => {})
      api.down = false
      fake.start()
      assert.closeTo(breaker.metrics.retryAfter, 30_000, 10_000)
      await fake.advance(31_000)
      assert.strictEqual(await breaker.execute(), "up")
      // A circuit that is opened now stays open for the same duration in real time.
      await breaker.open()
      fake.stop()
      assert.closeTo(breaker.metrics.retryAfter, 30_000, 10_000)
      assert.strictEqual(await breaker.execute().catch((error) => error.code), "CIRCUIT_OPEN")
    })

    it("time does not step back when they are installed again", async () => {
      const breaker = createBreaker(async () => "up", { ...one, cooldown: "30 seconds" })
      fake.start()
      await fake.advance(3_600_000)
      await breaker.open()
      fake.stop()
      fake.start()
      assert.closeTo(breaker.metrics.retryAfter, 30_000, 10_000)
      await fake.advance(31_000)
      assert.strictEqual(await breaker.execute(), "up")
    })
  })
}

it("Setting the system time under fake timers does not change a cooldown", async () => {
  vi.useFakeTimers()
  const breaker = createBreaker(async () => "up", { ...one, cooldown: "30 seconds" })
  await breaker.open()
  vi.setSystemTime(new Date("2100-01-01"))
  assert.strictEqual(breaker.metrics.retryAfter, 30_000)
  vi.setSystemTime(0)
  assert.strictEqual(breaker.metrics.retryAfter, 30_000)
})

it("A cooldown ends in real time if only Date is replaced", async () => {
  const replace: ReadonlyArray<() => void> = [
    () => void vi.setSystemTime(new Date("2020-01-01")),
    () => mock.timers.enable({ apis: ["Date"], now: 0 })
  ]
  for (const start of replace) {
    start()
    try {
      const breaker = createBreaker(async () => "up", { ...one, cooldown: 20 })
      await breaker.open()
      let outcome = ""
      for (let i = 0; i < 500 && outcome !== "up"; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10))
        outcome = await breaker.execute().catch((error) => error.code)
      }
      assert.strictEqual(outcome, "up")
    } finally {
      vi.useRealTimers()
      mock.timers.reset()
    }
  }
})
