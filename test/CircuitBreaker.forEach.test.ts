/** Never opens by itself. */

import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Arbitrary, Context, Deferred, Effect, type Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, type CircuitOpen, Outcome, Tenant, Trip } from "effect-fuse"
import { endOf, endsOf, opened, recovering, timed, upTo } from "./support/batches.ts"
import { expectState, inspect, quick, rejectionIn, scenario, settings } from "./support/verbs.ts"

/** Never opens by itself. */
const calm: BreakerPolicy.Input = { ...quick, trip: Trip.consecutive(1_000_000) }

describe("Each item has its end, in the order of the items", () => {
  const boom = new Error("boom")
  const ends: ReadonlyArray<Effect.Effect<string, string>> = [
    Effect.succeed("a"),
    Effect.fail("no"),
    Effect.die(boom),
    Effect.interrupt,
    Effect.succeed("e")
  ]
  for (const concurrency of [1, 2, 5, "unbounded"] as const) {
    scenario(`results, errors, defects and interruptions, ${concurrency} at once`, calm, function* () {
      const f = (i: number) => Effect.delay(ends[i] ?? Effect.never, `${5 - i} seconds`)
      const batch = CircuitBreaker.forEach(upTo(5), f, { name: "api", concurrency })
      const [all] = yield* timed(endsOf(batch))
      assert.deepStrictEqual(all, ["a", "no", boom, "interrupted", "e"])
      const { calls, failures, ignored, rejected, successes } = (yield* inspect()).totals
      assert.deepStrictEqual([calls, successes, failures, ignored, rejected], [5, 2, 2, 1, 0])
    })
  }

  scenario("no items have no ends, and make no circuit", quick, function* () {
    for (const concurrency of [1, 3, "unbounded"] as const) {
      const none = yield* CircuitBreaker.forEach([], () => Effect.die("called"), { name: "api", concurrency })
      assert.deepStrictEqual(none, [])
    }
    assert.deepStrictEqual(yield* CircuitBreaker.list, [])
    yield* opened
    assert.deepStrictEqual(yield* CircuitBreaker.forEach([], () => Effect.die("called"), { name: "api" }), [])
    assert.strictEqual((yield* inspect()).totals.rejected, 0)
  })

  scenario("items may be of any iterable, and f and onOpen are given the index", quick, function* () {
    const generate = function* () {
      yield* "ab"
      yield "c"
    }
    const f = (item: string, index: number) => Effect.succeed(`${item}${index}`)
    const onOpen = (item: string, _: unknown, index: number) => Effect.succeed(`${item}${index}!`)
    for (const items of [
      generate(),
      new Set("abc"),
      new Map([
        ["a", 0],
        ["b", 1],
        ["c", 2]
      ]).keys(),
      "abc"
    ]) {
      const all = yield* endsOf(CircuitBreaker.forEach(items, f, { name: "api", concurrency: 2 }))
      assert.deepStrictEqual(all, ["a0", "b1", "c2"])
    }
    yield* opened
    const rest = yield* endsOf(CircuitBreaker.forEach(generate(), f, { name: "api", onOpen }))
    assert.deepStrictEqual(rest, ["a0!", "b1!", "c2!"])
  })

  scenario("a list may be run again, and is read each time", quick, function* () {
    const items = [1, 2]
    const batch = CircuitBreaker.forEach(items, Effect.succeed, { name: "api" })
    assert.deepStrictEqual(yield* endsOf(batch), [1, 2])
    items.push(3)
    assert.deepStrictEqual(yield* endsOf(batch), [1, 2, 3])
    yield* opened
    assert.deepStrictEqual(yield* endsOf(batch), ["Cooldown", "Cooldown", "Cooldown"])
    yield* CircuitBreaker.reset("api")
    assert.deepStrictEqual(yield* endsOf(batch), [1, 2, 3])
  })

  scenario("an f that throws is a defect of its item", calm, function* () {
    const thrown = new Error("thrown")
    const f = (i: number): Effect.Effect<number> => {
      if (i === 1) throw thrown
      return Effect.succeed(i)
    }
    const all = yield* endsOf(CircuitBreaker.forEach(upTo(3), f, { name: "api" }))
    assert.deepStrictEqual(all, [0, thrown, 2])
    assert.strictEqual((yield* inspect()).totals.failures, 1)
  })

  const mix = Arbitrary.array(Arbitrary.schema(Schema.Literals(["success", "error", "defect", "interrupt", "later"])), {
    maxLength: 30
  })
  it.effect.prop(
    "whatever the mix, the concurrency and the state, every item has one result and at most one call",
    [
      mix,
      Arbitrary.schema(Schema.Literals([1, 2, 3, 4, 5, 6, 7, 8, "unbounded"])),
      Arbitrary.schema(Schema.Literals(["Closed", "Open", "HalfOpen", "Isolated", "Disabled"])),
      Arbitrary.schema(Schema.Literals([1, 2, 3])),
      Arbitrary.schema(Schema.Literals([true, false]))
    ],
    ([kinds, concurrency, begins, limit, fallsBack]) =>
      Effect.gen(function* () {
        if (begins === "Open" || begins === "HalfOpen") yield* CircuitBreaker.open("api")
        if (begins === "HalfOpen") yield* TestClock.adjust("10 seconds")
        if (begins === "Isolated") yield* CircuitBreaker.isolate("api")
        if (begins === "Disabled") yield* CircuitBreaker.disable("api")
        const called = new Map<number, number>()
        const rejected = new Set<number>()
        const f = (kind: string, index: number) =>
          Effect.suspend((): Effect.Effect<string, string> => {
            called.set(index, (called.get(index) ?? 0) + 1)
            if (kind === "success") return Effect.succeed(`success ${index}`)
            if (kind === "error") return Effect.fail(`error ${index}`)
            if (kind === "defect") return Effect.die(`defect ${index}`)
            if (kind === "interrupt") return Effect.interrupt
            return Effect.delay(Effect.succeed(`later ${index}`), "1 second")
          })
        const onOpen = (_: string, __: unknown, index: number) =>
          Effect.sync(() => {
            rejected.add(index)
            return "instead"
          })
        const options = { name: "api", concurrency }
        const batch: Effect.Effect<
          ReadonlyArray<Exit.Exit<string, string | CircuitOpen.CircuitOpen>>,
          never,
          BreakerStore.BreakerStore
        > = fallsBack
          ? CircuitBreaker.forEach(kinds, f, { ...options, onOpen })
          : CircuitBreaker.forEach(kinds, f, options)
        const [all] = yield* timed(endsOf(batch))
        const expected = kinds.map((kind, index) => {
          if (called.get(index) === 1) return kind === "interrupt" ? "interrupted" : `${kind} ${index}`
          return fallsBack && rejected.has(index) ? "instead" : all[index]
        })
        assert.deepStrictEqual(all, expected)
        assert.strictEqual(all.length, kinds.length)
        for (const [index, end] of all.entries()) {
          if (!called.has(index)) assert.include(["instead", "Cooldown", "ProbesBusy", "Isolated"], end)
        }
        if (begins === "Open" || begins === "Isolated") assert.strictEqual(called.size, 0)
        if (begins === "Disabled") assert.strictEqual(called.size, kinds.length)
        const { inFlight, totals } = yield* inspect()
        assert.strictEqual(inFlight, 0)
        assert.isAtMost(totals.rejected, 1)
        assert.strictEqual(totals.calls + totals.passed, called.size)
      }).pipe(
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(BreakerPolicy.layer(settings({ ...quick, trip: Trip.consecutive(limit) }))),
        Effect.as(true)
      ),
    { arbitrary: { runs: 300, size: 30 } }
  )
})

describe("Many items", () => {
  const n = 10_000
  const cases: ReadonlyArray<
    readonly [string, BreakerPolicy.Input, Effect.Effect<unknown, never, BreakerStore.BreakerStore>, unknown]
  > = [
    ["Closed", quick, Effect.void, 0],
    ["HalfOpen until it closes", { ...quick, successesToClose: 2 }, recovering, 0],
    ["HalfOpen all the time", { ...quick, successesToClose: 1_000_000 }, recovering, 0],
    ["Open", quick, opened, "Cooldown"],
    ["Isolated", quick, CircuitBreaker.isolate("api"), "Isolated"],
    ["Disabled", quick, CircuitBreaker.disable("api"), 0]
  ]
  for (const [what, policy, before, first] of cases) {
    for (const concurrency of [1, 8, "unbounded"] as const) {
      scenario(`${what}, ${concurrency} at once: each has its end`, policy, function* () {
        yield* before
        const all = yield* endsOf(CircuitBreaker.forEach(upTo(n), Effect.succeed, { name: "api", concurrency }))
        assert.strictEqual(all.length, n)
        assert.strictEqual(all[0], first)
        assert.isTrue(all.every((one, i) => one === (first === 0 ? i : first)))
      })
    }
  }

  it.effect(
    "fifty thousand have their ends in little time, also while the circuit is not Closed",
    () =>
      Effect.gen(function* () {
        yield* CircuitBreaker.disable("api")
        const all = yield* endsOf(CircuitBreaker.forEach(upTo(50_000), Effect.succeed, { name: "api" }))
        assert.isTrue(all.every((one, i) => one === i))
      }).pipe(Effect.provide(BreakerStore.layerMemory)),
    4000
  )
})

describe("A batch that is interrupted", () => {
  for (const [what, before] of [
    ["Closed", Effect.void],
    ["HalfOpen", recovering]
  ] as const) {
    scenario(`interrupts all that runs, gives back every place and begins nothing more: ${what}`, quick, function* () {
      yield* before
      const begun = yield* Deferred.make<void>()
      const ended: Array<string> = []
      const f = (i: number) =>
        Effect.onExit(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never), (exit) =>
          Effect.sync(() => ended.push(`${i} ${endOf(exit)}`))
        )
      const batch = CircuitBreaker.forEach(upTo(9), f, { name: "api", concurrency: 3 })
      const fiber = yield* Effect.forkChild(batch, { startImmediately: true })
      yield* Deferred.await(begun)
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      const expected = what === "Closed" ? ["0 interrupted", "1 interrupted", "2 interrupted"] : ["0 interrupted"]
      assert.deepStrictEqual(ended.sort(), expected)
      const { inFlight, probing, totals } = yield* inspect()
      assert.deepStrictEqual([inFlight, probing, totals.ignored], [0, 0, expected.length])
    })
  }

  scenario("interrupts onOpen as well", quick, function* () {
    yield* opened
    let interrupted = 0
    const onOpen = () =>
      Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          interrupted++
        })
      )
    const batch = CircuitBreaker.forEach(upTo(9), () => Effect.void, { name: "api", concurrency: 3, onOpen })
    const fiber = yield* Effect.forkChild(batch, { startImmediately: true })
    yield* TestClock.adjust("1 second")
    yield* Fiber.interrupt(fiber)
    assert.isAtLeast(interrupted, 1)
  })
})

describe("A CircuitOpen from within f", () => {
  scenario("of another circuit is its item's error, and stops nothing", quick, function* () {
    yield* CircuitBreaker.open("inner")
    const f = (i: number) => (i % 2 === 0 ? Effect.succeed(i) : CircuitBreaker.protect(Effect.succeed(i), "inner"))
    for (const concurrency of [1, 3] as const) {
      const onOpen = () => Effect.succeed("instead")
      const all = yield* endsOf(CircuitBreaker.forEach(upTo(4), f, { name: "api", concurrency, onOpen }))
      assert.deepStrictEqual(all, [0, "Cooldown", 2, "Cooldown"])
    }
    assert.strictEqual((yield* inspect()).totals.rejected, 0)
    yield* expectState("Closed")
  })

  scenario("that f makes itself, for this very circuit, stops nothing either", quick, function* () {
    const open = rejectionIn(
      yield* Effect.andThen(CircuitBreaker.open("other"), Effect.exit(CircuitBreaker.protect(Effect.void, "other")))
    )
    const f = (i: number) => (i === 1 ? Effect.fail(open) : Effect.succeed(i))
    assert.deepStrictEqual(yield* endsOf(CircuitBreaker.forEach(upTo(3), f, { name: "api" })), [0, "Cooldown", 2])
  })
})

describe("Options", () => {
  scenario("a key is a circuit of its own", quick, function* () {
    yield* CircuitBreaker.open("api", { key: "eu" })
    const ends = (key: string | undefined) =>
      endsOf(CircuitBreaker.forEach([1], Effect.succeed, { name: "api", ...(key === undefined ? {} : { key }) }))
    assert.deepStrictEqual([yield* ends("eu"), yield* ends("us"), yield* ends(undefined)], [["Cooldown"], [1], [1]])
  })

  scenario("a tenant has its own circuit with tenants: separate", { ...quick, tenants: "separate" }, function* () {
    const failing = CircuitBreaker.forEach([1, 2], () => Effect.fail("boom"), { name: "api", concurrency: 2 })
    const passing = CircuitBreaker.forEach([1, 2], Effect.succeed, { name: "api", concurrency: 2 })
    assert.deepStrictEqual(yield* endsOf(failing.pipe(Tenant.within("a"))), ["boom", "Cooldown"])
    assert.deepStrictEqual(yield* endsOf(passing.pipe(Tenant.within("a"))), ["Cooldown", "Cooldown"])
    assert.deepStrictEqual(yield* endsOf(passing.pipe(Tenant.within("b"))), [1, 2])
  })

  scenario("ends are read as in protect", calm, function* () {
    const f = (i: number) => (i === 0 ? Effect.fail("missing") : i === 1 ? Effect.fail("busy") : Effect.fail("down"))
    yield* CircuitBreaker.forEach(upTo(3), f, {
      name: "api",
      isFailure: (error) => error === "down",
      isIgnored: (error) => error === "busy"
    })
    yield* CircuitBreaker.forEach(upTo(2), f, { name: "api", classify: () => Outcome.ignored })
    const { failures, ignored, successes } = (yield* inspect()).totals
    assert.deepStrictEqual([failures, ignored, successes], [1, 3, 1])
  })

  it("that are wrong throw at once, and the error names the field", () => {
    // biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
    const forEach = CircuitBreaker.forEach as any
    const f = () => Effect.void
    const cases: ReadonlyArray<readonly [options: unknown, field: RegExp]> = [
      [{}, /forEach.*name/],
      [{ name: "" }, /forEach.*name/],
      [{ name: "api", key: 5 }, /forEach.*key/],
      [{ name: "api", concurrency: 0 }, /forEach.*concurrency/],
      [{ name: "api", concurrency: 1.5 }, /forEach.*concurrency/],
      [{ name: "api", concurrency: Number.NaN }, /forEach.*concurrency/],
      [{ name: "api", concurrency: "inherit" }, /forEach.*concurrency/],
      [{ name: "api", onOpen: "no" }, /forEach.*onOpen/],
      [{ name: "api", onOpen: Effect.void }, /forEach.*onOpen/],
      [{ name: "api", isFailure: 1 }, /forEach.*isFailure/],
      [{ name: "api", classify: f, isFailure: f }, /forEach.*classify/]
    ]
    for (const [options, field] of cases) {
      assert.throws(() => forEach([1], f, options), RangeError, field)
    }
    assert.throws(() => forEach([1], f, { name: "api", policy: { probes: 0 } }), /probes/)
  })

  it("missing options, f or items throw an error that names them", () => {
    // biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
    const forEach = CircuitBreaker.forEach as any
    assert.throws(() => forEach([1], () => Effect.void), /CircuitBreaker\.forEach/)
    assert.throws(() => forEach([1], undefined, { name: "api" }), /CircuitBreaker\.forEach/)
    assert.throws(() => forEach(5, () => Effect.void, { name: "api" }), /CircuitBreaker\.forEach/)
  })

  it("the types are those of f and of onOpen", () => {
    class Http extends Context.Service<Http, number>()("test/forEach/Http") {}
    class Health extends Context.Service<Health, number>()("test/forEach/Health") {}
    class Queue extends Context.Service<Queue, number>()("test/forEach/Queue") {}
    const f = (i: number) => Effect.andThen(Http, i > 0 ? Effect.succeed("a") : Effect.fail(1 as const))
    type Store = BreakerStore.BreakerStore
    const plain = CircuitBreaker.forEach([1], f, { name: "api" })
    expectTypeOf(plain).toEqualTypeOf<
      Effect.Effect<ReadonlyArray<Exit.Exit<string, 1 | CircuitOpen.CircuitOpen>>, never, Http | Store>
    >()
    const full = CircuitBreaker.forEach([1], f, {
      name: "api",
      classify: (exit) => {
        expectTypeOf(exit).toEqualTypeOf<Exit.Exit<string, 1>>()
        return Effect.as(Health, Outcome.success)
      },
      onOpen: (item, open, index) => {
        expectTypeOf([item, open, index] as const).toEqualTypeOf<readonly [number, CircuitOpen.CircuitOpen, number]>()
        return Effect.andThen(Queue, item > 0 ? Effect.succeed(true) : Effect.fail(2 as const))
      }
    })
    expectTypeOf(full).toEqualTypeOf<
      Effect.Effect<ReadonlyArray<Exit.Exit<string | boolean, 1 | 2>>, never, Http | Health | Queue | Store>
    >()
  })
})
