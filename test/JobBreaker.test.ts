import { NodeRedis } from "@effect/platform-node"
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Random, Schema } from "effect"
import { PersistedQueue } from "effect/persistence"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, BulkheadFull, CircuitBreaker, type CircuitOpen, Trip } from "effect-fuse"
import { JobBreaker } from "effect-fuse/queue"
import { live } from "./support/redisLive.ts"
import { redisServer } from "./support/redisServer.ts"
import { expectState, quick, recordEvents, rejectionIn, scenario } from "./support/verbs.ts"

/** Hands back by noting for how long. */
const noting = (delays: JobBreaker.Delays = {}) => {
  const released: Array<number> = []
  return {
    released,
    options: {
      jitter: 0,
      ...delays,
      release: (delay: Duration.Duration, open: CircuitOpen.CircuitOpen) =>
        Effect.sync(() => {
          released.push(Duration.toMillis(delay))
          return open.circuit
        })
    }
  }
}

describe("a job that its circuit rejects", () => {
  scenario("is handed back with the delay, and its answer is that of the release", quick, function* () {
    const { options, released } = noting()
    const job = JobBreaker.protect(Effect.fail("boom"), "api", options)
    assert.deepStrictEqual(yield* Effect.exit(job), Exit.fail("boom"))
    yield* TestClock.adjust("4 seconds")
    assert.strictEqual(yield* job, "api")
    assert.deepStrictEqual(released, [6_000])
  })

  scenario("is handed back as well where another circuit rejects it, inside", quick, function* () {
    yield* CircuitBreaker.isolate("db", { for: "30 seconds" })
    const { options, released } = noting()
    const job = JobBreaker.protect(CircuitBreaker.protect(Effect.void, "db"), "api", options)
    assert.strictEqual(yield* job, "db")
    assert.deepStrictEqual(released, [30_000])
    const { state, totals } = yield* CircuitBreaker.inspect("api")
    assert.deepStrictEqual([state, totals.ignored], ["Closed", 1])
  })

  scenario("by itself, or through handBack, which adds no circuit", quick, function* () {
    yield* CircuitBreaker.isolate("db", { for: "30 seconds" })
    const { options, released } = noting()
    const job = CircuitBreaker.protect(Effect.void, "db")
    assert.strictEqual(yield* JobBreaker.handBack(job, options), "db")
    assert.deepStrictEqual(released, [30_000])
    assert.strictEqual((yield* CircuitBreaker.list).length, 1)
  })

  const bounds: ReadonlyArray<
    readonly [what: string, hold: Duration.Input, delays: JobBreaker.Delays, millis: number]
  > = [
    ["at least a second", "1 millis", {}, 1_000],
    ["at least what is asked for", "1 millis", { minDelay: "20 millis" }, 20],
    ["at most five minutes", "1 hour", {}, 300_000],
    ["at most what is asked for", "1 hour", { maxDelay: "90 seconds" }, 90_000],
    ["never for ever, though the circuit may be open for ever", Infinity, {}, 300_000],
    ["no longer than a short maximum", "1 hour", { maxDelay: "10 millis" }, 10]
  ]
  for (const [what, hold, delays, millis] of bounds) {
    scenario(`stays away ${what}`, quick, function* () {
      yield* CircuitBreaker.isolate("api", hold === Infinity ? {} : { for: hold })
      const { options, released } = noting(delays)
      yield* JobBreaker.protect(Effect.void, "api", options)
      assert.deepStrictEqual(released, [millis])
    })
  }

  scenario("stays away longer, each by another share, so that not all come back at once", quick, function* () {
    yield* CircuitBreaker.isolate("api", { for: "10 seconds" })
    const { options, released } = noting({ jitter: 0.5 })
    yield* Effect.forEach(Array.from({ length: 100 }), () => JobBreaker.protect(Effect.void, "api", options)).pipe(
      Random.withSeed("jobs")
    )
    assert.isTrue(released.every((millis) => millis >= 10_000 && millis <= 15_000))
    assert.isAbove(new Set(released).size, 90)
    assert.isAbove(Math.max(...released), 14_000)
  })

  scenario("but not one that ran: it has failed", { ...quick, probeTimeout: "1 second" }, function* () {
    yield* CircuitBreaker.open("api")
    yield* TestClock.adjust("10 seconds")
    const { options, released } = noting()
    const probe = yield* Effect.forkChild(Effect.exit(JobBreaker.protect(Effect.never, "api", options)), {
      startImmediately: true
    })
    yield* TestClock.adjust("1 second")
    assert.strictEqual(rejectionIn(yield* Fiber.join(probe)).reason, "ProbeTimedOut")
    assert.deepStrictEqual(released, [])
  })

  scenario("but not a job that a bulkhead rejects, because that wait is unknown", quick, function* () {
    const { options, released } = noting()
    const full = Effect.fail(BulkheadFull.make({ bulkhead: "b", concurrency: 1, queue: 0 }))
    assert.isTrue(Exit.isFailure(yield* Effect.exit(JobBreaker.protect(full, "api", options))))
    assert.deepStrictEqual(released, [])
  })

  scenario("fails with what its release fails with", quick, function* () {
    yield* CircuitBreaker.isolate("api")
    const job = JobBreaker.protect(Effect.void, "api", { release: () => Effect.fail("queue is away") })
    assert.deepStrictEqual(yield* Effect.exit(job), Exit.fail("queue is away"))
  })

  it("has the types of both", () => {
    const job = Effect.succeed(1) as Effect.Effect<number, "boom">
    const release = () => Effect.succeed("released") as Effect.Effect<string, "away">
    expectTypeOf(JobBreaker.protect(job, "api", { release })).toEqualTypeOf<
      Effect.Effect<number | string, "boom" | "away" | CircuitOpen.CircuitOpen, BreakerStore.BreakerStore>
    >()
    expectTypeOf(job.pipe(JobBreaker.handBack({ release }))).toEqualTypeOf<
      Effect.Effect<number | string, "boom" | "away">
    >()
  })

  it("names the options that are wrong", () => {
    const release = () => Effect.void
    const protect = (name: unknown, options: unknown) =>
      JobBreaker.protect(Effect.void, name as string, options as never) as unknown
    assert.throws(() => protect("", { release }), /JobBreaker.protect: name/)
    assert.throws(() => protect("api", {}), /JobBreaker.protect: release: expected a function/)
    assert.throws(() => protect("api", undefined), /release/)
    assert.throws(() => protect("api", { release, delay: 1 }), /delay: unknown field/)
    assert.throws(() => protect("api", { release, minDelay: 0 }), /minDelay/)
    assert.throws(() => protect("api", { release, maxDelay: Infinity }), /maxDelay/)
    assert.throws(() => protect("api", { release, minDelay: 10, maxDelay: 5 }), /maxDelay: expected at least minDelay/)
    assert.throws(() => protect("api", { release, jitter: 2 }), /jitter/)
    assert.throws(() => protect("api", { release, policy: { cooldown: "soon" } }), /cooldown/)
    assert.throws(() => JobBreaker.handBack(Effect.void, {} as never), /JobBreaker.handBack: release/)
  })
})

// ---- Effect's persisted queue ---------------------------------------------------------------------------------------

const policies = Layer.orDie(BreakerPolicy.layer({ default: quick }))
const memory = Layer.provide(PersistedQueue.layer, PersistedQueue.layerStoreMemory)
const services = Layer.mergeAll(BreakerStore.layerMemory, policies, memory)

const Job = Schema.Struct({ to: Schema.String, n: Schema.Number })
type Job = typeof Job.Type
const jobs = PersistedQueue.make({ name: "jobs", schema: Job, maxAttempts: 3 })
const offerAll = (queue: PersistedQueue.PersistedQueue<Job>, ...to: ReadonlyArray<string>) =>
  Effect.forEach(to, (to, n) => queue.offer({ to, n }))

/** What a worker saw of each job that ran. */
const handling = () => {
  const ran: Array<readonly [n: number, attempts: number]> = []
  const ids: Array<string> = []
  return {
    ran,
    ids,
    handle: (job: Job, metadata: { readonly id: string; readonly attempts: number }) =>
      Effect.sync(() => {
        ran.push([job.n, metadata.attempts])
        ids.push(metadata.id)
        return job.n
      })
  }
}

describe("a worker of a persisted queue", () => {
  it.effect("runs job after job", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a", "a")
      const { handle, ran } = handling()
      const worker = JobBreaker.take(queue, "api", handle)
      assert.deepStrictEqual([yield* worker, yield* worker], [0, 1])
      assert.deepStrictEqual(ran, [
        [0, 1],
        [1, 1]
      ])
    }).pipe(Effect.provide(services))
  )

  it.effect("claims no job while the circuit is open, and continues afterwards", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a")
      yield* CircuitBreaker.open("api")
      const { handle, ran } = handling()
      const worker = yield* Effect.forkChild(JobBreaker.take(queue, "api", handle), { startImmediately: true })
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(ran, [])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(worker), 0)
      assert.deepStrictEqual(ran, [[0, 1]])
      yield* expectState("Closed")
    }).pipe(Effect.provide(services))
  )

  it.effect("leaves the jobs of an open circuit to others, with no attempt counted", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a")
      yield* CircuitBreaker.open("api")
      const worker = yield* Effect.forkChild(JobBreaker.take(queue, "api", handling().handle), {
        startImmediately: true
      })
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* queue.take((_, { attempts }) => Effect.succeed(attempts)), 1)
      yield* Fiber.interrupt(worker)
    }).pipe(Effect.provide(services))
  )

  it.effect("wakes when an operator closes the circuit", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a")
      yield* CircuitBreaker.isolate("api")
      const { handle, ran } = handling()
      const worker = yield* Effect.forkChild(JobBreaker.take(queue, "api", handle), { startImmediately: true })
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(ran, [])
      yield* CircuitBreaker.release("api")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(worker), 0)
      assert.deepStrictEqual(ran, [[0, 1]])
    }).pipe(Effect.provide(services))
  )

  it.effect("counts an attempt of a job that fails, and none of a job that is rejected", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a")
      const attempts: Array<number> = []
      // Callers of a circuit with a flag do not wait in line: the worker claims the job again every minute.
      const inner = CircuitBreaker.protect(Effect.succeed("sent"), "db", { policy: { enabled: () => true } })
      const worker = JobBreaker.take(queue, "api", (_, metadata) =>
        Effect.suspend((): Effect.Effect<string, string | CircuitOpen.CircuitOpen, BreakerStore.BreakerStore> => {
          attempts.push(metadata.attempts)
          return attempts.length === 1 ? Effect.fail("boom") : inner
        })
      )
      assert.deepStrictEqual(yield* Effect.exit(worker), Exit.fail("boom"))
      yield* CircuitBreaker.close("api")
      // Rejected again and again, though it may be tried only three times.
      yield* CircuitBreaker.isolate("db", { for: "10 minutes" })
      const fiber = yield* Effect.forkChild(worker, { startImmediately: true })
      for (let i = 0; i < 10; i++) yield* TestClock.adjust("1 minute")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(fiber), "sent")
      assert.isAtLeast(attempts.length, 5)
      assert.deepStrictEqual([...new Set(attempts.slice(1))], [2])
    }).pipe(Effect.provide(services))
  )

  it.effect("gives a job back when it is interrupted", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a")
      const begun = yield* Deferred.make<void>()
      const worker = yield* Effect.forkChild(
        JobBreaker.take(queue, "api", () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
      )
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(worker)
      const { inFlight, totals } = yield* CircuitBreaker.inspect("api")
      assert.deepStrictEqual([inFlight, totals.ignored], [0, 1])
      assert.strictEqual(yield* queue.take((_, { attempts }) => Effect.succeed(attempts)), 1)
    }).pipe(Effect.provide(services))
  )

  it.effect("one of many probes, the others wait, and each job is done once", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, ...Array.from({ length: 40 }, () => "a"))
      yield* CircuitBreaker.open("api")
      const { handle, ran } = handling()
      const slow = (job: Job, metadata: { readonly id: string; readonly attempts: number }) =>
        Effect.delay(handle(job, metadata), "200 millis")
      const workers = yield* Effect.forEach(Array.from({ length: 8 }), () =>
        Effect.forkChild(Effect.forever(JobBreaker.take(queue, "api", slow)), { startImmediately: true })
      )
      const events = yield* recordEvents
      for (let i = 0; i < 300; i++) yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(
        ran.map(([n]) => n).sort((a, b) => a - b),
        Array.from({ length: 40 }, (_, i) => i)
      )
      assert.isTrue(ran.every(([, attempts]) => attempts === 1))
      assert.deepStrictEqual(
        (yield* events).flatMap((event) => (event._tag === "Transition" ? [event.to] : [])),
        ["HalfOpen", "Closed"]
      )
      yield* Effect.forEach(workers, Fiber.interrupt)
    }).pipe(Effect.provide(services))
  )

  it.effect("with a circuit for each job: jobs of an open circuit go to the back, and other jobs run", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "down", "down", "up", "up")
      yield* CircuitBreaker.isolate("host", { key: "down", for: "1 minute" })
      const { handle, ids, ran } = handling()
      const worker = JobBreaker.take(queue, "host", handle, { key: ({ to }) => to, jitter: 0 })
      assert.deepStrictEqual([yield* worker, yield* worker], [2, 3])
      const rest = yield* Effect.forkChild(Effect.all([worker, worker]), { startImmediately: true })
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(ran.length, 2)
      yield* TestClock.adjust("1 second")
      assert.sameMembers(yield* Fiber.join(rest), [0, 1])
      assert.isTrue(ran.every(([, attempts]) => attempts === 1))
      assert.strictEqual(new Set(ids).size, 4)
    }).pipe(Effect.provide(services))
  )

  it.effect("with a circuit for each job does not start a job whose circuit is open", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a")
      yield* CircuitBreaker.isolate("host", { key: "a" })
      let begun = 0
      const worker = yield* Effect.forkChild(
        JobBreaker.take(
          queue,
          "host",
          () => {
            begun++
            return Effect.void
          },
          { key: ({ to }) => to }
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust("20 minutes")
      yield* Fiber.interrupt(worker)
      assert.strictEqual(begun, 0)
    }).pipe(Effect.provide(services))
  )

  it.effect("with a circuit for each job counts a function that throws", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a")
      const throwing = (): Effect.Effect<void> => {
        throw new Error("boom")
      }
      yield* Effect.exit(JobBreaker.take(queue, "host", throwing, { key: ({ to }) => to }))
      assert.strictEqual((yield* CircuitBreaker.inspect("host", { key: "a" })).totals.failures, 1)
    }).pipe(Effect.provide(services))
  )

  it.effect("with a circuit for each job does not exceed the attempts of the queue", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a")
      const attempts: Array<number> = []
      const poison = JobBreaker.take(
        queue,
        "host",
        (_, metadata) =>
          Effect.suspend(() => {
            attempts.push(metadata.attempts)
            return Effect.fail("boom")
          }),
        { key: ({ to }) => to }
      )
      const worker = yield* Effect.forkChild(Effect.forever(Effect.ignore(poison)), { startImmediately: true })
      for (let i = 0; i < 240; i++) yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(attempts, [1, 2, 3])
      yield* Fiber.interrupt(worker)
    }).pipe(Effect.provide(services))
  )

  it.effect("with a circuit for each job offers a job again at growing intervals, with ids that count the offers", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* queue.offer({ to: "a", n: 0 }, { id: "job" })
      yield* CircuitBreaker.isolate("host", { key: "a" })
      const offers: Array<readonly [id: string | undefined, seconds: number]> = []
      const watched: typeof queue = {
        ...queue,
        offer: (job, options) => {
          offers.push([options?.id, Duration.toSeconds(Duration.fromInputUnsafe(options?.delay ?? 0))])
          return queue.offer(job, options)
        }
      }
      const { handle, ids } = handling()
      const worker = yield* Effect.forkChild(
        JobBreaker.take(watched, "host", handle, {
          key: ({ to }) => to,
          minDelay: "1 minute",
          maxDelay: "5 minutes",
          jitter: 0
        }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 minute")
      yield* TestClock.adjust("2 minutes")
      yield* TestClock.adjust("4 minutes")
      assert.deepStrictEqual(offers, [
        ["job~1", 300],
        ["job~2", 300]
      ])
      yield* CircuitBreaker.release("host", { key: "a" })
      yield* CircuitBreaker.open("host", { key: "a", for: "10 seconds" })
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* Fiber.join(worker), 0)
      assert.deepStrictEqual(ids, ["job~2"])
    }).pipe(Effect.provide(services))
  )

  it.effect("with a circuit for each job writes few rows during a long probe", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, ...Array.from({ length: 100 }, () => "a"))
      yield* CircuitBreaker.open("host", { key: "a" })
      yield* TestClock.adjust("10 seconds")
      let offers = 0
      const watched: typeof queue = {
        ...queue,
        offer: (job, options) => {
          offers++
          return queue.offer(job, options)
        }
      }
      const worker = JobBreaker.take(watched, "host", () => Effect.sleep("29 seconds"), { key: ({ to }) => to })
      const workers = yield* Effect.forEach([1, 2, 3, 4], () =>
        Effect.forkChild(Effect.forever(worker), { startImmediately: true })
      )
      for (let i = 0; i < 28; i++) yield* TestClock.adjust("1 second")
      // Each after 1, 2, 4, 8 and 16 seconds, and once at first.
      assert.isAtMost(offers, 100 * 6)
      yield* Effect.forEach(workers, Fiber.interrupt)
    }).pipe(Effect.provide(services))
  )

  it.effect("with a circuit for each job dies of a key that is no text, and names it", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a")
      const exit = yield* Effect.exit(
        JobBreaker.take(queue, "host", () => Effect.void, { key: (({ n }: Job) => n) as never })
      )
      assert.include(String(exit), "JobBreaker.take: key: expected a text, got 0")
    }).pipe(Effect.provide(services))
  )

  it.effect("runs jobs in every state if a flag switches the circuit off", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "a")
      const policy = { enabled: Effect.succeed(false) }
      yield* CircuitBreaker.protect(Effect.void, "flagged", { policy })
      yield* CircuitBreaker.isolate("flagged")
      assert.strictEqual(yield* JobBreaker.take(queue, "flagged", handling().handle, { policy }), 0)
    }).pipe(Effect.provide(services))
  )

  it.effect("returns a job unchanged if it cannot be offered again", () =>
    Effect.gen(function* () {
      const queue = yield* jobs
      yield* offerAll(queue, "down")
      const broken: typeof queue = {
        ...queue,
        offer: () => Effect.fail(new PersistedQueue.PersistedQueueError({ message: "away" }))
      }
      yield* CircuitBreaker.isolate("host", { key: "down", for: "1 minute" })
      const { handle, ran } = handling()
      const worker = yield* Effect.forkChild(JobBreaker.take(broken, "host", handle, { key: ({ to }) => to }), {
        startImmediately: true
      })
      yield* TestClock.adjust("59 seconds")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(worker), 0)
      assert.deepStrictEqual(ran, [[0, 1]])
    }).pipe(Effect.provide(services))
  )

  it("has the types of its job, and names invalid options", () => {
    const queue = {} as PersistedQueue.PersistedQueue<Job>
    const take = JobBreaker.take as (queue: unknown, name: unknown, f: unknown, options?: unknown) => unknown
    assert.throws(() => take(queue, "api", () => Effect.void), /JobBreaker.take: queue: expected a PersistedQueue/)
    const sound = { take: () => Effect.void, offer: () => Effect.void }
    assert.throws(() => take(sound, "", () => Effect.void), /JobBreaker.take: name/)
    assert.throws(() => take(sound, "api", 1), /f: expected a function/)
    assert.throws(() => take(sound, "api", () => Effect.void, { key: 1 }), /key: expected a text/)
    assert.throws(() => take(sound, "api", () => Effect.void, { maxDelay: "soon" }), /maxDelay/)
    assert.throws(() => take(sound, "api", () => Effect.void, { delays: 1 }), /delays: unknown field/)
    type Taken = Effect.Effect<
      number,
      "boom" | CircuitOpen.CircuitOpen | PersistedQueue.PersistedQueueError,
      BreakerStore.BreakerStore
    >
    const taken = () =>
      JobBreaker.take(queue, "api", ({ n }) => (n > 1 ? Effect.fail("boom" as const) : Effect.succeed(n)))
    expectTypeOf(taken).returns.toEqualTypeOf<Taken>()
  })

  live(
    "of Redis loses no job and burns no attempt, while the circuit opens and closes",
    Effect.gen(function* () {
      const { url } = yield* redisServer
      const store = PersistedQueue.layerStoreRedis({ pollInterval: "20 millis" })
      const redis = Layer.provide(
        Layer.provide(PersistedQueue.layer, store),
        NodeRedis.layer({ url, disableOfflineQueue: true })
      )
      const fast = Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "200 millis" } }))
      yield* Effect.gen(function* () {
        const queue = yield* jobs
        yield* offerAll(queue, ...Array.from({ length: 30 }, () => "a"))
        const done = new Map<number, number>()
        const finished = yield* Deferred.make<void>()
        const worker = JobBreaker.take(queue, "api", (job, { attempts }) =>
          Effect.sync(() => {
            done.set(job.n, attempts)
            if (done.size === 30) Deferred.doneUnsafe(finished, Exit.void)
          })
        )
        const workers = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(Effect.forever(worker)))
        for (let i = 0; i < 5; i++) {
          yield* CircuitBreaker.open("api")
          yield* Effect.sleep("150 millis")
          if (i % 2 === 0) yield* CircuitBreaker.close("api")
        }
        yield* Effect.timeout(Deferred.await(finished), "20 seconds")
        assert.deepStrictEqual([...new Set(done.values())], [1])
        yield* Effect.forEach(workers, Fiber.interrupt)
      }).pipe(Effect.provide([redis, BreakerStore.layerMemory, fast]))
    }),
    60_000
  )
})
