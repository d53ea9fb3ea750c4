/**
 * Circuit breakers for queue workers and streams.
 *
 * - `JobBreaker`: returns a job to its queue with a delay while its circuit is open.
 * - `StreamBreaker`: stops pulling while a circuit is open, and resumes when it closes.
 */
export * as JobBreaker from "./JobBreaker.ts"
export * as StreamBreaker from "./StreamBreaker.ts"
