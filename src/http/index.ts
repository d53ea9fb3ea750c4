/**
 * Breakers where HTTP is spoken: around Effect's `HttpClient`, and around what a server does.
 *
 * - `HttpClientBreaker`: a circuit for each origin that a client calls.
 * - `HttpServerBreaker`: a circuit around handlers and routes, which answers 503 while it is open.
 * - `BreakerRoutes`: `/health` and `/breakers`, as JSON.
 * - `RetryAfter`: what the header says.
 *
 * @since 0.1.0
 */
export * as BreakerRoutes from "./BreakerRoutes.ts"
export * as HttpClientBreaker from "./HttpClientBreaker.ts"
export * as HttpServerBreaker from "./HttpServerBreaker.ts"
export * as RetryAfter from "./RetryAfter.ts"
