import { assert } from "@effect/vitest"
import { Context, Effect, Layer, Logger, type Scope } from "effect"
import { TestClock } from "effect/testing"
import {
  type BreakerEvent,
  type BreakerPolicy,
  BreakerStore,
  CircuitBreaker,
  MemoryStore,
  type SharedStore,
  Trip
} from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import { TestFleet } from "effect-fuse/testing"
import type { Place } from "./sqlFleet.ts"

/** A process of a fleet in virtual time, whose trail is written when the test says so. */
export interface AuditedProcess {
  readonly name: string
  readonly trouble: TestFleet.Trouble
  readonly run: <A, E>(
    effect: Effect.Effect<A, E, BreakerStore.BreakerStore | AuditTrail.AuditTrail>
  ) => Effect.Effect<A, E>
  /** What happened to its circuits. */
  readonly events: ReadonlyArray<BreakerEvent.Transition>
  /** Ends as a process that is stopped. */
  readonly stop: Effect.Effect<void>
}

/** Starts a process. Without a store its circuits are its own. */
export const auditedProcess = (
  place: Place,
  name: string,
  policy: BreakerPolicy.Input,
  store: SharedStore.SharedStore
): Effect.Effect<AuditedProcess, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sql = yield* TestClock.withLive(place.open)
    const { context, scope, trouble } = yield* Effect.orDie(
      TestFleet.start(store, { process: name, seed: name, policies: { default: policy } })
    )
    const trail = Layer.orDie(AuditTrail.layer({ process: name, prefix: "audit", flushInterval: "1000 days" })).pipe(
      Layer.provide(Layer.mergeAll(Layer.succeedContext(context), Layer.succeedContext(sql), Logger.layer([])))
    )
    const written = yield* Layer.buildWithScope(Layer.fresh(trail), scope)
    const events: Array<BreakerEvent.Transition> = []
    Context.get(context, BreakerStore.BreakerStore).runtime.observers.add((event) => {
      if (event._tag === "Transition") events.push(event)
    })
    const all = Context.merge(context, written)
    const { stop } = new TestFleet.Process({ context, scope, trouble })
    return { name, trouble, events, stop, run: (effect) => Effect.provideContext(effect, all) }
  })

/** The trail is about now: the clock of the test must say so, too. */
export const today = TestClock.setTime(Date.now())

export const flushAll = (processes: ReadonlyArray<AuditedProcess>) =>
  Effect.forEach(processes, ({ run }) => run(AuditTrail.flush), { discard: true })

export const statesOf = (processes: ReadonlyArray<AuditedProcess>, name = "api") =>
  Effect.forEach(processes, ({ run }) => run(CircuitBreaker.state(name)))

/** What the circuits of these tests have, unless a test says otherwise. */
export const policy: BreakerPolicy.Input = { trip: Trip.consecutive(3), cooldown: "1 second" }

export const stepMillis = 50

/** What a test sees of a fleet, and the truth about it. */
export interface Seen {
  readonly processes: ReadonlyArray<AuditedProcess>
  /** Whether the dependency answers. */
  up: boolean
  /** Outages, as the states of the processes have them: from when the first was not Closed until all were. */
  readonly outages: Array<{ readonly from: number; to: number | undefined }>
}

const call = (up: boolean) => CircuitBreaker.protect(up ? Effect.void : Effect.fail("down"), "api").pipe(Effect.exit)

/** Goes on for a time: each process calls at each step, and the states are noted. */
export const goOn = (seen: Seen, millis: number, callers: ReadonlyArray<AuditedProcess> = seen.processes) =>
  Effect.gen(function* () {
    const clock = yield* TestClock.testClockWith((clock) => Effect.succeed(clock))
    for (let gone = 0; gone < millis; gone += stepMillis) {
      for (const process of callers) yield* process.run(call(seen.up))
      yield* TestClock.adjust(stepMillis)
      const states = yield* statesOf(seen.processes)
      const isDown = states.some((state) => state === "Open" || state === "HalfOpen")
      const last = seen.outages.at(-1)
      const now = clock.currentTimeMillisUnsafe()
      if (isDown && (last === undefined || last.to !== undefined)) seen.outages.push({ from: now, to: undefined })
      if (!isDown && last !== undefined && last.to === undefined) last.to = now
    }
  })

export const fleetOf = (
  place: Place,
  n: number,
  of: BreakerPolicy.Input = policy
): Effect.Effect<Seen, never, Scope.Scope> =>
  Effect.gen(function* () {
    yield* today
    const store = yield* MemoryStore.make
    const processes = yield* Effect.forEach(Array.from({ length: n }), (_, i) =>
      auditedProcess(place, `p${i}`, of, store)
    )
    yield* TestClock.adjust("6 seconds")
    return { processes, up: true, outages: [] }
  })

export const first = ({ processes }: Seen): AuditedProcess => {
  const [found] = processes
  if (found === undefined) throw new Error("there is no process")
  return found
}

/** What the trail knows, once all have written. */
export const trailOf = (seen: Seen) =>
  Effect.andThen(
    flushAll(seen.processes),
    first(seen).run(
      Effect.gen(function* () {
        const standing = yield* AuditTrail.failing
        return {
          failing: standing.map(({ outage, owner, state }) => ({ state, isFleets: owner === undefined, outage })),
          open: (yield* AuditTrail.openNow).length,
          recovery: yield* AuditTrail.timeToRecover({ within: "1 day" }),
          longest: yield* AuditTrail.longestOpenings({ within: "1 day", limit: 1_000 }),
          lines: (yield* AuditTrail.history("api", { limit: 1_000 })).toReversed()
        }
      })
    )
  )

/** Each outage of the trail lasted as long as it did, give or take the steps in which the test looks. */
export const agrees = (
  seen: Seen,
  trail: Effect.Success<ReturnType<typeof trailOf>>,
  toleranceMillis = 2 * stepMillis
) => {
  const truth = seen.outages.map(({ from, to }) => (to ?? Number.NaN) - from)
  const told = trail.longest.toSorted((a, b) => a.at - b.at).map(({ downMillis }) => downMillis ?? Number.NaN)
  const message = JSON.stringify({ truth, told })
  assert.strictEqual(told.length, truth.length, message)
  for (const [i, millis] of truth.entries()) assert.closeTo(told[i] ?? Number.NaN, millis, toleranceMillis, message)
  assert.strictEqual(trail.recovery.recoveries, truth.length)
  const mean = truth.reduce((sum, one) => sum + one, 0) / truth.length
  assert.closeTo(trail.recovery.meanMillis ?? Number.NaN, mean, toleranceMillis, message)
}

export const down = (seen: Seen, millis: number, callers?: ReadonlyArray<AuditedProcess>) =>
  Effect.gen(function* () {
    seen.up = false
    yield* goOn(seen, millis, callers)
    seen.up = true
  })
