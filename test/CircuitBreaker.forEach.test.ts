import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Arbitrary, Cause, Context, Deferred, Effect, Exit, Fiber, Option, Schema } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, CircuitOpen, Outcome, Tenant, Trip } from "effect-fuse"
import {
  expectState,
  fail,
  hang,
  inspect,
  pass,
  quick,
  rejectionIn,
  scenario,
  settings,
  state,
  times
} from "./support/verbs.ts"

/** A word for how an item ended. */
const said = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) return exit.value
  const error = Cause.findErrorOption(exit.cause)
  if (Option.isSome(error)) return CircuitOpen.isCircuitOpen(error.value) ? error.value.reason : error.value
  return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : Cause.squash(exit.cause)
}

const saidAll = <E, R>(batch: Effect.Effect<ReadonlyArray<Exit.Exit<unknown, unknown>>, E, R>) =>
  Effect.map(batch, (ends) => ends.map(said))

const upTo = (n: number): Array<number> => Array.from({ length: n }, (_, i) => i)

/** Opens the circuit at once. */
const opened = Effect.andThen(fail(), expectState("Open"))

/** Its cooldown is over: the next call is a probe. */
const recovering = Effect.andThen(opened, TestClock.adjust("10 seconds"))

/** Never opens by itself. */
const calm: BreakerPolicy.Input = { ...quick, trip: Trip.consecutive(1_000_000) }

/** Calls that are counted: how many were made, and how many at once. */
const counter = () => {
  const seen = { calls: 0, running: 0, most: 0, items: [] as Array<unknown> }
  const counted =
    <I, A, E, R>(f: (item: I, index: number) => Effect.Effect<A, E, R>) =>
    (item: I, index: number) =>
      Effect.suspend(() => {
        seen.calls++
        seen.running++
        seen.most = Math.max(seen.most, seen.running)
        seen.items.push(item)
        return Effect.ensuring(
          f(item, index),
          Effect.sync(() => {
            seen.running--
          })
        )
      })
  return { seen, counted }
}

/** Runs it while the clock goes on for a minute, and says how many seconds it took. */
const timed = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    let now = 0
    let took = 0
    const fiber = yield* Effect.forkChild(
      Effect.onExit(self, () =>
        Effect.sync(() => {
          took = now
        })
      ),
      { startImmediately: true }
    )
    while (now++ < 60) yield* TestClock.adjust("1 second")
    return [yield* Fiber.join(fiber), took] as const
  })

describe("Each item has its end, in the order of the items", () => {
  const boom = new Error("boom")
  const ends: ReadonlyArray<Effect.Effect<string, string>> = [
    Effect.succeed("a"),
    Effect.fail("no"),
    Effect.die(boom),
    Effect.interrupt,
    Effect.succeed("e")
  ]
  for (const concurrency of [1, 2, 5, "unbounded"] as const) {
    scenario(`results, errors, defects and interruptions, ${concurrency} at once`, calm, function* () {
      const f = (i: number) => Effect.delay(ends[i] ?? Effect.never, `${5 - i} seconds`)
      const batch = CircuitBreaker.forEach(upTo(5), f, { name: "api", concurrency })
      const [all] = yield* timed(saidAll(batch))
      assert.deepStrictEqual(all, ["a", "no", boom, "interrupted", "e"])
      const { calls, failures, ignored, rejected, successes } = (yield* inspect()).totals
      assert.deepStrictEqual([calls, successes, failures, ignored, rejected], [5, 2, 2, 1, 0])
    })
  }

  scenario("no items have no ends, and make no circuit", quick, function* () {
    for (const concurrency of [1, 3, "unbounded"] as const) {
      const none = yield* CircuitBreaker.forEach([], () => Effect.die("called"), { name: "api", concurrency })
      assert.deepStrictEqual(none, [])
    }
    assert.deepStrictEqual(yield* CircuitBreaker.list, [])
    yield* opened
    assert.deepStrictEqual(yield* CircuitBreaker.forEach([], () => Effect.die("called"), { name: "api" }), [])
    assert.strictEqual((yield* inspect()).totals.rejected, 0)
  })

  scenario("items may be of any iterable, and f and onOpen are given the index", quick, function* () {
    const generate = function* () {
      yield* "ab"
      yield "c"
    }
    const f = (item: string, index: number) => Effect.succeed(`${item}${index}`)
    const onOpen = (item: string, _: unknown, index: number) => Effect.succeed(`${item}${index}!`)
    for (const items of [
      generate(),
      new Set("abc"),
      new Map([
        ["a", 0],
        ["b", 1],
        ["c", 2]
      ]).keys(),
      "abc"
    ]) {
      const all = yield* saidAll(CircuitBreaker.forEach(items, f, { name: "api", concurrency: 2 }))
      assert.deepStrictEqual(all, ["a0", "b1", "c2"])
    }
    yield* opened
    const rest = yield* saidAll(CircuitBreaker.forEach(generate(), f, { name: "api", onOpen }))
    assert.deepStrictEqual(rest, ["a0!", "b1!", "c2!"])
  })

  scenario("a list may be run again, and is read each time", quick, function* () {
    const items = [1, 2]
    const batch = CircuitBreaker.forEach(items, Effect.succeed, { name: "api" })
    assert.deepStrictEqual(yield* saidAll(batch), [1, 2])
    items.push(3)
    assert.deepStrictEqual(yield* saidAll(batch), [1, 2, 3])
    yield* opened
    assert.deepStrictEqual(yield* saidAll(batch), ["Cooldown", "Cooldown", "Cooldown"])
    yield* CircuitBreaker.reset("api")
    assert.deepStrictEqual(yield* saidAll(batch), [1, 2, 3])
  })

  scenario("an f that throws is a defect of its item", calm, function* () {
    const thrown = new Error("thrown")
    const f = (i: number): Effect.Effect<number> => {
      if (i === 1) throw thrown
      return Effect.succeed(i)
    }
    const all = yield* saidAll(CircuitBreaker.forEach(upTo(3), f, { name: "api" }))
    assert.deepStrictEqual(all, [0, thrown, 2])
    assert.strictEqual((yield* inspect()).totals.failures, 1)
  })

  const mix = Arbitrary.array(Arbitrary.schema(Schema.Literals(["success", "error", "defect", "interrupt", "later"])), {
    maxLength: 30
  })
  it.effect.prop(
    "whatever the mix, the concurrency and the state, no item is lost and none is called for twice",
    [
      mix,
      Arbitrary.schema(Schema.Literals([1, 2, 3, 4, 5, 6, 7, 8, "unbounded"])),
      Arbitrary.schema(Schema.Literals(["Closed", "Open", "HalfOpen", "Isolated", "Disabled"])),
      Arbitrary.schema(Schema.Literals([1, 2, 3])),
      Arbitrary.schema(Schema.Literals([true, false]))
    ],
    ([kinds, concurrency, begins, limit, fallsBack]) =>
      Effect.gen(function* () {
        if (begins === "Open" || begins === "HalfOpen") yield* CircuitBreaker.open("api")
        if (begins === "HalfOpen") yield* TestClock.adjust("10 seconds")
        if (begins === "Isolated") yield* CircuitBreaker.isolate("api")
        if (begins === "Disabled") yield* CircuitBreaker.disable("api")
        const called = new Map<number, number>()
        const rejected = new Set<number>()
        const f = (kind: string, index: number) =>
          Effect.suspend((): Effect.Effect<string, string> => {
            called.set(index, (called.get(index) ?? 0) + 1)
            if (kind === "success") return Effect.succeed(`success ${index}`)
            if (kind === "error") return Effect.fail(`error ${index}`)
            if (kind === "defect") return Effect.die(`defect ${index}`)
            if (kind === "interrupt") return Effect.interrupt
            return Effect.delay(Effect.succeed(`later ${index}`), "1 second")
          })
        const onOpen = (_: string, __: unknown, index: number) =>
          Effect.sync(() => {
            rejected.add(index)
            return "instead"
          })
        const options = { name: "api", concurrency }
        const batch: Effect.Effect<
          ReadonlyArray<Exit.Exit<string, string | CircuitOpen.CircuitOpen>>,
          never,
          BreakerStore.BreakerStore
        > = fallsBack
          ? CircuitBreaker.forEach(kinds, f, { ...options, onOpen })
          : CircuitBreaker.forEach(kinds, f, options)
        const [all] = yield* timed(saidAll(batch))
        const expected = kinds.map((kind, index) => {
          if (called.get(index) === 1) return kind === "interrupt" ? "interrupted" : `${kind} ${index}`
          return fallsBack && rejected.has(index) ? "instead" : all[index]
        })
        assert.deepStrictEqual(all, expected)
        assert.strictEqual(all.length, kinds.length)
        for (const [index, end] of all.entries()) {
          if (!called.has(index)) assert.include(["instead", "Cooldown", "ProbesBusy", "Isolated"], end)
        }
        if (begins === "Open" || begins === "Isolated") assert.strictEqual(called.size, 0)
        if (begins === "Disabled") assert.strictEqual(called.size, kinds.length)
        const { inFlight, totals } = yield* inspect()
        assert.strictEqual(inFlight, 0)
        assert.isAtMost(totals.rejected, 1)
        assert.strictEqual(totals.calls + totals.passed, called.size)
      }).pipe(
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(BreakerPolicy.layer(settings({ ...quick, trip: Trip.consecutive(limit) }))),
        Effect.as(true)
      ),
    { arbitrary: { runs: 300, size: 30 } }
  )
})

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
        const [all] = yield* timed(saidAll(batch))
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
      const ends = yield* saidAll(CircuitBreaker.forEach(upTo(20), f, { name: "api", concurrency: 4 }))
      assert.deepStrictEqual(ends.slice(0, 6), [0, 1, 2, 3, 4, "Dependency"])
      assert.strictEqual((yield* inspect()).totals.rejected, 1)
    }
  )

  scenario("by hand, for a name, is so for its keys", quick, function* () {
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
      const all = yield* saidAll(CircuitBreaker.forEach(upTo(6), f, { name: "api", concurrency, onOpen }))
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
    const [all] = yield* timed(saidAll(CircuitBreaker.forEach(upTo(9), f, { name: "api", concurrency: 3, onOpen })))
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
    const [all, took] = yield* timed(saidAll(CircuitBreaker.forEach(upTo(11), f, { name: "api", concurrency: 4 })))
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
    const all = yield* saidAll(CircuitBreaker.forEach(upTo(5), f, { name: "api", concurrency: "unbounded" }))
    assert.deepStrictEqual(all, [0, "Cooldown", "Cooldown", "Cooldown", "Cooldown"])
    assert.strictEqual(seen.calls, 1)
  })

  scenario("that somebody else probes rejects all items, and is asked once", quick, function* () {
    yield* recovering
    const probe = yield* hang()
    const all = yield* saidAll(CircuitBreaker.forEach(upTo(5), Effect.succeed, { name: "api", concurrency: 3 }))
    assert.deepStrictEqual(new Set(all), new Set(["ProbesBusy"]))
    assert.strictEqual((yield* inspect()).totals.rejected, 1)
    yield* probe.interrupt
  })

  scenario(
    "gives up a probe that takes too long, whose end says so",
    { ...quick, probeTimeout: "2 seconds" },
    function* () {
      yield* recovering
      const { counted, seen } = counter()
      const f = counted(() => Effect.never)
      const onOpen = (i: number) => Effect.succeed(`instead of ${i}`)
      const [all] = yield* timed(saidAll(CircuitBreaker.forEach(upTo(3), f, { name: "api", concurrency: 3, onOpen })))
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
      const all = yield* saidAll(CircuitBreaker.forEach(upTo(40), f, { name: "api", concurrency }))
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
      const fiber = yield* Effect.forkChild(saidAll(batch), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      // Somebody else sees it fail; while two items still run its cooldown ends.
      yield* opened
      for (let i = 0; i < 100; i++) yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), upTo(10))
    }
  )
})

describe("A circuit that rejects nobody takes nothing from the concurrency", () => {
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
      const [all, took] = yield* timed(saidAll(CircuitBreaker.forEach(upTo(8), f, { name: "api", concurrency: 8 })))
      assert.deepStrictEqual(all, upTo(8))
      assert.deepStrictEqual([seen.most, took], [8, 1])
    })
  }
})

describe("Many items", () => {
  const n = 10_000
  const cases: ReadonlyArray<
    readonly [string, BreakerPolicy.Input, Effect.Effect<unknown, never, BreakerStore.BreakerStore>, unknown]
  > = [
    ["Closed", quick, Effect.void, 0],
    ["HalfOpen until it closes", { ...quick, successesToClose: 2 }, recovering, 0],
    ["HalfOpen all the time", { ...quick, successesToClose: 1_000_000 }, recovering, 0],
    ["Open", quick, opened, "Cooldown"],
    ["Isolated", quick, CircuitBreaker.isolate("api"), "Isolated"],
    ["Disabled", quick, CircuitBreaker.disable("api"), 0]
  ]
  for (const [what, policy, before, first] of cases) {
    for (const concurrency of [1, 8, "unbounded"] as const) {
      scenario(`${what}, ${concurrency} at once: each has its end`, policy, function* () {
        yield* before
        const all = yield* saidAll(CircuitBreaker.forEach(upTo(n), Effect.succeed, { name: "api", concurrency }))
        assert.strictEqual(all.length, n)
        assert.strictEqual(all[0], first)
        assert.isTrue(all.every((one, i) => one === (first === 0 ? i : first)))
      })
    }
  }

  it.effect(
    "fifty thousand have their ends in little time, also while the circuit is not Closed",
    () =>
      Effect.gen(function* () {
        yield* CircuitBreaker.disable("api")
        const all = yield* saidAll(CircuitBreaker.forEach(upTo(50_000), Effect.succeed, { name: "api" }))
        assert.isTrue(all.every((one, i) => one === i))
      }).pipe(Effect.provide(BreakerStore.layerMemory)),
    4000
  )
})

describe("A batch that is interrupted", () => {
  for (const [what, before] of [
    ["Closed", Effect.void],
    ["HalfOpen", recovering]
  ] as const) {
    scenario(`interrupts all that runs, gives back every place and begins nothing more: ${what}`, quick, function* () {
      yield* before
      const begun = yield* Deferred.make<void>()
      const ended: Array<string> = []
      const f = (i: number) =>
        Effect.onExit(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never), (exit) =>
          Effect.sync(() => ended.push(`${i} ${said(exit)}`))
        )
      const batch = CircuitBreaker.forEach(upTo(9), f, { name: "api", concurrency: 3 })
      const fiber = yield* Effect.forkChild(batch, { startImmediately: true })
      yield* Deferred.await(begun)
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      const expected = what === "Closed" ? ["0 interrupted", "1 interrupted", "2 interrupted"] : ["0 interrupted"]
      assert.deepStrictEqual(ended.sort(), expected)
      const { inFlight, probing, totals } = yield* inspect()
      assert.deepStrictEqual([inFlight, probing, totals.ignored], [0, 0, expected.length])
    })
  }

  scenario("interrupts onOpen as well", quick, function* () {
    yield* opened
    let interrupted = 0
    const onOpen = () =>
      Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          interrupted++
        })
      )
    const batch = CircuitBreaker.forEach(upTo(9), () => Effect.void, { name: "api", concurrency: 3, onOpen })
    const fiber = yield* Effect.forkChild(batch, { startImmediately: true })
    yield* TestClock.adjust("1 second")
    yield* Fiber.interrupt(fiber)
    assert.isAtLeast(interrupted, 1)
  })
})

describe("A CircuitOpen from within f", () => {
  scenario("of another circuit is its item's error, and stops nothing", quick, function* () {
    yield* CircuitBreaker.open("inner")
    const f = (i: number) => (i % 2 === 0 ? Effect.succeed(i) : CircuitBreaker.protect(Effect.succeed(i), "inner"))
    for (const concurrency of [1, 3] as const) {
      const onOpen = () => Effect.succeed("instead")
      const all = yield* saidAll(CircuitBreaker.forEach(upTo(4), f, { name: "api", concurrency, onOpen }))
      assert.deepStrictEqual(all, [0, "Cooldown", 2, "Cooldown"])
    }
    assert.strictEqual((yield* inspect()).totals.rejected, 0)
    yield* expectState("Closed")
  })

  scenario("that f makes itself, for this very circuit, stops nothing either", quick, function* () {
    const open = rejectionIn(
      yield* Effect.andThen(CircuitBreaker.open("other"), Effect.exit(CircuitBreaker.protect(Effect.void, "other")))
    )
    const f = (i: number) => (i === 1 ? Effect.fail(open) : Effect.succeed(i))
    assert.deepStrictEqual(yield* saidAll(CircuitBreaker.forEach(upTo(3), f, { name: "api" })), [0, "Cooldown", 2])
  })
})

describe("Options", () => {
  scenario("a key is a circuit of its own", quick, function* () {
    yield* CircuitBreaker.open("api", { key: "eu" })
    const ends = (key: string | undefined) =>
      saidAll(CircuitBreaker.forEach([1], Effect.succeed, { name: "api", ...(key === undefined ? {} : { key }) }))
    assert.deepStrictEqual([yield* ends("eu"), yield* ends("us"), yield* ends(undefined)], [["Cooldown"], [1], [1]])
  })

  scenario(
    "a tenant has a circuit of its own where the policy says so",
    { ...quick, tenants: "separate" },
    function* () {
      const failing = CircuitBreaker.forEach([1, 2], () => Effect.fail("boom"), { name: "api", concurrency: 2 })
      const passing = CircuitBreaker.forEach([1, 2], Effect.succeed, { name: "api", concurrency: 2 })
      assert.deepStrictEqual(yield* saidAll(failing.pipe(Tenant.within("a"))), ["boom", "Cooldown"])
      assert.deepStrictEqual(yield* saidAll(passing.pipe(Tenant.within("a"))), ["Cooldown", "Cooldown"])
      assert.deepStrictEqual(yield* saidAll(passing.pipe(Tenant.within("b"))), [1, 2])
    }
  )

  scenario("ends are read as in protect", calm, function* () {
    const f = (i: number) => (i === 0 ? Effect.fail("missing") : i === 1 ? Effect.fail("busy") : Effect.fail("down"))
    yield* CircuitBreaker.forEach(upTo(3), f, {
      name: "api",
      isFailure: (error) => error === "down",
      isIgnored: (error) => error === "busy"
    })
    yield* CircuitBreaker.forEach(upTo(2), f, { name: "api", classify: () => Outcome.ignored })
    const { failures, ignored, successes } = (yield* inspect()).totals
    assert.deepStrictEqual([failures, ignored, successes], [1, 3, 1])
  })

  it("that are wrong throw at once, and the error names the field", () => {
    // biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
    const forEach = CircuitBreaker.forEach as any
    const f = () => Effect.void
    const cases: ReadonlyArray<readonly [options: unknown, field: RegExp]> = [
      [{}, /forEach.*name/],
      [{ name: "" }, /forEach.*name/],
      [{ name: "api", key: 5 }, /forEach.*key/],
      [{ name: "api", concurrency: 0 }, /forEach.*concurrency/],
      [{ name: "api", concurrency: 1.5 }, /forEach.*concurrency/],
      [{ name: "api", concurrency: Number.NaN }, /forEach.*concurrency/],
      [{ name: "api", concurrency: "inherit" }, /forEach.*concurrency/],
      [{ name: "api", onOpen: "no" }, /forEach.*onOpen/],
      [{ name: "api", onOpen: Effect.void }, /forEach.*onOpen/],
      [{ name: "api", isFailure: 1 }, /forEach.*isFailure/],
      [{ name: "api", classify: f, isFailure: f }, /forEach.*classify/]
    ]
    for (const [options, field] of cases) {
      assert.throws(() => forEach([1], f, options), RangeError, field)
    }
    assert.throws(() => forEach([1], f, { name: "api", policy: { probes: 0 } }), /probes/)
  })

  it("options, f or items that are not there at all are said to be", () => {
    // biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
    const forEach = CircuitBreaker.forEach as any
    assert.throws(() => forEach([1], () => Effect.void), /CircuitBreaker\.forEach/)
    assert.throws(() => forEach([1], undefined, { name: "api" }), /CircuitBreaker\.forEach/)
    assert.throws(() => forEach(5, () => Effect.void, { name: "api" }), /CircuitBreaker\.forEach/)
  })

  it("the types are those of f and of onOpen", () => {
    class Http extends Context.Service<Http, number>()("test/forEach/Http") {}
    class Health extends Context.Service<Health, number>()("test/forEach/Health") {}
    class Queue extends Context.Service<Queue, number>()("test/forEach/Queue") {}
    const f = (i: number) => Effect.andThen(Http, i > 0 ? Effect.succeed("a") : Effect.fail(1 as const))
    type Store = BreakerStore.BreakerStore
    const plain = CircuitBreaker.forEach([1], f, { name: "api" })
    expectTypeOf(plain).toEqualTypeOf<
      Effect.Effect<ReadonlyArray<Exit.Exit<string, 1 | CircuitOpen.CircuitOpen>>, never, Http | Store>
    >()
    const full = CircuitBreaker.forEach([1], f, {
      name: "api",
      classify: (exit) => {
        expectTypeOf(exit).toEqualTypeOf<Exit.Exit<string, 1>>()
        return Effect.as(Health, Outcome.success)
      },
      onOpen: (item, open, index) => {
        expectTypeOf([item, open, index] as const).toEqualTypeOf<readonly [number, CircuitOpen.CircuitOpen, number]>()
        return Effect.andThen(Queue, item > 0 ? Effect.succeed(true) : Effect.fail(2 as const))
      }
    })
    expectTypeOf(full).toEqualTypeOf<
      Effect.Effect<ReadonlyArray<Exit.Exit<string | boolean, 1 | 2>>, never, Http | Health | Queue | Store>
    >()
  })
})
