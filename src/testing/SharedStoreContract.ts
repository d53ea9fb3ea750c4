/**
 * The suite that every `SharedStore` must pass: the sentences of its contract, each with a test.
 *
 * **When to use**
 *
 * Where you write a store of your own. The cases are plain effects: any test runner will do. With `@effect/vitest`:
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { MemoryStore, SharedStore } from "effect-fuse"
 * import { SharedStoreContract } from "effect-fuse/testing"
 *
 * // Each run of it opens one more handle on the same store, as each process does.
 * const store = Effect.runSync(MemoryStore.make)
 * const handle = Effect.succeed(store)
 *
 * for (const { name, test } of SharedStoreContract.cases(handle)) it.live(name, () => test, 60_000)
 * ```
 *
 * **What it needs**
 *
 * - *Several handles.* `make` is run twice for each case, and the operations of a case take turns on the two. Both have
 *   to be of the same store, through connections of their own if it has connections.
 * - *A store for itself, which need not be empty.* All names are new each time, and only what a case wrote is looked at.
 *   But the voters that live, the last epoch and the log of roll calls are one for the whole store: no process may use it
 *   meanwhile, so run the cases one after the other, as test runners do within a file. What they leave behind expires
 *   within a minute.
 * - *Real time.* Cases sleep, and compare the ages that the store answers with the time that passed: `it.live` and not
 *   `it.effect`, whose clock stands still. They sleep for up to a second, and wait up to `patience` for what has to come.
 *
 * **What it does not say**
 *
 * How fast a store is; that an exchange takes no longer with many voters than with few; what it does when it is cut off.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { count, decodeOptions, type FieldsOf, flag, optional } from "../core/fields.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { ballots } from "./contract/ballots.ts"
import { open } from "./contract/bench.ts"
import { changes } from "./contract/changes.ts"
import { exchanges } from "./contract/exchanges.ts"
import { live, records } from "./contract/records.ts"
import { rollCalls } from "./contract/rollCalls.ts"

/**
 * A sentence of the contract that a store does not keep.
 *
 * @category errors
 * @since 0.1.0
 */
export class ContractViolation extends Data.TaggedError("ContractViolation")<{
  /** The name of the case. */
  readonly case: string
  readonly expected: string
  readonly actual: string
}> {
  override get message(): string {
    return `${this.case}\n  expected ${this.expected}\n  but found ${this.actual}`
  }
}

/**
 * One sentence of the contract, with its test.
 *
 * @category models
 * @since 0.1.0
 */
export interface Case {
  /** A sentence: what a store does. */
  readonly name: string
  readonly test: Effect.Effect<void, ContractViolation, Scope.Scope>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** `false` for a store that announces nothing: the cases about `changes` are left out. */
  readonly announces?: boolean
  /** How many milliseconds to wait for an answer, an expiry or an announcement before it is missed. Default 5,000. */
  readonly patience?: number
}

const fields = { announces: optional(flag), patience: optional(count) } satisfies FieldsOf<Options>

/**
 * The cases. Each run of `make` gives one more handle on the same store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cases = (
  make: Effect.Effect<SharedStore, unknown, Scope.Scope>,
  options: Options = {}
): ReadonlyArray<Case> => {
  const { announces = true, patience = 5_000 } = decodeOptions("SharedStoreContract.cases", fields, options)
  return [...records, ...live, ...exchanges, ...ballots, ...rollCalls, ...(announces ? changes : [])].map(
    ({ name, test }) => ({
      name,
      test: open(make, patience).pipe(
        Effect.flatMap(test),
        Effect.mapError(({ actual, expected }) => new ContractViolation({ case: name, expected, actual }))
      )
    })
  )
}

/**
 * Runs all cases, one after the other, and fails with those that the store does not pass.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (
  make: Effect.Effect<SharedStore, unknown, Scope.Scope>,
  options?: Options
): Effect.Effect<void, ReadonlyArray<ContractViolation>> =>
  Effect.forEach(cases(make, options), ({ test }) =>
    Effect.match(Effect.scoped(test), { onFailure: (violation) => [violation], onSuccess: () => [] })
  ).pipe(
    Effect.flatMap((found) => {
      const violations = found.flat()
      return violations.length === 0 ? Effect.void : Effect.fail(violations)
    })
  )
