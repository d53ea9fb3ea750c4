import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerStore, CircuitBreaker } from "effect-fuse"
import type { Circuit } from "effect-fuse/core"
import {
  call,
  expectState,
  fail,
  hang,
  inspect,
  pass,
  play,
  quick,
  recordEvents,
  reject,
  scenario,
  state,
  times
} from "./support/verbs.ts"

type Act = Effect.Effect<Circuit.State | CircuitBreaker.Released, never, BreakerStore.BreakerStore>
const verbs = {
  isolate: CircuitBreaker.isolate("api"),
  "isolate for a minute": CircuitBreaker.isolate("api", { for: "1 minute" }),
  disable: CircuitBreaker.disable("api"),
  open: CircuitBreaker.open("api"),
  close: CircuitBreaker.close("api"),
  release: CircuitBreaker.release("api"),
  reset: CircuitBreaker.reset("api")
}
const setups = {
  Closed: Effect.void,
  Open: fail(),
  HalfOpen: Effect.andThen(fail(), Effect.andThen(TestClock.adjust("10 seconds"), hang())),
  Isolated: verbs.isolate,
  Disabled: verbs.disable
}

describe("Every operator action returns the state that then holds", () => {
  const cases: ReadonlyArray<
    readonly [from: keyof typeof setups, act: keyof typeof verbs, to: string, events: number]
  > = [
    ["Closed", "isolate", "Isolated", 1],
    ["Closed", "disable", "Disabled", 1],
    ["Closed", "open", "Open", 1],
    ["Closed", "close", "Closed", 0],
    ["Closed", "release", "Closed", 0],
    ["Closed", "reset", "Closed", 1],
    ["Open", "isolate", "Isolated", 1],
    ["Open", "disable", "Disabled", 1],
    ["Open", "open", "Open", 1],
    ["Open", "close", "Closed", 1],
    ["Open", "release", "Open", 0],
    ["Open", "reset", "Closed", 1],
    ["HalfOpen", "isolate", "Isolated", 1],
    ["HalfOpen", "disable", "Disabled", 1],
    ["HalfOpen", "open", "Open", 1],
    ["HalfOpen", "close", "Closed", 1],
    ["HalfOpen", "release", "HalfOpen", 0],
    ["HalfOpen", "reset", "Closed", 1],
    ["Isolated", "isolate for a minute", "Isolated", 1],
    ["Isolated", "disable", "Isolated", 1],
    ["Isolated", "open", "Isolated", 1],
    ["Isolated", "close", "Isolated", 0],
    ["Isolated", "release", "Closed", 1],
    ["Isolated", "reset", "Closed", 1],
    ["Disabled", "isolate", "Isolated", 1],
    ["Disabled", "open", "Disabled", 1],
    ["Disabled", "close", "Disabled", 0],
    ["Disabled", "release", "Closed", 1],
    ["Disabled", "reset", "Closed", 1]
  ]
  for (const [from, act, to, events] of cases) {
    scenario(`${from}, ${act}: ${to}`, quick, function* () {
      yield* setups[from]
      yield* expectState(from)
      const { epoch } = yield* inspect()
      const seen = yield* recordEvents
      const answer = yield* verbs[act] as Act
      assert.strictEqual(typeof answer === "string" ? answer : answer.state, to)
      yield* expectState(to)
      assert.strictEqual((yield* seen).length, events)
      assert.strictEqual((yield* inspect()).epoch, epoch + events)
    })
  }
})

describe("isolate", () => {
  scenario("rejects every call, without end, and reports reason and actor", quick, function* () {
    yield* CircuitBreaker.isolate("api", { reason: "maintenance", actor: "ann" })
    yield* TestClock.adjust("1 day")
    const { circuit, detail, openings, reason, retryAfter, state } = yield* reject()
    assert.deepStrictEqual(
      { circuit, detail, openings, reason, state },
      { circuit: "api", detail: "maintenance", openings: 0, reason: "Isolated", state: "Isolated" }
    )
    assert.isFalse(Duration.isFinite(retryAfter))
    assert.deepStrictEqual((yield* inspect()).cause, { why: "Isolated", detail: "maintenance", actor: "ann" })
    assert.strictEqual((yield* inspect()).totals.rejected, 1)
  })

  scenario("for a time ends at exactly that time", quick, function* () {
    const events = yield* recordEvents
    yield* CircuitBreaker.isolate("api", { for: "1 minute" })
    yield* TestClock.adjust(59_999)
    assert.strictEqual(Duration.toMillis((yield* reject()).retryAfter), 1)
    yield* TestClock.adjust(1)
    yield* expectState("Closed")
    yield* pass()
    assert.deepStrictEqual(
      (yield* events).map((event) => event._tag === "Transition" && event.why),
      ["Isolated", "Expired"]
    )
  })

  scenario("does not change the state beneath: an opening keeps its end", quick, function* () {
    yield* fail()
    yield* TestClock.adjust("4 seconds")
    yield* CircuitBreaker.isolate("api")
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual((yield* CircuitBreaker.release("api")).state, "Open")
    assert.strictEqual(Duration.toMillis((yield* reject()).retryAfter), 4_000)
    yield* TestClock.adjust("4 seconds")
    yield* pass()
    yield* expectState("Closed")
  })

  scenario("a probe in flight no longer counts, and the next call after it probes", quick, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    const probe = yield* hang()
    yield* CircuitBreaker.isolate("api")
    assert.strictEqual((yield* inspect()).probing, 0)
    yield* probe.end(Exit.succeed("late"))
    yield* expectState("Isolated")
    yield* CircuitBreaker.release("api")
    yield* expectState("Open")
    yield* hang()
    yield* expectState("HalfOpen")
    yield* reject()
  })
})

describe("disable", () => {
  scenario("lets everything through, uncounted, and never opens", quick, function* () {
    yield* fail()
    yield* CircuitBreaker.disable("api")
    const before = yield* inspect()
    const events = yield* recordEvents
    yield* play("F".repeat(100))
    yield* pass()
    const { inFlight, state, totals, windows } = yield* inspect()
    assert.deepStrictEqual([state, inFlight, windows], ["Disabled", 0, before.windows])
    assert.deepStrictEqual(totals, { ...before.totals, passed: 101 })
    assert.deepStrictEqual(yield* events, [])
  })

  scenario("for a time, then the opening beneath holds again", quick, function* () {
    yield* CircuitBreaker.open("api", { for: "1 hour" })
    yield* CircuitBreaker.disable("api", { for: "1 minute" })
    yield* pass()
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(Duration.toMinutes((yield* reject()).retryAfter), 59)
  })

  scenario("a call that it let through changes nothing after the release", quick, function* () {
    yield* CircuitBreaker.disable("api")
    const late = yield* hang()
    yield* CircuitBreaker.release("api")
    yield* late.end(Exit.fail("late"))
    yield* expectState("Closed")
    assert.strictEqual((yield* inspect()).totals.failures, 0)
  })
})

describe("open and close", () => {
  scenario("open cools down for the policy's cooldown, probes and closes by itself", quick, function* () {
    yield* CircuitBreaker.open("api", { reason: "deploying", actor: "ann" })
    const { detail, openings, reason } = yield* reject()
    assert.deepStrictEqual([reason, detail, openings], ["Cooldown", "deploying", 1])
    assert.deepStrictEqual((yield* inspect()).cause, { why: "OpenedByHand", detail: "deploying", actor: "ann" })
    yield* TestClock.adjust("10 seconds")
    yield* pass()
    yield* expectState("Closed")
  })

  scenario("open for a time of its own; an Open one gets a new end and counts no further opening", quick, function* () {
    yield* fail()
    yield* TestClock.adjust("9 seconds")
    yield* CircuitBreaker.open("api", { for: "1 minute" })
    const { openings, retryAfter } = yield* reject()
    assert.deepStrictEqual([openings, Duration.toSeconds(retryAfter)], [1, 60])
  })

  scenario(
    "open counts as an opening of the schedule",
    { ...quick, cooldown: Schedule.exponential("1 second") },
    function* () {
      yield* fail()
      yield* TestClock.adjust("500 millis")
      yield* CircuitBreaker.close("api")
      yield* CircuitBreaker.open("api")
      const { openings, retryAfter } = yield* inspect()
      assert.deepStrictEqual([openings, Duration.toSeconds(retryAfter)], [2, 2])
    }
  )

  scenario(
    "open on an Open circuit takes the delay of that opening",
    { ...quick, cooldown: Schedule.exponential("1 second") },
    function* () {
      yield* fail()
      yield* CircuitBreaker.open("api")
      const { openings, retryAfter } = yield* inspect()
      assert.deepStrictEqual([openings, Duration.toSeconds(retryAfter)], [1, 1])
    }
  )

  scenario("beneath an override they change what holds afterwards", quick, function* () {
    yield* CircuitBreaker.isolate("api")
    yield* CircuitBreaker.open("api", { for: "1 minute" })
    yield* expectState("Isolated")
    assert.strictEqual((yield* CircuitBreaker.release("api")).state, "Open")
    yield* CircuitBreaker.disable("api")
    yield* CircuitBreaker.close("api")
    yield* pass()
    assert.strictEqual((yield* CircuitBreaker.release("api")).state, "Closed")
  })

  scenario("close forgets the failures that were counted", {}, function* () {
    yield* play("FFFFF")
    yield* CircuitBreaker.close("api")
    yield* play("FFFF")
    yield* expectState("Closed")
  })
})

scenario("reset clears the circuit, and ends an override", { ...quick, ramp: "1 minute" }, function* () {
  yield* fail()
  yield* CircuitBreaker.disable("api")
  yield* CircuitBreaker.reset("api")
  const { cause, openings, retryAfter, state, streak } = yield* inspect()
  assert.deepStrictEqual(
    [state, openings, streak, cause, Duration.toMillis(retryAfter)],
    ["Closed", 0, 0, undefined, 0]
  )
  yield* times(20, pass())
})

describe("An override on the name", () => {
  scenario("holds for its keys, those there and those to come, until it is released", quick, function* () {
    yield* pass({ key: "old" })
    yield* CircuitBreaker.isolate("api", { reason: "all of it" })
    for (const key of ["old", "new"]) {
      const { circuit, detail, key: said, reason } = yield* reject({ key })
      assert.deepStrictEqual([circuit, said, reason, detail], ["api", key, "Isolated", "all of it"])
      yield* expectState("Isolated", { key })
    }
    yield* pass({ name: "other" })
    yield* CircuitBreaker.release("api")
    yield* pass({ key: "old" })
    yield* pass({ key: "new" })
  })

  scenario("holds before the first call", quick, function* () {
    yield* CircuitBreaker.isolate("api")
    yield* reject()
    yield* reject({ key: "first" })
  })

  scenario("lets calls to an open key through while it is Disabled", quick, function* () {
    yield* fail({ key: "k" })
    yield* CircuitBreaker.disable("api", { for: "5 seconds" })
    yield* pass({ key: "k" })
    yield* expectState("Disabled", { key: "k" })
    yield* TestClock.adjust("5 seconds")
    assert.strictEqual(Duration.toSeconds((yield* reject({ key: "k" })).retryAfter), 5)
  })

  scenario("that expires is over for a key and for the name", quick, function* () {
    yield* CircuitBreaker.isolate("api", { for: "1 second" })
    yield* TestClock.adjust("1 second")
    yield* expectState("Closed", { key: "k" })
    yield* pass({ key: "k" })
    yield* pass()
  })

  scenario("on a key holds for that key alone", quick, function* () {
    yield* CircuitBreaker.isolate("api", { key: "k" })
    yield* reject({ key: "k" })
    yield* pass({ key: "other" })
    yield* pass()
    yield* CircuitBreaker.release("api")
    yield* reject({ key: "k" })
    yield* CircuitBreaker.release("api", { key: "k" })
    yield* pass({ key: "k" })
  })

  scenario("and another one on its key: the one that rejects decides", quick, function* () {
    yield* CircuitBreaker.disable("api", { key: "open" })
    yield* CircuitBreaker.isolate("api")
    yield* reject({ key: "open" })
    yield* CircuitBreaker.isolate("api", { key: "shut" })
    yield* CircuitBreaker.disable("api")
    yield* reject({ key: "shut" })
    yield* reject({ key: "any" })
    yield* CircuitBreaker.release("api")
    yield* CircuitBreaker.disable("api")
    yield* reject({ key: "shut" })
    yield* pass({ key: "any" })
  })
})

describe("awaitClosed", () => {
  type Case = readonly [
    what: string,
    before: Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>,
    ends: Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
  ]
  const isolated = CircuitBreaker.isolate("api", { for: "1 minute" })
  const cases: ReadonlyArray<Case> = [
    ["a probe that succeeds", fail(), Effect.andThen(TestClock.adjust("10 seconds"), pass())],
    ["a close by hand", fail(), verbs.close],
    ["a reset", verbs.isolate, verbs.reset],
    ["a disable", fail(), verbs.disable],
    ["a release", verbs.isolate, verbs.release],
    ["an expiry, without a call", isolated, TestClock.adjust("1 minute")],
    ["an expiry on the name, for a key", isolated, TestClock.adjust("1 minute")],
    ["a release on the name, for a key", verbs.isolate, verbs.release]
  ]
  for (const [what, before, ends] of cases) {
    scenario(`ends with ${what}, and not before`, quick, function* () {
      yield* before
      const key = what.endsWith("for a key") ? "k" : undefined
      const waiting = yield* Effect.forkChild(CircuitBreaker.awaitClosed("api", { key }), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.isUndefined(waiting.pollUnsafe())
      yield* ends
      yield* TestClock.adjust(0)
      assert.isDefined(waiting.pollUnsafe())
    })
  }

  scenario("is over at once for a circuit that was never used", quick, function* () {
    yield* CircuitBreaker.awaitClosed("api")
    yield* CircuitBreaker.awaitClosed("api", { key: "k" })
  })

  const waiting = (key?: string) =>
    Effect.forkChild(CircuitBreaker.awaitClosed("api", { key }), { startImmediately: true })

  scenario("waits for the expiry of an override that began while it waited", quick, function* () {
    yield* fail()
    const fiber = yield* waiting()
    yield* CircuitBreaker.isolate("api", { for: "1 minute" })
    yield* CircuitBreaker.close("api")
    yield* TestClock.adjust("59 seconds")
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("1 second")
    assert.isDefined(fiber.pollUnsafe())
  })

  scenario("of a key waits for the end of an override on its name that began while it waited", quick, function* () {
    yield* fail({ key: "k" })
    const fiber = yield* waiting("k")
    yield* CircuitBreaker.isolate("api")
    yield* CircuitBreaker.close("api", { key: "k" })
    yield* TestClock.adjust("1 second")
    assert.isUndefined(fiber.pollUnsafe())
    yield* CircuitBreaker.release("api")
    yield* TestClock.adjust("1 second")
    assert.isDefined(fiber.pollUnsafe())
  })

  scenario("sleeps once for an override, and not again when the circuit is still open after it", quick, function* () {
    yield* CircuitBreaker.open("api", { for: "1 hour" })
    yield* CircuitBreaker.isolate("api", { for: "1 minute" })
    const clock = yield* Clock.Clock
    let sleeps = 0
    const counting = Object.assign(Object.create(clock), {
      sleep: (duration: Duration.Duration) => {
        sleeps++
        return clock.sleep(duration)
      }
    })
    const fiber = yield* Effect.forkChild(
      Effect.provideService(CircuitBreaker.awaitClosed("api"), Clock.Clock, counting),
      { startImmediately: true }
    )
    yield* TestClock.adjust("1 minute")
    for (let i = 0; i < 100; i++) yield* Effect.yieldNow
    assert.strictEqual(sleeps, 1)
    yield* CircuitBreaker.close("api")
    yield* Effect.yieldNow
    yield* TestClock.adjust("1 second")
    assert.isDefined(fiber.pollUnsafe())
  })
})

describe("Wrong options of operator actions throw and name the field", () => {
  const cases: ReadonlyArray<readonly [says: string, act: () => unknown]> = [
    ["isolate: name", () => CircuitBreaker.isolate("")],
    ["isolate: for", () => CircuitBreaker.isolate("api", { for: 0 })],
    ["disable: for", () => CircuitBreaker.disable("api", { for: "soon" as never })],
    ["open: for", () => CircuitBreaker.open("api", { for: -1 })],
    ["close: reason", () => CircuitBreaker.close("api", { reason: 1 as never })],
    ["close: actor", () => CircuitBreaker.close("api", { actor: {} as never })],
    ["reset: key", () => CircuitBreaker.reset("api", { key: null as never })],
    ["state: name", () => CircuitBreaker.state(undefined as never)],
    ["awaitClosed: name", () => CircuitBreaker.awaitClosed("")]
  ]
  for (const [says, act] of cases)
    it(says, () => assert.throws(act, new RegExp(`CircuitBreaker\\.${says}(?: must be|: expected)`)))
})

scenario("state and inspect create no circuit", quick, function* () {
  yield* state({ key: "k" })
  yield* inspect()
  assert.deepStrictEqual(yield* CircuitBreaker.list, [])
  yield* call(Effect.void)
  assert.strictEqual((yield* CircuitBreaker.list).length, 1)
})
