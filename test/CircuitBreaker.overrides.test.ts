import { assert, describe } from "@effect/vitest"
import { Duration, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, Trip } from "effect-fuse"
import { expectState, fail, hang, inspect, pass, play, quick, recordEvents, reject, scenario } from "./support/verbs.ts"

describe("several overrides", () => {
  const hour = { reason: "migration", actor: "ann", for: "1 hour" } as const
  const minute = { reason: "drill", actor: "bob", for: "1 minute" } as const

  scenario("a later, shorter one never shortens an earlier, longer one, in either order", quick, function* () {
    for (const [first, second] of [
      [hour, minute],
      [minute, hour]
    ]) {
      yield* CircuitBreaker.isolate("api", first)
      yield* CircuitBreaker.isolate("api", second)
      yield* TestClock.adjust("59 minutes")
      const { cause, overrides, retryAfter } = yield* inspect()
      assert.deepStrictEqual(cause, { why: "Isolated", detail: "migration", actor: "ann" })
      assert.strictEqual(Duration.toMinutes(retryAfter), 1)
      assert.deepStrictEqual(
        overrides.map(({ actor }) => actor),
        ["ann"]
      )
      assert.strictEqual((yield* reject()).detail, "migration")
      yield* TestClock.adjust("1 minute")
      yield* pass()
    }
  })

  scenario("release ends all of them, and returns what it ended", quick, function* () {
    yield* CircuitBreaker.isolate("api", minute)
    yield* CircuitBreaker.disable("api", { actor: "eve" })
    yield* TestClock.adjust("30 seconds")
    yield* CircuitBreaker.isolate("api", hour)
    const seen = yield* recordEvents
    const released = yield* CircuitBreaker.release("api", { actor: "bob" })
    const ended = [
      { state: "Isolated", since: 30_000, until: 3_630_000, reason: "migration", actor: "ann" },
      { state: "Isolated", since: 0, until: 60_000, reason: "drill", actor: "bob" },
      { state: "Disabled", since: 0, reason: "Disabled by hand", actor: "eve" }
    ] as const
    assert.deepStrictEqual(released, { state: "Closed", ended })
    const [event] = yield* seen
    assert(event?._tag === "Transition")
    assert.deepStrictEqual([event.actor, event.ended], ["bob", ended])
    assert.deepStrictEqual(yield* CircuitBreaker.release("api"), { state: "Closed", ended: [] })
  })

  scenario("release does not name one that has ended by itself", quick, function* () {
    yield* CircuitBreaker.isolate("api", hour)
    yield* CircuitBreaker.isolate("api", minute)
    yield* TestClock.adjust("2 minutes")
    const { ended } = yield* CircuitBreaker.release("api")
    assert.deepStrictEqual(
      ended.map(({ actor }) => actor),
      ["ann"]
    )
  })

  scenario("what isolates decides over what disables, whichever came first, while it lasts", quick, function* () {
    for (const [first, second] of [
      ["isolate", "disable"],
      ["disable", "isolate"]
    ] as const) {
      yield* CircuitBreaker[first]("api", first === "isolate" ? minute : hour)
      assert.strictEqual(yield* CircuitBreaker[second]("api", second === "isolate" ? minute : hour), "Isolated")
      assert.strictEqual(Duration.toMinutes((yield* reject()).retryAfter), 1)
      yield* TestClock.adjust("1 minute")
      const before = (yield* inspect()).totals.passed
      yield* pass()
      const { cause, state, totals } = yield* inspect()
      assert.deepStrictEqual([state, cause?.actor, totals.passed], ["Disabled", "ann", before + 1])
      yield* CircuitBreaker.reset("api")
    }
  })

  scenario("a second one by the same operator extends the first, and has the new reason", quick, function* () {
    yield* CircuitBreaker.isolate("api", { ...minute, reason: "first" })
    yield* TestClock.adjust("30 seconds")
    yield* CircuitBreaker.isolate("api", { ...minute, reason: "second" })
    const { overrides } = yield* inspect()
    assert.deepStrictEqual(overrides, [{ state: "Isolated", since: 0, until: 90_000, reason: "second", actor: "bob" }])
  })

  scenario("the event of a further override has all overrides in force", quick, function* () {
    yield* CircuitBreaker.isolate("api", hour)
    const seen = yield* recordEvents
    yield* CircuitBreaker.isolate("api", minute)
    const [event] = yield* seen
    assert(event?._tag === "Transition")
    assert.deepStrictEqual(
      [event.actor, event.overrides?.map(({ actor }) => actor), event.retryAfterMillis],
      ["bob", ["ann", "bob"], 3_600_000]
    )
  })
})

describe("what was counted beneath an override goes on counting", () => {
  const windowed = {
    trip: Trip.any(Trip.consecutive(5), Trip.failureRate({ threshold: 0.9, minimumCalls: 10, over: "1 minute" }))
  }
  const counted = Effect.map(inspect(), ({ streak, windows: [window] }) => [streak, window?.calls, window?.failures])

  for (const act of ["isolate", "disable"] as const) {
    scenario(`${act} and release keep the streak and the windows`, windowed, function* () {
      yield* play("SFFFF")
      const before = yield* counted
      assert.deepStrictEqual(before, [4, 5, 4])
      yield* CircuitBreaker[act]("api", { actor: "ann", for: "30 seconds" })
      yield* CircuitBreaker[act]("api", { actor: "bob", for: "10 seconds" })
      assert.deepStrictEqual(yield* counted, before)
      yield* CircuitBreaker.release("api")
      assert.deepStrictEqual(yield* counted, before)
      yield* fail()
      yield* expectState("Open")
    })

    scenario(`an expired ${act} keeps them, as far as the time allows`, windowed, function* () {
      yield* play("SFFFF")
      yield* CircuitBreaker[act]("api", { for: "30 seconds" })
      yield* TestClock.adjust("30 seconds")
      yield* pass()
      assert.deepStrictEqual(yield* counted, [0, 6, 4])
      yield* CircuitBreaker[act]("api", { for: "1 minute" })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual((yield* counted).slice(1), [0, 0])
    })

    scenario(`a call that was admitted before ${act} changes nothing`, windowed, function* () {
      yield* play("FFFF")
      const call = yield* hang()
      yield* CircuitBreaker[act]("api")
      yield* CircuitBreaker.release("api")
      yield* call.end(Exit.fail("late"))
      assert.deepStrictEqual(yield* counted, [4, 4, 4])
    })
  }

  for (const act of ["reset", "open and close"] as const) {
    scenario(`${act} beneath it forgets them`, windowed, function* () {
      yield* play("FFFF")
      yield* CircuitBreaker.isolate("api")
      if (act === "reset") yield* CircuitBreaker.reset("api")
      else {
        yield* CircuitBreaker.open("api")
        yield* CircuitBreaker.close("api")
        yield* CircuitBreaker.release("api")
      }
      assert.deepStrictEqual(yield* counted, [0, 0, 0])
    })
  }
})
