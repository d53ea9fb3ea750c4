/**
 * The test suite that every `SharedStore` must pass. Each case tests one requirement of the contract.
 *
 * **When to use**
 *
 * To test a store of your own. The cases are plain effects, which any test runner can run. With `@effect/vitest`:
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { MemoryStore, SharedStore } from "effect-fuse"
 * import { SharedStoreContract } from "effect-fuse/testing"
 *
 * // Each run of this effect opens one more handle on the same store, as each process would.
 * const store = Effect.runSync(MemoryStore.make)
 * const handle = Effect.succeed(store)
 *
 * for (const { name, test } of SharedStoreContract.cases(handle)) it.live(name, () => test, 60_000)
 * ```
 *
 * **Requirements**
 *
 * - *Two handles.* Each case runs `make` twice, and its operations alternate between the two handles. Both must be handles on the
 *   same store, each with its own connection if the store has connections.
 * - *Exclusive use.* The store need not be empty: each case uses new names, and checks only what it wrote. But the live voters, the
 *   last epoch and the log of roll calls belong to the whole store. Therefore no other process may use the store meanwhile, and the
 *   cases must run one after the other, as test runners do within a file. What the cases write expires within a minute.
 * - *Real time.* Cases sleep for up to a second, and compare the ages in answers with the time that has passed. Use `it.live`, because
 *   the clock of `it.effect` does not advance. They wait for up to `patience` for expected answers, expiries and announcements.
 *
 * **What it does not test**
 *
 * The speed of the store, also with many voters, and its behavior without a connection.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { count, decodeOptions, type FieldsOf, flag, optional } from "../core/fields.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { ballots } from "./contract/ballots.ts"
import { open } from "./contract/bench.ts"
import { changes } from "./contract/changes.ts"
import { digests } from "./contract/digests.ts"
import { exchanges } from "./contract/exchanges.ts"
import { live, records } from "./contract/records.ts"
import { rollCalls } from "./contract/rollCalls.ts"

/**
 * A case failed: the store does not meet a requirement of the contract.
 *
 * @category errors
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
 * One requirement of the contract, with its test.
 *
 * @category models
 */
export interface Case {
  /** The requirement, such as "a repeated swap is done once". */
  readonly name: string
  readonly test: Effect.Effect<void, ContractViolation, Scope.Scope>
}

/**
 * Configures a run of the suite.
 *
 * @category models
 */
export interface Options {
  /** Whether the store announces changes. With `false`, the cases about `changes` are left out. Default: `true`. */
  readonly announces?: boolean
  /** How many milliseconds a case waits for an answer, an expiry or an announcement before it fails. Default: 5,000. */
  readonly patience?: number
}

const fields = { announces: optional(flag), patience: optional(count) } satisfies FieldsOf<Options>

/**
 * All cases. Each run of `make` must open one more handle on the same store.
 *
 * @category constructors
 */
export const cases = (
  make: Effect.Effect<SharedStore, unknown, Scope.Scope>,
  options: Options = {}
): ReadonlyArray<Case> => {
  const { announces = true, patience = 5_000 } = decodeOptions("SharedStoreContract.cases", fields, options)
  return [...records, ...live, ...exchanges, ...ballots, ...rollCalls, ...digests, ...(announces ? changes : [])].map(
    ({ name, test }) => ({
      name,
      test: open(make, patience).pipe(
        Effect.flatMap(test),
        // The store returned an answer without its fields.
        Effect.catchDefect((defect) =>
          Effect.fail({ expected: "answers with all fields of the contract", actual: Cause.pretty(Cause.die(defect)) })
        ),
        Effect.mapError(({ actual, expected }) => new ContractViolation({ case: name, expected, actual }))
      )
    })
  )
}

/**
 * Runs all cases, one after the other. Fails with the violations that they found.
 *
 * @category running
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
