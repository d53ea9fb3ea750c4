import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, MemoryStore, type SharedStore } from "effect-fuse"
import { swapOf } from "./support/exchanges.ts"
import { exchange, type Process, pause, start } from "./support/fleet.ts"

// The numbers of epochs and roll calls are made of the time. If a store loses everything and its clock goes back, it gives the
// numbers of its last life again: only its life tells that they say something else.

/** A store in memory that announces nothing unless it is told to, and whose clock can go back. */
const stepping = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const offset = { millis: 0 }
  const now = () => clock.currentTimeMillisUnsafe() + offset.millis
  const own: Clock.Clock = Object.assign(Object.create(clock), { currentTimeMillisUnsafe: now })
  const { store, wipe } = yield* Effect.provideService(MemoryStore.makeControlled, Clock.Clock, own)
  const announces = { isOn: false }
  const changes = Stream.filter(store.changes, () => announces.isOn)
  return { store: { ...store, changes }, wipe, offset, now, announces }
})

/** The same store, which says that it has always been the same. */
const immortal = (store: SharedStore.SharedStore): SharedStore.SharedStore => ({
  ...store,
  exchange: (exchange) =>
    Effect.gen(function* () {
      const { life } = yield* store.page(Number.MAX_SAFE_INTEGER, 1)
      const answer = yield* store.exchange({ ...exchange, life: exchange.life === "same" ? life : undefined })
      return answer._tag === "Late" ? answer : { ...answer, life: "same" }
    }),
  page: (since, limit) => Effect.map(store.page(since, limit), (page) => ({ ...page, life: "same" }))
})

const kinds = [
  { of: (store: SharedStore.SharedStore) => store, isRight: true },
  { of: immortal, isRight: false }
]

describe("After a store lost everything and its clock went back", () => {
  for (const { isRight, of } of kinds) {
    const name = isRight ? "" : " (but do if the store does not tell its life)"
    it.effect(`processes that heard a roll call of the last life do not abstain from those of the new${name}`, () =>
      Effect.gen(function* () {
        const { announces, now, offset, store: made, wipe } = yield* stepping
        announces.isOn = true
        const store = of(made)
        const processes: Array<Process> = []
        const options = { policy: { fleet: { observation: "10 minutes" } } } as const
        for (let i = 0; i < 12; i++) processes.push(yield* start(store, options))
        // A minority, unless more than half of the others are taken to abstain.
        const [failing, healthy] = [processes.slice(0, 5), processes.slice(5)]
        const call = (circuit: string) =>
          Effect.forEach(healthy, (one) => one.run(CircuitBreaker.protect(Effect.void, circuit)))
        const fail = (circuit: string) =>
          Effect.forEach([...failing, ...failing, ...failing], (one) =>
            Effect.andThen(Effect.exit(one.run(CircuitBreaker.protect(Effect.fail("down"), circuit))), pause(5))
          )
        const head = Effect.map(exchange(made), (answer) => answer.head)
        yield* TestClock.adjust("10 seconds")
        yield* call("before")
        yield* fail("before")
        const last = yield* head
        assert.isAbove(last, 0, "the roll was called")
        // All hear it. (A clock that goes back by more than a second is noticed by itself.)
        yield* pause(400)
        for (const circuit of ["api", "other"]) yield* call(circuit)
        announces.isOn = false
        yield* wipe
        offset.millis -= now() - last / 1_000 + 100
        yield* fail("api")
        const first = yield* head
        assert(first > 0 && first < last, "the new roll call has a lower number than what was heard")
        yield* pause(150)
        yield* fail("other")
        assert.isAbove(yield* head, last)
        yield* TestClock.adjust("25 seconds")
        const states = yield* Effect.forEach(healthy, (one) => one.run(CircuitBreaker.state("api")))
        assert.deepStrictEqual([...new Set(states)], isRight ? ["Closed"] : ["Open"])
      })
    )

    it.effect(
      `a process reads again all that is listed, whatever the last epoch is${isRight ? "" : " (but not if ...)"}`,
      () =>
        Effect.gen(function* () {
          const { offset, store: made, wipe } = yield* stepping
          const store = of(made)
          const process = yield* start(store)
          yield* process.run(CircuitBreaker.isolate("before"))
          yield* TestClock.adjust("20 seconds")
          const { epoch: known } = yield* store.page(0, 10)
          yield* wipe
          offset.millis -= 3_600_000
          const fresh = yield* start(store)
          yield* fresh.run(CircuitBreaker.isolate("api"))
          yield* swapOf(
            made,
            { circuit: "other", expectedEpoch: 0, body: "{}", ttl: 60_000, listed: false },
            { floor: known }
          )
          assert.isAbove((yield* store.page(0, 10)).epoch, known)
          yield* TestClock.adjust("20 seconds")
          const states = yield* Effect.forEach(["api", "before"], (circuit) =>
            process.run(CircuitBreaker.state(circuit))
          )
          assert.deepStrictEqual(states, [isRight ? "Isolated" : "Closed", "Isolated"])
          const restored = (yield* store.load(["before"])).records
          assert.strictEqual(restored[0] !== undefined, isRight)
        })
    )
  }
})

/** The same store, whose roll calls count for half a minute, whatever their callers ask for. */
const halfMinute = (store: SharedStore.SharedStore): SharedStore.SharedStore => ({
  ...store,
  exchange: (exchange) => {
    const casts = exchange.casts.map((cast) => ({ ...cast, roll: Math.min(cast.roll, 30_000) }))
    return store.exchange({ ...exchange, casts })
  }
})

describe("With heartbeats each minute, and without announcements", () => {
  for (const { isRight, of } of [
    { of: (store: SharedStore.SharedStore) => store, isRight: true },
    { of: halfMinute, isRight: false }
  ]) {
    it.effect(
      `a minority of callers ${isRight ? "opens a circuit" : "does not, if roll calls count for half a minute"}`,
      () =>
        Effect.gen(function* () {
          const store = of((yield* stepping).store)
          const options = { syncInterval: "1 minute", policy: { cooldown: "10 minutes" } } as const
          const processes: Array<Process> = []
          // Their heartbeats are spread over the minute.
          for (let i = 0; i < 12; i++) {
            processes.push(yield* start(store, options))
            yield* TestClock.adjust("5 seconds")
          }
          yield* TestClock.adjust("2 minutes")
          for (let n = 0; n < 6; n++) {
            for (const one of processes.slice(0, 3)) yield* Effect.andThen(one.fail, pause(5))
          }
          yield* TestClock.adjust("3 minutes")
          const states = yield* Effect.forEach(processes, (one) => one.state)
          assert.deepStrictEqual(
            states,
            Array(12)
              .fill(isRight ? "Open" : "Closed")
              .fill("Open", 0, 3)
          )
        })
    )
  }
})
