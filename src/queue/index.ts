/**
 * Breakers where work is fetched: workers of queues, and streams.
 *
 * - `JobBreaker`: hands a job back, with the delay to wait, while its circuit is open.
 * - `StreamBreaker`: stops pulling while a circuit is open, and goes on by itself.
 *
 * @since 0.1.0
 */
export * as JobBreaker from "./JobBreaker.ts"
export * as StreamBreaker from "./StreamBreaker.ts"
