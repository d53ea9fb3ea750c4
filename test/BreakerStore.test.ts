import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Fiber, Layer, Schema, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { byHand } from "./support/byHand.ts"
import { capture, type Line } from "./support/verbs.ts"

type Needs = BreakerStore.BreakerStore | Scope.Scope

/** Runs a program with its own store of at most `maxCircuits` circuits. */
const withStore =
  (maxCircuits: number, policy: BreakerPolicy.Input = {}) =>
  <A, E>(self: Effect.Effect<A, E, Needs>) =>
    self.pipe(
      Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits })),
      Effect.provide(BreakerPolicy.layer({ default: policy }))
    )

const call = <A, E>(self: Effect.Effect<A, E>, key?: string, name = "api") =>
  CircuitBreaker.protect(self, name, { key })
const succeed = (key?: string, name?: string) => Effect.exit(call(Effect.succeed("up"), key, name))
const fail = (key?: string, name?: string) => Effect.exit(call(Effect.fail("down"), key, name))
const inspect = (key?: string) => CircuitBreaker.inspect("api", { key })

const keys = (prefix: string, n: number) => Array.from({ length: n }, (_, index) => `${prefix}-${index}`)
const flood = (n: number, name?: string) =>
  Effect.forEach(keys("made-up", n), (key) => succeed(key, name), { discard: true })

/** Creates five circuits with a recent failure: a store of five can evict none of them. */
const fill = Effect.forEach(keys("failing", 5), (key) => fail(key), { discard: true })

describe("a store that is full", () => {
  it.effect("evicts idle circuits, and no more than necessary", () =>
    Effect.gen(function* () {
      yield* flood(10)
      assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 10, evicted: 0, overflowed: 0 })
      yield* succeed("another")
      assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 10, evicted: 1, overflowed: 0 })
      assert.strictEqual((yield* inspect("made-up-0")).totals.calls, 0)
      assert.strictEqual((yield* inspect("made-up-1")).totals.calls, 1)
      yield* succeed("made-up-1")
      assert.strictEqual((yield* inspect("made-up-1")).totals.calls, 2)
      assert.strictEqual((yield* BreakerStore.stats).evicted, 1)
    }).pipe(withStore(10))
  )

  const trip = Effect.replicateEffect(fail("kept"), 2)
  const target = { key: "kept" }
  const hanging = Effect.forkChild(call(Effect.never, "kept"))
  const busy: ReadonlyArray<readonly [why: string, make: Effect.Effect<unknown, unknown, Needs>]> = [
    ["has failed", fail("kept")],
    ["has failed longer ago than its window reaches", Effect.andThen(fail("kept"), TestClock.adjust("10 minutes"))],
    ["has a failure in its window, though the last call succeeded", Effect.andThen(fail("kept"), succeed("kept"))],
    [
      "has a slow call in its window",
      Effect.gen(function* () {
        const slow = yield* Effect.forkChild(call(Effect.sleep("2 seconds"), "kept"))
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.join(slow)
      })
    ],
    ["has a call in flight", Effect.andThen(hanging, Effect.yieldNow)],
    ["has a permit out", CircuitBreaker.admit("api", target)],
    ["is Open", trip],
    ["is Open and could be probed", Effect.andThen(trip, TestClock.adjust("1 hour"))],
    ["is HalfOpen", Effect.all([trip, TestClock.adjust("30 seconds"), hanging, Effect.yieldNow])],
    ["is isolated", CircuitBreaker.isolate("api", target)],
    ["is disabled", CircuitBreaker.disable("api", target)],
    [
      "has just recovered",
      Effect.all([trip, TestClock.adjust("30 seconds"), succeed("kept"), TestClock.adjust("15 seconds")])
    ],
    [
      "is ramping",
      Effect.all([
        CircuitBreaker.open("api", { ...target, for: 1 }),
        CircuitBreaker.close("api", target),
        TestClock.adjust(5)
      ])
    ]
  ]

  const policy: BreakerPolicy.Input = {
    trip: Trip.any(Trip.consecutive(2), Trip.failures({ atLeast: 9, of: "5 minutes" })),
    ramp: "10 seconds"
  }

  it.effect.each(busy)("does not evict a circuit that %s", ([_, make]) =>
    Effect.gen(function* () {
      yield* make
      const before = yield* inspect("kept")
      yield* flood(200)
      assert.isAbove((yield* BreakerStore.stats).evicted, 100)
      assert.deepStrictEqual(yield* inspect("kept"), before)
      assert.isTrue(before.epoch > 0 || before.totals.calls > 0 || before.inFlight > 0 || before.state !== "Closed")
    }).pipe(withStore(4, policy))
  )

  it.effect("evicts a circuit whose failures are too old to count", () =>
    Effect.gen(function* () {
      yield* fail("old")
      yield* TestClock.adjust("61 minutes")
      yield* flood(20)
      assert.strictEqual((yield* inspect("old")).totals.calls, 0)
    }).pipe(withStore(4, policy))
  )

  it.effect("keeps failing circuits during a flood of new keys", () =>
    Effect.gen(function* () {
      for (const round of [1, 2, 3, 4]) {
        yield* fail("real")
        yield* flood(50)
        assert.strictEqual((yield* inspect("real")).streak, round)
      }
      yield* fail("real")
      assert.strictEqual((yield* inspect("real")).state, "Open")
      yield* flood(50)
      assert.strictEqual((yield* succeed("real"))._tag, "Failure")
    }).pipe(withStore(4))
  )

  it.effect("gives new keys one shared circuit for each name if no circuit is idle, and counts them", () =>
    Effect.gen(function* () {
      yield* fill
      assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 5, evicted: 0, overflowed: 0 })
      for (const key of ["a", "b", "c", "d", "e"]) yield* fail(key)
      assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 6, evicted: 0, overflowed: 5 })
      const rejected = yield* Effect.flip(call(Effect.void, "f"))
      assert.strictEqual(rejected.key, "(overflow)")
      assert.strictEqual((yield* succeed("a", "other"))._tag, "Success")
      for (const key of keys("failing", 5)) assert.strictEqual((yield* succeed(key))._tag, "Success")
      assert.strictEqual((yield* succeed())._tag, "Success")
      assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 8, evicted: 0, overflowed: 7 })
    }).pipe(withStore(5))
  )

  it.effect("warns once that there is no room", () => {
    const lines: Array<Line> = []
    return Effect.gen(function* () {
      yield* fill
      for (const key of ["a", "b", "c"]) yield* fail(key)
      const said = lines.filter(({ message }) => message.startsWith("There is room for 5 circuits"))
      assert.deepStrictEqual(
        said.map(({ level }) => level),
        ["Warn"]
      )
    }).pipe(withStore(5), (self) => capture(lines, self))
  })

  it.effect("gives keys circuits of their own again once there is room", () =>
    Effect.gen(function* () {
      yield* fill
      yield* fail("late")
      yield* TestClock.adjust("2 hours")
      yield* fail("late")
      const { circuits, evicted, overflowed } = yield* BreakerStore.stats
      assert.deepStrictEqual([circuits, evicted, overflowed], [6, 1, 1])
      assert.strictEqual((yield* inspect("late")).totals.failures, 1)
    }).pipe(withStore(5))
  )

  it.effect("does not count circuits without a key", () =>
    Effect.gen(function* () {
      for (const name of keys("name", 10)) yield* fail(undefined, name)
      yield* fail("only")
      assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 11, evicted: 0, overflowed: 0 })
    }).pipe(withStore(1))
  )

  it.effect("evicts the oldest idle circuit first, and spares circuits that were called since the last search", () =>
    Effect.gen(function* () {
      const gone = Effect.map(CircuitBreaker.list, (left) => {
        const kept = left.map(({ key }) => key)
        return keys("made-up", 100).filter((key) => !kept.includes(key))
      })
      yield* flood(100)
      yield* succeed("new-1")
      assert.deepStrictEqual(yield* gone, ["made-up-0"])
      yield* succeed("made-up-1")
      yield* succeed("made-up-3")
      for (const key of ["new-2", "new-3"]) yield* succeed(key)
      assert.deepStrictEqual(yield* gone, ["made-up-0", "made-up-2", "made-up-4"])
    }).pipe(withStore(100))
  )

  it.effect.each([
    [40, 80, 0],
    [255, 256, 0],
    [256, 257, 1]
  ] as const)("and in which %i of %i have failed looks at 256 for one that is idle", ([failing, maxCircuits, shared]) =>
    Effect.gen(function* () {
      for (const key of keys("failing", failing)) yield* fail(key)
      yield* flood(maxCircuits - failing)
      yield* succeed("first")
      const stats = yield* BreakerStore.stats
      assert.deepStrictEqual([stats.evicted, stats.overflowed], [1 - shared, shared])
      // The next search continues where the previous one ended.
      yield* succeed("second")
      assert.strictEqual((yield* BreakerStore.stats).overflowed, shared)
    }).pipe(withStore(maxCircuits))
  )

  it.effect.each(["isolate", "disable", "open", "close", "release", "reset"] as const)(
    "creates the circuit that an operator action names: %s",
    (verb) =>
      Effect.gen(function* () {
        yield* fill
        yield* fail("shared")
        const overflow = yield* inspect("(overflow)")
        yield* byHand(verb, "api", { key: "meant" })
        const kept = (yield* CircuitBreaker.list).map(({ key }) => key)
        assert.sameMembers(
          kept.filter((key) => key !== undefined),
          [...keys("failing", 5), "(overflow)", "meant"]
        )
        assert.deepStrictEqual(yield* inspect("(overflow)"), overflow)
        const states = { isolate: "Isolated", disable: "Disabled", open: "Open" }
        assert.strictEqual((yield* inspect("meant")).state, verb in states ? states[verb as "open"] : "Closed")
        assert.strictEqual((yield* succeed("another"))._tag, "Success")
        const rejects = verb === "isolate" || verb === "open"
        assert.strictEqual((yield* succeed("meant"))._tag, rejects ? "Failure" : "Success")
      }).pipe(withStore(5))
  )

  const steps = Schema.Array(
    Schema.Struct({
      key: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 })),
      name: Schema.Literals(["a", "b"]),
      act: Schema.Literals(["succeed", "fail", "isolate", "release", "wait"])
    })
  )

  it.effect.prop(
    "holds at most maxCircuits circuits, and those that operator actions name",
    [Arbitrary.array(Arbitrary.schema(steps), { maxLength: 5 })],
    ([all]) =>
      Effect.gen(function* () {
        let before = 0
        for (const { act, key, name } of all.flat()) {
          const calls = act === "succeed" || act === "fail"
          if (calls) yield* (act === "succeed" ? succeed : fail)(`${key}`, name)
          else if (act === "wait") yield* TestClock.adjust("10 minutes")
          else yield* CircuitBreaker[act](name, { key: `${key}` })
          const found = yield* CircuitBreaker.list
          const { circuits } = yield* BreakerStore.stats
          assert.strictEqual(found.length, circuits)
          const ids = found.map((one) => `${one.circuit} ${one.key}`)
          assert.strictEqual(new Set(ids).size, ids.length)
          const kept = found.filter((one) => one.key !== undefined && one.key !== "(overflow)").length
          if (calls) assert.isAtMost(kept, Math.max(before, 4))
          else if (act === "wait") assert.strictEqual(kept, before)
          else {
            assert.isAtMost(kept, before + 1)
            assert.include(ids, `${name} ${key}`)
          }
          before = kept
        }
      }).pipe(withStore(4))
  )
})

describe("keys", () => {
  it.effect("are any text of up to 512 characters; longer ones share a circuit and are counted", () =>
    Effect.gen(function* () {
      for (const key of ["", " ", "a/b", "%", "__proto__", "\u0000", "é", "x".repeat(512), "y".repeat(512)]) {
        yield* fail(key)
        const { totals } = yield* inspect(key)
        assert.strictEqual(totals.failures, 1)
      }
      assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 9, evicted: 0, overflowed: 0 })
      for (const letter of "abcde") yield* fail(letter.repeat(513))
      assert.strictEqual((yield* succeed("f".repeat(600)))._tag, "Failure")
      assert.strictEqual((yield* succeed("x".repeat(512)))._tag, "Success")
      assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 10, evicted: 0, overflowed: 6 })
    }).pipe(withStore(100))
  )
})

describe("a key that is too long", () => {
  const key = "k".repeat(513)

  it.effect("is inspected as the circuit that counts its calls", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* CircuitBreaker.state("api", { key }), "Closed")
      assert.strictEqual((yield* inspect(key)).totals.calls, 0)
      yield* Effect.replicateEffect(fail("j".repeat(513)), 2)
      yield* Effect.replicateEffect(fail(key), 3)
      assert.strictEqual(yield* CircuitBreaker.state("api", { key }), "Open")
      const seen = yield* inspect(key)
      assert.deepStrictEqual([seen.key, seen.state, seen.totals.failures], ["(overflow)", "Open", 5])
      assert.strictEqual(yield* CircuitBreaker.state("api", { key: "k".repeat(512) }), "Closed")
      assert.strictEqual(yield* CircuitBreaker.state("other", { key }), "Closed")
    }).pipe(withStore(10))
  )

  it.effect("shares its circuit only with the key that shows this circuit", () =>
    Effect.gen(function* () {
      yield* Effect.replicateEffect(fail(key), 3)
      yield* Effect.replicateEffect(fail("(overflow)"), 2)
      assert.strictEqual((yield* inspect("(overflow)")).state, "Open")
      for (const other of ["(overflow", "overflow", "(Overflow)", "(overflow) "]) {
        assert.strictEqual((yield* succeed(other))._tag, "Success", other)
      }
    }).pipe(withStore(10))
  )

  it.each(["isolate", "disable", "open", "close", "release", "reset"] as const)(
    "is refused by operator actions, because other keys share its circuit: %s",
    (verb) => {
      assert.throws(
        () => CircuitBreaker[verb]("api", { key }),
        RangeError,
        `CircuitBreaker.${verb}: key: expected a text of at most 512`
      )
      assert.isTrue(Effect.isEffect(CircuitBreaker[verb]("api", { key: "k".repeat(512) })))
    }
  )
})

describe("the options", () => {
  it.each([
    [0, "0"],
    [-1, "-1"],
    [1.5, "1.5"],
    [2 ** 53, "9007199254740992"],
    [NaN, "NaN"],
    [Infinity, "Infinity"],
    ["5", '"5"'],
    [{}, "{}"],
    [true, "true"],
    [null, "null"]
  ] as ReadonlyArray<[unknown, string]>)("refuse %s as maxCircuits", (maxCircuits, got) => {
    assert.throws(
      () => BreakerStore.layerMemoryWith({ maxCircuits: maxCircuits as number }),
      RangeError,
      `BreakerStore.layerMemoryWith: maxCircuits: expected a whole number of 1 or more, got ${got}`
    )
  })

  it.each([
    [{ maxCircuit: 5 }, "maxCircuit: unknown field (did you mean maxCircuits?), expected one of maxCircuits"],
    [5, "expected an object with maxCircuits, got 5"],
    [null, "expected an object with maxCircuits, got null"],
    [[], "expected an object with maxCircuits, got []"]
  ] as ReadonlyArray<[unknown, string]>)("are rejected if they are invalid: %j", (options, message) => {
    assert.throws(
      () => BreakerStore.layerMemoryWith(options as BreakerStore.Options),
      RangeError,
      `BreakerStore.layerMemoryWith: ${message}`
    )
  })

  it.effect("may be left out", () =>
    Effect.gen(function* () {
      for (const options of [{}, { maxCircuits: undefined }]) {
        const stats = yield* Effect.provide(
          Effect.andThen(succeed("k"), BreakerStore.stats),
          BreakerStore.layerMemoryWith(options)
        )
        assert.strictEqual(stats.circuits, 1)
      }
    })
  )
})

describe("two stores in one program", () => {
  it.effect("are independent, and have their own policies", () =>
    Effect.gen(function* () {
      const one = yield* Layer.build(BreakerStore.layerMemoryWith({}))
      const two = yield* Layer.build(BreakerStore.layerMemoryWith({}))
      const policy = { trip: Trip.consecutive(1) }
      const tripping = Effect.exit(CircuitBreaker.protect(Effect.fail("down"), "api", { policy }))
      yield* Effect.provideContext(tripping, one)
      assert.strictEqual(yield* Effect.provideContext(CircuitBreaker.state("api"), one), "Open")
      assert.strictEqual(yield* Effect.provideContext(CircuitBreaker.state("api"), two), "Closed")
      assert.strictEqual((yield* Effect.provideContext(succeed(), two))._tag, "Success")
      assert.strictEqual((yield* Effect.provideContext(BreakerStore.stats, one)).circuits, 1)
    })
  )
})

const small = Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 4 }))

it.effect("awaitClosed, state and inspect create no circuits", () =>
  Effect.gen(function* () {
    for (const key of keys("k", 1000)) {
      yield* CircuitBreaker.awaitClosed("api", { key })
      yield* CircuitBreaker.state("api", { key })
      yield* CircuitBreaker.inspect("api", { key })
    }
    assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 0, evicted: 0, overflowed: 0 })
  }).pipe(small)
)

it.effect("circuits that operator actions create beyond the limit are evicted by later calls", () =>
  Effect.gen(function* () {
    for (const key of keys("hand", 10)) {
      yield* CircuitBreaker.isolate("api", { key })
      yield* CircuitBreaker.release("api", { key })
    }
    assert.strictEqual((yield* BreakerStore.stats).circuits, 10)
    yield* Effect.forEach(keys("call", 20), (key) => succeed(key))
    assert.strictEqual((yield* BreakerStore.stats).circuits, 4)
  }).pipe(small)
)

it.effect("a key that found no room shows the state of the circuit that it shares", () =>
  Effect.gen(function* () {
    for (const key of keys("bad", 4)) {
      yield* Effect.ignore(CircuitBreaker.protect(Effect.fail("down"), "api", { key }))
    }
    for (let i = 0; i < 5; i++) {
      yield* Effect.ignore(CircuitBreaker.protect(Effect.fail("down"), "api", { key: "late" }))
    }
    assert.strictEqual(yield* CircuitBreaker.state("api", { key: "late" }), "Open")
  }).pipe(small)
)
