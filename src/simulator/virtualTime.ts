import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { MixedScheduler } from "effect/Scheduler"

/** An event and its time in milliseconds. A cancelled event does nothing. */
export interface TimedEvent {
  readonly at: number
  readonly order: number
  run: () => void
}

const nothing = (): void => {}

const isSooner = (a: TimedEvent, b: TimedEvent): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** Events in order of time, in a binary heap. Events of the same time happen in the order in which they were added. */
export class Timeline {
  /** Milliseconds from the start. */
  now = 0
  private order = 0
  private readonly heap: Array<TimedEvent> = []
  private tasks: Array<() => void> = []

  /** Fibers of the simulation yield to this scheduler. Its tasks run before the time moves on. */
  readonly scheduler = new MixedScheduler("async", (task) => {
    this.tasks.push(task)
    return () => {
      this.tasks = this.tasks.filter((one) => one !== task)
    }
  })

  at(time: number, run: () => void): TimedEvent {
    const added: TimedEvent = { at: Math.max(this.now, time), order: this.order++, run }
    const { heap } = this
    let i = heap.length
    heap.push(added)
    while (i > 0) {
      const parent = (i - 1) >> 1
      const above = heap[parent] as TimedEvent
      if (isSooner(above, added)) break
      heap[i] = above
      i = parent
    }
    heap[i] = added
    return added
  }

  cancel(event: TimedEvent): void {
    event.run = nothing
  }

  private next(): TimedEvent {
    const { heap } = this
    const first = heap[0] as TimedEvent
    const last = heap.pop() as TimedEvent
    if (heap.length === 0) return first
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isSooner(heap[child + 1] as TimedEvent, heap[child] as TimedEvent)) child++
      const below = heap[child] as TimedEvent
      if (isSooner(last, below)) break
      heap[i] = below
      i = child
    }
    heap[i] = last
    return first
  }

  /** Runs the events until a time, or until none is left. */
  runUntil(time: number): void {
    this.runTasks()
    while (this.heap.length > 0 && (this.heap[0] as TimedEvent).at <= time) {
      const event = this.next()
      this.now = event.at
      event.run()
      if (this.tasks.length > 0) this.runTasks()
    }
    this.now = time
  }

  private runTasks(): void {
    while (this.tasks.length > 0) {
      const tasks = this.tasks
      this.tasks = []
      for (const task of tasks) task()
    }
  }
}

/** The clock of a timeline. Sleeping fibers are events of the timeline. */
export class VirtualClock implements Clock.Clock {
  private readonly timeline: Timeline

  constructor(timeline: Timeline) {
    this.timeline = timeline
  }

  currentTimeMillisUnsafe(): number {
    return Math.round(this.timeline.now)
  }
  currentTimeNanosUnsafe(): bigint {
    return BigInt(Math.round(this.timeline.now * 1e6))
  }
  monotonicTimeNanosUnsafe(): bigint {
    return this.currentTimeNanosUnsafe()
  }
  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  readonly monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const millis = Duration.toMillis(duration)
    if (millis === Infinity) return Effect.never
    return Effect.callback<void>((resume) => {
      const event = this.timeline.at(this.timeline.now + millis, () => resume(Effect.void))
      return Effect.sync(() => this.timeline.cancel(event))
    })
  }
}
