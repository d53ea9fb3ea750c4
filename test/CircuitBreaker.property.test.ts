import { isDeepStrictEqual } from "node:util"
import { assert, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerStore, CircuitBreaker } from "effect-fuse"
import { Circuit } from "effect-fuse/core"
import { alone, anyRun, keys, name, play, type Run, type Seen } from "./support/runs.ts"

/** A generated policy and 40 generated steps, 500 times, each with a store and a clock of its own. */
const everyRun = <E>(
  sentence: string,
  body: (run: Run) => Effect.Effect<unknown, E, BreakerStore.BreakerStore | Scope.Scope>
): void =>
  it.effect.prop(sentence, [anyRun], ([run]) => Effect.as(alone(run, body(run)), true), {
    arbitrary: { runs: 500, size: 40, maxShrinks: 3000 }
  })

type Look = CircuitBreaker.Inspection

/** What must hold of every circuit before and after every step. */
const promises: Readonly<Record<string, (before: Look, after: Look, seen: Seen, run: Run) => boolean>> = {
  "never more probes are in flight than the policy allows": (_, after, { running }, { rules }) => {
    if (after.state === "Closed" || after.state === "Open") return after.probing === 0
    if (after.probing > rules.probes || rules.mode === "observe") return after.probing <= rules.probes
    const probes = running.filter(
      (one) => one?.state === "HalfOpen" && one.key === after.key && one.epoch === after.epoch
    )
    return probes.length <= after.probing
  },

  "a rejection changes no window and no streak": (before, after, { rejected }) =>
    !rejected || isDeepStrictEqual([before.windows, before.streak], [after.windows, after.streak]),

  "a call of an older epoch changes nothing but totals when it ends": (before, after, { settled }) => {
    const { inFlight, lastFailures, totals } = after
    return settled?.stale !== true || isDeepStrictEqual({ ...before, inFlight, lastFailures, totals }, after)
  },

  "a call that ends changes no circuit of another key": (before, after, { settled }) =>
    settled === undefined || before.key === settled.key || isDeepStrictEqual(before, after),

  "an epoch never gets smaller": (before, after) => after.epoch >= before.epoch
}

everyRun("a circuit does what the model does", (run) => play(run))

everyRun("every step bounds the probes, and neither a rejection nor a stale end changes what a circuit knows", (run) =>
  play(run, (seen) => {
    seen.before.forEach((before, i) => {
      const after = seen.after[i] ?? before
      for (const [promise, holds] of Object.entries(promises)) {
        if (!holds(before, after, seen, run)) {
          throw new Error(`Not so: ${promise}\n${JSON.stringify({ step: seen.step, before, after }, null, 1)}`)
        }
      }
    })
  })
)

everyRun("every event begins a new epoch, where the one before ended, by a move that exists", (run) =>
  Effect.gen(function* () {
    const events = yield* play(run, () => {})
    const last = new Map<string | undefined, { readonly state: Circuit.State; readonly epoch: number }>()
    for (const event of events) {
      if (event._tag !== "Transition") continue
      const before = last.get(event.key) ?? { state: "Closed", epoch: 0 }
      assert.strictEqual(event.from, before.state)
      assert.isAbove(event.epoch, before.epoch)
      assert.isTrue(Circuit.isLegal(event.from, event.to, event.why))
      last.set(event.key, { state: event.to, epoch: event.epoch })
    }
  })
)

everyRun("a circuit whose dependency is healthy again always ends Closed, whatever happened before", (run) =>
  Effect.gen(function* () {
    yield* play(run, () => {})
    for (const key of keys) yield* CircuitBreaker.release(name, { key })
    yield* TestClock.adjust("1 hour")
    for (const key of keys) {
      const healthy = CircuitBreaker.protect(Effect.void, name, { key })
      // Earlier probes may have succeeded; and right after the close a ramp lets only some through.
      for (let i = 0; i < run.rules.successesToClose; i++) {
        if (i === 0 || (yield* CircuitBreaker.state(name, { key })) !== "Closed") yield* healthy
      }
      const { inFlight, probing, state } = yield* CircuitBreaker.inspect(name, { key })
      assert.deepStrictEqual({ inFlight, probing, state }, { inFlight: 0, probing: 0, state: "Closed" })
    }
    // It may have been opened by hand again and again, each time for up to an hour.
    yield* TestClock.adjust("2 days")
    for (const key of keys) {
      const { openings, streak, windows } = yield* CircuitBreaker.inspect(name, { key })
      assert.deepStrictEqual([openings, streak, ...windows.map((one) => one.calls)], [0, 0, ...windows.map(() => 0)])
    }
  })
)
