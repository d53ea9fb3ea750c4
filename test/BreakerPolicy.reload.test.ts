import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

/** What is loaded comes from outside: nobody knows what it is. */
type Load<E = never> = Effect.Effect<unknown, E>

/** What is loaded, one after the other; the last one again and again. */
const loads = <E>(...all: ReadonlyArray<Load<E> | BreakerPolicy.Settings>) => {
  const source = {
    count: 0,
    load: Effect.suspend((): Load<E> => {
      const next = all[Math.min(source.count++, all.length - 1)] ?? {}
      return Effect.isEffect(next) ? (next as Load<E>) : Effect.succeed(next)
    })
  }
  return source
}

const everyMinute = Schedule.spaced("1 minute")

interface Line {
  readonly level: string
  readonly text: string
}

const capture = () => {
  const lines: Array<Line> = []
  const logger = Logger.make(({ cause, logLevel, message }) => {
    lines.push({ level: logLevel, text: `${String(message)} ${Cause.pretty(cause)}` })
  })
  return { lines, layer: Logger.layer([logger]) }
}

type Needs = BreakerStore.BreakerStore | Scope.Scope

/** Runs a program whose policies are `first` until a minute has passed, and `second` from then on. */
const changing = <A, E>(first: BreakerPolicy.Input, second: BreakerPolicy.Input, body: Effect.Effect<A, E, Needs>) => {
  const source = loads<never>({ default: first }, { default: second })
  return body.pipe(
    Effect.provide(BreakerPolicy.layerReloading(source.load, everyMinute)),
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(capture().layer)
  )
}

const reload = TestClock.adjust("1 minute")
const fail = Effect.exit(CircuitBreaker.protect(Effect.fail("down"), "api"))
const succeed = CircuitBreaker.protect(Effect.succeed("up"), "api")
const state = CircuitBreaker.state("api")
const times =
  (n: number) =>
  <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.replicateEffect(self, n)

describe("a living circuit takes on a policy that changes", () => {
  it.effect.each([
    [5, 3, 3, 1],
    [5, 4, 2, 2],
    [3, 6, 2, 4],
    [2, 2, 1, 1]
  ] as const)("and a limit of %i that becomes %i after %i failures needs %i more", ([before, after, made, more]) =>
    changing(
      { trip: Trip.consecutive(before) },
      { trip: Trip.consecutive(after) },
      Effect.gen(function* () {
        yield* times(made)(fail)
        yield* reload
        assert.strictEqual(yield* state, "Closed")
        if (more > 1) {
          yield* times(more - 1)(fail)
          assert.strictEqual(yield* state, "Closed")
        }
        yield* fail
        assert.strictEqual(yield* state, "Open")
      })
    )
  )

  it.effect("and stays Open, to its own end, with the new cooldown for the next opening", () =>
    changing(
      { trip: Trip.consecutive(1), cooldown: "3 minutes" },
      { trip: Trip.consecutive(1), cooldown: "10 seconds" },
      Effect.gen(function* () {
        yield* fail
        yield* reload
        assert.strictEqual((yield* Effect.flip(succeed)).reason, "Cooldown")
        yield* TestClock.adjust("119 seconds")
        assert.strictEqual((yield* Effect.flip(succeed))._tag, "CircuitOpen")
        yield* TestClock.adjust("1 second")
        yield* fail
        assert.strictEqual(yield* state, "Open")
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* succeed, "up")
        assert.strictEqual(yield* state, "Closed")
      })
    )
  )

  it.effect("and stays HalfOpen, with its probe in flight, while more probes are let in", () =>
    changing(
      { trip: Trip.consecutive(1), cooldown: "1 second", probeTimeout: "1 hour" },
      { trip: Trip.consecutive(1), cooldown: "1 second", probes: 2, successesToClose: 2 },
      Effect.gen(function* () {
        const latch = yield* Deferred.make<void>()
        yield* fail
        yield* TestClock.adjust("1 second")
        const probe = yield* Effect.forkChild(CircuitBreaker.protect(Deferred.await(latch), "api"))
        yield* Effect.yieldNow
        assert.strictEqual((yield* Effect.flip(succeed)).reason, "ProbesBusy")
        yield* reload
        assert.strictEqual(yield* succeed, "up")
        assert.strictEqual(yield* state, "HalfOpen")
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(probe)
        assert.strictEqual(yield* state, "Closed")
      })
    )
  )

  it.effect("and stays Isolated", () =>
    changing(
      {},
      { probes: 2 },
      Effect.gen(function* () {
        yield* succeed
        yield* CircuitBreaker.isolate("api")
        yield* reload
        assert.strictEqual((yield* Effect.flip(succeed)).reason, "Isolated")
      })
    )
  )

  const counted = Effect.map(CircuitBreaker.inspect("api"), ({ windows }) =>
    windows.map(({ calls, failures }) => [calls, failures])
  )
  const over = (of: Trip.OverInput) => ({ trip: Trip.failures({ atLeast: 4, of }) })

  it.effect.each([
    ["the newest calls that fit", 10, 4, [4, 2]],
    ["all calls in a wider window", 10, 20, [6, 3]],
    ["the times in a longer window", "10 minutes", "20 minutes", [6, 3]],
    ["the times that are not too old for a shorter window", "10 minutes", "30 seconds", [1, 0]],
    ["nothing of calls as times", 10, "10 minutes", [1, 0]],
    ["nothing of times as calls", "10 minutes", 10, [1, 0]]
  ] as ReadonlyArray<[string, Trip.OverInput, Trip.OverInput, [number, number]]>)(
    "and keeps of its window %s",
    ([_, before, after, kept]) =>
      changing(
        over(before),
        over(after),
        Effect.gen(function* () {
          // Three failures in five calls; the sixth comes after the change.
          for (const call of [fail, succeed, succeed, fail, fail]) yield* call
          yield* reload
          yield* succeed
          assert.deepStrictEqual(yield* counted, [kept])
        })
      )
  )

  it.effect("and trips on what its window kept", () =>
    changing(
      over("10 minutes"),
      { trip: Trip.failures({ atLeast: 3, of: "20 minutes" }) },
      Effect.gen(function* () {
        yield* fail
        yield* succeed
        yield* fail
        yield* reload
        yield* fail
        assert.strictEqual(yield* state, "Open")
      })
    )
  )

  it.effect("and is switched off, or only observes, from then on", () =>
    Effect.gen(function* () {
      for (const second of [{ enabled: false }, { mode: "observe" }] as const) {
        yield* changing(
          { trip: Trip.consecutive(1), cooldown: "10 minutes" },
          { ...second, trip: Trip.consecutive(1) },
          Effect.gen(function* () {
            yield* fail
            assert.strictEqual((yield* Effect.flip(succeed))._tag, "CircuitOpen")
            yield* reload
            assert.strictEqual(yield* succeed, "up")
          })
        )
      }
    })
  )

  const retryAfter = Effect.map(CircuitBreaker.inspect("api"), (seen) => Duration.toMillis(seen.retryAfter))

  it.effect("and opens by hand for the time that it now says, before the next call", () =>
    changing(
      {},
      { cooldown: "5 seconds" },
      Effect.gen(function* () {
        yield* succeed
        yield* reload
        yield* CircuitBreaker.open("api")
        assert.strictEqual(yield* retryAfter, 5_000)
      })
    )
  )

  const inline = (policy: BreakerPolicy.Input, self: Effect.Effect<unknown, string> = Effect.fail("down")) =>
    Effect.exit(CircuitBreaker.protect(self, "api", { policy: { ...policy } }))
  const defects = (exits: ReadonlyArray<Exit.Exit<unknown, unknown>>) =>
    exits.filter((exit) => Exit.isFailure(exit) && Cause.hasDies(exit.cause)).map((exit) => String(exit))

  it.effect("and lies beneath the policy of a call, though each call makes that anew", () =>
    changing(
      { trip: Trip.consecutive(9), cooldown: "5 seconds" },
      { trip: Trip.consecutive(3), cooldown: "6 seconds" },
      Effect.gen(function* () {
        const call = Effect.suspend(() => inline({ cooldown: "1 second", probes: 2 }))
        const before = yield* Effect.replicateEffect(call, 2)
        yield* reload
        const after = yield* Effect.replicateEffect(call, 2)
        assert.deepStrictEqual(defects([...before, ...after]), [])
        assert.strictEqual(yield* state, "Open")
        assert.strictEqual(yield* retryAfter, 1_000)
      })
    )
  )

  it.effect("and is the policy of every call that says nothing else, wherever it is made", () =>
    changing(
      { probes: 2 },
      { probes: 3 },
      Effect.gen(function* () {
        const calls = Effect.all([fail, inline({}), inline({ probes: undefined })])
        const before = yield* calls
        yield* reload
        assert.deepStrictEqual(defects([...before, ...(yield* calls)]), [])
      })
    )
  )

  it.effect("and after that a call that says otherwise is a defect, as it was before", () =>
    changing(
      {},
      { probes: 3 },
      Effect.gen(function* () {
        yield* inline({ cooldown: "1 second" })
        assert.strictEqual(defects([yield* inline({ cooldown: "2 seconds" })]).length, 1)
        yield* reload
        const [defect] = defects([yield* inline({ cooldown: "2 seconds" })])
        assert.include(defect, "differ in cooldown.")
        assert.deepStrictEqual(defects([yield* inline({ cooldown: "1 second" })]), [])
      })
    )
  )

  it.effect("and other names keep theirs", () =>
    Effect.gen(function* () {
      const source = loads<never>({}, { breakers: { api: { trip: Trip.consecutive(1) } } })
      yield* Effect.gen(function* () {
        const other = Effect.exit(CircuitBreaker.protect(Effect.fail("down"), "other"))
        yield* Effect.all([fail, other])
        yield* reload
        yield* Effect.all([fail, other])
        assert.strictEqual(yield* state, "Open")
        assert.strictEqual(yield* CircuitBreaker.state("other"), "Closed")
        yield* times(3)(other)
        assert.strictEqual(yield* CircuitBreaker.state("other"), "Open")
      }).pipe(
        Effect.provide(BreakerPolicy.layerReloading(source.load, everyMinute)),
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(capture().layer)
      )
    })
  )
})

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
        const { layer, lines } = capture()
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

  it.effect("is no news where nothing changed, and is again where a new trouble comes", () =>
    Effect.gen(function* () {
      const { layer, lines } = capture()
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
        yield* times(2)(fail)
        yield* reload
        assert.strictEqual((yield* CircuitBreaker.inspect("api")).streak, 2)
        yield* fail
        assert.strictEqual(yield* state, "Open")
      }).pipe(
        Effect.provide(BreakerPolicy.layerReloading(source.load, everyMinute)),
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(capture().layer)
      )
    })
  )

  const build = <E>(load: Load<E>) =>
    Effect.exit(Effect.scoped(Layer.build(BreakerPolicy.layerReloading(load, everyMinute))))

  it.effect("that fails at the start fails the layer, with its own error", () =>
    Effect.gen(function* () {
      const { layer, lines } = capture()
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
      const { layer, lines } = capture()
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
      Effect.provide(capture().layer)
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
    const { layer, lines } = capture()
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

  it.effect("loads at once, without a schedule, and says whether the policies have changed", () => {
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
      yield* times(2)(fail)
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
