import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Queue, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, CircuitPool } from "effect-fuse"
import { capture, errorOf, expectState, type Line, quick, scenario, times } from "./support/verbs.ts"

const choose = "roundRobin"
const called = (pool: CircuitPool.CircuitPool<string>) => CircuitPool.call(pool, Effect.succeed)
const loads = (pool: CircuitPool.CircuitPool<unknown>) =>
  Effect.map(CircuitPool.inspect(pool), (all) => all.map(({ inFlight, name }) => [name, inFlight] as const))

type List = ReadonlyArray<string> | Readonly<Record<string, string>>

/** Makes a pool. `announce` replaces the list of its members. */
const announcing = (first: List) =>
  Effect.gen(function* () {
    const lists = yield* Queue.unbounded<List>()
    yield* Queue.offer(lists, first)
    const pool = yield* CircuitPool.discover("api", { members: Stream.fromQueue(lists), choose })
    const announce = (list: List) => Effect.andThen(Queue.offer(lists, list), TestClock.adjust(1))
    return { announce, pool }
  })

describe("a pool that discovers its members", () => {
  scenario("from a stream: calls go to the members of the latest list", quick, function* () {
    const { announce, pool } = yield* announcing(["a", "b"])
    assert.deepStrictEqual(yield* times(3, called(pool)), ["a", "b", "a"])
    yield* announce(["b", "c"])
    assert.deepStrictEqual(pool.members, ["b", "c"])
    assert.sameMembers(yield* times(2, called(pool)), ["b", "c"])
  })

  scenario("from an effect, which runs again every 30 seconds", quick, function* () {
    let hosts = ["a"]
    const pool = yield* CircuitPool.discover("api", { members: Effect.sync(() => hosts) })
    hosts = ["b"]
    yield* TestClock.adjust("29 seconds")
    assert.strictEqual(yield* called(pool), "a")
    yield* TestClock.adjust("1 second")
    assert.strictEqual(yield* called(pool), "b")
  })

  scenario("from an object: calls receive the latest value of a name", quick, function* () {
    const { announce, pool } = yield* announcing({ a: "10.0.0.1" })
    assert.strictEqual(yield* called(pool), "10.0.0.1")
    yield* announce({ a: "10.0.0.2" })
    assert.strictEqual(yield* called(pool), "10.0.0.2")
  })

  scenario("a member that stays in the list keeps its circuit and its calls in flight", quick, function* () {
    const { announce, pool } = yield* announcing(["a", "b"])
    yield* Effect.exit(CircuitBreaker.protect(Effect.fail("boom"), "api", { key: "a" }))
    yield* Effect.forkChild(
      CircuitPool.call(pool, () => Effect.never),
      { startImmediately: true }
    )
    yield* announce(["c", "b", "a"])
    assert.deepStrictEqual(yield* loads(pool), [
      ["c", 0],
      ["b", 1],
      ["a", 0]
    ])
    yield* expectState("Open", { key: "a" })
    assert.sameMembers(yield* times(2, called(pool)), ["b", "c"])
  })

  scenario("a call in flight to a removed member ends normally", quick, function* () {
    const { announce, pool } = yield* announcing(["a"])
    const answer = yield* Deferred.make<string>()
    const fiber = yield* Effect.forkChild(
      CircuitPool.call(pool, () => Deferred.await(answer)),
      { startImmediately: true }
    )
    yield* announce(["b"])
    yield* Deferred.succeed(answer, "late")
    assert.strictEqual(yield* Fiber.join(fiber), "late")
    assert.strictEqual((yield* CircuitBreaker.inspect("api", { key: "a" })).totals.successes, 1)
    assert.deepStrictEqual(yield* loads(pool), [["b", 0]])
  })

  scenario("health and resetAll apply to the current members", quick, function* () {
    const { announce, pool } = yield* announcing(["a", "b"])
    yield* Effect.exit(CircuitBreaker.protect(Effect.fail("boom"), "api", { key: "a" }))
    assert.deepInclude(yield* CircuitPool.health(pool), { healthy: 1, total: 2 })
    yield* announce(["b", "c"])
    assert.deepInclude(yield* CircuitPool.health(pool), { healthy: 2, total: 2 })
    yield* CircuitPool.resetAll(pool)
    yield* expectState("Open", { key: "a" })
  })

  scenario("weights come from a function of name and value", quick, function* () {
    const members = Effect.succeed({ big: 2, small: 1 })
    const pool = yield* CircuitPool.discover("api", { members, choose, weights: (_, cores) => cores })
    const names = yield* times(
      6,
      CircuitPool.call(pool, (_, name) => Effect.succeed(name))
    )
    assert.deepStrictEqual(names, ["big", "small", "big", "big", "small", "big"])
  })

  it.effect("the store evicts circuits of removed members to make room for new circuits", () =>
    Effect.gen(function* () {
      const { announce, pool } = yield* announcing(["a", "b"])
      yield* times(2, called(pool))
      yield* announce(["c", "d"])
      yield* TestClock.adjust("1 minute")
      yield* times(2, called(pool))
      assert.deepStrictEqual((yield* CircuitBreaker.list).map(({ key }) => key).sort(), ["c", "d"])
    }).pipe(Effect.scoped, Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 2 })))
  )
})

describe("a lookup that finds no members", () => {
  scenario("fails the pool if it is the first lookup", quick, function* () {
    const pool = CircuitPool.discover("api", { members: Effect.fail("no registry") })
    assert.deepStrictEqual(yield* Effect.exit(pool), Exit.fail("no registry"))
    const broken = CircuitPool.discover("api", { members: Stream.fail("no registry") })
    assert.deepStrictEqual(yield* Effect.exit(broken), Exit.fail("no registry"))
  })

  for (const [what, wrong] of [
    ["an empty name", [""]],
    ["no list", 7],
    ["two members of one name", ["a", "a"]]
  ] as const) {
    scenario(`is a defect with a reason if the first lookup returns ${what}`, quick, function* () {
      const exit = yield* Effect.exit(CircuitPool.discover("api", { members: Effect.succeed(wrong as never) }))
      assert.match(String(errorOf(exit)), /CircuitPool\.discover: members: expected an object from names to values/)
    })
  }

  scenario("makes the pool wait for the next lookup if the list is empty", quick, function* () {
    let hosts: ReadonlyArray<string> = []
    const lines: Array<Line> = []
    const fiber = yield* Effect.forkChild(
      capture(lines, CircuitPool.discover("api", { members: Effect.sync(() => hosts), every: "10 seconds" }))
    )
    yield* TestClock.adjust("5 seconds")
    assert.strictEqual(fiber.pollUnsafe(), undefined)
    hosts = ["a"]
    yield* TestClock.adjust("5 seconds")
    assert.strictEqual(yield* called(yield* Fiber.join(fiber)), "a")
    assert.match(lines[0]?.message ?? "", /The pool "api" has no members yet: the list that was found is empty/)
  })

  const later: ReadonlyArray<readonly [what: string, next: Effect.Effect<List, string>, says: RegExp]> = [
    ["fails", Effect.fail("registry down"), /registry down/],
    ["dies", Effect.die(new Error("bug")), /bug/],
    ["is empty", Effect.succeed([]), /is empty/],
    ["is no list", Effect.succeed(7 as never), /members: expected/]
  ]
  for (const [what, next, says] of later) {
    scenario(
      `keeps the members and logs why if a later lookup ${what}, and the next lookup updates them`,
      quick,
      function* () {
        const lookups: Array<Effect.Effect<List, string>> = [Effect.succeed(["a"]), next, Effect.succeed(["b"])]
        const members = Effect.suspend(() => lookups.shift() ?? Effect.never)
        const lines: Array<Line> = []
        const pool = yield* Effect.orDie(capture(lines, CircuitPool.discover("api", { members })))
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(yield* called(pool), "a")
        assert.match(lines[0]?.message ?? "", says)
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(yield* called(pool), "b")
        assert.strictEqual(lines.length, 1)
      }
    )
  }

  scenario("a stream that fails starts again", quick, function* () {
    let runs = 0
    const members = Stream.suspend(() => Stream.concat(Stream.succeed([`run ${++runs}`]), Stream.fail("lost")))
    const pool = yield* Effect.orDie(CircuitPool.discover("api", { members, every: "10 seconds" }))
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(yield* called(pool), "run 2")
  })
})

scenario("a pool stops its lookups when its scope closes or its start is interrupted", quick, function* () {
  let lookups = 0
  const members = Effect.sync((): ReadonlyArray<string> => (++lookups === 1 ? ["a"] : []))
  const scope = yield* Scope.make()
  const pool = yield* Scope.provide(CircuitPool.discover("api", { members }), scope)
  yield* Scope.close(scope, Exit.void)
  yield* TestClock.adjust("5 minutes")
  assert.strictEqual(lookups, 1)
  assert.strictEqual(yield* called(pool), "a")
  const waiting = yield* Effect.forkChild(CircuitPool.discover("api", { members }))
  yield* TestClock.adjust("1 second")
  yield* Fiber.interrupt(waiting)
  yield* TestClock.adjust("5 minutes")
  assert.strictEqual(lookups, 2)
})
