import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Duration, Effect, Exit, Layer, pipe, Schedule, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, CircuitPool, MemoryStore, Resilience, Trip } from "effect-fuse"
import { oneOf, runs } from "./support/garbage.ts"
import { until } from "./support/redisFleet.ts"
import { call, expectState, fail, hang, inspect, pass, quick, reject, rejectionIn, scenario } from "./support/verbs.ts"

const chain = {
  breakers: { api: { dependsOn: ["cache", "db"] }, db: { dependsOn: ["network"] }, cache: {}, network: {} }
}
const network = { name: "network" }
const db = { name: "db" }

describe("A circuit with an open dependency", () => {
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

  scenario("is not blocked by a dependency that was never used, is Closed, or depends on it", chain, function* () {
    yield* pass()
    yield* pass(db)
    yield* fail()
    yield* pass(db)
    yield* pass(network)
  })

  scenario("rejects because of an indirect dependency, and names it", chain, function* () {
    // The circuit in between must exist: a circuit has no dependencies before its first call.
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
    yield* CircuitBreaker.release("db")
    yield* CircuitBreaker.disable("db")
    yield* pass()
    yield* CircuitBreaker.isolate("db", { for: "1 second" })
    yield* TestClock.adjust("1 second")
    yield* pass()
  })

  scenario(
    "lets calls through once the cooldown of its dependency is over, so that a call can close it",
    chain,
    function* () {
      yield* fail(db)
      yield* TestClock.adjust(9_999)
      yield* reject()
      yield* TestClock.adjust(1)
      // The call that reaches the dependency through it is the probe.
      yield* CircuitBreaker.protect(call(Effect.void, db), "api")
      yield* expectState("Closed", db)
    }
  )

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

  scenario("its own opening is the reason only when no dependency is", chain, function* () {
    yield* fail()
    assert.strictEqual((yield* reject()).reason, "Cooldown")
    yield* fail(db)
    const { openings, reason, state } = yield* reject()
    assert.deepStrictEqual([reason, state, openings], ["Dependency", "Open", 1])
  })
})

describe("How long a call has to wait", () => {
  scenario("is the longest of all reasons, and every field is about the circuit that rejects", chain, function* () {
    yield* CircuitBreaker.open("api", { for: "30 seconds", reason: "drill" })
    yield* CircuitBreaker.open("db", { for: "5 seconds", reason: "not this" })
    const { circuit, dependency, detail, openings, reason, retryAfter, scope, state } = yield* reject()
    assert.deepStrictEqual(
      { circuit, dependency, detail, openings, reason, retryAfter: Duration.toSeconds(retryAfter), scope, state },
      {
        circuit: "api",
        dependency: "db",
        detail: "drill",
        openings: 1,
        reason: "Dependency",
        retryAfter: 30,
        scope: "local",
        state: "Open"
      }
    )
    yield* CircuitBreaker.open("network", { for: "1 minute" })
    assert.strictEqual(Duration.toSeconds((yield* reject()).retryAfter), 60)
  })

  const names = ["a", "b", "c", "d"] as const
  /** Of each circuit: on which of the later ones it depends, and for how long it is open or isolated, in seconds. */
  const circuit = Arbitrary.all({
    on: Arbitrary.array(oneOf(names), { maxLength: 3 }),
    state: oneOf(["Closed", "Open", "Isolated"]),
    seconds: oneOf([1, 5, 30, 60])
  })

  it.effect.prop(
    "is what inspect returns, too; a millisecond before it is over no call passes, and then one does",
    [Arbitrary.array(circuit, { minLength: 4, maxLength: 4 }), oneOf([false, true])],
    ([circuits, probed]) => {
      const breakers = Object.fromEntries(
        names.map((name, i) => [
          name,
          { cooldown: "1 hour", dependsOn: (circuits[i]?.on ?? []).filter((other) => other > name) } as const
        ])
      )
      return Effect.gen(function* () {
        for (const name of names) yield* CircuitBreaker.state(name)
        for (const name of names) yield* pass({ name })
        for (const [i, { seconds, state }] of circuits.entries()) {
          const [name = "a" as const, options] = [names[i], { for: Duration.seconds(seconds) }]
          if (state === "Open") yield* CircuitBreaker.open(name, options)
          if (state === "Isolated") yield* CircuitBreaker.isolate(name, options)
        }
        if (probed) yield* TestClock.adjust("500 millis")
        for (const name of names) {
          const { retryAfter } = yield* inspect({ name })
          if (Duration.isZero(retryAfter)) continue
          const error = yield* reject({ name })
          assert.deepStrictEqual(error.retryAfter, retryAfter)
        }
        const wait = (yield* inspect({ name: "a" })).retryAfter
        if (Duration.isZero(wait)) return
        yield* TestClock.adjust(Duration.toMillis(wait) - 1)
        yield* reject({ name: "a" })
        yield* TestClock.adjust(1)
        yield* pass({ name: "a" })
      }).pipe(
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(BreakerPolicy.layer({ default: quick, breakers }))
      )
    },
    runs("waits", 100)
  )

  scenario(
    "ends with an isolation if the circuit is disabled then, however long a dependency is open",
    { breakers: { api: { dependsOn: ["db"] }, db: quick } },
    function* () {
      yield* pass(db)
      yield* CircuitBreaker.open("db", { for: "30 seconds" })
      yield* CircuitBreaker.disable("api", { for: "1 minute" })
      yield* CircuitBreaker.isolate("api", { for: "1 second" })
      const { reason, retryAfter } = yield* reject()
      assert.deepStrictEqual([reason, Duration.toSeconds(retryAfter)], ["Isolated", 1])
      yield* TestClock.adjust(retryAfter)
      yield* pass()
    }
  )

  scenario(
    "includes a dependency that is disabled now and rejects calls again before this circuit lets them through",
    { breakers: { api: { dependsOn: ["db"] }, db: quick } },
    function* () {
      yield* pass(db)
      yield* CircuitBreaker.open("db", { for: "1 minute" })
      yield* CircuitBreaker.disable("db", { for: "1 second" })
      yield* CircuitBreaker.open("api", { for: "10 seconds" })
      const { reason, retryAfter } = yield* reject()
      assert.deepStrictEqual([reason, Duration.toSeconds(retryAfter)], ["Cooldown", 60])
      yield* TestClock.adjust("59999 millis")
      assert.strictEqual((yield* reject()).reason, "Dependency")
      yield* TestClock.adjust("1 millis")
      yield* pass()
    }
  )

  scenario(
    "decides which member of a pool is asked first",
    { breakers: { pool: { dependsOn: ["db"] }, db: quick } },
    function* () {
      const pool = CircuitPool.make("pool", { members: ["x", "y"] })
      yield* CircuitBreaker.open("pool", { key: "x", for: "1 second" })
      yield* CircuitBreaker.open("pool", { key: "y", for: "5 seconds" })
      yield* fail({ name: "db", key: "x" })
      const error = rejectionIn(yield* Effect.exit(CircuitPool.call(pool, () => Effect.void)))
      assert.deepStrictEqual([error.key, Duration.toSeconds(error.retryAfter)], ["y", 5])
    }
  )

  scenario(
    "is known to a retry, which does not sleep for a dependency that outlasts its delay",
    { breakers: { api: { trip: Trip.consecutive(99), dependsOn: ["db"] }, db: quick } },
    function* () {
      const call = Effect.flatMap(fail({ name: "db" }), () => Effect.fail("down"))
      const retried = pipe(
        call,
        Resilience.standard("api", { retry: { schedule: Schedule.spaced("5 seconds"), times: 2 } })
      )
      // Nothing moves the clock: a retry that slept would never end.
      const error = rejectionIn(yield* Effect.exit(retried))
      assert.deepStrictEqual([error.reason, error.cause], ["Dependency", "down"])
    }
  )

  scenario(
    "is known to a retry also if the first of several dependencies does not outlast its delay",
    { breakers: { api: { trip: Trip.consecutive(99), dependsOn: ["db", "mail"] } } },
    function* () {
      const call = CircuitBreaker.open("db", { for: "1 second" }).pipe(
        Effect.andThen(CircuitBreaker.open("mail", { for: "1 minute" })),
        Effect.andThen(Effect.fail("down"))
      )
      const retried = pipe(
        call,
        Resilience.standard("api", { retry: { schedule: Schedule.spaced("5 seconds"), times: 2 } })
      )
      // Nothing moves the clock: a retry that slept would never end.
      const error = rejectionIn(yield* Effect.exit(retried))
      assert.deepStrictEqual([error.reason, error.cause], ["Dependency", "down"])
      assert.strictEqual(Duration.toSeconds(error.retryAfter), 60)
    }
  )
})

describe("A retry", () => {
  scenario(
    "does not sleep for an isolation that outlasts its delay, also if the policy has a health check",
    { ...quick, trip: Trip.consecutive(99), probe: { check: Effect.void, schedule: "10 seconds" } },
    function* () {
      const call = Effect.andThen(CircuitBreaker.isolate("api", { for: "1 minute" }), Effect.fail("down"))
      const retried = pipe(
        call,
        Resilience.standard("api", { retry: { schedule: Schedule.spaced("5 seconds"), times: 2 } })
      )
      // Nothing moves the clock: a retry that slept would never end.
      const error = rejectionIn(yield* Effect.exit(retried))
      assert.deepStrictEqual([error.reason, error.cause], ["Isolated", "down"])
    }
  )
})

describe("A rejection because of a dependency that is open for the fleet", () => {
  it.live("has the scope of the circuit that rejects the call", () =>
    Effect.gen(function* () {
      const shared = yield* MemoryStore.make
      const layers = BreakerStore.layerShared(shared).pipe(
        Layer.provideMerge(BreakerPolicy.layer({ breakers: { page: { dependsOn: ["db"] } } }))
      )
      yield* Effect.gen(function* () {
        yield* CircuitBreaker.open("db", { for: "1 hour" })
        yield* until(
          "it is open for the fleet",
          Effect.map(CircuitBreaker.inspect("db"), ({ scope }) => scope === "fleet")
        )
        const { dependency, scope } = yield* reject({ name: "page" })
        assert.deepStrictEqual([dependency, scope], ["db", "local"])
      }).pipe(Effect.provide(layers))
    })
  )
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

describe("A dependency that rejects no call", () => {
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

  scenario("that is Disabled by its name blocks no key", { breakers: { api: { dependsOn: ["db"] } } }, function* () {
    yield* fail({ name: "db", key: "k" })
    yield* reject({ key: "k" })
    yield* CircuitBreaker.disable("db")
    yield* pass({ name: "db", key: "k" })
    yield* pass({ key: "k" })
  })
})

describe("Whether a dependency is open and whether to probe is decided in one transaction", () => {
  for (const name of ["db", "network"]) {
    scenario(`${name} is opened by another fiber at every operation of an admission`, chain, function* () {
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
