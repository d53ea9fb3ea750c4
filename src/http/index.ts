/**
 * Circuit breakers for HTTP: around Effect's `HttpClient`, and around the handlers of a server.
 *
 * - `HttpClientBreaker`: a circuit for each origin that a client calls.
 * - `HttpServerBreaker`: a circuit around handlers and routes, which responds with 503 while it is open.
 * - `BreakerRoutes`: `/health` and `/breakers`, as JSON.
 * - `RetryAfter`: reads the wait that a server's headers ask for.
 */
export * as BreakerRoutes from "./BreakerRoutes.ts"
export * as HttpClientBreaker from "./HttpClientBreaker.ts"
export * as HttpServerBreaker from "./HttpServerBreaker.ts"
export * as RetryAfter from "./RetryAfter.ts"
