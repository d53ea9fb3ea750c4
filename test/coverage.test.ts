import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Duration, Effect, Exit, Fiber, Layer, Metric, Result, Schedule } from "effect"
import { TestClock } from "effect/testing"
import {
  BreakerMetrics,
  BreakerPolicy,
  BreakerStore,
  CircuitBreaker,
  Fleet,
  Outcome,
  Resilience,
  Trip
} from "effect-fuse"
import { expectAll, failing, fleet, pause } from "./support/fleet.ts"
import { capture, expectState, fail, inspect, type Line, pass, quick, scenario } from "./support/verbs.ts"

// Options that no other test would miss.

describe("A policy", () => {
  for (const jittered of [true, false]) {
    scenario(
      `whose cooldown is data is ${jittered ? "spread where it is jittered" : "the same each time where it is not"}`,
      { ...quick, cooldown: { exponential: "10 seconds", jittered } },
      function* () {
        const seconds: Array<number> = []
        for (let i = 0; i < 20; i++) {
          yield* fail()
          seconds.push(Duration.toSeconds((yield* inspect()).retryAfter))
          yield* CircuitBreaker.reset("api")
        }
        assert.strictEqual(new Set(seconds).size > 1, jittered)
        assert.isTrue(
          seconds.every((one) => Math.abs(one - 10) <= 2.001),
          String(seconds)
        )
      }
    )
  }

  const dying = Schedule.modifyDelay(Schedule.forever, () => Effect.die(new Error("broken")))
  scenario(
    "whose cooldown schedule dies protects for its own maxCooldown",
    { ...quick, cooldown: dying, maxCooldown: "2 minutes" },
    function* () {
      const lines: Array<Line> = []
      yield* capture(lines, fail())
      assert.strictEqual(Duration.toMinutes((yield* inspect()).retryAfter), 2)
    }
  )

  const growing = { ...quick, cooldown: { exponential: "1 second", factor: 1e200 }, maxCooldown: "1 minute" } as const
  scenario("whose cooldown grows beyond all numbers stays at maxCooldown", growing, function* () {
    for (const expected of [1, 60, 60, 60]) {
      yield* fail()
      const { retryAfter } = yield* inspect()
      assert.strictEqual(Duration.toSeconds(retryAfter), expected)
      yield* TestClock.adjust(retryAfter)
    }
  })

  const asked: Array<number> = []
  const check = Effect.andThen(
    Effect.map(Clock.currentTimeMillis, (now) => asked.push(now / 1_000)),
    Effect.fail("down")
  )
  const probe = { check, schedule: Schedule.exponential("1 second") }
  scenario(
    "whose health check has a schedule asks at its delays, and begins anew with each opening after a close",
    { ...quick, probe },
    function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(asked, [1, 3, 7])
      yield* CircuitBreaker.close("api")
      yield* TestClock.adjust("90 seconds")
      yield* fail()
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(asked, [1, 3, 7, 101, 103])
      yield* expectState("Open")
    }
  )
})

describe("What is no outcome, though a program without types may say it,", () => {
  const failure = (fields: object) => ({ _tag: "Failure", weight: 1, ...fields })
  const cases: ReadonlyArray<readonly [what: string, outcome: unknown]> = [
    ["nothing", undefined],
    ["another tag", { _tag: "Failed", weight: 1 }],
    ["a weight of NaN", failure({ weight: Number.NaN })],
    ["a weight without end", failure({ weight: Infinity })],
    ["a weight above what Outcome.failure takes", failure({ weight: 1_000_001 })],
    ["a hint that is no duration", failure({ retryAfter: "soon" })],
    ["a hint of null", failure({ retryAfter: null })],
    ["a hint with a field that is none", failure({ retryAfter: { minute: 5 } })]
  ]
  for (const [what, outcome] of cases) {
    scenario(
      `costs the caller nothing and no probe its place, and is read as by default: ${what}`,
      quick,
      function* () {
        const lines: Array<Line> = []
        const read = CircuitBreaker.protect(Effect.fail("boom"), "api", { classify: () => outcome as never })
        assert.deepStrictEqual(yield* capture(lines, Effect.exit(read)), Exit.fail("boom"))
        yield* expectState("Open")
        assert.deepStrictEqual(
          lines.filter(({ level }) => level === "Error").map(({ message }) => message.split(";")[0]),
          ['A classifier of the circuit "api" failed']
        )
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* Effect.exit(read), Exit.fail("boom"))
        const { openings, probing, state } = yield* inspect()
        assert.deepStrictEqual([state, openings, probing], ["Open", 2, 0])
      }
    )

    scenario(`settles no permit, which may still be settled: ${what}`, quick, function* () {
      const permit = yield* CircuitBreaker.admit("api")
      const exit = yield* Effect.exit(CircuitBreaker.settle(permit, outcome as never))
      assert.instanceOf(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, TypeError)
      assert.strictEqual((yield* inspect()).inFlight, 1)
      yield* CircuitBreaker.settle(permit, Outcome.failure())
      yield* expectState("Open")
    })
  }
})

describe("A fleet's policy", () => {
  it.effect("suspectAfter 1: one failure each begins to ask, which by default it does not", () =>
    Effect.gen(function* () {
      for (const [suspectAfter, standing] of [
        [1, "Open fleet"],
        [2, "Closed local"]
      ] as const) {
        const policy = { trip: Trip.consecutive(3), fleet: { suspectAfter } }
        const { processes } = yield* fleet(4, { policy })
        yield* Effect.forEach(processes, (process) => process.succeed)
        yield* failing(processes, 1)
        yield* pause(400)
        yield* expectAll(processes, standing)
      }
    })
  )

  it.effect("hold: those who are silent have that long to answer, however long it is", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(5, { policy: { trip: Trip.consecutive(6), fleet: { hold: "1 second" } } })
      // The others live, and have never called it: they have nothing to say.
      yield* failing([at(0), at(1)], 2)
      yield* pause(500)
      // What is said meanwhile does not shorten it.
      yield* failing([at(0), at(1)], 2)
      yield* pause(400)
      yield* expectAll(processes, "Closed local")
      yield* pause(300)
      yield* expectAll(processes, "Open fleet")
    })
  )

  for (const [observation, standing] of [
    ["5 seconds", "Open fleet"],
    ["30 seconds", "Closed local"]
  ] as const) {
    it.effect(
      `observation ${observation}: who has called 10 seconds ago ${observation === "5 seconds" ? "has no" : "has a"} say`,
      () =>
        Effect.gen(function* () {
          const { at, processes } = yield* fleet(4, { policy: { trip: Trip.consecutive(4), fleet: { observation } } })
          yield* Effect.forEach(processes, (process) => process.succeed)
          yield* TestClock.adjust("10 seconds")
          yield* failing([at(0), at(1)], 3)
          yield* pause(400)
          yield* expectAll(processes, standing)
        })
    )
  }

  const tally = {
    voters: 3,
    live: 3,
    abstained: 0,
    convictions: 3,
    failing: 3,
    open: 2,
    streak: 0,
    counts: [],
    asked: 100
  }
  const judge = (quorum: number, seen: Partial<typeof tally>) =>
    Fleet.judge(
      { ...tally, ...seen },
      { _tag: "Consecutive", failures: 5 },
      { ...Fleet.defaults, quorum },
      { openings: 0, time: 0 }
    )._tag
  it("quorum: as many must have opened by themselves, where the policy does not say it", () => {
    assert.deepStrictEqual([judge(0.5, {}), judge(0.7, {})], ["Open", "Wait"])
  })
  it("quorum: an inquiry is given up with less than half of it", () => {
    const seen = { voters: 10, live: 10, convictions: 4, failing: 4, open: 0 }
    assert.deepStrictEqual([judge(0.5, seen), judge(0.9, seen)], ["Wait", "Lost"])
  })
})

it.effect("syncInterval is how often the store is asked for all that is not Closed", () =>
  Effect.gen(function* () {
    for (const [syncInterval, least, most] of [
      ["5 seconds", 11, 13],
      ["30 seconds", 1, 3]
    ] as const) {
      const { at } = yield* fleet(1, { syncInterval })
      at(0).trouble.asked = []
      yield* TestClock.adjust("1 minute")
      const lists = at(0).trouble.asked.filter((operation) => operation === "page").length
      assert.isTrue(lists >= least && lists <= most, `${syncInterval}: ${lists}`)
    }
  })
)

describe("A key says which circuit", () => {
  scenario("is looked at", quick, function* () {
    yield* fail({ key: "k" })
    const looks = [
      CircuitBreaker.state,
      (name: string, at?: CircuitBreaker.Target) => Effect.map(CircuitBreaker.inspect(name, at), (seen) => seen.state)
    ]
    for (const look of looks)
      assert.deepStrictEqual([yield* look("api"), yield* look("api", { key: "k" })], ["Closed", "Open"])
  })

  scenario("is waited for", quick, function* () {
    yield* fail({ key: "k" })
    yield* CircuitBreaker.awaitClosed("api")
    const waiting = yield* Effect.forkChild(CircuitBreaker.awaitClosed("api", { key: "k" }), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    assert.isUndefined(waiting.pollUnsafe())
    yield* CircuitBreaker.close("api", { key: "k" })
    yield* Fiber.join(waiting)
  })

  it.effect("has the scope that is asked for", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3, { key: "k" })
      yield* Effect.forEach(processes, (process) => process.succeed)
      yield* failing(processes, 3)
      yield* pause(200)
      const scopes = Effect.all([CircuitBreaker.scope("api"), CircuitBreaker.scope("api", { key: "k" })])
      assert.deepStrictEqual(yield* at(0).run(scopes), ["local", "fleet"])
    })
  )
})

describe("Around a call", () => {
  const millis = Clock.currentTimeMillis
  /** Begins it, and answers after how many milliseconds it ends. */
  const lasts = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const began = yield* millis
      const fiber = yield* Effect.forkChild(Effect.andThen(Effect.exit(self), millis))
      yield* TestClock.adjust("1 day")
      return (yield* Fiber.join(fiber)) - began
    })
  /** A call that always fails, and the milliseconds between its runs. */
  const failingCall = () => {
    const at: Array<number> = []
    const call = Effect.andThen(
      Effect.map(millis, (now) => at.push(now)),
      Effect.fail("boom")
    )
    return { call, between: () => at.slice(1).map((now, i) => now - (at[i] ?? 0)) }
  }

  it.effect("Resilience.timeout ends after its duration", () =>
    Effect.gen(function* () {
      for (const duration of [1, 3_000, 60_000]) {
        assert.strictEqual(yield* lasts(Resilience.timeout(duration)(Effect.never)), duration)
        assert.strictEqual(
          yield* lasts(Resilience.standard("api", { timeout: duration, retry: false })(Effect.never)),
          duration
        )
      }
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  scenario("Resilience.breaker has the policy that it is given", {}, function* () {
    const guarded = Resilience.breaker("api", { policy: quick })
    yield* Effect.exit(guarded(Effect.fail("boom")))
    yield* expectState("Open")
  })

  it.effect("a retry waits by default from a tenth of a second on, twice as long each time up to ten, and spread", () =>
    Effect.gen(function* () {
      const { between, call } = failingCall()
      yield* lasts(Resilience.retry({ times: 40 })(call))
      const delays = between()
      delays.forEach((delay, i) => {
        const plain = Math.min(10_000, 100 * 2 ** i)
        assert.isAtLeast(delay, Math.max(100, plain * 0.5))
        assert.isAtMost(delay, Math.min(10_000, plain * 1.5))
      })
      const [first = 0, second = 0] = delays
      assert.isBelow(first, 151)
      assert.notStrictEqual(second, 2 * first)
      // Half of it either way, and not a little.
      const late = delays.slice(8)
      assert.isBelow(Math.min(...late), 7_500)
      assert.isAbove(Math.max(...late), 8_500)
    })
  )

  for (const [over, retries] of [
    ["2 seconds", 2],
    ["10 seconds", 1]
  ] as const) {
    scenario(`a budget over ${over}: 5 seconds later there are ${retries} retries in all`, {}, function* () {
      const again = Resilience.retry({
        times: 1,
        schedule: Schedule.spaced(1),
        budget: { name: "api", floor: 1, share: 0.01, over }
      })
      const { between, call } = failingCall()
      for (let i = 0; i < 2; i++) {
        const fiber = yield* Effect.forkChild(Effect.exit(again(call)))
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(fiber)
      }
      assert.strictEqual(between().length + 1 - 2, retries)
    })
  }

  it.effect("a hedge begins after what it is given", () =>
    Effect.gen(function* () {
      for (const after of [10, 3_000]) {
        let copies = 0
        const call = Effect.suspend(() => (copies++ === 0 ? Effect.never : Effect.void))
        assert.strictEqual(yield* lasts(Resilience.hedge({ after })(call)), after)
      }
    })
  )

  it.effect("a rate limiter is asked what the options say", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const limiter = {
        consume: (options: object) => Effect.sync(() => ({ delay: Duration.zero, n: asked.push(options) }))
      }
      const one = { key: "tenant 7", limit: 7, window: "3 seconds" } as const
      const all = { ...one, tokens: 2, algorithm: "token-bucket", onExceeded: "delay" } as const
      yield* Resilience.rateLimit(limiter, one)(Effect.void)
      yield* Resilience.rateLimit(limiter, all)(Effect.void)
      assert.deepStrictEqual(asked, [
        { ...one, window: 3_000 },
        { ...all, window: 3_000 }
      ])
    })
  )
})

describe("Metrics", () => {
  const metered = (options: BreakerMetrics.Options) =>
    Effect.provide(Layer.provideMerge(BreakerMetrics.layer(options), BreakerStore.layerMemory))

  it.effect("by key have a series for each, also where a name reads like another with its key", () =>
    Effect.gen(function* () {
      yield* pass({ name: "a\nb" })
      yield* fail({ name: "a", key: "b" })
      yield* TestClock.adjust("10 seconds")
      const series = (yield* Metric.snapshot).flatMap(({ attributes, id, state }) =>
        id === "circuit_breaker_calls_total" && "count" in state && Number(state.count) > 0 ? [attributes] : []
      )
      assert.sameDeepMembers(series, [
        { name: "a\nb", key: "", outcome: "success" },
        { name: "a", key: "b", outcome: "failure" }
      ])
    }).pipe(metered({ keys: true }))
  )

  it.effect("have the prefix and the bounds that they are given", () =>
    Effect.gen(function* () {
      yield* pass()
      const all = yield* Metric.snapshot
      assert.isTrue(all.some(({ id }) => id === "shop_calls_total"))
      assert.isFalse(all.some(({ id }) => id.startsWith("circuit_breaker")))
      const durations = all.find(({ id }) => id === "shop_call_duration_seconds")?.state
      assert.deepStrictEqual(durations !== undefined && "buckets" in durations ? durations.buckets : undefined, [
        [0.03, 1],
        [4, 1]
      ])
    }).pipe(metered({ prefix: "shop", durations: ["30 millis", "4 seconds"] }))
  )

  for (const [interval, there] of [
    ["3 seconds", true],
    ["5 seconds", false]
  ] as const) {
    it.effect(`look for new keys every ${interval}: 4 seconds later one is ${there ? "" : "not "}there`, () =>
      Effect.gen(function* () {
        yield* pass({ key: "k" })
        yield* TestClock.adjust("4 seconds")
        const all = yield* Metric.snapshot
        assert.strictEqual(
          all.some(({ attributes }) => attributes !== undefined && JSON.stringify(attributes).includes('"k"')),
          there
        )
      }).pipe(metered({ keys: true, interval }))
    )
  }
})

describe("What is wrong in how a fleet agrees is refused, by its field", () => {
  for (const [fleet, path] of [
    [true, "fleet"],
    [5, "fleet"],
    [{ suspectAfter: 0 }, "fleet.suspectAfter"],
    [{ quorum: 1 }, "fleet.quorum"],
    [{ quorum: -0.1 }, "fleet.quorum"],
    [{ hold: -1 }, "fleet.hold"],
    [{ observation: 0 }, "fleet.observation"],
    [{ holds: 1 }, "fleet.holds"]
  ] as const) {
    it(JSON.stringify(fleet), () => {
      const decoded = BreakerPolicy.decode({ fleet: fleet as never })
      assert.deepStrictEqual(Result.isFailure(decoded) ? decoded.failure.problems.map((problem) => problem.path) : [], [
        path
      ])
    })
  }
})
