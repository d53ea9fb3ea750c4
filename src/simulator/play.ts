import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as BreakerStore from "../breaker/BreakerStore.ts"
import * as CircuitBreaker from "../breaker/CircuitBreaker.ts"
import type * as Circuit from "../core/Circuit.ts"
import * as Outcome from "../core/Outcome.ts"
import { Policies } from "../policy/BreakerPolicy.ts"
import type { TracedCall } from "./trace.ts"
import { Timeline, VirtualClock } from "./virtualTime.ts"

export type Fate = "succeeded" | "failed" | "rejected"

export interface PlayedMove {
  readonly at: number
  readonly from: Circuit.State
  readonly to: Circuit.State
  readonly why: Circuit.Why
}

export interface Played {
  readonly policy: string
  readonly fates: ReadonlyArray<Fate>
  readonly moves: ReadonlyArray<PlayedMove>
}

/** The ends of the calls in order of time. */
const schedule = (calls: ReadonlyArray<TracedCall>, timeout: number) => {
  const endOf = (i: number): number => {
    const { at, duration } = calls[i] as TracedCall
    return at + Math.min(duration, timeout)
  }
  const ends = calls.map((_, i) => i).filter((i) => endOf(i) < Infinity)
  return { ends: ends.sort((a, b) => endOf(a) - endOf(b) || a - b), endOf }
}

/** Runs the calls against one policy, with the real engine and its own clock. */
const playOne = (
  calls: ReadonlyArray<TracedCall>,
  name: string,
  { seed, timeout }: Playing
): Effect.Effect<Played, never, Scope.Scope> =>
  Effect.gen(function* () {
    // Only the calls move the time: the simulated circuits do not sleep.
    const timeline = new Timeline()
    const clock = new VirtualClock(timeline)
    const context = yield* Layer.build(Layer.fresh(Layer.merge(BreakerStore.layerMemory, Logger.layer([])))).pipe(
      Effect.provideService(Clock.Clock, clock),
      Random.withSeed(String(seed))
    )
    const { probeTimeoutMillis } = (yield* Policies).get(name)
    const whole = Context.merge(yield* Random.withSeed(Effect.context<never>(), String(seed)), context)
    const run = Effect.runSyncExitWith(whole)
    const moves: Array<PlayedMove> = []
    let givingUp = false
    Context.get(context, BreakerStore.BreakerStore).runtime.observers.add((event) => {
      if (event._tag !== "Transition") return
      // `settle` cannot report that a probe timed out, so the engine reports a failed probe.
      const why = givingUp && event.why === "ProbeFailed" ? "ProbeTimedOut" : event.why
      moves.push({ at: event.at, from: event.from, to: event.to, why })
    })
    const admit = CircuitBreaker.admit(name)
    const state = CircuitBreaker.state(name)
    const fates: Array<Fate> = []
    const permits = new Map<number, CircuitBreaker.Permit>()
    /** Probes that time out before they end, by the time of the timeout. */
    const lateProbes: Array<{ readonly at: number; readonly call: number }> = []

    const settle = (call: number, fate: "succeeded" | "failed"): void => {
      const permit = permits.get(call)
      if (permit === undefined) return
      permits.delete(call)
      fates[call] = fate
      run(CircuitBreaker.settle(permit, fate === "succeeded" ? Outcome.success : Outcome.failure()))
    }
    const { ends, endOf } = schedule(calls, timeout)
    let next = 0
    /**
     * Ends the calls that are over at `time`. Calls from the index `before` on have not started, so this does not end them. A call with the
     * duration 0 must not end before its start.
     */
    const endUntil = (time: number, before: number): void => {
      for (;;) {
        const end = ends[next]
        const endAt = end === undefined || end >= before ? Infinity : endOf(end)
        const late = lateProbes[0]
        const at = Math.min(endAt, late?.at ?? Infinity)
        if (at > time || at === Infinity) return
        timeline.now = at
        if (late !== undefined && late.at < endAt) {
          lateProbes.shift()
          givingUp = true
          settle(late.call, "failed")
          givingUp = false
          continue
        }
        next++
        const { duration, outcome } = calls[end as number] as TracedCall
        settle(end as number, outcome === "success" && duration <= timeout ? "succeeded" : "failed")
      }
    }
    calls.forEach(({ at }, call) => {
      endUntil(at, call)
      timeline.now = at
      const admitted = run(admit)
      if (Exit.isFailure(admitted)) {
        fates[call] = "rejected"
        return
      }
      permits.set(call, admitted.value)
      // A call that never ends counts as failed.
      fates[call] = "failed"
      const isProbe = run(state)
      if (Exit.isSuccess(isProbe) && isProbe.value === "HalfOpen") {
        // The list stays in order of time, as probes are admitted in order and have the same timeout. A nanosecond later, the lease would
        // lapse.
        lateProbes.push({ at: at + probeTimeoutMillis - 1e-6, call })
      }
    })
    endUntil(Infinity, calls.length)
    return { policy: name, fates, moves }
  })

export interface Playing {
  /** The time in milliseconds after which a caller gives up a call, which then counts as failed. */
  readonly timeout: number
  readonly seed: number
}

export const play = (
  calls: ReadonlyArray<TracedCall>,
  names: ReadonlyArray<string>,
  options: Playing
): Effect.Effect<ReadonlyArray<Played>> => Effect.forEach(names, (name) => Effect.scoped(playOne(calls, name, options)))
