import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import { PreventSchedulerYield, Scheduler } from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import * as BreakerStore from "../breaker/BreakerStore.ts"
import * as CircuitBreaker from "../breaker/CircuitBreaker.ts"
import type * as Circuit from "../core/Circuit.ts"
import * as Bulkhead from "../resilience/Bulkhead.ts"
import * as CircuitPool from "../resilience/CircuitPool.ts"
import { isRejection } from "../shapes/rejections.ts"
import { type Job, possible, Replica, type ServerAnswer, type ServerModel, type Work } from "./server.ts"
import { chances } from "./trace.ts"
import { Timeline, VirtualClock } from "./virtualTime.ts"

/** The callers as the simulation uses them; durations in milliseconds. */
export interface CallersModel {
  /** Calls per second of all processes together, at a time. */
  readonly rateAt: (time: number) => number
  readonly processes: number
  readonly timeout: number
  readonly attempts: number
  readonly backoff: number
  /** After this time without an answer, a caller sends the call a second time. */
  readonly hedge: number
}

/** How a process protects its calls. */
export interface ProtectionModel {
  /** Whether there is a policy for {@link circuitName}. */
  readonly breaker: boolean
  /** `name`: one circuit. `replica`: a circuit for each replica. A pool always has a circuit for each replica. */
  readonly circuits: "name" | "replica"
  readonly choose: NonNullable<CircuitPool.Options<object>["choose"]> | undefined
  readonly bulkhead: number
}

export interface PlayModel {
  readonly server: ServerModel
  readonly callers: CallersModel
  readonly protection: ProtectionModel
  /** Whether the data of a call is on one replica. Otherwise the replicas answer in turn. */
  readonly shards: boolean
  readonly millis: number
  readonly seed: number
}

/** The name of the circuit, and of its policy. */
export const circuitName = "dependency"

/**
 * Counts of calls in one second of a run. `sent` counts attempts, and `limited` counts circuits.
 *
 * @category models
 */
export interface PlayedSecond {
  /** Calls that began. */
  offered: number
  /** Calls that were answered in time. */
  answered: number
  /** Answered calls that took more than a quarter of the timeout. */
  slow: number
  /** Calls that failed or timed out. */
  failed: number
  rejected: number
  /** Calls that were rejected while a worker of the server was free. */
  rejectedIdle: number
  /** Attempts that reached the server. */
  sent: number
  /** How many calls the server could have answered. */
  possible: number
  /** Closed circuits whose limit is in force, in the middle of the second. */
  limited: number
}

/**
 * A transition of one circuit in one process.
 *
 * @category models
 */
export interface CircuitMove {
  /** Milliseconds from the start of the run. */
  readonly at: number
  /** The number of the process, from 0. */
  readonly process: number
  readonly key: string | undefined
  readonly to: Circuit.State
}

export interface PlayedServer {
  readonly seconds: ReadonlyArray<PlayedSecond>
  /** When each answered call ended, and how long it took; milliseconds. */
  readonly latencies: ReadonlyArray<{ readonly at: number; readonly millis: number }>
  /** How many calls of each process were answered, in each second. */
  readonly byProcess: ReadonlyArray<ReadonlyArray<number>>
  readonly work: Readonly<Work>
  readonly moves: ReadonlyArray<CircuitMove>
  /** The number of circuits in all processes. */
  readonly circuits: number
}

/** An error of the server, without a status. */
class ServerError extends Error {
  override readonly name = "ServerError"
}

/** The refusal of a server as an error of Effect's `HttpClient`, which circuits can read. */
class StatusError extends Error {
  override readonly name = "HttpClientError"
  readonly "~effect/http/HttpClientError" = "~effect/http/HttpClientError"
  readonly reason: { readonly _tag: "StatusCodeError"; readonly response: unknown }
  readonly response: unknown

  constructor(status: number, retryAfter: number | undefined) {
    super(`HTTP ${status}`)
    this.response = {
      "~effect/http/HttpClientResponse": "~effect/http/HttpClientResponse",
      status,
      headers: retryAfter === undefined ? {} : { "retry-after": String(Math.ceil(retryAfter / 1_000)) }
    }
    this.reason = { _tag: "StatusCodeError", response: this.response }
  }
}

// All calls share these errors, because creating an error for each call is slow. The stacks are never read.
const withoutStack = <A>(make: () => A): A => {
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return make()
  } finally {
    Error.stackTraceLimit = before
  }
}
const succeeded = Effect.void
const timedOut = Effect.fail(withoutStack(() => new Cause.TimeoutError()))
const failed = Effect.fail(withoutStack(() => new ServerError("the server failed")))
const unavailable = Effect.fail(withoutStack(() => new StatusError(503, undefined)))

const toEffect = (answer: ServerAnswer): Effect.Effect<void, Error> => {
  switch (answer._tag) {
    case "Answered":
      return succeeded
    case "Failed":
      return failed
    case "Refused": {
      const { retryAfter, status } = answer
      if (status === 503 && retryAfter === undefined) return unavailable
      return Effect.fail(withoutStack(() => new StatusError(status, retryAfter)))
    }
  }
}

interface UserCall {
  readonly process: number
  readonly start: number
  /** The replica that has the data. */
  readonly shard: number
  left: number
  /** Attempts that have not ended. */
  running: number
  over: boolean
}

type Attempt = Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
/** `replica`: the choice of a pool. */
type Send = (replica?: number) => Attempt
type Wrap = (send: Send, shard: number) => Attempt

/** Creates the wrapper that protects each attempt in a process. */
const protect = ({ breaker, bulkhead, choose, circuits }: ProtectionModel, replicas: number): Wrap => {
  const keys = Array.from({ length: replicas }, (_, i) => String(i))
  const guarded = (): Wrap => {
    if (choose !== undefined) {
      const pool = CircuitPool.make(circuitName, { members: keys, choose })
      return (send) => CircuitPool.call(pool, (key) => send(Number(key)))
    }
    if (!breaker) return (send) => send()
    const guards = keys.map((key) => CircuitBreaker.protect(circuitName, circuits === "replica" ? { key } : {}))
    return (send, shard) => (guards[shard] as (typeof guards)[number])(send())
  }
  const wrap = guarded()
  if (bulkhead === Infinity) return wrap
  const slots = Bulkhead.makeUnsafe({ concurrency: bulkhead })
  return (send, shard) => Bulkhead.limit(wrap(send, shard), slots)
}

/** Plays the callers against the server, with the real engine in virtual time. */
export const playServer = (model: PlayModel): Effect.Effect<PlayedServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { callers, millis, protection, seed, server, shards } = model
    const timeline = new Timeline()
    const clock = new VirtualClock(timeline)
    // Arrivals use separate random numbers, so that the calls are the same under every protection.
    const [arrival, chance] = [chances(seed), chances(seed ^ 0x5eed5eed)]
    const work: Work = { done: 0, wasted: 0 }
    const replicas = Array.from({ length: server.replicas }, (_, i) => new Replica(timeline, server, i, chance, work))
    const moves: Array<CircuitMove> = []
    const notClosed = new Set<string>()
    const limited = new Set<string>()
    const seconds = Array.from(
      { length: Math.ceil(millis / 1_000) },
      (): PlayedSecond => ({
        offered: 0,
        answered: 0,
        slow: 0,
        failed: 0,
        rejected: 0,
        rejectedIdle: 0,
        sent: 0,
        possible: 0,
        limited: 0
      })
    )
    const byProcess = Array.from({ length: callers.processes }, () => seconds.map(() => 0))
    const latencies: Array<{ readonly at: number; readonly millis: number }> = []
    const secondNow = (): number => Math.min(seconds.length - 1, Math.floor(timeline.now / 1_000))
    const second = (): PlayedSecond => seconds[secondNow()] as PlayedSecond
    const processes: Array<{
      readonly wrap: Wrap
      readonly fork: (attempt: Attempt) => Fiber.Fiber<unknown, unknown>
    }> = []
    // A fiber that yielded here would wait for the timeline, which does not run yet.
    const scheduled = Context.make(Scheduler, timeline.scheduler).pipe(Context.add(PreventSchedulerYield, true))

    for (let process = 0; process < callers.processes; process++) {
      const its = `${seed}/${process}`
      const built = yield* Layer.build(Layer.fresh(Layer.merge(BreakerStore.layerMemory, Logger.layer([])))).pipe(
        Effect.provideService(Clock.Clock, clock),
        Effect.provideContext(scheduled),
        Random.withSeed(its)
      )
      const context = Context.merge(
        Context.merge(yield* Random.withSeed(Effect.context<never>(), its), scheduled),
        Context.add(built, Clock.Clock, clock)
      )
      Context.get(built, BreakerStore.BreakerStore).runtime.observers.add((event) => {
        const circuit = `${process}/${event.key ?? ""}`
        if (event._tag === "Transition") {
          moves.push({ at: event.at, process, key: event.key, to: event.to })
          if (event.to === "Closed") notClosed.delete(circuit)
          else notClosed.add(circuit)
        } else if (event._tag === "LimitBegan") limited.add(circuit)
        else if (event._tag === "LimitEnded") limited.delete(circuit)
      })
      processes.push({ wrap: protect(protection, server.replicas), fork: Effect.runForkWith(context) })
    }

    let turn = 0
    const send = (request: UserCall, chosen: number | undefined): Attempt =>
      Effect.callback<void, Error>((resume) => {
        second().sent++
        const end = (effect: Effect.Effect<void, Error>): void => {
          job.over = true
          timeline.cancel(timeout)
          resume(effect)
        }
        const job: Job = { over: false, answer: (answer) => end(toEffect(answer)) }
        const timeout = timeline.at(timeline.now + callers.timeout, () => end(timedOut))
        const replica = chosen ?? (shards ? request.shard : turn++ % replicas.length)
        timeline.at(timeline.now + 1, () => (replicas[replica] as Replica).arrive(job))
        return Effect.sync(() => {
          job.over = true
          timeline.cancel(timeout)
        })
      })

    const attempt = (request: UserCall): void => {
      const { fork, wrap } = processes[request.process] as (typeof processes)[number]
      request.running++
      const fiber = fork(wrap((chosen) => send(request, chosen), request.shard))
      fiber.addObserver((exit) => ended(request, exit))
    }
    const isIdle = (request: UserCall): boolean =>
      shards ? (replicas[request.shard] as Replica).isIdle : replicas.some((replica) => replica.isIdle)

    const ended = (request: UserCall, exit: Exit.Exit<unknown, unknown>): void => {
      request.running--
      if (request.over) return
      const { now } = timeline
      if (exit._tag === "Success") {
        request.over = true
        second().answered++
        if (now - request.start > callers.timeout / 4) second().slow++
        const own = byProcess[request.process] as Array<number>
        const index = secondNow()
        own[index] = (own[index] ?? 0) + 1
        latencies.push({ at: now, millis: now - request.start })
        return
      }
      const rejected = exit.cause.reasons.some((reason) => reason._tag === "Fail" && isRejection(reason.error))
      if (!rejected && request.left > 0) {
        request.left--
        const done = callers.attempts - 1 - request.left
        const wait = callers.backoff * 2 ** (done - 1) * (0.8 + 0.4 * chance())
        timeline.at(now + wait, () => attempt(request))
        return
      }
      if (request.running > 0) return
      request.over = true
      if (!rejected) second().failed++
      else {
        second().rejected++
        if (isIdle(request)) second().rejectedIdle++
      }
    }

    const arrive = (): void => {
      const { now } = timeline
      if (now >= millis) return
      second().offered++
      const process = Math.floor(arrival() * callers.processes)
      const shard = shards ? Math.floor(arrival() * replicas.length) : 0
      const request: UserCall = { process, start: now, shard, left: callers.attempts - 1, running: 0, over: false }
      attempt(request)
      if (callers.hedge < Infinity) {
        timeline.at(now + callers.hedge, () => {
          if (!request.over && request.running === 1) attempt(request)
        })
      }
      timeline.at(now - (Math.log(1 - arrival()) * 1_000) / callers.rateAt(now), arrive)
    }
    // When workers return after a fault, they take calls from the queue at the next tick.
    const tick = (): void => {
      for (const replica of replicas) replica.next()
      if (timeline.now % 1_000 === 500) {
        second().limited = [...limited].filter((circuit) => !notClosed.has(circuit)).length
      }
      if (timeline.now < millis) timeline.at(timeline.now + 100, tick)
    }
    timeline.at(0, arrive)
    timeline.at(0, tick)
    timeline.runUntil(millis)
    seconds.forEach((one, i) => {
      one.possible = possible(replicas, i * 1_000 + 500, one.offered, protection.choose !== undefined)
    })
    const { breaker, choose, circuits } = protection
    const perProcess = choose !== undefined || (breaker && circuits === "replica") ? replicas.length : breaker ? 1 : 0
    return { seconds, latencies, byProcess, work, moves, circuits: callers.processes * perProcess }
  })
