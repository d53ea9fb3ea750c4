/**
 * Helpers for tests of code that uses breakers, and of stores.
 *
 * - `Dependency`: a fake dependency that fails, hangs, slows down and recovers when the test says so.
 * - `CircuitTest`: assertions about the states and transitions of circuits.
 * - `TestFleet`: several processes in one test, with faults between them and their store.
 * - `SharedStoreContract`: a test suite for your own `SharedStore`.
 *
 * They need no test runner, and the root module does not export them. Circuits use the clock that is provided when their store is
 * built. Provide the store inside the test, so that `TestClock` controls their cooldowns.
 */
export * as CircuitTest from "./CircuitTest.ts"
export * as Dependency from "./Dependency.ts"
export * as SharedStoreContract from "./SharedStoreContract.ts"
export * as TestFleet from "./TestFleet.ts"
