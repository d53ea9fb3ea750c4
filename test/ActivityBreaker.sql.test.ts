import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Logger, Option, Schedule, type Scope } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { ActivityBreaker } from "effect-fuse/workflow"
import { upTo } from "./support/batches.ts"
import { on } from "./support/databases.ts"
import { root } from "./support/root.ts"
import { type Place, say } from "./support/sqlFleet.ts"
import { runner, waits } from "./support/workflowRunner.ts"
import { defined, Order, recorded } from "./support/workflows.ts"

const postgres = on("PostgreSQL")

const until = <A, E, R>(self: Effect.Effect<A, E, R>, ok: (value: A) => boolean) =>
  Effect.repeat(self, { until: ok, schedule: Schedule.spaced("20 millis") }).pipe(Effect.timeout("40 seconds"))

const live = (name: string, body: (place: Place) => Effect.Effect<unknown, unknown, Scope.Scope>) =>
  it.live(name, () => Effect.provide(Effect.flatMap(postgres.place, body), Logger.layer([])), 120_000)

const executionId = Order.executionId({ id: "1" })
const result = Effect.flatMap(executionId, (id) => Order.poll(id))
const isComplete = Option.exists<{ readonly _tag: string }>(({ _tag }) => _tag === "Complete")
const isSuspended = Option.exists<{ readonly _tag: string }>(({ _tag }) => _tag === "Suspended")

const stored = (place: Place, where: string) =>
  Effect.scoped(
    Effect.flatMap(place.open, (sql) => say(sql, `SELECT * FROM cluster_messages WHERE ${where} ORDER BY rowid`))
  )

describe("a workflow in PostgreSQL that waits for a circuit", () => {
  live("continues in another runner, and its activity runs once as attempt 1", (place) =>
    Effect.gen(function* () {
      const { activity, calls } = recorded()
      const { layer, runs } = defined(ActivityBreaker.protect(activity, "api", waits))
      const first = yield* runner(place.url, layer)
      yield* first.run(CircuitBreaker.isolate("api"))
      yield* first.run(Order.execute({ id: "1" }, { discard: true }))
      yield* until(first.run(result), isSuspended)
      yield* first.stop
      const before = runs.count
      assert.isAtLeast((yield* stored(place, "deliver_at IS NOT NULL")).length, 1)
      // The wait ends while no runner runs.
      yield* Effect.sleep("400 millis")
      assert.deepStrictEqual([runs.count, calls], [before, []])

      const second = yield* runner(place.url, layer)
      const done = yield* until(second.run(result), isComplete)
      assert.deepStrictEqual(
        Option.map(done, (one) => one._tag === "Complete" && one.exit),
        Option.some(Exit.succeed("charged"))
      )
      assert.deepStrictEqual(
        calls.map(({ attempt }) => attempt),
        [1]
      )
    })
  )

  live("continues if the process of its runner was killed", (place) =>
    Effect.gen(function* () {
      const worker = spawn(
        process.execPath,
        ["--conditions=@effect-fuse/source", join(root, "test/support/workflowWorker.ts"), place.url],
        { stdio: ["ignore", "pipe", "inherit"] }
      )
      yield* Effect.addFinalizer(() => Effect.sync(() => worker.kill("SIGKILL")))
      yield* Effect.promise(() => once(worker.stdout, "data"))
      worker.kill("SIGKILL")
      yield* Effect.promise(() => once(worker, "exit"))

      const { activity, calls } = recorded()
      const { layer } = defined(ActivityBreaker.protect(activity, "api", waits))
      const one = yield* runner(place.url, layer)
      yield* until(one.run(result), isComplete)
      assert.deepStrictEqual(
        calls.map(({ attempt }) => attempt),
        [1]
      )
    })
  )

  live("stores one activity and one clock for each wait, under names that a replay finds again", (place) =>
    Effect.gen(function* () {
      const { activity, calls } = recorded()
      const { layer } = defined(ActivityBreaker.protect(activity, "api", waits))
      const one = yield* runner(place.url, layer)
      yield* one.run(CircuitBreaker.isolate("api"))
      yield* one.run(Order.execute({ id: "1" }, { discard: true }))
      yield* until(stored(place, "entity_type = 'Workflow/-/DurableClock'"), (clocks) => clocks.length === 3)
      yield* one.run(CircuitBreaker.release("api"))
      yield* until(one.run(result), isComplete)
      const names = (yield* stored(place, "tag IN ('activity', 'run', 'deferred') AND payload LIKE '%charge%'")).map(
        ({ payload, tag }) => `${tag} ${JSON.parse(String(payload)).name}`
      )
      const waited = names.filter((name) => name.startsWith("run")).length
      assert.isAtLeast(waited, 3)
      assert.deepStrictEqual(
        [...names].sort(),
        [
          ...upTo(waited + 1).map((wait) => `activity charge${wait === 0 ? "" : `~${wait}`}`),
          ...upTo(waited).flatMap((wait) => [`run charge/1~${wait}`, `deferred DurableClock/charge/1~${wait}`])
        ].sort()
      )
      assert.strictEqual(calls.length, 1)
    })
  )

  live("can be stopped and started again at any time, and its activity still runs once", (place) =>
    Effect.gen(function* () {
      const { activity, calls } = recorded()
      const { layer } = defined(ActivityBreaker.protect(activity, "api", waits))
      for (const millis of [0, 30, 60, 120, 250, 500]) {
        const one = yield* runner(place.url, layer)
        yield* one.run(CircuitBreaker.isolate("api"))
        yield* one.run(Order.execute({ id: "1" }, { discard: true }))
        yield* Effect.sleep(millis)
        yield* one.stop
      }
      assert.deepStrictEqual(calls, [])
      const last = yield* runner(place.url, layer)
      yield* until(last.run(result), isComplete)
      assert.deepStrictEqual(
        calls.map(({ attempt }) => attempt),
        [1]
      )
    })
  )

  live("can be interrupted, which removes its clock, and its activity never runs", (place) =>
    Effect.gen(function* () {
      const { activity, calls } = recorded()
      const { layer } = defined(ActivityBreaker.protect(activity, "api", { ...waits, maxDelay: "1 hour" }))
      const one = yield* runner(place.url, layer)
      yield* one.run(CircuitBreaker.isolate("api"))
      const order = yield* Effect.forkChild(one.run(Effect.exit(Order.execute({ id: "1" }))))
      yield* until(one.run(result), isSuspended)
      yield* one.run(Effect.flatMap(executionId, (id) => Order.interrupt(id)))
      const exit = yield* Fiber.join(order)
      assert.isTrue(Exit.isFailure(exit) && Exit.hasInterrupts(exit), String(exit))
      assert.deepStrictEqual(yield* stored(place, "entity_type = 'Workflow/-/DurableClock'"), [])
      assert.deepStrictEqual(calls, [])
      const { state, totals } = yield* one.run(CircuitBreaker.inspect("api"))
      assert.deepStrictEqual([state, totals.failures], ["Isolated", 0])
    })
  )

  live("fails with CircuitOpen after maxWait, and another runner reads the same result", (place) =>
    Effect.gen(function* () {
      const { activity, calls } = recorded()
      const { layer } = defined(ActivityBreaker.protect(activity, "api", { ...waits, maxWait: "1 second" }))
      const first = yield* runner(place.url, layer)
      yield* first.run(CircuitBreaker.isolate("api"))
      yield* first.run(Order.execute({ id: "1" }, { discard: true }))
      yield* until(first.run(result), isComplete)
      yield* first.stop
      const second = yield* runner(place.url, layer)
      const end = yield* Effect.exit(second.run(Order.execute({ id: "1" })))
      assert.strictEqual(Exit.isFailure(end) && Option.isSome(Exit.findErrorOption(end)), true, String(end))
      assert.include(JSON.stringify(end), "Isolated")
      assert.deepStrictEqual(calls, [])
    })
  )

  live(
    "waits with 49 other workflows: after one probe, all continue in waves and do not wait durably a second time",
    (place) =>
      Effect.gen(function* () {
        const probe = yield* Deferred.make<string>()
        const { activity, calls } = recorded(Deferred.await(probe))
        const { layer, runs } = defined(ActivityBreaker.protect(activity, "api", { ...waits, maxDelay: "6 seconds" }))
        const one = yield* runner(place.url, layer)
        yield* one.run(CircuitBreaker.isolate("api"))
        yield* Effect.forEach(upTo(50), (id) => one.run(Order.execute({ id: String(id) }, { discard: true })), {
          concurrency: 10
        })
        yield* until(stored(place, "entity_type = 'Workflow/-/DurableClock'"), (clocks) => clocks.length === 50)
        yield* one.run(Effect.andThen(CircuitBreaker.release("api"), CircuitBreaker.open("api", { for: "1 millis" })))
        assert.deepStrictEqual([runs.count, calls.length], [50, 0])
        yield* until(
          Effect.sync(() => runs.count),
          (count) => count === 100
        )
        yield* until(
          Effect.sync(() => calls.length),
          (count) => count >= 1
        )
        assert.strictEqual(calls.length, 1)
        yield* Deferred.succeed(probe, "charged")
        yield* until(
          Effect.map(one.run(CircuitBreaker.inspect("api")), ({ totals }) => totals.successes),
          (count) => count === 50
        )
        assert.deepStrictEqual([runs.count, calls.length], [100, 50])
      })
  )
})
