import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { BreakerPolicy, Trip } from "effect-fuse"
import { expectedDuration } from "../src/core/millis.ts"

type Policy = BreakerPolicy.Policy
type Env = Readonly<Record<string, string>>

/** The policies of a program with the environment `env`. */
const load = (env: Env, settings?: unknown) => {
  const provider = ConfigProvider.layer(ConfigProvider.fromEnv({ env }))
  const layer = BreakerPolicy.layerConfig(settings as BreakerPolicy.Settings)
  return BreakerPolicy.Policies.pipe(Effect.provide(layer.pipe(Layer.provide(provider))))
}

const problemsOf = (env: Env, settings?: unknown) =>
  Effect.map(Effect.flip(load(env, settings)), (error) => {
    assert.strictEqual(error._tag, "PolicyError")
    return error.problems
  })

const paths = (problems: ReadonlyArray<{ readonly path: string }>) => problems.map((one) => one.path).toSorted()

const streak = (failures: number) => ({ _tag: "Consecutive", failures })
const rate = (threshold: number, minimumCalls: number, millis: number) => ({
  _tag: "FailureRate",
  threshold,
  minimumCalls,
  over: { _tag: "Time", millis }
})
const any = (...trips: ReadonlyArray<object>) => ({ _tag: "Any", trips })

const fields: ReadonlyArray<readonly [field: string, text: string, policyField: keyof Policy, value: unknown]> = [
  ["THRESHOLD", "3", "trip", any(streak(3))],
  ["FAILURE_RATE", "0.25", "trip", any(rate(0.25, 20, 10_000))],
  ["FAILURE_RATE", "1", "trip", any(rate(1, 20, 10_000))],
  ["MINIMUM_CALLS", "5", "trip", any(rate(0.5, 5, 10_000))],
  ["WINDOW", "60", "trip", any(rate(0.5, 20, 60_000))],
  ["WINDOW", "1e21", "trip", any(rate(0.5, 20, 1e24))],
  ["WINDOW", "2 minutes", "trip", any(rate(0.5, 20, 120_000))],
  ["COOLDOWN", "5", "cooldown", 5_000],
  ["COOLDOWN", "0", "cooldown", 0],
  ["COOLDOWN", "0.25", "cooldown", 250],
  ["COOLDOWN", "5 millis", "cooldown", 5],
  ["MAX_COOLDOWN", "90", "maxCooldownMillis", 90_000],
  ["MAX_COOLDOWN", "1 hour", "maxCooldownMillis", 3_600_000],
  ["PROBE_TIMEOUT", "1.5", "probeTimeoutMillis", 1_500],
  ["PROBE_TIMEOUT", "10 seconds", "probeTimeoutMillis", 10_000],
  ["SLOW_CALL", "3", "slowCallMillis", 3_000],
  ["SLOW_CALL", "100 millis", "slowCallMillis", 100],
  ["RAMP", "10", "rampMillis", 10_000],
  ["RAMP", "0", "rampMillis", 0],
  ["RAMP", "1 minute", "rampMillis", 60_000],
  ["PROBES", "4", "probes", 4],
  ["PROBES", "9007199254740991", "probes", Number.MAX_SAFE_INTEGER],
  ["SUCCESSES_TO_CLOSE", "2", "successesToClose", 2],
  ["FAILURES_TO_REOPEN", "3", "failuresToReopen", 3],
  ["MODE", "observe", "mode", "observe"],
  ["MODE", "enforce", "mode", "enforce"],
  ["ENABLED", "false", "enabled", false],
  ["ENABLED", "true", "enabled", true],
  ["SPAN", "true", "span", true],
  ["SPAN", "false", "span", false]
]

describe("the environment", () => {
  it.effect.each(fields)("sets a field for every circuit: CIRCUIT_BREAKER_%s=%s", ([field, text, policyField, value]) =>
    Effect.gen(function* () {
      const policies = yield* load({ [`CIRCUIT_BREAKER_${field}`]: text })
      const expected = { ...BreakerPolicy.defaults, [policyField]: value } as Policy
      for (const name of ["api", "my-api", "__proto__"]) assert.deepStrictEqual(policies.get(name), expected)
    })
  )

  it.effect.each(fields)(
    "sets a field for one circuit: CIRCUIT_BREAKER_MY_API_%s=%s",
    ([field, text, policyField, value]) =>
      Effect.gen(function* () {
        const env = { [`CIRCUIT_BREAKER_MY_API_${field}`]: text }
        const expected = { ...BreakerPolicy.defaults, [policyField]: value } as Policy
        for (const settings of [undefined, { names: ["my-api", "api"] }, { breakers: { "my-api": {}, api: {} } }]) {
          const policies = yield* load(env, settings)
          assert.deepStrictEqual(policies.get("my-api"), expected)
          for (const other of ["api", "my", "my-api-2"]) {
            assert.deepStrictEqual(policies.get(other), BreakerPolicy.defaults)
          }
        }
      })
  )

  it.effect.each([
    ["api", "API"],
    ["my-api", "MY_API"],
    ["my_api", "MY_API"],
    ["My.Api", "MY_API"],
    ["my -- api", "MY_API"],
    ["http://host:80/v1", "HTTP_HOST_80_V1"],
    ["1", "1"],
    ["007", "007"],
    ["shard 999", "SHARD_999"],
    ["max", "MAX"]
  ] as const)("calls the circuit %s %s", ([name, variable]) =>
    Effect.gen(function* () {
      const env = { [`CIRCUIT_BREAKER_${variable}_PROBES`]: "7" }
      for (const settings of [undefined, { names: [name] }, { breakers: { [name]: {} } }]) {
        const policies = yield* load(env, settings)
        assert.strictEqual(policies.get(name).probes, 7)
        assert.strictEqual(policies.get("other").probes, 1)
      }
    })
  )

  it.effect("takes MAX_COOLDOWN for the field and not for the cooldown of a circuit called max", () =>
    Effect.gen(function* () {
      const policies = yield* load({ CIRCUIT_BREAKER_MAX_COOLDOWN: "5", CIRCUIT_BREAKER_MAX_MAX_COOLDOWN: "6" })
      assert.deepStrictEqual(policies.get("api"), { ...BreakerPolicy.defaults, maxCooldownMillis: 5_000 })
      assert.deepStrictEqual(policies.get("max"), { ...BreakerPolicy.defaults, maxCooldownMillis: 6_000 })
    })
  )

  it.effect("puts the fields of a trip together, and lets one circuit take the rest from all", () =>
    Effect.gen(function* () {
      const policies = yield* load({
        CIRCUIT_BREAKER_THRESHOLD: "9",
        CIRCUIT_BREAKER_WINDOW: "30",
        CIRCUIT_BREAKER_A_FAILURE_RATE: "0.1",
        CIRCUIT_BREAKER_B_THRESHOLD: "2",
        CIRCUIT_BREAKER_C_COOLDOWN: "1"
      })
      assert.deepStrictEqual(policies.get("a").trip, any(streak(9), rate(0.1, 20, 30_000)) as Trip.Trip)
      assert.deepStrictEqual(policies.get("b").trip, any(streak(2), rate(0.5, 20, 30_000)) as Trip.Trip)
      for (const name of ["c", "d"]) {
        assert.deepStrictEqual(policies.get(name).trip, any(streak(9), rate(0.5, 20, 30_000)) as Trip.Trip)
      }
    })
  )

  it.effect(
    "overrides the default in code field by field, and one circuit in code if the variable names that circuit",
    () =>
      Effect.gen(function* () {
        const settings: BreakerPolicy.Settings = {
          default: { cooldown: "1 second", probes: 2, trip: Trip.consecutive(8) },
          breakers: { a: { probes: 3, successesToClose: 4, trip: Trip.consecutive(7) }, b: { ramp: 5 } }
        }
        const policies = yield* load(
          {
            CIRCUIT_BREAKER_COOLDOWN: "9",
            CIRCUIT_BREAKER_THRESHOLD: "6",
            CIRCUIT_BREAKER_A_PROBES: "30",
            CIRCUIT_BREAKER_A_THRESHOLD: "5"
          },
          settings
        )
        const common = { ...BreakerPolicy.defaults, cooldown: 9_000, probes: 2, trip: any(streak(6)) as Trip.Trip }
        assert.deepStrictEqual(policies.get("other"), common)
        assert.deepStrictEqual(policies.get("b"), { ...common, rampMillis: 5 })
        const trip = any(streak(5)) as Trip.Trip
        assert.deepStrictEqual(policies.get("a"), { ...common, probes: 30, successesToClose: 4, trip })
      })
  )

  it.effect("for all circuits yields to the code for one circuit, and for that circuit it does not", () =>
    Effect.gen(function* () {
      const settings: BreakerPolicy.Settings = {
        default: { cooldown: "4 seconds", successesToClose: 4 },
        breakers: { a: { cooldown: "9 seconds", trip: Trip.consecutive(7), mode: undefined }, b: {} }
      }
      const all = {
        CIRCUIT_BREAKER_COOLDOWN: "1",
        CIRCUIT_BREAKER_FAILURE_RATE: "0.1",
        CIRCUIT_BREAKER_PROBES: "3",
        CIRCUIT_BREAKER_MODE: "observe"
      }
      const said = { ...BreakerPolicy.defaults, successesToClose: 4, probes: 3, mode: "observe" } as const
      const rateOnly = any(rate(0.1, 20, 10_000)) as Trip.Trip
      const policies = yield* load(all, settings)
      assert.deepStrictEqual(policies.get("a"), { ...said, cooldown: 9_000, trip: streak(7) as Trip.Trip })
      for (const name of ["b", "other"]) {
        assert.deepStrictEqual(policies.get(name), { ...said, cooldown: 1_000, trip: rateOnly })
      }
      const one = { ...all, CIRCUIT_BREAKER_A_COOLDOWN: "2", CIRCUIT_BREAKER_A_THRESHOLD: "5" }
      const trip = any(streak(5), rate(0.1, 20, 10_000)) as Trip.Trip
      assert.deepStrictEqual((yield* load(one, settings)).get("a"), { ...said, cooldown: 2_000, trip })
    })
  )

  it.effect("gives the defaults when it is empty, and reads nothing that does not begin with CIRCUIT_BREAKER_", () =>
    Effect.gen(function* () {
      for (const env of [
        {},
        { CIRCUIT_BREAKER: "on" },
        { THRESHOLD: "1", COOLDOWN: "x", API_COOLDOWN: "1", CIRCUIT: "1", CIRCUIT_COOLDOWN: "1", PATH: "/bin" },
        { CIRCUIT_BREAKERS_COOLDOWN: "1", circuit_breaker_COOLDOWN: "1", MY_CIRCUIT_BREAKER_COOLDOWN: "1" },
        { CIRCUIT_BREAKER_COOLDOWN: "", CIRCUIT_BREAKER_API_PROBES: "" }
      ]) {
        assert.deepStrictEqual((yield* load(env)).get("api"), BreakerPolicy.defaults)
      }
      assert.strictEqual((yield* load({}, { default: { probes: 2 }, breakers: { a: {} } })).get("a").probes, 2)
      const both = { CIRCUIT_BREAKER: "3", CIRCUIT_BREAKER_PROBES: "2" }
      assert.deepStrictEqual((yield* load(both)).get("api"), { ...BreakerPolicy.defaults, probes: 2 })
    })
  )

  it.effect("also checks the policies in code", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(paths(yield* problemsOf({}, { default: { probes: 0 } })), ["default.probes"])
      const breakers = { a: { probes: -1 } }
      assert.deepStrictEqual(paths(yield* problemsOf({ CIRCUIT_BREAKER_A_RAMP: "1" }, { breakers })), [
        "breakers.a.probes"
      ])
      for (const a of [5, null, "x"]) {
        const settings = { breakers: { a } }
        assert.deepStrictEqual(paths(yield* problemsOf({ CIRCUIT_BREAKER_A_RAMP: "1" }, settings)), ["breakers.a"])
      }
      for (const [settings, path] of [
        [null, ""],
        [5, ""],
        [{ default: 5 }, "default"],
        [{ breakers: 5 }, "breakers"],
        [{ breakers: null }, "breakers"],
        [{ names: 7 }, "names"],
        [{ names: "abc" }, "names"],
        [{ names: ["a", 5] }, "names.1"],
        [{ trips: 5 }, "trips"]
      ] as const) {
        for (const env of [{}, { CIRCUIT_BREAKER_PROBES: "2" }]) {
          assert.deepStrictEqual(paths(yield* problemsOf(env, settings)), [path])
        }
      }
    })
  )

  const whole = "a whole number of 1 or more"
  const part = "a number above 0 and at most 1"
  const wrong: ReadonlyArray<readonly [fields: string, texts: ReadonlyArray<string>, expected: string]> = [
    [
      "THRESHOLD MINIMUM_CALLS PROBES SUCCESSES_TO_CLOSE FAILURES_TO_REOPEN",
      ["0", "-1", "1.5", "five", "Infinity", "NaN", " "],
      whole
    ],
    ["FAILURE_RATE", ["0", "-0.1", "1.01", "50%", "half", "NaN", "Infinity", " "], part],
    [
      "COOLDOWN RAMP",
      ["-1", "-1 second", "10 sconds", "10S", "soon", "NaN", "Infinity", " "],
      `${expectedDuration.zeroOrMore}, or a number of seconds`
    ],
    [
      "WINDOW MAX_COOLDOWN PROBE_TIMEOUT SLOW_CALL",
      ["0", "0 seconds", "-1", "10 sconds", "soon", "NaN", "Infinity", " "],
      `${expectedDuration.aboveZero}, or a number of seconds`
    ],
    ["MODE", ["Observe", "off", "true"], '"enforce" or "observe"'],
    ["ENABLED", ["yes", "1", "TRUE", "0"], '"true" or "false"'],
    ["SPAN", ["yes", "32"], '"true" or "false"']
  ]
  const huge = ["9007199254740992", "9".repeat(400)]
  const tooMuch: typeof wrong = [
    ["THRESHOLD MINIMUM_CALLS PROBES SUCCESSES_TO_CLOSE FAILURES_TO_REOPEN", huge, whole],
    ["COOLDOWN RAMP WINDOW MAX_COOLDOWN PROBE_TIMEOUT SLOW_CALL", ["1e308", "9".repeat(400)], "a duration "]
  ]
  const rows = [...wrong, ...tooMuch].flatMap(([fields, texts, expected]) =>
    fields.split(" ").flatMap((field) => texts.map((text) => [field, text, expected] as const))
  )

  it.effect.each(rows)(
    "refuses CIRCUIT_BREAKER_%s=%s, and names the variable, the value and %s",
    ([field, text, expected]) =>
      Effect.gen(function* () {
        for (const variable of [`CIRCUIT_BREAKER_${field}`, `CIRCUIT_BREAKER_MY_API_${field}`]) {
          const problems = yield* problemsOf({ [variable]: text })
          assert.deepStrictEqual(paths(problems), [variable])
          assert.include(problems[0]?.message, `expected ${expected}`)
          assert.include(problems[0]?.message, `got ${JSON.stringify(text).slice(0, 120)}`)
        }
      })
  )

  it.effect("refuses unknown variables, and lists the known ones", () =>
    Effect.gen(function* () {
      const env = { CIRCUIT_BREAKER_TRESHOLD: "5", CIRCUIT_BREAKER_API_COOLDOWNS: "5", CIRCUIT_BREAKER_PROBES_: "1" }
      const problems = yield* problemsOf({ ...env, CIRCUIT_BREAKER_COOLDOWN: "5" })
      assert.deepStrictEqual(paths(problems), Object.keys(env).toSorted())
      for (const { message } of problems) {
        for (const [field] of fields) assert.include(message, field)
      }
    })
  )

  it.effect("rejects an unknown name with a number above 65,535 without a long search", () =>
    Effect.gen(function* () {
      for (const [before, number, after] of [
        ["CIRCUIT_BREAKER_COOLDOWN_", "4294967290", ""],
        ["CIRCUIT_BREAKER_", "4294967290", "_COOLDOWN"],
        ["CIRCUIT_BREAKER_SHARD_", "65536", "_PROBES"]
      ] as const) {
        const problems = yield* problemsOf({ [`${before}${number}${after}`]: "1" })
        assert.strictEqual(problems.length, 1)
        assert.isTrue(problems[0]?.path.startsWith(before), problems[0]?.path)
        assert.include(problems[0]?.message, "unknown setting; expected one of THRESHOLD")
      }
    })
  )

  it.effect("refuses to choose between names that are written alike, and names them", () =>
    Effect.gen(function* () {
      const env = { CIRCUIT_BREAKER_MY_API_PROBES: "7" }
      for (const settings of [
        { names: ["my-api", "my.api", "api"] },
        { breakers: { "my-api": {}, "my.api": {} } },
        { names: ["my-api"], breakers: { "my.api": {} } }
      ]) {
        const problems = yield* problemsOf(env, settings)
        assert.strictEqual(problems[0]?.path, "CIRCUIT_BREAKER_MY_API_PROBES")
        assert.include(problems[0]?.message, '"my-api" and "my.api" are all written MY_API')
      }
      const policies = yield* load({ CIRCUIT_BREAKER_API_PROBES: "7" }, { names: ["my-api", "my.api", "api"] })
      assert.deepStrictEqual([policies.get("api").probes, policies.get("my-api").probes], [7, 1])
    })
  )

  it.effect("refuses a name that is misspelt, where the names are known", () =>
    Effect.gen(function* () {
      const env = { CIRCUIT_BREAKER_PAYMENT_COOLDOWN: "5", CIRCUIT_BREAKER_MY_API_COOLDOWN: "5" }
      const names = ["payments", "my-api"]
      for (const settings of [{ names }, { breakers: { payments: {}, "my-api": {} } }]) {
        const problems = yield* problemsOf(env, settings)
        assert.deepStrictEqual(paths(problems), ["CIRCUIT_BREAKER_PAYMENT_COOLDOWN"])
        assert.include(problems[0]?.message, 'unknown breaker "PAYMENT"; expected one of PAYMENTS, MY_API')
      }
      const policies = yield* load({ CIRCUIT_BREAKER_MY_API_COOLDOWN: "5" }, { names, breakers: { payments: {} } })
      assert.strictEqual(policies.get("my-api").cooldown, 5_000)
    })
  )

  it.effect("reports all problems at once", () =>
    Effect.gen(function* () {
      const env = { CIRCUIT_BREAKER_MODE: "x", CIRCUIT_BREAKER_A_PROBES: "0", CIRCUIT_BREAKER_X: "1" }
      const error = yield* Effect.flip(load(env))
      assert.deepStrictEqual(paths(error.problems), Object.keys(env).toSorted())
      for (const variable of Object.keys(env)) assert.include(error.message, `${variable}: `)
    })
  )

  it.effect.each(["CIRCUIT_BREAKER_api_PROBES", "CIRCUIT_BREAKER_MY__API_PROBES"])(
    "refuses %s, as no name is written so",
    (variable) =>
      Effect.gen(function* () {
        const problems = yield* problemsOf({ [variable]: "2" })
        assert.deepStrictEqual(paths(problems), [variable])
        assert.match(problems[0]?.message ?? "", /in capitals, as (MY_)?API/)
      })
  )

  it.effect("names the variable of a window too short to be one", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(paths(yield* problemsOf({ CIRCUIT_BREAKER_WINDOW: "1e-10" })), ["CIRCUIT_BREAKER_WINDOW"])
    })
  )

  it.effect("reports problems in code and in the environment in one error", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf({ CIRCUIT_BREAKER_PROBES: "no" }, { default: { probes: 0 } })
      assert.deepStrictEqual(paths(problems), ["CIRCUIT_BREAKER_PROBES", "default.probes"])
    })
  )

  it.effect("shows at most the beginning of an invalid value", () =>
    Effect.gen(function* () {
      const text = "9".repeat(5_000)
      for (const field of ["PROBES", "FAILURE_RATE", "COOLDOWN", "WINDOW", "MODE", "ENABLED"]) {
        const problems = yield* problemsOf({ [`CIRCUIT_BREAKER_${field}`]: `x${text}` })
        assert.isBelow(problems[0]?.message.length ?? Infinity, 300, field)
      }
      const unknown = yield* problemsOf({ [`CIRCUIT_BREAKER_A${text}_PROBES`]: "2" }, { breakers: { api: {} } })
      assert.isBelow(unknown[0]?.message.length ?? Infinity, 300)
    })
  )

  it.effect("reports that the code names no breaker, if it names none", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf({ CIRCUIT_BREAKER_A_PROBES: "2" }, { breakers: {} })
      assert.strictEqual(problems[0]?.message, 'unknown breaker "A"; code names none')
    })
  )

  it.effect("takes numbers in names, up to those of ports", () =>
    Effect.gen(function* () {
      const env = { CIRCUIT_BREAKER_SHARD_1000_PROBES: "2", CIRCUIT_BREAKER_HOST_65535_PROBES: "3" }
      const policies = yield* load(env)
      assert.deepStrictEqual([policies.get("shard-1000").probes, policies.get("host:65535").probes], [2, 3])
    })
  )
})
