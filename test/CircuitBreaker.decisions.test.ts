import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, type CircuitOpen, Outcome, Trip } from "effect-fuse"
import { broken, type Case, type Down, exits, type Missing, readings } from "./support/exits.ts"
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
  times
} from "./support/verbs.ts"
import { wrongOptions, wrongPolicies } from "./support/wrong.ts"

const rate = (threshold: number, minimumCalls: number, over: number) =>
  Trip.failureRate({ threshold, minimumCalls, over })

describe("At the threshold it trips, only a failure opens, a success never does", () => {
  const cases: ReadonlyArray<readonly [trip: Trip.Input | undefined, pattern: string, state: string]> = [
    [undefined, "FFFF", "Closed"],
    [undefined, "FFFFF", "Open"],
    [undefined, "FFFFSFFFF", "Closed"],
    [Trip.consecutive(3), "FSFF", "Closed"],
    [Trip.consecutive(3), "FSFFF", "Open"],
    [Trip.failures({ atLeast: 2, of: 5 }), "FSSSSF", "Closed"],
    [Trip.failures({ atLeast: 2, of: 5 }), "FSSSF", "Open"],
    [rate(0.5, 4, 10), "FFF", "Closed"],
    [rate(0.5, 4, 10), "SSSF", "Closed"],
    [rate(0.5, 4, 10), "SSFF", "Open"],
    // The share is reached by a success: it does not open, the failure after it does.
    [rate(0.5, 4, 10), "FFSS", "Closed"],
    [rate(0.5, 4, 10), "FFSSF", "Open"],
    // Two thirds are less than 0.667, however one rounds.
    [rate(0.667, 3, 3), "SFF", "Closed"],
    [rate(0.666, 3, 3), "SFF", "Open"],
    [rate(1, 3, 3), "SFF", "Closed"],
    [rate(1, 3, 3), "SFFF", "Open"],
    [rate(0.5, 50, 50), "S".repeat(26) + "F".repeat(24), "Closed"],
    [rate(0.5, 50, 50), "S".repeat(26) + "F".repeat(25), "Open"],
    [rate(0.5, 50, 50), "F".repeat(49), "Closed"],
    [Trip.any(Trip.consecutive(9), rate(0.5, 2, 2)), "SF", "Open"],
    [Trip.all(Trip.consecutive(2), rate(0.5, 4, 4)), "FF", "Closed"],
    [Trip.all(Trip.consecutive(2), rate(0.5, 4, 4)), "SSFF", "Open"],
    [Trip.custom("always", () => true), "SSS", "Closed"],
    [Trip.custom("always", () => true), "SSSF", "Open"]
  ]
  for (const [trip, pattern, expected] of cases) {
    const shown = pattern.length > 12 ? `${pattern.length} calls` : pattern
    scenario(`${JSON.stringify(trip) ?? "the default"} is ${expected} after ${shown}`, { trip }, function* () {
      yield* play(pattern)
      yield* expectState(expected)
    })
  }
})

scenario("Weights count only in Trip.weighted", { trip: Trip.weighted({ atLeast: 5, over: 10 }) }, function* () {
  const heavy = (weight: number) =>
    Effect.exit(CircuitBreaker.protect(Effect.fail("x"), "api", { classify: () => Outcome.failure({ weight }) }))
  yield* heavy(4.5)
  yield* expectState("Closed")
  yield* heavy(0.5)
  yield* expectState("Open")
})

describe("At exactly openedAt + cooldown the call is admitted as a probe", () => {
  scenario("one millisecond before it is rejected, with retryAfter 1 ms", quick, function* () {
    yield* fail()
    yield* TestClock.adjust(9_999)
    assert.strictEqual(Duration.toMillis((yield* reject()).retryAfter), 1)
    yield* TestClock.adjust(1)
    // Looking does not probe; only a call does.
    yield* expectState("Open")
    assert.strictEqual(Duration.toMillis((yield* inspect()).retryAfter), 0)
    yield* pass()
    yield* expectState("Closed")
  })

  scenario("cooldown 0 makes the next call a probe", { ...quick, cooldown: 0 }, function* () {
    const events = yield* recordEvents
    yield* fail()
    yield* expectState("Open")
    yield* pass()
    assert.deepStrictEqual(
      (yield* events).map((event) => event._tag === "Transition" && event.why),
      ["Tripped", "CooldownOver", "Recovered"]
    )
  })
})

describe("A success is a Success, errors and defects are Failures, interrupts only are Ignored", () => {
  const check = (
    self: Effect.Effect<Exit.Exit<unknown, unknown>, never, BreakerStore.BreakerStore>,
    [, exit, counted]: Case
  ) =>
    function* () {
      // The caller gets what the call ended with, whatever the breaker makes of it.
      assert.deepStrictEqual(yield* self, exit)
      const { inFlight, totals } = yield* inspect()
      const { failures, ignored, successes } = totals
      const expected = { failures: 0, ignored: 0, successes: 0, [counted]: 1 }
      assert.deepStrictEqual({ failures, ignored, successes }, expected)
      assert.strictEqual(inFlight, 0)
    }
  for (const one of exits) scenario(`${one[0]} counts in ${one[2]}`, {}, check(Effect.exit(call(one[1])), one))

  for (const [what, reading, one] of readings) {
    const self = Effect.suspend(() => one[1] as Exit.Exit<string, Missing | Down | CircuitOpen.CircuitOpen>)
    scenario(what, {}, check(Effect.exit(CircuitBreaker.protect(self, "api", reading)), one))
  }

  for (const [what, reading] of broken) {
    scenario(`${what} costs the caller nothing, is reported once, and is read as by default`, quick, function* () {
      const lines: Array<Line> = []
      const broke = Effect.exit(CircuitBreaker.protect(Effect.fail("boom"), "api", reading))
      assert.deepStrictEqual(yield* capture(lines, broke), Exit.fail("boom"))
      yield* expectState("Open")
      yield* TestClock.adjust("10 seconds")
      yield* capture(lines, broke)
      const { inFlight, probing, totals } = yield* inspect()
      assert.deepStrictEqual([inFlight, probing, totals.ignored, totals.failures], [0, 0, 0, 2])
      assert.deepStrictEqual(
        lines.filter(({ level }) => level === "Error").map(({ message }) => message.split(";")[0]),
        ['A classifier of the circuit "api" failed']
      )
    })
  }

  scenario("a breaker within a breaker: the outer one ignores the inner rejection", quick, function* () {
    yield* fail({ name: "inner" })
    const nested = CircuitBreaker.protect(call(Effect.void, { name: "inner" }), "outer")
    const error = yield* Effect.flip(nested)
    assert.strictEqual((error as CircuitOpen.CircuitOpen).circuit, "inner")
    yield* expectState("Closed", { name: "outer" })
    assert.strictEqual((yield* inspect({ name: "outer" })).totals.ignored, 1)
  })

  scenario("a timeout inside protect is a Failure, outside it is Ignored", {}, function* () {
    const inside = CircuitBreaker.protect(Effect.timeout(Effect.never, "1 second"), "inside")
    const outside = Effect.timeout(CircuitBreaker.protect(Effect.never, "outside"), "1 second")
    const fibers = yield* Effect.forEach([inside, outside], (self) => Effect.forkChild(Effect.exit(self)))
    yield* TestClock.adjust("1 second")
    for (const fiber of fibers) assert.isTrue(Exit.hasFails(yield* Fiber.join(fiber)))
    const totals = yield* Effect.forEach(["inside", "outside"], (name) =>
      Effect.map(inspect({ name }), (one) => one.totals)
    )
    assert.deepStrictEqual(
      totals.map((one) => [one.failures, one.ignored]),
      [
        [1, 0],
        [0, 1]
      ]
    )
  })
})

describe("A call admitted in an older epoch changes nothing when it ends", () => {
  type Act = Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
  const recover = Effect.andThen(TestClock.adjust("10 seconds"), pass())
  const acts: ReadonlyArray<readonly [what: string, act: Act]> = [
    ["a trip", fail()],
    ["a trip and its recovery", Effect.andThen(fail(), recover)],
    ["a reset", CircuitBreaker.reset("api")],
    ["isolate", CircuitBreaker.isolate("api")],
    ["isolate and release", Effect.andThen(CircuitBreaker.isolate("api"), CircuitBreaker.release("api"))],
    ["disable and release", Effect.andThen(CircuitBreaker.disable("api"), CircuitBreaker.release("api"))],
    ["open by hand", CircuitBreaker.open("api")],
    ["open and close by hand", Effect.andThen(CircuitBreaker.open("api"), CircuitBreaker.close("api"))]
  ]
  const ends = { Success: Exit.succeed("late"), Failure: Exit.fail("late"), Interrupt: Exit.interrupt(1) }
  const seen = Effect.map(inspect(), ({ epoch, openings, probing, state, streak, windows }) => ({
    epoch,
    openings,
    probing,
    state,
    streak,
    windows
  }))
  const trip = Trip.any(Trip.consecutive(1), Trip.failureRate({ threshold: 0.01, minimumCalls: 1, over: "1 hour" }))
  for (const [what, act] of acts) {
    for (const [end, exit] of Object.entries(ends)) {
      scenario(`${end} after ${what}`, { ...quick, trip }, function* () {
        const late = yield* hang()
        yield* act
        // So that there is something to lose.
        if ((yield* inspect()).state === "Closed") yield* pass()
        const before = yield* seen
        yield* late.end(exit)
        assert.deepStrictEqual(yield* seen, before)
        assert.strictEqual((yield* inspect()).inFlight, 0)
      })
    }
  }

  for (const [end, exit] of Object.entries(ends)) {
    scenario(
      `${end} of a call from before the trip neither closes nor opens what probes`,
      { ...quick, probes: 2, successesToClose: 2 },
      function* () {
        const late = yield* hang()
        yield* fail()
        yield* TestClock.adjust("10 seconds")
        const probe = yield* hang()
        const before = yield* seen
        yield* late.end(exit)
        assert.deepStrictEqual(yield* seen, before)
        yield* probe.interrupt
      }
    )

    scenario(
      `${end} of a probe of an earlier HalfOpen changes nothing in a later one`,
      { ...quick, probes: 2 },
      function* () {
        yield* fail()
        yield* TestClock.adjust("10 seconds")
        const old = yield* hang()
        yield* fail()
        yield* TestClock.adjust("10 seconds")
        const young = yield* hang()
        const before = yield* seen
        assert.deepStrictEqual([before.state, before.probing], ["HalfOpen", 1])
        yield* old.end(exit)
        assert.deepStrictEqual(yield* seen, before)
        yield* young.end(Exit.succeed("ok"))
        yield* expectState("Closed")
      }
    )
  }
})

describe("Time inside a process is monotonic", () => {
  scenario(
    "a wall clock that steps back keeps no circuit open and no window full",
    { trip: Trip.failures({ atLeast: 2, of: "10 seconds" }), cooldown: "10 seconds" },
    function* () {
      const day = 86_400_000
      yield* TestClock.setTime(day)
      yield* fail()
      yield* TestClock.setTime(0)
      yield* TestClock.adjust("10 seconds")
      yield* fail()
      yield* expectState("Closed")
      yield* fail()
      yield* expectState("Open")
      yield* TestClock.setTime(-day)
      assert.strictEqual(Duration.toMillis((yield* reject()).retryAfter), 10_000)
      yield* TestClock.adjust("10 seconds")
      yield* pass()
      yield* expectState("Closed")
      assert.strictEqual((yield* inspect()).since, 10_000 - day)
    }
  )
})

describe("The count of openings survives a close, and is forgotten once it has stayed closed as long as it was last open", () => {
  const exponential = { ...quick, cooldown: Schedule.exponential("1 second") }
  const lastsNow = Effect.gen(function* () {
    yield* fail()
    const { openings, retryAfter } = yield* inspect()
    return [openings, Duration.toSeconds(retryAfter)]
  })
  const recover = Effect.gen(function* () {
    yield* TestClock.adjust((yield* inspect()).retryAfter)
    yield* pass()
    yield* expectState("Closed")
  })

  scenario("each opening in a row lasts longer, also across a close", exponential, function* () {
    assert.deepStrictEqual(yield* lastsNow, [1, 1])
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* lastsNow, [2, 2])
    yield* recover
    yield* TestClock.adjust(1_999)
    assert.deepStrictEqual(yield* lastsNow, [3, 4])
  })

  scenario("a circuit that stayed closed as long as it was last open counts from 1 again", exponential, function* () {
    yield* lastsNow
    yield* TestClock.adjust("1 second")
    yield* lastsNow
    yield* recover
    assert.strictEqual((yield* inspect()).openings, 2)
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual((yield* inspect()).openings, 0)
    assert.deepStrictEqual(yield* lastsNow, [1, 1])
  })
})

describe("retryAfter hints lengthen, never shorten, and are capped by maxCooldown", () => {
  const cases: ReadonlyArray<readonly [hint: Duration.Input, seconds: number]> = [
    ["0 seconds", 10],
    ["9 seconds", 10],
    ["11 seconds", 11],
    ["1 hour", 60],
    [Duration.infinity, 60]
  ]
  for (const [hint, seconds] of cases) {
    for (const when of ["a trip", "a probe"]) {
      scenario(`${hint} at ${when} opens for ${seconds} seconds`, { ...quick, maxCooldown: "1 minute" }, function* () {
        if (when === "a probe") {
          yield* fail()
          yield* TestClock.adjust("10 seconds")
        }
        const classify = () => Outcome.failure({ retryAfter: hint })
        yield* Effect.exit(CircuitBreaker.protect(Effect.fail("busy"), "api", { classify }))
        assert.strictEqual(Duration.toSeconds((yield* inspect()).retryAfter), seconds)
      })
    }
  }
})

scenario("Window data ages: an idle hour leaves nothing", { trip: Trip.consecutive(3) }, function* () {
  yield* play("FF")
  yield* TestClock.adjust("1 hour")
  assert.strictEqual((yield* inspect()).streak, 0)
  yield* play("FF")
  yield* expectState("Closed")
})

const aging: BreakerPolicy.Input = { trip: Trip.failures({ atLeast: 3, of: "10 seconds" }) }
scenario("Window data ages by whole buckets, driven by the time now", aging, function* () {
  yield* play("FF")
  yield* TestClock.adjust(9_999)
  assert.strictEqual((yield* inspect()).windows[0]?.failures, 2)
  yield* TestClock.adjust(1)
  assert.strictEqual((yield* inspect()).windows[0]?.failures, 0)
})

describe("Options that are wrong are errors that name the field", () => {
  for (const [input, path] of wrongPolicies) {
    it(`${JSON.stringify(input)}: ${path}`, () => {
      const policy = input as BreakerPolicy.Input
      assert.throws(
        () => CircuitBreaker.protect("api", { policy }),
        new RegExp(`(^CircuitBreaker\\.protect: |; )policy\\.${path.replaceAll(".", "\\.")}: `)
      )
    })
  }

  for (const [name, wrong, says] of wrongOptions) {
    it(`protect(${JSON.stringify(name)}, { ${Object.keys(wrong as object).join(", ")} }) names ${says}`, () => {
      assert.throws(
        () => CircuitBreaker.protect(name as string, wrong as object),
        new RegExp(`protect: ${says}: expected `)
      )
    })
  }
})

describe("Two policies for one name in one store are a defect, except through a reload", () => {
  const one = CircuitBreaker.protect(Effect.void, "api", { policy: { probes: 2, cooldown: "1 minute" } })
  const same = CircuitBreaker.protect(Effect.void, "api", { policy: { probes: 2, cooldown: 60_000 } })
  const other = CircuitBreaker.protect(Effect.void, "api", { policy: { probes: 3, cooldown: "1 minute" } })
  scenario("the message names the circuit and the field, and the first policy stays", {}, function* () {
    yield* one
    yield* same
    const exit = yield* Effect.exit(other)
    assert.include(
      Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "",
      'circuit "api" in one store: they differ in probes'
    )
    yield* one
  })

  it.effect("a reload changes the policy and keeps the state", () =>
    Effect.gen(function* () {
      let cooldown = 10_000
      const load = Effect.sync(() => ({ default: { ...quick, cooldown } }))
      yield* Effect.gen(function* () {
        yield* fail()
        cooldown = 70_000
        yield* TestClock.adjust("5 seconds")
        yield* reject()
        yield* TestClock.adjust("5 seconds")
        yield* fail()
        assert.strictEqual(Duration.toMillis((yield* inspect()).retryAfter), 70_000)
      }).pipe(
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(BreakerPolicy.layerReloading(load, Schedule.spaced("1 second")))
      )
    })
  )
})

scenario("Rejections are not calls: they count in no window, and carry no stack", {}, function* () {
  yield* play("FFFFF")
  const before = yield* inspect()
  const rejected = yield* times(100, reject())
  const { totals, windows, lastFailures } = yield* inspect()
  assert.deepStrictEqual(windows, before.windows)
  assert.deepStrictEqual(lastFailures, before.lastFailures)
  assert.deepStrictEqual(totals, { ...before.totals, rejected: 100 })
  assert.notInclude(rejected[0]?.stack ?? "", "\n")
  // The limit on stacks of everybody else is as it was.
  assert.include(new Error("other").stack ?? "", "\n")
})

it.effect("Circuits are capped: idle ones go, live trouble stays, and what finds no room shares one circuit", () =>
  Effect.gen(function* () {
    yield* CircuitBreaker.isolate("api", { key: "forced" })
    for (const key of ["down", "a", "b", "c"]) yield* key === "down" ? fail({ key }) : pass({ key })
    assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 3, evicted: 2, overflowed: 0 })
    yield* expectState("Open", { key: "down" })
    yield* fail({ key: "c" })
    yield* fail({ key: "d" })
    // Nothing is idle now: the newcomers share a circuit, and with it its state.
    yield* reject({ key: "e" })
    yield* expectState("Open", { key: "down" })
    yield* expectState("Isolated", { key: "forced" })
    assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 4, evicted: 2, overflowed: 2 })
  }).pipe(
    Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 3 })),
    Effect.provide(BreakerPolicy.layer({ default: quick }))
  )
)

scenario("Keys are opaque: any two texts are two circuits", quick, function* () {
  const long = "x".repeat(512)
  const keys = [
    undefined,
    "",
    " ",
    "a",
    "A",
    "a/b",
    "a%2Fb",
    "__proto__",
    "constructor",
    "a\nb",
    "a\0",
    "\ud800",
    "😀",
    long
  ]
  for (const key of keys) {
    yield* pass({ key })
    yield* fail({ key })
    assert.strictEqual((yield* reject({ key })).key, key)
  }
  assert.deepStrictEqual(new Set((yield* CircuitBreaker.list).map((one) => one.key)), new Set(keys))
  yield* expectState("Closed", { key: `${long}y` })
})
