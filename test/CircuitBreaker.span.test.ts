import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Outcome, Resilience, Tenant, Trip } from "effect-fuse"
import { Chance } from "./support/simulation/random.ts"
import {
  expectState,
  fail,
  hang,
  inspect,
  pass,
  play,
  recordEvents,
  reject,
  rejectionIn,
  scenario,
  state,
  succeed
} from "./support/verbs.ts"

const span: BreakerPolicy.Input = { span: true, cooldown: "10 seconds" }
const key = (n: number) => `k${n}`

/** Makes calls with random keys, of which some are down. Returns how many calls reached a key that is down. */
const calls = (n: number, keys: number, chance: Chance, isDown: (key: number) => boolean, millis = 10) =>
  Effect.gen(function* () {
    let leaked = 0
    for (let i = 0; i < n; i++) {
      const picked = Math.floor(chance.next() * keys)
      const self = Effect.suspend(() => {
        if (!isDown(picked)) return Effect.void
        leaked++
        return Effect.fail("down")
      })
      yield* Effect.exit(CircuitBreaker.protect(self, "api", { key: key(picked) }))
      yield* TestClock.adjust(millis)
    }
    return leaked
  })

const inNewStore = <A, E>(policy: BreakerPolicy.Input, self: Effect.Effect<A, E, BreakerStore.BreakerStore>) =>
  self.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(BreakerPolicy.layer({ default: policy })))

/** Fails one call with each key from 0 on, so that the name opens. */
const outage = (keys = 40) => Effect.forEach(Array.from({ length: keys }), (_, i) => fail({ key: key(i) }))

const openings = Effect.map(CircuitBreaker.inspect("api"), ({ openings, outage }) => openings + (outage?.openings ?? 0))

describe("While all keys are down", () => {
  for (const before of ["at the start", "after an hour of health"]) {
    it.effect(`at most 50 of 3,000 calls with 1,000 keys are made, ${before}`, () =>
      inNewStore(
        { span: true },
        Effect.gen(function* () {
          const chance = new Chance(1)
          if (before !== "at the start") yield* calls(3_600, 1_000, chance, () => false, 1_000)
          const leaked = yield* calls(3_000, 1_000, chance, () => true, 50)
          assert.isAtMost(leaked, 50)
          yield* expectState("Open")
        })
      )
    )
  }

  it.effect("almost all calls are made without a span", () =>
    inNewStore(
      {},
      Effect.map(
        calls(3_000, 1_000, new Chance(1), () => true, 50),
        (leaked) => assert.isAbove(leaked, 2_500)
      )
    )
  )

  scenario("ten shards open together after 34 failures", span, function* () {
    let made = 0
    while ((yield* state()) === "Closed") {
      yield* fail({ key: key(made % 10) })
      made++
    }
    assert.strictEqual(made, 34)
    const { cause } = yield* inspect()
    assert.strictEqual(
      cause?.detail,
      "the last calls of 10 of 10 keys failed (limit 95%), 34 failures in a row (limit 34)"
    )
  })

  scenario("seven keys do not open the name", span, function* () {
    for (let i = 0; i < 200; i++) yield* fail({ key: key(i % 7) })
    yield* expectState("Closed")
  })
})

describe("While some keys are down, the name never opens", () => {
  for (const share of [0.3, 0.6, 0.8]) {
    it.effect(`${share * 100} % of 1,000 keys, 40 processes that start then`, () =>
      Effect.gen(function* () {
        for (let seed = 0; seed < 40; seed++) {
          const isDown = (key: number) => key < share * 1_000
          const run = calls(400, 1_000, new Chance(seed), isDown)
          assert.strictEqual(yield* inNewStore(span, Effect.andThen(run, openings)), 0, `seed ${seed}`)
        }
      })
    )

    it.effect(`${share * 100} % of 1,000 keys that were healthy before`, () =>
      Effect.gen(function* () {
        for (let seed = 0; seed < 6; seed++) {
          const chance = new Chance(seed)
          const healthy = calls(200, 1_000, chance, () => false)
          const run = Effect.andThen(
            healthy,
            calls(3_000, 1_000, chance, (key) => key < share * 1_000)
          )
          assert.strictEqual(yield* inNewStore(span, Effect.andThen(run, openings)), 0, `seed ${seed}`)
        }
      })
    )
  }

  for (const down of [1, 6, 9]) {
    it.effect(`${down} of 10 shards`, () =>
      Effect.gen(function* () {
        for (let seed = 0; seed < 6; seed++) {
          const chance = new Chance(seed)
          const healthy = calls(200, 10, chance, () => false)
          const run = Effect.andThen(
            healthy,
            calls(1_000, 10, chance, (key) => key < down, 100)
          )
          assert.strictEqual(yield* inNewStore(span, Effect.andThen(run, openings)), 0, `seed ${seed}`)
        }
      })
    )
  }
})

describe("While the name is open", () => {
  scenario("a call with any key is rejected, and the error is about the name", span, function* () {
    yield* outage()
    const { openings, outage: since } = yield* inspect()
    for (const which of [key(0), key(39), "new"]) {
      const open = yield* reject({ key: which })
      assert.deepStrictEqual(
        { ...open, retryAfter: Duration.toMillis(open.retryAfter) },
        {
          _tag: "CircuitOpen",
          circuit: "api",
          state: "Open",
          scope: "local",
          reason: "Cooldown",
          retryAfter: 10_000,
          openings,
          downSince: since?.since,
          detail: "the last calls of 32 of 32 keys failed (limit 95%), 34 failures in a row (limit 34)"
        }
      )
      assert.isFalse("key" in open)
    }
  })

  scenario("the state of every key is that of the name, and the epoch is its own", span, function* () {
    yield* outage()
    const seen = yield* inspect({ key: key(3) })
    assert.deepStrictEqual([seen.state, seen.epoch, Duration.toMillis(seen.retryAfter)], ["Open", 0, 10_000])
    assert.match(seen.cause?.detail ?? "", /32 of 32 keys/)
  })

  scenario("one opening is announced, without a key", span, function* () {
    const events = yield* recordEvents
    yield* outage()
    const seen = yield* events
    assert.deepStrictEqual(
      seen.map((event) => [event._tag, event.circuit, event.key]),
      [["Transition", "api", undefined]]
    )
  })

  scenario(
    "the wait includes the longer cooldown of the key",
    { ...span, keys: { k0: { cooldown: "1 minute" } } },
    function* () {
      yield* play("FFFFF", { key: key(0) })
      yield* outage()
      const open = yield* reject({ key: key(0) })
      assert.deepStrictEqual([open.key, Duration.toMillis(open.retryAfter)], [undefined, 60_000])
      yield* TestClock.adjust("10 seconds")
      // The cooldown of the name is over, so the key decides.
      const own = yield* reject({ key: key(0) })
      assert.deepStrictEqual([own.key, own.reason, Duration.toMillis(own.retryAfter)], [key(0), "Cooldown", 50_000])
    }
  )

  scenario("one call with any key probes it, and closes it for all", span, function* () {
    yield* outage()
    yield* TestClock.adjust("10 seconds")
    const probe = yield* hang({ key: "new" })
    const open = yield* reject({ key: key(0) })
    assert.deepStrictEqual([open.key, open.state, open.reason], [undefined, "HalfOpen", "ProbesBusy"])
    yield* probe.end(Exit.succeed("ok"))
    yield* expectState("Closed")
    for (let i = 0; i < 40; i++) yield* pass({ key: key(i) })
  })

  scenario("a probe counts for the name, and not for its key", span, function* () {
    yield* outage()
    yield* TestClock.adjust("10 seconds")
    yield* fail({ key: key(1) })
    yield* expectState("Open")
    const [name, own] = [yield* inspect(), yield* inspect({ key: key(1) })]
    assert.deepStrictEqual([name.openings, name.totals.calls, own.totals.calls, own.streak], [2, 1, 1, 1])
  })

  scenario("a close clears the memory: it takes 34 failures to open again", span, function* () {
    yield* outage()
    yield* TestClock.adjust("10 seconds")
    yield* pass({ key: "new" })
    yield* Effect.forEach(Array.from({ length: 33 }), (_, i) => fail({ key: key(i) }))
    yield* expectState("Closed")
    yield* fail({ key: key(33) })
    yield* expectState("Open")
  })

  scenario("a call that began before changes nothing when it ends", span, function* () {
    const calls = yield* Effect.forEach(Array.from({ length: 60 }), (_, i) => hang({ key: key(i % 4) }))
    yield* TestClock.adjust("1 second")
    yield* Effect.forEach(Array.from({ length: 34 }), (_, i) => fail({ key: key(i + 4) }))
    yield* expectState("Open")
    for (const one of calls.slice(0, 20)) yield* one.end(Exit.fail("late"))
    yield* TestClock.adjust("10 seconds")
    yield* pass({ key: "new" })
    for (const one of calls.slice(20)) yield* one.end(Exit.fail("late"))
    for (let i = 0; i < 4; i++) {
      const { state, streak } = yield* inspect({ key: key(i) })
      assert.deepStrictEqual([state, streak], ["Closed", 0])
    }
    yield* pass({ key: key(0) })
    yield* expectState("Closed")
  })

  scenario("a key that opened before is probed by its next call after the close", span, function* () {
    yield* play("FFFFF", { key: key(0) })
    yield* TestClock.adjust("1 second")
    yield* outage()
    yield* TestClock.adjust("10 seconds")
    yield* pass({ key: "new" })
    const probe = yield* hang({ key: key(0) })
    const open = yield* reject({ key: key(0) })
    assert.deepStrictEqual([open.key, open.reason], [key(0), "ProbesBusy"])
    yield* probe.end(Exit.succeed("ok"))
    yield* pass({ key: key(0) })
  })

  scenario("an override of a key decides for that key", span, function* () {
    yield* outage()
    yield* CircuitBreaker.disable("api", { key: key(0) })
    yield* CircuitBreaker.isolate("api", { key: key(1), reason: "moving" })
    yield* pass({ key: key(0) })
    const open = yield* reject({ key: key(1) })
    assert.deepStrictEqual([open.key, open.reason, open.detail], [key(1), "Isolated", "moving"])
  })

  scenario("an operator closes it, and disables it for all keys", span, function* () {
    yield* outage()
    yield* CircuitBreaker.close("api")
    yield* pass({ key: key(0) })
    yield* CircuitBreaker.open("api")
    yield* reject({ key: key(0) })
    yield* CircuitBreaker.disable("api")
    yield* pass({ key: key(0) })
    yield* CircuitBreaker.release("api")
    yield* reject({ key: key(0) })
    yield* CircuitBreaker.reset("api")
    yield* pass({ key: key(0) })
  })

  scenario("the longest retryAfter of the failures extends the cooldown", span, function* () {
    yield* Effect.forEach(Array.from({ length: 34 }), (_, i) =>
      Effect.exit(
        CircuitBreaker.protect(Effect.fail("later"), "api", {
          key: key(i),
          classify: (exit) =>
            Exit.isSuccess(exit) ? Outcome.success : Outcome.failure({ retryAfter: i === 20 ? "1 minute" : 0 })
        })
      )
    )
    const open = yield* reject({ key: key(0) })
    assert.strictEqual(Duration.toMillis(open.retryAfter), 60_000)
  })

  scenario("a nested call with another key is part of the probe", span, function* () {
    yield* outage()
    yield* TestClock.adjust("10 seconds")
    const inner = CircuitBreaker.protect(Effect.succeed("ok"), "api", { key: key(2) })
    yield* CircuitBreaker.protect(inner, "api", { key: key(1) })
    yield* expectState("Closed")
  })

  scenario("a call waits for the name, whatever its key", span, function* () {
    yield* outage()
    const waiting = (key: string) =>
      Effect.forkChild(
        Effect.succeed(key).pipe(
          CircuitBreaker.protect("api", { key }),
          Resilience.retry({ waitForCircuit: "1 minute" })
        ),
        { startImmediately: true }
      )
    const fibers = yield* Effect.forEach(Array.from({ length: 20 }), (_, i) => waiting(key(i)))
    yield* TestClock.adjust("9 seconds")
    assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() === undefined))
    yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(
      yield* Fiber.joinAll(fibers),
      Array.from({ length: 20 }, (_, i) => key(i))
    )
  })

  scenario("awaitClosed of a key waits for the name", span, function* () {
    yield* outage()
    const waiting = yield* Effect.forkChild(CircuitBreaker.awaitClosed("api", { key: key(0) }), {
      startImmediately: true
    })
    yield* TestClock.adjust("20 seconds")
    assert.isUndefined(waiting.pollUnsafe())
    yield* pass({ key: "new" })
    yield* Fiber.join(waiting)
  })

  scenario("a batch with a key stops at its first rejection", span, function* () {
    yield* outage()
    const exits = yield* CircuitBreaker.forEach(["a", "b"], () => Effect.succeed("ok"), {
      name: "api",
      key: key(0)
    })
    assert.deepStrictEqual(
      exits.map((exit) => rejectionIn(exit).key),
      [undefined, undefined]
    )
  })
})

describe("The ramp of a name", () => {
  scenario("admits a growing share of the calls of all keys", { ...span, ramp: "10 seconds" }, function* () {
    yield* outage()
    yield* TestClock.adjust("10 seconds")
    yield* pass({ key: "new" })
    const passed = (from: number) =>
      Effect.map(
        Effect.forEach(Array.from({ length: 100 }), (_, i) => succeed({ key: `${from}-${i}` })),
        (exits) => {
          for (const open of exits.filter(Exit.isFailure).map(rejectionIn)) {
            assert.deepStrictEqual([open.key, open.reason, open.state], [undefined, "Ramping", "Closed"])
          }
          return exits.filter(Exit.isSuccess).length
        }
      )
    assert.isBelow(yield* passed(0), 15)
    yield* TestClock.adjust("5 seconds")
    const half = yield* passed(1)
    assert.isTrue(half > 45 && half < 65, `${half}`)
    yield* TestClock.adjust("5 seconds")
    assert.strictEqual(yield* passed(2), 100)
    // From then on, calls take the hot path again.
    const store = yield* BreakerStore.BreakerStore
    assert.isFalse(store.peek("api", "2-0")?.group.held)
  })
})

describe("A name that only observes", () => {
  scenario("rejects no call, and closes by a probe", { ...span, mode: "observe" }, function* () {
    yield* outage()
    yield* expectState("Open")
    yield* pass({ key: key(0) })
    assert.strictEqual((yield* inspect({ key: key(0) })).totals.wouldReject, 1)
    yield* TestClock.adjust("10 seconds")
    yield* pass({ key: key(1) })
    yield* expectState("Closed")
  })

  scenario(
    "does not decide for a key that enforces",
    { ...span, mode: "observe", keys: { k0: { mode: "enforce" } } },
    function* () {
      yield* outage()
      yield* pass({ key: key(0) })
      assert.strictEqual((yield* inspect({ key: key(0) })).totals.wouldReject, 0)
      yield* play("FFFFF", { key: key(0) })
      yield* reject({ key: key(0) })
    }
  )
})

describe("Any sequence of calls with any keys", () => {
  const endings = ["ok", "fail", "fail", "fail", "fail", "late", "name", "interrupt"] as const
  const classify = (exit: Exit.Exit<string, string>) => {
    if (Exit.isSuccess(exit)) return Outcome.success
    const isFailure = (error: string) => exit.cause.reasons.some((one) => "error" in one && one.error === error)
    return Outcome.failure({ scope: isFailure("name") ? "name" : "key", overload: isFailure("late") })
  }

  interface Running {
    readonly key: string
    readonly answer: Deferred.Deferred<string, string>
    readonly fiber: Fiber.Fiber<string, unknown>
  }

  /** Begins a call. Returns the call if it runs, and otherwise `undefined`. */
  const begin = (key: string) =>
    Effect.gen(function* () {
      const answer = yield* Deferred.make<string, string>()
      let ran = false
      const self = Effect.suspend(() => {
        ran = true
        return Deferred.await(answer)
      })
      const fiber = yield* Effect.forkDetach(CircuitBreaker.protect(self, "api", { key, classify }), {
        startImmediately: true
      })
      yield* Effect.yieldNow
      const running: Running = { key, answer, fiber }
      return ran ? running : undefined
    })

  const end = ({ answer, fiber }: Running, how: (typeof endings)[number]) =>
    how === "interrupt"
      ? Effect.asVoid(Fiber.interrupt(fiber))
      : Effect.andThen(
          Deferred.done(answer, how === "ok" ? Exit.succeed("ok") : Exit.fail(how)),
          Effect.asVoid(Fiber.await(fiber))
        )

  for (const more of [
    {},
    { probes: 2, successesToClose: 2 },
    { ramp: "2 seconds" },
    { limit: true },
    { limit: { max: 2 } }
  ] as const) {
    it.effect(`admits only probes while the name is open, and loses no call, with ${JSON.stringify(more)}`, () =>
      Effect.gen(function* () {
        let opened = 0
        for (let seed = 0; seed < 15; seed++) {
          const chance = new Chance(seed)
          const below = (n: number) => Math.floor(chance.next() * n)
          const keys = 8 + below(30)
          const policy = {
            span: true,
            cooldown: "1 second",
            probeTimeout: "1 hour",
            trip: Trip.consecutive(3),
            ...more
          } as const
          const steps = Effect.gen(function* () {
            let running: ReadonlyArray<Running> = []
            let begun = 0
            for (let step = 0; step < 300; step++) {
              const before = yield* inspect()
              const opens = yield* Effect.map(CircuitBreaker.list, (all) => all.filter((one) => one.key !== undefined))
              if (chance.next() < 0.6) {
                const which = key(below(keys))
                const call = yield* begin(which)
                const after = yield* inspect()
                if (call !== undefined) {
                  begun++
                  running = [...running, call]
                  if (before.state !== "Closed") assert.strictEqual(after.probing, before.probing + 1)
                }
                assert.isAtMost(after.probing, "probes" in more ? more.probes : 1)
              } else if (running.length > 0) {
                const ending = below(running.length)
                yield* end(running[ending] as Running, endings[below(endings.length)] ?? "ok")
                running = running.filter((_, i) => i !== ending)
              }
              if (chance.next() < 0.3) yield* TestClock.adjust(below(1_200))
              const after = yield* inspect()
              if (before.state === "Closed" && after.state === "Open") opened++
              const all = yield* CircuitBreaker.list
              for (const one of all) {
                if (one.key === undefined) continue
                if (after.state !== "Closed") assert.strictEqual(one.state, after.state)
                const was = opens.find((other) => other.key === one.key)?.openings ?? 0
                if (before.state !== "Closed") assert.isAtMost(one.openings, was, "no key opens while the name is open")
                assert.isAtMost(one.inFlight, "limit" in more && more.limit !== true ? more.limit.max : 1_000)
              }
              const sum = (of: (one: (typeof all)[number]) => number) => all.reduce((total, one) => total + of(one), 0)
              assert.strictEqual(
                sum(({ totals }) => totals.calls),
                begun
              )
              assert.strictEqual(
                sum(({ inFlight }) => inFlight),
                running.length
              )
              assert.strictEqual(
                sum(({ totals: { failures, ignored, successes } }) => successes + failures + ignored),
                begun - running.length
              )
            }
            for (const one of running) yield* end(one, "interrupt")
            yield* TestClock.adjust("1 minute")
            for (let i = 0; i < 8; i++) yield* succeed({ key: "last" })
            yield* TestClock.adjust("1 minute")
            yield* pass({ key: "last" })
            yield* expectState("Closed")
          })
          yield* inNewStore(policy, steps)
        }
        assert.isAbove(opened, 3)
      })
    )
  }
})

describe("The keys of a name", () => {
  scenario("may be tenants", span, function* () {
    const call = (tenant: number) =>
      Tenant.within(CircuitBreaker.protect(Effect.fail("down"), "api"), `tenant-${tenant}`)
    for (let i = 0; i < 40; i++) yield* Effect.exit(call(i))
    const open = rejectionIn(yield* Effect.exit(call(100)))
    assert.deepStrictEqual([open.key, open.state], [undefined, "Open"])
  })

  it.effect("share a circuit if there is no room for them, and then count as one key", () =>
    Effect.gen(function* () {
      yield* outage(100)
      yield* expectState("Closed")
      yield* reject({ key: "new" })
    }).pipe(
      Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 1 })),
      Effect.provide(BreakerPolicy.layer({ default: span }))
    )
  )

  scenario("that only probe their own circuits count, too", { ...span, cooldown: "1 second" }, function* () {
    yield* Effect.forEach(Array.from({ length: 8 }), (_, i) => play("FFFFF", { key: key(i) }))
    // The five failures of each key in a row count as one failure.
    yield* expectState("Closed")
    for (let i = 0; i < 26; i++) {
      if (i % 8 === 0) yield* TestClock.adjust("1 second")
      yield* fail({ key: key(i % 8) })
    }
    yield* expectState("Open")
  })
})

describe("Without a span", () => {
  scenario("the circuit without a key does not decide for the keys", { cooldown: "10 seconds" }, function* () {
    yield* outage(100)
    yield* expectState("Closed")
    yield* play("FFFFF")
    yield* expectState("Open")
    yield* pass({ key: key(0) })
  })
})

const refused = (scope: "key" | "name") => (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isSuccess(exit) ? Outcome.success : Outcome.failure({ scope, detail: "HTTP 401" })

const failAs = (scope: "key" | "name", which: string) =>
  Effect.exit(CircuitBreaker.protect(Effect.fail("no"), "api", { key: which, classify: refused(scope) }))

for (const [title, policy] of [
  ["with a span", span],
  ["without a span", { cooldown: "10 seconds" }]
] as const) {
  describe(`A failure with the scope name, ${title},`, () => {
    scenario("counts for the name and not for its key", policy, function* () {
      yield* Effect.forEach(Array.from({ length: 4 }), () => failAs("name", "a"))
      const [name, own] = [yield* inspect(), yield* inspect({ key: "a" })]
      assert.deepStrictEqual([name.streak, own.streak, own.totals.failures], [4, 0, 4])
      assert.strictEqual(name.lastFailures.at(-1)?.error, "HTTP 401")
      yield* failAs("name", "b")
      const open = yield* reject({ key: "c" })
      assert.deepStrictEqual([open.key, open.detail], [undefined, "5 failures in a row (limit 5)"])
      yield* TestClock.adjust("10 seconds")
      yield* pass({ key: "c" })
      yield* pass({ key: "a" })
    })

    scenario("no longer counts after a success with any key", policy, function* () {
      for (let i = 0; i < 40; i++) {
        yield* Effect.forEach(Array.from({ length: 4 }), () => failAs("name", "a"))
        yield* Effect.forEach(Array.from({ length: 12 }), (_, j) => pass({ key: key(j) }))
      }
      yield* expectState("Closed")
    })

    scenario("returns the lease of a probe of its key", policy, function* () {
      yield* play("FFFFF", { key: "a" })
      yield* TestClock.adjust("10 seconds")
      yield* failAs("name", "a")
      const { probing, state } = yield* inspect({ key: "a" })
      assert.deepStrictEqual([state, probing], ["HalfOpen", 0])
      yield* pass({ key: "a" })
      yield* expectState("Closed", { key: "a" })
    })

    scenario("of a call that began before the name closed changes nothing", policy, function* () {
      const late = yield* Effect.forEach(Array.from({ length: 5 }), (_, i) =>
        Effect.forkChild(
          Effect.exit(
            CircuitBreaker.protect(Effect.andThen(Effect.sleep("15 seconds"), Effect.fail("no")), "api", {
              key: key(i),
              classify: refused("name")
            })
          ),
          { startImmediately: true }
        )
      )
      yield* Effect.forEach(Array.from({ length: 5 }), () => failAs("name", "a"))
      yield* TestClock.adjust("10 seconds")
      yield* pass({ key: "c" })
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.joinAll(late)
      yield* expectState("Closed")
    })
  })
}

describe("A reload", () => {
  it.effect("turns the span on and off", () => {
    let on = false
    const load = Effect.sync(() => ({ default: { span: on, cooldown: "10 seconds" } }))
    return Effect.gen(function* () {
      yield* outage()
      yield* expectState("Closed")
      on = true
      yield* BreakerPolicy.reload
      yield* Effect.forEach(Array.from({ length: 34 }), (_, i) => fail({ key: `n${i}` }))
      yield* reject({ key: "n0" })
      on = false
      yield* BreakerPolicy.reload
      yield* pass({ key: "n0" })
      on = true
      yield* BreakerPolicy.reload
      yield* reject({ key: "n0" })
    }).pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(BreakerPolicy.layerReloading(load)))
  })
})
