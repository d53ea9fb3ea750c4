import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Exit, Random, Schema } from "effect"
import { TestClock } from "effect/testing"
import {
  type BreakerEvent,
  BreakerPolicy,
  BreakerStore,
  CircuitBreaker,
  type CircuitOpen,
  Outcome,
  Trip
} from "effect-fuse"

import { Circuit } from "effect-fuse/core"
import { rejectionIn } from "./support/verbs.ts"

/** The limit of a policy, on the real engine, under any history of calls, operator actions and reloads. */

const name = "api"
/** The default of `probeTimeout`. */
const probeTimeoutMillis = 30_000
const never = Trip.failures({ atLeast: 100_000, of: "1 minute" })

const policies = {
  learning: { limit: true },
  objective: { limit: { objective: "200 millis" } },
  bounded: { limit: { max: 7 } },
  "two probes": { limit: true, probes: 2 },
  patient: { limit: true, trip: never }
} as const satisfies Readonly<Record<string, BreakerPolicy.Input>>
type PolicyName = keyof typeof policies
const policyNames = Object.keys(policies) as Array<PolicyName>

const endings = {
  success: Outcome.success,
  overload: Outcome.failure({ overload: true }),
  "overload with a hint": Outcome.failure({ overload: true, retryAfter: "1 minute" }),
  plain: Outcome.failure(),
  ignored: Outcome.ignored
} as const
type EndingName = keyof typeof endings

const pick = <const A extends ReadonlyArray<string | number>>(...all: A) => Arbitrary.schema(Schema.Literals(all))

const anyStep = Arbitrary.all({
  advance: pick(0, 0, 1, 30, 100, 900, 5_000, 11_000),
  calls: pick(0, 1, 2, 5, 40),
  ends: pick(0, 1, 2, 5, 40),
  ending: pick("success", "success", "success", "overload", "overload", "overload with a hint", "plain", "ignored"),
  action: pick("", "", "", "", "", "", "", "", "open", "close", "reset", "isolate", "disable", "release", "reload")
})
type Step = typeof anyStep extends Arbitrary.Arbitrary<infer A> ? A : never
const anyHistory = Arbitrary.array(anyStep, { maxLength: 40 })
const anyPolicy = pick("learning", "objective", "bounded", "two probes", "patient")

interface Running {
  readonly permit: CircuitBreaker.Permit
  readonly at: number
  readonly epoch: number
  readonly isNormal: boolean
}

/** The state of the circuit and of its limit, including private fields. */
interface Look {
  readonly now: number
  readonly state: string
  /** The state without overrides. */
  readonly beneath: string
  readonly epoch: number
  readonly inFlight: number
  /** This value is not rounded. It is `Infinity` if the circuit has no limit. */
  readonly limit: number
  readonly holds: boolean
  readonly rest: number
  readonly target: number
  readonly max: number
  readonly probes: number
}

const look = Effect.gen(function* () {
  const registry = yield* BreakerStore.BreakerStore
  const { epoch, inFlight, state } = yield* CircuitBreaker.inspect(name)
  const circuit = registry.peek(name, undefined)
  const now = registry.runtime.time.now()
  const { limit, policy } = circuit ?? {}
  const control = circuit?.control.value ?? Circuit.initial
  const seen: Look = {
    now,
    state,
    beneath: Circuit.isForced(control) ? control.under._tag : control._tag,
    epoch,
    inFlight,
    limit: limit?.value ?? Infinity,
    holds: limit?.holds ?? false,
    rest: limit?.restMillis(now) ?? 0,
    target: limit?.target ?? 0,
    max: policy === undefined || policy.limit === false ? Infinity : policy.limit.max,
    probes: policy?.probes ?? 1
  }
  return seen
})

/** The model: the calls in flight, the oldest first, and how many of them the limit does not count. */
class World {
  readonly running: Array<Running> = []
  lost = 0
  /** When the limit stopped counting the calls of `lost`. */
  lostAt = 0
  movedAt = 0
  lastSuccess: number | undefined
  current: PolicyName
  admitted = 0
  ended = 0

  constructor(policy: PolicyName) {
    this.current = policy
  }

  get counted(): number {
    return this.running.length - this.lost
  }

  /** A probe that was not settled within its timeout is no longer in flight. */
  lapse(now: number): void {
    for (const one of this.running.filter(({ at, isNormal }) => !isNormal && now >= at + probeTimeoutMillis)) {
      this.running.splice(this.running.indexOf(one), 1)
      this.ended++
      if (this.lost > 0 && one.at <= this.lostAt) this.lost--
    }
  }

  lose(now: number): void {
    this.lostAt = now
    this.lost = this.running.length
    this.movedAt = now
  }
}

interface Watch {
  readonly onCall?: (before: Look, admitted: boolean, world: World, rejection?: CircuitOpen.CircuitOpen) => void
  readonly onEnd?: (before: Look, after: Look, call: Running, ending: EndingName, world: World) => void
  readonly onAction?: (before: Look, after: Look, action: string, world: World) => void
}

/** After a close or a reset, the calls that are in flight do not count. */
const note = (before: Look, after: Look, world: World, action = ""): void => {
  if (action === "reset" || (before.beneath !== "Closed" && after.beneath === "Closed")) {
    world.lose(after.now)
    world.lastSuccess = after.now
  }
}

const call = (world: World, watch: Watch) =>
  Effect.gen(function* () {
    const before = yield* look
    world.lapse(before.now)
    const exit = yield* Effect.exit(CircuitBreaker.admit(name))
    const after = yield* look
    if (Exit.isSuccess(exit)) {
      watch.onCall?.(before, true, world)
      if (after.state === "Disabled") return
      world.admitted++
      const isNormal = after.state === "Closed"
      world.running.push({ permit: exit.value, at: after.now, epoch: after.epoch, isNormal })
      world.movedAt = after.now
      world.lastSuccess ??= after.now
      return
    }
    const rejection = rejectionIn(exit)
    watch.onCall?.(before, false, world, rejection)
    const hangs = rejection.reason === "Limited" && before.holds && before.rest === 0
    if (hangs && before.now - world.movedAt >= 10_000) world.lose(before.now)
  })

const end = (world: World, ending: EndingName, watch: Watch) =>
  Effect.gen(function* () {
    const before = yield* look
    world.lapse(before.now)
    const one = world.running.shift()
    if (one === undefined) return
    if (world.lost > 0) world.lost--
    yield* CircuitBreaker.settle(one.permit, endings[ending])
    world.ended++
    const after = yield* look
    watch.onEnd?.(before, after, one, ending, world)
    if (one.epoch === before.epoch && one.isNormal && ending !== "ignored") world.movedAt = after.now
    if (one.epoch === before.epoch && one.isNormal && ending === "success") world.lastSuccess = after.now
    note(before, after, world)
  })

const actions: Readonly<Record<string, Effect.Effect<unknown, never, BreakerStore.BreakerStore>>> = {
  open: CircuitBreaker.open(name),
  close: CircuitBreaker.close(name),
  reset: CircuitBreaker.reset(name),
  isolate: CircuitBreaker.isolate(name),
  disable: CircuitBreaker.disable(name),
  release: CircuitBreaker.release(name)
}

const act = (world: World, action: string, watch: Watch) =>
  Effect.gen(function* () {
    const before = yield* look
    world.lapse(before.now)
    if (action === "reload") {
      world.current = policyNames[(policyNames.indexOf(world.current) + 1) % policyNames.length] ?? "learning"
      yield* Effect.orDie(BreakerPolicy.reload)
    } else yield* actions[action] ?? Effect.void
    const after = yield* look
    watch.onAction?.(before, after, action, world)
    note(before, after, world, action)
  })

const play = (world: World, history: ReadonlyArray<Step>, watch: Watch = {}) =>
  Effect.gen(function* () {
    for (const step of history) {
      yield* TestClock.adjust(step.advance)
      if (step.action !== "") yield* act(world, step.action, watch)
      for (let i = 0; i < step.calls; i++) yield* call(world, watch)
      for (let i = 0; i < step.ends; i++) yield* end(world, step.ending as EndingName, watch)
    }
  })

type Body = (world: World, history: ReadonlyArray<Step>) => Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>

/** Runs a test with a new store, policies and a test clock. */
const inOwnStore = (world: World, body: (world: World) => ReturnType<Body>): Effect.Effect<boolean> => {
  const reloading = BreakerPolicy.layerReloading(Effect.sync(() => ({ default: { ...policies[world.current] } })))
  return body(world).pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(reloading),
    Effect.provide(TestClock.layer()),
    Random.withSeed("limit"),
    Effect.as(true)
  ) as Effect.Effect<boolean>
}

/** A property over generated policies and histories. */
const everyHistory = (sentence: string, body: Body): void =>
  it.effect.prop(
    sentence,
    [anyPolicy, anyHistory],
    ([policy, history]) => inOwnStore(new World(policy as PolicyName), (world) => body(world, history)),
    { arbitrary: { runs: 150, size: 40, maxShrinks: 500 } }
  )

const step = (
  advance: Step["advance"],
  calls: Step["calls"],
  ends: Step["ends"],
  ending: Step["ending"],
  action: Step["action"] = ""
): Step => ({ advance, calls, ends, ending, action })

const isOverload = (ending: EndingName): boolean => ending === "overload" || ending === "overload with a hint"

describe("in any history of calls, operator actions and reloads", () => {
  everyHistory("the calls in flight are those that were admitted and have not ended", (world, history) =>
    play(world, history, {
      onCall: (before, _, { running }) => assert.strictEqual(before.inFlight, running.length),
      onEnd: (_, after, __, ___, { admitted, ended }) => assert.strictEqual(after.inFlight, admitted - ended)
    })
  )

  it.effect("a probe that is not settled within its timeout is not in flight", () =>
    inOwnStore(new World("patient"), (world) =>
      Effect.gen(function* () {
        yield* play(world, [
          step(5_000, 40, 2, "success", "reload"),
          step(5_000, 1, 5, "plain"),
          step(5_000, 5, 1, "overload"),
          step(11_000, 1, 2, "plain", "reset"),
          step(11_000, 2, 0, "success")
        ])
        assert.strictEqual(world.running.filter(({ isNormal }) => !isNormal).length, 1)
        yield* play(world, [step(11_000, 1, 0, "success")])
        assert.strictEqual(world.running.filter(({ isNormal }) => !isNormal).length, 0)
        assert.strictEqual((yield* look).inFlight, world.running.length)
      })
    )
  )

  everyHistory("a limit rejects calls only while it is reached or pauses, and then all calls", (world, history) =>
    play(world, history, {
      onCall: (before, admitted, { counted }, rejection) => {
        if (before.state !== "Closed") return
        if (admitted) {
          assert.isBelow(counted, Math.floor(before.limit))
          assert.isBelow(before.inFlight, before.max)
          assert.strictEqual(before.rest, 0)
          return
        }
        assert.strictEqual(rejection?.reason, "Limited")
        const isReached = counted >= Math.floor(before.limit) || before.inFlight >= before.max
        assert.isTrue(isReached || before.rest > 0, `rejected without a reason: ${counted} of ${before.limit}`)
      }
    })
  )

  everyHistory("a limit is a number of at least 1", (world, history) =>
    play(world, history, {
      onEnd: (_, { limit, target }) => {
        assert.isAtLeast(limit, 1)
        assert.isFalse(Number.isNaN(target))
      }
    })
  )

  everyHistory(
    "a bad outcome lowers the limit by at most half, a good outcome raises it by at most 3/4, and other outcomes do not change it",
    (world, history) =>
      play(world, history, {
        onEnd: (before, after, one, ending) => {
          const isCurrent = one.epoch === before.epoch && one.isNormal
          if (!isCurrent || !before.holds || !after.holds || before.epoch !== after.epoch) return
          if (ending === "plain" || ending === "ignored") assert.strictEqual(after.limit, before.limit)
          else {
            assert.isAtLeast(after.limit, Math.max(1, before.limit / 2))
            assert.isAtMost(after.limit, before.limit + (ending === "success" ? 3 / 4 : 0))
          }
        }
      })
  )

  everyHistory("a call of another epoch changes neither the limit nor its pause", (world, history) =>
    play(world, history, {
      onEnd: (before, after, one) => {
        if (one.epoch === before.epoch) return
        assert.deepStrictEqual([after.limit, after.rest], [before.limit, before.rest])
      }
    })
  )

  everyHistory("the usual duration is not learned while a limit holds", (world, history) =>
    play(world, history, {
      onEnd: (before, after, one, ending) => {
        // No call has timed out, so only the usual durations decide whether a success is late.
        if (!before.holds || !after.holds || before.limit < 2 || ending !== "success" || !one.isNormal) return
        assert.strictEqual(after.target, before.target)
      }
    })
  )

  everyHistory(
    "a rest is at most 5 seconds or the retryAfter of the dependency, and at most the time since the last success",
    (world, history) =>
      play(world, history, {
        onEnd: (before, after, _, ending, { lastSuccess }) => {
          if (after.rest <= before.rest) return
          // A new limit keeps a pause that the dependency requested shortly before.
          const isAsked = ending === "overload with a hint" || !before.holds
          assert.isAtMost(after.rest, isAsked ? 60_000 : 5_000)
          assert.isAtMost(after.rest, after.now - (lastSuccess ?? after.now))
        }
      })
  )

  everyHistory("overload opens no circuit while a call has succeeded within 10 seconds", (world, history) =>
    play(world, history, {
      onEnd: (before, after, one, ending, { lastSuccess }) => {
        if (!isOverload(ending) || !one.isNormal || before.state !== "Closed" || after.state === "Closed") return
        assert.isAtLeast(after.now - (lastSuccess ?? after.now), 10_000)
      }
    })
  )

  everyHistory("after a close, the limit begins with the number of probes", (world, history) => {
    const closes = (before: Look, after: Look): void => {
      if (before.beneath === "Closed" || after.beneath !== "Closed") return
      assert.deepStrictEqual([after.limit, after.rest], [Math.min(after.max, after.probes), 0])
    }
    return play(world, history, {
      onEnd: closes,
      onAction: (before, after, action) => {
        if (action !== "reset") closes(before, after)
      }
    })
  })

  everyHistory("the circuit opens if calls continue without a success", (world, history) =>
    Effect.gen(function* () {
      if (world.current === "patient" || history.some(({ action }) => action === "reload")) return
      yield* play(world, history)
      yield* CircuitBreaker.release(name)
      let last = yield* look
      const until = last.now + 120_000
      while (last.state === "Closed" && last.now < until) {
        while (world.running.length > 0) yield* end(world, "overload", {})
        yield* TestClock.adjust(1_000)
        yield* call(world, {})
        last = yield* look
      }
      assert.notStrictEqual(last.state, "Closed")
    })
  )

  everyHistory("the limit is infinite again if all later calls succeed in time", (world, history) =>
    Effect.gen(function* () {
      yield* play(world, history)
      yield* CircuitBreaker.release(name)
      while (world.running.length > 0) yield* end(world, "ignored", {})
      yield* TestClock.adjust("11 minutes")
      for (let i = 0; i < 300; i++) {
        yield* call(world, {})
        yield* end(world, "success", {})
        yield* TestClock.adjust(100)
      }
      assert.isFalse((yield* look).holds)
    })
  )

  everyHistory("the start of a limit is announced once, and so is its end", (world, history) =>
    Effect.gen(function* () {
      const events: Array<BreakerEvent.BreakerEvent> = []
      const registry = yield* BreakerStore.BreakerStore
      registry.runtime.observers.add((event) => events.push(event))
      const holds: Array<boolean> = [false]
      const see = (after: Look) => {
        if (after.holds !== holds.at(-1)) holds.push(after.holds)
      }
      yield* play(world, history, { onEnd: (_, after) => see(after), onAction: (_, after) => see(after) })
      const told = events.flatMap(({ _tag }) => (_tag === "LimitBegan" ? [true] : _tag === "LimitEnded" ? [false] : []))
      assert.deepStrictEqual(told, holds.slice(1))
    })
  )
})
