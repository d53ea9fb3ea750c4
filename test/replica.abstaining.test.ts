/**
 * A process that receives a roll call and has no ballot abstains. If the process can vote later, while the roll call counts, it casts a
 * ballot at once, after any faults in between.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, MemoryStore, SharedStore } from "effect-fuse"
import { exchange, fleet, intercepted, load, type Options, pause, start } from "./support/fleet.ts"

const term = 30_000

/** The box in which a process casts, and a ballot without any failure. */
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
      /** Adds up the convictions of all ballots. The voter of the request has conviction 0. */
      convictions: Effect.map(vote(0), ({ sums: [thousandths = 0] }) => thousandths / 1_000),
      /** Counts abstentions and voters. The voter of the request counts as a voter. */
      count: Effect.andThen(
        vote(0),
        Effect.map(vote(0), ({ abstained, voters }) => ({ abstained, voters }))
      )
    }
  })

/** A process starts, isolates the circuit, runs `meanwhile`, releases the circuit and stops. This leaves a record. */
const changedByAnother = (store: SharedStore.SharedStore, meanwhile: Effect.Effect<void> = Effect.void) =>
  Effect.gen(function* () {
    const other = yield* start(store)
    yield* other.run(CircuitBreaker.isolate("api"))
    yield* meanwhile
    yield* other.run(CircuitBreaker.release("api"))
    yield* other.stop
  })

/** Waits, and asserts that the process has adopted the override of another process. */
const isIsolated = ({ state }: Effect.Success<ReturnType<typeof start>>) =>
  Effect.gen(function* () {
    yield* pause(100)
    assert.strictEqual(yield* state, "Isolated")
  })

const abstains = { abstained: 1, voters: 1 }
const votes = { abstained: 0, voters: 2 }

const silent = Effect.provide(Logger.layer([]))

describe("A process that read a roll call", () => {
  it.effect("casts a ballot with its first call of a new circuit, and the ballot ends with the roll call", () =>
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

  it.effect("casts a ballot with its first call of a circuit that it did not have, even if the call fails", () =>
    Effect.gen(function* () {
      const { count, process, roll } = yield* polled()
      yield* roll
      assert.deepStrictEqual(yield* count, abstains)
      yield* process.fail
      yield* pause()
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("of a circuit that it knows only from other processes casts a ballot with its first call", () =>
    Effect.gen(function* () {
      const { count, process, roll, store } = yield* polled()
      yield* changedByAnother(store, isIsolated(process))
      yield* TestClock.adjust("7 seconds")
      yield* roll
      assert.deepStrictEqual(yield* count, abstains)
      yield* process.succeed
      yield* pause()
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("and withdraws its ballot casts a new ballot with its next call", () =>
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

  it.effect("casts a ballot with its first call even if it has not read the record", () =>
    Effect.gen(function* () {
      const { count, process, roll, store } = yield* polled()
      Object.assign(process.trouble, { deaf: true, only: ["page"], now: "fail" })
      yield* changedByAnother(store)
      yield* pause()
      yield* roll
      // With a heartbeat, the process receives the roll call.
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(yield* count, abstains)
      yield* process.succeed
      yield* pause(100)
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("reads an unread record before it answers", () =>
    Effect.gen(function* () {
      const { count, process, roll, store } = yield* polled()
      yield* process.succeed
      Object.assign(process.trouble, { deaf: true, only: ["page"], now: "fail" })
      yield* changedByAnother(store)
      yield* pause()
      yield* roll
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("does not abstain while it cannot read the record", () =>
    Effect.gen(function* () {
      const { count, process, roll, store } = yield* polled()
      yield* process.succeed
      Object.assign(process.trouble, { deaf: true, only: ["page", "load"], now: "fail" })
      yield* changedByAnother(store)
      yield* pause()
      yield* roll
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(yield* count, { abstained: 0, voters: 1 })
      Object.assign(process.trouble, { only: [], now: "none" })
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("about an older record, because the store lost a newer one, casts a ballot", () =>
    Effect.gen(function* () {
      const { count, process, roll, save, store } = yield* polled()
      yield* changedByAnother(store)
      const lose = yield* save
      yield* changedByAnother(store)
      yield* pause(100)
      yield* process.succeed
      // It cannot write back the record that the store has lost.
      Object.assign(process.trouble, { only: ["swap"], now: "fail" })
      yield* lose
      yield* TestClock.adjust("6 seconds")
      yield* roll
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("of a circuit casts a ballot if it remembers only a release that the store has lost", () =>
    Effect.gen(function* () {
      const { count, process, roll, save, store } = yield* polled()
      const lose = yield* save
      const other = yield* start(store)
      yield* other.run(CircuitBreaker.isolate("api"))
      yield* pause(100)
      assert.strictEqual(yield* process.state, "Isolated")
      yield* other.run(CircuitBreaker.release("api"))
      yield* other.stop
      // The process forgets everything else about the circuit.
      yield* TestClock.adjust("20 seconds")
      yield* lose
      yield* process.succeed
      yield* roll
      assert.deepStrictEqual(yield* count, votes)
    }).pipe(silent)
  )

  it.effect("does not abstain after its next call, even if the ballot for that call was lost", () =>
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

describe("A process that opened by itself, and recovered while the store was down, withdraws its conviction", () => {
  const options = { policy: { cooldown: "1 second" } } as const

  /** A process that opened by itself, and closes while the store is down. */
  const recovered = Effect.gen(function* () {
    const found = yield* polled(options)
    const { convictions, process } = found
    for (let i = 0; i < 5; i++) yield* process.fail
    yield* pause()
    assert.strictEqual(yield* convictions, 1)
    process.trouble.now = "fail"
    yield* TestClock.adjust("3 seconds")
    yield* process.succeed
    assert.strictEqual(yield* process.state, "Closed")
    assert.strictEqual(yield* convictions, 1)
    return found
  })

  it.effect("when the store answers again, without another call", () =>
    Effect.gen(function* () {
      const { convictions, process } = yield* recovered
      process.trouble.now = "none"
      yield* TestClock.adjust("1500 millis")
      assert.strictEqual(yield* convictions, 0)
    }).pipe(silent)
  )

  it.effect("with its next call, if the store answers again at that moment", () =>
    Effect.gen(function* () {
      const { convictions, process } = yield* recovered
      for (let i = 0; i < 20; i++) yield* process.succeed
      process.trouble.now = "none"
      for (let i = 0; i < 15; i++) {
        yield* process.succeed
        yield* pause(100)
      }
      assert.strictEqual(yield* convictions, 0)
    }).pipe(silent)
  )
})

describe("A process that reads many roll calls at once", () => {
  const count = 2 * SharedStore.limits.casts + 6
  const keys = Array.from({ length: count }, (_, i) => `k${i}`)

  /** Starts a process that calls all keys. Records the exchanges of the process in the store. `asked` starts a roll call for every key. */
  const caller = Effect.gen(function* () {
    const { box, ballot } = yield* castBy({})
    const { store } = yield* fleet(0)
    const done: Array<SharedStore.Exchange> = []
    let refuses = (_: SharedStore.Exchange): boolean => false
    const seen = intercepted(store, (exchange, carryOut) => {
      if (refuses(exchange)) return Effect.fail(new SharedStore.StoreError({ operation: "exchange", cause: "refused" }))
      done.push(exchange)
      return carryOut
    })
    const process = yield* start(seen)
    process.trouble.deaf = true
    yield* TestClock.adjust("7 seconds")
    const all = Effect.forEach(keys, (key) => process.run(CircuitBreaker.protect(Effect.void, "api", { key })))
    const circuits = keys.map((key) => `api/${key}`)
    const asked = Effect.gen(function* () {
      for (let from = 0; from < count; from += SharedStore.limits.casts) {
        const casts = circuits
          .slice(from, from + SharedStore.limits.casts)
          .map((circuit) => ({ circuit, epoch: 0, box, ballot, ttl: 60_000, inquire: 0, roll: term }))
        yield* exchange(store, { voter: "v", ttl: 60_000, casts })
      }
      return (yield* exchange(store)).rollCalls
    })
    const refuse = (which: typeof refuses) => {
      refuses = which
    }
    return { all, asked, done, process, refuse }
  })

  /** Fails if an exchange moves the cursor past a roll call before the ballot for it was cast. */
  const check = (done: ReadonlyArray<SharedStore.Exchange>, rollCalls: ReadonlyArray<SharedStore.RollCall>): void => {
    const cast = new Set<string>()
    let heard = 0
    for (const one of done) {
      for (const { ballot, circuit } of one.casts) if (ballot !== undefined) cast.add(circuit)
      const owed = rollCalls.filter(({ circuit, seq }) => seq <= one.heard && !cast.has(circuit))
      assert.deepStrictEqual(
        owed.map(({ circuit }) => circuit),
        []
      )
      heard = Math.max(heard, one.heard)
    }
    assert.isAtLeast(heard, rollCalls.at(-1)?.seq ?? Infinity)
  }

  it.effect("moves its cursor past a roll call only with the ballot for it, batch by batch", () =>
    Effect.gen(function* () {
      const { all, asked, done } = yield* caller
      yield* all
      const rollCalls = yield* asked
      assert.strictEqual(rollCalls.length, count)
      yield* TestClock.adjust("6 seconds")
      check(done, rollCalls)
    }).pipe(silent)
  )

  it.effect("does not move its cursor after a command with the ballots has failed", () =>
    Effect.gen(function* () {
      const { all, asked, done, process, refuse } = yield* caller
      yield* all
      const rollCalls = yield* asked
      let failures = 0
      refuse(({ casts }) => casts.length > 0 && failures++ < 1)
      while (failures === 0) yield* pause(10)
      // The operator action at this moment is a command of the other lane.
      yield* process.run(CircuitBreaker.isolate("other"))
      yield* TestClock.adjust("6 seconds")
      check(done, rollCalls)
    }).pipe(silent)
  )
})
