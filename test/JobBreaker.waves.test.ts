import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Schema } from "effect"
import { PersistedQueue } from "effect/persistence"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker } from "effect-fuse"
import { JobBreaker } from "effect-fuse/queue"
import { upTo } from "./support/batches.ts"
import { perWave } from "./support/waves.ts"

const provided = Layer.merge(
  BreakerStore.layerMemory,
  Layer.provide(PersistedQueue.layer, PersistedQueue.layerStoreMemory)
)

/** Starts `size` workers with one circuit, and offers one job per worker. Records when each job begins, and counts the claims. */
const crew = (size: number) =>
  Effect.gen(function* () {
    const jobs = yield* PersistedQueue.make({ name: "jobs", schema: Schema.Number })
    for (let job = 0; job < size; job++) yield* jobs.offer(job)
    const claims = { count: 0 }
    const queue: typeof jobs = {
      ...jobs,
      take: (...args) =>
        Effect.suspend(() => {
          claims.count++
          return jobs.take(...args)
        })
    }
    const began: Array<{ readonly worker: number; readonly at: number }> = []
    const run = (worker: number) =>
      JobBreaker.take(queue, "api", () => Effect.map(Clock.currentTimeMillis, (at) => began.push({ worker, at })))
    const workers: Array<Fiber.Fiber<unknown, unknown>> = []
    for (let worker = 0; worker < size; worker++) {
      workers.push(yield* Effect.forkChild(run(worker), { startImmediately: true }))
    }
    return { began, claims, workers }
  })

describe("workers that wait for the circuit of their jobs", () => {
  it.effect("continue in waves after a close, the oldest first, and every worker runs its job", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.open("api", { for: "50 seconds" })
      const { began, claims, workers } = yield* crew(100)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(claims.count, 0, "jobs are claimed while the circuit is open")
      assert.deepStrictEqual(began, [])
      yield* CircuitBreaker.close("api")
      for (let i = 0; i < 20; i++) yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(perWave(began, 10_000), [4, 8, 16, 32, 40])
      assert.deepStrictEqual(
        began.map(({ worker }) => worker),
        upTo(100)
      )
      for (const worker of workers) yield* Fiber.join(worker)
    }).pipe(Effect.provide(provided))
  )

  it.effect("keep their order if the circuit opens again between two waves", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.open("api", { for: "50 seconds" })
      const { began } = yield* crew(100)
      yield* CircuitBreaker.close("api")
      yield* TestClock.adjust("150 millis")
      assert.strictEqual(began.length, 12)
      yield* CircuitBreaker.open("api", { for: "50 seconds" })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(began.length, 12)
      yield* CircuitBreaker.close("api")
      for (let i = 0; i < 20; i++) yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(
        began.map(({ worker }) => worker),
        upTo(100)
      )
      assert.deepStrictEqual(perWave(began.slice(12), 10_150), [4, 8, 16, 32, 28])
    }).pipe(Effect.provide(provided))
  )

  it.effect("start with one job, the probe, and continue in waves after it", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.open("api", { for: "10 seconds" })
      const { began, workers } = yield* crew(20)
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(began, [])
      for (let i = 0; i < 100; i++) yield* TestClock.adjust("50 millis")
      assert.strictEqual(began[0]?.worker, 0)
      assert.deepStrictEqual(perWave(began, 10_000), [1, 4, 8, 7])
      for (const worker of workers) yield* Fiber.join(worker)
    }).pipe(Effect.provide(provided))
  )
})
