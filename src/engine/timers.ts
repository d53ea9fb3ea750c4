import { graceMillis, maxGraces, processLoop } from "./eventLoop.ts"
import { hasFakeTimeouts, realMillis, toReal } from "./time.ts"

/*
 * One coarse timer for all timeouts of a process.
 *
 * A timeout almost never fires, because the call ends first. So starting and stopping one must cost next to nothing; firing may cost more.
 * All timeouts share one timer of the platform. Starting one appends it to a linked list, and stopping it unlinks it.
 *
 * - A list (`Lane`) has the timeouts of one duration, so its first timeout is always the next one that is due. There are few lists,
 *   because durations are rounded up.
 * - A timeout never fires early. It fires late by at most 1 % of its duration, or 16 ms if that is more, because its duration is rounded up
 *   and because timeouts that are due at almost the same time fire together. A busy event loop can add to that.
 * - The timer of the platform is armed for the next timeout that is due, at most `longestMillis` ahead. It stays armed after the last
 *   timeout has been stopped, without keeping the process alive. Otherwise each of several calls in a row would arm it again.
 * - If the timer of the platform fires much later than it was armed for, the event loop has stalled. The timeouts that are due then
 *   get more time, so that input that has arrived can be read (see `eventLoop.ts`).
 *
 * Each timeout has its own timer of the platform in two cases:
 * - While fake timers are in use, so that the test controls each timeout. If the test removes the fake timers, waiting timeouts never fire.
 * - In browsers, whose timers have no `unref`, and in runtimes that end the timers of a request together with the request.
 */

// A timeout can be late by this share of its duration, or by `leastLateMillis` if that is more.
const lateShare = 0.01
const leastLateMillis = 16
/** The longest time ahead for which the timer of the platform is armed. */
const longestMillis = 1_000
/** The longest delay of `setTimeout`. A timer with a longer delay fires at once. */
const longestDelayMillis = 2 ** 31 - 1

export interface Handle {
  readonly ref: () => void
  readonly unref: () => void
}

export interface Platform {
  readonly now: () => number
  readonly setTimeout: (run: () => void, millis: number) => Handle
  readonly clearTimeout: (handle: Handle) => void
  /** Reports how late the timer of the platform is. Returns whether the event loop has stalled. */
  readonly hasStalled: (lateMillis: number) => boolean
}

/** A timeout. It calls `onDue` once, unless it is stopped first. After that it can be started again. */
export abstract class Timer {
  // `declare` emits no field definition, which would cost each call time.
  /** The list or timer that will fire it; `undefined` if it does not wait. */
  declare owner: TimerOwner | undefined
  /** In whole milliseconds, which take less memory than fractions. */
  declare due: number
  /** How many more times a stall may give it more time. */
  declare graces: number
  declare previous: Timer | undefined
  declare next: Timer | undefined

  constructor() {
    this.owner = undefined
    this.due = 0
    this.graces = maxGraces
    this.previous = undefined
    this.next = undefined
  }

  abstract onDue(): void

  stop(): void {
    this.owner?.remove(this)
  }
}

interface TimerOwner {
  readonly remove: (timer: Timer) => void
}

/** The waiting timeouts of one duration. The next one that is due comes first. */
export class Lane implements TimerOwner {
  private readonly coarse: CoarseTimer
  /** The duration, rounded up. */
  readonly millis: number
  readonly keepsAlive: boolean
  /** By how much a timeout may be late so that it fires together with others. */
  readonly slackMillis: number
  first: Timer | undefined = undefined
  last: Timer | undefined = undefined

  constructor(coarse: CoarseTimer, millis: number, keepsAlive: boolean, slackMillis: number) {
    this.coarse = coarse
    this.millis = millis
    this.keepsAlive = keepsAlive
    this.slackMillis = slackMillis
  }

  remove(timer: Timer): void {
    this.coarse.remove(timer, this)
  }
}

export class CoarseTimer {
  private readonly platform: Platform
  private readonly lanes: Array<Lane> = []
  /** The lanes by duration. The duration is negative if they do not keep the process alive. */
  private readonly known = new Map<number, Lane>()
  private armed: Handle | undefined = undefined
  private armedFor = Infinity
  private waits = 0
  /** The number of waiting timeouts that keep the process alive. */
  private holding = 0

  constructor(platform: Platform) {
    this.platform = platform
  }

  get waiting(): number {
    return this.waits
  }

  get isArmed(): boolean {
    return this.armed !== undefined
  }

  lane(millis: number, keepsAlive: boolean): Lane {
    const late = Math.max(leastLateMillis, millis * lateShare)
    const step = 2 ** Math.floor(Math.log2(late / 2))
    const rounded = Math.max(1, Math.ceil(millis / step)) * step
    const key = keepsAlive ? rounded : -rounded
    const known = this.known.get(key)
    if (known !== undefined) return known
    // 2: `due` and the time for which the timer is armed are rounded up to whole milliseconds.
    const made = new Lane(this, rounded, keepsAlive, late / 2 - 2)
    this.known.set(key, made)
    this.lanes.push(made)
    // If timeouts fire together, the shorter one fires first: it is often nested in the longer one.
    this.lanes.sort((a, b) => a.millis - b.millis)
    return made
  }

  add(timer: Timer, lane: Lane, now = this.platform.now()): void {
    const due = Math.ceil(now + lane.millis)
    timer.owner = lane
    timer.due = due
    timer.previous = lane.last
    if (lane.last === undefined) lane.first = timer
    else lane.last.next = timer
    lane.last = timer
    this.waits++
    if (lane.keepsAlive && this.holding++ === 0) this.armed?.ref()
    if (due + lane.slackMillis < this.armedFor) this.arm(due + lane.slackMillis, now)
  }

  remove(timer: Timer, lane: Lane): void {
    const { next, previous } = timer
    if (previous === undefined) lane.first = next
    else previous.next = next
    if (next === undefined) lane.last = previous
    else next.previous = previous
    timer.owner = timer.previous = timer.next = undefined
    this.waits--
    if (lane.keepsAlive && --this.holding === 0) this.armed?.unref()
  }

  private arm(at: number, now: number): void {
    if (this.armed !== undefined) this.platform.clearTimeout(this.armed)
    const millis = Math.min(longestMillis, Math.max(1, Math.ceil(at - now)))
    this.armedFor = now + millis
    this.armed = this.platform.setTimeout(this.tick, millis)
    if (this.holding === 0) this.armed.unref()
  }

  private readonly tick = (): void => {
    const now = this.platform.now()
    const stalled = this.platform.hasStalled(now - this.armedFor)
    this.armed = undefined
    // So that a timeout that is started by an `onDue` does not arm the timer.
    this.armedFor = Number.NEGATIVE_INFINITY
    try {
      for (const lane of this.lanes) this.fire(lane, now, stalled)
    } finally {
      // If an `onDue` throws, the other timeouts fire later.
      this.armedFor = Infinity
      this.armNext()
    }
  }

  private fire(lane: Lane, now: number, stalled: boolean): void {
    for (let timer = lane.first; timer !== undefined && timer.due <= now; timer = lane.first) {
      this.remove(timer, lane)
      if (stalled && timer.graces > 0) {
        timer.graces--
        this.add(timer, this.lane(Math.min(lane.millis, graceMillis), lane.keepsAlive))
      } else timer.onDue()
    }
  }

  private armNext(): void {
    let next = Infinity
    for (const { first, slackMillis } of this.lanes) {
      if (first !== undefined) next = Math.min(next, first.due + slackMillis)
    }
    if (next < Infinity) this.arm(next, this.platform.now())
  }
}

const realSetTimeout = globalThis.setTimeout
const realClearTimeout = globalThis.clearTimeout

type Global = {
  readonly navigator?: { readonly userAgent?: string }
  readonly process?: {
    readonly getBuiltinModule?: (name: string) =>
      | {
          readonly AsyncLocalStorage?: {
            readonly snapshot?: () => <A extends ReadonlyArray<unknown>, B>(run: (...args: A) => B, ...args: A) => B
          }
        }
      | undefined
  }
}
const { process } = globalThis as Global

/** Runs a function outside the asynchronous context of a call, which the shared timer would otherwise keep in memory. */
const outside = process?.getBuiltinModule?.("node:async_hooks")?.AsyncLocalStorage?.snapshot?.()

// The cast is safe: the DOM types say that `setTimeout` returns a number, but `canShare` has checked that it returns an object.
const setShared = (run: () => void, millis: number): Handle =>
  (outside === undefined ? realSetTimeout(run, millis) : outside(realSetTimeout, run, millis)) as unknown as Handle

const coarse = new CoarseTimer({
  now: realMillis,
  setTimeout: setShared,
  // The handle comes from `setShared`, so this reverses its cast.
  clearTimeout: (handle) => realClearTimeout(handle as unknown as Parameters<typeof clearTimeout>[0]),
  hasStalled: (late) => {
    const now = processLoop.now()
    return processLoop.noteTimer(now - late, now)
  }
})

export const ofProcess: Pick<CoarseTimer, "isArmed" | "waiting"> = coarse

let sharable: boolean | undefined

const canShare = (): boolean => {
  if (sharable !== undefined) return sharable
  const timer: unknown = realSetTimeout(() => {}, 0)
  realClearTimeout(timer as Parameters<typeof clearTimeout>[0])
  const canUnref = typeof timer === "object" && timer !== null && "ref" in timer && "unref" in timer
  // Cloudflare Workers have `unref`, but end the timers of a request together with the request.
  // Node loads a module when `navigator` is first read, so it is not read at import.
  sharable = canUnref && (globalThis as Global).navigator?.userAgent !== "Cloudflare-Workers"
  return sharable
}

/** The timer of one timeout that cannot share a timer. */
class OwnTimer implements TimerOwner {
  private readonly millis: number
  private readonly keepsAlive: boolean
  /** The `setTimeout` that was in use when it was started. */
  private readonly set = globalThis.setTimeout
  private handle: unknown

  constructor(timer: Timer, millis: number, keepsAlive: boolean) {
    this.millis = millis
    this.keepsAlive = keepsAlive
    timer.owner = this
    timer.due = processLoop.now() + millis
    this.arm(timer, millis)
  }

  private arm(timer: Timer, millis: number): void {
    const now = Math.min(millis, longestDelayMillis)
    const { set } = this
    this.handle = set(() => {
      if (timer.owner !== this) return
      if (now < millis) this.arm(timer, millis - now)
      else this.fire(timer)
    }, now)
    if (!this.keepsAlive && typeof this.handle === "object" && this.handle !== null && "unref" in this.handle) {
      ;(this.handle as Handle).unref()
    }
  }

  private fire(timer: Timer): void {
    timer.owner = undefined
    if (processLoop.noteTimer(timer.due, processLoop.now()) && timer.graces > 0) {
      timer.graces--
      new OwnTimer(timer, Math.min(this.millis, graceMillis), this.keepsAlive)
    } else timer.onDue()
  }

  remove(timer: Timer): void {
    timer.owner = undefined
    // A fake `clearTimeout` must not get a timer that it did not make, nor a real one a fake timer.
    if (globalThis.setTimeout === this.set) clearTimeout(this.handle as Parameters<typeof clearTimeout>[0])
  }
}

/** The duration of timeouts. Make one `Delay` for all timeouts of the same duration. */
export class Delay {
  readonly millis: number
  readonly keepsAlive: boolean
  private lane: Lane | undefined = undefined

  /** `keepsAlive`: whether a timeout that waits keeps the process alive, as `setTimeout` does. */
  constructor(millis: number, keepsAlive = true) {
    this.millis = millis
    this.keepsAlive = keepsAlive
  }

  /** Starts a timeout that is not waiting. `since`: the time from which its duration counts. Default: now. */
  start(timer: Timer, since?: number): void {
    const { keepsAlive, millis } = this
    if (millis === Infinity) return
    timer.graces = maxGraces
    if (hasFakeTimeouts() || !canShare()) {
      new OwnTimer(timer, millis, keepsAlive)
      return
    }
    this.lane ??= coarse.lane(millis, keepsAlive)
    coarse.add(timer, this.lane, since === undefined ? undefined : toReal(since))
  }
}

export class CallbackTimer extends Timer {
  readonly onDue: () => void

  constructor(onDue: () => void) {
    super()
    this.onDue = onDue
  }
}
