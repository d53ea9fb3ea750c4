import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Result, Schedule } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"
import { createBreaker } from "effect-fuse/promise"

type Input = BreakerPolicy.Input

const decode = (input: unknown) => BreakerPolicy.decode(input as Input)

const problemsOf = <A>(self: Effect.Effect<A, BreakerPolicy.PolicyError>) =>
  Effect.map(Effect.flip(self), ({ message }) => message)

const load = (settings: BreakerPolicy.Settings, env?: Readonly<Record<string, string>>) =>
  Effect.provide(
    Effect.map(BreakerPolicy.Policies, ({ get }) => get),
    env === undefined
      ? BreakerPolicy.layer(settings)
      : Layer.provide(BreakerPolicy.layerConfig(settings), ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
  )

describe("the limit of a policy", () => {
  it.each([
    [undefined, false],
    [false, false],
    [true, { objectiveMillis: 0, max: Infinity }],
    [{}, { objectiveMillis: 0, max: Infinity }],
    [{ objective: "200 millis" }, { objectiveMillis: 200, max: Infinity }],
    [
      { objective: "1s", max: 7 },
      { objectiveMillis: 1_000, max: 7 }
    ]
  ])("can be %j", (limit, expected) => {
    const policy = Result.getOrThrow(decode({ limit }))
    assert.deepStrictEqual(policy.limit, expected as BreakerPolicy.Policy["limit"])
  })

  const whole = "expected a whole number of 1 or more"
  it.each([
    [7, 'limit: expected true, false, or an object such as { objective: "200 millis", max: 100 }, got 7'],
    ["on", 'limit: expected true, false, or an object such as { objective: "200 millis", max: 100 }, got "on"'],
    [{ max: 0 }, `limit.max: ${whole}, got 0`],
    [{ max: 1.5 }, `limit.max: ${whole}, got 1.5`],
    [{ objective: 0 }, 'limit.objective: expected a duration above 0 such as "30s" or "30 seconds", got 0'],
    [{ maximum: 5 }, "limit.maximum: unknown field, expected one of objective, max"]
  ])("cannot be %j", (limit, message) => {
    const result = decode({ limit })
    assert.strictEqual(Result.isFailure(result) ? result.failure.message : "", message)
  })
})

describe("the default cooldown", () => {
  const growing = Schedule.exponential("1 second")
  const cooldowns: ReadonlyArray<readonly [what: string, common: Input, own: Input, expected: unknown]> = [
    ["is 30 seconds without a limit", {}, {}, 30_000],
    ["is 5 seconds with a limit", {}, { limit: true }, 5_000],
    ["is 5 seconds with a limit in the common policy", { limit: true }, {}, 5_000],
    ["is 30 seconds if a circuit has no limit, but the others do", { limit: true }, { limit: false }, 30_000],
    ["does not replace a cooldown that is given", {}, { limit: true, cooldown: "30 seconds" }, 30_000],
    ["does not replace a cooldown of the common policy", { cooldown: "30 seconds" }, { limit: true }, 30_000],
    ["does not replace a schedule", { cooldown: growing }, { limit: true }, growing]
  ]
  it.effect.each(cooldowns)("%s", ([, common, own, expected]) =>
    Effect.gen(function* () {
      const get = yield* load({ default: common, breakers: { api: own } })
      assert.strictEqual(get("api").cooldown, expected)
    })
  )

  it.effect("is 5 seconds for a call that declares a limit, and for a key with a limit", () =>
    Effect.gen(function* () {
      const policy: Input = { keys: { slow: { limit: true } } }
      yield* CircuitBreaker.protect(Effect.void, "a", { policy: { limit: true } })
      yield* CircuitBreaker.protect(Effect.void, "b", { policy, key: "slow" })
      yield* CircuitBreaker.protect(Effect.void, "b", { policy, key: "other" })
      const store = yield* BreakerStore.BreakerStore
      const found = [store.peek("a", undefined), store.peek("b", "slow"), store.peek("b", "other")]
      assert.deepStrictEqual(
        found.map((one) => one?.policy.cooldown),
        [5_000, 5_000, 30_000]
      )
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )
})

describe("a limit together with a ramp", () => {
  const why = (ramp: number) =>
    `expected no limit together with a ramp (ramp: ${ramp} ms): a limit already begins with few calls after a close`

  it.effect("is an error that names both fields, in one policy or in merged policies", () =>
    Effect.gen(function* () {
      const both = { limit: true, ramp: "1 second" } as const
      assert.strictEqual(yield* problemsOf(load({ default: both })), `default.limit: ${why(1_000)}`)
      assert.strictEqual(
        yield* problemsOf(load({ default: { ramp: 9 }, breakers: { api: { limit: true } } })),
        `breakers.api.limit: ${why(9)}`
      )
      assert.strictEqual(
        yield* problemsOf(load({ default: { limit: true }, breakers: { api: { ramp: 9 } } })),
        `breakers.api.limit: ${why(9)}`
      )
      assert.strictEqual(
        yield* problemsOf(load({ default: { ramp: 9, keys: { a: { limit: true } } } })),
        `default.keys.a.limit: ${why(9)}`
      )
    })
  )

  it.effect.each<readonly [variable: string, settings: BreakerPolicy.Settings, env: Readonly<Record<string, string>>]>([
    ["CIRCUIT_BREAKER_LIMIT", { default: { ramp: 9 } }, { CIRCUIT_BREAKER_LIMIT: "true" }],
    ["CIRCUIT_BREAKER_RAMP", { default: { limit: true } }, { CIRCUIT_BREAKER_RAMP: "9 millis" }],
    [
      "CIRCUIT_BREAKER_LIMIT_OBJECTIVE",
      {},
      { CIRCUIT_BREAKER_RAMP: "9 millis", CIRCUIT_BREAKER_LIMIT_OBJECTIVE: "1 second" }
    ],
    [
      "CIRCUIT_BREAKER_MY_API_RAMP",
      { default: { limit: true }, names: ["my.api"] },
      { CIRCUIT_BREAKER_MY_API_RAMP: "9 millis" }
    ],
    [
      "CIRCUIT_BREAKER_API_LIMIT_MAX",
      {},
      { CIRCUIT_BREAKER_RAMP: "9 millis", CIRCUIT_BREAKER_API_LIMIT_MAX: "4", CIRCUIT_BREAKER_API_COOLDOWN: "1 second" }
    ]
  ])("is an error that names %s if the variable causes it", ([variable, settings, env]) =>
    Effect.map(problemsOf(load(settings, env)), (problems) => assert.strictEqual(problems, `${variable}: ${why(9)}`))
  )

  it.effect("is no error if one of them is off", () =>
    Effect.gen(function* () {
      const get = yield* load({
        default: { ramp: "1 second" },
        breakers: { api: { limit: true, ramp: 0 }, db: { limit: false } }
      })
      assert.deepStrictEqual([get("api").rampMillis, get("db").rampMillis], [0, 1_000])
    })
  )

  it("is an error of protect and of createBreaker", () => {
    const both = { limit: true, ramp: 9 } as const
    assert.throws(() => CircuitBreaker.protect("api", { policy: both }), RangeError, `policy.limit: ${why(9)}`)
    assert.throws(() => createBreaker(async () => 1, both), why(9))
  })

  it.effect("from a function of the key is not used; the policy of the name applies", () =>
    Effect.gen(function* () {
      const policy: Input = { ramp: 9, keys: () => ({ limit: true }) }
      const store = yield* BreakerStore.BreakerStore
      yield* CircuitBreaker.protect(Effect.void, "api", { policy, key: "a" })
      assert.strictEqual(store.peek("api", "a")?.policy.limit, false)
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )
})

describe("the environment", () => {
  const unlimited = { objectiveMillis: 0, max: Infinity }
  const variables: ReadonlyArray<readonly [Readonly<Record<string, string>>, unknown]> = [
    [{ LIMIT: "true" }, unlimited],
    [{ LIMIT: "false" }, false],
    [{ LIMIT_MAX: "7" }, { objectiveMillis: 0, max: 7 }],
    [{ LIMIT_OBJECTIVE: "200ms" }, { objectiveMillis: 200, max: Infinity }],
    [{ LIMIT: "false", LIMIT_MAX: "7" }, false],
    [
      { LIMIT: "true", LIMIT_MAX: "7", LIMIT_OBJECTIVE: "0.2" },
      { objectiveMillis: 200, max: 7 }
    ]
  ]
  it.effect.each(variables)("sets the limit of all circuits, or of one: %j", ([given, expected]) =>
    Effect.gen(function* () {
      const named = (prefix: string) =>
        Object.fromEntries(Object.entries(given).map(([field, text]) => [`CIRCUIT_BREAKER_${prefix}${field}`, text]))
      assert.deepStrictEqual((yield* load({}, named("")))("api").limit, expected as BreakerPolicy.Policy["limit"])
      const get = yield* load({}, named("API_"))
      assert.deepStrictEqual([get("api").limit, get("other").limit], [expected, false] as never)
    })
  )

  it.effect("sets a part for one circuit and takes the rest from all", () =>
    Effect.gen(function* () {
      const get = yield* load({}, { CIRCUIT_BREAKER_LIMIT_OBJECTIVE: "1", CIRCUIT_BREAKER_API_LIMIT_MAX: "7" })
      assert.deepStrictEqual(get("api").limit, { objectiveMillis: 1_000, max: 7 })
    })
  )
})
