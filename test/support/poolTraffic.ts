import { Clock, Effect, Exit, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerPolicy, BreakerStore, CircuitPool } from "effect-fuse"

/** `slow` returns a factor for the duration of calls. `fails` returns the share of failures. Both get the second when a call begins. */
export interface Replica {
  readonly slow?: (seconds: number) => number
  readonly fails?: (seconds: number) => number
  /** How long a failure takes, in milliseconds. Default: as long as an answer. */
  readonly failsAfter?: number
}

export interface Traffic {
  readonly replicas: Readonly<Record<string, Replica>>
  readonly choose?: CircuitPool.Choice
  readonly weights?: Readonly<Record<string, number>>
  readonly policy?: BreakerPolicy.Input
  /** Calls per second. They arrive at random. */
  readonly rate: number
  readonly seconds: number
  readonly seed: string
  /** The mean duration of a call of a healthy replica, in milliseconds. Durations are exponentially distributed. */
  readonly usual?: number
  /** Calls that a replica serves at once. The others wait. Default: no limit. */
  readonly servers?: number
  /** Wraps each call, for example in a hedge. */
  readonly around?: (call: Effect.Effect<string, unknown, BreakerStore.BreakerStore>) => typeof call
}

export interface Answered {
  /** When the call began, in seconds. */
  readonly at: number
  readonly took: number
  /** The member that answered; `undefined` if the call failed. */
  readonly member: string | undefined
}

export interface Report {
  readonly calls: ReadonlyArray<Answered>
  /** The calls that reached a member, including failed calls and copies. */
  readonly reached: ReadonlyArray<{ readonly at: number; readonly member: string }>
  readonly members: ReadonlyArray<CircuitPool.MemberInspection>
}

const seconds = Effect.map(Clock.currentTimeMillis, (millis) => millis / 1_000)

/** Plays calls of a pool in virtual time. `watch` runs every second. */
export const play = (
  traffic: Traffic,
  watch?: (second: number, members: ReadonlyArray<CircuitPool.MemberInspection>) => void
): Effect.Effect<Report> =>
  Effect.gen(function* () {
    const {
      around = (call) => call,
      choose = "fastest",
      policy,
      rate,
      replicas,
      servers,
      usual = 20,
      weights
    } = traffic
    const pool = CircuitPool.make("replicas", {
      members: Object.keys(replicas),
      choose,
      ...(weights && { weights }),
      ...(policy && { policy })
    })
    const freeAt = new Map<string, Array<number>>()
    const reached: Array<{ readonly at: number; readonly member: string }> = []
    const answer = Effect.fnUntraced(function* (member: string) {
      const at = yield* seconds
      reached.push({ at, member })
      const { fails, failsAfter, slow } = replicas[member] ?? {}
      const failed = fails !== undefined && (yield* Random.next) < fails(at)
      const served = -Math.log(1 - (yield* Random.next)) * usual * (slow?.(at) ?? 1)
      const takes = failed && failsAfter !== undefined ? failsAfter : served
      let wait = 0
      if (servers !== undefined) {
        const slots = freeAt.get(member) ?? Array.from({ length: servers }, () => 0)
        freeAt.set(member, slots)
        const slot = slots.indexOf(Math.min(...slots))
        wait = Math.max(0, Number(slots[slot]) - at * 1_000)
        slots[slot] = at * 1_000 + wait + takes
      }
      yield* Effect.sleep(wait + takes)
      return failed ? yield* Effect.fail("failed") : member
    })
    const call = around(CircuitPool.call(pool, answer))
    const calls: Array<Answered> = []
    const timed = Effect.gen(function* () {
      const at = yield* seconds
      const exit = yield* Effect.exit(call)
      const member = Exit.isSuccess(exit) ? exit.value : undefined
      calls.push({ at, took: ((yield* seconds) - at) * 1_000, member })
    })
    const load = Effect.gen(function* () {
      let watched = 0
      for (;;) {
        const at = yield* seconds
        if (at >= traffic.seconds) return
        if (at >= watched) watch?.(watched++, yield* CircuitPool.inspect(pool))
        yield* Effect.forkChild(timed)
        yield* Effect.sleep((-Math.log(1 - (yield* Random.next)) * 1_000) / rate)
      }
    })
    const fiber = yield* Effect.forkChild(load)
    for (let i = 0; i < traffic.seconds + 30; i++) yield* TestClock.adjust("1 second")
    yield* Fiber.join(fiber)
    return { calls, reached, members: yield* CircuitPool.inspect(pool) }
  }).pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(TestClock.layer()),
    Random.withSeed(traffic.seed)
  ) as Effect.Effect<Report>

/** A quantile of the durations of calls, in milliseconds. */
export const quantile = (q: number, calls: ReadonlyArray<Answered>): number => {
  const sorted = calls.map(({ took }) => took).sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

/** The share of the calls that a member received, from 0 to 1. */
export const share = (member: string, { reached }: Report, from = 0, until = Infinity): number => {
  const within = reached.filter(({ at }) => at >= from && at < until)
  return within.filter((one) => one.member === member).length / within.length
}
