import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Tenant, Trip } from "effect-fuse"
import * as Simulator from "effect-fuse/Simulator"
import { TestFleet } from "effect-fuse/testing"
import { capture, type Line } from "./support/verbs.ts"

const opensAt = (failures: number): BreakerPolicy.KeyInput => ({ trip: Trip.consecutive(failures) })
const fail = (key?: string, policy?: BreakerPolicy.Input, name = "api") =>
  Effect.exit(CircuitBreaker.protect(Effect.fail("down"), name, { key, policy }))

/** After how many failures the circuit of a key opens. */
const opensAfter = (key?: string, policy?: BreakerPolicy.Input, name = "api") =>
  Effect.gen(function* () {
    for (let failures = 1; failures <= 20; failures++) {
      yield* fail(key, policy, name)
      if ((yield* CircuitBreaker.state(name, { key })) === "Open") return failures
    }
    return Infinity
  })

const provided = <A, E>(
  program: Effect.Effect<A, E, BreakerStore.BreakerStore>,
  policies: Layer.Layer<never, BreakerPolicy.PolicyError> = Layer.empty,
  maxCircuits = 1_000
) => program.pipe(Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits })), Effect.provide(policies))

const byKey = { basic: opensAt(2), premium: { ...opensAt(6), cooldown: "5 seconds" } } as const
const byFunction = (key: string) =>
  key.startsWith("basic") ? byKey.basic : key.startsWith("premium") ? byKey.premium : undefined

const ways: ReadonlyArray<readonly [how: string, keys: NonNullable<BreakerPolicy.Input["keys"]>]> = [
  ["an object", byKey],
  ["data", JSON.parse(JSON.stringify(byKey))],
  ["a function", byFunction],
  ["a function that creates each policy again", (key) => structuredClone(byFunction(key))]
]

describe.each(ways)("The policy of a key, by %s", (_, keys) => {
  const policy = { ...opensAt(4), cooldown: "20 seconds", keys } as const
  const expected = Effect.gen(function* () {
    const call = (key?: string) => opensAfter(key, undefined)
    assert.deepStrictEqual(
      [yield* call("basic"), yield* call("premium"), yield* call("other"), yield* call()],
      [2, 6, 4, 4]
    )
    yield* TestClock.adjust("5 seconds")
    const passes = (key: string) =>
      Effect.map(Effect.exit(CircuitBreaker.protect(Effect.void, "api", { key })), Exit.isSuccess)
    assert.deepStrictEqual(
      [yield* passes("premium"), yield* passes("basic"), yield* passes("other")],
      [true, false, false]
    )
  })

  it.effect("holds for its key, and that of the name for all other keys and for the name itself", () =>
    provided(expected, BreakerPolicy.layer({ breakers: { api: policy } }))
  )

  it.effect("holds for every name in `default`, and with a policy beside the call", () =>
    Effect.andThen(
      provided(expected, BreakerPolicy.layer({ default: policy })),
      provided(
        Effect.gen(function* () {
          const all = [
            yield* opensAfter("basic", policy),
            yield* opensAfter("premium", policy),
            yield* opensAfter("x", policy)
          ]
          assert.deepStrictEqual(all, [2, 6, 4])
        })
      )
    )
  )

  it.effect("holds for an operator, an inspection and a budget before the first call", () =>
    provided(
      Effect.gen(function* () {
        yield* CircuitBreaker.open("api", { key: "premium" })
        yield* CircuitBreaker.open("api", { key: "other" })
        const wait = (key: string) =>
          Effect.map(CircuitBreaker.inspect("api", { key }), ({ retryAfter }) => String(retryAfter))
        assert.notStrictEqual(yield* wait("premium"), yield* wait("other"))
        yield* TestClock.adjust("5 seconds")
        assert.isTrue(
          Exit.isSuccess(yield* Effect.exit(CircuitBreaker.protect(Effect.void, "api", { key: "premium" })))
        )
      }),
      BreakerPolicy.layer({ breakers: { api: policy } })
    )
  )

  it.effect("holds for a tenant", () =>
    provided(
      Effect.gen(function* () {
        const call = Effect.exit(CircuitBreaker.protect(Effect.fail("down"), "api"))
        yield* Effect.replicateEffect(Tenant.within(call, "basic"), 2)
        yield* Effect.replicateEffect(Tenant.within(call, "premium"), 5)
        const states = Effect.forEach(["basic", "premium"], (key) => CircuitBreaker.state("api", { key }))
        assert.deepStrictEqual(yield* states, ["Open", "Closed"])
      }),
      BreakerPolicy.layer({ breakers: { api: policy } })
    )
  )

  it.effect("holds in a fleet, where processes agree about each key under its own policy", () =>
    Effect.gen(function* () {
      const fleet = yield* TestFleet.make(2, { policies: { breakers: { api: policy } } })
      for (const process of fleet.processes) {
        yield* process.run(Effect.replicateEffect(fail("basic"), 2))
        yield* process.run(Effect.replicateEffect(fail("premium"), 2))
      }
      for (let i = 0; i < 20; i++) yield* TestClock.adjust("100 millis")
      for (const process of fleet.processes) {
        const found = yield* process.run(
          Effect.forEach(["basic", "premium"], (key) => CircuitBreaker.inspect("api", { key }))
        )
        assert.deepStrictEqual(
          found.map(({ scope, state }) => `${state} ${scope}`),
          ["Open fleet", "Closed local"]
        )
      }
    }).pipe(Effect.scoped)
  )
})

describe("Policies of keys", () => {
  it.effect("change with a reload: circuits keep their state", () => {
    let keys: BreakerPolicy.Input["keys"] = { a: opensAt(9), b: opensAt(9) }
    return provided(
      Effect.gen(function* () {
        yield* Effect.replicateEffect(fail("a"), 2)
        yield* Effect.replicateEffect(fail("b"), 2)
        assert.strictEqual(yield* BreakerPolicy.reload, false)
        keys = { a: opensAt(3), b: opensAt(9) }
        assert.strictEqual(yield* BreakerPolicy.reload, true)
        assert.deepStrictEqual([yield* opensAfter("a"), yield* opensAfter("b")], [1, 7])
        keys = undefined
        assert.strictEqual(yield* BreakerPolicy.reload, true)
        assert.strictEqual(yield* opensAfter("c"), 5)
      }),
      BreakerPolicy.layerReloading(Effect.sync(() => ({ breakers: { api: { keys } } })))
    )
  })

  it.effect("stand above a variable for the name", () =>
    provided(
      Effect.gen(function* () {
        assert.deepStrictEqual([yield* opensAfter("a"), yield* opensAfter("b")], [2, 3])
      }),
      Layer.provide(
        BreakerPolicy.layerConfig({ breakers: { api: { keys: { a: opensAt(2) } } } }),
        ConfigProvider.layer(ConfigProvider.fromEnv({ env: { CIRCUIT_BREAKER_API_THRESHOLD: "3" } }))
      )
    )
  )

  it.effect("are the same policy at two places, and another one if they differ", () =>
    provided(
      Effect.gen(function* () {
        yield* fail("a", { keys: { a: opensAt(3) } })
        assert.deepStrictEqual(yield* fail("a", { keys: { a: opensAt(3) } }), Exit.fail("down"))
        const exit = yield* fail("a", { keys: { a: opensAt(4) } })
        assert.include(String(exit), "they differ in keys")
        assert.include(String(yield* fail("a", opensAt(4))), "with `keys` for the keys that differ")
      })
    )
  )

  it.effect("of a function are bounded as circuits are: it is asked once for each circuit", () => {
    let asked = 0
    const keys = (key: string) => {
      asked++
      return key === "" ? undefined : { trip: Trip.consecutive(1 + (key.length % 3)) }
    }
    return provided(
      Effect.gen(function* () {
        const call = (key: string) => CircuitBreaker.protect(Effect.void, "api", { key })
        for (let i = 0; i < 10; i++) yield* call("one")
        assert.strictEqual(asked, 1)
        for (let i = 0; i < 500; i++) yield* call(`k${i}`)
        assert.strictEqual((yield* BreakerStore.stats).circuits, 20)
        assert.strictEqual(asked, 501)
        // Keys that share a circuit have the policy of the name.
        yield* call("x".repeat(600))
        assert.strictEqual(asked, 501)
      }),
      BreakerPolicy.layer({ breakers: { api: { keys } } }),
      20
    )
  })

  const broken: ReadonlyArray<readonly [what: string, keys: (key: string) => never, message: string]> = [
    ["throws", () => assert.fail("no such tenant"), "no such tenant"],
    [
      "returns a field that is wrong",
      () => ({ probes: 0, retries: 1 }) as never,
      "keys.probes: expected a whole number"
    ],
    ["returns no policy", () => 5 as never, "keys: expected an object"],
    ["returns a field of the name", () => ({ tenants: "shared" }) as never, "keys.tenants: unknown field"]
  ]
  it.effect.each(broken)("of a function that %s are those of the name, which is logged once", ([, keys, message]) => {
    const lines: Array<Line> = []
    const program = Effect.gen(function* () {
      assert.deepStrictEqual([yield* opensAfter("a\u001b"), yield* opensAfter("b")], [2, 2])
      yield* Effect.yieldNow
    })
    const run = provided(program, BreakerPolicy.layer({ breakers: { api: { ...opensAt(2), keys } } }))
    return Effect.map(capture(lines, run), () => {
      const errors = lines.flatMap(({ level, message }) => (level === "Error" ? [message] : []))
      assert.lengthOf(errors, 1)
      assert.include(errors[0], 'The policy of the circuit "api" ["a\\u001b"] cannot be used')
      assert.include(errors[0], message)
    })
  })

  const wrong: ReadonlyArray<readonly [keys: unknown, path: string]> = [
    [5, "breakers.api.keys"],
    [["a"], "breakers.api.keys"],
    [{ a: { probes: 0 } }, "breakers.api.keys.a.probes"],
    [{ a: { trip: { _tag: "Custom", name: "b" } } }, "breakers.api.keys.a.trip.name"],
    [{ a: { keys: {} } }, "breakers.api.keys.a.keys"],
    [{ a: { tenants: "shared" } }, "breakers.api.keys.a.tenants"],
    [{ a: { dependsOn: ["b"] } }, "breakers.api.keys.a.dependsOn"],
    [{ a: { fleet: false } }, "breakers.api.keys.a.fleet"]
  ]
  it.effect.each(wrong)("that are wrong name the key and the field: %j", ([keys, path]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Layer.build(BreakerPolicy.layer({ breakers: { api: { keys: keys as never } } })))
      assert.strictEqual(error.problems[0]?.path, path)
    }).pipe(Effect.scoped)
  )

  it.effect("may have any name", () => {
    const keys = JSON.parse(
      '{"__proto__":{"probes":2,"trip":{"_tag":"Consecutive","failures":2}},"constructor":{"probes":3}}'
    )
    return provided(
      Effect.gen(function* () {
        assert.deepStrictEqual([yield* opensAfter("__proto__"), yield* opensAfter("toString")], [2, 5])
      }),
      BreakerPolicy.layer({ breakers: { api: { keys } } })
    )
  })

  it.effect("are played by the simulator, each as a policy of its own", () =>
    Effect.gen(function* () {
      const trace = Simulator.load({ rate: 10, for: "1 minute", outages: [{ at: "10 seconds", for: "20 seconds" }] })
      const policy = { ...opensAt(2), cooldown: "1 second", keys: { slow: { cooldown: "50 seconds" } } } as const
      const reports = yield* Simulator.run(trace, { api: policy })
      assert.deepStrictEqual(
        reports.map((one) => one.policy),
        ["api", "api/slow"]
      )
      const [api, slow] = yield* Simulator.run(trace, {
        api: { ...opensAt(2), cooldown: "1 second" },
        slow: { ...opensAt(2), cooldown: "50 seconds" }
      })
      assert(api !== undefined && slow !== undefined)
      assert.deepStrictEqual(reports, [api, { ...slow, policy: "api/slow" }])
      const keys = { slow: { cooldown: "soon" as never } }
      const { problems } = yield* Effect.flip(Simulator.run(trace, { api: { keys } }))
      assert.deepStrictEqual(
        problems.map(({ path }) => path),
        ["api.keys.slow.cooldown"]
      )
    })
  )
})
