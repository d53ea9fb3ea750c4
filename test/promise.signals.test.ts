import { getEventListeners } from "node:events"
import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { type CallContext, createBreaker, type Signal, TimeoutError, trip } from "effect-fuse/promise"

const sleep = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

const until = async (fact: () => boolean): Promise<void> => {
  for (let i = 0; i < 2_000 && !fact(); i++) await sleep(5)
  assert.isTrue(fact(), "it did not become true")
}

const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => assert.fail("expected a rejection"),
    (error) => error
  )

/** A promise that is never answered, until a signal is aborted. */
const hang = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))

const steady = { trip: trip.consecutive(3) } as const

describe("The reason of the function's signal", () => {
  it("is the reason that the caller gives", async () => {
    const seen: Array<unknown> = []
    const breaker = createBreaker(function (this: { readonly signal: AbortSignal }) {
      this.signal.addEventListener("abort", () => seen.push(this.signal.reason))
      return hang(this.signal)
    })
    for (const reason of [new Error("user left"), "a text", 0]) {
      const control = new AbortController()
      const error = errorOf(breaker.with({ signal: control.signal }).execute())
      await until(() => breaker.metrics.inFlight === 1)
      control.abort(reason)
      assert.strictEqual(await error, reason)
      assert.strictEqual(seen.pop(), reason)
    }
    assert.strictEqual(breaker.metrics.ignored, 3)
  })

  it("is the TimeoutError with which the call rejects", async () => {
    const seen: Array<unknown> = []
    const breaker = createBreaker(
      function (this: { readonly signal: AbortSignal }) {
        this.signal.addEventListener("abort", () => seen.push(this.signal.reason))
        return new Promise(() => {})
      },
      { timeout: 10, retry: { times: 1, minDelay: 1 } }
    )
    const error = await errorOf(breaker.execute())
    assert.instanceOf(error, TimeoutError)
    assert.strictEqual(seen.length, 2)
    assert.strictEqual(seen[1], error)
    assert.instanceOf(seen[0], TimeoutError)
    assert.notStrictEqual(seen[0], error)
  })

  it("is a TimeoutError if a probe exceeds probeTimeout", async () => {
    let down = true
    let seen: unknown
    const breaker = createBreaker(
      async function (this: { readonly signal: AbortSignal }) {
        if (down) throw new Error("down")
        this.signal.addEventListener("abort", () => {
          seen = this.signal.reason
        })
        return new Promise(() => {})
      },
      { trip: trip.consecutive(1), cooldown: 1, probeTimeout: 20, timeout: false }
    )
    await errorOf(breaker.execute())
    down = false
    await sleep(5)
    assert.propertyVal(await errorOf(breaker.execute()), "reason", "ProbeTimedOut")
    assert.instanceOf(seen, TimeoutError)
    assert.strictEqual((seen as TimeoutError).timeout, 20)
  })

  it("names probeTimeout if a probe follows an attempt that exceeded `timeout`", async () => {
    const reasons: Array<unknown> = []
    const breaker = createBreaker(
      function (this: CallContext) {
        const { signal } = this
        signal.addEventListener("abort", () => reasons.push(signal.reason))
        return new Promise(() => {})
      },
      {
        trip: trip.consecutive(1),
        cooldown: 1,
        probeTimeout: 20,
        timeout: 100,
        retry: { times: 1, minDelay: 5, waitForCircuit: "10 seconds" }
      }
    )
    assert.propertyVal(await errorOf(breaker.execute()), "reason", "ProbeTimedOut")
    assert.deepStrictEqual(
      reasons.map((reason) => reason instanceof TimeoutError && reason.timeout),
      [100, 20]
    )
  })
})

describe("A call whose signal is aborted before it starts", () => {
  it("does not start if its signal is already aborted", async () => {
    let called = 0
    const breaker = createBreaker(async () => ++called)
    const reason = new Error("user left")
    assert.strictEqual(await errorOf(breaker.with({ signal: AbortSignal.abort(reason) }).execute()), reason)
    assert.deepStrictEqual([called, breaker.metrics.calls], [0, 0])
  })

  it("does not start if its signal is aborted while the store connects", async () => {
    // Accepts connections and never answers.
    const server = createServer(() => {})
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as { readonly port: number }
    let called = 0
    const breaker = createBreaker(async () => ++called, { redis: `redis://127.0.0.1:${port}`, log: () => {} })
    try {
      const control = new AbortController()
      const reason = new Error("user left")
      const error = errorOf(breaker.with({ signal: control.signal }).execute())
      control.abort(reason)
      assert.strictEqual(await error, reason)
      await breaker.ready()
      await sleep(20)
      assert.strictEqual(called, 0)
      assert.strictEqual(getEventListeners(control.signal, "abort").length, 0)
    } finally {
      await breaker.shutdown()
      server.close()
    }
  })

  const waits: ReadonlyArray<readonly [what: string, options: object]> = [
    ["a place of the bulkhead", { bulkhead: { concurrency: 1, queue: 1 } }],
    ["the delay of a retry", { retry: { times: 1, minDelay: 50, jitter: 0 } }],
    ["a flag", { enabled: () => sleep(50).then(() => true) }]
  ]
  for (const [what, options] of waits) {
    for (const event of ["with its event", "without an event"]) {
      it(`does not start if its signal is aborted while it waits for ${what}, ${event}`, async () => {
        let free = () => {}
        const begun: Array<string> = []
        const breaker = createBreaker(
          async (name: string) => {
            begun.push(name)
            if (name === "first") await new Promise<void>((resolve) => (free = resolve))
            if (begun.filter((one) => one === name).length === 1 && what.includes("retry")) throw new Error("down")
          },
          { ...steady, ...options }
        )
        const first = what.includes("bulkhead") ? breaker.execute("first") : undefined
        if (first !== undefined) await until(() => begun.length === 1)
        const signal = new Silent()
        const control = new AbortController()
        const given = event === "with its event" ? control.signal : signal
        const error = errorOf(breaker.with({ signal: given }).execute("second"))
        const expected = what.includes("retry") ? 1 : 0
        if (what.includes("retry")) await until(() => begun.length === 1)
        else await sleep(10)
        control.abort("left")
        signal.abort("left")
        free()
        assert.strictEqual(await error, "left")
        await first
        await sleep(60)
        assert.strictEqual(begun.filter((name) => name === "second").length, expected)
      })
    }
  }
})

/** A signal that is aborted without an event. */
class Silent implements Signal {
  aborted = false
  reason: unknown = undefined
  addEventListener(): void {}
  abort(reason: unknown): void {
    this.aborted = true
    this.reason = reason
  }
}

/** A signal as libraries without `AbortSignal` make it. */
class Plain implements Signal {
  aborted = false
  private readonly listeners: Array<() => void> = []
  addEventListener(_: "abort", listener: () => void): void {
    this.listeners.push(listener)
  }
  abort(): void {
    this.aborted = true
    for (const listener of this.listeners) listener()
  }
}

describe("A signal is any object with aborted and addEventListener", () => {
  it("also without a reason and without removeEventListener, if it is aborted", async () => {
    const breaker = createBreaker(function (this: { readonly signal: AbortSignal }) {
      return hang(this.signal)
    })
    const signal = new Plain()
    const error = errorOf(breaker.with({ signal }).execute())
    await until(() => breaker.metrics.inFlight === 1)
    signal.abort()
    assert.propertyVal(await error, "name", "AbortError")
    assert.strictEqual(breaker.metrics.ignored, 1)
    signal.abort()
    assert.propertyVal(await errorOf(breaker.with({ signal }).execute()), "name", "AbortError")
  })

  it("also if it is not aborted", async () => {
    const breaker = createBreaker(async () => 1)
    assert.strictEqual(await breaker.with({ signal: new Plain() }).execute(), 1)
    assert.strictEqual(await breaker.run(() => 2, { signal: new Plain() }), 2)
  })

  for (const signal of [
    {},
    { aborted: false },
    { addEventListener: () => {} },
    { aborted: 1, addEventListener: 2 },
    7
  ]) {
    it(`but not ${JSON.stringify(signal)}`, () => {
      const breaker = createBreaker(async () => 1)
      assert.throws(() => breaker.with({ signal: signal as never }), /with: signal: expected an AbortSignal/)
    })
  }
})

describe("The caller's own AbortError is Ignored if its signal was aborted", () => {
  class CanceledError extends Error {
    override name = "CanceledError"
  }
  const ways: ReadonlyArray<readonly [what: string, call: (signal: AbortSignal) => Promise<unknown>]> = [
    ["as an argument", (signal) => count(createBreaker(hang, steady), (one) => one.execute(signal))],
    [
      "in an options argument, as in fetch",
      (signal) =>
        count(
          createBreaker((_: string, options: { signal: AbortSignal }) => hang(options.signal), steady),
          (one) => one.execute("url", { signal })
        )
    ],
    ["by with", (signal) => count(createBreaker(hang, steady), (one) => one.with({ signal }).execute(signal))],
    ["by run", (signal) => count(createBreaker(hang, steady), (one) => one.run(() => hang(signal), { signal }))],
    [
      "with an error of a library",
      (signal) =>
        count(
          createBreaker(
            (signal: AbortSignal) =>
              hang(signal).catch(() => {
                throw new CanceledError("canceled")
              }),
            steady
          ),
          (one) => one.execute(signal)
        )
    ],
    [
      "with an error that has the reason as its cause",
      (signal) =>
        count(
          createBreaker(
            (signal: AbortSignal) =>
              hang(signal).catch((cause) => {
                throw new Error("request failed", { cause })
              }),
            steady
          ),
          (one) => one.execute(signal)
        )
    ]
  ]

  const count = async <B extends ReturnType<typeof createBreaker<never, unknown>>>(
    breaker: { readonly metrics: B["metrics"] },
    // biome-ignore lint/suspicious/noExplicitAny: breakers of functions with different arguments
    call: (breaker: any) => Promise<unknown>
  ) => {
    const error = await errorOf(call(breaker))
    return { error, failures: breaker.metrics.failures, ignored: breaker.metrics.ignored, calls: breaker.metrics.calls }
  }

  for (const [what, call] of ways) {
    for (const reason of [undefined, new Error("user left"), "text"]) {
      it(`${what}, with the reason ${String(reason)}`, async () => {
        const control = new AbortController()
        setTimeout(() => control.abort(reason), 5)
        const { calls, failures, ignored } = (await call(control.signal)) as Record<string, number>
        assert.deepStrictEqual({ calls, failures, ignored }, { calls: 1, failures: 0, ignored: 1 })
      })
    }
  }

  it("and is neither retried nor replaced by the fallback", async () => {
    let called = 0
    const breaker = createBreaker(
      (signal: AbortSignal) => {
        called++
        return hang(signal)
      },
      { ...steady, retry: { times: 3, minDelay: 1 }, fallback: () => "instead" as never }
    )
    const control = new AbortController()
    setTimeout(() => control.abort(), 5)
    assert.propertyVal(await errorOf(breaker.execute(control.signal)), "name", "AbortError")
    assert.strictEqual(called, 1)
  })

  const counted: ReadonlyArray<readonly [what: string, call: (signal: AbortSignal) => Promise<never>]> = [
    ["an AbortError without an aborted signal", async () => Promise.reject(new DOMException("reset", "AbortError"))],
    [
      "another error after the abort",
      (signal) =>
        hang(signal).catch(() => {
          throw new Error("socket hang up")
        })
    ]
  ]
  for (const [what, fn] of counted) {
    it(`but ${what} is a Failure`, async () => {
      const breaker = createBreaker(fn, steady)
      const control = new AbortController()
      if (what.startsWith("another")) setTimeout(() => control.abort(), 5)
      await errorOf(breaker.execute(control.signal))
      assert.strictEqual(breaker.metrics.failures, 1)
    })
  }

  it("but a timeout of an AbortSignal.timeout argument is a Failure: the dependency was slow", async () => {
    const breaker = createBreaker(hang, steady)
    assert.propertyVal(await errorOf(breaker.execute(AbortSignal.timeout(5))), "name", "TimeoutError")
    assert.strictEqual(breaker.metrics.failures, 1)
  })
})

it("A call that has ended leaves no listener on a long-lived signal", async () => {
  const control = new AbortController()
  const { signal } = control
  const breaker = createBreaker(async () => 1, { retry: 1, bulkhead: { concurrency: 5, queue: 5 } })
  for (let i = 0; i < 50; i++) await breaker.with({ signal }).execute()
  await breaker.isolate()
  for (let i = 0; i < 50; i++) await errorOf(breaker.with({ signal }).execute())
  assert.strictEqual(getEventListeners(signal, "abort").length, 0)
})

it("A call whose function aborts the caller's signal at once rejects with the reason of the signal", async () => {
  const control = new AbortController()
  const breaker = createBreaker(
    function (this: { readonly signal: AbortSignal }) {
      control.abort(new Error("gone"))
      return hang(this.signal)
    },
    { ...steady, timeout: 5_000 }
  )
  const error = await errorOf(breaker.with({ signal: control.signal }).execute())
  assert.strictEqual(String(error), "Error: gone")
  const { failures, ignored } = breaker.metrics
  assert.deepStrictEqual([failures, ignored], [0, 1])
})
