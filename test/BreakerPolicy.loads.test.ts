import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Layer, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { captured, everyMinute, fail, type Load, loads, type Needs, reload, state } from "./support/reloading.ts"
import { times } from "./support/verbs.ts"

describe("a load", () => {
  const probes = Effect.map(BreakerPolicy.Policies, (policies) => policies.get("api").probes)

  it.effect.each([
    ["fails", Effect.fail("no such file"), "no such file"],
    ["does not decode", Effect.succeed({ default: { probes: 0 } }), "default.probes: expected a whole number"],
    ["dies", Effect.die(new Error("out of paper")), "out of paper"],
    ["throws", Effect.suspend((): Load => JSON.parse("{")), "JSON"],
    ["is interrupted", Effect.interrupt, "nterrupt"]
  ] as ReadonlyArray<[string, Load<string>, string]>)(
    "that %s is reported once, and the last good policies stay until the next good ones",
    ([_, broken, said]) =>
      Effect.gen(function* () {
        const { layer, lines } = captured()
        const source = loads<string>({ default: { probes: 2 } }, { default: { probes: 3 } }, broken, broken, {
          default: { probes: 4 }
        })
        yield* Effect.gen(function* () {
          const policies = yield* BreakerPolicy.Policies
          assert.strictEqual(yield* probes, 2)
          yield* reload
          assert.strictEqual(yield* probes, 3)
          const { version } = policies
          assert.deepStrictEqual(
            lines.splice(0).map(({ level }) => level),
            ["Info"]
          )
          yield* reload
          assert.strictEqual(lines.length, 1)
          assert.strictEqual(lines[0]?.level, "Error")
          assert.include(lines[0]?.text, "could not be reloaded")
          assert.include(lines[0]?.text, said)
          assert.strictEqual(yield* probes, 3)
          assert.strictEqual(policies.version, version)
          // The same trouble again is no news.
          yield* reload
          assert.strictEqual(lines.length, 1)
          yield* reload
          assert.strictEqual(yield* probes, 4)
          assert.isAbove(policies.version, version)
          assert.deepStrictEqual(
            lines.map(({ level }) => level),
            ["Error", "Info"]
          )
          assert.strictEqual(source.count, 5)
        }).pipe(Effect.provide(BreakerPolicy.layerReloading(source.load, everyMinute)), Effect.provide(layer))
      })
  )

  it.effect("is logged once until its cause changes", () =>
    Effect.gen(function* () {
      const { layer, lines } = captured()
      const settings = (): BreakerPolicy.Settings => ({
        default: { probes: 2 },
        breakers: { api: { ramp: "1 second" } }
      })
      const source = loads<string>(
        settings(),
        settings(),
        Effect.fail("one"),
        Effect.fail("two"),
        settings(),
        settings()
      )
      yield* Effect.gen(function* () {
        const policies = yield* BreakerPolicy.Policies
        for (let i = 0; i < 5; i++) yield* reload
        assert.strictEqual(policies.version, 0)
        assert.deepStrictEqual(
          lines.map(({ level }) => level),
          ["Error", "Error"]
        )
      }).pipe(Effect.provide(BreakerPolicy.layerReloading(source.load, everyMinute)), Effect.provide(layer))
    })
  )

  it.effect("may give what a file or a database holds", () =>
    Effect.gen(function* () {
      const text = (first: string) =>
        JSON.stringify({
          default: { trip: { _tag: "Consecutive", failures: 1 }, cooldown: { exponential: first, factor: 3 } },
          breakers: { api: { maxCooldown: "20 seconds" } }
        })
      const parsed = (text: string) => Effect.sync((): unknown => JSON.parse(text))
      const source = loads<never>(parsed(text("1 second")), parsed(text("2 seconds")))
      yield* Effect.gen(function* () {
        const lasting: Array<number> = []
        for (let opening = 1; opening <= 4; opening++) {
          yield* fail
          const { retryAfter } = yield* CircuitBreaker.inspect("api")
          lasting.push(Duration.toSeconds(retryAfter))
          yield* opening === 2 ? reload : TestClock.adjust(retryAfter)
        }
        assert.deepStrictEqual(lasting, [1, 3, 18, 20])
      }).pipe(
        Effect.provide(BreakerPolicy.layerReloading(source.load, everyMinute)),
        Effect.provide(BreakerStore.layerMemory)
      )
    })
  )

  it.effect("that fails does not change a living circuit", () =>
    Effect.gen(function* () {
      const source = loads<string>({ default: { trip: Trip.consecutive(3) } }, Effect.fail("gone"))
      yield* Effect.gen(function* () {
        yield* times(2, fail)
        yield* reload
        assert.strictEqual((yield* CircuitBreaker.inspect("api")).streak, 2)
        yield* fail
        assert.strictEqual(yield* state, "Open")
      }).pipe(
        Effect.provide(BreakerPolicy.layerReloading(source.load, everyMinute)),
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(captured().layer)
      )
    })
  )

  const build = <E>(load: Load<E>) =>
    Effect.exit(Effect.scoped(Layer.build(BreakerPolicy.layerReloading(load, everyMinute))))

  it.effect("that fails at the start fails the layer, with its own error", () =>
    Effect.gen(function* () {
      const { layer, lines } = captured()
      const error = { _tag: "NoSuchFile" }
      assert.deepStrictEqual(yield* Effect.provide(build(Effect.fail(error)), layer), Exit.fail(error))
      const exit = yield* Effect.provide(build(Effect.succeed({ default: { probes: 0 } })), layer)
      assert(Exit.isFailure(exit))
      const refused = Cause.squash(exit.cause)
      assert.instanceOf(refused, BreakerPolicy.PolicyError)
      assert.include(refused.message, "default.probes")
      assert.deepStrictEqual(yield* Effect.provide(build(Effect.die("bug")), layer), Exit.die("bug"))
      assert.deepStrictEqual(lines, [])
    })
  )

  it.effect("runs once at the start, and then after each delay of the schedule until that ends", () =>
    Effect.gen(function* () {
      const source = loads<never>({})
      const schedule = Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 3 }))
      yield* Layer.build(BreakerPolicy.layerReloading(source.load, schedule))
      const counts: Array<number> = []
      for (const seconds of [0, 1, 1, 1, 3, 1, 100]) {
        yield* TestClock.adjust(seconds * 1_000)
        counts.push(source.count)
      }
      assert.deepStrictEqual(counts, [1, 2, 2, 3, 3, 4, 4])
    })
  )

  it.effect("is interrupted when the scope closes, and none comes after it", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const { layer, lines } = captured()
      const hangs = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      const source = loads<never>({}, {}, hangs)
      const scope = yield* Scope.make()
      const reloading = BreakerPolicy.layerReloading(source.load, everyMinute)
      yield* Layer.buildWithScope(Layer.provide(reloading, layer), scope)
      yield* reload
      assert.strictEqual(source.count, 2)
      yield* reload
      assert.deepStrictEqual([source.count, interrupted], [3, 0])
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(interrupted, 1)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(source.count, 3)
      assert.deepStrictEqual(lines, [])
    })
  )
})

describe("how often policies are loaded", () => {
  it.effect("may be a duration", () => {
    const source = loads<never>({ default: { trip: Trip.consecutive(9) } }, { default: { trip: Trip.consecutive(1) } })
    return Effect.gen(function* () {
      yield* fail
      assert.strictEqual(yield* state, "Closed")
      yield* TestClock.adjust("30 seconds")
      yield* fail
      assert.strictEqual(yield* state, "Open")
    }).pipe(
      Effect.provide(BreakerPolicy.layerReloading(source.load, "30 seconds")),
      Effect.provide(BreakerStore.layerMemory),
      Effect.provide(captured().layer)
    )
  })

  it.each([0, -1, "soon", Number.POSITIVE_INFINITY, null])("is neither a schedule nor a duration: %j", (wrong) => {
    assert.throws(() => BreakerPolicy.layerReloading(Effect.succeed({}), wrong as never), /layerReloading: schedule/)
  })
})

describe("a reload on demand", () => {
  const provided = <A, E>(
    program: Effect.Effect<A, E, Needs>,
    load: Load<unknown>,
    ...schedule: ReadonlyArray<string>
  ) => {
    const { layer, lines } = captured()
    const policies = BreakerPolicy.layerReloading(load, ...(schedule as ["1 minute"]))
    return Effect.as(
      program.pipe(
        Effect.scoped,
        Effect.provide(policies),
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(layer)
      ),
      lines
    )
  }

  it.effect("loads immediately, without a schedule, and returns whether the policies have changed", () => {
    const one = { default: { trip: Trip.consecutive(1) } }
    const source = loads<never>({ default: { trip: Trip.consecutive(9) } }, one, one)
    const program = Effect.gen(function* () {
      yield* TestClock.adjust("1 hour")
      yield* fail
      assert.deepStrictEqual([source.count, yield* state], [1, "Closed"])
      assert.strictEqual(yield* BreakerPolicy.reload, true)
      yield* fail
      assert.strictEqual(yield* state, "Open")
      assert.strictEqual(yield* BreakerPolicy.reload, false)
      assert.strictEqual(source.count, 3)
    })
    return provided(program, source.load)
  })

  it.effect("fails with the field that is wrong, and the last good policies stay in force", () => {
    const good = { default: { trip: Trip.consecutive(2) } }
    const source = loads<unknown>(
      good,
      { default: { probes: 0 } } as never,
      Effect.fail(new Error("no route to db")),
      good
    )
    const program = Effect.gen(function* () {
      const errors = [yield* Effect.flip(BreakerPolicy.reload), yield* Effect.flip(BreakerPolicy.reload)]
      assert.deepStrictEqual(
        errors.map(({ _tag, message }) => [_tag, message]),
        [
          ["PolicyError", "default.probes: expected a whole number of 1 or more, got 0"],
          ["PolicyError", "load: Error: no route to db"]
        ]
      )
      yield* times(2, fail)
      assert.strictEqual(yield* state, "Open")
      assert.strictEqual(yield* BreakerPolicy.reload, false)
    })
    return Effect.map(provided(program, source.load), (lines) =>
      assert.deepStrictEqual(
        lines.flatMap(({ level, text }) => (text.includes("could not be reloaded") ? [level] : [])),
        ["Error", "Error"]
      )
    )
  })

  it.effect("waits for a load that is running, and loads after it", () => {
    let running = 0
    let count = 0
    const load = Effect.gen(function* () {
      count++
      assert.strictEqual(++running, 1)
      if (count > 1) yield* Effect.sleep("10 seconds")
      running--
      return {}
    })
    const program = Effect.gen(function* () {
      yield* TestClock.adjust("1 minute")
      const two = yield* Effect.forkChild(Effect.all([BreakerPolicy.reload, BreakerPolicy.reload], { concurrency: 2 }))
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(two.pollUnsafe())
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* Fiber.join(two), [false, false])
      assert.strictEqual(count, 4)
    })
    return provided(program, load, "1 minute")
  })

  it.effect("can be interrupted", () => {
    let count = 0
    const load = Effect.suspend(() => (count++ === 0 ? Effect.succeed({}) : Effect.never))
    const program = Effect.gen(function* () {
      const one = yield* Effect.forkChild(Effect.timeout(BreakerPolicy.reload, "1 second"), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.isFailure(yield* Fiber.await(one)))
    })
    return Effect.map(provided(program, load), (lines) => assert.deepStrictEqual(lines, []))
  })

  it.effect.each([
    ["no layer", Layer.empty] as const,
    ["policies written in code", BreakerPolicy.layer({ default: { probes: 2 } })] as const
  ])("has nothing to load with %s", ([, layer]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* BreakerPolicy.reload, false)
    }).pipe(Effect.provide(layer))
  )
})
