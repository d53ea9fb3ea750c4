import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Layer, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Activity, DurableClock, DurableDeferred, Workflow, WorkflowEngine } from "effect/workflow"
import { BreakerStore, CircuitBreaker, CircuitOpen, Outcome, Trip } from "effect-fuse"
import { ActivityBreaker } from "effect-fuse/workflow"
import { endOf, upTo } from "./support/batches.ts"
import { plain } from "./support/rejections.ts"
import { expectState, inspect, quick, rejectionIn, start } from "./support/verbs.ts"
import { perWave } from "./support/waves.ts"
import { begin, executionId, progress, scenario } from "./support/workflowScenario.ts"
import { define, Order, recorded } from "./support/workflows.ts"

const noJitter = { jitter: 0 }

describe("an activity whose circuit is open", () => {
  scenario("suspends its workflow for the retryAfter, and then runs as attempt 1", function* () {
    const { activity, calls } = recorded()
    const runs = yield* define(ActivityBreaker.protect(activity, "api", noJitter))
    yield* CircuitBreaker.open("api", { for: "30 seconds" })
    const order = yield* begin()
    assert.strictEqual(yield* progress, "Suspended")
    yield* TestClock.adjust("29900 millis")
    assert.deepStrictEqual([runs.count, calls], [1, []])
    yield* TestClock.adjust("200 millis")
    assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("charged"))
    assert.deepStrictEqual(calls, [{ at: 30_050, attempt: 1 }])
    assert.strictEqual(runs.count, 2)
    yield* expectState("Closed")
  })

  scenario("does not count waits as attempts of Activity.retry", function* () {
    let answers = 0
    const { activity, calls } = recorded(
      Effect.suspend(() => (answers++ < 1 ? Effect.fail("boom") : Effect.succeed("charged")))
    )
    yield* define(Activity.retry(ActivityBreaker.protect(activity, "api", noJitter), { times: 1 }))
    yield* CircuitBreaker.open("api", { for: "30 seconds" })
    const order = yield* begin()
    yield* TestClock.adjust("31 seconds")
    // The probe failed: the second attempt waits for the next cooldown.
    assert.strictEqual(yield* progress, "Suspended")
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("charged"))
    assert.deepStrictEqual(
      calls.map(({ attempt }) => attempt),
      [1, 2]
    )
  })

  scenario("waits in memory if the wait is at most 5 seconds", function* () {
    const { activity, calls } = recorded()
    const runs = yield* define(ActivityBreaker.protect(activity, "api"))
    yield* CircuitBreaker.open("api", { for: "5 seconds" })
    const order = yield* begin()
    assert.strictEqual(yield* progress, "Running")
    yield* TestClock.adjust("6 seconds")
    assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("charged"))
    assert.deepStrictEqual([runs.count, calls.length], [1, 1])
  })

  scenario("does not return early if the circuit closes early", function* () {
    const { activity, calls } = recorded()
    yield* define(ActivityBreaker.protect(activity, "api", noJitter))
    yield* CircuitBreaker.open("api", { for: "30 seconds" })
    yield* begin()
    yield* CircuitBreaker.close("api")
    yield* TestClock.adjust("29 seconds")
    assert.deepStrictEqual(calls, [])
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual(calls.length, 1)
  })

  scenario("waits for another circuit inside the activity, and its own circuit records no failure", function* () {
    yield* CircuitBreaker.isolate("db", { for: "30 seconds" })
    const { activity, calls } = recorded(Effect.as(CircuitBreaker.protect(Effect.void, "db"), "charged"))
    yield* define(ActivityBreaker.protect(activity, "api", noJitter))
    const order = yield* begin()
    yield* TestClock.adjust("31 seconds")
    assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("charged"))
    assert.deepStrictEqual(
      calls.map(({ attempt }) => attempt),
      [1, 1]
    )
    const { state, totals } = yield* inspect()
    assert.deepStrictEqual([state, totals.failures, totals.ignored], ["Closed", 0, 1])
  })

  scenario("waits for a circuit inside the activity with waitDurably", function* () {
    yield* CircuitBreaker.isolate("db", { for: "30 seconds" })
    const activity = Activity.make({
      name: "charge",
      success: Schema.String,
      error: CircuitOpen.CircuitOpen,
      execute: CircuitBreaker.protect(Effect.succeed("charged"), "db")
    })
    yield* define(activity.pipe(ActivityBreaker.waitDurably({ jitter: 0, maxWait: "1 hour" })))
    const order = yield* begin()
    assert.strictEqual(yield* progress, "Suspended")
    yield* TestClock.adjust("31 seconds")
    assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("charged"))
    assert.strictEqual((yield* CircuitBreaker.list).length, 1)
  })
})

describe("the outcome of an activity for its circuit", () => {
  scenario("is a failure if the activity fails, so the policy opens the circuit", function* () {
    const { activity } = recorded(Effect.fail("boom"))
    yield* define(ActivityBreaker.protect(activity, "api"))
    assert.strictEqual(endOf(yield* Fiber.join(yield* begin())), "boom")
    yield* expectState("Open")
  })

  scenario("depends on isFailure for a typed error", function* () {
    const { activity } = recorded(Effect.fail("declined"))
    yield* define(activity.pipe(ActivityBreaker.protect("api", { isFailure: (error: string) => error !== "declined" })))
    assert.strictEqual(endOf(yield* Fiber.join(yield* begin())), "declined")
    const { state, totals } = yield* inspect()
    assert.deepStrictEqual([state, totals.successes], ["Closed", 1])
  })

  scenario("is what classify says", function* () {
    const { activity } = recorded(Effect.succeed("queued"))
    yield* define(
      ActivityBreaker.protect(activity, "api", {
        classify: (exit) => (Exit.isSuccess(exit) && exit.value === "queued" ? Outcome.failure() : Outcome.success)
      })
    )
    assert.strictEqual(endOf(yield* Fiber.join(yield* begin())), "queued")
    yield* expectState("Open")
  })

  scenario("is Ignored if the activity suspends its workflow", function* () {
    const { activity, calls } = recorded(
      Effect.as(DurableClock.sleep({ name: "inside", duration: "2 minutes" }), "charged") as Effect.Effect<string>
    )
    yield* define(ActivityBreaker.protect(activity, "api"))
    const order = yield* begin()
    assert.strictEqual(yield* progress, "Suspended")
    yield* TestClock.adjust("2 minutes")
    assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("charged"))
    assert.strictEqual(calls.length, 2)
    const { totals } = yield* inspect()
    assert.deepStrictEqual([totals.failures, totals.ignored, totals.successes], [0, 1, 1])
  })

  scenario("is Ignored if the workflow is interrupted during the activity", function* () {
    const { activity, calls } = recorded(Effect.never)
    yield* define(ActivityBreaker.protect(activity, "api"))
    yield* begin()
    const engine = yield* WorkflowEngine.WorkflowEngine
    const id = yield* executionId
    yield* start(engine.interruptUnsafe(Order, id))
    yield* TestClock.adjust("1 second")
    assert.strictEqual(calls.length, 1)
    const { state, totals } = yield* inspect()
    assert.deepStrictEqual([state, totals.failures, totals.ignored], ["Closed", 0, 1])
  })

  scenario("is one failure if the activity interrupts itself until Effect gives up", function* () {
    let tries = 0
    const activity = Activity.make({
      name: "charge",
      success: Schema.String,
      execute: Effect.andThen(
        Effect.sync(() => void tries++),
        Effect.interrupt
      ),
      interruptRetryPolicy: Schedule.recurs(2)
    })
    yield* define(ActivityBreaker.protect(activity, "api"))
    const exit = yield* Fiber.join(yield* begin())
    assert.include(String(exit), "retry attempts exhausted")
    assert.strictEqual(tries, 3)
    const { totals } = yield* inspect()
    assert.deepStrictEqual([totals.calls, totals.failures], [1, 1])
  })

  scenario(
    "is a failure for a probe that exceeds probeTimeout, and the activity fails with CircuitOpen instead of waiting",
    function* () {
      const { activity, calls } = recorded(Effect.never)
      yield* define(ActivityBreaker.protect(activity, "api", noJitter))
      yield* CircuitBreaker.open("api", { for: "30 seconds" })
      const order = yield* begin()
      yield* TestClock.adjust("32 seconds")
      assert.strictEqual(rejectionIn(yield* Fiber.join(order)).reason, "ProbeTimedOut")
      assert.strictEqual(calls.length, 1)
      yield* expectState("Open")
    },
    { ...quick, probeTimeout: "1 second" }
  )
})

describe("a workflow that waits for a circuit", () => {
  scenario("can be interrupted, and its activity never runs", function* () {
    const { activity, calls } = recorded()
    yield* define(ActivityBreaker.protect(activity, "api"))
    yield* CircuitBreaker.isolate("api")
    const order = yield* begin()
    yield* Effect.flatMap(executionId, (id) => Order.interrupt(id))
    assert.strictEqual(endOf(yield* Fiber.join(order)), "interrupted")
    yield* CircuitBreaker.release("api")
    yield* TestClock.adjust("1 hour")
    assert.deepStrictEqual(calls, [])
  })

  scenario("continues to wait if it is resumed early", function* () {
    const { activity, calls } = recorded()
    const runs = yield* define(ActivityBreaker.protect(activity, "api", noJitter))
    yield* CircuitBreaker.open("api", { for: "30 seconds" })
    yield* begin()
    for (const _ of upTo(3)) {
      yield* Effect.flatMap(executionId, (id) => Order.resume(id))
      yield* TestClock.adjust("1 second")
    }
    assert.deepStrictEqual([yield* progress, runs.count, calls], ["Suspended", 4, []])
    yield* TestClock.adjust("28 seconds")
    assert.deepStrictEqual(calls, [{ at: 30_050, attempt: 1 }])
  })

  scenario("runs the activities before the wait only once, with the same results in each replay", function* () {
    const first = recorded()
    const second = Activity.make({ name: "ship", success: Schema.String, execute: Effect.succeed("shipped") })
    yield* define(
      Effect.gen(function* () {
        const charged = yield* first.activity
        const shipped = yield* second.pipe(ActivityBreaker.protect("shipping"))
        return `${charged}, ${shipped}`
      })
    )
    yield* CircuitBreaker.open("shipping", { for: "30 seconds" })
    const order = yield* begin()
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("charged, shipped"))
    assert.strictEqual(first.calls.length, 1)
  })

  scenario("runs each of its other activities once", function* () {
    const other = recorded(Effect.as(Effect.sleep("10 seconds"), "shipped"))
    const shipped = Activity.make({
      name: "ship",
      success: Schema.String,
      execute: Effect.orDie(other.activity.execute)
    })
    const { activity, calls } = recorded()
    yield* define(
      Effect.map(
        Effect.all([ActivityBreaker.protect(shipped, "shipping"), ActivityBreaker.protect(activity, "api", noJitter)], {
          concurrency: "unbounded"
        }),
        (all) => all.join(", ")
      )
    )
    yield* CircuitBreaker.open("api", { for: "30 seconds" })
    const order = yield* begin()
    assert.strictEqual(yield* progress, "Running")
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(yield* progress, "Suspended")
    yield* TestClock.adjust("21 seconds")
    assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("shipped, charged"))
    assert.deepStrictEqual([calls.length, other.calls.length], [1, 1])
  })

  for (const [hold, expected] of [
    ["30 seconds", "charged"],
    ["3 hours", "too late"]
  ] as const) {
    scenario(`may race the activity against a clock, while the circuit is open for ${hold}`, function* () {
      const { activity } = recorded()
      const late = Effect.as(DurableClock.sleep({ name: "late", duration: "1 hour", inMemoryThreshold: 0 }), "too late")
      yield* define(
        DurableDeferred.raceAll({
          name: "charged",
          success: Schema.String,
          error: CircuitOpen.CircuitOpen,
          effects: [ActivityBreaker.protect(activity, "api", noJitter), late]
        })
      )
      yield* CircuitBreaker.isolate("api", { for: hold })
      const order = yield* begin()
      for (let minute = 0; minute < 240; minute++) yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed(expected))
    })
  }

  scenario("reads an old result from before the activity had a circuit", function* () {
    const { activity, calls } = recorded()
    const later = DurableClock.sleep({ name: "later", duration: "2 minutes" })
    const protectedNow = { is: false }
    yield* define(
      Effect.gen(function* () {
        const charged = yield* protectedNow.is ? ActivityBreaker.protect(activity, "api") : activity
        yield* later
        return charged
      })
    )
    const order = yield* begin()
    protectedNow.is = true
    yield* CircuitBreaker.isolate("api")
    yield* TestClock.adjust("2 minutes")
    assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("charged"))
    assert.strictEqual(calls.length, 1)
  })

  scenario("resumes by itself even if the workflow suspends on failure: a wait is not a failure", function* () {
    const Strict = Workflow.make("Strict", {
      payload: { id: Schema.String },
      idempotencyKey: ({ id }) => id,
      success: Schema.String,
      error: CircuitOpen.CircuitOpen
    }).annotate(Workflow.SuspendOnFailure, true)
    const activity = Activity.make({ name: "charge", success: Schema.String, execute: Effect.succeed("charged") })
    yield* Layer.build(Strict.toLayer(() => ActivityBreaker.protect(activity, "api", noJitter)))
    yield* CircuitBreaker.open("api", { for: "30 seconds" })
    const order = yield* start(Effect.exit(Strict.execute({ id: "1" })))
    yield* TestClock.adjust("2 minutes")
    assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("charged"))
  })

  for (const [what, schema, value] of [
    ["nothing", Schema.Void, undefined],
    ["null", Schema.Null, null],
    ["anything", Schema.Any, { deep: [1, "two"] }],
    ["a date", Schema.Date, new Date(0)]
  ] as const) {
    scenario(`gets ${what} as the result of its activity after a wait`, function* () {
      const activity = Activity.make({
        name: "any",
        success: schema as Schema.Codec<unknown, unknown>,
        execute: Effect.succeed(value)
      })
      let result: unknown = "none"
      yield* define(
        Effect.map(ActivityBreaker.protect(activity, "api", noJitter), (got) => {
          result = got
          return "done"
        })
      )
      yield* CircuitBreaker.open("api", { for: "30 seconds" })
      yield* begin()
      assert.strictEqual(result, "none")
      yield* TestClock.adjust("31 seconds")
      assert.deepStrictEqual(result, value)
    })
  }
})

describe("1,000 workflows that wait for one circuit", () => {
  scenario("make one probe, then continue in waves and do not wait durably a second time", function* () {
    const { activity, calls } = recorded(Effect.as(Effect.sleep("200 millis"), "charged"))
    const runs = yield* define(ActivityBreaker.protect(activity, "api", noJitter))
    yield* CircuitBreaker.open("api", { for: "30 seconds" })
    const orders = yield* Effect.forEach(upTo(1_000), (id) => begin(String(id)))
    for (let i = 0; i < 100; i++) yield* TestClock.adjust(i === 0 ? "30 seconds" : "50 millis")
    for (const order of orders) assert.deepStrictEqual(yield* Fiber.join(order), Exit.succeed("charged"))
    // All clocks end in the same millisecond: without the waves, all calls would begin at 30.2 seconds.
    assert.deepStrictEqual(perWave(calls, 30_000), [1, 0, 4, 8, 16, 32, 64, 128, 256, 491])
    assert.strictEqual(runs.count, 2_000)
  })

  const forms = {
    "the circuit of the activity": () => {
      const { activity, calls } = recorded()
      return { calls, body: ActivityBreaker.protect(activity, "api", noJitter) }
    },
    "a circuit inside the activity": () => {
      const { activity, calls } = recorded()
      const execute = CircuitBreaker.protect(activity.execute, "api", { policy: { trip: Trip.consecutive(7) } })
      const outer = Activity.make({ name: "charge", success: Schema.String, error: CircuitOpen.CircuitOpen, execute })
      return { calls, body: ActivityBreaker.waitDurably(outer, noJitter) }
    },
    "a circuit of a key inside the circuit of the activity": () => {
      const { activity, calls } = recorded()
      const execute = CircuitBreaker.protect(activity.execute, "api", { key: "eu" })
      const outer = Activity.make({ name: "charge", success: Schema.String, error: CircuitOpen.CircuitOpen, execute })
      return { calls, body: ActivityBreaker.protect(outer, "outer", noJitter), key: "eu" }
    }
  } satisfies Record<string, () => { key?: string; [rest: string]: unknown }>
  for (const [what, make] of Object.entries(forms))
    scenario(`continue in waves even if the store does not know ${what} yet, as after a restart`, function* () {
      const { body, calls, ...target } = make()
      let store = yield* BreakerStore.BreakerStore
      yield* define(Effect.suspend(() => Effect.provideService(body, BreakerStore.BreakerStore, store)))
      yield* CircuitBreaker.open("api", { ...target, for: "30 seconds" })
      for (const id of upTo(50)) yield* begin(String(id))
      store = Context.get(yield* Layer.build(Layer.fresh(BreakerStore.layerMemory)), BreakerStore.BreakerStore)
      for (let i = 0; i < 100; i++) yield* TestClock.adjust(i === 0 ? "30 seconds" : "50 millis")
      assert.deepStrictEqual(perWave(calls, 30_000), [4, 8, 16, 22])
    })

  scenario("do not make a circuit of this process if another process rejected them", function* () {
    const rejection = CircuitOpen.make({ ...plain, retryAfter: Duration.seconds(30) })
    const { activity, calls } = recorded(Effect.fail(rejection))
    yield* define(ActivityBreaker.waitDurably(activity, noJitter))
    yield* begin()
    yield* TestClock.adjust("31 seconds")
    assert.isAtLeast(calls.length, 2)
    assert.deepStrictEqual(yield* CircuitBreaker.list, [])
  })

  scenario("make one call for each cooldown while the dependency stays down", function* () {
    const { activity, calls } = recorded(Effect.delay(Effect.fail("down"), "200 millis"))
    const runs = yield* define(ActivityBreaker.protect(activity, "api", noJitter))
    yield* CircuitBreaker.open("api", { for: "30 seconds" })
    yield* Effect.forEach(upTo(1_000), (id) => begin(String(id)))
    yield* TestClock.adjust("30 seconds")
    for (let i = 0; i < 150; i++) yield* TestClock.adjust("100 millis")
    assert.deepStrictEqual(calls.length, 2)
    assert.isAtMost(runs.count, 3_000)
  })
})

describe("ActivityBreaker", () => {
  const { activity } = recorded(Effect.fail("boom" as const) as Effect.Effect<string, "boom">)

  const wrong: ReadonlyArray<readonly [what: string, make: () => unknown, message: RegExp]> = [
    [
      "a value that is not an activity",
      () => ActivityBreaker.protect(Effect.void as never, "api"),
      /self.*an Activity/
    ],
    [
      "an activity that already has a retry",
      () => ActivityBreaker.protect(Activity.retry(activity, { times: 2 }) as never, "api"),
      /self: expected an Activity, before Activity\.retry and other combinators/
    ],
    [
      "a value that has only the schema of an activity",
      () =>
        ActivityBreaker.protect(
          Object.assign(
            Effect.suspend(() => Effect.void),
            { exitSchema: 1 }
          ) as never,
          "api"
        ),
      /self.*an Activity/
    ],
    ["no name", () => ActivityBreaker.protect(activity, ""), /name/],
    ["a jitter above 1", () => ActivityBreaker.protect(activity, "api", { jitter: 2 }), /jitter/],
    [
      "a maxDelay below minDelay",
      () => ActivityBreaker.protect(activity, "api", { minDelay: 2, maxDelay: 1 }),
      /maxDelay/
    ],
    ["a minDelay of 0", () => ActivityBreaker.waitDurably(activity, { minDelay: 0 }), /minDelay/],
    ["a misspelled option", () => ActivityBreaker.waitDurably(activity, { maxWiat: 1 } as never), /maxWiat/]
  ]
  it("accepts a maxDelay that is equal to minDelay", () => {
    assert.isTrue(Effect.isEffect(ActivityBreaker.protect(activity, "api", { minDelay: 2, maxDelay: 2 })))
  })

  for (const [what, make, message] of wrong) it(`throws for ${what}`, () => assert.throws(make, RangeError, message))

  it("has the errors of the activity and CircuitOpen", () => {
    type Protected = Effect.Effect<
      string,
      "boom" | CircuitOpen.CircuitOpen,
      BreakerStore.BreakerStore | WorkflowEngine.WorkflowEngine | WorkflowEngine.WorkflowInstance
    >
    expectTypeOf(ActivityBreaker.protect(activity, "api")).toEqualTypeOf<Protected>()
    expectTypeOf(activity.pipe(ActivityBreaker.protect("api"))).toEqualTypeOf<Protected>()
    expectTypeOf(
      activity.pipe(ActivityBreaker.protect("api", { isIgnored: (error: "boom") => error === "boom" }))
    ).toEqualTypeOf<Protected>()
    expectTypeOf(activity.pipe(ActivityBreaker.waitDurably())).toEqualTypeOf<
      Effect.Effect<
        string,
        "boom" | CircuitOpen.CircuitOpen,
        WorkflowEngine.WorkflowEngine | WorkflowEngine.WorkflowInstance
      >
    >()
    // @ts-expect-error The predicate reads other errors than the activity has.
    void (() => activity.pipe(ActivityBreaker.protect("api", { isFailure: (error: number) => error > 1 })))
  })
})
