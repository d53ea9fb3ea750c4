/**
 * A process that heard a roll call and has no ballot abstains. Whatever happens to it afterwards, it casts a ballot as soon as it has
 * a say, as long as the roll call counts.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, MemoryStore, type SharedStore } from "effect-fuse"
import { exchange, fleet, intercepted, load, type Options, pause, start } from "./support/fleet.ts"

const term = 30_000

/** The box in which a process casts, and a ballot that says that all is well. */
const castBy = (options: Options) =>
  Effect.gen(function* () {
    const store = yield* MemoryStore.make
    const found: Array<SharedStore.Cast> = []
    const seen = intercepted(store, ({ casts }, carryOut) => {
      found.push(...casts)
      return carryOut
    })
    const one = yield* start(seen, options)
    for (let i = 0; i < 2; i++) yield* one.fail
    yield* pause()
    const { ballot, box } = found.find(({ ballot }) => ballot !== undefined) ?? assert.fail("it has no ballot")
    return { box, ballot: ballot?.map(() => 0) }
  })

/** One process, and a voter that calls the roll of a circuit and reads the sum. */
const polled = (options: Options = {}) =>
  Effect.gen(function* () {
    const { box, ballot } = yield* castBy(options)
    const { save, store } = yield* fleet(0)
    const process = yield* start(store, options)
    const { key, name = "api" } = options
    const circuit = key === undefined ? name : `${name}/${key}`
    let heard = 0
    let life = ""
    const vote = (roll: number) =>
      Effect.gen(function* () {
        const epoch = (yield* load(store, circuit))?.epoch ?? 0
        const cast = { circuit, epoch, box, ballot, ttl: 60_000, inquire: 0, roll }
        const answer = yield* exchange(store, { voter: "v", ttl: 60_000, heard, life, casts: [cast] })
        heard = answer.head
        life = answer.life
        return answer.casts[0]?.tally ?? assert.fail("there is no sum")
      })
    yield* TestClock.adjust("7 seconds")
    // From now on the voter lives.
    yield* vote(0)
    return {
      process,
      store,
      save,
      /** Calls the roll. */
      roll: Effect.andThen(vote(term), pause(100)),
      /** How many vote and how many abstain, the voter that asks being one of those that vote. */
      count: Effect.andThen(
        vote(0),
        Effect.map(vote(0), ({ abstained, voters }) => ({ abstained, voters }))
      )
    }
  })

const abstains = { abstained: 1, voters: 1 }
const votes = { abstained: 0, voters: 2 }

const silent = Effect.provide(Logger.layer([]))

describe("A process that heard a roll call", () => {
  it.effect(
    "of a circuit that it does not have casts a ballot with its first call, which lasts as long as the roll call",
    () =>
      Effect.gen(function* () {
        const { count, process, roll } = yield* polled()
        yield* roll
        assert.deepStrictEqual(yield* count, abstains)
        yield* process.succeed
        yield* pause()
        assert.deepStrictEqual(yield* count, votes)
        for (let passed = 0; passed < 28_000; passed += 4_000) {
          yield* TestClock.adjust("4 seconds")
          assert.deepStrictEqual(yield* count, votes, `after ${passed} ms`)
        }
      }).pipe(silent)
  )

  it.effect("of a circuit that it knows from others only casts a ballot with its first call", () =>
    Effect.gen(function* () {
      const { count, process, roll, store } = yield* polled()
      const other = yield* start(store)
      yield* other.run(CircuitBreaker.isolate("api"))
      yield* pause(100)
      assert.strictEqual(yield* process.state, "Isolated")
      yield* other.run(CircuitBreaker.release("api"))
      yield* other.stop
      yield* TestClock.adjust("7 seconds")
      yield* roll
      assert.deepStrictEqual(yield* count, abstains)
      yield* process.succeed
      yield* pause()
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("and has withdrawn its ballot since casts another with its next call", () =>
    Effect.gen(function* () {
      const policy = { cooldown: "1 second" } as const
      const { count, process, roll } = yield* polled({ policy })
      for (let i = 0; i < 5; i++) yield* process.fail
      yield* pause()
      assert.strictEqual(yield* process.state, "Open")
      yield* roll
      assert.deepStrictEqual(yield* count, votes)
      yield* TestClock.adjust("2 seconds")
      yield* process.succeed
      yield* pause()
      assert.strictEqual(yield* process.state, "Closed")
      assert.deepStrictEqual(yield* count, abstains)
      yield* process.succeed
      yield* pause(300)
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("about a record that it has not read casts a ballot with its first call", () =>
    Effect.gen(function* () {
      const { count, process, roll, store } = yield* polled()
      Object.assign(process.trouble, { deaf: true, only: ["page"], now: "fail" })
      const other = yield* start(store)
      yield* other.run(CircuitBreaker.isolate("api"))
      yield* other.run(CircuitBreaker.release("api"))
      yield* other.stop
      yield* pause()
      yield* roll
      // With a heartbeat it hears of the roll call.
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(yield* count, abstains)
      yield* process.succeed
      yield* pause(100)
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("about a record that it has not read reads it before it answers", () =>
    Effect.gen(function* () {
      const { count, process, roll, store } = yield* polled()
      yield* process.succeed
      Object.assign(process.trouble, { deaf: true, only: ["page"], now: "fail" })
      const other = yield* start(store)
      yield* other.run(CircuitBreaker.isolate("api"))
      yield* other.run(CircuitBreaker.release("api"))
      yield* other.stop
      yield* pause()
      yield* roll
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("about a record that the store has back, as it lost a newer one, casts a ballot", () =>
    Effect.gen(function* () {
      const { count, process, roll, save, store } = yield* polled()
      const other = yield* start(store)
      yield* other.run(CircuitBreaker.isolate("api"))
      yield* other.run(CircuitBreaker.release("api"))
      const lose = yield* save
      yield* other.run(CircuitBreaker.isolate("api"))
      yield* other.run(CircuitBreaker.release("api"))
      yield* other.stop
      yield* pause(100)
      yield* process.succeed
      // It cannot give back what the store has lost.
      Object.assign(process.trouble, { only: ["swap"], now: "fail" })
      yield* lose
      yield* TestClock.adjust("6 seconds")
      yield* roll
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("and whose first ballot after that did not arrive says that it heard no roll call", () =>
    Effect.gen(function* () {
      const { count, process, roll } = yield* polled()
      yield* roll
      assert.deepStrictEqual(yield* count, abstains)
      Object.assign(process.trouble, { only: ["cast", "heartbeat"], now: "fail" })
      yield* process.succeed
      yield* TestClock.adjust("2 seconds")
      Object.assign(process.trouble, { only: ["cast"], now: "fail" })
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* count, { abstained: 0, voters: 1 })
      Object.assign(process.trouble, { only: [], now: "none" })
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )
})
