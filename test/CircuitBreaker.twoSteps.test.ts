import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, CircuitOpen, Outcome, Trip } from "effect-fuse"
import { interruptEverywhere } from "./support/interrupting.ts"
import { expectState, fail, inspect, pass, play, quick, reject, rejectionIn, scenario, times } from "./support/verbs.ts"

const admit = CircuitBreaker.admit("api")
const { settle } = CircuitBreaker
const counts = Effect.map(inspect(), ({ inFlight, totals }) => ({
  inFlight,
  calls: totals.calls,
  successes: totals.successes,
  failures: totals.failures,
  ignored: totals.ignored
}))
const toProbe = Effect.andThen(fail(), TestClock.adjust("10 seconds"))

describe("A permit is settled as a call in one step would be", () => {
  type Counted = "successes" | "failures" | "ignored"
  const cases: ReadonlyArray<
    readonly [what: string, end: Outcome.Outcome | Exit.Exit<unknown, unknown>, counted: Counted]
  > = [
    ["Outcome.success", Outcome.success, "successes"],
    ["Outcome.failure()", Outcome.failure(), "failures"],
    ["Outcome.ignored", Outcome.ignored, "ignored"],
    ["a value", Exit.succeed(1), "successes"],
    ["an error", Exit.fail("boom"), "failures"],
    ["a defect", Exit.die("bug"), "failures"],
    ["an interrupt", Exit.interrupt(1), "ignored"],
    ["an error and an interrupt", Exit.failCause(Cause.combine(Cause.fail("x"), Cause.interrupt(1))), "failures"]
  ]
  for (const [what, end, counted] of cases) {
    scenario(`${what} counts in ${counted}`, { trip: Trip.consecutive(2) }, function* () {
      const permit = yield* admit
      assert.deepStrictEqual(yield* counts, { inFlight: 1, calls: 1, successes: 0, failures: 0, ignored: 0 })
      yield* settle(permit, end)
      assert.deepStrictEqual(yield* counts, {
        inFlight: 0,
        calls: 1,
        successes: 0,
        failures: 0,
        ignored: 0,
        [counted]: 1
      })
    })

    scenario(`${what} settles a probe`, quick, function* () {
      yield* toProbe
      const permit = yield* admit
      assert.strictEqual((yield* inspect()).probing, 1)
      yield* settle(permit, end)
      yield* expectState({ successes: "Closed", failures: "Open", ignored: "HalfOpen" }[counted])
      const { inFlight, probing } = yield* inspect()
      assert.deepStrictEqual([inFlight, probing], [0, 0])
    })

    scenario(`${what} twice counts once`, { trip: Trip.consecutive(2) }, function* () {
      const permit = yield* admit
      yield* settle(permit, end)
      const once = yield* counts
      yield* settle(permit, Outcome.failure())
      yield* settle(permit, end)
      assert.deepStrictEqual(yield* counts, once)
      yield* expectState("Closed")
    })

    scenario(`${what} of an older epoch changes nothing`, { ...quick, successesToClose: 2, probes: 2 }, function* () {
      const stale = yield* admit
      yield* toProbe
      const probe = yield* admit
      const { epoch } = yield* inspect()
      yield* settle(stale, end)
      const now = yield* inspect()
      assert.deepStrictEqual([now.state, now.epoch, now.probing, now.inFlight], ["HalfOpen", epoch, 1, 1])
      yield* settle(probe, Outcome.success)
      yield* settle(probe, Outcome.success)
      yield* expectState("HalfOpen")
    })
  }

  scenario("failures open, and an admission is then refused", quick, function* () {
    yield* settle(yield* admit, Outcome.failure({ retryAfter: "1 minute" }))
    const { reason, retryAfter } = rejectionIn(yield* Effect.exit(admit))
    assert.deepStrictEqual([reason, Duration.toSeconds(retryAfter)], ["Cooldown", 60])
    assert.strictEqual((yield* inspect()).totals.rejected, 1)
  })

  scenario("the rejection of another circuit is Ignored", quick, function* () {
    const open = CircuitOpen.make({
      circuit: "x",
      state: "Open",
      reason: "Cooldown",
      retryAfter: Duration.zero,
      openings: 1
    })
    yield* settle(yield* admit, Exit.fail(open))
    yield* expectState("Closed")
  })

  scenario("a key has permits of its own", quick, function* () {
    yield* settle(yield* CircuitBreaker.admit("api", { key: "k" }), Outcome.failure())
    yield* reject({ key: "k" })
    yield* pass()
  })
})

describe("A permit that is never settled lapses, as Ignored", () => {
  scenario("after ten minutes", {}, function* () {
    yield* times(3, admit)
    yield* TestClock.adjust("9 minutes")
    assert.strictEqual((yield* counts).inFlight, 3)
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(yield* counts, { inFlight: 0, calls: 3, successes: 0, failures: 0, ignored: 3 })
  })

  scenario("after its lease, each by itself", {}, function* () {
    for (const lease of ["3 seconds", "1 second", "2 seconds"] as const) yield* CircuitBreaker.admit("api", { lease })
    for (const left of [2, 1, 0]) {
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* inspect()).inFlight, left)
    }
  })

  for (const noticed of [true, false]) {
    const what = noticed ? "after that was noticed" : "without a read in between"
    scenario(`and settling it afterwards changes nothing, ${what}`, quick, function* () {
      const permit = yield* CircuitBreaker.admit("api", { lease: "1 second" })
      yield* TestClock.adjust("1 second")
      if (noticed) yield* counts
      yield* settle(permit, Outcome.failure())
      const { ignored, inFlight, failures } = yield* counts
      assert.deepStrictEqual([inFlight, failures, ignored], [0, 0, 1])
      yield* expectState("Closed")
    })
  }

  scenario(
    "the place of a probe is free again after probeTimeout, whatever the lease",
    { ...quick, probeTimeout: "5 seconds" },
    function* () {
      yield* toProbe
      const permit = yield* CircuitBreaker.admit("api", { lease: "1 hour" })
      yield* TestClock.adjust(4_999)
      assert.strictEqual((yield* reject()).reason, "ProbesBusy")
      yield* TestClock.adjust(1)
      const { inFlight, probing } = yield* inspect()
      assert.deepStrictEqual([inFlight, probing], [0, 0])
      yield* pass()
      yield* expectState("Closed")
      yield* settle(permit, Outcome.failure())
      yield* expectState("Closed")
    }
  )

  scenario(
    "also one that was interrupted on its way to its owner, at any operation",
    { ...quick, cooldown: 0 },
    function* () {
      yield* interruptEverywhere(
        (run) => {
          const name = `api ${run}`
          const probe = Effect.exit(CircuitBreaker.protect(Effect.fail("boom"), name))
          return Effect.andThen(probe, CircuitBreaker.admit(name))
        },
        (run) =>
          Effect.gen(function* () {
            yield* TestClock.adjust("10 minutes")
            const { inFlight, probing } = yield* inspect({ name: `api ${run}` })
            assert.deepStrictEqual([inFlight, probing], [0, 0])
            yield* pass({ name: `api ${run}` })
          })
      )
    }
  )
})

describe("A permit that holds nothing", () => {
  scenario("of a Disabled circuit is not counted", quick, function* () {
    yield* CircuitBreaker.disable("api")
    yield* settle(yield* admit, Outcome.failure())
    const { state, totals } = yield* inspect()
    assert.deepStrictEqual([state, totals.calls, totals.failures, totals.passed], ["Disabled", 0, 0, 1])
  })

  scenario("with mode observe is not counted either", { ...quick, mode: "observe" }, function* () {
    yield* play("F")
    yield* settle(yield* admit, Outcome.success)
    const { state, totals } = yield* inspect()
    assert.deepStrictEqual([state, totals.calls, totals.passed, totals.wouldReject], ["Open", 1, 1, 1])
  })
})

describe("Options that are wrong throw and name the field", () => {
  for (const lease of [0, -1, "soon", {}]) {
    it(`lease: ${JSON.stringify(lease)}`, () =>
      assert.throws(
        () => CircuitBreaker.admit("api", { lease: lease as never }),
        /CircuitBreaker\.admit: lease: expected a duration above 0/
      ))
  }
  it("name", () => assert.throws(() => CircuitBreaker.admit(""), /CircuitBreaker\.admit: name: expected a text/))
})
