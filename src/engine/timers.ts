import { graceMillis, maxGraces, processLoop } from "./eventLoop.ts"
import { hasFakeTimeouts, realMillis, toReal } from "./time.ts"

/*
 * One coarse timer for all timeouts of a process.
 *
 * A timeout almost never fires: the call ends first. So starting and stopping one must cost next to nothing, and only firing may cost
 * more. All timeouts share one timer of the platform. Starting one appends it to a list, and stopping it unlinks it from there.
 *
 * - A list (`Lane`) holds timeouts of the same duration, so the first of a list is always the next one that is due. There are few
 *   lists, because durations are rounded up.
 * - A timeout never fires early. It fires late by at most 1 % of its duration, or by 16 ms if that is more: half of it because its
 *   duration is rounded up, half of it because timeouts that are due at almost the same time fire together. The event loop can add to that.
 * - The timer of the platform is armed for the next timeout that is due, at most `longestMillis` ahead. After the last timeout has been
 *   stopped it stays armed until then, without keeping the process alive: one call after another would otherwise arm it each time.
 * - The process is kept alive while a timeout waits that keeps it alive.
 * - If the timer of the platform fires much later than it was armed for, the event loop has stalled. The timeouts that are due then
 *   get more time, so that input that has arrived can be read (see `eventLoop.ts`).
 *
 * Each timeout has its own timer of the platform in two cases:
 * - While fake timers are in use. The test controls these timeouts exactly. If it removes the fake timers, those that wait never fire.
 * - Where timers cannot be told to let the process end, as in browsers, and in runtimes that end the timers of a request with that
 *   request, so that a timer cannot be shared by requests.
 */

/** The part of its duration by which a timeout can be late, and the least that this amounts to. */
const lateShare = 0.01
const leastLateMillis = 16
/** The longest time ahead for which the timer of the platform is armed. */
const longestMillis = 1_000
/** The longest delay of `setTimeout`. A timer with a longer delay fires at once. */
const longestDelayMillis = 2 ** 31 - 1

/** A timer of the platform that can let the process end. */
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

/** A timeout. It calls `onDue` once, unless it is stopped before. It can be started again after either. */
export abstract class Timer {
  /** Where it waits, if it does. */
  place: Place | undefined = undefined
  /** In whole milliseconds, which take less memory than others. */
  due = 0
  /** How often it may still be given more time because of a stall. */
  graces = maxGraces
  previous: Timer | undefined = undefined
  next: Timer | undefined = undefined

  abstract onDue(): void

  stop(): void {
    this.place?.remove(this)
  }
}

interface Place {
  readonly remove: (timer: Timer) => void
}

/** Timeouts of one duration that wait, the next one that is due first. */
export class Lane implements Place {
  private readonly coarse: CoarseTimer
  /** The duration, rounded up. */
  readonly millis: number
  readonly keepsAlive: boolean
  /** How much later than it is due a timeout may fire, so that it fires together with others. */
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
  /** The lanes by their duration, negative for those that do not keep the process alive. */
  private readonly known = new Map<number, Lane>()
  private armed: Handle | undefined = undefined
  private armedFor = Infinity
  private waits = 0
  /** The number of waiting timeouts that keep the process alive. */
  private holding = 0

  constructor(platform: Platform) {
    this.platform = platform
  }

  /** The number of timeouts that wait. */
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
    // Both `due` and the time for which the timer is armed are rounded up to whole milliseconds.
    const made = new Lane(this, rounded, keepsAlive, late / 2 - 2)
    this.known.set(key, made)
    this.lanes.push(made)
    // Of timeouts that fire together the shorter one, which is often inside of the longer one, fires first.
    this.lanes.sort((a, b) => a.millis - b.millis)
    return made
  }

  add(timer: Timer, lane: Lane, now = this.platform.now()): void {
    const due = Math.ceil(now + lane.millis)
    timer.place = lane
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
    timer.place = timer.previous = timer.next = undefined
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
    // A timeout that is started meanwhile does not arm the timer.
    this.armedFor = Number.NEGATIVE_INFINITY
    try {
      for (const lane of this.lanes) this.fire(lane, now, stalled)
    } finally {
      // Also if an `onDue` throws: the others fire later.
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
const { navigator, process } = globalThis as Global

/** Runs a function outside of the asynchronous context of any call: the shared timer must not hold on to one. */
const outside = process?.getBuiltinModule?.("node:async_hooks")?.AsyncLocalStorage?.snapshot?.()

const setShared = (run: () => void, millis: number): Handle =>
  (outside === undefined ? realSetTimeout(run, millis) : outside(realSetTimeout, run, millis)) as unknown as Handle

const coarse = new CoarseTimer({
  now: realMillis,
  setTimeout: setShared,
  clearTimeout: (handle) => realClearTimeout(handle as unknown as Parameters<typeof clearTimeout>[0]),
  hasStalled: (late) => {
    const now = processLoop.now()
    return processLoop.noteTimer(now - late, now)
  }
})

/** The shared timer of this process, for tests. */
export const ofProcess: Pick<CoarseTimer, "isArmed" | "waiting"> = coarse

let sharable: boolean | undefined

const canShare = (): boolean => {
  if (sharable !== undefined) return sharable
  const timer: unknown = realSetTimeout(() => {}, 0)
  realClearTimeout(timer as Parameters<typeof clearTimeout>[0])
  const canUnref = typeof timer === "object" && timer !== null && "ref" in timer && "unref" in timer
  // Cloudflare Workers have such timers, but end those of a request with that request.
  sharable = canUnref && navigator?.userAgent !== "Cloudflare-Workers"
  return sharable
}

/** A timeout that does not share its timer. */
class OwnTimer implements Place {
  private readonly millis: number
  private readonly keepsAlive: boolean
  /** The `setTimeout` that was in use when it was started. */
  private readonly set = globalThis.setTimeout
  private handle: unknown

  constructor(timer: Timer, millis: number, keepsAlive: boolean) {
    this.millis = millis
    this.keepsAlive = keepsAlive
    timer.place = this
    timer.due = processLoop.now() + millis
    this.arm(timer, millis)
  }

  private arm(timer: Timer, millis: number): void {
    const now = Math.min(millis, longestDelayMillis)
    const { set } = this
    this.handle = set(() => {
      if (timer.place !== this) return
      if (now < millis) this.arm(timer, millis - now)
      else this.fire(timer)
    }, now)
    if (!this.keepsAlive && typeof this.handle === "object" && this.handle !== null && "unref" in this.handle) {
      ;(this.handle as Handle).unref()
    }
  }

  private fire(timer: Timer): void {
    timer.place = undefined
    if (processLoop.noteTimer(timer.due, processLoop.now()) && timer.graces > 0) {
      timer.graces--
      new OwnTimer(timer, Math.min(this.millis, graceMillis), this.keepsAlive)
    } else timer.onDue()
  }

  remove(timer: Timer): void {
    timer.place = undefined
    // Fake timers must not be given a timer that they have not made.
    if (globalThis.setTimeout === this.set) clearTimeout(this.handle as Parameters<typeof clearTimeout>[0])
  }
}

/** How long timeouts wait. Make one `Delay` for all timeouts of the same duration. */
export class Delay {
  readonly millis: number
  readonly keepsAlive: boolean
  private lane: Lane | undefined = undefined

  /** `keepsAlive`: whether a timeout that waits keeps the process alive, as `setTimeout` does. */
  constructor(millis: number, keepsAlive = true) {
    this.millis = millis
    this.keepsAlive = keepsAlive
  }

  /** Starts a timeout that does not wait. `Infinity` never ends. `since` is the time from which it counts; default: now. */
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

/** A timeout that calls a function. */
export class CallbackTimer extends Timer {
  readonly onDue: () => void

  constructor(onDue: () => void) {
    super()
    this.onDue = onDue
  }
}

/** Calls `onDue` after `millis`, unless the timeout is stopped before. */
export const start = (millis: number, onDue: () => void, keepsAlive = true): Timer => {
  const timer = new CallbackTimer(onDue)
  new Delay(millis, keepsAlive).start(timer)
  return timer
}

export const stop = (timer: Timer): void => timer.stop()
