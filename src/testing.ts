/**
 * What helps to test code that uses breakers, and stores for them.
 *
 * - `SharedStoreContract`: the suite for a `SharedStore` of your own.
 *
 * It needs no test runner, and is not part of the root module.
 *
 * @since 0.1.0
 */
export * as SharedStoreContract from "./testing/SharedStoreContract.ts"
