/** Runs a program whose policies are `first` until a minute has passed, and `second` from then on. */

import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { captured, everyMinute, fail, loads, type Needs, reload, state } from "./support/reloading.ts"
import { times } from "./support/verbs.ts"

/** Runs a program whose policies are `first` until a minute has passed, and `second` from then on. */
const changing = <A, E>(first: BreakerPolicy.Input, second: BreakerPolicy.Input, body: Effect.Effect<A, E, Needs>) => {
  const source = loads<never>({ default: first }, { default: second })
  return body.pipe(
    Effect.provide(BreakerPolicy.layerReloading(source.load, everyMinute)),
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(captured().layer)
  )
}

const succeed = CircuitBreaker.protect(Effect.succeed("up"), "api")

describe("a living circuit takes on a policy that changes", () => {
  it.effect.each([
    [5, 3, 3, 1],
    [5, 4, 2, 2],
    [3, 6, 2, 4],
    [2, 2, 1, 1]
  ] as const)("and a limit of %i that becomes %i after %i failures needs %i more", ([before, after, made, more]) =>
    changing(
      { trip: Trip.consecutive(before) },
      { trip: Trip.consecutive(after) },
      Effect.gen(function* () {
        yield* times(made, fail)
        yield* reload
        assert.strictEqual(yield* state, "Closed")
        if (more > 1) {
          yield* times(more - 1, fail)
          assert.strictEqual(yield* state, "Closed")
        }
        yield* fail
        assert.strictEqual(yield* state, "Open")
      })
    )
  )

  it.effect("and stays Open, to its own end, with the new cooldown for the next opening", () =>
    changing(
      { trip: Trip.consecutive(1), cooldown: "3 minutes" },
      { trip: Trip.consecutive(1), cooldown: "10 seconds" },
      Effect.gen(function* () {
        yield* fail
        yield* reload
        assert.strictEqual((yield* Effect.flip(succeed)).reason, "Cooldown")
        yield* TestClock.adjust("119 seconds")
        assert.strictEqual((yield* Effect.flip(succeed))._tag, "CircuitOpen")
        yield* TestClock.adjust("1 second")
        yield* fail
        assert.strictEqual(yield* state, "Open")
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* succeed, "up")
        assert.strictEqual(yield* state, "Closed")
      })
    )
  )

  it.effect("and stays HalfOpen, with its probe in flight, while more probes are let in", () =>
    changing(
      { trip: Trip.consecutive(1), cooldown: "1 second", probeTimeout: "1 hour" },
      { trip: Trip.consecutive(1), cooldown: "1 second", probes: 2, successesToClose: 2 },
      Effect.gen(function* () {
        const latch = yield* Deferred.make<void>()
        yield* fail
        yield* TestClock.adjust("1 second")
        const probe = yield* Effect.forkChild(CircuitBreaker.protect(Deferred.await(latch), "api"))
        yield* Effect.yieldNow
        assert.strictEqual((yield* Effect.flip(succeed)).reason, "ProbesBusy")
        yield* reload
        assert.strictEqual(yield* succeed, "up")
        assert.strictEqual(yield* state, "HalfOpen")
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(probe)
        assert.strictEqual(yield* state, "Closed")
      })
    )
  )

  it.effect("and stays Isolated", () =>
    changing(
      {},
      { probes: 2 },
      Effect.gen(function* () {
        yield* succeed
        yield* CircuitBreaker.isolate("api")
        yield* reload
        assert.strictEqual((yield* Effect.flip(succeed)).reason, "Isolated")
      })
    )
  )

  const counted = Effect.map(CircuitBreaker.inspect("api"), ({ windows }) =>
    windows.map(({ calls, failures }) => [calls, failures])
  )
  const over = (of: Trip.OverInput) => ({ trip: Trip.failures({ atLeast: 4, of }) })

  it.effect.each([
    ["the newest calls that fit", 10, 4, [4, 2]],
    ["all calls in a wider window", 10, 20, [6, 3]],
    ["the times in a longer window", "10 minutes", "20 minutes", [6, 3]],
    ["the times that are not too old for a shorter window", "10 minutes", "30 seconds", [1, 0]],
    ["nothing of calls as times", 10, "10 minutes", [1, 0]],
    ["nothing of times as calls", "10 minutes", 10, [1, 0]]
  ] as ReadonlyArray<[string, Trip.OverInput, Trip.OverInput, [number, number]]>)(
    "and keeps of its window %s",
    ([_, before, after, kept]) =>
      changing(
        over(before),
        over(after),
        Effect.gen(function* () {
          // Three failures in five calls; the sixth comes after the change.
          for (const call of [fail, succeed, succeed, fail, fail]) yield* call
          yield* reload
          yield* succeed
          assert.deepStrictEqual(yield* counted, [kept])
        })
      )
  )

  it.effect("and trips on what its window kept", () =>
    changing(
      over("10 minutes"),
      { trip: Trip.failures({ atLeast: 3, of: "20 minutes" }) },
      Effect.gen(function* () {
        yield* fail
        yield* succeed
        yield* fail
        yield* reload
        yield* fail
        assert.strictEqual(yield* state, "Open")
      })
    )
  )

  it.effect("and is switched off, or only observes, from then on", () =>
    Effect.gen(function* () {
      for (const second of [{ enabled: false }, { mode: "observe" }] as const) {
        yield* changing(
          { trip: Trip.consecutive(1), cooldown: "10 minutes" },
          { ...second, trip: Trip.consecutive(1) },
          Effect.gen(function* () {
            yield* fail
            assert.strictEqual((yield* Effect.flip(succeed))._tag, "CircuitOpen")
            yield* reload
            assert.strictEqual(yield* succeed, "up")
          })
        )
      }
    })
  )

  const retryAfter = Effect.map(CircuitBreaker.inspect("api"), (seen) => Duration.toMillis(seen.retryAfter))

  it.effect("and an operator's open lasts for the new cooldown, before the next call", () =>
    changing(
      {},
      { cooldown: "5 seconds" },
      Effect.gen(function* () {
        yield* succeed
        yield* reload
        yield* CircuitBreaker.open("api")
        assert.strictEqual(yield* retryAfter, 5_000)
      })
    )
  )

  const inline = (policy: BreakerPolicy.Input, self: Effect.Effect<unknown, string> = Effect.fail("down")) =>
    Effect.exit(CircuitBreaker.protect(self, "api", { policy: { ...policy } }))
  const defects = (exits: ReadonlyArray<Exit.Exit<unknown, unknown>>) =>
    exits.filter((exit) => Exit.isFailure(exit) && Cause.hasDies(exit.cause)).map((exit) => String(exit))

  it.effect("and is the base of the policy of a call, even if each call creates that policy again", () =>
    changing(
      { trip: Trip.consecutive(9), cooldown: "5 seconds" },
      { trip: Trip.consecutive(3), cooldown: "6 seconds" },
      Effect.gen(function* () {
        const call = Effect.suspend(() => inline({ cooldown: "1 second", probes: 2 }))
        const before = yield* Effect.replicateEffect(call, 2)
        yield* reload
        const after = yield* Effect.replicateEffect(call, 2)
        assert.deepStrictEqual(defects([...before, ...after]), [])
        assert.strictEqual(yield* state, "Open")
        assert.strictEqual(yield* retryAfter, 1_000)
      })
    )
  )

  it.effect("and is the policy of every call without a policy of its own", () =>
    changing(
      { probes: 2 },
      { probes: 3 },
      Effect.gen(function* () {
        const calls = Effect.all([fail, inline({}), inline({ probes: undefined })])
        const before = yield* calls
        yield* reload
        assert.deepStrictEqual(defects([...before, ...(yield* calls)]), [])
      })
    )
  )

  it.effect("and a call with a different policy is still a defect", () =>
    changing(
      {},
      { probes: 3 },
      Effect.gen(function* () {
        yield* inline({ cooldown: "1 second" })
        assert.strictEqual(defects([yield* inline({ cooldown: "2 seconds" })]).length, 1)
        yield* reload
        const [defect] = defects([yield* inline({ cooldown: "2 seconds" })])
        assert.include(defect, "differ in cooldown.")
        assert.deepStrictEqual(defects([yield* inline({ cooldown: "1 second" })]), [])
      })
    )
  )

  it.effect("and other names keep theirs", () =>
    Effect.gen(function* () {
      const source = loads<never>({}, { breakers: { api: { trip: Trip.consecutive(1) } } })
      yield* Effect.gen(function* () {
        const other = Effect.exit(CircuitBreaker.protect(Effect.fail("down"), "other"))
        yield* Effect.all([fail, other])
        yield* reload
        yield* Effect.all([fail, other])
        assert.strictEqual(yield* state, "Open")
        assert.strictEqual(yield* CircuitBreaker.state("other"), "Closed")
        yield* times(3, other)
        assert.strictEqual(yield* CircuitBreaker.state("other"), "Open")
      }).pipe(
        Effect.provide(BreakerPolicy.layerReloading(source.load, everyMinute)),
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(captured().layer)
      )
    })
  )
})

const reloading = (...all: ReadonlyArray<BreakerPolicy.Settings>) =>
  Effect.provide(BreakerPolicy.layerReloading(loads<never>(...all).load, everyMinute))

it.effect("a circuit with operator actions but no call takes on a reload, too", () =>
  Effect.gen(function* () {
    yield* CircuitBreaker.isolate("api")
    yield* CircuitBreaker.release("api")
    yield* TestClock.adjust("1 minute")
    yield* CircuitBreaker.open("api")
    const { retryAfter } = yield* CircuitBreaker.inspect("api")
    assert.strictEqual(Duration.toSeconds(retryAfter), 5)
  }).pipe(Effect.provide(BreakerStore.layerMemory), reloading({}, { default: { cooldown: "5 seconds" } }))
)

it.effect("inspect and list show the new policy after a reload, before any call", () =>
  Effect.gen(function* () {
    yield* CircuitBreaker.protect(Effect.void, "api")
    yield* TestClock.adjust("1 minute")
    assert.strictEqual((yield* CircuitBreaker.inspect("api")).mode, "observe")
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(
      (yield* CircuitBreaker.list).map(({ mode }) => mode),
      ["enforce"]
    )
  }).pipe(Effect.provide(BreakerStore.layerMemory), reloading({}, { default: { mode: "observe" } }, {}))
)
