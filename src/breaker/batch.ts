import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Semaphore from "effect/Semaphore"
import { passesAll } from "../engine/answer.ts"
import type { AnyEffect } from "../engine/timeout.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import { guardOrElse, isInside, locate, registryOf, type Subject } from "./protect.ts"

export interface Batch {
  readonly subject: Subject
  readonly concurrency: number | "unbounded"
  readonly run: (item: unknown, index: number) => AnyEffect
  readonly onOpen: ((item: unknown, open: CircuitOpen, index: number) => AnyEffect) | undefined
}

/**
 * Runs each item under one circuit. After the first rejection, all items that have not started are rejected with the same error, without
 * asking the circuit. While the circuit may reject calls, the items run one at a time, as the next one may be the probe that decides for
 * all.
 */
export const runBatch = (
  items: ReadonlyArray<unknown>,
  { concurrency, onOpen, run, subject }: Batch
): Effect.Effect<ReadonlyArray<Exit.Exit<unknown, unknown>>> =>
  Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const alone = Semaphore.makeUnsafe(1)
    let stopped: CircuitOpen | undefined

    const isConcurrent = () => {
      const circuit = locate(fiber, subject)
      return isInside(fiber, registry, circuit) || passesAll(registry, circuit, registry.runtime.time.now())
    }

    const reject = (item: unknown, open: CircuitOpen, index: number): AnyEffect =>
      onOpen === undefined ? Effect.fail(open) : Effect.suspend(() => onOpen(item, open, index))

    const call = (item: unknown, index: number): AnyEffect => {
      if (stopped !== undefined) return reject(item, stopped, index)
      const called = Effect.suspend(() => run(item, index))
      return guardOrElse(called, subject, (open) => {
        // A ramp and a limit reject only some calls.
        if (open.reason !== "Ramping" && open.reason !== "Limited") stopped ??= open
        return reject(item, open, index)
      })
    }

    const runItem = (item: unknown, index: number): AnyEffect => {
      if (stopped !== undefined || isConcurrent()) return call(item, index)
      // While this item waited, the circuit may have closed. The item then leaves the semaphore, so that others run concurrently.
      let later = false
      const queued = alone.withPermit(
        Effect.suspend(() => {
          later = stopped !== undefined || isConcurrent()
          return later ? Effect.void : call(item, index)
        })
      )
      return Effect.flatMap(queued, (value) => (later ? call(item, index) : Effect.succeed(value)))
    }

    return Effect.forEach(items, (item, index) => Effect.exit(Effect.suspend(() => runItem(item, index))), {
      concurrency
    })
  })
