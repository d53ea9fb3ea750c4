import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { count, countOrZero, type Decoded, type Field, optional, struct, text } from "../core/fields.ts"
import { type Enclosing, EnclosingCall, running } from "../engine/nesting.ts"
import * as BulkheadFull from "../shapes/BulkheadFull.ts"

export const TypeId: unique symbol = Symbol.for("effect-fuse/Bulkhead")

export class Slots {
  /** Running and waiting calls. */
  inside = 0
  rejected = 0
  readonly name: string
  readonly concurrency: number
  readonly queue: number
  private readonly semaphore: Semaphore.Semaphore

  constructor(name: string, concurrency: number, queue: number) {
    this.name = name
    this.concurrency = concurrency
    this.queue = queue
    this.semaphore = Semaphore.makeUnsafe(concurrency)
  }

  limit<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | BulkheadFull.BulkheadFull, R> {
    const run = this.semaphore.withPermit(self)
    return Effect.withFiber((fiber) => {
      let entered = false
      let waiting: Enclosing | undefined
      // The finalizer is registered first, so that an interruption between the two cannot leak a slot.
      return Effect.onExitPrimitive(
        Effect.suspend((): Effect.Effect<A, E | BulkheadFull.BulkheadFull, R> => {
          if (this.inside >= this.concurrency + this.queue) {
            this.rejected++
            const { concurrency, name, queue } = this
            return Effect.fail(BulkheadFull.make({ bulkhead: name, concurrency, queue }))
          }
          const waits = this.inside >= this.concurrency
          entered = true
          this.inside++
          // The wait is not the slowness of the dependency, so the circuit around the bulkhead must know it.
          const call = waits ? running(Context.get(fiber.context, EnclosingCall)) : undefined
          if (call === undefined) return run
          call.queued()
          waiting = call
          return this.semaphore.withPermit(
            Effect.suspend(() => {
              call.dequeued()
              waiting = undefined
              return self
            })
          )
        }),
        () => {
          if (entered) this.inside--
          waiting?.dequeued()
          return undefined
        }
      )
    })
  }
}

export const bulkheadFields = { concurrency: count, queue: optional(countOrZero), name: optional(text) }

export const toSlots = ({ concurrency, name = "bulkhead", queue = 0 }: Decoded<typeof bulkheadFields>): Slots =>
  new Slots(name, concurrency, queue)

export const hasSlots = (value: unknown): value is { readonly [TypeId]: Slots } =>
  typeof value === "object" && value !== null && TypeId in value

export const bulkheadField: Field<{ readonly [TypeId]: Slots } | Decoded<typeof bulkheadFields>> = {
  optional: false,
  decode: (input, path, problems) => (hasSlots(input) ? input : struct(bulkheadFields).decode(input, path, problems))
}
