/**
 * Effect's own `CircuitBreaker` service (`effect/persistence`, experimental), implemented by the circuits of a `BreakerStore`.
 * `HttpClient.withCircuitBreaker` and other code for that service can use it without changes.
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { CircuitBreaker } from "effect/persistence"
 * import { BreakerStore } from "effect-fuse"
 * import * as EffectCircuitBreaker from "effect-fuse/EffectCircuitBreaker"
 *
 * const Breaker = EffectCircuitBreaker.layer("http").pipe(Layer.provide(BreakerStore.layerMemory))
 *
 * const program = Effect.gen(function* () {
 *   const breaker = yield* CircuitBreaker.CircuitBreaker
 *   yield* breaker.execute(Effect.succeed("hello"), { key: "https://example.com" })
 *   return (yield* breaker.state("https://example.com"))._tag
 * })
 * await Effect.runPromise(Effect.provide(program, Breaker)) // => "Closed"
 * ```
 *
 * Effect's keys are the keys of the circuit. Effect's service has fewer states and transitions: Isolated is reported as `Open`, and
 * Disabled as `Closed`. If the service does not have a transition, the breaker reports two transitions that lead to the same state.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Effects from "effect/persistence/CircuitBreaker"
import * as Stream from "effect/Stream"
import type * as Take from "effect/Take"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import * as CircuitBreaker from "../breaker/CircuitBreaker.ts"
import { guardOrElse, inlinePolicy, subject, toSubject } from "../breaker/protect.ts"
import { decodeOptions } from "../core/fields.ts"
import * as Outcome from "../core/Outcome.ts"
import * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import type { BreakerEvent, Transition } from "../shapes/BreakerEvent.ts"
import { type CircuitOpen, isCircuitOpen } from "../shapes/CircuitOpen.ts"

const toError = (key: string, { reason, retryAfter }: CircuitOpen): Effects.CircuitBreakerError =>
  new Effects.CircuitBreakerError({
    reason:
      reason === "ProbesBusy" ? new Effects.CircuitHalfOpen({ key }) : new Effects.CircuitOpen({ key, retryAfter })
  })

const toOutcome = (outcome: Effects.Outcome): Outcome.Outcome =>
  outcome._tag === "Failure" ? Outcome.failure({ retryAfter: outcome.retryAfter }) : outcome

type ExitClassifier = (
  exit: Exit.Exit<never, never>
) => Effects.Outcome | Effect.Effect<Effects.Outcome, never, unknown>

const toClassify = (classify: ExitClassifier) => (exit: Exit.Exit<never, never>) => {
  const outcome = classify(exit)
  return Effect.isEffect(outcome) ? Effect.map(outcome, toOutcome) : toOutcome(outcome)
}

const toState = (key: string, inspection: CircuitBreaker.Inspection): Effects.State => {
  const { openings: consecutiveOpenings, probing, retryAfter, state } = inspection
  switch (state) {
    case "Open":
    case "Isolated":
      return { _tag: "Open", key, retryAfter, consecutiveOpenings }
    case "HalfOpen":
      return { _tag: "HalfOpen", key, probing: probing > 0, consecutiveOpenings }
    default:
      return { _tag: "Closed", key }
  }
}

/** Maps a state to the three states of Effect's service. */
const stateOf = (state: Transition["from"]) => (state === "Isolated" ? "Open" : state === "Disabled" ? "Closed" : state)

const toTransitions = (event: Transition): ReadonlyArray<Effects.Transition> => {
  const { key = "", openings: consecutiveOpenings, retryAfterMillis } = event
  const from = stateOf(event.from)
  const to = stateOf(event.to)
  if (from === to) return []
  switch (to) {
    case "Open": {
      const retryAfter = retryAfterMillis === null ? Duration.infinity : Duration.millis(retryAfterMillis)
      return [{ key, from: from === "HalfOpen" ? "HalfOpen" : "Closed", to, retryAfter, consecutiveOpenings }]
    }
    case "HalfOpen":
      return [{ key, from: "Open", to }]
    case "Closed": {
      const closed = { key, from: "HalfOpen", to } as const
      return from === "Open" ? [{ key, from: "Open", to: "HalfOpen" }, closed] : [closed]
    }
  }
}

/** A subscriber that falls this far behind loses the oldest transitions. */
const transitionCapacity = 4_096

/**
 * Provides Effect's service. Each key has its own circuit under `name`. The layer reads the policy of `name` from the context that builds
 * the layer, and `policy` overrides its fields. A store that fails, or a classifier that dies, does not fail a call. `transitions` ends
 * when the scope of the layer closes. Throws a `RangeError` that names the invalid option.
 *
 * @category layers
 */
export const layer = (
  name: string,
  options?: { readonly policy?: BreakerPolicy.Input | undefined }
): Layer.Layer<Effects.CircuitBreaker, never, BreakerStore> => {
  const operation = "EffectCircuitBreaker.layer"
  const named = toSubject(operation, name, decodeOptions(operation, { policy: inlinePolicy }, options))
  return Layer.effect(
    Effects.CircuitBreaker,
    Effect.gen(function* () {
      const store = yield* BreakerStore
      const policies = yield* BreakerPolicy.Policies
      // A subscriber that is behind receives the transitions before the end.
      const transitions = yield* Effect.acquireRelease(
        PubSub.sliding<Take.Take<Effects.Transition>>(transitionCapacity),
        (transitions) => PubSub.end(transitions, Exit.void)
      )
      const observe = (event: BreakerEvent): void => {
        if (event._tag !== "Transition" || event.circuit !== name) return
        for (const transition of toTransitions(event)) PubSub.publishUnsafe(transitions, [transition])
      }
      const { observers } = store.runtime
      yield* Effect.acquireRelease(
        Effect.sync(() => void observers.add(observe)),
        () => Effect.sync(() => void observers.delete(observe))
      )
      const execute = (
        self: Effect.Effect<unknown, unknown>,
        { classify, key }: { readonly key: string; readonly classify?: ExitClassifier | undefined }
      ): Effect.Effect<unknown, unknown> => {
        const options = classify === undefined ? {} : { classify: toClassify(classify) }
        const { classify: read, waits } = subject("EffectCircuitBreaker.execute", name, options)
        return Effect.contextWith((context: Context.Context<never>) => {
          // The call runs with its caller's services, as it may contain breakers of another store.
          let raised: unknown
          const call = Effect.mapError(Effect.provideContext(self, context), (error) => {
            raised = error
            return error
          })
          const guarded = guardOrElse(call, { ...named, key, classify: read, waits }, (open) =>
            Effect.fail(toError(key, open))
          )
          return guarded.pipe(
            Effect.mapError((error) => (error !== raised && isProbeTimeout(error) ? toError(key, error) : error)),
            Effect.provideContext(
              Context.add(Context.add(context, BreakerStore, store), BreakerPolicy.Policies, policies)
            )
          )
        })
      }
      return Effects.CircuitBreaker.of({
        [Effects.TypeId]: Effects.TypeId,
        execute: dual(2, execute) as Effects.CircuitBreaker["execute"],
        state: (key) =>
          Effect.map(CircuitBreaker.inspect(name, { key }), (inspection) => toState(key, inspection)).pipe(
            Effect.provideService(BreakerStore, store),
            Effect.provideService(BreakerPolicy.Policies, policies)
          ),
        transitions: Stream.fromPubSubTake(transitions)
      })
    })
  )
}

/** A rejection by a probe that timed out. If the call did not raise it, the call itself was that probe. */
const isProbeTimeout = (error: unknown): error is CircuitOpen =>
  isCircuitOpen(error) && error.reason === "ProbeTimedOut"
