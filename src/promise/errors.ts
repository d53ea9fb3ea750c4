import { printable } from "../core/printable.ts"
import { Rejection } from "../shapes/rejections.ts"
import type { Scope, State } from "./types.ts"

/**
 * The base class of the errors that a breaker itself rejects with. Distinguish them by class or by `code`.
 *
 * @category errors
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
 * The circuit rejected the call: it is open, or it admits only some calls. With the reason `ProbeTimedOut`, the call was made as a
 * probe, and exceeded `probeTimeout`.
 *
 * `cause` is the last error of the function itself, if `retry` gave up because the circuit opened.
 *
 * @category errors
 */
export class CircuitOpenError extends BreakerError {
  readonly code = "CIRCUIT_OPEN"
  // `declare` emits no field definition, which would cost each rejection time.
  declare readonly circuit: string
  declare readonly key: string | undefined
  declare readonly state: State
  /** Whether this process (`local`) or the whole fleet (`fleet`) decided the state. */
  declare readonly scope: Scope
  declare readonly reason:
    | "Cooldown"
    | "ProbesBusy"
    | "ProbeTimedOut"
    | "Ramping"
    | "Limited"
    | "Dependency"
    | "Isolated"
  /** Milliseconds until a call could pass: the longest wait of all reasons. `Infinity` while the circuit is isolated without an end. */
  declare readonly retryAfter: number
  /** How many times in a row the circuit has opened. */
  declare readonly openings: number
  /** The start of the outage, in milliseconds since 1970. `undefined` if the circuit is not in an outage. */
  declare readonly downSince: number | undefined
  /** The open circuit that this circuit depends on, if the reason is `Dependency`. */
  declare readonly dependency: string | undefined
  /** Why the circuit opened, as a sentence. */
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
 * The bulkhead rejected the call: its slots are taken, and its queue is full.
 *
 * @category errors
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
 * The breaker or its manager was shut down before the call.
 *
 * @category errors
 */
export class ShutdownError extends BreakerError {
  readonly code = "SHUT_DOWN"
}

/**
 * The shared store did not answer. Only `distributedState` waits for the store; calls do not.
 *
 * @category errors
 */
export class StoreUnavailableError extends BreakerError {
  readonly code = "STORE_UNAVAILABLE"
}

/**
 * The options are invalid, or an option needs a package that cannot be loaded. The message names each invalid option.
 *
 * @category errors
 */
export class ConfigurationError extends BreakerError {
  readonly code = "INVALID_OPTIONS"
}

/** Runs a check, and converts its error to a {@link ConfigurationError}. A prefix `inner` of the message is removed. */
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
