import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import type * as Take from "effect/Take"
import type { BreakerEvent } from "../shapes/BreakerEvent.ts"

/** A subscriber that falls this far behind loses the oldest events. */
const eventCapacity = 4_096

type Subscribable = PubSub.PubSub<Take.Take<BreakerEvent>>

/**
 * The events of a store, for subscribers of its stream. The first subscriber allocates the buffer, because it is large and most stores
 * have no subscriber.
 */
export class Events {
  private buffer: Subscribable | undefined = undefined
  private hasEnded = false

  /** Whether the stream has had a subscriber. */
  get isRead(): boolean {
    return this.buffer !== undefined
  }

  publish(event: BreakerEvent): void {
    if (this.buffer !== undefined) PubSub.publishUnsafe(this.buffer, [event])
  }

  /** Returns the buffer, and creates it for the first subscriber. */
  readonly subscribable: Effect.Effect<Subscribable> = Effect.suspend(() =>
    this.buffer === undefined
      ? Effect.flatMap(PubSub.sliding<Take.Take<BreakerEvent>>(eventCapacity), (made) => {
          // Another fiber may have created the buffer meanwhile.
          this.buffer ??= made
          return Effect.as(this.hasEnded ? this.end : Effect.void, this.buffer)
        })
      : Effect.succeed(this.buffer)
  )

  /** Ends the stream. A subscriber that is behind receives the events before the end. */
  readonly end: Effect.Effect<void> = Effect.suspend(() => {
    this.hasEnded = true
    return this.buffer === undefined ? Effect.void : PubSub.end(this.buffer, Exit.void)
  })
}
