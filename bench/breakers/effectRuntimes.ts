import { Effect, Layer, Logger, ManagedRuntime, Schedule, Scope } from "effect"
import { CircuitBreaker as EffectOwn } from "effect/persistence"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Resilience, Trip } from "effect-fuse"

/* What the cases of effects share: one runtime for each library, and the calls that they protect. */

const silent = Logger.layer([])

const policies = BreakerPolicy.layer({
  breakers: {
    streak: { trip: Trip.consecutive(5) },
    rate: { trip: Trip.failureRate({ threshold: 0.5, minimumCalls: 100, over: 100 }) },
    broken: { cooldown: "1 hour" },
    recovering: { trip: Trip.consecutive(1), cooldown: "1 millis" },
    probing: { trip: Trip.consecutive(1), cooldown: "1 millis", probeTimeout: "1 hour" }
  }
})

export const ours = ManagedRuntime.make(
  Layer.mergeAll(BreakerStore.layerMemoryWith({ maxCircuits: 200_000 }), policies, silent)
)

export const bare = ManagedRuntime.make(silent)

export const theirs = ManagedRuntime.make(
  EffectOwn.layer({ tripPolicy: EffectOwn.consecutive(5), openDuration: "1 hour" }).pipe(
    Layer.provideMerge(EffectOwn.layerStoreMemory()),
    Layer.merge(silent),
    Layer.merge(Layer.effect(Scope.Scope, Effect.scope))
  )
)

export const theirBreaker = await theirs.runPromise(EffectOwn.CircuitBreaker)

/** Runs an effect n times in a row on one fiber. */
export const loop =
  <R>(runtime: ManagedRuntime.ManagedRuntime<R, unknown>, effect: (i: number) => Effect.Effect<unknown, unknown, R>) =>
  (n: number): Promise<void> => {
    let i = 0
    return runtime.runPromise(Effect.whileLoop({ while: () => i < n, body: () => effect(i++), step: () => {} }))
  }

/** The same for an effect that fails. The time includes catching the error. */
export const failing = <R>(
  runtime: ManagedRuntime.ManagedRuntime<R, unknown>,
  effect: Effect.Effect<unknown, unknown, R>
) => {
  const caught = Effect.catch(effect, () => Effect.void)
  return loop(runtime, () => caught)
}

/** What `Resilience.standard` does by default, without its retry budget. */
export const byHand = <A, E>(call: Effect.Effect<A, E>) =>
  call.pipe(
    Effect.timeout("10 seconds"),
    CircuitBreaker.protect("by hand"),
    Effect.retry({ times: 2, schedule: Schedule.exponential("100 millis") })
  )

export const standard = Resilience.standard("standard")
