import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Layer, Logger, type Scope } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import {
  BreakerPolicy,
  BreakerStore,
  CircuitBreaker,
  MemoryStore,
  Resilience,
  type SharedStore,
  Trip
} from "effect-fuse"
import { HttpClientBreaker } from "effect-fuse/http"
import { EventLoop } from "../src/engine/eventLoop.ts"
import { makeStalling, type Stalling } from "./support/stalling.ts"
import { capture, type Line } from "./support/verbs.ts"

type Steps = (
  loop: Stalling
) => Generator<Effect.Effect<unknown, unknown, BreakerStore.BreakerStore | Scope.Scope>, unknown, never>

/** A test with an event loop that can stall. */
const scenario = (name: string, policy: BreakerPolicy.Input, body: Steps): void =>
  it.effect(name, () =>
    Effect.flatMap(makeStalling, (loop) =>
      Effect.provideService(
        Effect.gen(() => body(loop)).pipe(
          Effect.provide(BreakerStore.layerMemory),
          Effect.provide(BreakerPolicy.layer({ default: { trip: Trip.consecutive(5), ...policy } }))
        ),
        Clock.Clock,
        loop.clock
      )
    )
  )

const name = "api"

/** Begins a number of calls at once. */
const begin = <A, E, R>(count: number, call: Effect.Effect<A, E, R>) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.forkDetach(Effect.exit(call), { startImmediately: true }))

const ends = <A, E>(fibers: ReadonlyArray<Fiber.Fiber<Exit.Exit<A, E>>>) =>
  Effect.map(Effect.forEach(fibers, Fiber.join), (exits) =>
    exits.map((exit) => {
      if (Exit.isSuccess(exit)) return "Success"
      const [reason] = exit.cause.reasons
      return reason?._tag === "Fail" ? (reason.error as { readonly _tag: string })._tag : String(reason?._tag)
    })
  )

const all = (count: number, end: string) => Array.from({ length: count }, () => end)

const expect = (state: string, counts: Partial<CircuitBreaker.Inspection["totals"]>, options?: { key: string }) =>
  Effect.map(CircuitBreaker.inspect(name, options), (seen) => {
    assert.deepInclude(seen.totals, counts)
    assert.strictEqual(seen.state, state)
  })

const never = Effect.never as Effect.Effect<void>

// ---- Timeouts -------------------------------------------------------------------------------------------------------

type Protect = <A>(call: Effect.Effect<A>) => Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>

const overHttp: Protect = (call) =>
  HttpClient.make((request) => Effect.as(call, HttpClientResponse.fromWeb(request, new Response("ok"))))
    .pipe(HttpClientBreaker.standard(name, { timeout: "500 millis", retry: false, key: () => undefined }))
    .get("https://a.test/")

/** Each way to give a call 500 milliseconds. */
const timeouts: Readonly<Record<string, Protect>> = {
  "Resilience.timeout": (call) => call.pipe(Resilience.timeout("500 millis"), CircuitBreaker.protect(name)),
  "Resilience.standard": Resilience.standard(name, { timeout: "500 millis", retry: false }),
  "HttpClientBreaker.standard": overHttp
}

describe("When calls become due while the process stalls,", () => {
  for (const [what, protect] of Object.entries(timeouts)) {
    scenario(`${what} lets answers that have arrived be read`, {}, function* (loop) {
      const calls = yield* begin(20, protect(loop.answer(50)))
      yield* loop.stall(3_000)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* ends(calls), all(20, "Success"))
      yield* expect("Closed", { successes: 20, failures: 0, slow: 0 })
    })

    scenario(`${what} that still ends is Ignored, and the next one that ends is a Failure`, {}, function* (loop) {
      const calls = yield* begin(20, protect(never))
      yield* loop.stall(3_000)
      yield* expect("Closed", { failures: 0, ignored: 0 })
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(yield* ends(calls), all(20, "TimeoutError"))
      yield* expect("Closed", { failures: 0, ignored: 20 })
      const after = yield* begin(5, protect(never))
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(yield* ends(after), all(5, "TimeoutError"))
      yield* expect("Open", { failures: 5, ignored: 20 })
    })
  }

  scenario("a timeout in the user's code is Ignored", {}, function* (loop) {
    const call = Effect.timeout(loop.answer(50), "500 millis")
    const calls = yield* begin(20, CircuitBreaker.protect(call, name))
    yield* loop.detectedStall(3_000)
    assert.deepStrictEqual(yield* ends(calls), all(20, "TimeoutError"))
    yield* expect("Closed", { failures: 0, ignored: 20 })
  })

  scenario("every other failure is Ignored", {}, function* (loop) {
    const calls = yield* begin(
      20,
      CircuitBreaker.protect(Effect.andThen(loop.answer(50), Effect.fail({ _tag: "Reset" })), name)
    )
    yield* loop.detectedStall(3_000)
    yield* TestClock.adjust("1 milli")
    assert.deepStrictEqual(yield* ends(calls), all(20, "Reset"))
    yield* expect("Closed", { failures: 0, ignored: 20 })
  })

  scenario("a failure that is reported for a permit is Ignored", {}, function* (loop) {
    const permit = yield* CircuitBreaker.admit(name)
    yield* loop.detectedStall(3_000)
    yield* CircuitBreaker.settle(permit, Exit.fail("reset"))
    yield* expect("Closed", { failures: 0, ignored: 1 })
  })

  scenario("a failure that comes later is a Failure", {}, function* (loop) {
    const calls = yield* begin(5, CircuitBreaker.protect(Effect.andThen(loop.answer(4_000), Effect.fail("down")), name))
    yield* loop.detectedStall(3_000)
    yield* TestClock.adjust("1 second")
    yield* Effect.forEach(calls, Fiber.join)
    yield* expect("Open", { failures: 5, ignored: 0 })
  })

  scenario("a long call that the stall hardly affected is a Failure", {}, function* (loop) {
    const calls = yield* begin(
      5,
      CircuitBreaker.protect(Effect.andThen(loop.answer(10_000), Effect.fail("down")), name)
    )
    yield* TestClock.adjust("9500 millis")
    yield* loop.detectedStall(900)
    yield* TestClock.adjust("1 milli")
    yield* Effect.forEach(calls, Fiber.join)
    yield* expect("Open", { failures: 5, ignored: 0 })
  })
})

// ---- Slow and stuck calls -------------------------------------------------------------------------------------------

describe("The time of a stall", () => {
  const slowTrip = {
    trip: Trip.slowRate({ threshold: 0.5, minimumCalls: 5, over: 10 }),
    slowCall: "2 seconds"
  } as const

  scenario("does not make a call slow", slowTrip, function* (loop) {
    const calls = yield* begin(10, CircuitBreaker.protect(loop.answer(50), name))
    yield* loop.detectedStall(3_000)
    yield* TestClock.adjust("1 milli")
    yield* ends(calls)
    yield* expect("Closed", { successes: 10, slow: 0 })
  })

  scenario("does not make a slow call fast", slowTrip, function* (loop) {
    const calls = yield* begin(10, CircuitBreaker.protect(loop.answer(5_100), name))
    yield* loop.detectedStall(3_000)
    yield* TestClock.adjust("2200 millis")
    yield* ends(calls)
    yield* expect("Open", { successes: 10 })
  })

  scenario("does not make a call stuck", { trip: Trip.stuck({ calls: 3, olderThan: "2 seconds" }) }, function* (loop) {
    const calls = yield* begin(5, CircuitBreaker.protect(never, name))
    yield* loop.detectedStall(3_000)
    const [next] = yield* begin(1, CircuitBreaker.protect(Effect.void, name))
    assert.deepStrictEqual(yield* ends(next === undefined ? [] : [next]), ["Success"])
    yield* TestClock.adjust("1999 millis")
    yield* CircuitBreaker.protect(Effect.void, name)
    yield* TestClock.adjust("1 milli")
    const rejected = yield* Effect.exit(CircuitBreaker.protect(Effect.void, name))
    assert.isTrue(Exit.isFailure(rejected))
    yield* Effect.forEach(calls, Fiber.interrupt)
  })
})

// ---- Probes ---------------------------------------------------------------------------------------------------------

describe("When a probe becomes due while the process stalls,", () => {
  const policy = { trip: Trip.consecutive(1), cooldown: "10 seconds", probeTimeout: "1 second" } as const
  const opened = Effect.gen(function* () {
    yield* Effect.exit(CircuitBreaker.protect(Effect.fail("down"), name))
    yield* TestClock.adjust("10 seconds")
  })

  for (const [what, wrap] of [
    ["one that can be interrupted", <A>(call: Effect.Effect<A>) => call],
    ["one that cannot", <A>(call: Effect.Effect<A>) => Effect.uninterruptible(call)]
  ] as const) {
    scenario(`${what} closes the circuit if its answer has arrived`, policy, function* (loop) {
      yield* opened
      const probe = yield* begin(1, wrap(CircuitBreaker.protect(loop.answer(50), name) as Effect.Effect<void>))
      yield* loop.stall(3_000)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* ends(probe), ["Success"])
      yield* expect("Closed", { successes: 1, failures: 1 })
    })

    scenario(`${what} frees its slot if it still ends`, policy, function* (loop) {
      yield* opened
      const probe = yield* begin(1, wrap(CircuitBreaker.protect(loop.answer(60_000), name) as Effect.Effect<void>))
      yield* loop.stall(3_000)
      yield* TestClock.adjust("1 second")
      yield* expect("HalfOpen", { failures: 1, ignored: 1 })
      yield* CircuitBreaker.protect(Effect.void, name)
      yield* expect("Closed", { successes: 1 })
      yield* TestClock.adjust("1 minute")
      yield* ends(probe)
    })

    scenario(`${what} opens the circuit if it became due at another time`, policy, function* (loop) {
      yield* opened
      yield* loop.stall(3_000)
      const probe = yield* begin(1, wrap(CircuitBreaker.protect(loop.answer(60_000), name) as Effect.Effect<void>))
      yield* TestClock.adjust("1 second")
      yield* expect("Open", { failures: 2, ignored: 0 })
      yield* TestClock.adjust("1 minute")
      yield* ends(probe)
    })
  }

  it.effect("a health check closes the circuit if its answer has arrived", () =>
    Effect.flatMap(makeStalling, (loop) => {
      let checks = 0
      const check = Effect.suspend(() => (checks++ === 0 ? loop.answer(50) : Effect.never))
      const steps = Effect.gen(function* () {
        yield* Effect.exit(CircuitBreaker.protect(Effect.fail("down"), name))
        yield* TestClock.adjust("10 seconds")
        yield* loop.stall(3_000)
        yield* TestClock.adjust("1 second")
        yield* expect("Closed", {})
      })
      return steps.pipe(
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(
          BreakerPolicy.layer({ default: { ...policy, cooldown: "1 hour", probe: { check, schedule: "10 seconds" } } })
        ),
        Effect.provideService(Clock.Clock, loop.clock)
      )
    })
  )
})

describe("A hedge that becomes due while the process stalls", () => {
  const made = { calls: 0 }
  const hedged = (call: Effect.Effect<void>) =>
    Resilience.hedge({ after: "200 millis" })(
      Effect.andThen(
        Effect.sync(() => made.calls++),
        call
      )
    )

  scenario("is not made if the answer has arrived", {}, function* (loop) {
    made.calls = 0
    const call = yield* begin(1, hedged(loop.answer(50)))
    yield* loop.stall(3_000)
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* ends(call), ["Success"])
    assert.strictEqual(made.calls, 1)
  })

  scenario("is made after the stall if the answer has not arrived", {}, function* (loop) {
    made.calls = 0
    const call = yield* begin(1, hedged(loop.answer(60_000)))
    yield* loop.stall(3_000)
    assert.strictEqual(made.calls, 1)
    yield* TestClock.adjust("200 millis")
    assert.strictEqual(made.calls, 2)
    yield* TestClock.adjust("1 minute")
    yield* ends(call)
  })
})

// ---- The fleet ------------------------------------------------------------------------------------------------------

describe("A process that stalled", () => {
  const policy = { trip: Trip.consecutive(5), cooldown: "1 minute" } as const

  it.effect("sends the fleet no evidence of calls that the stall made late", () =>
    Effect.gen(function* () {
      const casts: Array<SharedStore.Cast> = []
      const memory = yield* MemoryStore.make
      const store: SharedStore.SharedStore = {
        ...memory,
        exchange: (exchange) => {
          casts.push(...exchange.casts)
          return memory.exchange(exchange)
        }
      }
      const build = (clock: Clock.Clock) =>
        Effect.provideService(
          Layer.build(
            BreakerStore.layerShared(store).pipe(
              Layer.provideMerge(Layer.merge(BreakerPolicy.layer({ default: policy }), Logger.layer([])))
            )
          ),
          Clock.Clock,
          clock
        )
      const loops = [yield* makeStalling, yield* makeStalling] as const
      const [one, two] = [yield* build(loops[0].clock), yield* build(loops[1].clock)]
      const within =
        (i: 0 | 1) =>
        <A, E>(effect: Effect.Effect<A, E, BreakerStore.BreakerStore>) =>
          Effect.provideService(
            Effect.provideContext(effect, i === 0 ? one : two) as Effect.Effect<A, E>,
            Clock.Clock,
            loops[i].clock
          )
      const call = (i: 0 | 1) => within(i)(timeouts["Resilience.timeout"]?.(loops[i].answer(50)) ?? Effect.void)
      const hung = (i: 0 | 1) => within(i)(timeouts["Resilience.timeout"]?.(never) ?? Effect.void)
      for (const i of [0, 1] as const) {
        const calls = yield* begin(5, call(i))
        yield* TestClock.adjust("1 second")
        yield* ends(calls)
      }
      const late = [...(yield* begin(20, hung(0))), ...(yield* begin(20, hung(1)))]
      // Both stall at the same time, as processes of one machine do.
      const second = yield* Effect.forkChild(loops[1].stall(3_000), { startImmediately: true })
      yield* loops[0].stall(3_000)
      yield* Fiber.join(second)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(new Set(yield* ends(late)), new Set(["TimeoutError"]))
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(casts, [])
      for (const i of [0, 1] as const) {
        assert.strictEqual(yield* within(i)(CircuitBreaker.state(name)), "Closed")
      }
      // A later outage still opens the circuit for all.
      const failing = [...(yield* begin(5, hung(0))), ...(yield* begin(5, hung(1)))]
      yield* TestClock.adjust("1 second")
      yield* ends(failing)
      yield* TestClock.adjust("5 seconds")
      assert.isAbove(casts.length, 0)
      for (const i of [0, 1] as const) {
        assert.strictEqual(yield* within(i)(CircuitBreaker.state(name)), "Open")
      }
    })
  )
})

// ---- No stall -------------------------------------------------------------------------------------------------------

describe("A stall is not assumed", () => {
  scenario("if a test lets a large amount of virtual time pass at once", {}, function* () {
    const calls = yield* begin(5, timeouts["Resilience.timeout"]?.(never) ?? Effect.void)
    yield* TestClock.adjust("1 day")
    assert.deepStrictEqual(yield* ends(calls), all(5, "TimeoutError"))
    yield* expect("Open", { failures: 5, ignored: 0 })
  })

  it("if timers are always 50 milliseconds late, or one is 100 milliseconds late", () => {
    const clock = { now: 0 }
    const loop = new EventLoop(() => clock.now, false)
    for (let due = 0; due < 10_000; due += 100) {
      clock.now = due + 50
      assert.isFalse(loop.noteTimer(due, clock.now))
    }
    assert.isFalse(loop.noteTimer(10_000, 10_100))
    assert.isFalse(loop.excuses(9_000, 10_100))
    assert.isTrue(loop.noteTimer(10_000, 10_101))
    assert.isTrue(loop.excuses(9_950, 10_101))
  })
})

describe("A stall", () => {
  /** The event loop stalls from 1,000 to 2,000. */
  const stalled = () => {
    const loop = new EventLoop(() => 2_000, false)
    loop.noteTimer(1_500, 2_000)
    loop.noteTimer(1_000, 2_001)
    loop.noteTimer(1_800, 2_002)
    return loop
  }

  const calls: ReadonlyArray<readonly [what: string, since: number, until: number, excused: boolean]> = [
    ["one that was in flight before it and ends after it", 990, 2_002, true],
    ["one that began during it", 1_500, 2_002, true],
    ["one that ends within 700 ms after it", 990, 2_702, true],
    ["one that ends later", 990, 2_703, false],
    ["one that begins after it", 2_002, 2_500, false],
    ["one that began less than 100 ms before its end", 1_903, 2_003, false],
    ["one of which it took a tenth", -8_018, 2_002, true],
    ["one of which it took less", -8_019, 2_002, false]
  ]
  for (const [what, since, until, excused] of calls) {
    it(`${excused ? "excuses" : "does not excuse"} the failure of a call: ${what}`, () => {
      assert.strictEqual(stalled().excuses(since, until), excused)
    })
  }

  it("that several timers report is counted once", () => {
    assert.strictEqual(stalled().stalledBetween(0, 10_000), 1_002)
    assert.strictEqual(stalled().stalledBetween(1_500, 1_600), 100)
  })

  /** The number of stalls that excuse a call, if each lasts a second and this time is between two. */
  const excusedOf = (stalls: number, between: number) => {
    const loop = new EventLoop(() => 0, false)
    let now = 0
    let excused = 0
    for (let i = 0; i < stalls; i++) {
      now += between
      loop.noteTimer(now, now + 1_000)
      now += 1_000
      if (loop.excuses(now - 1_000, now)) excused++
    }
    return excused
  }

  it("excuses only ten times if the process hardly runs in between, so that a process that always stalls still trips", () => {
    assert.strictEqual(excusedOf(100, 5), 10)
  })

  it("excuses each time if the process runs for a second in between", () => {
    assert.strictEqual(excusedOf(100, 1_000), 100)
  })
})

// ---- The log --------------------------------------------------------------------------------------------------------

describe("The log line about a stall that made calls fail", () => {
  /** A test with an event loop that can stall. `stalls` returns the log lines about stalls. */
  const logged = (name: string, body: (loop: Stalling, stalls: () => ReadonlyArray<Line>) => ReturnType<Steps>): void =>
    it.effect(name, () =>
      Effect.flatMap(makeStalling, (loop) => {
        const lines: Array<Line> = []
        const stalls = () => lines.filter(({ message }) => message.includes("was blocked"))
        return capture(
          lines,
          Effect.provideService(
            Effect.gen(() => body(loop, stalls)).pipe(Effect.provide(BreakerStore.layerMemory)),
            Clock.Clock,
            loop.clock
          )
        )
      })
    )

  const failing = (loop: Stalling, circuit: string) =>
    CircuitBreaker.protect(Effect.andThen(loop.answer(50), Effect.fail("reset")), circuit)

  const stalled = (loop: Stalling, millis: number, circuits: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const calls = yield* Effect.forEach(circuits, (circuit) => begin(2, failing(loop, circuit)))
      yield* loop.detectedStall(millis)
      yield* TestClock.adjust("2 seconds")
      for (const call of calls.flat()) yield* Fiber.join(call)
    })

  logged("is logged once, with its length and the ignored failures", function* (loop, stalls) {
    yield* stalled(loop, 3_000, ["api"])
    assert.deepStrictEqual(
      stalls().map(({ level }) => level),
      ["Warn"]
    )
    assert.match(
      stalls()[0]?.message ?? "",
      /^The event loop of this process was blocked for about 3s\. The failures of 2 calls \("api"\) may be a consequence of that\. Such failures are ignored/
    )
  })

  logged("is logged with at most three names, without control characters", function* (loop, stalls) {
    yield* stalled(loop, 3_000, ["a\u0007", "b", "c", "d", "e"])
    assert.match(stalls()[0]?.message ?? "", /The failures of 10 calls \("a[^"]*", "b", "c" and others\)/)
    assert.notInclude(stalls()[0]?.message ?? "", "\u0007")
  })

  logged("is logged at most once a minute, and the next line counts the failures in between", function* (loop, stalls) {
    for (let i = 0; i < 5; i++) yield* stalled(loop, i === 2 ? 5_000 : 1_000, ["api"])
    assert.strictEqual(stalls().length, 1)
    yield* TestClock.adjust("1 minute")
    yield* stalled(loop, 1_000, ["api"])
    assert.strictEqual(stalls().length, 2)
    assert.match(stalls()[1]?.message ?? "", /for about 5s\. The failures of 10 calls \("api"\)/)
  })

  logged("is not logged if no call failed", function* (loop, stalls) {
    const calls = yield* begin(5, CircuitBreaker.protect(loop.answer(50), name))
    yield* loop.detectedStall(3_000)
    yield* TestClock.adjust("2 seconds")
    for (const call of calls) yield* Fiber.join(call)
    assert.deepStrictEqual(stalls(), [])
  })
})
