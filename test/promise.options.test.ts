import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerStore, BulkheadFull } from "effect-fuse"
import { type BreakerEvent, createBreaker } from "effect-fuse/promise"
import { decodeOptions } from "../src/core/fields.ts"
import { protectionFields } from "../src/promise/fields.ts"
import { check } from "../src/promise/options.ts"
import { inspect, scenario } from "./support/verbs.ts"

type Made = Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
const boom = Effect.fail("boom")

describe("createBreaker passes each policy option to the circuit:", () => {
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

describe("createBreaker passes to a call", () => {
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

  scenario("the circuit and the key of a retry budget", {}, function* () {
    const fiber = yield* Effect.forkChild(Effect.exit(around({ retry: 1 }, "k")(boom)))
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(fiber)
    assert.deepInclude((yield* inspect({ key: "k" })).retries, { successes: 0, retries: 1 })
    assert.isUndefined((yield* inspect()).retries)
  })

  scenario("the concurrency and the queue of a bulkhead", {}, function* () {
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

describe("An operator action of createBreaker passes on its options:", () => {
  const by = { key: "k", reason: "drill", actor: "ann" }
  for (const [verb, first, millis] of [
    ["isolate", undefined, 3_600_000],
    ["disable", undefined, undefined],
    ["open", undefined, 3_600_000],
    ["close", "open", undefined],
    ["release", "isolate", undefined],
    ["reset", "open", undefined]
  ] as const) {
    it(`${verb}: key, reason, actor${millis === undefined ? "" : " and duration"}`, async () => {
      await using breaker = createBreaker(async () => 1, { name: "api" })
      if (first !== undefined) await breaker[first]({ key: "k" })
      const heard: Array<BreakerEvent> = []
      breaker.on("transition", (event) => void heard.push(event))
      await breaker[verb](millis === undefined ? by : { ...by, for: "1 hour" })
      // Listeners are called in another turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve))
      const [event] = heard
      assert.deepInclude(event, { name: "api", key: "k", detail: "drill", actor: "ann" })
      if (millis !== undefined) assert.closeTo(event?.retryAfter ?? -1, millis, 1_000)
      assert.strictEqual(breaker.state, "Closed")
    })
  }
})
