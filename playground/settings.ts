/** Defines the settings of the playground. A user sets the simulated world, and the policies to compare. */
import { areEqual, choice, count, defaultsOf, flag, number, type Values } from "./fields.ts"

const upTo = (most: number, step = 1, from = step): ReadonlyArray<number> =>
  Array.from({ length: Math.floor((most - from) / step + 1e-9) + 1 }, (_, i) => Number((from + i * step).toFixed(6)))

export const percent = (share: number): string => `${Number((share * 100).toFixed(1))} %`
export const millis = (value: number): string =>
  value >= 1_000 ? `${Number((value / 1_000).toFixed(2))} s` : `${Math.round(value)} ms`
const seconds = (value: number): string => `${value} s`
const times = (value: number): string => `${value} times`
const perSecond = (value: number): string => `${value} / s`

const shares = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]

/** Describes the traffic, the server and the fault. `service` is in milliseconds. Other durations are in seconds. */
export const worldFields = {
  rate: count("Calls per second", 100, [1, 2, 5, ...upTo(200, 10)], perSecond),
  errors: number(
    "Calls that fail on a good day",
    0,
    [0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5],
    percent
  ),
  service: number(
    "Time the server needs for a call",
    37.5,
    [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100, 120, 150, 200, 250, 300, 400, 500, 700, 1_000],
    millis
  ),
  workers: count("Calls the server works on at once", 6, upTo(60)),
  fault: choice("What goes wrong", "brownout", {
    none: "nothing",
    outage: "outage: calls fail",
    brownout: "brownout: workers are lost",
    gradual: "workers are lost one by one",
    oscillating: "workers are lost for 5 s, every 10 s",
    slow: "every call takes longer",
    freeze: "freeze: no progress at all",
    quota: "quota: refusals with status 429"
  }),
  severity: number("How bad", 0.6875, [...shares, 1], percent),
  answer: choice("Failing calls get", "hang", {
    error: "an error at once",
    unavailable: "status 503 at once",
    hang: "no answer"
  }),
  at: count("It begins after", 20, [0, ...upTo(100, 5)], seconds),
  lasts: count("It lasts", 60, [...upTo(10), ...upTo(100, 5, 15)], seconds),
  cold: number("Speed right after it, with empty caches", 1, upTo(1, 0.1), percent),
  surge: count("Calls in the 5 s after it", 1, upTo(8), (n) => (n === 1 ? "as before" : times(n))),
  processes: count("Processes that call", 3, upTo(20)),
  replicas: count("Servers", 1, upTo(10)),
  affected: count("Servers with the fault", 0, [0, ...upTo(10)], (n) => (n === 0 ? "all" : String(n))),
  shards: flag("Each server has its own data", false, "A call can go to one server only."),
  lengthOf: count("Length of the simulation", 120, upTo(120, 30), seconds),
  seed: count("Seed of the random numbers", 1, upTo(50))
}

/** Describes one policy. `slowCall` and `timeout` are in milliseconds. Other durations are in seconds. */
export const policyFields = {
  kind: choice("Protection", "breaker", { none: "no breaker", breaker: "breaker" }),
  trip: choice("It opens after", "either", {
    either: "failures in a row, or a failure rate",
    consecutive: "failures in a row",
    rate: "a failure rate",
    slow: "a rate of slow calls"
  }),
  failures: count("Failures in a row", 5, [...upTo(20), 25, 30, 40, 50]),
  threshold: number("Rate that opens it", 0.5, [...shares, 1], percent),
  minimumCalls: count("Minimum number of calls", 20, [1, 2, 3, 5, 10, 15, 20, 30, 50, 75, 100, 150, 200]),
  window: count("Window of the rate", 10, [1, 2, 3, 5, 10, 15, 20, 30, 60, 120], seconds),
  slowCall: count(
    "A call is slow after",
    2_000,
    [50, 100, 150, 200, 250, 300, 400, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000],
    millis
  ),
  cooldown: count("It stays open for", 30, [...upTo(10), 15, 20, 25, 30, 40, 50, 60, 90, 120], seconds),
  factor: number("Each further opening lasts", 1, [1, 1.5, 2, 3, 4], (n) => (n === 1 ? "the same time" : times(n))),
  probes: count("Probes at once while half-open", 1, upTo(10)),
  successesToClose: count("Successful probes that close it", 1, upTo(20)),
  failuresToReopen: count("Failed probes that open it again", 1, upTo(20)),
  limit: flag("Adaptive limit", false, "Admits as many calls at once as the server can still answer."),
  ramp: count("Ramp after it closes", 0, [0, 1, 2, 3, 5, 10, 15, 20, 30, 60], (n) => (n === 0 ? "none" : seconds(n))),
  circuits: choice("Circuits", "name", {
    name: "one for all servers",
    replica: "one for each server",
    roundRobin: "a pool that takes servers in turn",
    fastest: "a pool that prefers fast servers"
  }),
  bulkhead: count("Bulkhead of each process", 0, [0, ...upTo(20), 25, 30, 40, 50, 75, 100], (n) =>
    n === 0 ? "none" : `${n} calls`
  ),
  timeout: count(
    "Callers wait for an answer",
    1_000,
    [50, 100, 150, 200, 250, 300, 400, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000],
    millis
  ),
  attempts: count("Attempts of each call", 1, upTo(4))
}

export type World = Values<typeof worldFields>
export type Policy = Values<typeof policyFields>

export interface Settings {
  readonly world: World
  readonly policies: ReadonlyArray<Policy>
}

export const mostPolicies = 4

export const usualWorld: World = defaultsOf(worldFields)
export const usualPolicy: Policy = defaultsOf(policyFields)

/** Returns the default cooldown of the library in seconds. */
export const usualCooldown = (limit: boolean): number => (limit ? 5 : 30)

export const presets: Readonly<Record<string, Partial<Policy>>> = {
  "no breaker": { kind: "none" },
  "default breaker": {},
  "breaker with limit": { limit: true, cooldown: usualCooldown(true) },
  "breaker with ramp": { cooldown: 5, ramp: 10 },
  "hasty breaker": { trip: "consecutive", failures: 1, cooldown: 5 },
  "late breaker": { trip: "rate", minimumCalls: 200, window: 60 },
  "breaker for each server": { circuits: "replica", limit: true, cooldown: usualCooldown(true) },
  "pool, fastest server": { circuits: "fastest" },
  "bulkhead of 4, no breaker": { kind: "none", bulkhead: 4 }
}

/** These fields describe callers. A preset does not change these fields. */
const ofCallers = ["timeout", "attempts"] as const

export const withPreset = (policy: Policy, name: string): Policy => ({
  ...usualPolicy,
  ...presets[name],
  ...Object.fromEntries(ofCallers.map((field) => [field, policy[field]]))
})

/** Finds the preset with exactly these values. */
export const presetOf = (policy: Policy): string | undefined =>
  Object.keys(presets).find((name) => areEqual(policyFields, policy, withPreset(policy, name)))

export const initial: Settings = {
  world: usualWorld,
  policies: ["no breaker", "breaker with limit"].map((name) => withPreset(usualPolicy, name))
}
