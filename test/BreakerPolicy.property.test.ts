import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, ConfigProvider, Effect, Exit, Layer, Result, Schedule, Schema } from "effect"
import { BreakerPolicy, Trip } from "effect-fuse"
import type { Window } from "effect-fuse/core"
import { either, oneOf } from "./support/garbage.ts"

type Policy = BreakerPolicy.Policy

/** Values of every kind that a field may be given, right for some and wrong for others. */
const check = Effect.void
const schedule = Schedule.spaced("1 second")
const nested = (depth: number): Trip.Input => (depth === 0 ? Trip.consecutive(1) : Trip.any(nested(depth - 1)))
const values: ReadonlyArray<unknown> = [
  ...[0, 1, 3, 0.5, -1, NaN, Infinity, 1e300, "", "10 seconds", "10 sconds", "observe", true, false, null, undefined],
  ...[[], ["a"], {}, { seconds: 1 }, Symbol("x"), () => true, check, schedule, new Date(0), nested(3), nested(12)],
  ...[-0, -Infinity, { minute: 5 }, { seconds: NaN }, [1, NaN], "\u2028"],
  ...[{ exponential: 5 }, { exponential: "1 second", factor: 3, jittered: true }, { exponential: NaN, factor: 0 }],
  ...[Trip.any(Trip.consecutive(-1)), { _tag: "Custom", name: "mine" }, { check, schedule: 5 }, Object.create(null)],
  ...[
    Trip.consecutive(2),
    Trip.failures({ atLeast: 1, of: 5 }),
    Trip.weighted({ atLeast: 1, over: "1 second" }),
    Trip.any()
  ]
]
const words = ["failures", "threshold", "minimumCalls", "over", "of", "atLeast", "calls", "olderThan", "name", "x"]
const tags = ["Consecutive", "FailureRate", "SlowRate", "Failures", "Weighted", "Stuck", "Custom", "Any", "All", "x"]
const policyFields =
  "trip slowCall cooldown maxCooldown probes successesToClose failuresToReopen probeTimeout ramp limit probe dependsOn mode enabled tenants span x"
const variables =
  "THRESHOLD FAILURE_RATE MINIMUM_CALLS WINDOW COOLDOWN MAX_COOLDOWN PROBE_TIMEOUT SLOW_CALL RAMP LIMIT LIMIT_OBJECTIVE LIMIT_MAX PROBES SUCCESSES_TO_CLOSE FAILURES_TO_REOPEN MODE ENABLED SPAN"
const numbers = [0, 0.5, 1, 2, 11, -1, 1.5, NaN, "1 second", "x"]

const someOf = (keys: ReadonlyArray<string>, value: Arbitrary.Arbitrary<unknown>): Arbitrary.Arbitrary<object> =>
  Arbitrary.map(Arbitrary.array(Arbitrary.all([oneOf(keys), value]), { maxLength: 4 }), Object.fromEntries)

const json: Arbitrary.Arbitrary<unknown> = Arbitrary.schema(Schema.Json)
const leaf = either(oneOf(values), json)
const tagged = Arbitrary.map(
  Arbitrary.all([oneOf(tags), someOf(words, oneOf(numbers)), Arbitrary.array(leaf, { maxLength: 3 })]),
  ([_tag, fields, trips]) => ({ ...(_tag === "Any" || _tag === "All" ? { trips } : fields), _tag })
)
const anything = either(tagged, leaf)
const policy = either(someOf(policyFields.split(" "), anything), json)

const isMillis = (n: number) => Number.isFinite(n) && n >= 0
const isCount = (n: number) => Number.isSafeInteger(n) && n >= 1
const isShare = (n: number) => n > 0 && n <= 1

const isOver = (over: Window.Over, atLeast = 0) =>
  over._tag === "Calls" ? isCount(over.calls) && atLeast <= over.calls : over.millis > 0 && isMillis(over.millis)

const isTrip = (trip: Trip.Trip): boolean => {
  switch (trip._tag) {
    case "Any":
    case "All":
      return trip.trips.length > 0 && trip.trips.every(isTrip)
    case "Consecutive":
      return isCount(trip.failures)
    case "FailureRate":
    case "SlowRate":
      return isShare(trip.threshold) && isCount(trip.minimumCalls) && isOver(trip.over, trip.minimumCalls)
    case "Failures":
      return isCount(trip.atLeast) && isOver(trip.over, trip.atLeast)
    case "Weighted":
      return trip.atLeast > 0 && isOver(trip.over)
    case "Stuck":
      return isCount(trip.calls) && trip.olderThanMillis > 0
    case "Custom":
      return typeof trip.predicate === "function" && isOver(trip.over)
  }
}

const isCooldown = (cooldown: Policy["cooldown"]): boolean => {
  if (typeof cooldown === "number") return isMillis(cooldown)
  if (Schedule.isSchedule(cooldown)) return true
  const { exponential, factor, jittered, ...rest } = cooldown
  const sound = isMillis(exponential) && exponential > 0 && Number.isFinite(factor) && factor >= 1
  return sound && typeof jittered === "boolean" && Object.keys(rest).length === 0
}

const isProbe = ({ check, schedule }: NonNullable<Policy["probe"]>) =>
  Effect.isEffect(check) && (Schedule.isSchedule(schedule) || (isMillis(schedule) && schedule > 0))

const isLimit = ({ max, objectiveMillis }: Exclude<Policy["limit"], false>, ramp: number): boolean =>
  isMillis(objectiveMillis) && (max === Infinity || isCount(max)) && ramp === 0

const isPolicy = (policy: Policy): boolean =>
  isTrip(policy.trip) &&
  policy.slowCallMillis > 0 &&
  isCooldown(policy.cooldown) &&
  isMillis(policy.maxCooldownMillis) &&
  isMillis(policy.probeTimeoutMillis) &&
  isMillis(policy.rampMillis) &&
  (policy.limit === false || isLimit(policy.limit, policy.rampMillis)) &&
  isCount(policy.probes) &&
  isCount(policy.successesToClose) &&
  isCount(policy.failuresToReopen) &&
  (policy.probe === undefined || isProbe(policy.probe)) &&
  policy.dependsOn.every((name) => name !== "") &&
  ["enforce", "observe"].includes(policy.mode) &&
  (typeof policy.enabled === "boolean" || typeof policy.enabled === "function" || Effect.isEffect(policy.enabled)) &&
  ["separate", "shared", "counted"].includes(policy.tenants)

describe("any input", () => {
  const problem = Schema.Struct({ path: Schema.String, message: Schema.NonEmptyString })
  const isError = (error: BreakerPolicy.PolicyError) =>
    error._tag === "PolicyError" && error.problems.length > 0 && error.problems.every(Schema.is(problem))

  it.prop(
    "decode returns a usable policy, or reports the problems",
    [policy],
    ([input]) => {
      const result = BreakerPolicy.decode(input as BreakerPolicy.Input)
      return Result.isSuccess(result) ? isPolicy(result.success) : isError(result.failure)
    },
    { arbitrary: { runs: 1_000 } }
  )

  const layer = (settings: unknown) =>
    BreakerPolicy.Policies.pipe(Effect.provide(BreakerPolicy.layer(settings as BreakerPolicy.Settings)))

  const layerConfig = (env: Readonly<Record<string, string>>, settings: unknown) => {
    const provider = ConfigProvider.layer(ConfigProvider.fromEnv({ env }))
    const layer = BreakerPolicy.layerConfig(settings as BreakerPolicy.Settings)
    return BreakerPolicy.Policies.pipe(Effect.provide(layer.pipe(Layer.provide(provider))))
  }

  const names = ["a", "b", "", "__proto__"]

  /** Its error, or nothing where it gives policies that can all be used. */
  const sound = (exit: Exit.Exit<BreakerPolicy.Policies, BreakerPolicy.PolicyError>) => {
    if (Exit.isSuccess(exit)) {
      for (const name of [...names, "api", "my", "é", "max"]) assert.isTrue(isPolicy(exit.value.get(name)), name)
      return undefined
    }
    assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
    const error = Cause.squash(exit.cause) as BreakerPolicy.PolicyError
    assert.isTrue(isError(error))
    return error
  }

  const settings = either(
    Arbitrary.all({
      default: policy,
      breakers: either(someOf(names, policy), anything),
      trips: either(Arbitrary.array(anything, { maxLength: 3 }), anything),
      names: either(oneOf([undefined, names]), anything)
    }),
    either(someOf(["default", "breakers", "trips", "names", "x"], anything), anything)
  )

  it.effect.prop(
    "layer builds usable policies, or fails and reports the problems",
    [settings],
    ([input]) => Effect.map(Effect.exit(layer(input)), (exit) => void sound(exit)),
    { arbitrary: { runs: 1_000 } }
  )

  const numbered = ["0", "12", "007", "999", "1001", "4294967290"]
  const part = oneOf([...variables.split(" "), ...numbered, "API", "MY", "", "x", "é", "MAX"])
  const variable = Arbitrary.map(Arbitrary.array(part, { maxLength: 4 }), (parts) =>
    ["CIRCUIT_BREAKER", ...parts].join("_")
  )
  const known = ["1", "0", "-1", "0.5", "NaN", "1e3", "5 seconds", "observe", "true", "__proto__", "", " 1 "]
  const extreme = ["1e21", "1e308", "9007199254740991", "9007199254740992", "9".repeat(400), "Infinity"]
  const text = either(oneOf([...known, ...extreme]), Arbitrary.schema(Schema.String))
  const env = Arbitrary.map(
    Arbitrary.array(Arbitrary.all([variable, text]), { maxLength: 5 }),
    Object.fromEntries<string>
  )

  /** Of a number that is too high a source tells only that there is one. */
  const isIn = (env: Readonly<Record<string, string>>, path: string) =>
    path in env ||
    (path.endsWith("<number>") && Object.keys(env).some((name) => name.startsWith(path.replace("<number>", ""))))

  it.effect.prop(
    "layerConfig makes policies of it that can be used, or fails and names the variables",
    [
      env,
      oneOf<BreakerPolicy.Settings | undefined>([
        undefined,
        { names: ["api", "my"] },
        { breakers: { api: {} } },
        { names: ["my", "MY", "api", "max"], breakers: { max: {} } }
      ])
    ],
    ([env, settings]) =>
      Effect.map(Effect.exit(layerConfig(env, settings)), (exit) => {
        const error = sound(exit)
        for (const { path } of error?.problems ?? []) assert.isTrue(isIn(env, path), path)
      }),
    { arbitrary: { runs: 1_000 } }
  )

  it.effect.prop(
    "layerConfig does the same with settings in code of any shape",
    [env, settings],
    ([env, settings]) => Effect.map(Effect.exit(layerConfig(env, settings)), (exit) => void sound(exit)),
    { arbitrary: { runs: 500 } }
  )
})
