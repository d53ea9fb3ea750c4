/**
 * A circuit breaker and resilience library for Effect.
 *
 * @since 0.1.0
 */

export * as BreakerHealth from "./breaker/BreakerHealth.ts"
export * as BreakerMetrics from "./breaker/BreakerMetrics.ts"
export * as BreakerStore from "./breaker/BreakerStore.ts"
export * as CircuitBreaker from "./breaker/CircuitBreaker.ts"
export * as Outcome from "./core/Outcome.ts"
export * as Trip from "./core/Trip.ts"
export * as BreakerPolicy from "./policy/BreakerPolicy.ts"
export * as Backoff from "./resilience/Backoff.ts"
export * as Bulkhead from "./resilience/Bulkhead.ts"
export * as CircuitPool from "./resilience/CircuitPool.ts"
export * as Deadline from "./resilience/Deadline.ts"
export * as Resilience from "./resilience/Resilience.ts"
export * as BreakerEvent from "./shapes/BreakerEvent.ts"
export * as BulkheadFull from "./shapes/BulkheadFull.ts"
export * as CircuitOpen from "./shapes/CircuitOpen.ts"
export * as Tenant from "./shapes/Tenant.ts"
export * as MemoryStore from "./store/MemoryStore.ts"
export * as SharedStore from "./store/SharedStore.ts"
