import { assert, describe } from "@effect/vitest"
import { Duration, Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import { Activity } from "effect/workflow"
import { CircuitBreaker } from "effect-fuse"
import { ActivityBreaker } from "effect-fuse/workflow"
import { upTo } from "./support/batches.ts"
import { inspect, quick, rejectionIn } from "./support/verbs.ts"
import { begin, progress, scenario } from "./support/workflowScenario.ts"
import { define, Order, recorded } from "./support/workflows.ts"

const noJitter = { jitter: 0 }

/** The times at which a workflow asked an isolated circuit, in seconds. */
const asked = (waits: ActivityBreaker.Waits, hold: Duration.Input | undefined, until: Duration.Input) =>
  Effect.gen(function* () {
    const { activity } = recorded()
    yield* define(ActivityBreaker.protect(activity, "api", { ...noJitter, ...waits }))
    yield* CircuitBreaker.isolate("api", hold === undefined ? {} : { for: hold })
    const order = yield* begin()
    const seen: Array<number> = [0]
    let rejected = (yield* inspect()).totals.rejected
    for (let second = 1; second <= Duration.toSeconds(until); second++) {
      yield* TestClock.adjust("1 second")
      const now = (yield* inspect()).totals.rejected
      if (now > rejected) seen.push(second)
      rejected = now
    }
    return { seen, order }
  })

describe("the waits of an activity", () => {
  scenario("start at one minute if the end is unknown, and grow up to maxDelay", function* () {
    const { seen } = yield* asked({ maxDelay: "2 minutes" }, undefined, "30 minutes")
    const waits = seen.slice(1).map((at, index) => at - (seen[index] ?? 0))
    assert.deepStrictEqual(waits, [...Array(9).fill(60), 68, 76, 85, 96, 109, ...Array(6).fill(120)])
  })

  scenario("are at most maxDelay, even if the end is later", function* () {
    const { seen } = yield* asked({ maxDelay: "40 seconds" }, "1 hour", "2 minutes")
    assert.deepStrictEqual(seen, [0, 40, 80, 120])
  })

  scenario("are at least minDelay", function* () {
    const { activity, calls } = recorded()
    yield* define(ActivityBreaker.protect(activity, "api", { ...noJitter, minDelay: "20 seconds" }))
    yield* CircuitBreaker.isolate("api", { for: "6 seconds" })
    yield* begin()
    yield* TestClock.adjust("19 seconds")
    assert.deepStrictEqual(calls, [])
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual(calls.length, 1)
  })

  scenario("store fewer than 80 entries for a circuit that is isolated for a day", function* () {
    const { activity } = recorded()
    const runs = yield* define(ActivityBreaker.protect(activity, "api"))
    yield* CircuitBreaker.isolate("api")
    yield* begin()
    for (let minute = 0; minute < 24 * 60; minute++) yield* TestClock.adjust("1 minute")
    assert.isAbove(runs.count, 30)
    assert.isBelow(runs.count, 80)
  })

  scenario("end with CircuitOpen at once if the retryAfter exceeds maxWait", function* () {
    const { activity, calls } = recorded()
    yield* define(ActivityBreaker.protect(activity, "api", { maxWait: "29 seconds", maxDelay: "10 seconds" }))
    yield* CircuitBreaker.open("api", { for: "30 seconds" })
    const order = yield* begin()
    assert.strictEqual(rejectionIn(yield* Fiber.join(order)).reason, "Cooldown")
    assert.deepStrictEqual(calls, [])
  })

  scenario("end with CircuitOpen if the next wait would exceed maxWait in total", function* () {
    const { order, seen } = yield* asked({ maxWait: "150 seconds" }, undefined, "5 minutes")
    assert.deepStrictEqual(seen, [0, 60, 120])
    const open = rejectionIn(yield* Fiber.join(order))
    assert.deepStrictEqual([open.reason, Duration.isFinite(open.retryAfter)], ["Isolated", false])
  })

  scenario("reach maxWait in steps of maxDelay if the end is unknown", function* () {
    const { order, seen } = yield* asked({ maxWait: "35 seconds", maxDelay: "10 seconds" }, undefined, "1 minute")
    assert.deepStrictEqual(seen, [0, 10, 20, 30])
    assert.strictEqual(rejectionIn(yield* Fiber.join(order)).reason, "Isolated")
  })

  scenario("end with CircuitOpen at once if a wait in memory would exceed maxWait", function* () {
    const { activity, calls } = recorded()
    yield* define(ActivityBreaker.protect(activity, "api", { maxWait: "1 second" }))
    yield* CircuitBreaker.open("api", { for: "4 seconds" })
    const order = yield* begin()
    assert.strictEqual(rejectionIn(yield* Fiber.join(order)).reason, "Cooldown")
    assert.deepStrictEqual(calls, [])
  })

  for (const [maxWait, expected] of [
    ["23 seconds", "Complete"],
    ["26 seconds", "Suspended"]
  ] as const) {
    scenario(`in memory and in the store count together: ${expected} with a maxWait of ${maxWait}`, function* () {
      const { activity } = recorded()
      yield* define(ActivityBreaker.protect(activity, "api", { ...noJitter, maxWait }))
      yield* CircuitBreaker.isolate("api", { for: "4 seconds" })
      yield* begin()
      yield* TestClock.adjust("3 seconds")
      yield* CircuitBreaker.isolate("api", { for: "21 seconds" })
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* progress, expected)
    })
  }

  scenario(
    "in memory are at most 5 seconds in total, including the wait for a turn",
    function* () {
      const { activity, calls } = recorded(Effect.never)
      yield* define(ActivityBreaker.protect(activity, "api", noJitter))
      yield* CircuitBreaker.open("api", { for: "30 seconds" })
      yield* begin("1")
      yield* begin("2")
      yield* TestClock.adjust("35 seconds")
      // The first call was the probe and timed out after 4 seconds. The second call waited for the probe.
      const ends = yield* Effect.forEach(["1", "2"], (id) =>
        Effect.flatMap(Order.executionId({ id }), (one) => Order.poll(one))
      )
      const tags = ends.map((end) => (Option.isSome(end) ? end.value._tag : "Running"))
      assert.deepStrictEqual([tags.sort(), calls.length], [["Complete", "Suspended"], 1])
    },
    { ...quick, cooldown: "4 seconds", probeTimeout: "4 seconds" }
  )

  scenario("start from zero at each attempt, and Activity.retry may retry a CircuitOpen", function* () {
    const { activity, calls } = recorded()
    yield* define(
      Activity.retry(ActivityBreaker.protect(activity, "api", { ...noJitter, maxWait: "1 minute" }), { times: 1 })
    )
    yield* CircuitBreaker.isolate("api")
    yield* begin()
    yield* TestClock.adjust("61 seconds")
    assert.strictEqual(yield* progress, "Suspended")
    yield* CircuitBreaker.release("api")
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(calls, [{ at: 120_050, attempt: 2 }])
  })

  scenario("are spread by jitter", function* () {
    const { activity, calls } = recorded()
    yield* define(ActivityBreaker.protect(activity, "api", { jitter: 0.5 }))
    yield* CircuitBreaker.open("api", { for: "100 seconds" })
    for (const id of upTo(100)) yield* begin(String(id))
    for (let i = 0; i < 200; i++) yield* TestClock.adjust("1 second")
    const at = calls.map((call) => call.at)
    assert.strictEqual(at.length, 100)
    assert.isAtLeast(Math.min(...at), 100_000)
    assert.isAbove(Math.max(...at) - Math.min(...at), 30_000)
    assert.isAtMost(Math.max(...at), 151_000)
  })
})
