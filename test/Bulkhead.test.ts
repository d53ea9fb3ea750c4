import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Deferred, Effect, Exit, Fiber, Layer, Random, Schema } from "effect"
import { RateLimiter } from "effect/persistence"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, Bulkhead, BulkheadFull, CircuitBreaker, Resilience, Trip } from "effect-fuse"
import { start } from "./support/verbs.ts"

const held = (bulkhead: Bulkhead.Bulkhead) => {
  const { rejected, running, waiting } = Bulkhead.inspect(bulkhead)
  return [running, waiting, rejected]
}

const breathe = Effect.forEach(Array.from({ length: 20 }), () => Effect.yieldNow, { discard: true })

describe("A bulkhead runs up to `concurrency` calls, queues up to `queue`, and rejects the rest", () => {
  it.effect.prop(
    "whatever its size and the number of callers",
    [
      Arbitrary.schema(Schema.Literals([1, 2, 3, 7])),
      Arbitrary.schema(Schema.Literals([0, 1, 2, 5])),
      Arbitrary.schema(Schema.Literals([1, 3, 6, 20]))
    ],
    ([concurrency, queue, callers]) =>
      Effect.gen(function* () {
        const bulkhead = yield* Bulkhead.make({ concurrency, queue })
        const gate = yield* Deferred.make<void>()
        let now = 0
        let most = 0
        const self = Effect.sync(() => {
          most = Math.max(most, ++now)
        }).pipe(
          Effect.andThen(Deferred.await(gate)),
          Effect.ensuring(
            Effect.sync(() => {
              now--
            })
          )
        )
        const fibers = yield* Effect.forEach(Array.from({ length: callers }), () =>
          start(Bulkhead.limit(self, bulkhead))
        )
        const running = Math.min(callers, concurrency)
        const waiting = Math.min(callers - running, queue)
        assert.deepStrictEqual(held(bulkhead), [running, waiting, callers - running - waiting])
        yield* Deferred.succeed(gate, undefined)
        const exits = yield* Effect.forEach(fibers, Fiber.await)
        assert.strictEqual(exits.filter(Exit.isSuccess).length, running + waiting)
        assert.deepStrictEqual([most, now], [running, 0])
        assert.deepStrictEqual(held(bulkhead), [0, 0, callers - running - waiting])
      }),
    { arbitrary: { runs: 60, seed: "bulkhead" } }
  )

  it.effect("waiting calls run in the order of arrival, and a repeated call is the last", () =>
    Effect.gen(function* () {
      const bulkhead = Bulkhead.makeUnsafe({ concurrency: 1, queue: 10 })
      const order: Array<string> = []
      const visit = (who: string) =>
        Bulkhead.limit(
          Effect.andThen(
            Effect.sync(() => order.push(who)),
            Effect.sleep("1 second")
          ),
          bulkhead
        )
      yield* start(Effect.andThen(visit("a1"), visit("a2")))
      for (const who of ["b", "c", "d"]) yield* start(visit(who))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(order, ["a1", "b", "c", "d", "a2"])
    })
  )

  it.effect("a call that gives up waiting is skipped, and the others keep their order", () =>
    Effect.gen(function* () {
      const bulkhead = Bulkhead.makeUnsafe({ concurrency: 1, queue: 3 })
      const order: Array<string> = []
      const visit = (who: string) =>
        start(
          Effect.andThen(
            Effect.sync(() => order.push(who)),
            Effect.sleep("1 second")
          ).pipe(Bulkhead.limit(bulkhead))
        )
      yield* visit("a")
      const b = yield* visit("b")
      yield* visit("c")
      yield* visit("d")
      yield* Fiber.interrupt(b)
      assert.deepStrictEqual(held(bulkhead), [1, 2, 0])
      yield* visit("e")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(order, ["a", "c", "d", "e"])
    })
  )

  for (const [what, self] of [
    ["success", Effect.succeed(1)],
    ["failure", Effect.fail("boom")],
    ["defect", Effect.die("bug")],
    ["interruption of itself", Effect.interrupt],
    ["finalizer that dies", Effect.ensuring(Effect.void, Effect.die("bug"))],
    [
      "throw",
      Effect.suspend(() => {
        throw new Error("bug")
      })
    ]
  ] as ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]>) {
    it.effect(`a ${what} keeps its exit and frees its place`, () =>
      Effect.gen(function* () {
        const bulkhead = Bulkhead.makeUnsafe({ concurrency: 1 })
        for (let i = 0; i < 3; i++) {
          const exit = yield* Effect.exit(Effect.uninterruptibleMask(() => Effect.exit(Bulkhead.limit(self, bulkhead))))
          assert.isTrue(Exit.isSuccess(exit))
          if (Exit.isSuccess(exit)) assert.strictEqual(Exit.isSuccess(exit.value), what === "success")
        }
        assert.deepStrictEqual(held(bulkhead), [0, 0, 0])
      })
    )
  }

  it.effect("one effect that is limited once may run many times, and two bulkheads share nothing", () =>
    Effect.gen(function* () {
      const [one, other] = [Bulkhead.makeUnsafe({ concurrency: 1 }), Bulkhead.makeUnsafe({ concurrency: 1 })]
      const limited = Bulkhead.limit(Effect.never, one)
      const fiber = yield* start(limited)
      assert.isTrue(BulkheadFull.isBulkheadFull(yield* Effect.flip(limited)))
      yield* Bulkhead.limit(Effect.void, other)
      assert.deepStrictEqual(
        [held(one), held(other)],
        [
          [1, 0, 1],
          [0, 0, 0]
        ]
      )
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(held(one), [0, 0, 1])
    })
  )
})

describe("Interruption frees the place at every point", () => {
  for (let yields = 0; yields < 24; yields++) {
    it.effect(`after ${yields} turns of everybody`, () =>
      Effect.gen(function* () {
        const bulkhead = Bulkhead.makeUnsafe({ concurrency: 2, queue: 3 })
        const self = Bulkhead.limit(
          Effect.forEach(Array.from({ length: 4 }), () => Effect.yieldNow),
          bulkhead
        )
        const fibers = yield* Effect.forEach(Array.from({ length: 7 }), () => Effect.forkChild(self))
        for (let i = 0; i < yields; i++) yield* Effect.yieldNow
        yield* Fiber.interruptAll(fibers.filter((_, i) => i % 3 !== yields % 3))
        yield* Effect.forEach(fibers, Fiber.await)
        assert.deepStrictEqual(held(bulkhead).slice(0, 2), [0, 0])
        // All places are there again.
        yield* Effect.all(
          [1, 2, 3, 4, 5].map(() => Bulkhead.limit(Effect.yieldNow, bulkhead)),
          {
            concurrency: "unbounded"
          }
        )
      })
    )
  }

  it.effect("a place that its holder frees while the next in the queue is interrupted goes to the one after", () =>
    Effect.gen(function* () {
      const bulkhead = Bulkhead.makeUnsafe({ concurrency: 1, queue: 2 })
      const holder = yield* start(Bulkhead.limit(Effect.never, bulkhead))
      const next = yield* start(Bulkhead.limit(Effect.never, bulkhead))
      const after = yield* start(Bulkhead.limit(Effect.succeed("served"), bulkhead))
      holder.interruptUnsafe()
      next.interruptUnsafe()
      assert.strictEqual(yield* Fiber.join(after), "served")
      assert.deepStrictEqual(held(bulkhead), [0, 0, 0])
    })
  )

  it.effect("what cannot be interrupted holds its place until it has ended, and no longer", () =>
    Effect.gen(function* () {
      const bulkhead = Bulkhead.makeUnsafe({ concurrency: 1 })
      const fiber = yield* start(Bulkhead.limit(Effect.uninterruptible(Effect.sleep("1 second")), bulkhead))
      fiber.interruptUnsafe()
      yield* breathe
      assert.deepStrictEqual(held(bulkhead), [1, 0, 0])
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(fiber)
      assert.deepStrictEqual(held(bulkhead), [0, 0, 0])
    })
  )
})

const one = { concurrency: 1, queue: 20 }
const perInterval = { key: "api", limit: 1, window: "200 millis", onExceeded: "delay" } as const
const Limits = Layer.provide(RateLimiter.layer, RateLimiter.layerStoreMemory)

describe.each([
  ["bulkhead", Resilience.bulkhead(one)],
  ["rate limiter", Resilience.rateLimit(RateLimiter.RateLimiter, perInterval)]
] as const)("The wait in a %s inside a circuit", (_, queue) => {
  /** Starts calls at once, and another call after 350 milliseconds. Each call runs for 200 milliseconds. Waits until all calls end. */
  const run = (count: number, policy: BreakerPolicy.Input) =>
    Effect.gen(function* () {
      const call = Resilience.pipeline(queue, Resilience.breaker("api", { policy }))(Effect.sleep("200 millis"))
      const first = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: count }, () => call),
          { concurrency: "unbounded" }
        )
      )
      yield* TestClock.adjust("350 millis")
      const last = yield* Effect.forkChild(call)
      yield* TestClock.adjust("1 day")
      yield* Fiber.await(first)
      yield* Fiber.await(last)
      return yield* CircuitBreaker.inspect("api")
    }).pipe(Effect.provide([BreakerStore.layerMemory, Limits]))

  it.effect.each([
    ["makes no call slow", 3, { slowCall: "300 millis" }],
    ["makes no call stuck", 3, { trip: Trip.stuck({ calls: 1, olderThan: "300 millis" }) }],
    ["makes no call late for the limit", 12, { limit: { objective: "300 millis" } }]
  ] as const)("%s", ([, count, policy]) =>
    Effect.gen(function* () {
      const { limit, state, totals } = yield* run(count, policy)
      assert.deepStrictEqual([state, limit, totals.slow, totals.successes], ["Closed", undefined, 0, count + 1])
    })
  )
})

it.effect("If a call stops waiting in a bulkhead, its time counts for slowCall again", () =>
  Effect.gen(function* () {
    const bulkhead = Bulkhead.makeUnsafe({ concurrency: 1, queue: 10 })
    const call = Effect.never.pipe(
      Bulkhead.limit(bulkhead),
      Effect.timeout("100 millis"),
      Effect.catch(() => Effect.sleep("400 millis")),
      CircuitBreaker.protect("api", { policy: { slowCall: "300 millis" } })
    )
    const fiber = yield* Effect.forkChild(Effect.all([call, call], { concurrency: 2 }))
    yield* start(Bulkhead.limit(Effect.never, bulkhead))
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(fiber)
    assert.strictEqual((yield* CircuitBreaker.inspect("api")).totals.slow, 2)
  }).pipe(Effect.provide(BreakerStore.layerMemory))
)

describe("BulkheadFull", () => {
  const full = (options: Bulkhead.Options) =>
    Effect.gen(function* () {
      const bulkhead = Bulkhead.makeUnsafe(options)
      const running = options.concurrency + (options.queue ?? 0)
      yield* Effect.forEach(Array.from({ length: running }), () => start(Bulkhead.limit(Effect.never, bulkhead)))
      return yield* Effect.flip(Bulkhead.limit(Effect.never, bulkhead))
    })
  const cases: ReadonlyArray<readonly [Bulkhead.Options, message: string]> = [
    [{ concurrency: 1 }, 'Bulkhead "bulkhead" is full: 1 running'],
    [{ concurrency: 2, queue: 0, name: "a" }, 'Bulkhead "a" is full: 2 running'],
    [{ concurrency: 2, queue: 3, name: 'x"\u001b[31m' }, 'Bulkhead "x\\"\\u001b[31m" is full: 2 running and 3 waiting']
  ]
  for (const [options, message] of cases) {
    it.effect(`says ${message}, and survives its encoding`, () =>
      Effect.gen(function* () {
        const error = yield* full(options)
        assert.strictEqual(error.message, message)
        assert.strictEqual(String(error), `BulkheadFull: ${message}`)
        const { concurrency, name = "bulkhead", queue = 0 } = options
        assert.deepStrictEqual(
          [error._tag, error.bulkhead, error.concurrency, error.queue],
          ["BulkheadFull", name, concurrency, queue]
        )
        assert.instanceOf(error, Error)
        const json = JSON.stringify(yield* Schema.encodeEffect(BulkheadFull.BulkheadFull)(error))
        assert.deepStrictEqual(JSON.parse(json), { _tag: "BulkheadFull", bulkhead: name, concurrency, queue })
        const decoded = yield* Schema.decodeUnknownEffect(BulkheadFull.BulkheadFull)(JSON.parse(json))
        assert.isTrue(BulkheadFull.isBulkheadFull(decoded))
        assert.strictEqual(decoded.message, message)
        // What comes over the wire is a rejection as well: a retry leaves it alone.
        let calls = 0
        const remote = Effect.suspend(() => {
          calls++
          return Effect.fail(decoded)
        })
        yield* Effect.flip(Resilience.retry()(remote))
        assert.strictEqual(calls, 1)
        assert.strictEqual(Cause.squash(Cause.fail(error)), error)
      })
    )
  }

  it("is nothing else", () => {
    for (const other of [null, undefined, 1, {}, { _tag: "BulkheadFull" }, new Error("BulkheadFull")]) {
      assert.isFalse(BulkheadFull.isBulkheadFull(other))
      assert.isFalse(Bulkhead.isBulkhead(other))
    }
  })
})

describe("Options that are wrong throw a RangeError that names them", () => {
  const wrong: ReadonlyArray<readonly [options: unknown, field: string]> = [
    ...[0, -1, 1.5, Number.NaN, Infinity, "2", null, undefined].map(
      (concurrency) => [{ concurrency }, "concurrency"] as const
    ),
    ...[-1, 0.5, Number.NaN, Infinity, "2", null].map((queue) => [{ concurrency: 1, queue }, "queue"] as const),
    ...["", 1, null].map((name) => [{ concurrency: 1, name }, "name"] as const),
    [{ concurrency: 1, size: 2 }, "size"],
    [{}, "concurrency"],
    [undefined, "concurrency"],
    [null, "concurrency"],
    [5, "concurrency"]
  ]
  for (const [options, field] of wrong) {
    it(`${JSON.stringify(options) ?? "nothing"} names ${field}`, () => {
      for (const [operation, make] of [
        ["Bulkhead.makeUnsafe", Bulkhead.makeUnsafe],
        ["Bulkhead.make", Bulkhead.make],
        ["Resilience.bulkhead", Resilience.bulkhead]
      ] as const) {
        assert.throws(() => make(options as Bulkhead.Options), RangeError, new RegExp(`^${operation}: .*${field}`))
      }
    })
  }

  it("all wrong options are named in one error", () => {
    const make = () => Bulkhead.makeUnsafe({ concurrency: 0, queue: -1, name: "" })
    for (const field of ["concurrency", "queue", "name"]) assert.throws(make, RangeError, field)
  })
})

describe("1,000 callers at once through the whole pipeline leave nothing behind", () => {
  for (const seed of ["a", "b", "c", "d"]) {
    for (const interrupting of [false, true]) {
      it.effect(`seed ${seed}, ${interrupting ? "some interrupted" : "none interrupted"}`, () =>
        Effect.gen(function* () {
          const bulkhead = Bulkhead.makeUnsafe({ concurrency: 20, queue: 50 })
          const resilient = Resilience.standard("api", {
            timeout: "1 second",
            bulkhead,
            breaker: {
              policy: { trip: Trip.failureRate({ threshold: 0.5, minimumCalls: 40, over: 100 }), cooldown: "2 seconds" }
            },
            retry: { times: 2, while: () => true, waitForCircuit: "3 seconds" }
          })
          let running = 0
          let most = 0
          const body = Effect.gen(function* () {
            most = Math.max(most, ++running)
            const dice = yield* Random.next
            yield* Effect.sleep(Math.floor(dice * 1_500))
            if (dice < 0.2) return yield* Effect.fail("boom")
            if (dice < 0.25) return yield* Effect.die("bug")
            if (dice < 0.3) return yield* Effect.interrupt
            return dice
          }).pipe(
            Effect.ensuring(
              Effect.sync(() => {
                running--
              })
            )
          )
          const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
          for (let i = 0; i < 1_000; i++) {
            fibers.push(yield* Effect.forkChild(resilient(body)))
            if (i % 100 === 0) yield* TestClock.adjust("300 millis")
            if (interrupting && i % 3 === 0) {
              const victim = fibers[Math.floor((yield* Random.next) * fibers.length)]
              victim?.interruptUnsafe()
            }
          }
          yield* TestClock.adjust("10 minutes")
          const exits = yield* Effect.forEach(fibers, Fiber.await)
          assert.strictEqual(exits.length, 1_000)
          assert.isAtMost(most, 20)
          assert.isAbove(exits.filter(Exit.isSuccess).length, 0)
          assert.deepStrictEqual(held(bulkhead).slice(0, 2), [0, 0])
          const { inFlight, probing, totals } = yield* CircuitBreaker.inspect("api")
          assert.deepStrictEqual([running, inFlight, probing], [0, 0, 0])
          assert.strictEqual(totals.calls, totals.successes + totals.failures + totals.ignored)
        }).pipe(
          Random.withSeed(seed),
          Effect.provide(BreakerStore.layerMemory),
          Effect.provide(BreakerPolicy.layer({}))
        )
      )
    }
  }
})
