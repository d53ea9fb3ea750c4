import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Logger } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { CircuitTest, Dependency, TestFleet } from "effect-fuse/testing"

const bank = (steps?: ReadonlyArray<Dependency.Step<string, string>>) =>
  Dependency.make<string, string>({ answer: "paid", error: "down", steps })

const five = ["fail", "fail", "fail", "fail", "fail"] as const

describe("A dependency of a test", () => {
  it.effect("succeeds, fails, hangs, is slow and recovers on demand", () =>
    Effect.gen(function* () {
      const { call, calls, fail, hang, recover, running, slow } = yield* bank()
      assert.strictEqual(yield* call, "paid")
      yield* fail
      assert.strictEqual(yield* Effect.flip(call), "down")
      yield* slow("2 seconds")
      const late = yield* Effect.forkChild(Effect.flip(call), { startImmediately: true })
      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(late.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Fiber.join(late), "down")
      yield* hang
      const stuck = yield* Effect.forkChild(call, { startImmediately: true })
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual([yield* running, yield* calls], [1, 4])
      yield* Fiber.interrupt(stuck)
      assert.strictEqual(yield* running, 0)
      yield* recover
      assert.strictEqual(yield* call, "paid")
    })
  )

  it.effect("plays a script, call by call, and later steps come after it", () =>
    Effect.gen(function* () {
      const { call, failNext, next } = yield* bank(["fail", "answer", Effect.succeed("other")])
      yield* next(Effect.die("burnt"), "answer")
      yield* failNext(2)
      const ends: Array<unknown> = []
      for (let i = 0; i < 8; i++) {
        const exit = yield* Effect.exit(call)
        ends.push(Exit.isSuccess(exit) ? exit.value : Cause.squash(exit.cause))
      }
      assert.deepStrictEqual(ends, ["down", "paid", "other", "burnt", "paid", "down", "down", "paid"])
    })
  )

  it.effect("forgets its script when it recovers", () =>
    Effect.gen(function* () {
      const { call, recover } = yield* bank(five)
      yield* recover
      assert.strictEqual(yield* call, "paid")
    })
  )

  const wrong: ReadonlyArray<readonly [what: string, does: (one: Dependency.Dependency<string, string>) => unknown]> = [
    ["next", (one) => one.next("explode" as never)],
    ["failNext", (one) => one.failNext(-1)],
    ["slow", (one) => one.slow("a while" as never)]
  ]
  it.effect.each(wrong)("names its invalid options: %s", ([what, does]) =>
    Effect.gen(function* () {
      const one = yield* bank()
      assert.throws(() => does(one), new RegExp(`Dependency.${what}`))
    })
  )
})

type CircuitTestOf = ReturnType<typeof CircuitTest.expectState>

describe("A test of circuits", () => {
  const quiet = <A, E>(test: Effect.Effect<A, E, BreakerStore.BreakerStore>) =>
    test.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(Logger.layer([])))
  const opened = Effect.gen(function* () {
    const { call } = yield* bank(five)
    yield* Effect.repeat(Effect.ignore(CircuitBreaker.protect(call, "bank")), { times: 4 })
  })
  const diedOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.map(Effect.exit(effect), (exit) => {
      assert(Exit.isFailure(exit))
      const error = Cause.squash(exit.cause)
      assert.instanceOf(error, CircuitTest.Unexpected)
      return error
    })

  const unknown: ReadonlyArray<readonly [what: string, expectation: CircuitTestOf, message: string | undefined]> = [
    ["no key, another state", CircuitTest.expectState("api", "Open"), 'this name has the keys "a", "b"'],
    ["no key, Closed", CircuitTest.expectState("api", "Closed"), 'this name has the keys "a", "b"'],
    ["another key", CircuitTest.expectState("api", "Open", { key: "c" }), 'this name has the keys "a", "b"'],
    ["another key that was not called", CircuitTest.expectState("api", "Closed", { key: "c" }), undefined],
    [
      "a key of a name that has none",
      CircuitTest.expectState("bank", "Open", { key: "a" }),
      "only the circuit without a key"
    ],
    ["one key", CircuitTest.expectState("one", "Closed"), 'this name has the key "x\\u001b"'],
    ["many keys", CircuitTest.expectState("many", "Closed"), '"k16", "k17", 10 more'],
    ["another name", CircuitTest.expectState("bnak", "Open"), 'this store has the names "api", "bank", "many", "one"'],
    ["a name that was not called", CircuitTest.expectState("bnak", "Closed"), undefined]
  ]
  it.effect.each(unknown)(
    "names the circuits that exist instead of the one that is meant: %s",
    ([, expectation, message]) =>
      quiet(
        Effect.gen(function* () {
          const used = (name: string, key?: string) => CircuitBreaker.protect(Effect.void, name, { key })
          yield* used("api", "b")
          yield* used("api", "a")
          yield* used("bank")
          yield* used("one", "x\u001b")
          for (let i = 0; i < 20; i++) yield* used("many", `k${i}`)
          const exit = yield* Effect.exit(expectation)
          if (message === undefined) assert.isTrue(Exit.isSuccess(exit), String(exit))
          else assert.include(Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "passed", message)
        })
      )
  )

  it.effect("names the keys of the transitions in a recording", () =>
    quiet(
      Effect.gen(function* () {
        const recording = yield* CircuitTest.record
        yield* CircuitBreaker.isolate("api", { key: "a" })
        const exit = yield* Effect.exit(recording.expectTransitions("api", ["Closed -> Isolated: Isolated"]))
        assert.include(Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "passed", 'this name has the key "a"')
      }).pipe(Effect.scoped)
    )
  )

  it.effect("passes if a circuit is in the expected state, and otherwise reports its counts and its cause", () =>
    quiet(
      Effect.gen(function* () {
        yield* CircuitTest.expectState("bank", "Closed")
        yield* opened
        yield* CircuitTest.expectState("bank", "Open")
        const { actual, expected, message } = yield* diedOf(CircuitTest.expectState("bank", "Closed"))
        assert.deepStrictEqual([actual, expected], ["Open", "Closed"])
        assert.match(message, /^Circuit "bank" should be Closed and is Open\n.*5 calls: 0 succeeded, 5 failed/)
        assert.match(message, /1 opening; retry after 30s; .*\n.*Tripped: 5 failures in a row/)
        yield* CircuitBreaker.isolate("bank", { key: "eu" })
        yield* CircuitTest.expectState("bank", "Isolated", { key: "eu" })
        const other = yield* diedOf(CircuitTest.expectState("bank", "Open", { key: "eu" }))
        assert.match(other.message, /^Circuit "bank" \["eu"\] should be/)
      })
    )
  )

  it.effect("records what circuits do while its scope lasts", () =>
    quiet(
      Effect.gen(function* () {
        const recording = yield* Effect.scoped(
          Effect.gen(function* () {
            const recording = yield* CircuitTest.record
            yield* opened
            yield* CircuitBreaker.isolate("bank", { key: "eu" })
            return recording
          })
        )
        yield* CircuitBreaker.reset("bank")
        assert.deepStrictEqual(recording.transitions("bank"), ["Closed -> Open: Tripped"])
        assert.deepStrictEqual(recording.transitions("bank", { key: "eu" }), ["Closed -> Isolated: Isolated"])
        assert.strictEqual(recording.events().length, 2)
        yield* recording.expectTransitions("bank", ["Closed -> Open: Tripped"])
        for (const wrong of [[], ["Closed -> Open: Tripped", "Open -> Closed: Reset"], ["Closed -> Open: Reset"]]) {
          const { actual, expected } = yield* diedOf(recording.expectTransitions("bank", wrong))
          assert.deepStrictEqual([actual, expected], [["Closed -> Open: Tripped"], wrong])
        }
      })
    )
  )
})

describe("A fleet of a test", () => {
  const policies: BreakerPolicy.Settings = { default: { trip: Trip.consecutive(2), cooldown: "10 seconds" } }
  const states = (processes: ReadonlyArray<TestFleet.Process>) =>
    Effect.forEach(processes, (one) => one.run(CircuitBreaker.state("bank")))

  it.effect("opens together, sends one probe, and closes together", () =>
    Effect.gen(function* () {
      const { processes } = yield* TestFleet.make(3, { policies })
      const { call, calls, fail, recover, slow } = yield* bank()
      const pay = (one: TestFleet.Process) => Effect.exit(one.run(CircuitBreaker.protect(call, "bank")))
      yield* Effect.forEach(processes, pay)
      yield* fail
      for (let round = 0; round < 4; round++) {
        for (const one of processes) yield* Effect.andThen(pay(one), TestClock.adjust("20 millis"))
      }
      assert.deepStrictEqual(yield* states(processes), ["Open", "Open", "Open"])
      yield* recover
      yield* TestClock.adjust("12 seconds")
      const before = yield* calls
      yield* slow("1 second")
      yield* Effect.forkChild(Effect.forEach(processes, pay, { concurrency: 3 }), { startImmediately: true })
      yield* TestClock.adjust("100 millis")
      assert.strictEqual((yield* calls) - before, 1)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* states(processes), ["Closed", "Closed", "Closed"])
    })
  )

  it.effect("continues when processes are cut off, crash, stop or join, and when the store loses its data", () =>
    Effect.gen(function* () {
      const { at, join, processes, store, wipe } = yield* TestFleet.make(3)
      const alive = Effect.map(Operator.list(store), ({ processes }) => processes)
      yield* at(2).cutOff
      yield* at(0).run(CircuitBreaker.isolate("bank"))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* states(processes), ["Isolated", "Isolated", "Closed"])
      yield* at(2).reconnect
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* states([...processes, yield* join()]), Array(4).fill("Isolated"))
      assert.strictEqual(yield* alive, 4)
      yield* at(1).stop
      assert.strictEqual(yield* alive, 3)
      yield* at(2).crash
      assert.strictEqual(yield* alive, 3, "a crash is not noticed at once")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* alive, 2)
      yield* wipe
      assert.deepStrictEqual((yield* Operator.list(store)).circuits, [])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        (yield* Operator.list(store)).circuits.map(({ name }) => name),
        ["bank"],
        "the override is written again"
      )
    })
  )

  it.effect("may be of different processes", () =>
    Effect.gen(function* () {
      const { at } = yield* TestFleet.make(2, (i) => ({ trouble: i === 1 ? { now: "fail" } : {}, process: `p${i}` }))
      yield* TestClock.adjust("10 seconds")
      assert.isAbove(at(1).trouble.asked.length, 0)
      assert.throws(() => at(2), /TestFleet.at: process: expected a number from 0 to 1, got 2/)
    })
  )

  it.effect("reports an invalid size and invalid policies", () =>
    Effect.gen(function* () {
      for (const size of [0, 1.5, Number.NaN]) {
        assert.throws(() => TestFleet.make(size), /TestFleet.make: size: expected a whole number/)
      }
      const error = yield* Effect.flip(TestFleet.make(1, { policies: { default: { cooldown: "soon" as never } } }))
      assert.match(error.message, /default.cooldown/)
    })
  )

  it.effect("applies the faults of a process from its start", () =>
    Effect.gen(function* () {
      const { at } = yield* TestFleet.make(2, (i) => ({ trouble: i === 1 ? { now: "fail", deaf: true } : {} }))
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* TestClock.adjust("10 seconds")
      const states = yield* Effect.forEach([at(0), at(1)], (one) => one.run(CircuitBreaker.state("api")))
      assert.deepStrictEqual(states, ["Isolated", "Closed"])
      yield* at(1).reconnect
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* at(1).run(CircuitBreaker.state("api")), "Isolated")
    })
  )
})
