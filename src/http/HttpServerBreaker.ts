/**
 * Circuits around the handlers of an HTTP server: while a circuit is open, requests receive 503 with `Retry-After`, and the handler does
 * not run.
 *
 * ```ts
 * import { Effect, Layer, pipe } from "effect"
 * import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
 * import { BreakerStore, CircuitBreaker } from "effect-fuse"
 * import { HttpServerBreaker } from "effect-fuse/http"
 *
 * const report = pipe(Effect.succeed(HttpServerResponse.text("all is well")), HttpServerBreaker.protect("reports"))
 *
 * const Routes = Layer.mergeAll(
 *   HttpRouter.add("GET", "/report", report),
 *   HttpRouter.add("POST", "/stop", Effect.as(CircuitBreaker.isolate("reports", { for: "1 minute" }), HttpServerResponse.empty()))
 * )
 * const App = Layer.provide(Routes, HttpServer.layerServices)
 * const { dispose, handler } = HttpRouter.toWebHandler(Layer.provideMerge(App, BreakerStore.layerMemory), { disableLogger: true })
 *
 * const get = async () => (await handler(new Request("http://local/report"))).text()
 * await get() // => "all is well"
 * await handler(new Request("http://local/stop", { method: "POST" }))
 * await get() // => "{\"error\":\"circuit_open\",\"service\":\"reports\",\"tenant_id\":null,\"retry_after\":60}"
 * await dispose()
 * ```
 *
 * With `tenant: true`, the header `X-Tenant-ID` of a request names its tenant. The handler, and its calls to other services, then use
 * circuits of that tenant. Anyone who can set this header can bypass an open circuit: use it only if your gateway sets the header.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { unhandled } from "effect/Types"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import { keyOrFunction } from "../breaker/options.ts"
import { guard, inlinePolicy, toSubject } from "../breaker/protect.ts"
import {
  type Decoded,
  decodeArgument,
  decodeOptions,
  type FieldsOf,
  field,
  functionField,
  optional,
  textOrEmpty,
  word
} from "../core/fields.ts"
import * as Outcome from "../core/Outcome.ts"
import { defaultOutcome } from "../engine/classify.ts"
import { type Input, Policies } from "../policy/BreakerPolicy.ts"
import { type BulkheadFull, isBulkheadFull } from "../shapes/BulkheadFull.ts"
import { type CircuitOpen, isCircuitOpen } from "../shapes/CircuitOpen.ts"
import { endedAtDeadline } from "../shapes/currentDeadline.ts"
import * as Tenant from "../shapes/Tenant.ts"
import { deadlineField, receiving } from "./deadlineHeaders.ts"
import { exemptField, exemption, saysNothing } from "./exempt.ts"
import { failureOf } from "./failureWithRetryAfter.ts"
import {
  answering,
  deadlineExceeded,
  invalidTenant,
  type Respond,
  rejectionResponse,
  responseFields
} from "./rejectionResponse.ts"
import { tenantField, tenantHeader } from "./tenantHeader.ts"

export type {
  /**
   * The response to a rejected request: a format, or a function that returns the response.
   *
   * @category options
   */
  Respond
} from "./rejectionResponse.ts"

type ServerResponse = HttpServerResponse.HttpServerResponse

/**
 * How to read the tenant of a request. A request with an invalid header receives 400.
 *
 * @category options
 */
export interface TenantOptions {
  /** The name of the header. Default: `x-tenant-id`. */
  readonly header?: string | undefined
  /** The maximum length in characters, up to 256. Default: 256. */
  readonly maxLength?: number | undefined
  /** A pattern for the complete value. Default: visible ASCII characters except `/` and `%`. */
  readonly pattern?: RegExp | undefined
  /** Whether a request must have the header. Default: `false`. */
  readonly required?: boolean | undefined
}

/**
 * How to read the deadline of a request.
 *
 * @category options
 */
export interface DeadlineOptions {
  /** The longest deadline. A request that asks for more time gets this deadline. Default: 1 minute. */
  readonly max?: Duration.Input | undefined
}

/**
 * Configures the circuit of a handler, and the responses to rejected requests.
 *
 * @category options
 */
export interface Options<in E, out R = never> {
  /**
   * The key of the circuit: a string for all requests, or a function of the request and of its route's path, as the router has it, with its
   * prefix (`/v1/users/:id`). In {@link layer}, the path is `undefined`. Default: one circuit for all requests.
   */
  readonly key?:
    | string
    | ((request: HttpServerRequest.HttpServerRequest, route: string | undefined) => string | undefined)
    | undefined
  /** Overrides fields of the policy that `BreakerPolicy` has for this name. */
  readonly policy?: Input | undefined
  /** Classifies the end of a request. Default: {@link classify}, which a custom function may call for the remaining cases. */
  readonly classify?:
    | ((exit: Exit.Exit<ServerResponse, E>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome, never, R>)
    | undefined
  /**
   * Whether a header of the request names its tenant: `true` for `x-tenant-id`, or the name and the format of another header. Anyone who
   * can set this header can bypass an open circuit, so your gateway must set it. Default: `false`, the breaker does not read the header.
   */
  readonly tenant?: boolean | TenantOptions | undefined
  /**
   * Whether the headers of a request set the `Deadline` and the attempt of its handler: `x-envoy-expected-rq-timeout-ms` and
   * `x-envoy-attempt-count`. `HttpClientBreaker` sends them with `deadline: true`. Invalid values have no effect. Default: `false`, the breaker
   * does not read the headers.
   *
   * At the deadline, the breaker interrupts the handler and responds with 504. If a retry in the handler has given up, a response with status
   * 5xx has the header `x-envoy-overloaded`, so that the caller does not retry the request.
   */
  readonly deadline?: boolean | DeadlineOptions | undefined
  /**
   * The response to a rejected request. Default: `json`.
   *
   * - `json`: `{ error, service, tenant_id, retry_after }`.
   * - `problem`: the same fields as `application/problem+json`.
   * - a function that returns the response. `Retry-After` and `Cache-Control: no-store` are added unless it has these headers.
   */
  readonly respond?: Respond | undefined
  /** The format of `retry_after` in the body: `seconds`, or `iso` for a time (`2026-01-31T12:00:00.000Z`). Default: `seconds`. */
  readonly retryAfter?: "seconds" | "iso" | undefined
}

/**
 * Configures the circuits of the routes of a router: {@link Options} and exempt paths.
 *
 * @category options
 */
export interface RoutesOptions<in E, out R = never> extends Options<E, R> {
  /**
   * Additional paths that the breaker never rejects or counts: exact paths, or prefixes such as `/internal/*`. The routes of
   * `BreakerRoutes`, `/health`, `/healthz`, `/livez`, `/readyz`, `/live`, `/ready`, `/breakers` and `/metrics` are always exempt.
   */
  readonly exempt?: ReadonlyArray<string> | undefined
}

// ---- Classification -------------------------------------------------------------------------------------------------

/** Effect's status for a client that closed the connection. */
const clientClosedRequest = 499

const ofResponse = (response: ServerResponse): Outcome.Outcome | Effect.Effect<Outcome.Outcome> => {
  const { headers, status } = response
  if (status === clientClosedRequest || saysNothing.has(response)) return Outcome.ignored
  if (status < 500) return Outcome.success
  return Effect.map(Clock.currentTimeMillis, (now) => failureOf(status, headers, now))
}

const ofCause = (cause: Cause.Cause<unknown>): Effect.Effect<Outcome.Outcome> =>
  Effect.flatMap(HttpServerError.causeResponse(cause), ([response]) => {
    const outcome = ofResponse(response)
    return Effect.isEffect(outcome) ? outcome : Effect.succeed(outcome)
  })

/**
 * Classifies the end of a request:
 *
 * - Failure: status 5xx, as a response or as an error, with the wait that `Retry-After` asks for; a defect.
 * - Success: every other status, including 404 and 429.
 * - Ignored: an interruption, such as a client that closed the connection; a rejection by another circuit or a bulkhead, even if the handler
 *   has turned the rejection into a response.
 *
 * It classifies the response before it is sent: a stream that breaks off later does not count.
 *
 * @category classifiers
 */
export const classify = (
  exit: Exit.Exit<ServerResponse, unknown>
): Outcome.Outcome | Effect.Effect<Outcome.Outcome> => {
  if (exit._tag === "Success") return ofResponse(exit.value)
  const outcome = defaultOutcome(exit)
  // At a deadline, the detail names the deadline. The status of the response is not known yet.
  return outcome._tag === "Ignored" || endedAtDeadline(exit.cause) ? outcome : ofCause(exit.cause)
}

// ---- Responses ------------------------------------------------------------------------------------------------------

/**
 * The response to a request that a circuit or a bulkhead rejected: 503, with `Retry-After` if the time is known. With `retryAfter: "iso"`
 * the body has the time itself, computed from `now` (milliseconds since 1970; default: the system clock).
 *
 * @category responses
 */
export const toResponse = (
  rejection: CircuitOpen | BulkheadFull,
  options: {
    readonly tenant?: string | undefined
    readonly format?: "json" | "problem" | undefined
    readonly retryAfter?: "seconds" | "iso" | undefined
    readonly now?: number | undefined
  } = {}
): ServerResponse =>
  rejectionResponse(rejection, decodeOptions("HttpServerBreaker.toResponse", responseFields, options))

// ---- Middleware -----------------------------------------------------------------------------------------------------

type RequestHandler = Effect.Effect<ServerResponse, unknown, unknown>

const fields = {
  key: optional(keyOrFunction),
  policy: inlinePolicy,
  classify: optional(functionField),
  tenant: optional(tenantField),
  deadline: optional(deadlineField),
  respond: optional(
    field<Respond>('"json", "problem" or a function', (input) =>
      input === "json" || input === "problem" || typeof input === "function" ? (input as Respond) : undefined
    )
  ),
  retryAfter: optional(word("seconds", "iso"))
} satisfies FieldsOf<Options<never>>

const around = (
  operation: string,
  name: string,
  options: Decoded<typeof fields>
): ((app: RequestHandler) => RequestHandler) => {
  const { classify: read = classify, deadline = false, key, policy, respond, retryAfter, tenant = false } = options
  const named = toSubject(operation, name, { policy, classify: read })
  const keyOf = typeof key === "function" ? key : () => key
  const answer = answering(respond, retryAfter)
  const tenants = tenant === false ? undefined : tenantHeader(tenant)
  const format = respond === "problem" ? "problem" : "json"

  const protectedApp = (app: RequestHandler): RequestHandler =>
    Effect.withFiber((fiber) => {
      const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
      const route = Context.getOrUndefined(fiber.context, HttpRouter.RouteContext)?.route.path
      const guarded = guard(app, {
        ...named,
        key: decodeArgument(operation, "key", optional(textOrEmpty), keyOf(request, route))
      }) as typeof app
      return Effect.catch(guarded, (error) =>
        isCircuitOpen(error) || isBulkheadFull(error)
          ? Effect.flatMap(Tenant.Current, (tenant) =>
              Effect.map(Clock.currentTimeMillis, (now) => answer(error, tenant, now))
            )
          : Effect.fail(error)
      )
    })
  const received = deadline === false ? identity<RequestHandler> : receiving(deadline, () => deadlineExceeded(format))

  return (app) => {
    const run = received(protectedApp(app))
    if (tenants === undefined) return run
    return Effect.withFiber((fiber) => {
      const found = tenants.read(Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest))
      if (found._tag === "Invalid") return Effect.succeed(invalidTenant(tenants.header, format))
      return found._tag === "None" ? run : Tenant.within(run, found.tenant)
    })
  }
}

/** The rejections by the circuit, and those that the handler fails with, become responses. */
type Protected = <E, R>(
  app: Effect.Effect<ServerResponse, E, R>
) => Effect.Effect<
  ServerResponse,
  Exclude<E, CircuitOpen | BulkheadFull>,
  R | BreakerStore | HttpServerRequest.HttpServerRequest
>

/**
 * Protects a handler with a circuit. While the circuit is open, requests receive 503, and the handler does not run. If the handler itself
 * fails with `CircuitOpen` or `BulkheadFull`, from calls that it makes, the response is a 503 with the name of that circuit or bulkhead,
 * and the circuit ignores it.
 *
 * Do not use it as the middleware of `HttpRouter.serve`, which runs after errors have become responses: use {@link layer} there. Throws a
 * `RangeError` that names the invalid option.
 *
 * @category middleware
 */
export const protect: {
  (name: string, options?: Options<never> & { readonly classify?: undefined }): Protected
  <E0, R2 = never>(
    name: string,
    options: Options<E0, R2>
  ): <E extends E0, R>(
    app: Effect.Effect<ServerResponse, E, R>
  ) => Effect.Effect<
    ServerResponse,
    Exclude<E, CircuitOpen | BulkheadFull>,
    R | R2 | BreakerStore | HttpServerRequest.HttpServerRequest
  >
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
} = (name: string, options?: Options<never, unknown>): any =>
  around("HttpServerBreaker.protect", name, decodeOptions("HttpServerBreaker.protect", fields, options))

const provide = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  store: BreakerStore["Service"],
  policies: Policies
): Effect.Effect<A, E, Exclude<R, BreakerStore>> =>
  Effect.provideService(Effect.provideService(self, BreakerStore, store), Policies, policies)

/**
 * Protects handlers as {@link protect} does. This middleware reads the store and the policies when the program builds the router, so
 * requests do not need to provide them. If a handler has its own store, the handler keeps that store.
 */
const built = (operation: string, name: string, options: RoutesOptions<unknown> | undefined) => {
  const { exempt, ...others } = decodeOptions(operation, { ...fields, exempt: exemptField }, options)
  const protecting = around(operation, name, others)
  const isExempt = exemption(exempt)
  return Effect.map(Effect.all([BreakerStore, Policies]), ([store, policies]) => {
    return (app: Effect.Effect<ServerResponse, unhandled>) =>
      Effect.withFiber<ServerResponse, unhandled, HttpServerRequest.HttpServerRequest>((fiber) => {
        const route = Context.getOrUndefined(fiber.context, HttpRouter.RouteContext)?.route.path
        const { url } = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
        if (isExempt(store, url) || (route !== undefined && isExempt(store, route))) return app
        const kept = Context.getOrUndefined(fiber.context, BreakerStore)
        const handler = kept === undefined ? app : provide(app, kept, Context.get(fiber.context, Policies))
        return provide(protecting(handler), store, policies) as typeof app
      })
  })
}

/**
 * {@link protect} for some routes of a router: provide the `layer` of the result to them. Throws a `RangeError` that names the invalid
 * option.
 *
 * ```ts
 * import { Layer } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 * import { HttpServerBreaker } from "effect-fuse/http"
 *
 * const Reports = Layer.mergeAll(
 *   HttpRouter.add("GET", "/reports", HttpServerResponse.text("all")),
 *   HttpRouter.add("GET", "/reports/:id", HttpServerResponse.text("one"))
 * ).pipe(Layer.provide(HttpServerBreaker.middleware("reports", { key: (_, route) => route }).layer))
 * ```
 *
 * @category middleware
 */
export const middleware = (name: string, options?: RoutesOptions<unknown>) =>
  HttpRouter.middleware(built("HttpServerBreaker.middleware", name, options))

/**
 * {@link protect} for all routes of a router, as a layer beside them. All requests use one circuit, unless `key` returns a key for the
 * request. The route of a request is not known yet.
 *
 * The routes of `BreakerRoutes`, health and metrics paths such as `/health` and `/metrics`, and the paths in `exempt` are never rejected or
 * counted. A request without a matching route counts as an answer. A probe that hangs fails at the `probeTimeout`, but is not interrupted.
 *
 * @category middleware
 */
export const layer = (name: string, options?: RoutesOptions<unknown>) =>
  HttpRouter.middleware(built("HttpServerBreaker.layer", name, options), { global: true })
