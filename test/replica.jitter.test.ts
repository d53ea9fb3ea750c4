/** Where many processes wake at the same instant they do not all ask the store at that instant. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker } from "effect-fuse"
import { expectAll, failing, fleet, type Process, pause, start } from "./support/fleet.ts"

const size = 20
const policy = { cooldown: "10 seconds", probeTimeout: "10 seconds" } as const

/** A fleet whose circuit is open. */
const open = Effect.gen(function* () {
  const made = yield* fleet(size, { policy })
  yield* failing(made.processes, 2, 1)
  yield* failing(made.processes, 1, 1)
  yield* pause(100)
  yield* expectAll(made.processes, "Open fleet")
  return made
})

/**
 * How many processes ask for a lease while all call again and again for 50 ms, beginning now. The probes hang. The store is so slow that
 * no process hears of the first probe before it calls.
 */
const askers = (processes: ReadonlyArray<Process>) =>
  Effect.gen(function* () {
    for (const { trouble } of processes) Object.assign(trouble, { asked: [], slow: 40 })
    for (let millis = 0; millis < 50; millis += 5) {
      for (const process of processes) yield* Effect.forkChild(Effect.exit(process.protect(Effect.never)))
      yield* pause(5)
    }
    const asked = processes.filter(({ trouble }) => trouble.asked.includes("swap")).length
    // Operations on their way end.
    for (const { trouble } of processes) trouble.slow = 0
    yield* pause(50)
    return asked
  })

const few = size / 4

const silent = Effect.provide(Logger.layer([]))

describe("Of many processes only some ask for the lease of a probe", () => {
  it.effect("when an opening ends", () =>
    Effect.gen(function* () {
      const { processes } = yield* open
      yield* TestClock.adjust("9900 millis")
      assert.isAtMost(yield* askers(processes), few)
    }).pipe(silent)
  )

  it.effect("when the lease of a process that crashed ends", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* open
      yield* TestClock.adjust("12 seconds")
      yield* Effect.forkChild(Effect.exit(at(0).protect(Effect.never)))
      yield* pause(50)
      yield* expectAll(processes, "HalfOpen fleet")
      yield* at(0).crash
      yield* TestClock.adjust("9950 millis")
      assert.isAtMost(yield* askers(processes.slice(1)), few)
    }).pipe(silent)
  )

  it.effect("when an operator releases a circuit whose opening is over", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* open
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* TestClock.adjust("20 seconds")
      yield* expectAll(processes, "Isolated fleet")
      yield* at(0).run(CircuitBreaker.release("api"))
      yield* pause(5)
      assert.isAtMost(yield* askers(processes.slice(1)), few)
    }).pipe(silent)
  )

  it.effect("when an override ends above an opening that is over", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* open
      yield* at(0).run(CircuitBreaker.isolate("api", { for: "20 seconds" }))
      yield* TestClock.adjust("19990 millis")
      yield* expectAll(processes, "Isolated fleet")
      assert.isAtMost(yield* askers(processes.slice(1)), few)
    }).pipe(silent)
  )
})

/** How often something happened in the 20 ms in which it happened most. */
const most = (times: ReadonlyArray<number>): number =>
  Math.max(0, ...times.map((from) => times.filter((time) => time >= from && time < from + 20).length))

describe("Many processes do not act at the same instant", () => {
  it.effect("when a store that was down is back", () =>
    Effect.gen(function* () {
      const { processes } = yield* fleet(size)
      for (const { trouble } of processes) trouble.now = "fail"
      yield* TestClock.adjust("10 seconds")
      const times: Array<number> = []
      for (const { trouble } of processes) trouble.now = "none"
      for (let millis = 0; millis < 3_000; millis += 10) {
        for (const { trouble } of processes) trouble.asked = []
        yield* pause(10)
        for (const { trouble } of processes) if (trouble.asked.includes("page")) times.push(millis)
      }
      assert.isAtLeast(times.length, size)
      assert.isAtMost(most(times), few)
    }).pipe(silent)
  )

  it.effect("when announcements of a store break off for all", () =>
    Effect.gen(function* () {
      const { store } = yield* fleet(0)
      const times: Array<number> = []
      let now = 0
      const breaking = {
        ...store,
        changes: Stream.suspend(() => {
          times.push(now)
          return Stream.fromEffect(Effect.sleep(5_000 - now)).pipe(Stream.drain)
        })
      }
      for (let i = 0; i < size; i++) yield* start(breaking)
      yield* TestClock.adjust("5 seconds")
      times.length = 0
      for (; now < 2_000; now += 10) yield* pause(10)
      assert.isAtLeast(times.length, size)
      assert.isAtMost(most(times.slice(0, size)), few)
    }).pipe(silent)
  )
})
