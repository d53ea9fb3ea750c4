/**
 * The one error of a circuit breaker: the call was not made.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { bareError } from "./bareError.ts"
import { rejectionMessage } from "./rejectionMessage.ts"
import { Rejection, safely } from "./rejections.ts"
import { Scope, State } from "./states.ts"

/**
 * Why a call was rejected.
 *
 * - `Cooldown`: the circuit is Open, and its cooldown is not over.
 * - `ProbesBusy`: the circuit is HalfOpen, and others are probing.
 * - `ProbeTimedOut`: this call was a probe and did not end within `probeTimeout`. It is the only reason with which the
 *   call had been started; it was interrupted.
 * - `Ramping`: the circuit has just closed and lets only a share of calls through.
 * - `Dependency`: a circuit that this one depends on is open; `dependency` names it.
 * - `Isolated`: somebody forced it open.
 *
 * @category models
 * @since 0.1.0
 */
export const Reason = Schema.Literals(["Cooldown", "ProbesBusy", "ProbeTimedOut", "Ramping", "Dependency", "Isolated"])

/**
 * @category models
 * @since 0.1.0
 */
export type Reason = typeof Reason.Type

// JSON has no Infinity: a circuit that is isolated without expiry is `null` on the wire.
const RetryAfter = Schema.NullOr(Schema.Number).pipe(
  Schema.decodeTo(
    Schema.Duration,
    SchemaTransformation.transform({
      decode: (millis) => (millis === null ? Duration.infinity : Duration.millis(millis)),
      encode: (duration) => (Duration.isFinite(duration) ? Duration.toMillis(duration) : null)
    })
  )
)

/**
 * The call was rejected by a circuit, to protect what it calls.
 *
 * All fields but `dependency` are about one circuit, the one that rejected the call:
 *
 * - `circuit` and `key`: which one. (Not `name`, which every `Error` has already.)
 * - `retryAfter`: how long until a call could pass: the longest wait of this circuit and of every circuit that it depends on.
 *   Infinite while one of these circuits is isolated without expiry. Encoded as milliseconds, or `null` when infinite.
 * - `openings`: how often in a row the circuit has opened.
 * - `downSince`: the start of the outage (of its first opening) by the wall clock, in milliseconds since 1970. Absent if the circuit
 *   is not in an outage.
 * - `detail`: why it opened, in words: `5 failures in a row (limit 5)`.
 * - `dependency`: the circuit that is the reason, if it is one that this circuit depends on.
 * - `cause`: the last error of the call itself, if `Resilience.retry` or `standard` gave up because the circuit opened. It is
 *   the error as it was thrown, and it is not encoded.
 *
 * Circuits make it without a stack trace, with {@link make}: a rejection stays cheap while everything is rejected. It is a
 * Schema: encode it to send it elsewhere.
 *
 * ```ts
 * import { Duration, Schema } from "effect"
 * import { CircuitOpen } from "effect-fuse"
 *
 * const error = CircuitOpen.make({ circuit: "api", state: "Open", reason: "Cooldown", retryAfter: Duration.seconds(3), openings: 1 })
 * error.message // => "Circuit \"api\" is open, retry after 3s"
 * Schema.encodeSync(CircuitOpen.CircuitOpen)(error).retryAfter // => 3000
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class CircuitOpen extends Schema.TaggedError<CircuitOpen>()("CircuitOpen", {
  circuit: Schema.String,
  key: Schema.optional(Schema.String),
  state: State,
  scope: Scope,
  reason: Reason,
  retryAfter: RetryAfter,
  openings: Schema.Number,
  downSince: Schema.optional(Schema.Number),
  dependency: Schema.optional(Schema.String),
  detail: Schema.optional(Schema.String)
}) {
  /** @internal */
  get [Rejection](): true {
    return true
  }

  override get message(): string {
    return rejectionMessage(this)
  }
}

/**
 * The fields of {@link CircuitOpen}; `scope` is `local` unless given.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fields {
  readonly circuit: string
  readonly key?: string | undefined
  readonly state: CircuitOpen["state"]
  readonly scope?: CircuitOpen["scope"] | undefined
  readonly reason: Reason
  readonly retryAfter: Duration.Duration
  readonly openings: number
  readonly downSince?: number | undefined
  readonly dependency?: string | undefined
  readonly detail?: string | undefined
  readonly cause?: unknown
}

/**
 * Makes the error without checking its fields and without a stack trace: about a fifth of the cost of `new CircuitOpen`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (fields: Fields): CircuitOpen => {
  const error = bareError(CircuitOpen)
  error._tag = "CircuitOpen"
  error.circuit = fields.circuit
  if (fields.key !== undefined) error.key = fields.key
  error.state = fields.state
  error.scope = fields.scope ?? "local"
  error.reason = fields.reason
  error.retryAfter = fields.retryAfter
  error.openings = fields.openings
  if (fields.downSince !== undefined) error.downSince = fields.downSince
  if (fields.dependency !== undefined) error.dependency = fields.dependency
  if (fields.detail !== undefined) error.detail = fields.detail
  // Not enumerable, as in every error: JSON of this error does not contain its cause.
  if (fields.cause !== undefined) {
    Object.defineProperty(error, "cause", { value: fields.cause, configurable: true, writable: true })
  }
  return error
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isCircuitOpen = (value: unknown): value is CircuitOpen => safely(() => value instanceof CircuitOpen, false)
