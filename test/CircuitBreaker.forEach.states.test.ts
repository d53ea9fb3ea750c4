import { assert, describe } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerPolicy, type BreakerStore, CircuitBreaker, type CircuitOpen } from "effect-fuse"
import { counter, endsOf, opened, recovering, timed, upTo } from "./support/batches.ts"
import { expectState, hang, inspect, pass, quick, rejectionIn, scenario, state, times } from "./support/verbs.ts"

describe("A circuit that is open", () => {
  for (const concurrency of [1, 4, "unbounded"] as const) {
    scenario(`is asked once, and nothing is called for, ${concurrency} at once`, quick, function* () {
      yield* opened
      const { counted, seen } = counter()
      const batch = CircuitBreaker.forEach(upTo(50), counted(Effect.succeed), { name: "api", concurrency })
      const ends = yield* batch
      assert.deepStrictEqual([...new Set(ends.map((end) => rejectionIn(end).reason))], ["Cooldown"])
      assert.strictEqual(ends.length, 50)
      assert.strictEqual(seen.calls, 0)
      assert.strictEqual((yield* inspect()).totals.rejected, 1)
    })
  }

  for (const concurrency of [1, 4, "unbounded"] as const) {
    scenario(
      `midway is asked once more; what runs then ends, ${concurrency} at once`,
      { ...quick, cooldown: "1 hour" },
      function* () {
        const { counted, seen } = counter()
        const f = counted((i: number) =>
          i === 1 ? Effect.delay(Effect.fail("boom"), "1 second") : Effect.as(Effect.sleep("2 seconds"), i)
        )
        const batch = CircuitBreaker.forEach(upTo(20), f, { name: "api", concurrency })
        const [all] = yield* timed(endsOf(batch))
        const begun = concurrency === 1 ? 2 : concurrency === 4 ? 4 : 20
        assert.strictEqual(seen.calls, begun)
        assert.deepStrictEqual(
          all,
          upTo(20).map((i) => (i === 1 ? "boom" : i < begun ? i : "Cooldown"))
        )
        assert.strictEqual((yield* inspect()).totals.rejected, begun === 20 ? 0 : 1)
      }
    )
  }

  scenario(
    "because one that it depends on is, is asked once, however its flag is read",
    {
      breakers: { db: quick, api: { dependsOn: ["db"], enabled: Effect.as(Effect.yieldNow, true) } }
    },
    function* () {
      yield* CircuitBreaker.open("db")
      const f = () => Effect.die("called")
      const ends = yield* CircuitBreaker.forEach(upTo(20), f, { name: "api", concurrency: 8 })
      assert.deepStrictEqual([...new Set(ends.map((end) => rejectionIn(end).reason))], ["Dependency"])
      assert.strictEqual((yield* inspect()).totals.rejected, 1)
    }
  )

  scenario(
    "because one that it depends on opens after the first items, is asked once, however its flag is read",
    {
      breakers: { db: quick, api: { dependsOn: ["db"], enabled: Effect.as(times(20, Effect.yieldNow), true) } }
    },
    function* () {
      const isOpen = yield* Deferred.make<void>()
      const open = Effect.andThen(CircuitBreaker.open("db"), Deferred.succeed(isOpen, undefined))
      let begun = 0
      const f = (i: number) =>
        Effect.as(i === 0 ? Effect.void : Effect.suspend(() => (++begun === 4 ? open : Deferred.await(isOpen))), i)
      const ends = yield* endsOf(CircuitBreaker.forEach(upTo(20), f, { name: "api", concurrency: 4 }))
      assert.deepStrictEqual(ends.slice(0, 6), [0, 1, 2, 3, 4, "Dependency"])
      assert.strictEqual((yield* inspect()).totals.rejected, 1)
    }
  )

  scenario("by an override on a name rejects the items of its keys", quick, function* () {
    yield* CircuitBreaker.isolate("api")
    const f = () => Effect.die("called")
    const ends = yield* CircuitBreaker.forEach(upTo(9), f, { name: "api", key: "eu", concurrency: 3 })
    assert.deepStrictEqual([...new Set(ends.map((end) => rejectionIn(end).reason))], ["Isolated"])
    assert.strictEqual((yield* inspect({ key: "eu" })).totals.rejected, 1)
  })

  scenario("asks onOpen for every item, whose results, errors and defects are the ends", quick, function* () {
    yield* opened
    const defect = new Error("died")
    const thrown = new Error("thrown")
    const onOpen = (i: number, open: CircuitOpen.CircuitOpen): Effect.Effect<string, string> => {
      if (i === 1) return Effect.fail("failed")
      if (i === 2) return Effect.die(defect)
      if (i === 3) throw thrown
      if (i === 4) return Effect.interrupt
      return Effect.succeed(`${open.reason} ${i}`)
    }
    for (const concurrency of [1, 3] as const) {
      const f = () => Effect.die("called")
      const all = yield* endsOf(CircuitBreaker.forEach(upTo(6), f, { name: "api", concurrency, onOpen }))
      assert.deepStrictEqual(all, ["Cooldown 0", "failed", defect, thrown, "interrupted", "Cooldown 5"])
    }
    const { failures, rejected } = (yield* inspect()).totals
    assert.deepStrictEqual([failures, rejected], [1, 2])
  })

  scenario("lets as many run onOpen at once as would have run f, and no more", quick, function* () {
    yield* opened
    const { counted, seen } = counter()
    const slow = counted((i: number) => Effect.as(Effect.sleep("1 second"), i))
    const onOpen = (i: number, _: unknown, index: number) => slow(i, index)
    const f = () => Effect.die("called")
    const [all] = yield* timed(endsOf(CircuitBreaker.forEach(upTo(9), f, { name: "api", concurrency: 3, onOpen })))
    assert.deepStrictEqual(all, upTo(9))
    assert.strictEqual(seen.most, 3)
  })
})

describe("A circuit that recovers", () => {
  scenario("is probed by one item after the other until it closes", { ...quick, successesToClose: 3 }, function* () {
    yield* recovering
    const most: Array<number> = []
    const { counted, seen } = counter()
    const f = counted((i: number) =>
      Effect.as(
        Effect.delay(
          Effect.sync(() => most.push(seen.running)),
          "1 second"
        ),
        i
      )
    )
    const [all, took] = yield* timed(endsOf(CircuitBreaker.forEach(upTo(11), f, { name: "api", concurrency: 4 })))
    assert.deepStrictEqual(all, upTo(11))
    assert.deepStrictEqual(most.slice(0, 3), [1, 1, 1])
    assert.strictEqual(seen.most, 4)
    // Three probes, then two times four.
    assert.strictEqual(took, 5)
    yield* expectState("Closed")
    assert.strictEqual((yield* inspect()).totals.rejected, 0)
  })

  scenario("opens again at a probe that fails, and nothing else is called for", quick, function* () {
    yield* recovering
    const { counted, seen } = counter()
    const f = counted((i: number) => Effect.fail(i))
    const all = yield* endsOf(CircuitBreaker.forEach(upTo(5), f, { name: "api", concurrency: "unbounded" }))
    assert.deepStrictEqual(all, [0, "Cooldown", "Cooldown", "Cooldown", "Cooldown"])
    assert.strictEqual(seen.calls, 1)
  })

  scenario("whose probe runs elsewhere rejects all items after one question", quick, function* () {
    yield* recovering
    const probe = yield* hang()
    const all = yield* endsOf(CircuitBreaker.forEach(upTo(5), Effect.succeed, { name: "api", concurrency: 3 }))
    assert.deepStrictEqual(new Set(all), new Set(["ProbesBusy"]))
    assert.strictEqual((yield* inspect()).totals.rejected, 1)
    yield* probe.interrupt
  })

  scenario(
    "gives up a probe that takes too long, and its item ends with that error",
    { ...quick, probeTimeout: "2 seconds" },
    function* () {
      yield* recovering
      const { counted, seen } = counter()
      const f = counted(() => Effect.never)
      const onOpen = (i: number) => Effect.succeed(`instead of ${i}`)
      const [all] = yield* timed(endsOf(CircuitBreaker.forEach(upTo(3), f, { name: "api", concurrency: 3, onOpen })))
      // It had begun: nothing takes the place of what it did.
      assert.deepStrictEqual(all, ["ProbeTimedOut", "instead of 1", "instead of 2"])
      assert.strictEqual(seen.calls, 1)
    }
  )

  scenario("while a ramp lets some items through rejects only the others", { ...quick, ramp: "1 hour" }, function* () {
    yield* recovering
    yield* pass()
    yield* expectState("Closed")
    yield* TestClock.adjust("15 minutes")
    const { counted, seen } = counter()
    const f = counted((i: number) => Effect.succeed(i))
    for (const concurrency of [1, 4] as const) {
      const all = yield* endsOf(CircuitBreaker.forEach(upTo(40), f, { name: "api", concurrency }))
      const rejected = all.filter((one) => one === "Ramping").length
      assert.isAbove(rejected, 20)
      assert.isBelow(rejected, 40)
      assert.isTrue(all.every((one, i) => one === i || one === "Ramping"))
    }
    assert.strictEqual(seen.calls, 80 - (yield* inspect()).totals.rejected)
  })

  scenario(
    "while a batch runs is probed by one item after the other, and no probe rejects the rest",
    {
      ...quick,
      cooldown: "5 seconds"
    },
    function* () {
      const batch = CircuitBreaker.forEach(upTo(10), (i) => Effect.as(Effect.sleep("8 seconds"), i), {
        name: "api",
        concurrency: 2
      })
      const fiber = yield* Effect.forkChild(endsOf(batch), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      // Somebody else sees it fail; while two items still run its cooldown ends.
      yield* opened
      for (let i = 0; i < 100; i++) yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), upTo(10))
    }
  )
})

describe("A circuit that rejects no call does not reduce the concurrency", () => {
  const cases: ReadonlyArray<
    readonly [string, BreakerPolicy.Input, Effect.Effect<unknown, never, BreakerStore.BreakerStore>]
  > = [
    ["while it is Disabled", quick, CircuitBreaker.disable("api")],
    ["while it is Open and only observes", { ...quick, mode: "observe" }, CircuitBreaker.open("api")],
    ["while it is Open and switched off", { ...quick, enabled: false }, CircuitBreaker.open("api")]
  ]
  for (const [what, policy, before] of cases) {
    scenario(what, policy, function* () {
      yield* before
      assert.notStrictEqual(yield* state(), "Closed")
      const { counted, seen } = counter()
      const f = counted((i: number) => Effect.as(Effect.sleep("1 second"), i))
      const [all, took] = yield* timed(endsOf(CircuitBreaker.forEach(upTo(8), f, { name: "api", concurrency: 8 })))
      assert.deepStrictEqual(all, upTo(8))
      assert.deepStrictEqual([seen.most, took], [8, 1])
    })
  }
})
