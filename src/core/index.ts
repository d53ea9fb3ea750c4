/**
 * The pure decisions of a circuit breaker: no effects, no clock. For tests, simulations and stores of your own.
 */

export * as Circuit from "./Circuit.ts"
export * as Fleet from "./Fleet.ts"
export * as Outcome from "./Outcome.ts"
export * as Trip from "./Trip.ts"
export * as Window from "./Window.ts"
