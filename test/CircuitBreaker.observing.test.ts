import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Schedule, Schema, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerEvent, BreakerPolicy, BreakerStore, CircuitBreaker, Outcome, Tenant, Trip } from "effect-fuse"
import {
  call,
  capture,
  expectState,
  fail,
  hang,
  inspect,
  type Line,
  pass,
  play,
  quick,
  recordEvents,
  reject,
  scenario,
  succeed,
  times
} from "./support/verbs.ts"

/** A life of a circuit: it trips, probes in vain, recovers, and is steered by hand. */
const life = Effect.gen(function* () {
  yield* fail()
  yield* TestClock.adjust("10 seconds")
  yield* fail()
  yield* times(3, reject())
  yield* TestClock.adjust("10 seconds")
  yield* pass()
  yield* times(3, pass())
  yield* CircuitBreaker.isolate("api", { reason: "drill", actor: "ann", for: "5 seconds" })
  yield* TestClock.adjust("5 seconds")
  yield* pass()
  yield* CircuitBreaker.disable("api", { actor: "bob" })
  yield* CircuitBreaker.release("api")
  yield* CircuitBreaker.open("api", { reason: "deploy" })
  yield* CircuitBreaker.close("api", { reason: "deployed" })
  yield* CircuitBreaker.reset("api")
})

describe("events", () => {
  scenario("there is one for each transition, in order, with epochs that grow", quick, function* () {
    const events = yield* recordEvents
    yield* life
    const seen = (yield* events).filter((event) => event._tag === "Transition")
    assert.deepStrictEqual(
      seen.map(({ at, from, retryAfterMillis, to, why }) => [from, to, why, at / 1000, retryAfterMillis]),
      [
        ["Closed", "Open", "Tripped", 0, 10_000],
        ["Open", "HalfOpen", "CooldownOver", 10, 0],
        ["HalfOpen", "Open", "ProbeFailed", 10, 10_000],
        ["Open", "HalfOpen", "CooldownOver", 20, 0],
        ["HalfOpen", "Closed", "Recovered", 20, 0],
        ["Closed", "Isolated", "Isolated", 20, 5_000],
        ["Isolated", "Closed", "Expired", 25, 0],
        ["Closed", "Disabled", "Disabled", 25, 0],
        ["Disabled", "Closed", "Released", 25, 0],
        ["Closed", "Open", "OpenedByHand", 25, 10_000],
        ["Open", "Closed", "ClosedByHand", 25, 0],
        ["Closed", "Closed", "Reset", 25, 0]
      ]
    )
    assert.deepStrictEqual(
      seen.map((event) => event.epoch),
      seen.map((_, index) => index + 1)
    )
    assert.deepStrictEqual(
      seen.slice(0, 5).map((event) => event.openings),
      [1, 1, 2, 2, 2]
    )
    const [tripped] = seen
    const [, , , , , isolated, , disabled, , , closed] = seen
    assert.deepStrictEqual(
      [tripped?.detail, isolated?.detail, isolated?.actor, disabled?.actor, closed?.detail],
      ["1 failure in a row (limit 1)", "drill", "ann", "bob", "deployed"]
    )
    for (const event of seen) {
      assert.deepStrictEqual(
        Schema.decodeUnknownSync(BreakerEvent.BreakerEvent)(JSON.parse(JSON.stringify(event))),
        event
      )
    }
  })

  scenario("each circuit has its own epochs, and every subscriber sees all of them", quick, function* () {
    const all = [yield* recordEvents, yield* recordEvents]
    yield* fail({ key: "a" })
    yield* fail({ key: "b" })
    yield* fail({ name: "other" })
    for (const events of all) {
      assert.deepStrictEqual(
        (yield* events).map((event) => [event.circuit, event.key, event.epoch]),
        [
          ["api", "a", 1],
          ["api", "b", 1],
          ["other", undefined, 1]
        ]
      )
    }
  })

  scenario("a subscriber that falls 4,096 events behind loses the oldest, and blocks no call", quick, function* () {
    const events = yield* recordEvents
    const resets = Effect.forEach(Array.from({ length: 5_000 }), () => CircuitBreaker.reset("api"), { discard: true })
    yield* resets
    const seen = (yield* events).map((event) => event.epoch)
    assert.strictEqual(seen.at(-1), 5_000)
    assert.isAtLeast(seen.length, 4_096)
    assert.isTrue(seen.every((epoch, index) => index === 0 || epoch > (seen[index - 1] ?? 0)))
  })

  scenario("1,000 failures at once are one event", quick, function* () {
    const events = yield* recordEvents
    const calls = yield* times(1_000, hang())
    yield* Effect.forEach(calls, (one) => one.end(Exit.fail("boom")), { concurrency: "unbounded" })
    assert.strictEqual((yield* events).length, 1)
  })

  it.effect("the stream of a store that has closed ends at once, whether it had a subscriber or not", () =>
    Effect.gen(function* () {
      for (const subscribesBefore of [true, false]) {
        const scope = yield* Scope.make()
        const store = yield* Layer.buildWithScope(BreakerStore.layerMemoryWith({}), scope)
        const collected = Effect.provide(Stream.runCollect(CircuitBreaker.events), store)
        const before = yield* Effect.forkChild(subscribesBefore ? collected : Effect.succeed([]), {
          startImmediately: true
        })
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual([yield* Fiber.join(before), yield* collected], [[], []])
      }
    })
  )
})

describe("log lines", () => {
  scenario("there is one for each transition, at the level that it deserves", quick, function* () {
    const lines: Array<Line> = []
    yield* capture(lines, life)
    assert.deepStrictEqual(
      lines.map(({ level, message }) => `${level} ${message}`),
      [
        'Warn Circuit "api" opened: 1 failure in a row (limit 1); last failure: boom',
        'Debug Circuit "api" is probing',
        'Warn Circuit "api" opened: boom',
        'Debug Circuit "api" is probing',
        'Info Circuit "api" closed',
        'Warn Circuit "api" was isolated: drill',
        'Info Circuit "api" is no longer overridden: the override has expired',
        'Warn Circuit "api" was disabled: Disabled by hand',
        'Info Circuit "api" was released',
        'Warn Circuit "api" opened: deploy',
        'Info Circuit "api" closed: deployed',
        'Info Circuit "api" was reset'
      ]
    )
    assert.deepStrictEqual(lines[0]?.annotations, {
      circuit: "api",
      from: "Closed",
      to: "Open",
      why: "Tripped",
      openings: 1,
      retryAfter: "10s"
    })
    assert.strictEqual(lines[5]?.annotations["actor"], "ann")
  })

  scenario("a long reason is cut", quick, function* () {
    const lines: Array<Line> = []
    yield* capture(lines, CircuitBreaker.isolate("api", { reason: "x".repeat(5_000) }))
    assert.strictEqual(lines[0]?.message, `Circuit "api" was isolated: ${"x".repeat(497)}...`)
  })

  const hostile = "a\nb\r\u001b[31mc\u2028d\u202ee\u009bf\0"
  scenario("nothing from outside ends a line or colours it", quick, function* () {
    const lines: Array<Line> = []
    const where = { name: hostile, key: hostile }
    const steer = { key: hostile, reason: hostile, actor: hostile }
    yield* capture(
      lines,
      Effect.gen(function* () {
        yield* fail(where)
        yield* TestClock.adjust("10 seconds")
        yield* Effect.exit(call(Effect.fail(new Error(hostile)), where))
        yield* CircuitBreaker.isolate(hostile, steer)
        yield* CircuitBreaker.close(hostile, steer)
        yield* CircuitBreaker.reset(hostile, steer)
        yield* CircuitBreaker.open(hostile, steer)
        yield* TestClock.adjust("10 seconds")
        const probe = CircuitBreaker.protect(Effect.void, hostile, { key: hostile, classify: () => Outcome.ignored })
        yield* times(10, probe)
      })
    )
    assert.isAtLeast(lines.length, 7)
    for (const line of lines)
      assert.notMatch(
        line.message + JSON.stringify(Object.values(line.annotations).map(String)),
        /[\p{Cc}\p{Cf}\u2028\u2029]|\\[nrb]/u
      )
    yield* CircuitBreaker.isolate("plain", { reason: hostile })
    assert.notMatch((yield* reject({ name: "plain" })).message, /\p{Cc}/u)
    // Only what is printed is escaped: the key is still the key.
    assert.strictEqual((yield* CircuitBreaker.list)[0]?.key, hostile)
    for (const one of (yield* inspect(where)).lastFailures) assert.notMatch(one.error, /\p{Cc}/u)
  })

  scenario("a logger that throws fails no call", quick, function* () {
    const broken = Logger.make(() => assert.fail("the disk is full"))
    const exit = yield* fail().pipe(Effect.withLogger(broken))
    assert.deepStrictEqual(exit, Exit.fail("boom"))
    yield* expectState("Open")
  })

  const throwing: BreakerPolicy.Input = { trip: Trip.custom("odd", () => assert.fail("odd")) }
  scenario("a custom trip that throws does not trip, and is reported once", throwing, function* () {
    const lines: Array<Line> = []
    yield* capture(lines, play("FFFFFF"))
    yield* expectState("Closed")
    assert.deepStrictEqual(
      lines.map((line) => line.level),
      ["Error"]
    )
    assert.match(lines[0]?.message ?? "", /custom trip of the circuit "api" threw/)
    assert.strictEqual((yield* inspect()).totals.failures, 6)
  })
})

const dying = Schedule.modifyDelay(Schedule.forever, () => Effect.die(new Error("broken")))
const where = { key: "k" }
const failing = CircuitBreaker.protect(Effect.fail("down"), "api", where)
const reports: ReadonlyArray<
  readonly [
    what: string,
    line: RegExp,
    policy: BreakerPolicy.Input,
    calls: Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
  ]
> = [
  ["an opening", /opened: 1 failure/, quick, failing],
  [
    "a custom trip that throws",
    /custom trip .* threw/,
    { trip: Trip.custom("odd", () => assert.fail("odd")) },
    failing
  ],
  [
    "a classifier that throws",
    /classifier .* failed/,
    quick,
    CircuitBreaker.protect(Effect.void, "api", { ...where, classify: () => assert.fail("odd") })
  ],
  ["a cooldown schedule that fails", /cooldown schedule .* failed/, { ...quick, cooldown: dying }, failing],
  [
    "the schedule of a health check that fails",
    /schedule of the health check .* failed/,
    { ...quick, probe: { check: Effect.void, schedule: dying } },
    failing
  ],
  [
    "ten Ignored probes in a row",
    /10 probes in a row/,
    { ...quick, cooldown: 0 },
    Effect.andThen(
      Effect.exit(failing),
      Effect.replicateEffect(
        Effect.exit(CircuitBreaker.protect(Effect.fail("?"), "api", { ...where, isIgnored: () => true })),
        10
      )
    )
  ]
]

describe("the log line about", () => {
  for (const [what, about, policy, calls] of reports) {
    it.effect(`${what} names the circuit and its key`, () => {
      const lines: Array<Line> = []
      const run = Effect.andThen(Effect.exit(calls), TestClock.adjust("1 minute")).pipe(
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(BreakerPolicy.layer({ default: policy }))
      )
      return Effect.map(capture(lines, run), () => {
        const found = lines.filter(({ message }) => about.test(message))
        assert.strictEqual(found.length, 1, JSON.stringify(lines))
        assert.include(found[0]?.message, '"api" ["k"]')
      })
    })
  }
})

describe("inspect and list", () => {
  scenario(
    "tell everything",
    { ...quick, trip: Trip.any(Trip.consecutive(3), Trip.failureRate({ threshold: 0.9, minimumCalls: 9, over: 10 })) },
    function* () {
      yield* TestClock.setTime(1_000_000)
      yield* play("SFSFF")
      const running = yield* hang()
      const closed = yield* inspect()
      assert.deepInclude(closed, {
        circuit: "api",
        key: undefined,
        state: "Closed",
        scope: "local",
        mode: "enforce",
        epoch: 0,
        since: 0,
        openings: 0,
        streak: 2,
        inFlight: 1,
        probing: 0
      })
      assert.isUndefined(closed.cause)
      assert.deepStrictEqual(closed.windows, [
        { over: 10, calls: 5, failures: 3, slow: 0, weight: 3, failureRate: 0.6, slowRate: 0 }
      ])
      yield* fail()
      yield* reject()
      const open = yield* inspect()
      assert.deepInclude(open, { state: "Open", epoch: 1, since: 1_000_000, openings: 1 })
      assert.deepStrictEqual(open.cause, { why: "Tripped", detail: "3 failures in a row (limit 3)", actor: undefined })
      assert.deepStrictEqual(open.totals, {
        calls: 7,
        successes: 2,
        failures: 4,
        ignored: 0,
        slow: 0,
        rejected: 1,
        passed: 0,
        wouldReject: 0
      })
      yield* running.interrupt
    }
  )

  scenario(
    "keep the last five failures, oldest first, cut and printable",
    { trip: Trip.consecutive(100) },
    function* () {
      const errors: ReadonlyArray<readonly [unknown, string]> = [
        ["gone", ""],
        ["text", "text"],
        [new TypeError("wrong"), "TypeError: wrong"],
        [new TypeError(""), "TypeError"],
        [{ code: 503 }, "503"],
        ["x".repeat(1_000), `${"x".repeat(297)}...`],
        [undefined, "undefined"]
      ]
      for (const [error] of errors) yield* Effect.exit(call(Effect.fail(error)))
      assert.deepStrictEqual(
        (yield* inspect()).lastFailures.map((one) => one.error),
        errors.slice(-5).map(([, text]) => text)
      )
    }
  )

  scenario("are copies: what is done to them changes nothing", quick, function* () {
    yield* fail()
    const before = yield* inspect()
    ;(before.lastFailures as Array<unknown>).length = 0
    ;(before.totals as { calls: number }).calls = 99
    const after = yield* inspect()
    assert.deepStrictEqual([after.lastFailures.length, after.totals.calls], [1, 1])
  })

  scenario("list has every circuit once, keys and all", quick, function* () {
    yield* pass()
    yield* fail({ key: "k" })
    yield* times(2, pass({ name: "other", key: "k" }))
    assert.deepStrictEqual(
      (yield* CircuitBreaker.list).map((one) => [one.circuit, one.key, one.state]),
      [
        ["api", undefined, "Closed"],
        ["api", "k", "Open"],
        ["other", "k", "Closed"]
      ]
    )
  })
})

describe("observe", () => {
  scenario("decides, counts and reports, and rejects no call", { ...quick, mode: "observe" }, function* () {
    const lines: Array<Line> = []
    const events = yield* recordEvents
    yield* capture(lines, fail())
    assert.strictEqual(
      lines[0]?.message,
      'Circuit "api" opened (observing: nothing is rejected): 1 failure in a row (limit 1); last failure: boom'
    )
    yield* times(3, pass())
    const { mode, state, totals } = yield* inspect()
    assert.deepStrictEqual(
      [mode, state, totals.calls, totals.passed, totals.wouldReject, totals.rejected],
      ["observe", "Open", 1, 3, 3, 0]
    )
    // It probes, recovers and trips again as it would if it enforced.
    yield* TestClock.adjust("10 seconds")
    yield* pass()
    yield* fail()
    assert.deepStrictEqual(
      (yield* events).map((event) => event._tag === "Transition" && [event.why, event.mode]),
      [
        ["Tripped", "observe"],
        ["CooldownOver", "observe"],
        ["Recovered", "observe"],
        ["Tripped", "observe"]
      ]
    )
  })

  scenario("rejects no call, not even of a circuit that is isolated", { ...quick, mode: "observe" }, function* () {
    yield* CircuitBreaker.isolate("api")
    yield* pass()
    assert.strictEqual((yield* inspect()).totals.wouldReject, 1)
  })
})

describe("enabled", () => {
  let asked = 0
  let flag = true
  const reading = Effect.sync(() => {
    asked++
    return flag
  })
  const cases: ReadonlyArray<readonly [what: string, enabled: BreakerPolicy.Flag, protects: boolean]> = [
    ["true", true, true],
    ["false", false, false],
    ["an effect of true", Effect.as(Effect.yieldNow, true), true],
    ["an effect of false", Effect.as(Effect.yieldNow, false), false],
    ["an effect that dies protects", Effect.die(new Error("the flag service is down")), true],
    ["an effect that throws protects", Effect.sync(() => assert.fail("broken")), true],
    ["an effect of another value protects", Effect.succeed(undefined as never), true],
    ["a function that returns true", () => true, true],
    ["a function that returns false", () => false, false],
    ["a function that returns an effect", () => Effect.as(Effect.yieldNow, false), false],
    ["a function that throws protects", () => assert.fail("broken"), true],
    ["a function for this circuit", ({ name }) => name !== "api", false],
    ["a function for another circuit", ({ name }) => name !== "other", true]
  ]
  const told: Array<unknown> = []
  scenario(
    "gets the name and the key of the circuit, also the key of a tenant",
    { ...quick, enabled: (circuit) => told.push(circuit) === 0 },
    function* () {
      yield* pass()
      yield* pass({ key: "k" })
      yield* Tenant.within(pass({ name: "other", key: "k" }), "acme")
      assert.deepStrictEqual(told, [
        { name: "api", key: undefined },
        { name: "api", key: "k" },
        { name: "other", key: "acme/k" }
      ])
    }
  )

  for (const [what, enabled, protects] of cases) {
    scenario(what, { ...quick, enabled }, function* () {
      assert.deepStrictEqual(yield* fail(), Exit.fail("boom"))
      yield* expectState(protects ? "Open" : "Closed")
      assert.strictEqual(Exit.isFailure(yield* succeed()), protects)
      const { totals } = yield* inspect()
      assert.deepStrictEqual([totals.calls, totals.passed], protects ? [1, 0] : [0, 2])
    })
  }

  scenario("is asked for each call, and its answer counts for that call", { ...quick, enabled: reading }, function* () {
    yield* fail()
    flag = false
    yield* pass()
    flag = true
    yield* reject()
    assert.strictEqual(asked, 3)
  })
})

it.effect("The stream of events ends with its store, after the events that a slow subscriber has not read yet", () =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const store = yield* Layer.buildWithScope(Layer.fresh(BreakerStore.layerMemory), scope)
    const seen: Array<string> = []
    const slow = Stream.runForEach(CircuitBreaker.events, (event) =>
      Effect.andThen(
        Effect.sleep("1 second"),
        Effect.sync(() => seen.push(event._tag === "Transition" ? event.to : event._tag))
      )
    )
    const reading = yield* Effect.forkDetach(Effect.provideContext(slow, store), { startImmediately: true })
    const act = Effect.andThen(CircuitBreaker.isolate("api"), CircuitBreaker.release("api"))
    yield* Effect.provideContext(Effect.andThen(act, act), store)
    yield* TestClock.adjust("1 second")
    yield* Effect.provideContext(act, store)
    yield* Scope.close(scope, Exit.void)
    yield* TestClock.adjust("1 minute")
    assert.isDefined(reading.pollUnsafe(), "the stream has not ended")
    assert.deepStrictEqual(seen, ["Isolated", "Closed", "Isolated", "Closed", "Isolated", "Closed"])
  })
)
