import type * as Duration from "effect/Duration"
import {
  anyMillis,
  count,
  countOrZero,
  type Decoded,
  decodeOptions,
  type FieldsOf,
  field,
  flag,
  isRecord,
  listOf,
  numberWhere,
  optional,
  positiveMillis,
  refused,
  share,
  shareOrZero,
  struct,
  word
} from "../core/fields.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import * as CircuitPool from "../resilience/CircuitPool.ts"
import { callRate, checkCallCount, seedField } from "./fields.ts"
import { circuitName, type PlayModel } from "./playServer.ts"
import type { ServerFault } from "./server.ts"

/**
 * A fault of the server.
 *
 * @category options
 */
export interface Fault {
  /** When the fault begins. */
  readonly at: Duration.Input
  readonly for: Duration.Input
  /** The replicas with the fault, counted from 0. Default: all. */
  readonly replicas?: ReadonlyArray<number> | undefined
  /** The share of workers that are left. Two shares: it changes evenly from the first to the second. Default: 1. */
  readonly capacity?: number | readonly [start: number, end: number] | undefined
  /** How fast the workers are: 0.1 means that each call takes ten times as long. Default: 1. */
  readonly speed?: number | undefined
  /** Delays each answer. No worker is busy during this time. Default: 0. */
  readonly latency?: Duration.Input | undefined
  /** The share of calls that fail without any work. Default: 0. */
  readonly failing?: number | undefined
  /** How these calls fail: with an error (the default), with the status 503 (`unavailable`), or without any answer (`hang`). */
  readonly how?: "error" | "unavailable" | "hang" | undefined
  /** Calls per second that each replica accepts. Further calls get the status 429 with `Retry-After: 1`. Default: no quota. */
  readonly quota?: number | undefined
  /** Whether the workers make no progress, as in a long garbage collection. Default: false. */
  readonly frozen?: boolean | undefined
  /** The speed right after the fault, when the caches are empty. It rises to 1 within `warmUp` calls. Default: 1. */
  readonly cold?: number | undefined
  /** The number of calls after which the caches of a replica are full. Default: 1,000. */
  readonly warmUp?: number | undefined
}

/**
 * The server that calls go to.
 *
 * @category options
 */
export interface SimulatedServer {
  /** How many calls each replica works on at once. Further calls wait in its queue. */
  readonly workers: number
  /** How long a worker needs for a call, on average. */
  readonly service: Duration.Input
  /**
   * How much `service` varies: the sigma of a log-normal distribution. Default: 0.5. With 0.5, 5 of 100 calls take twice the average or
   * longer.
   */
  readonly spread?: number | undefined
  /** The length of the queue of each replica. Further calls get the status 503. Default: unbounded. */
  readonly queue?: number | undefined
  /**
   * Whether workers also work for callers that have given up. Otherwise their calls are taken out of the queue. Default: true, as most
   * servers do.
   */
  readonly finishes?: boolean | undefined
  /** How many replicas the server has. They get calls in turn. Default: 1. */
  readonly replicas?: number | undefined
  /** Whether each replica has other data, so that a call can go to one of them only. Default: false. */
  readonly shards?: boolean | undefined
  /** The share of calls that fail at any time. Default: 0. */
  readonly errors?: number | undefined
  readonly faults?: ReadonlyArray<Fault> | undefined
}

/**
 * The processes that call the server.
 *
 * @category options
 */
export interface Callers {
  /** Calls per second of all processes together, at random times. */
  readonly rate: number
  /** How many processes call. Each has circuits of its own. Default: 1. */
  readonly processes?: number | undefined
  /** How long a caller waits for an answer. Default: 1 second. */
  readonly timeout?: Duration.Input | undefined
  /** How often a call is tried in all. Rejected calls are not tried again. Default: 1. */
  readonly attempts?: number | undefined
  /** The wait before the second attempt. It doubles, and is up to 20 % longer or shorter. Default: 100 milliseconds. */
  readonly backoff?: Duration.Input | undefined
  /** After this time without an answer, a caller sends the call once more and takes the first answer. Default: never. */
  readonly hedge?: Duration.Input | undefined
  /** In these periods, the rate is `rate` multiplied by `times`. With two factors, the rate changes evenly from the first to the second. */
  readonly changes?:
    | ReadonlyArray<{
        readonly at: Duration.Input
        readonly for: Duration.Input
        readonly times: number | readonly [start: number, end: number]
      }>
    | undefined
}

/**
 * Protects the calls in each process. Without fields, nothing protects the calls.
 *
 * @category options
 */
export interface Protection {
  /** A breaker with this policy; `{}` for the defaults. Default: no breaker. */
  readonly policy?: BreakerPolicy.Input | undefined
  /**
   * With `replica`, each replica has its own circuit. Otherwise, the server has one circuit. With `choose`, each replica always has its own
   * circuit.
   */
  readonly circuits?: "name" | "replica" | undefined
  /** How a `CircuitPool` of the replicas chooses the replica of each call. Not for shards. Default: no pool. */
  readonly choose?: CircuitPool.Options<object>["choose"]
  /** A bulkhead in each process admits this many concurrent calls. Default: no bulkhead. */
  readonly bulkhead?: number | undefined
}

/**
 * The options of `play`.
 *
 * @category options
 */
export interface PlayOptions extends Protection {
  readonly server: SimulatedServer
  readonly callers: Callers
  /** Default: 60 seconds. */
  readonly for?: Duration.Input | undefined
  /** The figures cover this period of the run. Default: the whole run. */
  readonly window?: { readonly at: Duration.Input; readonly for: Duration.Input } | undefined
  /** The seed of the random numbers: the same seed gives the same result. Default: 1. */
  readonly seed?: number | undefined
}

const positive = field(
  "a number above 0",
  numberWhere((n) => n > 0)
)
const zeroOrMore = field(
  "a number of 0 or more",
  numberWhere((n) => n >= 0)
)

/** Accepts one number, or two numbers for the start and the end of a period. */
const pair = (what: string, ok: (n: number) => boolean) =>
  field(`${what}, or a list of two`, (input): readonly [number, number] | undefined => {
    const [start, end, ...more] = Array.isArray(input) ? input : [input, input]
    const sound = typeof start === "number" && typeof end === "number" && more.length === 0 && ok(start) && ok(end)
    return sound ? [start, end] : undefined
  })

const faultFields = {
  at: anyMillis,
  for: positiveMillis,
  replicas: optional(listOf(countOrZero, 1)),
  capacity: optional(pair("a number above 0 and at most 1", (n) => n > 0 && n <= 1)),
  speed: optional(share),
  latency: optional(anyMillis),
  failing: optional(shareOrZero),
  how: optional(word("error", "unavailable", "hang")),
  quota: optional(positive),
  frozen: optional(flag),
  cold: optional(share),
  warmUp: optional(count)
} satisfies FieldsOf<Fault>

const serverFields = {
  workers: count,
  service: positiveMillis,
  spread: optional(zeroOrMore),
  queue: optional(countOrZero),
  finishes: optional(flag),
  replicas: optional(count),
  shards: optional(flag),
  errors: optional(shareOrZero),
  faults: optional(listOf(struct(faultFields)))
} satisfies FieldsOf<SimulatedServer>

const changeFields = { at: anyMillis, for: positiveMillis, times: pair("a number above 0", (n) => n > 0) }

const callerFields = {
  rate: callRate,
  processes: optional(count),
  timeout: optional(positiveMillis),
  attempts: optional(count),
  backoff: optional(anyMillis),
  hedge: optional(positiveMillis),
  changes: optional(listOf(struct(changeFields)))
} satisfies FieldsOf<Callers>

const policyField = field<BreakerPolicy.Input>("a policy", (input) =>
  isRecord(input) ? (input as BreakerPolicy.Input) : undefined
)

const playFields = {
  server: struct(serverFields),
  callers: struct(callerFields),
  for: optional(positiveMillis),
  window: optional(struct({ at: anyMillis, for: positiveMillis })),
  policy: optional(policyField),
  circuits: optional(word("name", "replica")),
  choose: optional(word("fastest", "leastBusy", "roundRobin", "inOrder")),
  bulkhead: optional(count),
  seed: optional(seedField)
} satisfies FieldsOf<PlayOptions>

const toFault = (fault: Decoded<typeof faultFields>): ServerFault => ({
  from: fault.at,
  until: fault.at + fault.for,
  replicas: fault.replicas,
  capacity: fault.capacity ?? [1, 1],
  speed: fault.speed ?? 1,
  latency: fault.latency ?? 0,
  failing: fault.failing ?? 0,
  how: fault.how ?? "error",
  quota: fault.quota ?? Infinity,
  frozen: fault.frozen ?? false,
  cold: fault.cold ?? 1,
  warmUp: fault.warmUp ?? 1_000
})

export interface DecodedPlay {
  readonly model: PlayModel
  readonly policy: BreakerPolicy.Input | undefined
  readonly window: { readonly from: number; readonly until: number }
}

/** Decodes the options of `play`. Throws a `RangeError` that names the invalid option. */
export const decodePlay = (operation: string, options: PlayOptions): DecodedPlay => {
  const decoded = decodeOptions(operation, playFields, options)
  const { bulkhead = Infinity, callers, choose, circuits = "name", for: millis = 60_000, seed = 1, server } = decoded
  const { changes = [], rate } = callers
  checkCallCount(operation, "callers.rate", rate, millis)
  // The pool checks its own option.
  if (choose !== undefined) CircuitPool.make(circuitName, { members: ["0"], choose })
  if (choose !== undefined && server.shards === true) {
    throw refused(
      operation,
      "choose",
      "expected nothing for a server with shards, because a call can go to one of them only"
    )
  }
  const rateAt = (time: number): number => {
    const change = changes.find(({ at, for: lasts }) => time >= at && time < at + lasts)
    if (change === undefined) return rate
    const [start, end] = change.times
    return rate * (start + ((end - start) * (time - change.at)) / change.for)
  }
  const { window = { at: 0, for: millis } } = decoded
  return {
    policy: decoded.policy,
    window: { from: Math.min(window.at, millis), until: Math.min(window.at + window.for, millis) },
    model: {
      millis,
      seed,
      shards: server.shards ?? false,
      server: {
        workers: server.workers,
        service: server.service,
        spread: server.spread ?? 0.5,
        queue: server.queue ?? Infinity,
        replicas: server.replicas ?? 1,
        errors: server.errors ?? 0,
        finishes: server.finishes ?? true,
        faults: (server.faults ?? []).map(toFault)
      },
      callers: {
        rateAt,
        processes: callers.processes ?? 1,
        timeout: callers.timeout ?? 1_000,
        attempts: callers.attempts ?? 1,
        backoff: callers.backoff ?? 100,
        hedge: callers.hedge ?? Infinity
      },
      protection: {
        breaker: decoded.policy !== undefined,
        circuits,
        choose,
        bulkhead
      }
    }
  }
}
