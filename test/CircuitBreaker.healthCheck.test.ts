import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Logger, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"
import { TestFleet } from "effect-fuse/testing"
import { expectState, fail, inspect, pass, quick, recordEvents, reject, scenario, times } from "./support/verbs.ts"

/** A dependency whose health check a test controls, and the times in seconds at which it was checked. */
const dependency = (options: { readonly opens?: boolean | number; readonly key?: string } = {}) => {
  const one = { up: true, asked: [] as Array<number> }
  const check = Effect.clockWith((clock) =>
    Effect.suspend(() => {
      one.asked.push(clock.currentTimeMillisUnsafe() / 1_000)
      return one.up ? Effect.void : Effect.fail(new Error("no route to https://user:secret@host/?token=secret"))
    })
  )
  const { opens = true } = options
  return Object.assign(one, {
    policy: { ...quick, cooldown: "1 hour", probe: { check, schedule: "10 seconds", opens } } as const
  })
}

describe("A health check with `opens`", () => {
  const one = dependency()
  scenario("opens a Closed circuit when it fails, and closes it when it succeeds again", one.policy, function* () {
    const events = yield* recordEvents
    yield* pass()
    yield* TestClock.adjust("30 seconds")
    yield* expectState("Closed")
    one.up = false
    yield* TestClock.adjust("10 seconds")
    const { detail, reason } = yield* reject()
    assert.strictEqual(reason, "Cooldown")
    assert.include(detail, "the health check failed: Error: no route to")
    assert.notInclude(detail, "secret")
    yield* TestClock.adjust("10 seconds")
    one.up = true
    yield* TestClock.adjust("10 seconds")
    yield* pass()
    yield* TestClock.adjust("10 seconds")
    assert.deepStrictEqual(one.asked, [10, 20, 30, 40, 50, 60, 70])
    assert.deepStrictEqual(
      (yield* events).map((event) => event._tag === "Transition" && event.why),
      ["Tripped", "HealthCheckPassed"]
    )
    const { totals } = yield* inspect()
    assert.deepInclude(totals, { calls: 2, failures: 0, rejected: 1 })
  })

  const third = dependency({ opens: 3 })
  scenario("with a number, opens at that number of failed checks in a row", third.policy, function* () {
    yield* pass()
    for (const up of [false, false, true, false, false]) {
      third.up = up
      yield* TestClock.adjust("10 seconds")
      yield* expectState("Closed")
    }
    yield* TestClock.adjust("10 seconds")
    yield* expectState("Open")
  })

  const hanging = { ...quick, cooldown: "1 hour", probeTimeout: "2 seconds" } as const
  scenario(
    "fails if it takes longer than `probeTimeout`",
    { ...hanging, probe: { check: Effect.never, schedule: "10 seconds", opens: true } },
    function* () {
      yield* pass()
      yield* TestClock.adjust("11 seconds")
      yield* expectState("Closed")
      yield* TestClock.adjust("1 second")
      yield* expectState("Open")
    }
  )

  const off = dependency({ opens: false })
  scenario("without it, runs only while the circuit is open", off.policy, function* () {
    off.up = false
    yield* pass()
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(off.asked, [])
    yield* expectState("Closed")
  })

  const forced = dependency()
  scenario("rests while an operator forces the circuit, and continues after that", forced.policy, function* () {
    yield* pass()
    yield* CircuitBreaker.disable("api")
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(forced.asked, [])
    yield* CircuitBreaker.release("api")
    yield* TestClock.adjust("10 seconds")
    assert.deepStrictEqual(forced.asked, [70])
  })

  const disabled = dependency()
  scenario("rests while the policy switches the circuit off", { ...disabled.policy, enabled: false }, function* () {
    yield* pass()
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(disabled.asked, [])
  })

  const tripped = dependency()
  scenario("does not disturb a trip: the circuit opens by calls as ever", tripped.policy, function* () {
    yield* fail()
    yield* expectState("Open")
    yield* TestClock.adjust("10 seconds")
    yield* expectState("Closed")
    yield* TestClock.adjust("20 seconds")
    assert.deepStrictEqual(tripped.asked, [10, 20, 30])
  })

  it.effect("runs for each key, and stops when its circuit is evicted", () => {
    const one = dependency()
    return Effect.gen(function* () {
      const call = (key: string) => CircuitBreaker.protect(Effect.void, "api", { key })
      yield* call("a")
      yield* call("b")
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(one.asked, 2)
      for (let i = 0; i < 20; i++) yield* call(`k${i}`)
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(one.asked, 4)
    }).pipe(
      Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 2 })),
      Effect.provide(BreakerPolicy.layer({ default: one.policy }))
    )
  })

  it.effect("is taken on, and away, by a reload", () => {
    const one = dependency()
    let policy: BreakerPolicy.Input = quick
    return Effect.gen(function* () {
      yield* pass()
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(one.asked, [])
      policy = one.policy
      yield* BreakerPolicy.reload
      yield* pass()
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(one.asked, [70, 80])
      policy = quick
      yield* BreakerPolicy.reload
      yield* pass()
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(one.asked, 2)
    }).pipe(
      Effect.provide(BreakerStore.layerMemory),
      Effect.provide(BreakerPolicy.layerReloading(Effect.sync(() => ({ default: policy }))))
    )
  })

  it.effect("opens the fleet if the checks of most processes fail, and one process alone only itself", () => {
    const one = dependency()
    return Effect.gen(function* () {
      const fleet = yield* TestFleet.make(3, { policies: { default: one.policy } })
      for (const process of fleet.processes) yield* process.run(pass())
      one.up = false
      yield* TestClock.adjust("10 seconds")
      yield* times(20, TestClock.adjust("100 millis"))
      for (const process of fleet.processes) {
        assert.strictEqual(yield* process.run(CircuitBreaker.scope("api")), "fleet")
        yield* process.run(expectState("Open"))
      }
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))
  })
})

describe("A health check runs while the circuit is Open and HalfOpen", () => {
  const checking = (answers: ReadonlyArray<Effect.Effect<unknown, unknown>>, schedule: "3 seconds" = "3 seconds") => {
    const asked: Array<number> = []
    const check = Effect.clockWith((clock) => {
      asked.push(clock.currentTimeMillisUnsafe() / 1000)
      return answers[asked.length - 1] ?? Effect.fail("down")
    })
    return { asked, policy: { ...quick, probeTimeout: "2 seconds", probe: { check, schedule } } as const }
  }

  const up = checking([Effect.fail("down"), Effect.die("bug"), Effect.succeed("up"), Effect.succeed("up")])
  scenario("its first success closes the circuit without a call, and it then rests", up.policy, function* () {
    const events = yield* recordEvents
    yield* pass()
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(up.asked, [])
    yield* fail()
    yield* TestClock.adjust("8 seconds")
    yield* expectState("Open")
    yield* TestClock.adjust("1 second")
    yield* expectState("Closed")
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(up.asked, [63, 66, 69])
    assert.deepStrictEqual(
      (yield* events).map((event) => event._tag === "Transition" && event.why),
      ["Tripped", "HealthCheckPassed"]
    )
    assert.strictEqual((yield* inspect()).totals.calls, 2)
  })

  const hanging = checking([Effect.never, Effect.succeed("up")])
  scenario("a check that hangs ends at probeTimeout, and the next check runs", hanging.policy, function* () {
    yield* fail()
    yield* TestClock.adjust("8 seconds")
    assert.deepStrictEqual(hanging.asked, [3, 8])
    yield* expectState("Closed")
  })

  const late = checking([Effect.delay(Effect.succeed("up"), "1 second")])
  scenario("a check that began in an older epoch changes nothing", late.policy, function* () {
    yield* fail()
    yield* TestClock.adjust("3 seconds")
    yield* CircuitBreaker.open("api")
    yield* TestClock.adjust("1 second")
    yield* expectState("Open")
  })

  const resting = checking([])
  scenario("it rests while an override is set, and continues after its release", resting.policy, function* () {
    yield* fail()
    yield* CircuitBreaker.isolate("api")
    yield* TestClock.adjust("30 seconds")
    assert.deepStrictEqual(resting.asked, [])
    yield* CircuitBreaker.release("api")
    yield* TestClock.adjust("3 seconds")
    assert.deepStrictEqual(resting.asked, [33])
    yield* CircuitBreaker.reset("api")
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(resting.asked, [33])
  })

  const asked: Array<number> = []
  const check = Effect.andThen(
    Effect.map(Clock.currentTimeMillis, (now) => asked.push(now / 1_000)),
    Effect.fail("down")
  )
  const probe = { check, schedule: Schedule.exponential("1 second") }
  scenario(
    "it runs after each delay of its schedule, and starts the schedule again with the next opening",
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

  let checks = 0
  const ending = {
    check: Effect.suspend(() => {
      checks++
      return Effect.fail("down")
    }),
    schedule: Schedule.max([Schedule.spaced("1 second"), Schedule.recurs(3)])
  }
  scenario("a schedule that ended starts again with the next opening", { ...quick, probe: ending }, function* () {
    checks = 0
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(checks, 3)
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(checks, 6)
  })
})
