import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schedule } from "effect"
import { BreakerPolicy, Trip } from "effect-fuse"
import { expectedDuration } from "../src/core/millis.ts"

type Policy = BreakerPolicy.Policy

/** What is written may come from a file: the types of the input do not protect it. */
const decode = (input: unknown) => BreakerPolicy.decode(input as BreakerPolicy.Input)

const decoded = (input: unknown): Policy => Result.getOrThrow(decode(input))

const refused = (input: unknown): BreakerPolicy.PolicyError => {
  const result = decode(input)
  assert(Result.isFailure(result), `accepted ${String(input)}`)
  return result.failure
}

const paths = (problems: ReadonlyArray<{ readonly path: string }>) => problems.map((one) => one.path)

const nested = (depth: number): Trip.Input =>
  depth === 0 ? Trip.consecutive(1) : depth % 2 === 0 ? Trip.any(nested(depth - 1)) : Trip.all(nested(depth - 1))

const check = Effect.succeed("healthy")
const schedule = Schedule.exponential("1 second")
const flag = Effect.succeed(true)
const predicate = () => true

describe("the default policy", () => {
  // This list repeats the defaults on purpose. Users rely on them, so a change of a default must fail here first.
  it("has the values that the docs state", () => {
    assert.deepStrictEqual(decoded({}), {
      trip: {
        _tag: "Any",
        trips: [
          { _tag: "Consecutive", failures: 5 },
          { _tag: "FailureRate", threshold: 0.5, minimumCalls: 20, over: { _tag: "Time", millis: 10_000 } }
        ]
      },
      slowCallMillis: 2_000,
      cooldown: 30_000,
      maxCooldownMillis: 600_000,
      probes: 1,
      successesToClose: 1,
      failuresToReopen: 1,
      probeTimeoutMillis: 30_000,
      rampMillis: 0,
      limit: false,
      probe: undefined,
      dependsOn: [],
      mode: "enforce",
      enabled: true,
      tenants: "separate",
      fleet: { suspectAfter: 2, quorum: 0.5, holdMillis: 75, observationMillis: 30_000 },
      span: false,
      keys: undefined
    })
    assert.deepStrictEqual(BreakerPolicy.defaults, decoded({}))
  })

  it.effect("holds for every name without a layer of policies", () =>
    Effect.gen(function* () {
      const policies = yield* BreakerPolicy.Policies
      for (const name of ["api", "", "__proto__", "constructor", "a/b"]) {
        assert.deepStrictEqual(policies.get(name), BreakerPolicy.defaults)
      }
    })
  )
})

const calls = (calls: number) => ({ _tag: "Calls", calls })
const time = (millis: number) => ({ _tag: "Time", millis })

const growing = (exponential: number, factor: number, jittered = false) => ({ exponential, factor, jittered })

const good: ReadonlyArray<readonly [title: string, input: object, field: keyof Policy, value: unknown]> = [
  ["a slow call as text", { slowCall: "1.5 seconds" }, "slowCallMillis", 1_500],
  ["a slow call that never is", { slowCall: "Infinity" }, "slowCallMillis", Infinity],
  ["a slow call that never is, as a number", { slowCall: Infinity }, "slowCallMillis", Infinity],
  ["a cooldown of nothing", { cooldown: 0 }, "cooldown", 0],
  ["a cooldown as text", { cooldown: "2 minutes" }, "cooldown", 120_000],
  ["a cooldown in parts", { cooldown: { minutes: 1, seconds: 30 } }, "cooldown", 90_000],
  ["a cooldown as a schedule", { cooldown: schedule }, "cooldown", schedule],
  ["a cooldown that doubles, as data", { cooldown: { exponential: "1 second" } }, "cooldown", growing(1_000, 2)],
  ["a cooldown that grows, as data", { cooldown: { exponential: 5, factor: 1.5 } }, "cooldown", growing(5, 1.5)],
  [
    "a cooldown with jitter, as data",
    { cooldown: { exponential: 5, jittered: true } },
    "cooldown",
    growing(5, 2, true)
  ],
  ["a longest cooldown", { maxCooldown: "1 hour" }, "maxCooldownMillis", 3_600_000],
  ["a count of probes", { probes: 3 }, "probes", 3],
  ["a count of successes", { successesToClose: 7 }, "successesToClose", 7],
  ["a count of failures", { failuresToReopen: 7 }, "failuresToReopen", 7],
  ["a probe's time", { probeTimeout: 10 }, "probeTimeoutMillis", 10],
  ["a ramp", { ramp: "10 seconds" }, "rampMillis", 10_000],
  ["no ramp", { ramp: 0 }, "rampMillis", 0],
  ["a health check on a schedule", { probe: { check, schedule } }, "probe", { check, schedule, opens: 0 }],
  [
    "a health check at an interval",
    { probe: { check, schedule: "9 millis" } },
    "probe",
    { check, schedule: 9, opens: 0 }
  ],
  [
    "a health check that opens",
    { probe: { check, schedule: 9, opens: true } },
    "probe",
    { check, schedule: 9, opens: 1 }
  ],
  [
    "a health check that opens at the third failure",
    { probe: { check, schedule: 9, opens: 3 } },
    "probe",
    { check, schedule: 9, opens: 3 }
  ],
  ["dependencies", { dependsOn: ["db", "auth"] }, "dependsOn", ["db", "auth"]],
  ["no dependencies", { dependsOn: [] }, "dependsOn", []],
  ["observation", { mode: "observe" }, "mode", "observe"],
  ["being switched off", { enabled: false }, "enabled", false],
  ["a feature flag", { enabled: flag }, "enabled", flag],
  ["shared tenants", { tenants: "shared" }, "tenants", "shared"],
  ["counted tenants", { tenants: "counted" }, "tenants", "counted"]
]

const custom = (over: object) => ({ _tag: "Custom", name: "mine", predicate, over })
const streak = (failures: number) => ({ _tag: "Consecutive", failures })
const widest = { threshold: 1, minimumCalls: 10_000, over: 10_000 }
const some = { threshold: 0.001, minimumCalls: 1, over: "10 seconds" } as const

const goodTrips: ReadonlyArray<readonly [title: string, trip: Trip.Input, decoded: unknown]> = [
  ["a streak", Trip.consecutive(1), streak(1)],
  ["as many failures as calls", Trip.failures({ atLeast: 5, of: 5 }), { _tag: "Failures", atLeast: 5, over: calls(5) }],
  [
    "failures in a time",
    Trip.failures({ atLeast: 9, of: "8.5 millis" }),
    { _tag: "Failures", atLeast: 9, over: time(8.5) }
  ],
  ["a rate of all calls", Trip.failureRate(widest), { _tag: "FailureRate", ...widest, over: calls(10_000) }],
  ["a rate of slow calls", Trip.slowRate(some), { _tag: "SlowRate", ...some, over: time(10_000) }],
  [
    "weights in fractions",
    Trip.weighted({ atLeast: 0.5, over: 3 }),
    { _tag: "Weighted", atLeast: 0.5, over: calls(3) }
  ],
  ["stuck calls", Trip.stuck({ calls: 2, olderThan: 5 }), { _tag: "Stuck", calls: 2, olderThanMillis: 5 }],
  ["a trip of one's own", Trip.custom("mine", predicate), custom(calls(100))],
  ["a trip of one's own over a time", Trip.custom("mine", predicate, { over: "1 minute" }), custom(time(60_000))],
  [
    "trips within each other",
    Trip.any(Trip.all(Trip.consecutive(2), Trip.consecutive(3)), Trip.consecutive(4)),
    { _tag: "Any", trips: [{ _tag: "All", trips: [streak(2), streak(3)] }, streak(4)] }
  ]
]

const duration = expectedDuration.aboveZero
const durationOrNone = expectedDuration.zeroOrMore
const whole = "a whole number of 1 or more"
const factor = "a finite number of 1 or more"
const part = "a number above 0 and at most 1"
const window = "a number of calls from 1 to 10000, or a duration above 0"
const aTrip = "a trip such as Trip.consecutive(5)"
const aList = "a list of one trip or more"
const aName = "a text that is not empty"
const rates = { threshold: 0.5, minimumCalls: 1, over: 10 }
const rate = (fields: object) => ({ trip: { _tag: "FailureRate", ...rates, ...fields } })
const slow = (fields: object) => ({ trip: { _tag: "SlowRate", ...rates, ...fields } })
const one = (trip: object) => ({ trip })

type Bad = readonly [input: object, path: string, got: string, expected: string]

const each = (fields: ReadonlyArray<string>, values: ReadonlyArray<unknown>, expected: string): ReadonlyArray<Bad> =>
  fields.flatMap((field) =>
    values.map((value): Bad => {
      const got = typeof value === "number" ? String(value) : JSON.stringify(value)
      return [{ [field]: value }, field, got, expected]
    })
  )

const cooldown = (fields: object) => ({ cooldown: fields })

const bad: ReadonlyArray<Bad> = [
  ...each(["slowCall", "maxCooldown", "probeTimeout"], ["10 sconds", "10", 0, -1, "-1 second", null, true], duration),
  ...each(["slowCall", "maxCooldown", "probeTimeout"], [NaN, -Infinity, { minute: 5 }], duration),
  ...each(["maxCooldown", "probeTimeout"], ["Infinity", Infinity], duration),
  ...each(["cooldown", "ramp"], ["10 sconds", "10", -1, "-1 second", "Infinity", null, true], durationOrNone),
  ...each(["cooldown", "ramp"], [NaN, Infinity, -Infinity], durationOrNone),
  ...each(["cooldown", "ramp"], [{}, [], [1], [1, 2, 3], { minute: 5 }, { seconds: "5" }], durationOrNone),
  [cooldown({ exponential: 0 }), "cooldown.exponential", "0", duration],
  [cooldown({ exponential: "soon", factor: 2 }), "cooldown.exponential", '"soon"', duration],
  [cooldown({ exponential: "Infinity" }), "cooldown.exponential", '"Infinity"', duration],
  [cooldown({ exponential: 5, factor: 0.5 }), "cooldown.factor", "0.5", factor],
  [cooldown({ exponential: 5, factor: NaN }), "cooldown.factor", "NaN", factor],
  [cooldown({ exponential: 5, factor: Infinity }), "cooldown.factor", "Infinity", factor],
  [cooldown({ exponential: 5, jittered: "yes" }), "cooldown.jittered", '"yes"', "true or false"],
  ...each(
    ["probes", "successesToClose", "failuresToReopen"],
    [0, -3, 1.5, "2", null, NaN, Infinity, -Infinity, 2 ** 53],
    whole
  ),
  ...each(["mode"], ["Enforce", true, null], '"enforce" or "observe"'),
  ...each(["enabled"], ["true", 1, null], "true, false, an effect, or a function of the circuit"),
  ...each(["tenants"], ["own", 0], '"separate", "shared" or "counted"'),
  ...each(["trip"], ["consecutive", null, 5, {}, [], { _tag: "Sometimes" }], aTrip),
  ...each(["dependsOn"], ["db", 5], "a list"),
  [{ dependsOn: ["db", ""] }, "dependsOn.1", '""', aName],
  [{ dependsOn: [7] }, "dependsOn.0", "7", aName],
  [{ probe: { check, schedule, opens: 0 } }, "probe.opens", "0", "true, false, or a whole number of 1 or more"],
  [{ probe: { check: 5, schedule } }, "probe.check", "5", "an effect that needs no services"],
  [{ probe: { check, schedule: 0 } }, "probe.schedule", "0", "a Schedule, or a duration above 0"],
  [one(Trip.consecutive(0)), "trip.failures", "0", whole],
  [one(Trip.consecutive(1.5)), "trip.failures", "1.5", whole],
  [rate({ threshold: 0 }), "trip.threshold", "0", part],
  [rate({ threshold: 1.0001 }), "trip.threshold", "1.0001", part],
  [rate({ threshold: "50%" }), "trip.threshold", '"50%"', part],
  [slow({ threshold: -0.5 }), "trip.threshold", "-0.5", part],
  [rate({ minimumCalls: 0 }), "trip.minimumCalls", "0", whole],
  [rate({ minimumCalls: 11 }), "trip.minimumCalls", "11", "at most the 10 calls"],
  [slow({ minimumCalls: 11 }), "trip.minimumCalls", "11", "at most the 10 calls"],
  [rate({ over: 0 }), "trip.over", "0", window],
  [slow({ over: 2.5 }), "trip.over", "2.5", window],
  [rate({ over: 10_001 }), "trip.over", "10001", window],
  [rate({ over: "10 sconds" }), "trip.over", '"10 sconds"', window],
  [slow({ over: "Infinity" }), "trip.over", '"Infinity"', window],
  [one(Trip.failures({ atLeast: 3, of: 2 })), "trip.atLeast", "3", "at most the 2 calls"],
  [one(Trip.failures({ atLeast: 0, of: 2 })), "trip.atLeast", "0", whole],
  [one(Trip.failures({ atLeast: 1, of: 0 })), "trip.of", "0", window],
  [one(Trip.weighted({ atLeast: 0, over: 2 })), "trip.atLeast", "0", "a finite number above 0"],
  [one(Trip.stuck({ calls: 0, olderThan: 1 })), "trip.calls", "0", whole],
  [one(Trip.stuck({ calls: 1, olderThan: 0 })), "trip.olderThan", "0", duration],
  [one(Trip.any()), "trip.trips", "[]", aList],
  [one(Trip.all()), "trip.trips", "[]", aList],
  [one({ _tag: "Any", trips: 5 }), "trip.trips", "5", aList],
  [one(Trip.any(Trip.consecutive(1), Trip.all(Trip.consecutive(-7)))), "trip.trips.1.trips.0.failures", "-7", whole],
  [one(Trip.custom("", predicate)), "trip.name", '""', aName],
  [one({ _tag: "Custom", name: "x", predicate: 5 }), "trip.predicate", "5", "a function"],
  [one({ _tag: "Custom", name: "x" }), "trip.name", '"x"', "none is registered"]
]

describe("decode", () => {
  it.each(good)("takes %s and leaves the other fields what they are", (_, input, field, value) => {
    assert.deepStrictEqual(decoded(input), { ...BreakerPolicy.defaults, [field]: value } as Policy)
  })

  it.each(goodTrips)("takes %s as a trip", (_, trip, expected) => {
    assert.deepStrictEqual(decoded({ trip }), { ...BreakerPolicy.defaults, trip: expected } as Policy)
  })

  it("takes trips nested eight deep, and no deeper", () => {
    assert.isTrue(Result.isSuccess(decode({ trip: nested(8) })))
    const [problem] = refused({ trip: nested(9) }).problems
    assert.match(problem?.path ?? "", /^trip(\.trips\.0){8}\.trips$/)
    assert.include(problem?.message, "at most 8 deep")
  })

  it("does not recurse into trips nested without end", () => {
    const endless: { _tag: "Any"; trips: Array<Trip.Input> } = { _tag: "Any", trips: [] }
    endless.trips.push(endless)
    assert.include(refused({ trip: endless }).message, "at most 8 deep")
  })

  it.each(bad)("refuses %j: %s is %s and not %s", (input, path, got, expected) => {
    const error = refused(input)
    assert.strictEqual(error._tag, "PolicyError")
    assert.deepStrictEqual(paths(error.problems), [path])
    assert.isTrue(error.message.startsWith(`${path}: `), error.message)
    assert.include(error.message, `got ${got}`)
    assert.include(error.message, expected)
  })

  it("refuses an unknown field, and names it and the known fields", () => {
    for (const [input, path, known, meant] of [
      [
        { cooldwon: 1 },
        "cooldwon",
        "trip, slowCall, cooldown, maxCooldown, probes, successesToClose, failuresToReopen, ",
        "cooldown"
      ],
      [{ trip: { _tag: "Consecutive", failures: 1, over: 5 } }, "trip.over", "_tag, failures", undefined],
      [one({ ...Trip.any(Trip.consecutive(1)), atLeast: 2 }), "trip.atLeast", "_tag, trips", undefined],
      [one({ ...Trip.all(Trip.consecutive(1)), atLeast: 2 }), "trip.atLeast", "_tag, trips", undefined],
      [{ probe: { check, schedule, every: 1 } }, "probe.every", "check, schedule, opens", undefined],
      [cooldown({ exponential: 5, more: 1 }), "cooldown.more", "exponential, factor, jittered", undefined]
    ] as const) {
      const error = refused(input)
      assert.deepStrictEqual(paths(error.problems), [path])
      const hint = meant === undefined ? "" : ` (did you mean ${meant}?)`
      assert.isTrue(error.message.startsWith(`${path}: unknown field${hint}, expected one of ${known}`), error.message)
    }
  })

  it("refuses a missing field, and names it", () => {
    for (const [input, path, what] of [
      [{ trip: { _tag: "Consecutive" } }, "trip.failures", "a whole number of 1 or more"],
      [{ trip: { _tag: "All" } }, "trip.trips", "a list of one trip or more"],
      [{ probe: { check } }, "probe.schedule", 'a Schedule, or a duration above 0 such as "30s" or "30 seconds"']
    ] as const) {
      assert.strictEqual(refused(input).message, `${path}: expected ${what}, got nothing`)
    }
  })

  it.each([
    [null, "null"],
    [5, "5"],
    ["x", '"x"'],
    [true, "true"],
    [[], "[]"],
    [undefined, "nothing"]
  ])("refuses %j as a policy, and says what a policy has", (input, got) => {
    const { message } = refused(input)
    assert.isTrue(message.startsWith("expected an object with trip, slowCall, cooldown, "), message)
    assert.isTrue(message.endsWith(`, tenants, fleet, span, keys, got ${got}`), message)
  })

  const circular: Array<unknown> = []
  circular.push(circular, 1)

  it.each([
    ["a function", predicate, "a function"],
    ["a bigint", 5n, "5n"],
    ["a symbol", Symbol("soon"), "Symbol(soon)"],
    ["a list that holds itself", circular, ""],
    ["a line break", "a\u2028b", '"a\\u2028b"'],
    ["a colour", "\u001b[31m", '"\\u001b[31m"']
  ])("shows %s that it refuses, on one line", (_, mode, got) => {
    const { message } = refused({ mode })
    assert.include(message, `or "observe", got ${got}`)
    assert.notMatch(message, /[\p{Cc}\u2028\u2029]/u)
  })

  it("shortens a long value in the message", () => {
    assert.isBelow(refused({ mode: "x".repeat(10_000) }).message.length, 200)
  })

  it("reports every trip that is wrong, however deep", () => {
    const trip = Trip.any(
      Trip.consecutive(0),
      Trip.consecutive(1),
      Trip.all(Trip.consecutive(-1), Trip.consecutive(NaN))
    )
    assert.deepStrictEqual(paths(refused({ trip }).problems), [
      "trip.trips.0.failures",
      "trip.trips.2.trips.0.failures",
      "trip.trips.2.trips.1.failures"
    ])
  })

  it("reports all problems at once", () => {
    const error = refused({ probes: 0, cooldown: "soon", mode: 1, more: 1, ...rate({ threshold: 2, minimumCalls: 0 }) })
    const expected = ["cooldown", "mode", "more", "probes", "trip.minimumCalls", "trip.threshold"]
    assert.deepStrictEqual(paths(error.problems).toSorted(), expected)
    assert.strictEqual(error.message.split("\n").length, expected.length)
  })

  it("reads an undefined field as a missing one", () => {
    const fields = ["trip", ...good.flatMap(([, input]) => Object.keys(input))]
    assert.strictEqual(new Set(fields).size, 14)
    const nothing = Object.fromEntries(fields.map((field) => [field, undefined]))
    assert.deepStrictEqual(decoded(nothing), BreakerPolicy.defaults)
  })
})
