import type { Callers, Fault, Protection, SimulatedServer } from "./playOptions.ts"
import type { ScenarioName } from "./scenarioNames.ts"

/**
 * A server with a fault, its callers, and the protections to compare.
 *
 * @category scenarios
 */
export interface Scenario {
  readonly name: ScenarioName
  /** What happens, in one line. */
  readonly title: string
  readonly server: SimulatedServer
  readonly callers: Callers
  /** The length of the run in milliseconds. */
  readonly for: number
  /** The figures cover this period of the run. */
  readonly window: { readonly at: number; readonly for: number }
  /** The protections to compare, by their names. */
  readonly protections: Readonly<Record<string, Protection>>
}

const second = 1_000
/** Calls per second of all processes. */
const rate = 200
const processes = 3
/** The capacity of the healthy server, as a multiple of the rate. */
const headroom = 1.6
const workers = 13
const service = (workers * second) / (headroom * rate)

const callers: Callers = { rate, processes }
const server: SimulatedServer = { workers, service }
const during = { at: 20 * second, for: 60 * second }
/** With this share of its workers, the server can answer `share` of the calls. */
const left = (share: number): number => share / headroom

/** The right size of a bulkhead: twice the workers per process. A bulkhead of 50 is a typical guess. */
const slots = Math.ceil((2 * workers) / processes)

const limit = { "breaker with limit": { policy: { limit: true } } } satisfies Record<string, Protection>

const usual = {
  "no protection": {},
  breaker: { policy: {} },
  "breaker with ramp": { policy: { cooldown: "5 seconds", ramp: "10 seconds" } },
  [`bulkhead of ${slots}`]: { bulkhead: slots },
  "bulkhead of 50": { bulkhead: 50 }
} satisfies Record<string, Protection>

const withFaults = (...faults: ReadonlyArray<Fault>): SimulatedServer => ({ ...server, faults })

/** An outage of 20 seconds, in which the server answers nothing. */
const outage = { at: 20 * second, for: 20 * second, failing: 1, how: "hang" } satisfies Fault
const afterOutage = { at: 40 * second, for: 30 * second }

type ScenarioParts = Omit<Scenario, "name" | "for" | "window" | "protections"> &
  Partial<Pick<Scenario, "for" | "window" | "protections">>

const described: Readonly<Record<ScenarioName, ScenarioParts>> = {
  healthy: { title: "Nothing is wrong: the server could answer 1.6 times the calls", server, callers },
  brownout: {
    title: "The server loses workers: it can answer half of the calls for a minute",
    server: withFaults({ ...during, capacity: left(0.5) }),
    callers
  },
  gradual: {
    title: "The server loses 90 % of its workers, one after the other, in a minute",
    server: withFaults({ ...during, capacity: [1, 0.1] }),
    callers
  },
  oscillating: {
    title: "Every ten seconds the server loses three quarters of its workers for five seconds",
    server: withFaults(...[20, 30, 40, 50, 60, 70].map((at) => ({ at: at * second, for: 5 * second, capacity: 0.25 }))),
    callers
  },
  "retry-storm": {
    title: "The server freezes for eight seconds, and callers try each call three times",
    server: withFaults({ at: 20 * second, for: 8 * second, frozen: true }),
    callers: { ...callers, attempts: 3 },
    window: { at: 30 * second, for: 50 * second }
  },
  herd: {
    title: "After an outage, all callers return at once: six times the calls for five seconds",
    server: withFaults(outage),
    callers: { ...callers, processes: 20, attempts: 3, changes: [{ at: 40 * second, for: 5 * second, times: 6 }] },
    window: afterOutage,
    for: 90 * second
  },
  "cold-cache": {
    title: "After an outage the caches are empty: calls take five times as long until they are filled",
    server: withFaults({ ...outage, cold: 0.2, warmUp: 10 * rate }),
    callers,
    window: afterOutage,
    for: 90 * second
  },
  quota: {
    title: "The server accepts half of the calls, and refuses the others with status 429",
    server: withFaults({ ...during, quota: rate / 2 }),
    callers
  },
  "limping-replica": {
    title: "One of three replicas is ten times slower, but hardly any of its calls fail",
    server: {
      workers: 40,
      service: 40,
      replicas: 3,
      faults: [{ ...during, replicas: [0], speed: 0.1 }]
    },
    callers,
    protections: {
      ...usual,
      "pool, replicas in turn": { policy: {}, choose: "roundRobin" },
      "pool, fastest replica": { policy: {}, choose: "fastest" }
    }
  },
  shards: {
    title: "Six of ten shards answer nothing",
    server: {
      workers: 2,
      service: (10 * 2 * second) / (headroom * rate),
      replicas: 10,
      shards: true,
      faults: [{ ...during, replicas: [0, 1, 2, 3, 4, 5], failing: 1, how: "hang" }]
    },
    callers,
    protections: { ...usual, "breaker for each shard": { policy: { limit: true }, circuits: "replica" } }
  }
}

/**
 * Returns a scenario by its name. Its fields are options of `play`.
 *
 * @category scenarios
 */
export const scenario = (name: ScenarioName): Scenario => ({
  window: during,
  for: 120 * second,
  protections: { ...usual, ...limit },
  ...described[name],
  name
})
