import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, type CircuitOpen, CircuitPool, Outcome, Trip } from "effect-fuse"
import { expectState, quick, recordEvents, rejectionIn, scenario, times } from "./support/verbs.ts"

const abc = CircuitPool.make("api", { members: ["a", "b", "c"], choose: "roundRobin" })
const inOrder = CircuitPool.make("api", { members: ["a", "b", "c"], choose: "inOrder" })

/** Which member was called. */
const called = (pool: CircuitPool.CircuitPool<string>) => CircuitPool.call(pool, Effect.succeed)

/** Opens the circuits of these members. */
const down = (...members: ReadonlyArray<string>) =>
  Effect.forEach(members, (key) => Effect.exit(CircuitBreaker.protect(Effect.fail("boom"), "api", { key })))

describe("a pool calls", () => {
  scenario("each in its turn", quick, function* () {
    const pool = CircuitPool.make("api", { members: ["a", "b", "c"], choose: "roundRobin" })
    assert.deepStrictEqual(yield* times(6, called(pool)), ["a", "b", "c", "a", "b", "c"])
  })

  scenario("no member whose circuit is open, and the others in turn", quick, function* () {
    const pool = CircuitPool.make("api", { members: ["a", "b", "c"], choose: "roundRobin" })
    yield* down("b")
    const names = yield* times(6, called(pool))
    assert.sameMembers([...new Set(names)], ["a", "c"])
    const { totals } = yield* CircuitBreaker.inspect("api", { key: "b" })
    assert.strictEqual(totals.rejected, 0, "a member that is not called rejects no call")
  })

  scenario("in order: the first, or else the next that lets calls through", quick, function* () {
    assert.deepStrictEqual(yield* times(2, called(inOrder)), ["a", "a"])
    yield* down("a")
    assert.deepStrictEqual(yield* times(2, called(inOrder)), ["b", "b"])
    yield* down("b")
    assert.strictEqual(yield* called(inOrder), "c")
  })

  scenario("in the order of the list, whatever the names", quick, function* () {
    const pool = CircuitPool.make("api", { members: ["10", "9", "b", "1"], choose: "inOrder" })
    assert.strictEqual(yield* called(pool), "10")
    assert.deepStrictEqual(pool.members, ["10", "9", "b", "1"])
  })

  scenario("a member whose cooldown is over is probed, and closes", quick, function* () {
    yield* down("a")
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(yield* called(inOrder), "a")
    yield* expectState("Closed", { key: "a" })
  })

  scenario("while one is probed, the others are called", quick, function* () {
    yield* down("a")
    yield* TestClock.adjust("10 seconds")
    const probe = yield* Effect.forkChild(
      CircuitPool.call(inOrder, () => Effect.never),
      { startImmediately: true }
    )
    yield* expectState("HalfOpen", { key: "a" })
    assert.strictEqual(yield* called(inOrder), "b")
    yield* Fiber.interrupt(probe)
  })

  scenario("the one with the fewest calls in flight, when asked for", quick, function* () {
    const pool = CircuitPool.make("api", { members: ["a", "b"], choose: "leastBusy" })
    const answer = yield* Deferred.make<void>()
    const names: Array<string> = []
    const hold = CircuitPool.call(pool, (name) => {
      names.push(name)
      return Deferred.await(answer)
    })
    const fibers = yield* Effect.forEach([1, 2, 3, 4], () => Effect.forkChild(hold, { startImmediately: true }))
    assert.strictEqual(names.filter((name) => name === "a").length, 2)
    assert.strictEqual(names.filter((name) => name === "b").length, 2)
    yield* Deferred.succeed(answer, undefined)
    yield* Effect.forEach(fibers, Fiber.join)
  })

  for (const [what, input, out] of [
    ["disabled", quick, CircuitBreaker.disable("api", { key: "a" })],
    ["switched off", { ...quick, enabled: false }, Effect.void]
  ] as const) {
    scenario(`the one with the fewest calls, those of one that is ${what} as well`, input, function* () {
      const pool = CircuitPool.make("api", { members: ["a", "b"], choose: "leastBusy" })
      yield* out
      const names: Array<string> = []
      const fibers = yield* Effect.forEach(Array.from({ length: 10 }), () =>
        Effect.forkChild(
          CircuitPool.call(pool, (name) => {
            names.push(name)
            return Effect.never
          }),
          { startImmediately: true }
        )
      )
      assert.strictEqual(names.filter((name) => name === "a").length, 5)
      // Those of one that end are in flight no more.
      yield* Effect.forEach(fibers, (fiber, i) => (names[i] === "b" ? Fiber.interrupt(fiber) : Effect.void))
      assert.deepStrictEqual(yield* times(3, called(pool)), ["b", "b", "b"])
    })
  }

  scenario(
    "one whose circuit only observes, and would be open, when there is no other",
    {
      ...quick,
      mode: "observe"
    },
    function* () {
      yield* down("a")
      assert.deepStrictEqual(yield* times(2, called(inOrder)), ["b", "b"])
      yield* down("b", "c")
      assert.strictEqual(yield* called(inOrder), "a")
    }
  )

  scenario("the remaining members equally often, whichever are out", quick, function* () {
    const pool = CircuitPool.make("api", { members: ["a", "b", "c", "d", "e"], choose: "roundRobin" })
    yield* down("b", "c")
    const names = yield* times(300, called(pool))
    assert.deepStrictEqual(
      ["a", "d", "e"].map((name) => names.filter((one) => one === name).length),
      [100, 100, 100]
    )
  })

  scenario("what its calls are given is what its members have", quick, function* () {
    const pool = CircuitPool.make("api", { members: { eu: { port: 1 }, us: { port: 2 } }, choose: "roundRobin" })
    const seen = yield* times(
      2,
      CircuitPool.call(pool, (member, name) => Effect.succeed([name, member.port]))
    )
    assert.deepStrictEqual(seen, [
      ["eu", 1],
      ["us", 2]
    ])
  })
})

describe("when no circuit of a pool lets calls through", () => {
  scenario("the rejection is that of the one that will first", quick, function* () {
    yield* down("b")
    yield* TestClock.adjust("4 seconds")
    yield* down("a", "c")
    const open = rejectionIn(yield* Effect.exit(called(abc)))
    assert.strictEqual(open.key, "b")
    assert.strictEqual(Duration.toMillis(open.retryAfter), 6_000)
    yield* TestClock.adjust(open.retryAfter)
    assert.strictEqual(yield* called(abc), "b")
  })

  scenario("an isolated one is the last to be hoped for", quick, function* () {
    yield* Effect.forEach(["a", "b"], (key) => CircuitBreaker.isolate("api", { key }))
    yield* down("c")
    assert.strictEqual(rejectionIn(yield* Effect.exit(called(abc))).key, "c")
  })

  scenario("it is rejected once, and not once for each member", quick, function* () {
    yield* down("a", "b", "c")
    yield* times(3, Effect.exit(called(abc)))
    const { circuits } = yield* CircuitPool.health(abc)
    assert.strictEqual(
      circuits.reduce((sum, one) => sum + one.totals.rejected, 0),
      3
    )
  })
})

describe("a call of a pool", () => {
  scenario(
    "that a circuit rejects, although it seemed to let calls through, is made with the next",
    {
      ...quick,
      ramp: "10 seconds"
    },
    function* () {
      yield* down("a")
      yield* CircuitBreaker.close("api", { key: "a" })
      // The first call after a close passes, the second is too many for the ramp.
      assert.deepStrictEqual(yield* times(2, called(inOrder)), ["a", "b"])
    }
  )

  scenario("that has begun is made with no other", quick, function* () {
    const names: Array<string> = []
    const failing = CircuitPool.call(inOrder, (name) => {
      names.push(name)
      return Effect.fail("boom")
    })
    assert.deepStrictEqual(yield* Effect.exit(failing), Exit.fail("boom"))
    assert.deepStrictEqual(names, ["a"])
    yield* expectState("Open", { key: "a" })
    yield* expectState("Closed", { key: "b" })
  })

  scenario("that fails with the rejection of another circuit is not made again", quick, function* () {
    yield* CircuitBreaker.isolate("inner")
    const names: Array<string> = []
    const nested = CircuitPool.call(inOrder, (name) => {
      names.push(name)
      return CircuitBreaker.protect(Effect.void, "inner")
    })
    assert.strictEqual(rejectionIn(yield* Effect.exit(nested)).circuit, "inner")
    assert.deepStrictEqual(names, ["a"])
    yield* expectState("Closed", { key: "a" })
  })

  scenario("is classified by its options", quick, function* () {
    const failing = (error: string) =>
      Effect.exit(CircuitPool.call(inOrder, () => Effect.fail(error), { isFailure: (one) => one === "down" }))
    yield* failing("not found")
    yield* expectState("Closed", { key: "a" })
    yield* failing("down")
    yield* expectState("Open", { key: "a" })
    yield* Effect.exit(CircuitPool.call(inOrder, () => Effect.void, { classify: () => Outcome.failure() }))
    yield* expectState("Open", { key: "b" })
  })

  scenario("that is interrupted leaves nothing behind", quick, function* () {
    const fiber = yield* Effect.forkChild(
      CircuitPool.call(inOrder, () => Effect.never),
      { startImmediately: true }
    )
    yield* Fiber.interrupt(fiber)
    const { inFlight, totals } = yield* CircuitBreaker.inspect("api", { key: "a" })
    assert.deepStrictEqual([inFlight, totals.ignored], [0, 1])
  })

  it.effect("has the policy of its pool", () =>
    Effect.gen(function* () {
      const pool = CircuitPool.make("api", { members: ["a"], policy: { trip: Trip.consecutive(1) } })
      yield* Effect.exit(CircuitPool.call(pool, () => Effect.fail("boom")))
      yield* expectState("Open", { key: "a" })
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  it("has the types of its function, and one error more", () => {
    const pool = CircuitPool.make("api", { members: { eu: { port: 1 } } })
    const call = CircuitPool.call(pool, ({ port }) => (port > 1 ? Effect.fail("no" as const) : Effect.succeed(port)))
    expectTypeOf(call).toEqualTypeOf<Effect.Effect<number, "no" | CircuitOpen.CircuitOpen, BreakerStore.BreakerStore>>()
    const later = CircuitPool.call((host: string) => Effect.succeed(host.length))(
      CircuitPool.make("api", { members: ["a", "b"] })
    )
    expectTypeOf(later).toEqualTypeOf<Effect.Effect<number, CircuitOpen.CircuitOpen, BreakerStore.BreakerStore>>()
    interface Hosts {
      readonly eu: string
      readonly us: string
    }
    const hosts: Hosts = { eu: "a", us: "b" }
    expectTypeOf(CircuitPool.make("api", { members: hosts })).toEqualTypeOf<CircuitPool.CircuitPool<string, Hosts>>()
    // @ts-expect-error A pool of numbers must say what its members are called.
    assert.throws(() => CircuitPool.make("api", { members: [1, 2] }), /members/)
  })
})

describe("all of a pool", () => {
  scenario("is reset in one transaction: no fiber sees one member reset and another not", quick, function* () {
    const names = Array.from({ length: 2_000 }, (_, i) => `m${i}`)
    const pool = CircuitPool.make("api", { members: names })
    yield* down(...names)
    const [first = "", last = ""] = [names[0], names.at(-1)]
    const waiting = yield* Effect.forkChild(
      Effect.andThen(CircuitBreaker.awaitClosed("api", { key: first }), CircuitBreaker.state("api", { key: last })),
      { startImmediately: true }
    )
    yield* CircuitPool.resetAll(pool, { reason: "new hosts", actor: "ann" })
    assert.strictEqual(yield* Fiber.join(waiting), "Closed")
    const { circuits, healthy } = yield* CircuitPool.health(pool)
    assert.strictEqual(healthy, 2_000)
    assert.deepStrictEqual([...new Set(circuits.map((one) => one.openings))], [0])
  })

  scenario("emits for each member that it was reset, with actor and reason", quick, function* () {
    yield* down("a", "b")
    const events = yield* recordEvents
    yield* CircuitPool.resetAll(abc, { reason: "new hosts", actor: "ann" })
    const said = (yield* events).flatMap((event) =>
      event._tag === "Transition" ? [[event.key, event.from, event.to, event.why, event.detail, event.actor]] : []
    )
    assert.deepStrictEqual(said, [
      ["a", "Open", "Closed", "Reset", "new hosts", "ann"],
      ["b", "Open", "Closed", "Reset", "new hosts", "ann"],
      ["c", "Closed", "Closed", "Reset", "new hosts", "ann"]
    ])
  })

  it.effect("shows the policy of its pool, also before the first call", () =>
    Effect.gen(function* () {
      const pool = CircuitPool.make("other", { members: ["a"], policy: { mode: "observe" } })
      const mode = Effect.map(CircuitPool.health(pool), ({ circuits }) => circuits[0]?.mode)
      assert.strictEqual(yield* mode, "observe")
      yield* called(pool)
      assert.strictEqual(yield* mode, "observe")
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  scenario("loses its overrides with that", quick, function* () {
    yield* CircuitBreaker.isolate("api", { key: "a" })
    yield* CircuitPool.resetAll(abc)
    yield* expectState("Closed", { key: "a" })
  })

  scenario(
    "is looked at in one moment: how many are healthy, and how much fails",
    {
      trip: Trip.failures({ atLeast: 3, of: 10 })
    },
    function* () {
      assert.deepInclude(yield* CircuitPool.health(abc), { healthy: 3, total: 3, failureRate: undefined })
      yield* times(3, down("a"))
      yield* Effect.exit(CircuitBreaker.protect(Effect.void, "api", { key: "b" }))
      yield* down("b")
      yield* CircuitBreaker.disable("api", { key: "c" })
      const { circuits, failureRate, healthy, total } = yield* CircuitPool.health(abc)
      // The mean of the half of b and of a, which has opened.
      assert.deepStrictEqual([healthy, total, failureRate], [2, 3, 0.75])
      assert.deepStrictEqual(
        circuits.map((one) => [one.key, one.state]),
        [
          ["a", "Open"],
          ["b", "Closed"],
          ["c", "Disabled"]
        ]
      )
    }
  )
})

describe("a pool that cannot be", () => {
  it.each([
    ["", { members: ["a"] }, "name"],
    ["api", {}, "members"],
    ["api", { members: [] }, "members"],
    ["api", { members: {} }, "members"],
    ["api", { members: ["a", "a"] }, "members"],
    ["api", { members: [""] }, "members"],
    ["api", { members: ["x".repeat(513)] }, "members"],
    ["api", { members: "a" }, "members"],
    ["api", { members: ["a"], choose: "random" }, "choose"],
    ["api", { members: ["a"], policies: {} }, "policies"],
    ["api", { members: ["a"], policy: { cooldown: "soon" } }, "cooldown"],
    ["api", undefined, "members"]
  ] as const)("%j with %j names what is wrong: %s", (name, options, says) => {
    assert.throws(() => CircuitPool.make(name, options as never), new RegExp(says))
  })

  it("is not used: what is no pool, and what is no function, are named", () => {
    assert.throws(() => CircuitPool.call({} as never, () => Effect.void), /CircuitPool.call: pool: expected a pool/)
    assert.throws(() => CircuitPool.call(abc, 1 as never), /f: expected a function/)
    assert.throws(() => CircuitPool.health(1 as never), /CircuitPool.health: pool: expected a pool/)
    assert.throws(() => CircuitPool.resetAll("api" as never), /CircuitPool.resetAll: pool: expected a pool/)
  })
})
