import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Semaphore from "effect/Semaphore"
import { passesAll } from "../engine/answer.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import { guardOrElse, isInside, locate, registryOf, type Subject } from "./protect.ts"

type AnyEffect = Effect.Effect<unknown, unknown>

/** A batch, its options checked. */
export interface Batch {
  readonly subject: Subject
  readonly concurrency: number | "unbounded"
  readonly run: (item: unknown, index: number) => AnyEffect
  readonly onOpen: ((item: unknown, open: CircuitOpen, index: number) => AnyEffect) | undefined
}

/**
 * Runs each item under one circuit. The first rejection is that of all items that have not begun, and the circuit is not
 * asked again. Where it is not sure that it lets calls through, one item goes after the other: the next may be the probe
 * that decides for all.
 */
export const runBatch = (
  items: ReadonlyArray<unknown>,
  { concurrency, onOpen, run, subject }: Batch
): Effect.Effect<ReadonlyArray<Exit.Exit<unknown, unknown>>> =>
  Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const alone = Semaphore.makeUnsafe(1)
    let stopped: CircuitOpen | undefined

    /** Whether many may ask at once. */
    const isOpenHanded = () => {
      const circuit = locate(fiber, registry, subject)
      return isInside(fiber, registry, circuit) || passesAll(registry, circuit, registry.runtime.time.now())
    }

    const reject = (item: unknown, open: CircuitOpen, index: number): AnyEffect =>
      onOpen === undefined ? Effect.fail(open) : Effect.suspend(() => onOpen(item, open, index))

    const call = (item: unknown, index: number): AnyEffect => {
      if (stopped !== undefined) return reject(item, stopped, index)
      const called = Effect.suspend(() => run(item, index))
      return guardOrElse(called, subject, (open) => {
        // A ramp rejects some calls and lets others pass.
        if (open.reason !== "Ramping") stopped ??= open
        return reject(item, open, index)
      })
    }

    const one = (item: unknown, index: number): AnyEffect => {
      if (stopped !== undefined || isOpenHanded()) return call(item, index)
      // Who waited for another's end may find that many may go now, and lets them.
      let later = false
      const careful = alone.withPermit(
        Effect.suspend(() => {
          later = stopped !== undefined || isOpenHanded()
          return later ? Effect.void : call(item, index)
        })
      )
      return Effect.flatMap(careful, (value) => (later ? call(item, index) : Effect.succeed(value)))
    }

    return Effect.forEach(items, (item, index) => Effect.exit(Effect.suspend(() => one(item, index))), { concurrency })
  })
