/**
 * A circuit breaker and resilience library for Effect.
 *
 * @since 0.1.0
 */
export * as Backoff from "./Backoff.ts"
export * as BreakerEvent from "./BreakerEvent.ts"
export * as BreakerHealth from "./BreakerHealth.ts"
export * as BreakerMetrics from "./BreakerMetrics.ts"
export * as BreakerPolicy from "./BreakerPolicy.ts"
export * as BreakerStore from "./BreakerStore.ts"
export * as Bulkhead from "./Bulkhead.ts"
export * as BulkheadFull from "./BulkheadFull.ts"
export * as Circuit from "./Circuit.ts"
export * as CircuitBreaker from "./CircuitBreaker.ts"
export * as CircuitOpen from "./CircuitOpen.ts"
export * as CircuitPool from "./CircuitPool.ts"
export * as Fleet from "./Fleet.ts"
export * as Outcome from "./Outcome.ts"
export * as QuorumStore from "./QuorumStore.ts"
export * as Resilience from "./Resilience.ts"
export * as SharedStore from "./SharedStore.ts"
export * as Tenant from "./Tenant.ts"
export * as Trip from "./Trip.ts"
export * as Window from "./Window.ts"
