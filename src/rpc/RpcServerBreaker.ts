/**
 * A middleware for the servers of Effect's `effect/rpc`. If a circuit or a bulkhead rejects a call, the caller gets the typed error
 * {@link ServiceUnavailable} with the time until the next call.
 *
 * ```ts
 * import { Effect, pipe, Schema } from "effect"
 * import { Rpc, RpcGroup, RpcTest } from "effect/rpc"
 * import { BreakerStore, CircuitBreaker } from "effect-fuse"
 * import { RpcServerBreaker } from "effect-fuse/rpc"
 *
 * class Users extends RpcGroup.make(
 *   Rpc.make("GetUser", { payload: { id: Schema.Number }, success: Schema.String })
 * ).middleware(RpcServerBreaker.Middleware) {}
 *
 * const handlers = Users.toLayer({
 *   GetUser: ({ id }) => pipe(Effect.succeed(`user ${id}`), CircuitBreaker.protect("database"), RpcServerBreaker.orUnavailable)
 * })
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* RpcTest.makeClient(Users)
 *   yield* CircuitBreaker.isolate("database")
 *   return yield* Effect.flip(client.GetUser({ id: 1 }))
 * })
 * const error = await Effect.runPromise(program.pipe(
 *   Effect.scoped,
 *   Effect.provide([handlers, RpcServerBreaker.layer()]),
 *   Effect.provide(BreakerStore.layerMemory)
 * ))
 * error.message // => "The service is unavailable: its circuit \"database\" rejects calls"
 * ```
 *
 * `effect/rpc` is unstable: this module is tested with Effect 4.1.0.
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import type { Headers } from "effect/http/Headers"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import { guard } from "../breaker/protect.ts"
import { type Decoded, decodeOptions, type FieldsOf, optional } from "../core/fields.ts"
import * as Outcome from "../core/Outcome.ts"
import type { AnyEffect } from "../engine/timeout.ts"
import { attemptHeader, deadlineField, defaultMaxMillis, numberIn, timeoutHeader } from "../http/deadlineHeaders.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import { until } from "../resilience/deadlines.ts"
import { endedAtDeadline, isDeadlineExceeded } from "../shapes/currentDeadline.ts"
import { keeping } from "./kept.ts"
import { subjectFields, subjectsOf } from "./subjects.ts"
import { deadlineExceeded, isRejected, type ServerRejection, ServiceUnavailable, unavailable } from "./unavailable.ts"

export {
  /**
   * The answer to a call that a circuit, a bulkhead or a deadline stopped.
   *
   * @category errors
   */
  ServiceUnavailable
} from "./unavailable.ts"

/**
 * The middleware for the definition of a group: `RpcGroup.make(...).middleware(RpcServerBreaker.Middleware)`. It adds
 * {@link ServiceUnavailable} to the errors of each procedure that was added to the group before the middleware. Add it after all other
 * middleware, so that it also handles rejections by other middleware. A server provides it with {@link layer}. A client needs no layer.
 *
 * @category middleware
 */
export class Middleware extends RpcMiddleware.Service<Middleware>()("effect-fuse/RpcServerBreaker", {
  error: ServiceUnavailable
}) {}

// ---- Options --------------------------------------------------------------------------------------------------------

/**
 * Limits the deadline of a call.
 *
 * @category options
 */
export interface DeadlineOptions {
  /** The longest deadline. A call that asks for more time gets this deadline. Default: 1 minute. */
  readonly max?: Duration.Input | undefined
}

/**
 * Configures which headers the middleware reads.
 *
 * @category options
 */
export interface Options {
  /**
   * Whether the headers of a call set the `Deadline` and the attempt of its handler: `x-envoy-expected-rq-timeout-ms` and
   * `x-envoy-attempt-count`. `RpcClientBreaker` sends them with `deadline: true`. The middleware ignores invalid values. Default:
   * `false`.
   *
   * At the deadline, the middleware interrupts the handler and answers `ServiceUnavailable`.
   */
  readonly deadline?: boolean | DeadlineOptions | undefined
}

/**
 * A call on the server.
 *
 * @category models
 */
export interface ReceivedCall {
  readonly procedure: string
  readonly payload: unknown
  readonly headers: Headers
}

/**
 * Configures the circuits around the handlers.
 *
 * @category options
 */
export interface CircuitOptions extends Options {
  /** The key of the circuit: a string for all calls, or a function of the call. Default: one circuit for all procedures. */
  readonly key?: string | ((call: ReceivedCall) => string | undefined) | undefined
  /** Overrides fields of the policy that `BreakerPolicy` has for this name. */
  readonly policy?: BreakerPolicy.Input | undefined
  /** Classifies the end of a handler. Default: {@link classify}, which a custom function may call for the remaining cases. */
  readonly classify?:
    | ((exit: Exit.Exit<unknown, unknown>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome>)
    | undefined
}

// ---- Rejections -----------------------------------------------------------------------------------------------------

/** The rejection in a cause, unless the cause also has another error. */
const rejectionIn = (cause: Cause.Cause<unknown>): ServerRejection | undefined => {
  let found: ServerRejection | undefined
  for (const reason of cause.reasons) {
    if (reason._tag === "Interrupt") continue
    const error = reason._tag === "Die" ? reason.defect : reason.error
    if (!isRejected(error)) return undefined
    found ??= error
  }
  return found
}

/**
 * Classifies the end of a handler:
 *
 * - Success: an answer, and a typed error of the procedure.
 * - Failure: a defect.
 * - Ignored: an interruption, for example by the caller; a rejection by another circuit or a bulkhead; `ServiceUnavailable` of another
 *   service.
 *
 * @category classifiers
 */
export const classify = (exit: Exit.Exit<unknown, unknown>): Outcome.Outcome => {
  if (Exit.isSuccess(exit)) return Outcome.success
  if (rejectionIn(exit.cause) !== undefined || Cause.hasInterruptsOnly(exit.cause)) return Outcome.ignored
  return Cause.hasDies(exit.cause) ? Outcome.failure() : Outcome.success
}

/** Whether a procedure has this error in its own schema, so that the server can send it unchanged. */
const declaring = (): ((rpc: Rpc.AnyWithProps, error: unknown) => boolean) => {
  const known = new WeakMap<Rpc.AnyWithProps, (error: unknown) => boolean>()
  return (rpc, error) => {
    let isDeclared = known.get(rpc)
    if (isDeclared === undefined) {
      const { errorSchema, successSchema } = rpc
      const own = RpcSchema.isStreamSchema(successSchema)
        ? Schema.Union([errorSchema, successSchema.error])
        : errorSchema
      isDeclared = Schema.is(own)
      known.set(rpc, isDeclared)
    }
    return isDeclared(error)
  }
}

/**
 * Turns the errors `CircuitOpen`, `BulkheadFull` and `ServiceUnavailable` of a handler into defects. The middleware turns these defects
 * into {@link ServiceUnavailable}. A handler may be an effect or a stream.
 *
 * @category handlers
 */
export const orUnavailable = <
  S extends Effect.Effect<unknown, unknown, unknown> | Stream.Stream<unknown, unknown, unknown>
>(
  self: S
): S extends Effect.Effect<infer A, infer E, infer R>
  ? Effect.Effect<A, Exclude<E, ServerRejection>, R>
  : S extends Stream.Stream<infer A, infer E, infer R>
    ? Stream.Stream<A, Exclude<E, ServerRejection>, R>
    : never => {
  const handler: unknown = self
  // TypeScript does not evaluate the conditional result type for a type parameter.
  return (
    Effect.isEffect(handler)
      ? Effect.catch(handler, (error) => (isRejected(error) ? Effect.die(error) : Effect.fail(error)))
      : Stream.catch(handler as Stream.Stream<unknown, unknown>, (error) =>
          isRejected(error) ? Stream.die(error) : Stream.fail(error)
        )
  ) as never
}

// ---- The layer ------------------------------------------------------------------------------------------------------

const ownFields = { deadline: optional(deadlineField) } satisfies FieldsOf<Options>

const circuitFields = {
  ...ownFields,
  ...subjectFields
} satisfies FieldsOf<CircuitOptions>

type Received = Parameters<RpcMiddleware.RpcMiddleware<never, never, never>>[1]
type Around = (handler: AnyEffect, call: Received) => AnyEffect

/** Runs handlers under a circuit, except for streams: a long stream is not a slow call. */
const guarding = (
  operation: string,
  name: string,
  options: Omit<Decoded<typeof circuitFields>, "deadline">
): Around => {
  const subjectOf = subjectsOf<ReceivedCall>(operation, name, options, classify)
  return (handler, { headers, payload, rpc }) =>
    RpcSchema.isStreamSchema(rpc.successSchema)
      ? handler
      : guard(handler, subjectOf({ procedure: rpc._tag, payload, headers }))
}

/** Answers with {@link ServiceUnavailable} if a circuit or a bulkhead rejected the call, or if a deadline ended the call. */
const answering = (deadline: Decoded<typeof ownFields>["deadline"], around: Around): Around => {
  const isDeclared = declaring()
  const answered = (handler: AnyEffect, { rpc }: Received, hasGivenUp: () => boolean) =>
    Effect.catchCause(handler, (cause) => {
      const isSent = (error: unknown) => !Cause.hasDies(cause) && isDeclared(rpc, error)
      const rejected = rejectionIn(cause)
      if (rejected !== undefined && !isSent(rejected)) return Effect.fail(unavailable(rejected, hasGivenUp()))
      if (endedAtDeadline(cause) && !isSent(Cause.squash(cause))) return Effect.fail(deadlineExceeded(hasGivenUp()))
      return Effect.failCause(cause)
    })
  if (deadline === undefined || deadline === false) {
    return (handler, call) => answered(around(handler, call), call, () => false)
  }
  const { max = defaultMaxMillis } = deadline
  return (handler, call) =>
    Effect.suspend(() => {
      const { headers } = call
      const millis = numberIn(headers[timeoutHeader])
      const attempt = numberIn(headers[attemptHeader]) ?? 1
      const shared = { gaveUp: false }
      const run = answered(around(handler, call), call, () => shared.gaveUp)
      return Effect.catch(
        until(run, millis === undefined ? Infinity : Math.min(millis, max), { attempt, shared }),
        (error) => Effect.fail(isDeadlineExceeded(error) ? deadlineExceeded(shared.gaveUp) : error)
      )
    })
}

/** `Around` has neither the types of a handler nor its errors, so the code below casts to this type. */
type Run = RpcMiddleware.RpcMiddleware<never, ServiceUnavailable, never>

/**
 * Provides the {@link Middleware} to a server. Throws a `RangeError` that names the invalid option.
 *
 * With a `name`, it also runs the handlers under circuits, as `HttpServerBreaker.layer` does: while a circuit is open, the handler does not
 * run. Streams are not under these circuits.
 *
 * @category middleware
 */
export const layer: {
  (options?: Options): Layer.Layer<Middleware>
  (name: string, options?: CircuitOptions): Layer.Layer<Middleware, never, BreakerStore>
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
} = (...args: ReadonlyArray<unknown>): any => {
  const operation = "RpcServerBreaker.layer"
  const [first, second] = args
  if (typeof first !== "string") {
    const { deadline } = decodeOptions(operation, ownFields, first)
    return Layer.succeed(Middleware, answering(deadline, identity) as Run)
  }
  const { deadline, ...circuits } = decodeOptions(operation, circuitFields, second)
  const run = answering(deadline, guarding(operation, first, circuits))
  return Layer.effect(
    Middleware,
    Effect.map(keeping, (within) => {
      const inContext: Around = (handler, call) => Effect.updateContext(run(handler, call), within)
      return inContext as Run
    })
  )
}
