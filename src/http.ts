/**
 * Breakers where HTTP is spoken: around Effect's `HttpClient`.
 *
 * - `HttpClientBreaker`: a circuit for each origin that a client calls.
 * - `RetryAfter`: what the header says.
 *
 * @since 0.1.0
 */
export * as HttpClientBreaker from "./http/HttpClientBreaker.ts"
export * as RetryAfter from "./http/RetryAfter.ts"
