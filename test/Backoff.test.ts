import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Clock, Duration, Effect, Fiber, Random, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Backoff, CircuitBreaker, Resilience } from "effect-fuse"
import { fail, inspect, quick, scenario } from "./support/verbs.ts"

/** The first n delays in milliseconds, without waiting for them. */
const delays = (schedule: Schedule.Schedule<unknown>, n: number) =>
  Effect.gen(function* () {
    const step = yield* Schedule.toStep(schedule)
    const out: Array<number> = []
    for (let i = 0; i < n; i++) {
      const [, delay] = yield* Effect.orDie(step(yield* Clock.currentTimeMillis, undefined))
      out.push(Duration.toMillis(delay))
    }
    return out
  })

describe("The delays, in order", () => {
  const cases: ReadonlyArray<
    readonly [what: string, schedule: () => Schedule.Schedule<number>, expected: ReadonlyArray<number>]
  > = [
    [
      "exponential by default",
      () => Backoff.exponential(),
      [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]
    ],
    [
      "exponential between bounds",
      () => Backoff.exponential({ min: "1 second", max: "5 seconds" }),
      [1_000, 2_000, 4_000, 5_000, 5_000]
    ],
    [
      "exponential with a factor",
      () => Backoff.exponential({ min: 10, max: 500, factor: 3 }),
      [10, 30, 90, 270, 500, 500]
    ],
    ["a factor of 1 is constant", () => Backoff.exponential({ min: 10, factor: 1 }), [10, 10, 10]],
    ["a factor with a fraction", () => Backoff.exponential({ min: 100, factor: 1.5 }), [100, 150, 225]],
    ["min that is max", () => Backoff.exponential({ min: 7, max: 7 }), [7, 7, 7]],
    ["a max below the default min", () => Backoff.exponential({ max: 40 }), [40, 40]],
    ["linear by default", () => Backoff.linear(), [100, 200, 300, 400]],
    [
      "linear with a step",
      () => Backoff.linear({ min: "1 second", step: 500, max: "2 seconds" }),
      [1_000, 1_500, 2_000, 2_000]
    ],
    ["linear: step is min where it is not given", () => Backoff.linear({ min: 30 }), [30, 60, 90]],
    [
      "undefined is not given",
      () => Backoff.linear({ min: undefined, max: undefined, jitter: undefined, step: undefined }),
      [100, 200]
    ],
    ["jitter of 0 is none", () => Backoff.exponential({ jitter: 0 }), [100, 200]]
  ]
  for (const [what, schedule, expected] of cases) {
    it.effect(what, () =>
      Effect.map(delays(schedule(), expected.length), (actual) => assert.deepStrictEqual(actual, [...expected]))
    )
  }

  for (const make of [Backoff.exponential, Backoff.linear]) {
    for (const jitter of [0, 0.5, 1]) {
      it.effect(`${make.name}, jitter ${jitter}, does not overflow at attempt 2000`, () =>
        Effect.gen(function* () {
          const all = yield* delays(make({ min: 100, max: "30 seconds", jitter }), 2_000)
          assert.isTrue(all.every((delay) => Number.isFinite(delay) && delay >= 100 && delay <= 30_000))
          if (jitter === 0) assert.strictEqual(all[1_999], 30_000)
        })
      )
    }
  }
})

describe("Jitter", () => {
  const of = <const T extends ReadonlyArray<number>>(...values: T) => Arbitrary.schema(Schema.Literals(values))
  it.effect.prop(
    "stays within the bounds and within its share, whatever the seed",
    [of(1, 50, 100, 999), of(1_000, 5_000, 30_000), of(0.01, 0.3, 0.5, 1), of(1, 1.5, 2, 10), Schema.String],
    ([min, max, jitter, factor, seed]) =>
      Effect.gen(function* () {
        const plain = yield* delays(Backoff.exponential({ min, max, factor }), 25)
        const spread = yield* Random.withSeed(delays(Backoff.exponential({ min, max, factor, jitter }), 25), seed)
        spread.forEach((delay, i) => {
          const middle = plain[i] ?? 0
          assert.isAtLeast(delay, Math.max(min, middle * (1 - jitter)) - 1e-6)
          assert.isAtMost(delay, Math.min(max, middle * (1 + jitter)) + 1e-6)
        })
      }),
    { arbitrary: { runs: 100, seed: "backoff" } }
  )

  it.effect("is the same for the same seed, differs between seeds, and is spread also at the bounds", () =>
    Effect.gen(function* () {
      const some = (seed: string) =>
        Random.withSeed(delays(Backoff.linear({ min: 100, max: 400, jitter: 0.5 }), 200), seed)
      const [one, again, other] = [yield* some("a"), yield* some("a"), yield* some("b")]
      assert.deepStrictEqual(one, again)
      assert.notDeepEqual(one, other)
      // From the fourth on it is at max: not all wait exactly as long as one another there.
      assert.isAbove(new Set(one.slice(4)).size, 150)
      assert.isBelow(Math.min(...one.slice(4)), 220)
      assert.isAbove(Math.max(...one.slice(4)), 380)
    })
  )
})

describe("Where it is used", () => {
  for (const [what, cooldown, seconds] of [
    ["exponential", Backoff.exponential({ min: "1 second", max: "6 seconds" }), [1, 2, 4, 6, 6]],
    ["linear", Backoff.linear({ min: "1 second", step: "2 seconds", max: "6 seconds" }), [1, 3, 5, 6]]
  ] as const) {
    scenario(`${what} as the cooldown of a policy`, { ...quick, cooldown }, function* () {
      for (const expected of seconds) {
        yield* fail()
        const { retryAfter, state } = yield* inspect()
        assert.deepStrictEqual([state, Duration.toSeconds(retryAfter)], ["Open", expected])
        yield* TestClock.adjust(retryAfter)
      }
    })
  }

  scenario(
    "with jitter as the cooldown of a policy, within its bounds",
    { ...quick, cooldown: Backoff.exponential({ min: "1 second", max: "8 seconds", jitter: 0.5 }) },
    function* () {
      const lengths = new Set<number>()
      for (let i = 0; i < 30; i++) {
        yield* fail()
        const seconds = Duration.toSeconds((yield* inspect()).retryAfter)
        assert.isTrue(seconds >= 1 && seconds <= 8, String(seconds))
        lengths.add(seconds)
        yield* CircuitBreaker.reset("api")
      }
      assert.isAbove(lengths.size, 1)
    }
  )

  it.effect("in Effect.retry and in Resilience.retry it waits for its delays", () =>
    Effect.gen(function* () {
      const schedule = Backoff.linear({ min: "1 second" })
      const clock = Effect.map(Clock.currentTimeMillis, (millis) => millis / 1_000)
      const run = (retry: (self: Effect.Effect<void, string>) => Effect.Effect<void, string>) =>
        Effect.gen(function* () {
          const at: Array<number> = []
          const begun = yield* clock
          const self = Effect.andThen(
            Effect.map(clock, (now) => at.push(now - begun)),
            Effect.fail("no")
          )
          const fiber = yield* Effect.forkChild(Effect.exit(retry(self)))
          yield* TestClock.adjust("1 minute")
          yield* Fiber.join(fiber)
          return at
        })
      assert.deepStrictEqual(yield* run(Effect.retry(Schedule.upTo(schedule, { times: 3 }))), [0, 1, 3, 6])
      assert.deepStrictEqual(yield* run(Resilience.retry({ times: 3, schedule })), [0, 1, 3, 6])
    })
  )
})

describe("Options that are wrong throw a RangeError that names them", () => {
  const durations = [0, -1, "soon", Infinity, Number.NaN, null, {}, true]
  const wrong: ReadonlyArray<readonly [kind: "exponential" | "linear", options: unknown, field: string]> = [
    ...(["exponential", "linear"] as const).flatMap((kind) => [
      ...durations.map((min) => [kind, { min }, "min"] as const),
      ...durations.map((max) => [kind, { max }, "max"] as const),
      ...[-0.1, 1.1, Number.NaN, "0.5", null].map((jitter) => [kind, { jitter }, "jitter"] as const),
      [kind, { min: 2, max: 1 }, "max"] as const,
      [kind, { times: 3 }, "times"] as const,
      [kind, 5, "min"] as const
    ]),
    ...[0.9, 0, -1, Infinity, Number.NaN, "2", null].map((factor) => ["exponential", { factor }, "factor"] as const),
    ...durations.map((step) => ["linear", { step }, "step"] as const),
    ["linear", { factor: 2 }, "factor"],
    ["exponential", { step: 2 }, "step"]
  ]
  for (const [kind, options, field] of wrong) {
    it(`${kind} of ${Object.values(Object(options)).map(String).join(" and ")} names ${field}`, () => {
      const make = () => Backoff[kind](options as Backoff.Bounds)
      assert.throws(make, RangeError, `Backoff.${kind}: `)
      assert.throws(make, RangeError, field)
    })
  }

  it("a min above the default max, or a max below the default min, is none of them", () => {
    Backoff.exponential({ min: "1 minute" })
    Backoff.linear({ max: "10 millis" })
  })
})
