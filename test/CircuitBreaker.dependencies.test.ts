import { assert, describe } from "@effect/vitest"
import { Duration, Effect, Exit, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerPolicy, type BreakerStore, CircuitBreaker } from "effect-fuse"
import { call, expectState, fail, hang, inspect, pass, quick, reject, rejectionIn, scenario } from "./support/verbs.ts"

const chain = {
  breakers: { api: { dependsOn: ["cache", "db"] }, db: { dependsOn: ["network"] }, cache: {}, network: {} }
}
const network = { name: "network" }
const db = { name: "db" }

describe("A circuit that depends on one that is open", () => {
  scenario("rejects, naming it, and when a call could pass; all else is about the circuit itself", chain, function* () {
    yield* fail(db)
    yield* TestClock.adjust("3 seconds")
    const { circuit, dependency, detail, openings, reason, retryAfter, state } = yield* reject()
    assert.deepStrictEqual(
      { circuit, dependency, detail, openings, reason, retryAfter: Duration.toSeconds(retryAfter), state },
      {
        circuit: "api",
        dependency: "db",
        detail: undefined,
        openings: 0,
        reason: "Dependency",
        retryAfter: 7,
        state: "Closed"
      }
    )
    const { state: own, totals, windows } = yield* inspect()
    assert.deepStrictEqual([own, totals.calls, totals.rejected], ["Closed", 0, 1])
    assert.isTrue(windows.every((window) => window.calls === 0))
  })

  scenario("is not kept from calls by one that was never used, is Closed, or depends on it", chain, function* () {
    yield* pass()
    yield* pass(db)
    yield* fail()
    yield* pass(db)
    yield* pass(network)
  })

  scenario("rejects for one further down, and names that one", chain, function* () {
    // The one in between must exist: what nobody called depends on nothing yet.
    yield* pass(db)
    yield* fail(network)
    assert.strictEqual((yield* reject(db)).dependency, "network")
    assert.strictEqual((yield* reject()).dependency, "network")
    yield* TestClock.adjust("10 seconds")
    yield* pass(network)
    yield* pass()
  })

  scenario("rejects while it is Isolated, without end, and passes while it is Disabled", chain, function* () {
    yield* CircuitBreaker.isolate("db", { reason: "moving" })
    const { detail, dependency, reason, retryAfter, state } = yield* reject()
    assert.deepStrictEqual([reason, dependency, detail, state], ["Dependency", "db", undefined, "Closed"])
    assert.isFalse(Duration.isFinite(retryAfter))
    yield* CircuitBreaker.disable("db")
    yield* pass()
    yield* CircuitBreaker.isolate("db", { for: "1 second" })
    yield* TestClock.adjust("1 second")
    yield* pass()
  })

  scenario("lets calls through once its cooldown is over, or nobody could close it", chain, function* () {
    yield* fail(db)
    yield* TestClock.adjust(9_999)
    yield* reject()
    yield* TestClock.adjust(1)
    // The call that reaches the dependency through it is the probe.
    yield* CircuitBreaker.protect(call(Effect.void, db), "api")
    yield* expectState("Closed", db)
  })

  scenario("lets calls through while it is HalfOpen", chain, function* () {
    yield* fail(db)
    yield* TestClock.adjust("10 seconds")
    const probe = yield* hang(db)
    yield* pass()
    yield* probe.end(Exit.fail("still down"))
    yield* reject()
  })

  scenario("does not probe, and keeps its turn to", chain, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    yield* fail(db)
    assert.strictEqual((yield* reject()).reason, "Dependency")
    yield* expectState("Open")
    yield* CircuitBreaker.close("db")
    yield* pass()
    yield* expectState("Closed")
  })

  scenario("an override of its own goes first", chain, function* () {
    yield* fail(db)
    yield* CircuitBreaker.disable("api")
    yield* pass()
    yield* CircuitBreaker.isolate("api")
    assert.strictEqual((yield* reject()).reason, "Isolated")
  })

  scenario("its own opening is told only when no dependency is why", chain, function* () {
    yield* fail()
    assert.strictEqual((yield* reject()).reason, "Cooldown")
    yield* fail(db)
    const { openings, reason, state } = yield* reject()
    assert.deepStrictEqual([reason, state, openings], ["Dependency", "Open", 1])
  })
})

describe("With keys", () => {
  scenario("the circuit of the same key counts, and the one of the name alone", chain, function* () {
    yield* fail({ ...db, key: "a" })
    assert.strictEqual((yield* reject({ key: "a" })).dependency, "db")
    yield* pass({ key: "b" })
    yield* pass()
    yield* fail(db)
    yield* reject({ key: "b" })
    yield* reject()
  })
})

describe("A dependency that stops nobody", () => {
  const others: ReadonlyArray<readonly [what: string, policy: BreakerPolicy.Input]> = [
    ["that only observes", { mode: "observe" }],
    ["that is switched off", { enabled: false }]
  ]
  for (const [what, policy] of others) {
    scenario(what, { breakers: { api: { dependsOn: ["db"] }, db: policy } }, function* () {
      yield* fail(db)
      yield* CircuitBreaker.open("db")
      yield* pass()
    })
  }

  scenario("nor does a circle", { breakers: { api: {} } }, function* () {
    const a = CircuitBreaker.protect(Effect.void, "a", { policy: { ...quick, dependsOn: ["b"] } })
    const b = CircuitBreaker.protect(Effect.void, "b", { policy: { ...quick, dependsOn: ["a", "b"] } })
    yield* a
    yield* b
    yield* a
    yield* CircuitBreaker.open("a")
    assert.strictEqual(rejectionIn(yield* Effect.exit(b)).dependency, "a")
  })
})

describe("Whether a dependency is open and whether to probe is decided in one transaction", () => {
  for (const name of ["db", "network"]) {
    scenario(`${name} is opened by somebody else at every operation of an admission`, chain, function* () {
      yield* pass(db)
      const scheduler = yield* Scheduler.Scheduler
      const run = Effect.runSyncWith(yield* Effect.context<BreakerStore.BreakerStore>())
      let before = 0
      let after = 0
      for (let point = 0, reached = true; reached; point++) {
        reached = false
        yield* CircuitBreaker.reset("api")
        yield* CircuitBreaker.reset(name)
        yield* CircuitBreaker.open("api", { for: "1 second" })
        yield* TestClock.adjust("1 second")
        let operations = 0
        let taken: boolean | undefined
        let started = false
        const counting: Scheduler.Scheduler = {
          executionMode: scheduler.executionMode,
          makeDispatcher: () => scheduler.makeDispatcher(),
          // Waking up takes three operations: to yield earlier is to yield for ever.
          shouldYield: (fiber) => {
            if (operations++ === point && !started) {
              reached = true
              taken = run(CircuitBreaker.state("api")) !== "Open"
              run(CircuitBreaker.open(name, { for: "1 minute" }))
            }
            return fiber.currentOpCount >= 4
          }
        }
        const self = Effect.sync(() => {
          started = true
        })
        yield* Effect.exit(Effect.provideService(call(self), Scheduler.Scheduler, counting))
        if (taken === undefined) continue
        // Opened before the probe's place was taken, there is no probe; opened after, there is.
        assert.strictEqual(started, taken, `point ${point}`)
        yield* expectState(taken ? "Closed" : "Open")
        if (taken) after++
        else before++
      }
      assert.isAbove(before, 3)
      assert.isAbove(after, 3)
    })
  }
})
