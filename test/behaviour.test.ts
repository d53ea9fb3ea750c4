import { assert, describe, it } from "@effect/vitest"
import { Data, Duration, Effect, Exit, Fiber, Layer, Schedule, Schema, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  Backoff,
  BreakerEvent,
  BreakerPolicy,
  BreakerStore,
  Bulkhead,
  CircuitBreaker,
  type CircuitOpen,
  Outcome,
  Resilience,
  Trip
} from "effect-fuse"
import { CircuitTest, Dependency } from "effect-fuse/testing"
import {
  call,
  expectState,
  fail,
  hang,
  inspect,
  lasting,
  pass,
  play,
  quick,
  recordEvents,
  reject,
  rejectionIn,
  scenario,
  settings,
  times
} from "./support/verbs.ts"

// Cases that other circuit breakers test or get wrong, except those that other test files cover.

const millisOf = Effect.map(inspect(), ({ retryAfter }) => Duration.toMillis(retryAfter))

describe("Counting", () => {
  for (const [before, what] of [
    ["SSFFSFSFFSS", "not two older successes"],
    ["FFSSFSFSFSFF", "not two older failures"]
  ] as const) {
    scenario(
      `a window of ten calls counts exactly the last ten calls, ${what}`,
      { trip: Trip.failureRate({ threshold: 0.6, minimumCalls: 10, over: 10 }) },
      function* () {
        yield* play(before)
        yield* expectState("Closed")
        yield* play("F")
        const { cause, state } = yield* inspect()
        assert.deepStrictEqual(
          [state, cause?.detail],
          ["Open", "6 of 10 calls failed in the last 10 calls (limit 60%)"]
        )
      }
    )
  }

  scenario(
    "a fast success that completes the minimum of calls does not open; the next slow call does",
    { trip: Trip.slowRate({ threshold: 0.5, minimumCalls: 4, over: 10 }), slowCall: "1 second" },
    function* () {
      for (const millis of [1_000, 1_000, 999, 0]) yield* lasting(millis)
      assert.deepInclude((yield* inspect()).windows[0], { calls: 4, slow: 2, slowRate: 0.5 })
      yield* expectState("Closed")
      yield* lasting(1_000)
      yield* expectState("Open")
    }
  )

  for (const [apart, state] of [
    [0, "Open"],
    [90, "Open"],
    [99, "Open"],
    [100, "Closed"],
    [210, "Closed"]
  ] as const) {
    scenario(
      `three failures within 200 ms open the circuit: ${apart} ms apart it is ${state}`,
      { trip: Trip.failures({ atLeast: 3, of: "200 millis" }) },
      function* () {
        for (let i = 0; i < 3; i++) {
          if (i > 0) yield* TestClock.adjust(apart)
          yield* fail()
        }
        yield* expectState(state)
      }
    )
  }

  // Some libraries have one breaker for each type of result, or lose the state between them.
  class Timeout extends Data.TaggedError("Timeout") {}
  scenario(
    "calls with different result and error types share the circuit of their name",
    { trip: Trip.failureRate({ threshold: 1, minimumCalls: 10, over: 10 }), cooldown: "10 seconds" },
    function* () {
      const number = CircuitBreaker.protect(Effect.succeed(-1), "api", {
        classify: (exit) => (Exit.isSuccess(exit) && exit.value < 0 ? Outcome.failure() : Outcome.success)
      })
      const text = CircuitBreaker.protect(Effect.fail(new Timeout()), "api")
      for (let i = 0; i < 5; i++) {
        yield* expectState("Closed")
        assert.deepStrictEqual(yield* Effect.exit(number), Exit.succeed(-1))
        yield* Effect.exit(text)
      }
      yield* expectState("Open")
      for (const rejected of [yield* Effect.exit(number), yield* Effect.exit(text)]) rejectionIn(rejected)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Effect.exit(call(Effect.succeed([true]))), Exit.succeed([true]))
      yield* expectState("Closed")
      assert.deepStrictEqual(yield* Effect.exit(number), Exit.succeed(-1))
    }
  )

  scenario(
    "ten fibers with a thousand calls each are counted as ten thousand calls",
    { trip: Trip.failureRate({ threshold: 1, minimumCalls: 10_000, over: 10_000 }) },
    function* () {
      const one = (n: number) => {
        const end = n % 10 === 0 ? Effect.interrupt : n % 3 === 0 ? Effect.fail("boom") : Effect.succeed("ok")
        return Effect.exit(call(Effect.andThen(Effect.yieldNow, end)))
      }
      const fibers = yield* Effect.forEach(Array.from({ length: 10 }), () =>
        Effect.forkChild(Effect.forEach(Array.from({ length: 1_000 }), (_, n) => one(n), { discard: true }))
      )
      yield* Effect.forEach(fibers, Fiber.join)
      const { inFlight, totals, windows } = yield* inspect()
      const { calls, failures, ignored, passed, rejected, successes } = totals
      assert.deepStrictEqual(
        { inFlight, calls, failures, ignored, passed, rejected, successes },
        { inFlight: 0, calls: 10_000, failures: 3_000, ignored: 1_000, passed: 0, rejected: 0, successes: 6_000 }
      )
      assert.deepInclude(windows[0], { calls: 9_000, failures: 3_000 })
    }
  )
})

describe("Half-open", () => {
  // In other libraries, such an error counts as a success, or the probe never ends.
  const answers = [
    ["an error for which isFailure returns false closes the circuit", { isFailure: () => false }, "Closed"],
    [
      "an error for which isIgnored returns true frees the lease and does not change the state",
      { isIgnored: () => true },
      "HalfOpen"
    ],
    ["any other error opens the circuit again", {}, "Open"]
  ] as const
  for (const [what, reading, state] of answers) {
    scenario(`a probe's error reaches its caller; ${what}`, quick, function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      const probe = CircuitBreaker.protect(Effect.fail("not found"), "api", reading)
      assert.deepStrictEqual(yield* Effect.exit(probe), Exit.fail("not found"))
      yield* expectState(state)
      assert.strictEqual((yield* inspect()).probing, 0)
      if (state === "HalfOpen") yield* pass()
    })
  }

  scenario(
    "slow probes that succeed are Successes, also with a SlowRate trip: only probeTimeout limits them",
    {
      trip: Trip.slowRate({ threshold: 0.5, minimumCalls: 1, over: 4 }),
      slowCall: "1 second",
      cooldown: "10 seconds",
      probes: 4,
      successesToClose: 4,
      probeTimeout: "5 seconds"
    },
    function* () {
      yield* lasting(1_000)
      yield* expectState("Open")
      yield* TestClock.adjust("10 seconds")
      for (let i = 0; i < 3; i++) yield* lasting(4_999)
      yield* expectState("HalfOpen")
      yield* lasting(0)
      yield* expectState("Closed")
      assert.deepInclude((yield* inspect()).windows[0], { calls: 0, slow: 0 })
    }
  )

  scenario(
    "a HalfOpen circuit with a free lease waits for callers without a limit, and keeps its counts",
    { ...quick, probes: 4, successesToClose: 2 },
    function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      yield* pass()
      yield* TestClock.adjust("1 day")
      yield* expectState("HalfOpen")
      assert.strictEqual(yield* millisOf, 0)
      yield* pass()
      yield* expectState("Closed")
    }
  )
})

describe("retryAfter", () => {
  type Step = Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
  const later = (duration: Duration.Input) => TestClock.adjust(duration)
  const cases: ReadonlyArray<readonly [what: string, steps: ReadonlyArray<Step>, millis: number]> = [
    ["of a circuit that was never called is 0", [], 0],
    ["of a Closed circuit with failures is 0", [play("FFFF", { name: "calm" })], 0],
    ["one millisecond after an opening is the cooldown minus that millisecond", [fail(), later(1)], 9_999],
    ["after the cooldown, before a probe, is 0", [fail(), later("1 hour")], 0],
    ["while HalfOpen with a free lease is 0", [fail(), later("10 seconds"), Effect.exit(call(Effect.interrupt))], 0],
    ["while all leases are taken is at most a second", [fail(), later("10 seconds"), hang()], 1_000],
    ["after a close is 0", [fail(), later("10 seconds"), pass()], 0],
    ["while Disabled over an opening is 0", [fail(), CircuitBreaker.disable("api")], 0],
    ["while Isolated is Infinity", [fail(), CircuitBreaker.isolate("api")], Infinity],
    [
      "while Isolated for less than the opening is the rest of the opening",
      [fail(), CircuitBreaker.isolate("api", { for: 1 })],
      10_000
    ]
  ]
  for (const [what, steps, millis] of cases) {
    scenario(what, { breakers: { calm: { trip: Trip.consecutive(5) } } }, function* () {
      for (const step of steps) yield* step
      const name = what.includes("with failures") ? "calm" : "api"
      assert.strictEqual(Duration.toMillis((yield* inspect({ name })).retryAfter), millis)
    })
  }
})

describe("Operator actions", () => {
  let asked = 0
  const probe = { check: Effect.sync(() => asked++), schedule: "2 seconds" } as const
  scenario(
    "an isolation that outlasts the opening beneath it rejects all calls and runs no health check",
    { ...quick, cooldown: "5 seconds", probe },
    function* () {
      yield* fail()
      yield* CircuitBreaker.isolate("api")
      // The check was due at 2 seconds, the probe at 5.
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual([(yield* reject()).reason, (yield* reject()).reason], ["Isolated", "Isolated"])
      yield* expectState("Isolated")
      assert.deepStrictEqual([asked, (yield* inspect()).totals.rejected], [0, 2])
    }
  )
})

describe("Export and import", () => {
  scenario(
    "an imported circuit continues its growing cooldown with the next delay, not the first",
    { ...quick, cooldown: Schedule.exponential("1 second") },
    function* () {
      const opens = Effect.gen(function* () {
        yield* fail()
        const { openings, retryAfter } = yield* inspect()
        yield* TestClock.adjust(retryAfter)
        return [openings, Duration.toSeconds(retryAfter)]
      })
      assert.deepStrictEqual(
        [yield* opens, yield* opens],
        [
          [1, 1],
          [2, 2]
        ]
      )
      const json = yield* BreakerStore.exportAll
      const elsewhere = Effect.gen(function* () {
        assert.strictEqual(yield* BreakerStore.importAll(json), 1)
        assert.deepStrictEqual(yield* opens, [3, 4])
        yield* pass()
        assert.deepStrictEqual(yield* opens, [4, 8])
      })
      yield* Effect.provide(elsewhere, BreakerStore.layerMemory, { local: true })
      // The import is a copy: the exported circuit has not changed.
      assert.strictEqual((yield* inspect()).openings, 2)
    }
  )
})

describe("Time", () => {
  for (const [what, millis] of [
    ["of 10^16 milliseconds", 1e16],
    ["of Number.MAX_VALUE milliseconds", Number.MAX_VALUE]
  ] as const) {
    scenario(`a cooldown ${what} does not overflow`, { ...quick, cooldown: millis }, function* () {
      const events = yield* recordEvents
      yield* fail()
      yield* TestClock.adjust("365 days")
      const { retryAfter, state } = yield* reject()
      assert.strictEqual(state, "Open")
      assert.isAbove(Duration.toMillis(retryAfter), 1e15)
      yield* CircuitBreaker.isolate("api", { for: millis })
      assert.strictEqual((yield* reject()).reason, "Isolated")
      const codec = Schema.toCodecJson(BreakerEvent.BreakerEvent)
      for (const event of yield* events) {
        const json = JSON.stringify(Schema.encodeSync(codec)(event))
        assert.deepStrictEqual(Schema.decodeUnknownSync(codec)(JSON.parse(json)), event)
      }
      yield* CircuitBreaker.reset("api")
      yield* pass()
    })
  }
})

describe("After the scope of a store closes", () => {
  const policies = (policy: BreakerPolicy.Input) => BreakerPolicy.layer(settings(policy))
  const builtIn = (scope: Scope.Scope, policy: BreakerPolicy.Input) =>
    Layer.buildWithScope(Layer.provideMerge(BreakerStore.layerMemory, policies(policy)), scope)

  it.effect("its health checks stop, also during an opening", () =>
    Effect.gen(function* () {
      let asked = 0
      const check = Effect.andThen(
        Effect.sync(() => asked++),
        Effect.fail("down")
      )
      const scope = yield* Scope.make()
      const services = yield* builtIn(scope, { ...quick, probe: { check, schedule: "1 second" } })
      yield* Effect.provideContext(fail(), services)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(asked, 3)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(asked, 3)
    })
  )

  it.effect("the stream of its events ends", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const services = yield* builtIn(scope, quick)
      const listening = Stream.runCount(CircuitBreaker.events)
      const fiber = yield* Effect.forkChild(Effect.provideContext(listening, services), { startImmediately: true })
      yield* times(20, Effect.yieldNow)
      yield* Effect.provideContext(fail(), services)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(String(fiber.pollUnsafe()), String(Exit.succeed(1)))
    })
  )

  for (const [what, before] of [
    ["Closed", Effect.void],
    ["Open", fail()],
    ["HalfOpen", Effect.andThen(fail(), TestClock.adjust("10 seconds"))]
  ] as const) {
    it.effect(`a call that still has the store ends: ${what}`, () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const services = yield* builtIn(scope, quick)
        const run = Effect.provideContext(services)
        yield* run(before)
        yield* Scope.close(scope, Exit.void)
        const ended = yield* Effect.forkChild(run(Effect.exit(call(Effect.succeed("ok")))), { startImmediately: true })
        yield* TestClock.adjust("1 hour")
        const exit = yield* Fiber.join(ended)
        assert.isTrue(Exit.isSuccess(exit) || rejectionIn(exit).reason === "Cooldown", String(exit))
        yield* run(CircuitBreaker.reset("api"))
        yield* run(pass())
      })
    )
  }
})

describe("A callback", () => {
  // An engine that locks around a callback would hang here. An engine that writes its state after the callback would lose a transition.
  const callsBack = Effect.gen(function* () {
    yield* inspect()
    yield* Effect.exit(call(Effect.succeed("ok")))
    return yield* CircuitBreaker.state("api")
  })

  scenario("a subscriber can inspect the circuit, call it and close it when it gets a transition", quick, function* () {
    const heard: Array<string> = []
    const listening = Stream.runForEach(CircuitBreaker.events, (event) =>
      Effect.gen(function* () {
        if (event._tag !== "Transition") return
        heard.push(`${event.to} ${yield* callsBack}`)
        if (event.to === "Open") yield* CircuitBreaker.close("api")
      })
    )
    yield* Effect.forkChild(listening, { startImmediately: true })
    yield* times(20, Effect.yieldNow)
    yield* fail()
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(heard, ["Open Open", "Closed Closed"])
    yield* pass()
  })

  const built = Layer.build(Layer.provideMerge(BreakerStore.layerMemory, BreakerPolicy.layer({ default: quick })))

  it.effect("a classifier can inspect and call the circuit whose call it classifies", () =>
    Effect.gen(function* () {
      const services = yield* built
      const classify = () => Effect.as(Effect.provideContext(callsBack, services), Outcome.failure())
      const read = CircuitBreaker.protect(Effect.succeed("read"), "api", { classify })
      const run = Effect.provideContext(services)
      assert.deepStrictEqual(yield* run(Effect.exit(read)), Exit.succeed("read"))
      yield* run(expectState("Open"))
      const { totals } = yield* run(inspect())
      assert.deepStrictEqual([totals.calls, totals.successes, totals.failures], [2, 1, 1])
    })
  )

  it.effect("a cooldown schedule can inspect and call the circuit that opens", () =>
    Effect.gen(function* () {
      const services = yield* built
      const seen: Array<string> = []
      const cooldown = Schedule.modifyDelay(Schedule.forever, () =>
        Effect.gen(function* () {
          seen.push(yield* Effect.provideContext(callsBack, services))
          return Duration.seconds(7)
        })
      )
      const opening = CircuitBreaker.protect(Effect.fail("boom"), "api", { policy: { ...quick, cooldown } })
      yield* Effect.provideContext(Effect.exit(opening), services)
      yield* Effect.provideContext(expectState("Open"), services)
      assert.deepStrictEqual(seen, ["Closed"])
    })
  )

  it.effect(
    "a health check can call through its own circuit: it calls nothing while Open, and closes the circuit as a probe does",
    () =>
      Effect.gen(function* () {
        const services = yield* built
        const run = Effect.provideContext(services)
        let pings = 0
        const ping = Effect.sync(() => void pings++)
        let checked: Effect.Effect<unknown, unknown> = Effect.void
        const check = Effect.suspend(() => checked)
        const policy: BreakerPolicy.Input = { ...quick, probe: { check, schedule: "3 seconds" } }
        checked = run(CircuitBreaker.protect(ping, "api", { policy }))
        yield* run(Effect.exit(CircuitBreaker.protect(Effect.fail("boom"), "api", { policy })))
        yield* TestClock.adjust("9 seconds")
        yield* run(expectState("Open"))
        assert.strictEqual(pings, 0)
        yield* TestClock.adjust("3 seconds")
        yield* run(expectState("Closed"))
        assert.strictEqual(pings, 1)
      })
  )

  scenario(
    "all subscribers get the transitions of concurrent callers in the order in which they happened",
    quick,
    function* () {
      const recorded = yield* CircuitTest.record
      const events = yield* recordEvents
      const acts = [
        fail(),
        CircuitBreaker.open("api"),
        CircuitBreaker.close("api"),
        CircuitBreaker.isolate("api"),
        CircuitBreaker.release("api"),
        CircuitBreaker.disable("api"),
        CircuitBreaker.reset("api")
      ]
      const some = (seed: number) =>
        Effect.forEach(
          Array.from({ length: 50 }, (_, i) => acts[(i * 5 + seed * 3) % acts.length] ?? Effect.void),
          (act) => Effect.andThen(Effect.yieldNow, act)
        )
      yield* Effect.forEach(Array.from({ length: 20 }), (_, seed) => some(seed), { concurrency: "unbounded" })
      const heard = (yield* events).flatMap((event) => (event._tag === "Transition" ? [event] : []))
      assert.isAbove(heard.length, 100)
      heard.forEach((event, i) => {
        assert.deepStrictEqual([event.epoch, event.from], [i + 1, heard[i - 1]?.to ?? "Closed"])
      })
      assert.deepStrictEqual(recorded.events(), heard)
      const { epoch, state } = yield* inspect()
      assert.deepStrictEqual([epoch, state], [heard.length, heard.at(-1)?.to])
    }
  )
})

describe("A circuit around another circuit", () => {
  const isOpen = (exit: Exit.Exit<unknown, unknown>) =>
    Exit.isFailure(exit) && exit.cause.reasons.some((one) => one._tag === "Fail" && one.error !== "boom")
  const heeds: CircuitBreaker.Reading<unknown, unknown> = {
    classify: (exit) => (isOpen(exit) ? Outcome.failure({ detail: "it was open" }) : Outcome.success)
  }
  for (const [outer, inner] of [
    ["a", "b"],
    ["b", "a"]
  ] as const) {
    scenario(
      `${outer} around ${inner}: the outer circuit ignores a rejection by the inner circuit, unless its classifier counts it`,
      quick,
      function* () {
        yield* fail({ name: inner })
        const nested = CircuitBreaker.protect(Effect.succeed("ok"), inner)
        assert.strictEqual((yield* Effect.flip(CircuitBreaker.protect(nested, outer))).circuit, inner)
        yield* expectState("Closed", { name: outer })
        const heeding = CircuitBreaker.protect(nested, outer, heeds)
        assert.strictEqual((yield* Effect.flip(heeding)).circuit, inner)
        yield* expectState("Open", { name: outer })
        // From now on the outer circuit rejects, and the inner circuit gets no calls.
        assert.strictEqual((yield* Effect.flip(heeding)).circuit, outer)
        assert.strictEqual((yield* inspect({ name: inner })).totals.rejected, 2)
      }
    )
  }

  scenario("a fallback runs once for a call that times out and then fails", quick, function* () {
    let answers = 0
    const late = Effect.uninterruptible(Effect.andThen(Effect.sleep("5 seconds"), Effect.fail("late")))
    const guarded = Resilience.pipeline(
      Resilience.timeout("1 second"),
      Resilience.breaker("api"),
      Resilience.fallback(Effect.sync(() => ++answers))
    )
    const fiber = yield* Effect.forkChild(guarded(late))
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual([yield* Fiber.join(fiber), answers], [1, 1])
    assert.strictEqual((yield* inspect()).totals.failures, 1)
  })

  scenario("a fallback that fails, or whose own circuit is open, ends with its own error", quick, function* () {
    const guarded = (orElse: Effect.Effect<never, string | CircuitOpen.CircuitOpen, BreakerStore.BreakerStore>) =>
      Effect.flip(Resilience.pipeline(Resilience.breaker("api"), Resilience.fallback(orElse))(Effect.fail("boom")))
    assert.strictEqual(yield* guarded(Effect.fail("worse")), "worse")
    const other = CircuitBreaker.protect(Effect.fail("worse"), "other")
    assert.strictEqual(yield* guarded(other), "worse")
    const rejected = yield* guarded(other)
    assert.isTrue(typeof rejected !== "string" && rejected.circuit === "other")
  })

  for (const exit of [Exit.succeed("ok"), Exit.fail("boom")]) {
    scenario(`a hedge that its budget refuses does not change the ${exit._tag} of the call`, {}, function* () {
      const steps = ["hang", "hang", Effect.delay(exit, "5 seconds")] as const
      const dependency = yield* Dependency.make({ answer: "ok", error: "boom", steps })
      const budget = { name: "api", floor: 1, share: 0.001 }
      const hedged = Resilience.hedge({ after: "1 second", budget })(dependency.call)
      const spends = yield* Effect.forkChild(hedged)
      yield* TestClock.adjust("2 seconds")
      const refused = yield* Effect.forkChild(hedged)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.await(refused), exit)
      yield* Fiber.interrupt(spends)
      assert.strictEqual(yield* dependency.calls, 3)
      const successes = exit._tag === "Success" ? 1 : 0
      assert.deepStrictEqual((yield* inspect()).retries, { successes, retries: 1, refused: 1 })
    })
  }
})

describe("An option of 0 is not replaced by the default:", () => {
  scenario("cooldown", { ...quick, cooldown: 0 }, function* () {
    yield* fail()
    assert.strictEqual(yield* millisOf, 0)
  })
  scenario("ramp", { ...quick, ramp: 0 }, function* () {
    yield* CircuitBreaker.open("api")
    yield* CircuitBreaker.close("api")
    yield* times(10, pass())
  })
  it.effect("the times of a retry", () =>
    Effect.gen(function* () {
      const dependency = yield* Dependency.make({ answer: "ok", error: "boom", steps: ["fail"] })
      assert.strictEqual(yield* Effect.flip(Resilience.retry({ times: 0 })(dependency.call)), "boom")
      assert.strictEqual(yield* dependency.calls, 1)
    })
  )
  it.effect("the jitter of a backoff", () =>
    Effect.gen(function* () {
      const failing = Resilience.retry({ times: 1, schedule: Backoff.linear({ min: "1 second", jitter: 0 }) })
      const fiber = yield* Effect.forkChild(Effect.exit(failing(Effect.fail("boom"))))
      yield* TestClock.adjust(999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.isDefined(fiber.pollUnsafe())
    })
  )
  it.effect("the queue of a bulkhead", () =>
    Effect.gen(function* () {
      const one = yield* Bulkhead.make({ concurrency: 1, queue: 0 })
      const fiber = yield* Effect.forkChild(Bulkhead.limit(Effect.never, one), { startImmediately: true })
      assert.strictEqual((yield* Effect.flip(Bulkhead.limit(Effect.void, one)))._tag, "BulkheadFull")
      yield* Fiber.interrupt(fiber)
    })
  )
  it("the floor of a budget; 0 is refused for options that must be above 0", () => {
    Resilience.retry({ budget: { name: "api", floor: 0 } })
    for (const field of ["slowCall", "maxCooldown", "probeTimeout", "probes", "successesToClose", "failuresToReopen"]) {
      assert.throws(() => CircuitBreaker.protect("api", { policy: { [field]: 0 } }), new RegExp(`${field}: .*got 0`))
    }
    assert.throws(() => Resilience.timeout(0), /duration: .*got 0/)
  })
})
