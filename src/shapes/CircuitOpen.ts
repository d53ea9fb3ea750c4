/**
 * The error of a call that a circuit rejected.
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
 * - `ProbesBusy`: the circuit is HalfOpen, and as many probes are running as the policy allows.
 * - `ProbeTimedOut`: this call was a probe and did not end within `probeTimeout`. It was interrupted. With all other reasons, the call
 *   did not start.
 * - `Ramping`: the circuit has just closed and admits only a share of the calls.
 * - `Limited`: the circuit is Closed, but the `limit` of its policy admits no more calls now.
 * - `Dependency`: a circuit on which this one depends rejects calls; `dependency` is its name.
 * - `Isolated`: an operator has isolated the circuit.
 *
 * @category models
 */
export const Reason = Schema.Literals([
  "Cooldown",
  "ProbesBusy",
  "ProbeTimedOut",
  "Ramping",
  "Limited",
  "Dependency",
  "Isolated"
])

/**
 * Why a call was rejected, decoded.
 *
 * @category models
 */
export type Reason = typeof Reason.Type

// JSON has no Infinity, so an infinite wait is encoded as `null`.
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
 * A circuit rejected the call. All fields except `dependency` are about the circuit of the call. If the circuit of its name rejected the
 * calls of all keys, the fields are about the circuit of the name, and `key` is absent:
 *
 * - `circuit` and `key`: the name and the key of the circuit.
 * - `scope`: `local` if this process decided the state, `fleet` if all processes share it.
 * - `retryAfter`: how long until a call could run: the longest wait of this circuit and of all circuits on which it depends. Infinite if
 *   one of them is isolated without expiry. Encoded as milliseconds, or as `null` if it is infinite.
 * - `openings`: how many openings in a row the circuit has had.
 * - `downSince`: the start of the outage, in milliseconds since 1970. Absent if the circuit is not in an outage.
 * - `detail`: why the circuit opened, for example `5 failures in a row (limit 5)`.
 * - `dependency`: the name of the circuit that is the reason, if it is another one.
 * - `cause`: the last error of the call itself, if `Resilience.retry` or `standard` gave up because the circuit opened. It is not encoded.
 *
 * Circuits make the error with {@link make}, without a stack trace. The class is a Schema, so the error can be encoded and sent.
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
 * The fields of {@link CircuitOpen}. Default of `scope`: `local`.
 *
 * @category models
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
 * Makes the error without a check of its fields and without a stack trace, at about a fifth of the cost of `new CircuitOpen`.
 *
 * @category constructors
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
  // Not enumerable, as in every error, so that the JSON of the error does not contain its cause.
  if (fields.cause !== undefined) {
    Object.defineProperty(error, "cause", { value: fields.cause, configurable: true, writable: true })
  }
  return error
}

/**
 * Whether a value is a {@link CircuitOpen}.
 *
 * @category guards
 */
export const isCircuitOpen = (value: unknown): value is CircuitOpen => safely(() => value instanceof CircuitOpen, false)
