/**
 * Circuit breakers for the activities of Effect's `effect/workflow`.
 *
 * `effect/workflow` is unstable: this module is tested with Effect 4.1.0.
 */
export * as ActivityBreaker from "./ActivityBreaker.ts"
