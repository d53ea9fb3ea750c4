/**
 * What helps to test code that uses breakers, and stores for them.
 *
 * - `Dependency`: something to call that fails, hangs, is slow and recovers when a test says so.
 * - `CircuitTest`: whether circuits are what they should be, and what they did.
 * - `TestFleet`: several processes in one test, with faults between them and their store.
 * - `SharedStoreContract`: the suite for a `SharedStore` of your own.
 *
 * It needs no test runner, and is not part of the root module. Circuits follow the clock that is in force where their store is
 * built: provide the store inside the test, and `TestClock` moves their cooldowns.
 *
 * @since 0.1.0
 */
export * as CircuitTest from "./CircuitTest.ts"
export * as Dependency from "./Dependency.ts"
export * as SharedStoreContract from "./SharedStoreContract.ts"
export * as TestFleet from "./TestFleet.ts"
