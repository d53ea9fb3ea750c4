import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"
import { call, capture, type Line, quick, scenario, succeed } from "./support/verbs.ts"

const warningsOf = (lines: ReadonlyArray<Line>, about: RegExp) =>
  lines.filter(({ level, message }) => level === "Warn" && about.test(message)).map(({ message }) => message)

const interruptions = /are interrupted after about/

describe("a timeout around a circuit", () => {
  const slow = Effect.timeoutOption(call(Effect.never), "5 seconds")
  const many = (
    self: Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>,
    times: number,
    apart = "1 second" as const
  ) =>
    Effect.gen(function* () {
      const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
      for (let i = 0; i < times; i++) {
        fibers.push(yield* Effect.forkChild(self, { startImmediately: true }))
        yield* TestClock.adjust(apart)
      }
      yield* TestClock.adjust("10 seconds")
      yield* Effect.forEach(fibers, Fiber.await)
    })

  scenario("is reported once, with the time and the cure", quick, function* () {
    const lines: Array<Line> = []
    yield* capture(lines, many(slow, 100))
    const [line, ...more] = warningsOf(lines, interruptions)
    assert.include(line, 'Most calls of the circuit "api" are interrupted after about 5s.')
    assert.include(line, 'call.pipe(Effect.timeout("5 seconds"), CircuitBreaker.protect("name"))')
    assert.deepStrictEqual(more, [])
  })

  scenario("is reported once for all keys of a name", quick, function* () {
    const lines: Array<Line> = []
    const of = (key: string) => Effect.timeoutOption(call(Effect.never, { key }), "5 seconds")
    yield* capture(lines, Effect.andThen(many(of("a"), 50), many(of("b"), 50)))
    assert.strictEqual(warningsOf(lines, interruptions).length, 1)
  })

  const harmless: ReadonlyArray<
    readonly [what: string, self: Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>]
  > = [
    ["a timeout inside it", call(Effect.timeout(Effect.never, "5 seconds"))],
    ["few calls that are interrupted", Effect.andThen(succeed(), Effect.andThen(succeed(), slow))]
  ]
  for (const [what, self] of harmless) {
    scenario(`is not what is reported of ${what}`, {}, function* () {
      const lines: Array<Line> = []
      yield* capture(lines, many(self, 100))
      assert.deepStrictEqual(warningsOf(lines, interruptions), [])
    })
  }

  scenario("is not what is reported of callers that leave after different times", {}, function* () {
    const lines: Array<Line> = []
    for (let i = 0; i < 100; i++) {
      const fiber = yield* Effect.forkChild(capture(lines, call(Effect.never)), { startImmediately: true })
      yield* TestClock.adjust(1_000 * (1 + (i % 5)))
      yield* Fiber.interrupt(fiber)
    }
    assert.deepStrictEqual(warningsOf(lines, interruptions), [])
  })

  scenario("is not what is reported of many calls that one event ends", {}, function* () {
    const lines: Array<Line> = []
    const all = Array.from({ length: 200 }, () => call(Effect.never))
    const fiber = yield* Effect.forkChild(capture(lines, Effect.all(all, { concurrency: "unbounded" })), {
      startImmediately: true
    })
    yield* TestClock.adjust("5 seconds")
    yield* Fiber.interrupt(fiber)
    assert.deepStrictEqual(warningsOf(lines, interruptions), [])
  })
})

describe("a call with a name that `names` does not list", () => {
  const policies = Layer.orDie(BreakerPolicy.layer({ names: ["payments", "search\u001b[2J"] }))
  const of = (name: string) => CircuitBreaker.protect(Effect.void, name)
  const unlisted = /`names` of BreakerPolicy does not list/

  it.effect("is reported once for each name, and a listed one is not", () => {
    const lines: Array<Line> = []
    const calls = Effect.gen(function* () {
      for (let i = 0; i < 3; i++) yield* Effect.all([of("payments"), of("paymnets"), of("serch")])
      // Looking at a name does not call it.
      yield* CircuitBreaker.inspect("other")
      yield* Effect.yieldNow
    })
    return Effect.gen(function* () {
      const store = yield* Layer.build(BreakerStore.layerMemory)
      yield* Effect.provideContext(calls, store)
      const found = warningsOf(lines, unlisted)
      assert.strictEqual(found.length, 2)
      assert.include(found[0], 'the circuit "paymnets"')
      assert.include(found[0], "(payments, search")
      assert.notInclude(found[0], "\u001b")
      assert.include(found[1], 'the circuit "serch"')
    }).pipe(Effect.provide(policies), (self) => capture(lines, Effect.scoped(self)))
  })

  it.effect("is not reported without `names`, and for at most 20 names", () => {
    const lines: Array<Line> = []
    const calls = Effect.forEach(
      Array.from({ length: 100 }, (_, i) => `made up ${i}`),
      of
    )
    return Effect.gen(function* () {
      const one = yield* Layer.build(BreakerStore.layerMemory)
      yield* Effect.provideContext(calls, one)
      assert.deepStrictEqual(warningsOf(lines, unlisted), [])
      const other = yield* Layer.build(Layer.fresh(BreakerStore.layerMemory))
      yield* Effect.provide(Effect.provideContext(Effect.andThen(calls, Effect.yieldNow), other), policies)
      assert.strictEqual(warningsOf(lines, unlisted).length, 20)
    }).pipe((self) => capture(lines, Effect.scoped(self)))
  })
})

describe("a store for each call", () => {
  const one = Effect.provide(CircuitBreaker.protect(Effect.void, "api"), Layer.fresh(BreakerStore.layerMemory))
  const built = /stores of circuits were built and closed/

  it.effect("is not reported under the clock of a test", () => {
    const lines: Array<Line> = []
    return Effect.gen(function* () {
      for (let i = 0; i < 300; i++) yield* one
      assert.deepStrictEqual(warningsOf(lines, built), [])
    }).pipe((self) => capture(lines, self))
  })
})
