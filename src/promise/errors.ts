import { printable } from "../core/printable.ts"
import { Rejection } from "../shapes/rejections.ts"
import type { Scope, State } from "./types.ts"

/**
 * What a breaker itself rejects a call with. Tell them apart by their class, or by `code`.
 *
 * @category errors
 * @since 0.1.0
 */
export abstract class BreakerError extends Error {
  abstract readonly code:
    | "CIRCUIT_OPEN"
    | "BULKHEAD_FULL"
    | "TIMEOUT"
    | "SHUT_DOWN"
    | "STORE_UNAVAILABLE"
    | "INVALID_OPTIONS"
  override get name(): string {
    return this.constructor.name
  }
}

/**
 * The call was not made: its circuit is open, or lets only some calls through. (With the reason `ProbeTimedOut` it had been
 * made, and took too long for a probe.) `cause` is the last error of the function itself, if `retry` gave up because the
 * circuit opened.
 *
 * @category errors
 * @since 0.1.0
 */
export class CircuitOpenError extends BreakerError {
  readonly code = "CIRCUIT_OPEN"
  // `declare` emits no field definition, which would cost each rejection time.
  declare readonly circuit: string
  declare readonly key: string | undefined
  declare readonly state: State
  /** Whose state it is: this process's own, or that of all that share the store. */
  declare readonly scope: Scope
  declare readonly reason: "Cooldown" | "ProbesBusy" | "ProbeTimedOut" | "Ramping" | "Dependency" | "Isolated"
  /** Milliseconds until a call could pass: the longest wait of all reasons. `Infinity` while the circuit is isolated without an end. */
  declare readonly retryAfter: number
  /** How often in a row the circuit has opened. */
  declare readonly openings: number
  /** The start of the outage, in milliseconds since 1970. `undefined` if the circuit is not in an outage. */
  declare readonly downSince: number | undefined
  /** The circuit that this one depends on, where that is why. */
  declare readonly dependency: string | undefined
  /** Why it opened, in words. */
  declare readonly detail: string | undefined

  constructor(open: CircuitOpenFields) {
    super(open.message, open.cause === undefined ? undefined : { cause: open.cause })
    this.circuit = open.circuit
    this.key = open.key
    this.state = open.state
    this.scope = open.scope
    this.reason = open.reason
    this.retryAfter = open.retryAfter
    this.openings = open.openings
    this.downSince = open.downSince
    this.dependency = open.dependency
    this.detail = open.detail
  }

  /** @internal */
  get [Rejection](): true {
    return true
  }
}

/** The fields of {@link CircuitOpenError}. */
export interface CircuitOpenFields {
  readonly message: string
  readonly circuit: string
  readonly key?: string | undefined
  readonly state: State
  readonly scope: Scope
  readonly reason: CircuitOpenError["reason"]
  readonly retryAfter: number
  readonly openings: number
  readonly downSince?: number | undefined
  readonly dependency?: string | undefined
  readonly detail?: string | undefined
  readonly cause?: unknown
}

/**
 * The call was not made: as many run and wait as may.
 *
 * @category errors
 * @since 0.1.0
 */
export class BulkheadFullError extends BreakerError {
  readonly code = "BULKHEAD_FULL"
  readonly bulkhead: string

  constructor(bulkhead: string, message: string) {
    super(message)
    this.bulkhead = bulkhead
  }

  /** @internal */
  get [Rejection](): true {
    return true
  }
}

/**
 * The call took longer than `timeout`, and its signal was aborted.
 *
 * @category errors
 * @since 0.1.0
 */
export class TimeoutError extends BreakerError {
  readonly code = "TIMEOUT"
  readonly circuit: string
  /** Milliseconds. */
  readonly timeout: number

  constructor(circuit: string, timeout: number) {
    super(printable(`A call of "${circuit}" took longer than ${timeout} ms`))
    this.circuit = circuit
    this.timeout = timeout
  }
}

/**
 * The breaker, or its manager, was shut down.
 *
 * @category errors
 * @since 0.1.0
 */
export class ShutdownError extends BreakerError {
  readonly code = "SHUT_DOWN"
}

/**
 * The store that processes share has not answered. Only `distributedState` waits for the store; no call does.
 *
 * @category errors
 * @since 0.1.0
 */
export class StoreUnavailableError extends BreakerError {
  readonly code = "STORE_UNAVAILABLE"
}

/**
 * Options that cannot be used, each named by the message; or a package that they need and that is not installed.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConfigurationError extends BreakerError {
  readonly code = "INVALID_OPTIONS"
}

/** What is wrong with options, as an error of this face; `inner` is what it is called within. */
export const asConfigurationError = <A>(check: () => A, inner = ""): A => {
  try {
    return check()
  } catch (error) {
    if (error instanceof RangeError || (error instanceof Error && error.name === "PolicyError")) {
      throw new ConfigurationError(error.message.slice(error.message.startsWith(inner) ? inner.length : 0))
    }
    throw error
  }
}
