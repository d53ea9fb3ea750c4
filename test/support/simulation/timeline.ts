/** Virtual time: a list of what is to happen and when, run one after the other without waiting and without promises. */
import { type Clock, Duration, Effect, type Scheduler } from "effect"

/** Something that is to happen. */
export interface Planned {
  readonly time: number
  readonly order: number
  run: (() => void) | undefined
}

/** Times are milliseconds from 0, in whole microseconds. */
export class Timeline {
  now = 0
  /** How many things have happened. */
  steps = 0
  private readonly heap: Array<Planned> = []
  private planned = 0
  private tasks: Array<() => void> = []
  private draining = false
  private readonly listeners: Array<() => void> = []

  /** Calls `listener` after each thing that happened, once everything that followed from it at that time is done. */
  onStep(listener: () => void): void {
    this.listeners.push(listener)
  }

  at(time: number, run: () => void): Planned {
    const one: Planned = { time: Math.max(this.now, Math.ceil(time * 1000 - 1e-6) / 1000), order: this.planned++, run }
    this.push(one)
    return one
  }

  after(millis: number, run: () => void): Planned {
    return this.at(this.now + millis, run)
  }

  /** It is not to happen. */
  cancel(one: Planned): void {
    one.run = undefined
  }

  /** Runs `task` before time goes on. */
  soon(task: () => void): void {
    this.tasks.push(task)
  }

  /** Runs what is due up to a time, which it then is. */
  runUntil(time: number): void {
    this.drain()
    for (let next = this.heap[0]; next !== undefined && next.time <= time; next = this.heap[0]) {
      this.pop()
      if (next.run === undefined) continue
      this.now = next.time
      next.run()
      this.drain()
      this.steps++
      for (const listener of this.listeners) listener()
    }
    this.now = Math.max(this.now, time)
  }

  /** Runs all that is to happen at once. */
  drain(): void {
    if (this.draining) return
    this.draining = true
    while (this.tasks.length > 0) {
      const tasks = this.tasks
      this.tasks = []
      for (const task of tasks) task()
    }
    this.draining = false
  }

  private push(one: Planned): void {
    const { heap } = this
    let i = heap.length
    heap.push(one)
    while (i > 0) {
      const parent = (i - 1) >> 1
      const above = heap[parent]
      if (above === undefined || isFirst(above, one)) break
      heap[i] = above
      i = parent
    }
    heap[i] = one
  }

  private pop(): void {
    const { heap } = this
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      let below = heap[child]
      if (below === undefined) break
      const right = heap[child + 1]
      if (right !== undefined && isFirst(right, below)) {
        child++
        below = right
      }
      if (isFirst(last, below)) break
      heap[i] = below
      i = child
    }
    heap[i] = last
  }
}

const isFirst = (a: Planned, b: Planned): boolean => a.time < b.time || (a.time === b.time && a.order < b.order)

/**
 * One life of a process or of a store. When it is over, its timers and messages are dropped. While its event loop is stalled,
 * everything waits. After the stall, all due timers fire first, and then everything that arrived during it is handled.
 */
export class Life {
  alive = true
  /** How often something has run in it. In between, its state changes only by the time that passes. */
  turns = 0
  private stalls = 0
  private timers: Array<() => void> = []
  private arrivals: Array<() => void> = []

  get isStalled(): boolean {
    return this.stalls > 0
  }

  /** Runs the work of a timer when the event loop is not stalled. */
  onTimer(task: () => void): void {
    if (this.stalls > 0) this.timers.push(task)
    else this.turn(task)
  }

  /** Runs the work of a message when the event loop is not stalled. */
  onArrival(task: () => void): void {
    if (this.stalls > 0) this.arrivals.push(task)
    else this.turn(task)
  }

  private turn(task: () => void): void {
    if (!this.alive) return
    this.turns++
    task()
  }

  /** Stalls its event loop for this many milliseconds. */
  stall(timeline: Timeline, millis: number): void {
    this.stalls++
    timeline.after(millis, () => {
      if (--this.stalls > 0) return
      const waiting = [...this.timers, ...this.arrivals]
      this.timers = []
      this.arrivals = []
      for (const task of waiting) this.onArrival(task)
    })
  }
}

/** Milliseconds: what the timeline can tell apart. */
const shortest = 0.001

/** 2026-01-01, where every simulation begins. */
const epoch = 1_767_225_600_000

/** A clock of its own for each process and for the store: none shows what another shows. */
export class VirtualClock implements Clock.Clock {
  private readonly timeline: Timeline
  private readonly life: Life
  /** When it began to count, by the timeline. */
  private origin: number
  private readonly timers = new Set<Timer>()
  /** What its wall clock shows too much; it may change at any time. */
  wallOffset: number
  private shownAt = -1
  private shown = 0n

  constructor(timeline: Timeline, life: Life, origin: number, wallOffset = 0) {
    this.timeline = timeline
    this.life = life
    this.origin = origin
    this.wallOffset = wallOffset
  }

  currentTimeMillisUnsafe(): number {
    return Math.floor(epoch + this.timeline.now + this.wallOffset)
  }
  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())

  currentTimeNanosUnsafe(): bigint {
    return BigInt(this.currentTimeMillisUnsafe()) * 1_000_000n
  }
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())

  monotonicTimeNanosUnsafe(): bigint {
    const { now } = this.timeline
    if (now !== this.shownAt) {
      this.shownAt = now
      this.shown = BigInt(Math.round((now - this.origin) * 1000)) * 1000n
    }
    return this.shown
  }
  readonly monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const millis = Duration.toMillis(duration)
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.callback((resume) => {
      const fire = () => {
        this.timers.delete(timer)
        this.life.onTimer(() => resume(Effect.void))
      }
      // A sleep always takes some time, as with a real clock.
      const timer: Timer = { fire, planned: this.timeline.after(Math.max(millis, shortest), fire) }
      this.timers.add(timer)
      return Effect.sync(() => {
        this.timers.delete(timer)
        this.timeline.cancel(timer.planned)
      })
    })
  }

  /** Stops the monotonic clock and its timers for `millis`. The wall clock continues. During this time, no code may read the clock. */
  stop(millis: number): void {
    this.origin += millis
    this.shownAt = -1
    for (const timer of this.timers) {
      this.timeline.cancel(timer.planned)
      timer.planned = this.timeline.at(timer.planned.time + millis, timer.fire)
    }
  }
}

interface Timer {
  readonly fire: () => void
  planned: Planned
}

/** Fibers go on within the event that they wait for: nothing is left to the event loop of Node. */
export const scheduler = (timeline: Timeline, life: Life): Scheduler.Scheduler => {
  const dispatcher: Scheduler.SchedulerDispatcher = {
    scheduleTask: (task) => timeline.soon(() => life.onArrival(task)),
    flush: () => timeline.drain()
  }
  return {
    executionMode: "async",
    shouldYield: (fiber) => fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield,
    makeDispatcher: () => dispatcher
  }
}
