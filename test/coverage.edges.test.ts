import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Layer, Schedule, Schema, Stream } from "effect"
import { HttpClient, HttpClientResponse, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { PersistedQueue } from "effect/persistence"
import { TestClock } from "effect/testing"
import {
  BreakerPolicy,
  BreakerStore,
  BulkheadFull,
  CircuitBreaker,
  CircuitPool,
  Outcome,
  Resilience
} from "effect-fuse"
import { BreakerRoutes, HttpClientBreaker, HttpServerBreaker } from "effect-fuse/http"
import * as Operator from "effect-fuse/Operator"
import { type BreakerEvent, createBreaker } from "effect-fuse/promise"
import { JobBreaker, StreamBreaker } from "effect-fuse/queue"
import * as Simulator from "effect-fuse/Simulator"
import { TestFleet } from "effect-fuse/testing"
import { decodeOptions } from "../src/core/fields.ts"
import { protectionFields } from "../src/promise/fields.ts"
import { check } from "../src/promise/options.ts"
import { expectState, fail, inspect, quick, scenario } from "./support/verbs.ts"

// Options of what stands around the engine that no other test would miss.

type Options = CircuitBreaker.ProtectOptions<unknown, string>
type Made = Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
const boom = Effect.fail("boom")

/** All that makes a call under the circuit `api`: one that fails. */
const callers: Readonly<Record<string, (options: Options) => Made>> = {
  "CircuitBreaker.protect": (options) => CircuitBreaker.protect(boom, "api", options),
  "CircuitBreaker.forEach": (options) => CircuitBreaker.forEach([1], () => boom, { name: "api", ...options }),
  "Resilience.breaker": (options) => Resilience.breaker("api", options)(boom),
  "Resilience.standard": (options) =>
    Resilience.standard("api", { breaker: options as Resilience.BreakerOptions<never>, retry: false })(boom),
  "Resilience.cascade": (options) =>
    Resilience.cascade([{ name: "api", call: boom, ...(options as Resilience.BreakerOptions<never>) }]),
  "JobBreaker.protect": (options) => JobBreaker.protect(boom, "api", { release: () => Effect.void, ...options }),
  "JobBreaker.take": (options) => {
    const jobs = PersistedQueue.make({ name: "jobs", schema: Schema.Number, maxAttempts: 1 })
    return Effect.flatMap(jobs, (queue) =>
      Effect.andThen(
        queue.offer(1),
        JobBreaker.take(queue, "api", () => boom, options)
      )
    ).pipe(Effect.provide(Layer.provide(PersistedQueue.layer, PersistedQueue.layerStoreMemory)))
  },
  "StreamBreaker.mapEffect": (options) =>
    Stream.runDrain(StreamBreaker.mapEffect(Stream.make(1), "api", () => boom, options))
}

describe("Whatever makes calls heeds", () => {
  for (const [what, calls] of Object.entries(callers)) {
    scenario(`its key: ${what}`, {}, function* () {
      yield* Effect.exit(calls({ key: "k" }))
      const [own, other] = [yield* inspect({ key: "k" }), yield* inspect()]
      assert.deepStrictEqual([own.totals.failures, other.totals.calls], [1, 0])
    })

    scenario(`its policy: ${what}`, {}, function* () {
      yield* Effect.exit(calls({ policy: quick }))
      yield* expectState("Open")
    })

    for (const [how, reading, counted] of [
      ["classify", { classify: () => Outcome.success }, "successes"],
      ["isFailure", { isFailure: () => false }, "successes"],
      ["isIgnored", { isIgnored: () => true }, "ignored"]
    ] as const) {
      scenario(`its ${how}: ${what}`, {}, function* () {
        yield* Effect.exit(calls(reading))
        assert.strictEqual((yield* inspect()).totals[counted], 1)
      })
    }
  }

  scenario("how a call of a pool is read", {}, function* () {
    const pool = CircuitPool.make("api", { members: ["a"] })
    for (const reading of [{ isFailure: () => false }, { classify: () => Outcome.success }]) {
      yield* Effect.exit(CircuitPool.call(pool, () => boom, reading))
    }
    yield* Effect.exit(CircuitPool.call(pool, () => boom, { isIgnored: () => true }))
    const { failures, ignored, successes } = (yield* inspect({ key: "a" })).totals
    assert.deepStrictEqual([successes, ignored, failures], [2, 1, 0])
  })
})

describe("Over HTTP", () => {
  const responding = (status: number) =>
    HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status }))))

  scenario("a client has the policy that it is given", {}, function* () {
    yield* HttpClientBreaker.protect(responding(503), "api", { policy: quick, key: "k" }).get("https://a.test/")
    yield* expectState("Open", { key: "k" })
  })

  /** What a handler that fails answers to a request with these headers. */
  const answer = (options: HttpServerBreaker.Options<never>, headers: Record<string, string> = {}) => {
    const handler = HttpServerBreaker.protect("api", options)(Effect.succeed(HttpServerResponse.empty({ status: 500 })))
    const request = HttpServerRequest.fromWeb(new Request("http://a.test/", { headers }))
    return Effect.provideService(handler, HttpServerRequest.HttpServerRequest, request)
  }

  scenario("a server has the key and the policy that it is given", {}, function* () {
    yield* answer({ key: "k", policy: quick })
    yield* expectState("Open", { key: "k" })
    assert.strictEqual((yield* answer({ key: "k", policy: quick })).status, 503)
    assert.strictEqual((yield* inspect()).totals.calls, 0)
  })

  scenario("a server reads ends as it is told", {}, function* () {
    yield* answer({ classify: () => Outcome.ignored })
    assert.strictEqual((yield* inspect()).totals.ignored, 1)
  })

  scenario("a pattern of tenants keeps its flags", {}, function* () {
    const statuses: Array<number> = []
    for (const [pattern, tenant] of [
      [/acme/, "ACME"],
      [/acme/i, "ACME"]
    ] as const) {
      statuses.push((yield* answer({ tenant: { pattern } }, { "x-tenant-id": tenant })).status)
    }
    assert.deepStrictEqual(statuses, [400, 500])
  })

  scenario("a tenant that is none is refused in the form that rejections have", {}, function* () {
    const types: Array<string | undefined> = []
    for (const respond of ["json", "problem"] as const) {
      const { headers } = yield* answer({ respond, tenant: { required: true } })
      types.push(headers["content-type"])
    }
    assert.deepStrictEqual(types, ["application/json", "application/problem+json"])
  })

  for (const keys of [true, false]) {
    it.effect(`the short answer on health ${keys ? "says" : "does not say"} keys`, () =>
      Effect.gen(function* () {
        yield* fail({ key: "k" })
        const store = yield* BreakerStore.BreakerStore
        const routes = Layer.provide(BreakerRoutes.layer({ keys }), Layer.succeed(BreakerStore.BreakerStore, store))
        const { dispose, handler } = HttpRouter.toWebHandler(routes, { disableLogger: true })
        const body = yield* Effect.promise(async () => (await handler(new Request("http://a.test/health"))).json())
        yield* Effect.promise(dispose)
        assert.deepStrictEqual(
          body.unhealthy.map((one: { key?: string; circuits?: number }) => [one.key, one.circuits]),
          [keys ? ["k", undefined] : [undefined, 1]]
        )
      }).pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(BreakerPolicy.layer({ default: quick })))
    )
  }
})

describe("A stream's retry", () => {
  for (const [what, retry, calls] of [
    ["times", { times: 1, schedule: Schedule.forever }, 2],
    ["schedule", { schedule: Schedule.recurs(3) }, 4],
    ["while", { times: 9, schedule: Schedule.forever, while: () => false }, 1]
  ] as const) {
    scenario(`heeds ${what}`, {}, function* () {
      let made = 0
      const failing = Effect.suspend(() => {
        made++
        return boom
      })
      const mapped = StreamBreaker.mapEffect(Stream.make(1), "calm", () => failing, {
        retry,
        isFailure: () => false
      })
      assert.deepStrictEqual(yield* Effect.exit(Stream.runDrain(mapped)), Exit.fail("boom"))
      assert.strictEqual(made, calls)
    })
  }
})

describe("Promises hand on what a policy says:", () => {
  const cases: ReadonlyArray<readonly [options: Record<string, unknown>, policy: object]> = [
    [{ trip: { _tag: "Consecutive", failures: 9 } }, { trip: { _tag: "Consecutive", failures: 9 } }],
    [{ slowCall: "7 seconds" }, { slowCallMillis: 7_000 }],
    [{ cooldown: 7 }, { cooldown: 7 }],
    [
      { cooldown: { exponential: 7, factor: 3, jittered: true } },
      { cooldown: { exponential: 7, factor: 3, jittered: true } }
    ],
    [{ maxCooldown: 7 }, { maxCooldownMillis: 7 }],
    [{ probes: 7 }, { probes: 7 }],
    [{ successesToClose: 7 }, { successesToClose: 7 }],
    [{ failuresToReopen: 7 }, { failuresToReopen: 7 }],
    [{ probeTimeout: 7 }, { probeTimeoutMillis: 7 }],
    [{ ramp: 7 }, { rampMillis: 7 }],
    [{ dependsOn: ["db"] }, { dependsOn: ["db"] }],
    [{ mode: "observe" }, { mode: "observe" }],
    [{ enabled: false }, { enabled: false }],
    [{ fleet: false }, { fleet: false }],
    [
      { fleet: { suspectAfter: 3, quorum: 0.7, hold: 7, observation: 8 } },
      { fleet: { suspectAfter: 3, quorum: 0.7, holdMillis: 7, observationMillis: 8 } }
    ]
  ]
  for (const [options, policy] of cases) {
    it(JSON.stringify(options), () => {
      assert.deepStrictEqual(
        check("createBreaker", "api", decodeOptions("createBreaker", protectionFields, options)).subject.inline,
        policy
      )
    })
  }
})

describe("Promises hand on what is around a call:", () => {
  const around = (options: object, key?: string) => {
    const checked = check(
      "createBreaker",
      "api",
      decodeOptions("createBreaker", protectionFields, { timeout: false, ...options })
    )
    return (call: Effect.Effect<unknown, unknown>) =>
      checked.around(
        call,
        key,
        () => {},
        () => undefined
      ) as Made
  }

  scenario("the delays of a retry", {}, function* () {
    const at: Array<number> = []
    const failing = Effect.andThen(
      Effect.map(Clock.currentTimeMillis, (now) => at.push(now)),
      boom
    )
    const retry = { times: 4, minDelay: "1 second", maxDelay: "3 seconds", jitter: 0 }
    const fiber = yield* Effect.forkChild(Effect.exit(around({ retry })(failing)))
    yield* TestClock.adjust("1 minute")
    yield* Fiber.join(fiber)
    assert.deepStrictEqual(at, [0, 1_000, 3_000, 6_000, 9_000])
  })

  scenario("the circuit whose budget a retry has, with its key", {}, function* () {
    const fiber = yield* Effect.forkChild(Effect.exit(around({ retry: 1 }, "k")(boom)))
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(fiber)
    assert.deepInclude((yield* inspect({ key: "k" })).retries, { calls: 1, retries: 1 })
    assert.isUndefined((yield* inspect()).retries)
  })

  scenario("how many run at once, and how many wait", {}, function* () {
    const calls = around({ bulkhead: { concurrency: 2, queue: 1 } })
    const fibers = yield* Effect.forEach([1, 2, 3], () =>
      Effect.forkChild(calls(Effect.never), { startImmediately: true })
    )
    assert.isTrue(BulkheadFull.isBulkheadFull(yield* Effect.flip(calls(Effect.void))))
    assert.strictEqual((yield* inspect()).inFlight, 3)
    yield* Fiber.interruptAll(fibers)
  })

  scenario("the timeout of each attempt", {}, function* () {
    const fiber = yield* Effect.forkChild(Effect.exit(around({ timeout: "3 seconds" })(Effect.never)))
    yield* TestClock.adjust(2_999)
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust(1)
    assert.isDefined(fiber.pollUnsafe())
  })
})

describe("Promises hand on what people say:", () => {
  const by = { key: "k", reason: "drill", actor: "ann" }
  for (const [verb, first, millis] of [
    ["isolate", undefined, 3_600_000],
    ["disable", undefined, undefined],
    ["open", undefined, 3_600_000],
    ["close", "open", undefined],
    ["release", "isolate", undefined],
    ["reset", "open", undefined]
  ] as const) {
    it(`${verb}, of which circuit, by whom, why${millis === undefined ? "" : " and for how long"}`, async () => {
      await using breaker = createBreaker(async () => 1, { name: "api" })
      if (first !== undefined) await breaker[first]({ key: "k" })
      const heard: Array<BreakerEvent> = []
      breaker.on("transition", (event) => void heard.push(event))
      await breaker[verb](millis === undefined ? by : { ...by, for: "1 hour" })
      // Who listens is told in another turn.
      await new Promise((resolve) => setImmediate(resolve))
      const [event] = heard
      assert.deepInclude(event, { name: "api", key: "k", detail: "drill", actor: "ann" })
      if (millis !== undefined) assert.closeTo(event?.retryAfter ?? -1, millis, 1_000)
      assert.strictEqual(breaker.state, "Closed")
    })
  }
})

describe("An operator's reason", () => {
  const by = { reason: "done", actor: "ann" }

  it.effect("is kept for what is no override, too", () =>
    Effect.gen(function* () {
      const { store } = yield* TestFleet.make(1)
      yield* Operator.open(store, "api", { for: "1 hour" })
      const closed = yield* Operator.close(store, "api", by)
      assert.deepStrictEqual(
        [closed.state, closed.why, closed.reason, closed.actor],
        ["Closed", "ClosedByHand", "done", "ann"]
      )
    })
  )

  it.effect("is kept for what is brought in", () =>
    Effect.gen(function* () {
      const { store } = yield* TestFleet.make(1)
      yield* Operator.open(store, "api", { for: "1 hour", reason: "there" })
      const { json } = yield* Operator.exportAll(store)
      const { store: to } = yield* TestFleet.make(1)
      yield* Operator.importAll(to, json, by)
      const found = yield* Operator.inspect(to, "api")
      assert.deepInclude(found, { _tag: "Known", state: "Open", why: "Imported", reason: "done", actor: "ann" })
    })
  )
})

it.effect("a process of a test's fleet has the trouble that it is given, from the start", () =>
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

it("a described load has calls that take as long as is said, on average", () => {
  for (const duration of [40, 200]) {
    const { calls } = Simulator.load({ rate: 50, for: "1 minute", duration })
    const mean = calls.reduce((sum, call) => sum + call.duration, 0) / calls.length
    assert.closeTo(mean, duration, duration * 0.1)
  }
})

it.effect("what a simulation leaves to chance is the same for the same seed, and not for another", () =>
  Effect.gen(function* () {
    const load = Simulator.load({ rate: 20, for: "2 minutes", outages: [{ at: "10 seconds", for: "1 minute" }] })
    const policies = { spread: { cooldown: { exponential: "1 second", jittered: true } } } as const
    const moves = (seed: number) =>
      Effect.map(Simulator.run(load, policies, { seed }), ([report]) => report?.moves.map(({ at }) => at))
    const [one, again, other] = [yield* moves(1), yield* moves(1), yield* moves(2)]
    assert.deepStrictEqual(again, one)
    assert.notDeepEqual(other, one)
  })
)
