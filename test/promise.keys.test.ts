import { type ConfigurationError, type CreateOptions, createBreaker, createManager, trip } from "effect-fuse/promise"
import { afterEach, assert, beforeEach, describe, it, vi } from "vitest"

type Keys = NonNullable<CreateOptions<[], unknown>["keys"]>

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const byKey = {
  basic: { trip: trip.consecutive(2) },
  premium: { trip: trip.consecutive(6), cooldown: "5s", probeTimeout: "40ms" }
} as const
const ofKey = (key: string) => (key === "basic" ? byKey.basic : key === "premium" ? byKey.premium : undefined)

const policy = { name: "api", trip: trip.consecutive(4), cooldown: "20s" } as const

const down = async (): Promise<unknown> => {
  throw new Error("down")
}

/** Makes failing calls until the circuit of a key opens. Returns the number of failures, and how long the circuit stays open. */
const opens = async (breaker: ReturnType<typeof createBreaker<[], unknown>>, key: string | undefined) => {
  for (let failures = 1; failures <= 20; failures++) {
    await breaker
      .with({ key })
      .execute()
      .catch(() => {})
    const { retryAfter, state } = breaker.inspect(key)
    if (state === "Open") return [failures, retryAfter]
  }
  return "never"
}

const ways: ReadonlyArray<readonly [how: string, keys: Keys]> = [
  ["an object", byKey],
  ["a function", ofKey],
  ["a function that makes a new policy at each call", (key) => ({ ...ofKey(key) })]
]

describe.each(ways)("policies of keys, given as %s,", (_, keys) => {
  it("apply to their key; the policy of the breaker applies to other keys and without a key", async () => {
    const breaker = createBreaker(down, { ...policy, keys })
    assert.deepStrictEqual(await opens(breaker, "basic"), [2, 20_000])
    assert.deepStrictEqual(await opens(breaker, "premium"), [6, 5_000])
    assert.deepStrictEqual(await opens(breaker, "other"), [4, 20_000])
    assert.deepStrictEqual(await opens(breaker, undefined), [4, 20_000])
    await breaker.shutdown()
  })

  it("apply to operator actions before the first call", async () => {
    const breaker = createBreaker(down, { ...policy, keys })
    await breaker.open({ key: "premium" })
    await breaker.open({ key: "other" })
    assert.deepStrictEqual(
      [breaker.inspect("premium").retryAfter, breaker.inspect("other").retryAfter],
      [5_000, 20_000]
    )
    await breaker.shutdown()
  })

  it("apply as defaults of a manager", async () => {
    const manager = createManager({ defaults: { trip: policy.trip, cooldown: policy.cooldown, keys } })
    const breaker = manager.register("api", down)
    assert.deepStrictEqual(await opens(breaker as never, "basic"), [2, 20_000])
    await manager.shutdown()
  })

  it("give a probe the probeTimeout of its key, and the error names this timeout", async () => {
    const breaker = createBreaker(() => new Promise<unknown>(() => {}), { ...policy, timeout: false, keys })
    await breaker.open({ key: "premium" })
    await vi.advanceTimersByTimeAsync(5_000)
    let reason: unknown
    const ended = breaker
      .run(
        ({ signal }) =>
          new Promise(() => {
            signal.addEventListener("abort", () => {
              reason = signal.reason
            })
          }),
        { key: "premium" }
      )
      .catch(() => {})
    await vi.advanceTimersByTimeAsync(41)
    await ended
    assert.match(String(reason), /40 ms/)
    await breaker.shutdown()
  })
})

describe("policies of keys", () => {
  it("can switch off the circuit of one key", async () => {
    const asked: Array<unknown> = []
    const enabled = (circuit: object) => {
      asked.push(circuit)
      return Promise.resolve(false)
    }
    const breaker = createBreaker(down, { ...policy, keys: { off: { enabled } } })
    assert.strictEqual(await opens(breaker, "off"), "never")
    assert.deepStrictEqual(asked[0], { name: "api", key: "off" })
    await breaker.shutdown()
  })

  it("from a function that fails are not used, and the log reports that once", async () => {
    const wrong: ReadonlyArray<readonly [keys: Keys, message: RegExp]> = [
      [() => assert.fail("no policy"), /no policy/],
      [() => ({ trip: trip.consecutive(2), probes: -1 }), /keys\.probes: expected/],
      [() => ({ prboes: 1 }) as never, /prboes: unknown field/],
      [() => 7 as never, /keys: expected an object .*, got 7/]
    ]
    for (const [keys, message] of wrong) {
      const lines: Array<string> = []
      const breaker = createBreaker(down, { ...policy, keys, log: (_, line) => lines.push(line) })
      assert.deepStrictEqual(await opens(breaker, "a"), [4, 20_000])
      assert.deepStrictEqual(await opens(breaker, "b"), [4, 20_000])
      const said = lines.filter((line) => line.includes("cannot be used"))
      assert.strictEqual(said.length, 1, lines.join("\n"))
      assert.match(said[0] ?? "", message)
      await breaker.shutdown()
    }
  })

  const invalid: ReadonlyArray<readonly [keys: unknown, message: RegExp]> = [
    [7, /createBreaker: keys: expected an object of policies by key, or a function of the key, got 7/],
    [null, /createBreaker: keys: expected an object/],
    [{ a: 7 }, /createBreaker: keys\.a: expected an object .*, got 7/],
    [{ a: { prboes: 1 } }, /createBreaker: keys\.a\.prboes: unknown field/],
    [{ a: { fleet: false } }, /createBreaker: keys\.a\.fleet: unknown field/],
    [{ a: { keys: {} } }, /createBreaker: keys\.a\.keys: unknown field/],
    [{ a: { probes: 0 } }, /createBreaker: keys\.a\.probes: /],
    [{ a: { cooldown: "soon" } }, /createBreaker: keys\.a\.cooldown: expected a duration/],
    [{ "a\u0007b": { probes: 0 } }, /createBreaker: keys\.a.{1,6}b\.probes: /]
  ]
  for (const [keys, message] of invalid) {
    it(`that are invalid are an error that names the field: ${JSON.stringify(keys)}`, () => {
      try {
        createBreaker(down, { ...policy, keys: keys as never })
        assert.fail("it was accepted")
      } catch (error) {
        assert.match((error as ConfigurationError).message, message)
        assert.strictEqual((error as ConfigurationError).code, "INVALID_OPTIONS")
      }
    })
  }
})

it("a breaker with a span opens for all keys when nearly all keys fail, and one probe of any key closes it", async () => {
  let isDown = true
  let reached = 0
  const breaker = createBreaker(
    async () => {
      reached++
      return isDown ? await down() : "ok"
    },
    { name: "api", span: true, cooldown: "10s" }
  )
  const call = (key: string) => breaker.with({ key }).execute()
  for (let i = 0; i < 3_000; i++) await call(`k${i % 1_000}`).catch(() => {})
  assert.strictEqual(reached, 34)
  const error: unknown = await call("new").catch((error: unknown) => error)
  assert.include(error as object, { name: "CircuitOpenError", circuit: "api", state: "Open", reason: "Cooldown" })
  assert.isUndefined((error as { readonly key?: string }).key)
  isDown = false
  await vi.advanceTimersByTimeAsync(10_000)
  assert.strictEqual(await call("new"), "ok")
  assert.strictEqual(await call("k1"), "ok")
  assert.strictEqual(breaker.inspect("k1").state, "Closed")
})
