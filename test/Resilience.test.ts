import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Random, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerPolicy, CircuitBreaker, CircuitOpen, Resilience, Tenant, Trip } from "effect-fuse"
import { full } from "./support/rejections.ts"
import { failingCall, lasts } from "./support/timing.ts"
import { errorOf, fail, hang, inspect, quick, scenario, start, times } from "./support/verbs.ts"

const { breaker, hedge, pipeline, retry } = Resilience

/** Never opens. */
const calm: BreakerPolicy.Input = { trip: Trip.consecutive(100_000), cooldown: "10 seconds" }

const seconds = Effect.map(Clock.currentTimeMillis, (millis) => millis / 1_000)
const every = (duration: "1 second" | "5 seconds") => Schedule.spaced(duration)

const finish = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* start(self)
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.await(fiber)
  })

const rejected = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.flip(Effect.andThen(self, Effect.die("no error")))

/** Ends its n-th run as the n-th of these says, and the last for all after; `at` are the seconds of its runs. */
const runs = <A = never, E = never>(...ends: ReadonlyArray<Effect.Effect<A, E>>) => {
  const at: Array<number> = []
  const call = Effect.flatMap(seconds, (now) => ends[Math.min(at.push(now), ends.length) - 1] ?? Effect.die("no end"))
  return { at, call }
}

describe("A retry", () => {
  const boom = Effect.fail("boom")
  const cases: ReadonlyArray<
    readonly [
      what: string,
      options: (Resilience.RetryOptions & { readonly budget?: undefined }) | undefined,
      end: Effect.Effect<never, unknown>,
      made: number
    ]
  > = [
    ["is made twice more by default", undefined, boom, 3],
    ["of times 0 makes none", { times: 0 }, boom, 1],
    ["of times 1", { times: 1 }, boom, 2],
    ["of times 20", { times: 20 }, boom, 21],
    ["of a schedule goes on as long as it does", { schedule: Schedule.upTo(every("1 second"), { times: 7 }) }, boom, 8],
    ["of times and a schedule ends with the schedule", { times: 9, schedule: Schedule.recurs(3) }, boom, 4],
    ["of times and a schedule ends with times", { times: 3, schedule: every("1 second") }, boom, 4],
    ["is told no by while", { times: 5, while: () => false }, boom, 1],
    ["is told yes by while", { times: 5, while: (error) => error === "boom" }, boom, 6],
    ["leaves a full bulkhead alone", { times: 5 }, Effect.fail(full), 1],
    ["tries a full bulkhead again where while says so", { times: 5, while: () => true }, Effect.fail(full), 6],
    ["leaves a defect alone", { times: 5, while: () => true }, Effect.die("bug"), 1],
    ["leaves an interruption alone", { times: 5, while: () => true }, Effect.interrupt, 1],
    ["leaves an error with a defect alone", { times: 5 }, Effect.ensuring(boom, Effect.die("bug")), 1]
  ]
  for (const [what, options, end, made] of cases) {
    it.effect(what, () =>
      Effect.gen(function* () {
        const { at, call } = runs(end)
        const exit = yield* finish(retry(options)(call))
        assert.strictEqual(at.length, made)
        assert.deepStrictEqual(errorOf(exit), errorOf(yield* finish(end)))
      })
    )
  }

  it.effect("ends with the first success, and with the last error", () =>
    Effect.gen(function* () {
      const good = runs<string, string>(Effect.fail("a"), Effect.fail("b"), Effect.succeed("ok"))
      assert.deepStrictEqual(yield* finish(retry({ times: 9 })(good.call)), Exit.succeed("ok"))
      assert.strictEqual(good.at.length, 3)
      const bad = runs(Effect.fail("a"), Effect.fail("b"), Effect.fail("c"))
      assert.deepStrictEqual(yield* finish(retry({ times: 2 })(bad.call)), Exit.fail("c"))
      const changed = runs(Effect.fail("a"), Effect.die("bug"), Effect.fail("c"))
      assert.isTrue(Exit.hasDies(yield* finish(retry({ times: 5 })(changed.call))))
      assert.strictEqual(changed.at.length, 2)
    })
  )

  it.effect("waits for the delays of its schedule, passes each error to it, and starts it again for each run", () =>
    Effect.gen(function* () {
      const inputs: Array<string> = []
      const schedule = Schedule.while(Schedule.exponential("1 second"), ({ input }: { readonly input: string }) =>
        Effect.as(
          Effect.sync(() => inputs.push(input)),
          true
        )
      )
      const again = retry({ times: 3, schedule: schedule as Schedule.Schedule<unknown, string> })
      for (let i = 0; i < 2; i++) {
        const begun = yield* seconds
        const { at, call } = runs(Effect.fail("a"), Effect.fail("b"), Effect.fail("c"))
        yield* finish(again(call))
        assert.deepStrictEqual(
          at.map((now) => now - begun),
          [0, 1, 3, 7]
        )
      }
      assert.deepStrictEqual(inputs.slice(0, 3), ["a", "b", "c"])
    })
  )

  it.effect("while is asked once for each error, and never about CircuitOpen", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const again = retry({ times: 3, while: (error) => asked.push(error) > 0 })
      yield* finish(again(runs(Effect.fail("a"), Effect.fail("b"), Effect.succeed(1)).call))
      assert.deepStrictEqual(asked, ["a", "b"])
    })
  )

  scenario("does not spin on an open circuit, whatever `while` returns", quick, function* () {
    const asked: Array<unknown> = []
    yield* fail()
    const guarded = pipeline(breaker("api"), retry({ times: 99, while: (error) => asked.push(error) > 0 }))
    assert.isTrue(CircuitOpen.isCircuitOpen(errorOf(yield* Effect.exit(guarded(Effect.void)))))
    assert.deepStrictEqual([asked, (yield* inspect()).totals.rejected], [[], 1])
  })

  it.effect("a while that throws is a defect, not a hang", () =>
    Effect.gen(function* () {
      const again = retry({
        while: () => {
          throw new Error("bug")
        }
      })
      assert.isTrue(Exit.hasDies(yield* finish(again(Effect.fail("boom")))))
    })
  )

  it.effect("interrupted while it waits ends and calls no more", () =>
    Effect.gen(function* () {
      const { at, call } = runs(Effect.fail("boom"))
      const fiber = yield* start(retry({ times: 5, schedule: every("5 seconds") })(call))
      yield* TestClock.adjust("7 seconds")
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(at.length, 2)
    })
  )

  it.effect("waits by default 100 ms, then twice as long each time up to 10 seconds, with jitter of one half", () =>
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
})

describe("A budget bounds the retries of all that call a circuit", () => {
  const budgeted = (budget: Resilience.Budget | string, times = 1) =>
    retry({ times, schedule: every("1 second"), budget })
  /** Calls n times at once, each failing; answers how many were made. */
  const burst = (again: ReturnType<typeof budgeted>, n: number) =>
    Effect.gen(function* () {
      const { at, call } = runs(Effect.fail("boom"))
      const fibers = yield* Effect.forEach(Array.from({ length: n }), () => start(again(call)))
      yield* TestClock.adjust("2 seconds")
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      // Whether it was refused or not: the error is the call's own.
      for (const exit of exits) assert.deepStrictEqual(exit, Exit.fail("boom"))
      return at.length - n
    })

  const cases: ReadonlyArray<readonly [budget: Resilience.Budget | string, calls: number, retries: number]> = [
    ["api", 0, 10],
    ["api", 5, 10],
    ["api", 40, 10],
    [{ name: "api" }, 100, 20],
    [{ name: "api", floor: 0 }, 0, 0],
    [{ name: "api", floor: 0 }, 100, 20],
    [{ name: "api", floor: 3, share: 0.01 }, 100, 3],
    [{ name: "api", floor: 0, share: 1 }, 50, 50],
    [{ name: "api", floor: 0, share: 0.5 }, 41, 21]
  ]
  for (const [budget, successes, allowed] of cases) {
    scenario(`${JSON.stringify(budget)} allows ${allowed} retries after ${successes} successes`, calm, function* () {
      const again = budgeted(budget)
      yield* times(successes, again(Effect.void))
      assert.strictEqual(yield* burst(again, 100), allowed)
      assert.deepStrictEqual((yield* inspect()).retries, { successes, retries: allowed, refused: 100 - allowed })
    })
  }

  scenario("failed calls earn no retries", calm, function* () {
    const again = budgeted({ name: "api", floor: 2 })
    assert.strictEqual(yield* burst(again, 1_000), 2)
    yield* Effect.exit(again(Effect.die("bug")))
    yield* Effect.exit(again(Effect.interrupt))
    assert.deepStrictEqual((yield* inspect()).retries, { successes: 0, retries: 2, refused: 998 })
  })

  scenario(
    "a call that succeeds at its second attempt earns as much as a call that succeeds at once",
    calm,
    function* () {
      const again = budgeted({ name: "api", floor: 1 })
      const fiber = yield* start(again(runs(Effect.fail("boom"), Effect.void).call))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual((yield* inspect()).retries, { successes: 1, retries: 1, refused: 0 })
    }
  )

  scenario("what is older than `over` is forgotten, and not before", calm, function* () {
    const again = budgeted({ name: "api", floor: 4, share: 0.01, over: "10 seconds" })
    yield* TestClock.setTime(60_000)
    assert.strictEqual(yield* burst(again, 9), 4)
    assert.strictEqual(yield* burst(again, 9), 0)
    yield* TestClock.setTime(69_000)
    assert.strictEqual(yield* burst(again, 0), 0)
    yield* TestClock.setTime(73_000)
    assert.strictEqual(yield* burst(again, 9), 4)
    assert.strictEqual((yield* inspect()).retries?.refused, 5 + 9 + 5)
  })

  scenario("never more than floor in any stretch of `over`, wherever it begins", calm, function* () {
    const again = budgeted({ name: "api", floor: 4, share: 0.001, over: "10 seconds" })
    yield* TestClock.setTime(60_900)
    yield* burst(again, 4)
    yield* TestClock.setTime(70_000)
    // 9.1 seconds after the first four.
    assert.strictEqual(yield* burst(again, 4), 0)
  })

  scenario("each circuit and each key has its own, and inspect shows none where there is none", calm, function* () {
    const of = (key: string) => budgeted({ name: "api", key, floor: 2, share: 0.01 })
    assert.strictEqual((yield* inspect()).retries, undefined)
    assert.deepStrictEqual([yield* burst(of("a"), 5), yield* burst(of("a"), 5), yield* burst(of("b"), 5)], [2, 0, 2])
    assert.strictEqual(yield* burst(budgeted({ name: "other", floor: 2, share: 0.01 }), 5), 2)
    assert.strictEqual((yield* inspect()).retries, undefined)
    assert.strictEqual((yield* inspect({ key: "a" })).retries?.refused, 8)
  })

  for (const [tenants, expected] of [
    ["separate", [2, 2]],
    ["shared", [2, 0]],
    ["counted", [2, 0]]
  ] as const) {
    scenario(`tenants ${tenants} have one as they have a circuit`, { ...calm, tenants }, function* () {
      const again = budgeted({ name: "api", floor: 2, share: 0.01 })
      const of = (tenant: string) => Tenant.within(burst(again, 4), tenant)
      assert.deepStrictEqual([yield* of("acme"), yield* of("beta")], [...expected])
    })
  }

  scenario("what is not made again for another reason is not paid for", quick, function* () {
    yield* fail()
    const { call } = runs(Effect.fail("boom"))
    yield* finish(retry({ times: 0, budget: "api" })(call))
    yield* finish(retry({ while: () => false, budget: "api" })(call))
    yield* finish(retry({ schedule: Schedule.recurs(0), budget: "api" })(call))
    yield* finish(retry({ budget: "api" })(Effect.die("bug")))
    yield* CircuitBreaker.isolate("api")
    yield* Effect.exit(pipeline(breaker("api"), retry({ budget: "api" }))(call))
    assert.strictEqual((yield* inspect()).retries, undefined)
  })

  scenario("retries and hedges share it", calm, function* () {
    const budget = { name: "api", floor: 2, share: 0.01 }
    const { at, call } = runs(Effect.never)
    const fibers = yield* Effect.forEach([1, 2, 3], () => start(hedge({ after: "1 second", copies: 1, budget })(call)))
    yield* TestClock.adjust("3 seconds")
    assert.strictEqual(at.length, 5)
    assert.strictEqual(yield* burst(budgeted(budget), 3), 0)
    yield* Fiber.interruptAll(fibers)
    assert.deepStrictEqual((yield* inspect()).retries, { successes: 0, retries: 2, refused: 4 })
  })
})

describe("waitForCircuit", () => {
  const waiting = (bound: "9 seconds" | "12 seconds" | "1 minute", times = 0, key?: string) =>
    pipeline(breaker("api", { key }), retry({ times, schedule: every("1 second"), waitForCircuit: bound }))

  scenario("waits for retryAfter and then calls; a rejected wait is no attempt", quick, function* () {
    yield* fail()
    const { at, call } = runs(Effect.succeed("ok"))
    assert.deepStrictEqual(yield* finish(waiting("12 seconds")(call)), Exit.succeed("ok"))
    assert.deepStrictEqual([at, (yield* inspect()).totals.rejected], [[10], 1])
  })

  scenario("fails at once when it would take longer", quick, function* () {
    yield* fail()
    assert.isTrue(CircuitOpen.isCircuitOpen(yield* rejected(waiting("9 seconds")(Effect.void))))
    yield* CircuitBreaker.isolate("api")
    const { state } = yield* Effect.map(rejected(waiting("1 minute")(Effect.void)), (e) => e as CircuitOpen.CircuitOpen)
    assert.strictEqual(state, "Isolated")
    assert.strictEqual(yield* seconds, 0)
  })

  scenario("waits for no longer than its bound in all, over every attempt of one call", quick, function* () {
    const { at, call } = runs(Effect.fail("boom"))
    const exit = yield* finish(waiting("12 seconds", 5)(call))
    // Called at 0; again at 10, after 9 of waiting; another 9 would be more than 12.
    assert.deepStrictEqual(at, [0, 10])
    assert.isTrue(CircuitOpen.isCircuitOpen(errorOf(exit)))
  })

  for (const [what, key] of [
    ["a circuit", undefined],
    ["one with a key", "eu"]
  ] as const) {
    scenario(`wakes early when an operator closes ${what}, also for a tenant`, quick, function* () {
      for (const tenant of [undefined, "acme"]) {
        const within = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideService(self, Tenant.Current, tenant)
        const { at, call } = runs(Effect.succeed("ok"))
        yield* within(CircuitBreaker.open("api", { key, for: "50 seconds" }))
        const begun = yield* seconds
        const fiber = yield* start(within(waiting("1 minute", 0, key)(call)))
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(at, [])
        yield* within(CircuitBreaker.close("api", { key }))
        yield* TestClock.adjust("50 millis")
        assert.deepStrictEqual(at, [begun + 3])
        yield* Fiber.join(fiber)
      }
    })
  }

  scenario("waits for an isolation that ends", quick, function* () {
    yield* CircuitBreaker.isolate("api", { for: "5 seconds" })
    const { at, call } = runs(Effect.void)
    yield* finish(waiting("12 seconds")(call))
    assert.deepStrictEqual(at, [5])
  })

  for (const [what, policy] of [
    ["busy probes", quick],
    ["a ramp", { ...quick, ramp: "1 hour" }]
  ] as const) {
    scenario(`never spins on ${what}`, policy, function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      if (what === "busy probes") yield* hang()
      else yield* Effect.all([CircuitBreaker.close("api"), CircuitBreaker.protect(Effect.void, "api")])
      const before = (yield* inspect()).totals.rejected
      const fiber = yield* start(waiting("12 seconds")(Effect.never))
      yield* TestClock.adjust("5 seconds")
      assert.isAtMost((yield* inspect()).totals.rejected - before, 101)
      yield* Fiber.interrupt(fiber)
    })
  }

  scenario("waits for a circuit of another store for its retryAfter", quick, function* () {
    const open = CircuitOpen.make({
      circuit: "remote",
      state: "Open",
      reason: "Cooldown",
      retryAfter: Duration.seconds(30),
      openings: 1
    })
    const { at, call } = runs(Effect.fail(open), Effect.succeed("ok"))
    yield* finish(retry({ times: 0, waitForCircuit: "1 minute" })(call))
    assert.deepStrictEqual(at, [0, 30])
  })

  scenario("interrupted while it waits leaves nothing, and calls nothing", quick, function* () {
    yield* fail()
    const { at, call } = runs(Effect.void)
    const fiber = yield* start(waiting("1 minute", 3)(call))
    yield* TestClock.adjust("5 seconds")
    yield* Fiber.interrupt(fiber)
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual([at, (yield* inspect()).inFlight], [[], 0])
  })
})

describe("A hedge", () => {
  const copy = (ends: string, after: number, how: "S" | "F" | "D" = "S") =>
    Effect.andThen(
      Effect.sleep(after * 1_000),
      how === "S" ? Effect.succeed(ends) : how === "F" ? Effect.fail(ends) : Effect.die(ends)
    )
  type Copies = ReadonlyArray<Effect.Effect<string, string>>
  /** Copies start a second apart. */
  const cases: ReadonlyArray<
    readonly [what: string, max: number, copies: Copies, at: ReadonlyArray<number>, exit: Exit.Exit<string, string>]
  > = [
    ["a quick call is alone", 3, [copy("a", 0.5)], [0], Exit.succeed("a")],
    ["a call that answers without waiting is alone", 3, [Effect.succeed("a")], [0], Exit.succeed("a")],
    ["the first success wins", 1, [copy("a", 9), copy("b", 1)], [0, 1], Exit.succeed("b")],
    ["the earlier copy may win as well", 1, [copy("a", 1.5), copy("b", 9)], [0, 1], Exit.succeed("a")],
    ["max 3 makes three more", 3, [copy("a", 9)], [0, 1, 2, 3], Exit.succeed("a")],
    ["a failure before `after` is returned at once", 3, [copy("a", 0.5, "F"), copy("b", 0)], [0], Exit.fail("a")],
    ["a failure without waiting is returned at once", 3, [Effect.fail("a"), copy("b", 0)], [0], Exit.fail("a")],
    ["a failure while another copy runs waits for it", 1, [copy("a", 2, "F"), copy("b", 5)], [0, 1], Exit.succeed("b")],
    ["a defect while another copy runs waits for it", 1, [copy("a", 2, "D"), copy("b", 5)], [0, 1], Exit.succeed("b")],
    ["all fail: the earliest copy's failure", 1, [copy("a", 5, "F"), copy("b", 1, "F")], [0, 1], Exit.fail("a")],
    [
      "all fail in order: the earliest copy's failure",
      1,
      [copy("a", 2, "F"), copy("b", 5, "F")],
      [0, 1],
      Exit.fail("a")
    ],
    ["all die: the earliest copy's defect", 1, [copy("a", 2, "D"), copy("b", 1.5, "D")], [0, 1], Exit.die("a")]
  ]
  for (const [what, max, copies, expected, exit] of cases) {
    it.effect(what, () =>
      Effect.gen(function* () {
        let running = 0
        const counted = copies.map((one) =>
          Effect.acquireUseRelease(
            Effect.sync(() => ++running),
            () => one,
            () => Effect.sync(() => --running)
          )
        )
        const { at, call } = runs(...counted)
        assert.deepStrictEqual(yield* finish(hedge({ after: "1 second", copies: max })(call)), exit)
        assert.deepStrictEqual([at, running], [[...expected], 0])
      })
    )
  }

  it.effect("makes one more by default", () =>
    Effect.gen(function* () {
      const { at, call } = runs(Effect.never)
      const fiber = yield* start(hedge({ after: "1 second" })(call))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(at.length, 2)
    })
  )

  it.effect("an outer interruption interrupts every copy, waits for them, and starts no more", () =>
    Effect.gen(function* () {
      for (const after of [0, 500, 1_000, 1_500, 3_500]) {
        const cleaned: Array<number> = []
        const { at, call } = runs(
          Effect.onInterrupt(Effect.never, () =>
            Effect.andThen(
              Effect.sleep("1 second"),
              Effect.sync(() => cleaned.push(1))
            )
          )
        )
        const fiber = yield* start(hedge({ after: "1 second", copies: 2 })(call))
        yield* TestClock.adjust(after)
        fiber.interruptUnsafe()
        yield* TestClock.adjust("500 millis")
        assert.strictEqual(fiber.pollUnsafe(), undefined)
        yield* TestClock.adjust("1 minute")
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        assert.strictEqual(cleaned.length, at.length)
        assert.strictEqual(at.length, Math.min(3, 1 + Math.floor(after / 1_000)))
      }
    })
  )

  it.effect("interrupted at any turn while it begins, it leaves no copy running", () =>
    Effect.gen(function* () {
      for (let turns = 0; turns < 15; turns++) {
        let running = 0
        const self = Effect.acquireUseRelease(
          Effect.sync(() => ++running),
          () => Effect.andThen(Effect.yieldNow, Effect.never),
          () => Effect.sync(() => --running)
        )
        const fiber = yield* Effect.forkChild(hedge({ after: "1 second", copies: 2 })(self))
        for (let i = 0; i < turns; i++) yield* Effect.yieldNow
        if (turns % 2 === 1) yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(running, 0)
      }
    })
  )

  it.effect("copies see the services and the random seed of the caller", () =>
    Effect.gen(function* () {
      const tenant = yield* hedge({ after: "1 second" })(Effect.andThen(Effect.yieldNow, Tenant.Current)).pipe(
        Tenant.within("acme")
      )
      assert.strictEqual(tenant, "acme")
      const gate = yield* Deferred.make<number>()
      yield* hedge({ after: 1 })(Effect.flatMap(Random.next, (n) => Deferred.succeed(gate, n)))
      assert.isBelow(yield* Deferred.await(gate), 1)
    })
  )

  it.effect("starts the second call after the delay `after`", () =>
    Effect.gen(function* () {
      for (const after of [10, 3_000]) {
        let copies = 0
        const call = Effect.suspend(() => (copies++ === 0 ? Effect.never : Effect.void))
        assert.strictEqual(yield* lasts(Resilience.hedge({ after })(call)), after)
      }
    })
  )
})
