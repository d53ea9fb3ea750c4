import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Context, Effect, ExecutionPlan, Exit, Fiber, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, Bulkhead, CircuitBreaker, CircuitOpen, Outcome, Resilience, Tenant } from "effect-fuse"
import { expectState, inspect, quick, rejectionIn, scenario } from "./support/verbs.ts"

/** A way that notes that it was called. */
const ways = () => {
  const called: Array<string> = []
  const way = <A, E>(name: string, end: Effect.Effect<A, E>) => ({
    name,
    call: Effect.suspend(() => {
      called.push(name)
      return end
    })
  })
  return { called, way }
}

const totals = (name: string) =>
  Effect.map(inspect({ name }), ({ totals: { calls, failures, rejected } }) => [calls, failures, rejected])

describe("A cascade", () => {
  scenario("answers with the first way that succeeds, and calls no other", quick, function* () {
    const { called, way } = ways()
    const first = Resilience.cascade([way("a", Effect.succeed(1)), way("b", Effect.succeed(2))])
    assert.strictEqual(yield* first, 1)
    assert.deepStrictEqual(called, ["a"])
    const second = Resilience.cascade([
      way("a", Effect.fail("no")),
      way("b", Effect.succeed(2)),
      way("c", Effect.succeed(3))
    ])
    assert.strictEqual(yield* second, 2)
    assert.deepStrictEqual(called, ["a", "a", "b"])
  })

  scenario(
    "has a circuit for each way: one that is open is not called, and costs only a rejection",
    quick,
    function* () {
      const { called, way } = ways()
      const cascade = Resilience.cascade([
        way("primary", Effect.delay(Effect.fail("down"), "2 seconds")),
        way("secondary", Effect.succeed("second"))
      ])
      const first = yield* Effect.forkChild(cascade, { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(first), "second")
      yield* expectState("Open", { name: "primary" })
      yield* expectState("Closed", { name: "secondary" })
      // No time goes by: the primary is not waited for.
      assert.strictEqual(yield* cascade, "second")
      assert.strictEqual(yield* cascade, "second")
      assert.deepStrictEqual(called, ["primary", "secondary", "secondary", "secondary"])
      assert.deepStrictEqual(yield* totals("primary"), [1, 1, 2])
      assert.deepStrictEqual(yield* totals("secondary"), [3, 0, 0])
    }
  )

  scenario("goes back to the primary when that has recovered", quick, function* () {
    let up = false
    const call = Effect.suspend(() => (up ? Effect.succeed("first") : Effect.fail("down")))
    const cascade = Resilience.cascade([
      { name: "primary", call },
      { name: "secondary", call: Effect.succeed("second") }
    ])
    assert.strictEqual(yield* cascade, "second")
    up = true
    assert.strictEqual(yield* cascade, "second")
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(yield* cascade, "first")
    yield* expectState("Closed", { name: "primary" })
  })

  scenario("fails as the last way does", quick, function* () {
    const { called, way } = ways()
    const cascade = Resilience.cascade([way("a", Effect.fail("first")), way("b", Effect.fail("second"))])
    assert.strictEqual(yield* Effect.flip(cascade), "second")
    const open = rejectionIn(yield* Effect.exit(cascade))
    assert.deepStrictEqual([open.circuit, open.reason], ["b", "Cooldown"])
    assert.deepStrictEqual(called, ["a", "b"])
  })

  scenario("with a default around it, or as the last way, fails with nothing", quick, function* () {
    const { way } = ways()
    const failing = [way("a", Effect.fail("first")), way("b", Effect.fail("second"))] as const
    const around = pipe(Resilience.cascade(failing), Resilience.fallback(Effect.succeed("default")))
    const last = Resilience.cascade([...failing, way("c", Effect.succeed("default"))])
    for (const cascade of [around, last]) {
      for (let i = 0; i < 3; i++) assert.strictEqual(yield* cascade, "default")
    }
    assert.deepStrictEqual(yield* totals("a"), [1, 1, 5])
    assert.deepStrictEqual(yield* totals("c"), [3, 0, 0])
  })

  scenario("of one way is that way under its circuit", quick, function* () {
    const cascade = Resilience.cascade([{ name: "a", call: Effect.fail("no") }], { while: () => assert.fail("asked") })
    assert.strictEqual(yield* Effect.flip(cascade), "no")
    assert.strictEqual(rejectionIn(yield* Effect.exit(cascade)).circuit, "a")
  })

  scenario(
    "goes on after what another policy rejected, and after a probe that took too long",
    {
      ...quick,
      probeTimeout: "1 second"
    },
    function* () {
      const full = Effect.fail("down")
      const { called, way } = ways()
      let end: Effect.Effect<string, string> = full
      const cascade = Resilience.cascade([
        way(
          "a",
          Effect.suspend(() => end)
        ),
        way("b", Effect.succeed("second"))
      ])
      assert.strictEqual(yield* cascade, "second")
      end = Effect.never
      yield* TestClock.adjust("10 seconds")
      const probing = yield* Effect.forkChild(cascade, { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(probing), "second")
      assert.deepStrictEqual(called, ["a", "b", "a", "b"])

      const places = yield* Bulkhead.make({ concurrency: 1 })
      const hanging = yield* Effect.forkChild(Bulkhead.limit(Effect.never, places), { startImmediately: true })
      const crowded = Resilience.cascade([
        { name: "c", call: Bulkhead.limit(Effect.succeed("first"), places) },
        { name: "d", call: Effect.succeed("second") }
      ])
      assert.deepStrictEqual(yield* Effect.exit(crowded), Exit.succeed("second"))
      yield* expectState("Closed", { name: "c" })
      yield* Fiber.interrupt(hanging)
    }
  )

  scenario("tries no other way after a defect, nor when it is interrupted", quick, function* () {
    const { called, way } = ways()
    const defect = new Error("bug")
    const dies = Resilience.cascade([way("a", Effect.die(defect)), way("b", Effect.succeed(2))])
    const died = yield* Effect.exit(dies)
    assert.deepStrictEqual(died, Exit.die(defect))
    const hangs = Resilience.cascade([way("c", Effect.never), way("d", Effect.succeed(2))])
    const fiber = yield* Effect.forkChild(hangs, { startImmediately: true })
    yield* Fiber.interrupt(fiber)
    assert.deepStrictEqual(called, ["a", "c"])
    assert.strictEqual((yield* inspect({ name: "c" })).inFlight, 0)
  })

  scenario("does not continue if `while` returns false, which is not asked about CircuitOpen", quick, function* () {
    const { called, way } = ways()
    const asked: Array<string> = []
    const cascade = (error: string) =>
      Resilience.cascade([way(`${error} a`, Effect.fail(error)), way("b", Effect.succeed("second"))], {
        while: (error) => {
          asked.push(error)
          return error !== "not found"
        }
      })
    assert.strictEqual(yield* Effect.flip(cascade("not found")), "not found")
    assert.strictEqual(yield* cascade("down"), "second")
    assert.deepStrictEqual(called, ["not found a", "down a", "b"])
    assert.deepStrictEqual(asked, ["not found", "down"])
    // Now both are open: not asked, and on to the next.
    assert.strictEqual(yield* cascade("not found"), "second")
    assert.deepStrictEqual(asked, ["not found", "down"])
  })

  scenario("a while that throws is a defect", quick, function* () {
    const thrown = new Error("thrown")
    const cascade = Resilience.cascade(
      [
        { name: "a", call: Effect.fail("no") },
        { name: "b", call: Effect.succeed(1) }
      ],
      {
        while: () => {
          throw thrown
        }
      }
    )
    assert.deepStrictEqual(yield* Effect.exit(cascade), Exit.die(thrown))
  })

  scenario(
    "each way has its own key, policy and classifier, and the tenant of the caller",
    {
      ...quick,
      tenants: "separate"
    },
    function* () {
      const cascade = Resilience.cascade([
        { name: "api", key: "eu", call: Effect.fail("down") },
        { name: "api", key: "us", call: Effect.fail("missing"), isFailure: (error: string) => error !== "missing" },
        { name: "asia", policy: { probes: 3 }, call: Effect.fail("slow"), classify: () => Outcome.ignored },
        { name: "last", call: Effect.succeed("last") }
      ])
      assert.strictEqual(yield* Tenant.within("acme")(cascade), "last")
      const states = (yield* CircuitBreaker.list).map(({ circuit, key, state, totals: { failures, ignored } }) =>
        [circuit, key, state, failures, ignored].join(" ")
      )
      assert.deepStrictEqual(states.sort(), [
        "api acme/eu Open 1 0",
        "api acme/us Closed 0 0",
        "asia acme Closed 0 1",
        "last acme Closed 0 0"
      ])
    }
  )

  it.effect("takes its ways as they were when it was made", () =>
    Effect.gen(function* () {
      const list: [Resilience.Way<number, string, never>] = [{ name: "a", call: Effect.succeed(1) }]
      const cascade = Resilience.cascade(list)
      list[0] = { name: "b", call: Effect.succeed(2) }
      assert.strictEqual(yield* cascade, 1)
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )
})

describe("What is wrong throws when a cascade is made, and the error names it", () => {
  // biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
  const cascade = Resilience.cascade as any
  const good = { name: "a", call: Effect.void }
  const cases: ReadonlyArray<readonly [what: string, ways: unknown, options: unknown, says: RegExp]> = [
    ["no list", undefined, undefined, /Resilience\.cascade: .*list/],
    ["a way that is not in a list", good, undefined, /Resilience\.cascade: .*list/],
    ["no ways", [], undefined, /Resilience\.cascade: .*list/],
    ["no call", [good, { name: "b" }], undefined, /ways\.1\.call/],
    ["a call that is a function", [{ name: "a", call: () => Effect.void }], undefined, /ways\.0\.call/],
    ["no name", [good, good, { call: Effect.void }], undefined, /ways\.2.*name/],
    ["an empty name", [{ name: "", call: Effect.void }], undefined, /ways\.0.*name/],
    ["a key that is no text", [{ ...good, key: 5 }], undefined, /ways\.0.*key/],
    ["a reading that is no function", [{ ...good, isFailure: true }], undefined, /ways\.0.*isFailure/],
    ["two readings", [{ ...good, isFailure: () => true, classify: () => Outcome.success }], undefined, /ways\.0/],
    ["a while that is no function", [good], { while: "yes" }, /while: expected a function/],
    ["an unknown option", [good], { until: () => true }, /until: unknown field/],
    ["options that are none", [good], 5, /Resilience\.cascade/]
  ]
  for (const [what, ways, options, says] of cases) {
    it(what, () => assert.throws(() => cascade(ways, options), RangeError, says))
  }
  it("a policy", () => assert.throws(() => cascade([{ ...good, policy: { probes: 0 } }]), /probes/))
  for (const way of [null, undefined, 5, "a"]) {
    it(`a way that is ${way}`, () => assert.throws(() => cascade([good, way]), RangeError, /ways\.1/))
  }
})

it("the types are those of all ways", () => {
  class Eu extends Context.Service<Eu, string>()("test/cascade/Eu") {}
  class Us extends Context.Service<Us, string>()("test/cascade/Us") {}
  const cascade = Resilience.cascade(
    [
      { name: "eu", call: Effect.andThen(Eu, Effect.fail("eu" as const)) },
      { name: "us", key: "x", call: Effect.as(Us, 42) },
      { name: "default", call: Effect.succeed(true) }
    ],
    {
      while: (error) => {
        expectTypeOf(error).toEqualTypeOf<"eu">()
        return true
      }
    }
  )
  expectTypeOf(cascade).toEqualTypeOf<
    Effect.Effect<number | boolean, "eu" | CircuitOpen.CircuitOpen, Eu | Us | BreakerStore.BreakerStore>
  >()
  const answered = pipe(cascade, Resilience.fallback(Effect.succeed("x")))
  expectTypeOf(answered).toEqualTypeOf<
    Effect.Effect<number | boolean | string, never, Eu | Us | BreakerStore.BreakerStore>
  >()
})

describe("Effect's ExecutionPlan", () => {
  class Prices extends Context.Service<
    Prices,
    {
      readonly of: (item: string) => Effect.Effect<number, string | CircuitOpen.CircuitOpen, BreakerStore.BreakerStore>
    }
  >()("test/cascade/Prices") {}

  const called: Array<string> = []
  const prices = (name: string, end: Effect.Effect<number, string>) =>
    Context.make(Prices, {
      of: () =>
        CircuitBreaker.protect(
          Effect.suspend(() => {
            called.push(name)
            return end
          }),
          name
        )
    })
  const price = Prices.use((prices) => prices.of("tea"))

  scenario(
    "sits with breakers: each step provides what has its own, and no attempt is made again at an open one",
    quick,
    function* () {
      called.length = 0
      const attempts: Array<string> = []
      const unlessOpen = (name: string) => (error: unknown) =>
        !(CircuitOpen.isCircuitOpen(error) && error.circuit === name)
      const plan = ExecutionPlan.make(
        { provide: prices("eu", Effect.fail("down")), attempts: 5, while: unlessOpen("eu") },
        { provide: prices("us", Effect.fail("down")), attempts: 5, while: unlessOpen("us") },
        { provide: prices("asia", Effect.succeed(42)) }
      )
      const planned = Effect.withExecutionPlan(price, plan, {
        onEvent: (event) =>
          Effect.sync(() => {
            if (event._tag === "AttemptStart") attempts.push(`step ${event.stepIndex}`)
          })
      })
      assert.strictEqual(yield* planned, 42)
      // The first attempt of a step opens its circuit, the second is rejected, and three more are not made.
      assert.deepStrictEqual(called, ["eu", "us", "asia"])
      assert.deepStrictEqual(attempts, ["step 0", "step 0", "step 1", "step 1", "step 2"])
      attempts.length = 0
      assert.strictEqual(yield* planned, 42)
      assert.deepStrictEqual(called, ["eu", "us", "asia", "asia"])
      assert.deepStrictEqual(attempts, ["step 0", "step 1", "step 2"])
      assert.deepStrictEqual(
        [yield* totals("eu"), yield* totals("us"), yield* totals("asia")],
        [
          [1, 1, 2],
          [1, 1, 2],
          [2, 0, 0]
        ]
      )
    }
  )

  scenario(
    "asks the while of a later step about the error of the one before: one that refuses every CircuitOpen skips the step",
    quick,
    function* () {
      called.length = 0
      const never = (error: unknown) => !CircuitOpen.isCircuitOpen(error)
      const plan = ExecutionPlan.make(
        { provide: prices("eu", Effect.succeed(1)) },
        { provide: prices("us", Effect.succeed(42)), while: never }
      )
      yield* CircuitBreaker.open("eu")
      const exit = yield* Effect.exit(Effect.withExecutionPlan(price, plan))
      assert.strictEqual(rejectionIn(exit).circuit, "eu")
      assert.deepStrictEqual(called, [])
    }
  )
})

it.effect("ways may be a list made elsewhere", () =>
  Effect.gen(function* () {
    const regions = ["eu", "us", "ap"]
    const ways = regions.map((name) => ({ name, call: name === "us" ? Effect.succeed(name) : Effect.fail("down") }))
    assert.strictEqual(yield* Resilience.cascade(ways), "us")
  }).pipe(Effect.provide(BreakerStore.layerMemory))
)
