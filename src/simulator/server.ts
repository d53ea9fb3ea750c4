import type { Timeline } from "./virtualTime.ts"

export type ServerAnswer =
  | { readonly _tag: "Answered" }
  | { readonly _tag: "Failed" }
  /** `retryAfter`: the value of the header `Retry-After`, in milliseconds. */
  | { readonly _tag: "Refused"; readonly status: 429 | 503; readonly retryAfter: number | undefined }

/** A fault of a server; times in milliseconds from the start. */
export interface ServerFault {
  readonly from: number
  readonly until: number
  /** The replicas with this fault; `undefined` for all. */
  readonly replicas: ReadonlyArray<number> | undefined
  /** This share of the workers works at the start, and at the end of the fault. */
  readonly capacity: readonly [start: number, end: number]
  readonly speed: number
  readonly latency: number
  readonly failing: number
  readonly how: "error" | "unavailable" | "hang"
  readonly quota: number
  readonly frozen: boolean
  /** The speed right after the fault. It rises to 1 within `warmUp` calls. */
  readonly cold: number
  readonly warmUp: number
}

/** A server as the simulation uses it; durations in milliseconds. */
export interface ServerModel {
  readonly workers: number
  readonly service: number
  readonly spread: number
  readonly queue: number
  readonly replicas: number
  readonly errors: number
  /** Whether workers also work for callers that have given up. */
  readonly finishes: boolean
  readonly faults: ReadonlyArray<ServerFault>
}

/** A call that the server has not answered. */
export interface Job {
  /** Whether the caller no longer waits. */
  over: boolean
  readonly answer: (answer: ServerAnswer) => void
}

/** How long the workers of all replicas have worked, in milliseconds. */
export interface Work {
  done: number
  /** `done` includes this work for callers that had given up. */
  wasted: number
}

/** The server accepts `quota` calls in each window of this length. */
const quotaMillis = 1_000

const isAt = ({ from, until }: ServerFault, time: number): boolean => time >= from && time < until

const capacityOf = ({ capacity: [start, end], from, until }: ServerFault, time: number): number =>
  start + ((end - start) * (time - from)) / (until - from)

/** One replica: workers, a queue in order of arrival, and faults. */
export class Replica {
  private readonly timeline: Timeline
  private readonly model: ServerModel
  private readonly chance: () => number
  private readonly work: Work
  private readonly faults: ReadonlyArray<ServerFault>
  private queue: Array<Job> = []
  private head = 0
  private busy = 0
  /** How many calls were answered since the latest cold start. */
  private warmth = 0
  private coldSince: ServerFault | undefined = undefined
  private quotaWindow = -1
  private quotaUsed = 0

  constructor(timeline: Timeline, model: ServerModel, index: number, chance: () => number, work: Work) {
    this.timeline = timeline
    this.model = model
    this.chance = chance
    this.work = work
    this.faults = model.faults.filter(({ replicas }) => replicas === undefined || replicas.includes(index))
  }

  /** How many calls per second the replica can answer at that time, with warm caches. */
  capacityAt(time: number): number {
    const { service, workers } = this.model
    let perSecond = (workers * 1_000) / service
    for (const fault of this.faults) {
      if (!isAt(fault, time)) continue
      perSecond *= capacityOf(fault, time) * fault.speed
      if (fault.failing === 1) perSecond = 0
      perSecond = Math.min(perSecond, fault.quota)
    }
    return perSecond
  }

  /** The share of calls that get no error at that time. */
  soundShareAt(time: number): number {
    let share = 1 - this.model.errors
    for (const fault of this.faults) if (isAt(fault, time)) share *= 1 - fault.failing
    return share
  }

  /** Whether a call that arrived now would be worked on at once. */
  get isIdle(): boolean {
    if (this.busy >= this.active()) return false
    const { now } = this.timeline
    return this.faults.every(
      (fault) => !isAt(fault, now) || (fault.failing < 1 && !fault.frozen && this.quotaLeft(fault) > 0)
    )
  }

  private quotaLeft({ quota }: ServerFault): number {
    return this.quotaWindow === Math.floor(this.timeline.now / quotaMillis) ? quota - this.quotaUsed : quota
  }

  /** The share of capacity that is left now. */
  private share(): number {
    let share = 1
    for (const fault of this.faults) if (isAt(fault, this.timeline.now)) share *= capacityOf(fault, this.timeline.now)
    return share
  }

  /** The number of workers that are left now. */
  private active(): number {
    return Math.max(1, Math.ceil(this.model.workers * this.share() - 1e-9))
  }

  private speed(): number {
    const { now } = this.timeline
    let speed = 1
    for (const fault of this.faults) {
      if (isAt(fault, now)) speed *= fault.speed
      else if (fault.cold < 1 && now >= fault.until) {
        if (this.coldSince !== fault) {
          this.coldSince = fault
          this.warmth = 0
        }
        speed *= Math.min(1, fault.cold + ((1 - fault.cold) * this.warmth) / fault.warmUp)
      }
    }
    return speed
  }

  /** The answer to a call that needs no worker. `"hang"`: the call gets no answer. `undefined`: the call needs a worker. */
  private atOnce(): ServerAnswer | "hang" | undefined {
    const { now } = this.timeline
    if (this.model.errors > 0 && this.chance() < this.model.errors) return { _tag: "Failed" }
    for (const fault of this.faults) {
      if (!isAt(fault, now)) continue
      if (fault.failing > 0 && (fault.failing === 1 || this.chance() < fault.failing)) {
        if (fault.how === "hang") return "hang"
        return fault.how === "error" ? { _tag: "Failed" } : { _tag: "Refused", status: 503, retryAfter: undefined }
      }
      if (fault.quota < Infinity) {
        const left = this.quotaLeft(fault)
        if (left <= 0) return { _tag: "Refused", status: 429, retryAfter: quotaMillis }
        this.quotaWindow = Math.floor(now / quotaMillis)
        this.quotaUsed = fault.quota - left + 1
      }
    }
    return undefined
  }

  arrive(job: Job): void {
    const answer = this.atOnce()
    if (answer === "hang") return
    if (answer !== undefined) this.answer(job, answer)
    else if (this.busy >= this.active() && this.queue.length - this.head >= this.model.queue) {
      this.answer(job, { _tag: "Refused", status: 503, retryAfter: undefined })
    } else {
      this.queue.push(job)
      this.next()
    }
  }

  /** Gives the first calls of the queue to workers that are free. */
  next(): void {
    const { model, timeline } = this
    const active = this.active()
    while (this.busy < active && this.head < this.queue.length) {
      const job = this.queue[this.head++] as Job
      if (this.head > 1_024 && this.head * 2 > this.queue.length) {
        this.queue = this.queue.slice(this.head)
        this.head = 0
      }
      if (job.over && !model.finishes) continue
      // `active` is rounded up. The workers are slower by the same ratio, so that the capacity is exact.
      const stretched = active / model.workers / Math.min(1, this.share())
      const millis = (this.serviceMillis() * stretched) / this.speed()
      this.busy++
      timeline.at(this.endOf(timeline.now, millis), () => this.finish(job, millis))
    }
  }

  private finish(job: Job, millis: number): void {
    this.busy--
    this.warmth++
    this.work.done += millis
    if (job.over) this.work.wasted += millis
    this.answer(job, { _tag: "Answered" })
    this.next()
  }

  private serviceMillis(): number {
    const { service, spread } = this.model
    if (spread === 0) return service
    const normal = Math.sqrt(-2 * Math.log(1 - this.chance())) * Math.cos(2 * Math.PI * this.chance())
    return service * Math.exp(spread * normal - (spread * spread) / 2)
  }

  /** Returns when work ends that begins at `start`. Workers pause while the replica is frozen. */
  private endOf(start: number, millis: number): number {
    let end = start + millis
    for (const fault of this.faults) {
      if (fault.frozen && fault.from < end && start < fault.until) end += fault.until - Math.max(start, fault.from)
    }
    return end
  }

  /** Sends the answer. It arrives after a millisecond, or later during a fault with a latency. */
  private answer(job: Job, answer: ServerAnswer): void {
    if (job.over) return
    const { now } = this.timeline
    let latency = 1
    if (answer._tag === "Answered") for (const fault of this.faults) if (isAt(fault, now)) latency += fault.latency
    this.timeline.at(now + latency, () => {
      if (!job.over) job.answer(answer)
    })
  }
}

/**
 * How many of the offered calls per second the server could answer. `chosen`: a pool chooses the replica of each call. Otherwise all
 * replicas get the same number of calls.
 */
export const possible = (replicas: ReadonlyArray<Replica>, time: number, offered: number, chosen: boolean): number => {
  const each = replicas.map((replica) => ({
    capacity: replica.capacityAt(time),
    sound: replica.soundShareAt(time)
  }))
  const sum = (of: (one: { readonly capacity: number; readonly sound: number }) => number): number =>
    each.reduce((all, one) => all + of(one), 0)
  // A pool can send a call to any free replica, so only the total capacity matters.
  if (chosen)
    return Math.min(
      sum((one) => one.capacity),
      offered * Math.max(...each.map((one) => one.sound))
    )
  return sum((one) => Math.min(one.capacity, (offered / replicas.length) * one.sound))
}
