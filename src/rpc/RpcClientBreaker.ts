/**
 * Circuits around the clients of Effect's `effect/rpc`. By default, all procedures of a group share one circuit.
 *
 * ```ts
 * import { Effect, pipe, Schema } from "effect"
 * import { Rpc, RpcGroup, RpcTest } from "effect/rpc"
 * import { BreakerStore } from "effect-fuse"
 * import { RpcClientBreaker } from "effect-fuse/rpc"
 *
 * class Users extends RpcGroup.make(Rpc.make("GetUser", { payload: { id: Schema.Number }, success: Schema.String })) {}
 *
 * // Against a real server: RpcClient.make(Users)
 * const broken = Users.toLayer({ GetUser: () => Effect.die("out of order") })
 * const makeClient = pipe(RpcTest.makeClient(Users), RpcClientBreaker.protect(Users, "users"), Effect.provide(broken))
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* makeClient
 *   for (let i = 0; i < 5; i++) yield* Effect.exit(client.GetUser({ id: 1 }))
 *   return yield* Effect.flip(client.GetUser({ id: 1 }))
 * })
 * const error = await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(BreakerStore.layerMemory)))
 * error.circuit // => "users"
 * ```
 *
 * A typed error of a procedure is an answer, not a failure. `effect/rpc` is unstable: this module is tested with Effect 4.1.0.
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual, identity } from "effect/Function"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcClient from "effect/rpc/RpcClient"
import type { RpcClientError } from "effect/rpc/RpcClientError"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type * as Stream from "effect/Stream"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import { guard } from "../breaker/protect.ts"
import {
  type Decoded,
  decodeOptions,
  type FieldsOf,
  flag,
  functionField,
  listOf,
  optional,
  orFalse,
  positiveMillis,
  refused,
  text
} from "../core/fields.ts"
import type * as Outcome from "../core/Outcome.ts"
import { show } from "../core/printable.ts"
import type { AnyEffect } from "../engine/timeout.ts"
import { counting } from "../http/deadlineHeaders.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import { type RetryOptions, timeout } from "../resilience/Resilience.ts"
import { retryField, retrying } from "../resilience/retry.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import { type ClientProtection, protecting } from "./calls.ts"
import { isTransient, reading } from "./reading.ts"
import { subjectFields, subjectsOf } from "./subjects.ts"
import { forbidsRetry } from "./unavailable.ts"

// ---- Types ----------------------------------------------------------------------------------------------------------

/**
 * A call of a procedure: its name and its payload, as the caller passed it.
 *
 * @category models
 */
export type CallOf<Rpcs extends Rpc.Any> = Rpcs extends Rpc.Any
  ? { readonly procedure: Rpcs["_tag"]; readonly payload: Rpc.PayloadConstructor<Rpcs> }
  : never

/**
 * Contains all typed errors of the procedures, of their streams and of their middleware.
 *
 * @category models
 */
export type ErrorOf<Rpcs extends Rpc.Any> = Rpcs extends Rpc.Any ? Rpc.ErrorExit<Rpcs> : never

/**
 * Adds the error `E` to the calls of the client type `C`.
 *
 * @category models
 */
export type ProtectedClient<Rpcs extends Rpc.Any, C, E> =
  // TypeScript treats flat clients with different errors as the same type, so this reads the errors from the result of a call.
  C extends (...args: never) => infer Result
    ? RpcClient.RpcClient.Flat<Rpcs, Exclude<Effect.Error<Result> | Stream.Error<Result>, ErrorOf<Rpcs>> | E>
    : C extends RpcClient.RpcClient<Rpcs>
      ? RpcClient.RpcClient<Rpcs, E>
      : C extends RpcClient.RpcClient<Rpcs, RpcClientError>
        ? RpcClient.RpcClient<Rpcs, RpcClientError | E>
        : C extends RpcClient.RpcClient<Rpcs, infer E0>
          ? RpcClient.RpcClient<Rpcs, Exclude<E0, Cause.Done> | E>
          : never

/**
 * Configures the circuits of a client, and how they classify calls.
 *
 * @category options
 */
export interface Options<Rpcs extends Rpc.Any> {
  /**
   * The key of the circuit: a string for all calls, or a function of the call. `({ procedure }) => procedure` gives each procedure its own
   * circuit. Default: one circuit for all procedures, because they usually fail together, with their server.
   */
  readonly key?: string | ((call: CallOf<Rpcs>) => string | undefined) | undefined
  /** Overrides fields of the policy that `BreakerPolicy` has for this name. */
  readonly policy?: BreakerPolicy.Input | undefined
  /** Whether a typed error of a procedure is a Failure. Default: `false` for each error, because a typed error is an answer. */
  readonly isFailure?: ((error: ErrorOf<Rpcs>) => boolean) | undefined
  /**
   * Classifies the end of a call, or of a stream. Default: {@link classify}, which a custom function may call for the remaining cases.
   * Cannot be combined with `isFailure`.
   */
  readonly classify?:
    | ((exit: Exit.Exit<unknown, unknown>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome>)
    | undefined
  /**
   * Whether to send headers with calls inside `Deadline.within`: the remaining time in milliseconds (`x-envoy-expected-rq-timeout-ms`) and
   * the attempt (`x-envoy-attempt-count`), which `RpcServerBreaker` reads. Default: `false`, so that external servers do not receive them.
   */
  readonly deadline?: boolean | undefined
}

/**
 * Configures the circuits, the timeout and the retries of {@link standard}.
 *
 * @category options
 */
export interface StandardOptions<Rpcs extends Rpc.Any> extends Options<Rpcs> {
  /** The timeout of each attempt. It does not limit streams. `false` disables it. Default: 10 seconds. */
  readonly timeout?: Duration.Input | false | undefined
  /** The client may call these procedures twice. The breaker retries only these procedures. Default: an empty list. */
  readonly idempotent?: ReadonlyArray<Rpcs["_tag"]> | undefined
  /**
   * The maximum number of retries, or the options of `Resilience.retry`. `false` disables retries. Default: 2 retries with a backoff,
   * within the retry budget of the circuit.
   *
   * `while` decides which errors are retried. Default: timeouts, errors of the transport, and `ServiceUnavailable`.
   */
  readonly retry?: number | RetryOptions | false | undefined
  /**
   * Whether the client sends headers with calls. `x-envoy-attempt-count` contains the attempt. Inside `Deadline.within`,
   * `x-envoy-expected-rq-timeout-ms` contains the remaining time in milliseconds. Default: `false`, so that external servers do not receive
   * them.
   */
  readonly deadline?: boolean | undefined
}

/**
 * Classifies the end of a call:
 *
 * - Success: an answer, and a typed error of the procedure.
 * - Failure: an error of the transport (`RpcClientError`); a defect of the server, or an answer that cannot be decoded; a timeout;
 *   `ServiceUnavailable`, with its `retryAfter`.
 * - Ignored: a payload that does not match its schema; an interruption by the caller or by a stopping server; a rejection by another
 *   policy.
 *
 * If an error of `HttpClient` is the cause of the `RpcClientError`, the call is classified as by `HttpClientBreaker.classify`.
 *
 * @category classifiers
 */
export const classify: (exit: Exit.Exit<unknown, unknown>) => Outcome.Outcome = reading(undefined)

// ---- Circuits -------------------------------------------------------------------------------------------------------

const circuitFields = {
  ...subjectFields,
  isFailure: optional(functionField),
  deadline: optional(flag)
} satisfies FieldsOf<Options<Rpc.Any>>

type Circuits = Decoded<typeof circuitFields>

const protection = (
  operation: string,
  name: string,
  options: Circuits,
  run: ClientProtection["run"]
): ClientProtection => {
  const { classify, isFailure } = options
  if (classify !== undefined && isFailure !== undefined) {
    throw refused(operation, "isFailure", "expected nothing, as classify reads the whole exit, got a function")
  }
  return {
    subjectOf: subjectsOf(operation, name, options, reading(isFailure)),
    sendsDeadline: options.deadline === true,
    run
  }
}

/**
 * Protects the calls of a client with circuits. `self` is the effect that makes the client, such as `RpcClient.make(group)`. Calls keep
 * their errors, and can also fail with `CircuitOpen`. They use the store and the policies that were provided when the client was made,
 * unless the caller provides others.
 *
 * A stream is one call, from its first pull until it ends. {@link classify} reads the error of a failed stream. If a consumer stops early,
 * the circuit does not count a Failure. If the stream is a probe, its first element closes the circuit.
 *
 * Throws a `RangeError` that names the invalid option.
 *
 * @category combinators
 */
export const protect: {
  <C, E, R, Rpcs extends Rpc.Any>(
    self: Effect.Effect<C, E, R>,
    group: RpcGroup.RpcGroup<Rpcs>,
    name: string,
    options?: Options<Rpcs>
  ): Effect.Effect<ProtectedClient<Rpcs, C, CircuitOpen>, E, R | BreakerStore>
  <Rpcs extends Rpc.Any>(
    group: RpcGroup.RpcGroup<Rpcs>,
    name: string,
    options?: Options<Rpcs>
  ): <C, E, R>(
    self: Effect.Effect<C, E, R>
  ) => Effect.Effect<ProtectedClient<Rpcs, C, CircuitOpen>, E, R | BreakerStore>
} = dual(
  (args) => Effect.isEffect(args[0]),
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  (self: AnyEffect, group: RpcGroup.RpcGroup<any>, name: string, options?: Options<any>): any => {
    const operation = "RpcClientBreaker.protect"
    const circuits = decodeOptions(operation, circuitFields, options)
    return protecting(self, group, protection(operation, name, circuits, guard))
  }
)

// ---- The standard client --------------------------------------------------------------------------------------------

const standardFields = {
  ...circuitFields,
  timeout: optional(orFalse(positiveMillis)),
  idempotent: optional(listOf(text)),
  retry: optional(orFalse(retryField))
} satisfies FieldsOf<StandardOptions<Rpc.Any>>

/** Adds to the condition of the caller that the server does not forbid a retry. */
const permitting = (mayRetry: ((error: unknown) => boolean) | undefined) =>
  mayRetry === undefined ? isTransient : (error: unknown) => !forbidsRetry(error) && mayRetry(error)

type TimeoutOf<O> = O extends { readonly timeout: false } ? never : Cause.TimeoutError

/**
 * Adds a timeout for each attempt, a circuit, and retries to a client. Calls keep their errors, and can also fail with `CircuitOpen` and
 * `TimeoutError`.
 *
 * A procedure in `idempotent` is retried after a timeout, an error of the transport, and `ServiceUnavailable`. The delay before a retry is
 * at least the `retryAfter` of the error. If `retryAfter` is longer than `retry.maxRetryAfter` (10 seconds), or if `retryable` is `false`,
 * the call is not retried. Streams have neither a timeout nor retries.
 *
 * ```ts
 * import { Effect, pipe, Schema } from "effect"
 * import { Rpc, RpcClient, RpcGroup } from "effect/rpc"
 * import { RpcClientBreaker } from "effect-fuse/rpc"
 *
 * class Users extends RpcGroup.make(
 *   Rpc.make("GetUser", { payload: { id: Schema.Number }, success: Schema.String }),
 *   Rpc.make("AddUser", { payload: { name: Schema.String } })
 * ) {}
 *
 * const makeClient = pipe(RpcClient.make(Users), RpcClientBreaker.standard(Users, "users", { idempotent: ["GetUser"] }))
 * Effect.isEffect(makeClient) // => true
 * ```
 *
 * Throws a `RangeError` that names the invalid option.
 *
 * @category combinators
 */
export const standard: {
  <C, E, R, Rpcs extends Rpc.Any, const O extends StandardOptions<Rpcs> = Record<never, never>>(
    self: Effect.Effect<C, E, R>,
    group: RpcGroup.RpcGroup<Rpcs>,
    name: string,
    options?: O & StandardOptions<Rpcs>
  ): Effect.Effect<ProtectedClient<Rpcs, C, CircuitOpen | TimeoutOf<O>>, E, R | BreakerStore>
  <Rpcs extends Rpc.Any, const O extends StandardOptions<Rpcs> = Record<never, never>>(
    group: RpcGroup.RpcGroup<Rpcs>,
    name: string,
    options?: O & StandardOptions<Rpcs>
  ): <C, E, R>(
    self: Effect.Effect<C, E, R>
  ) => Effect.Effect<ProtectedClient<Rpcs, C, CircuitOpen | TimeoutOf<O>>, E, R | BreakerStore>
} = dual(
  (args) => Effect.isEffect(args[0]),
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  (self: AnyEffect, group: RpcGroup.RpcGroup<any>, name: string, options?: StandardOptions<any>): any => {
    const operation = "RpcClientBreaker.standard"
    const given = decodeOptions(operation, standardFields, options)
    const { idempotent = [], retry = {}, timeout: limit = 10_000, ...circuits } = given
    const unknown = idempotent.find((one) => !group.requests.has(one))
    if (unknown !== undefined) {
      throw refused(operation, "idempotent", `expected names of procedures of the group, got ${show(unknown)}`)
    }
    const repeatable: ReadonlySet<string> = new Set(idempotent)
    const timed = limit === false ? identity<AnyEffect> : timeout(limit)
    const again = retry === false ? undefined : retrying({ ...retry, while: permitting(retry.while) })
    const all = circuits.deadline === true ? counting : identity<AnyEffect>
    return protecting(
      self,
      group,
      protection(operation, name, circuits, (call, subject, procedure) => {
        const guarded = guard(timed(call), subject)
        return all(again === undefined || !repeatable.has(procedure) ? guarded : again(subject)(guarded))
      })
    )
  }
)
