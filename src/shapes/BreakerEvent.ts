/**
 * What happened to circuits, for people, logs and audits. Calls and rejections are not events: they are counted.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Scope, State, Why } from "./states.ts"

/**
 * An override that an operator set: `Isolated` rejects every call, `Disabled` lets every call pass uncounted.
 *
 * - `since` and `until`: by the wall clock, in milliseconds since 1970. `until` is absent if the override does not expire.
 * - `reason` and `actor`: what the operator gave.
 *
 * @category models
 * @since 0.1.0
 */
export const Override = Schema.Struct({
  state: Schema.Literals(["Isolated", "Disabled"]),
  since: Schema.Finite,
  until: Schema.optionalKey(Schema.Finite),
  reason: Schema.String,
  actor: Schema.optionalKey(Schema.String)
})

/**
 * @category models
 * @since 0.1.0
 */
export type Override = typeof Override.Type

/**
 * A circuit moved, or somebody acted on it.
 *
 * - `at`: wall clock, milliseconds since 1970.
 * - `epoch`: the epoch the move began.
 * - `retryAfterMillis`: how long calls are now rejected, if they are; `null` when that has no end.
 * - `detail`: the figures that made it trip, or the reason somebody gave.
 * - `scope`: `local` for a move of this process alone, `fleet` for one that all share.
 * - `process`: which process made a move that all share.
 * - `action`: what names an act from outside of the fleet, as `Operator`'s: all processes see the same one, and each says it.
 * - `outage`: the outage that the circuit entered, is in, or just left. `at` is its start by the wall clock, in milliseconds since
 *   1970, and is the same in every process; `openings` counts its openings so far. Absent if the circuit was and is Closed
 *   (an override is not an outage).
 * - `downForMillis`: how long the outage lasted, from its first opening to its close, on the transition that ends it.
 * - `lastedMillis`: how long the state before lasted, where that is known.
 * - `counts`: what this process had seen in the window of the state that ended (of several the one with most calls), and
 *   the failures in a row; nothing where it had seen nothing.
 * - `overrides`: the overrides that stand after the transition, the deciding one first. Absent unless there are several.
 * - `ended`: the overrides that an operator ended by `release` or `reset`. Absent if there were none.
 *
 * @category models
 * @since 0.1.0
 */
export const Transition = Schema.TaggedStruct("Transition", {
  circuit: Schema.String,
  key: Schema.optionalKey(Schema.String),
  from: State,
  to: State,
  why: Why,
  at: Schema.Finite,
  epoch: Schema.Finite,
  openings: Schema.Finite,
  retryAfterMillis: Schema.NullOr(Schema.Finite),
  detail: Schema.optionalKey(Schema.String),
  actor: Schema.optionalKey(Schema.String),
  process: Schema.optionalKey(Schema.String),
  action: Schema.optionalKey(Schema.String),
  scope: Scope,
  mode: Schema.Literals(["enforce", "observe"]),
  outage: Schema.optionalKey(Schema.Struct({ at: Schema.Finite, openings: Schema.Finite })),
  downForMillis: Schema.optionalKey(Schema.Finite),
  lastedMillis: Schema.optionalKey(Schema.Finite),
  counts: Schema.optionalKey(
    Schema.Struct({ calls: Schema.Finite, failures: Schema.Finite, slow: Schema.Finite, streak: Schema.Finite })
  ),
  overrides: Schema.optionalKey(Schema.Array(Override)),
  ended: Schema.optionalKey(Schema.Array(Override))
})

/**
 * @category models
 * @since 0.1.0
 */
export type Transition = typeof Transition.Type

/**
 * Ten probes in a row told nothing: they were interrupted, or classified as Ignored. The circuit stays HalfOpen; it may
 * never close if nothing that reaches the dependency counts as a success.
 *
 * @category models
 * @since 0.1.0
 */
export const ProbesIgnored = Schema.TaggedStruct("ProbesIgnored", {
  circuit: Schema.String,
  key: Schema.optionalKey(Schema.String),
  at: Schema.Finite,
  epoch: Schema.Finite,
  probes: Schema.Finite
})

/**
 * @category models
 * @since 0.1.0
 */
export type ProbesIgnored = typeof ProbesIgnored.Type

/**
 * @category models
 * @since 0.1.0
 */
export const BreakerEvent = Schema.Union([Transition, ProbesIgnored])

/**
 * @category models
 * @since 0.1.0
 */
export type BreakerEvent = typeof BreakerEvent.Type
