/**
 * The events of circuits, for logs and audits. Calls and rejections are counted; they are not events.
 */
import * as Schema from "effect/Schema"
import { Scope, State, Why } from "./states.ts"

/**
 * An override that an operator has set: `Isolated` rejects every call, `Disabled` lets every call run uncounted.
 *
 * - `since` and `until`: in milliseconds since 1970. `until` is absent if the override does not expire.
 * - `reason` and `actor`: as the operator gave them.
 *
 * @category models
 */
export const Override = Schema.Struct({
  state: Schema.Literals(["Isolated", "Disabled"]),
  since: Schema.Finite,
  until: Schema.optionalKey(Schema.Finite),
  reason: Schema.String,
  actor: Schema.optionalKey(Schema.String)
})

/**
 * An override, decoded.
 *
 * @category models
 */
export type Override = typeof Override.Type

/**
 * A circuit changed its state.
 *
 * - `at`: the time of the transition, in milliseconds since 1970.
 * - `epoch`: the epoch that began with the transition.
 * - `openings`: how many openings in a row the circuit has had.
 * - `retryAfterMillis`: how long calls are rejected from now on. 0 if they are not, `null` if no end is known.
 * - `detail`: the figures on which the circuit tripped, or the reason that an operator gave.
 * - `scope`: `local` if only this process changed the state, `fleet` if all processes share the state.
 * - `process`: for `fleet`, the process that made the transition.
 * - `action`: the id of an action that `Operator` took on the store. Each process announces the action with the same id.
 * - `outage`: the outage that the circuit entered, is in, or left. `at` is its start in milliseconds since 1970, which is the same in
 *   every process; `openings` counts its openings so far. Absent if the circuit was and is Closed. An override is not an outage.
 * - `downForMillis`: on the transition that ends an outage, how long the outage lasted.
 * - `lastedMillis`: how long the previous state lasted. Absent if this is not known.
 * - `counts`: the calls that this process counted in the previous state, from the window of the trip with the most calls, and the
 *   failures in a row (`streak`). Absent if it counted none.
 * - `overrides`: the overrides in force after the transition; the first one decides. Absent unless there are several.
 * - `ended`: the overrides that an operator ended with `release` or `reset`. Absent if there were none.
 *
 * @category models
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
 * A transition, decoded.
 *
 * @category models
 */
export type Transition = typeof Transition.Type

/**
 * Ten probes in a row were Ignored: they were interrupted, or `classify` returned Ignored. The circuit stays HalfOpen, and it does not
 * close before a probe counts as a success.
 *
 * @category models
 */
export const ProbesIgnored = Schema.TaggedStruct("ProbesIgnored", {
  circuit: Schema.String,
  key: Schema.optionalKey(Schema.String),
  at: Schema.Finite,
  epoch: Schema.Finite,
  probes: Schema.Finite
})

/**
 * A warning about Ignored probes, decoded.
 *
 * @category models
 */
export type ProbesIgnored = typeof ProbesIgnored.Type

/**
 * A circuit began to limit its calls, because its policy has a `limit`. The circuit stays Closed.
 *
 * - `why`: `Overload` if calls timed out, were refused or were late; `Closed` if the circuit has just closed.
 * - `limit`: the current maximum number of calls in flight.
 *
 * @category models
 */
export const LimitBegan = Schema.TaggedStruct("LimitBegan", {
  circuit: Schema.String,
  key: Schema.optionalKey(Schema.String),
  at: Schema.Finite,
  epoch: Schema.Finite,
  mode: Schema.Literals(["enforce", "observe"]),
  why: Schema.Literals(["Overload", "Closed"]),
  limit: Schema.Finite
})

/**
 * The start of a limit, decoded.
 *
 * @category models
 */
export type LimitBegan = typeof LimitBegan.Type

/**
 * A circuit no longer limits its calls. `lastedMillis` is how long the limit lasted, including the time in which the circuit was open.
 *
 * @category models
 */
export const LimitEnded = Schema.TaggedStruct("LimitEnded", {
  circuit: Schema.String,
  key: Schema.optionalKey(Schema.String),
  at: Schema.Finite,
  epoch: Schema.Finite,
  mode: Schema.Literals(["enforce", "observe"]),
  lastedMillis: Schema.Finite
})

/**
 * The end of a limit, decoded.
 *
 * @category models
 */
export type LimitEnded = typeof LimitEnded.Type

/**
 * The schema of all events.
 *
 * @category models
 */
export const BreakerEvent = Schema.Union([Transition, ProbesIgnored, LimitBegan, LimitEnded])

/**
 * Any event of a circuit.
 *
 * @category models
 */
export type BreakerEvent = typeof BreakerEvent.Type
