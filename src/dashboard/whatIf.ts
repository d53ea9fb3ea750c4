/**
 * Replays the recent traffic of a circuit under another policy, in the browser. The core decides, so the replay opens and closes as the
 * engine does. Pure.
 */
import * as Circuit from "../core/Circuit.ts"
import { LiveEvidence } from "../core/evidence.ts"
import * as Trip from "../core/Trip.ts"
import { passesAll, worst } from "../shapes/severity.ts"
import { chances } from "../simulator/trace.ts"
import type { HistoryView, TransitionView } from "./view.ts"

/** The fields of a policy that the page can change. All other fields have their defaults. */
export interface WhatIfPolicy {
  /** The circuit opens at this many failures in a row. */
  readonly inARow: number
  /** The circuit opens if at least this share of the calls within 10 seconds failed, from 0 to 1. */
  readonly share: number
  /** The circuit reads `share` only after at least this many calls within 10 seconds. */
  readonly minimumCalls: number
  /** How long the circuit stays open, in milliseconds. */
  readonly openForMillis: number
}

/** The fields of the default policy. */
export const usual: WhatIfPolicy = { inARow: 5, share: 0.5, minimumCalls: 20, openForMillis: 30_000 }

/**
 * The circuit may reject this call. `fails` says whether the call fails if it reaches the dependency. `at` is in milliseconds since 1970.
 */
export interface ReplayedCall {
  readonly at: number
  readonly fails: boolean
}

export interface ReplayedCalls {
  readonly calls: ReadonlyArray<ReplayedCall>
  /** One replayed call represents this many real calls. If there are too many calls to replay all, the number is above 1. */
  readonly weight: number
}

/** A period in one state, in milliseconds since 1970. */
export interface Band {
  readonly state: Circuit.State
  readonly from: number
  readonly to: number
}

/** The states and counts over a period are real, or come from a replay. */
export interface Course {
  readonly bands: ReadonlyArray<Band>
  /** How long the circuit was Open, HalfOpen or Isolated, in milliseconds. */
  readonly openMillis: number
  readonly rejected: number
  /** The calls that reached the dependency and failed. */
  readonly failed: number
}

/** The fields of a transition that decide the bands. */
export type BandChange = Pick<TransitionView, "at" | "key" | "from" | "to">

/**
 * Derives the states over a period from the transitions. A name with keys has the worst state of its circuits. A circuit without
 * transitions has the state `now`.
 */
export const bandsOf = (
  transitions: ReadonlyArray<BandChange>,
  now: Circuit.State,
  from: number,
  to: number
): ReadonlyArray<Band> => {
  const states = new Map<string | undefined, Circuit.State>()
  for (const one of transitions) if (!states.has(one.key)) states.set(one.key, one.from)
  const found: Array<Band> = []
  let since = from
  const until = (at: number) => {
    if (at <= since) return
    const state = worst([...states.values()]) ?? now
    const last = found.at(-1)
    if (last?.state === state) found[found.length - 1] = { ...last, to: at }
    else found.push({ state, from: since, to: at })
    since = at
  }
  for (const one of transitions) {
    until(Math.min(one.at, to))
    states.set(one.key, one.to)
  }
  until(to)
  return found
}

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, n) => total + n, 0)

const openMillisOf = (bands: ReadonlyArray<Band>): number =>
  sum(bands.map(({ from, state, to }) => (passesAll(state) ? 0 : to - from)))

/** Derives the course from samples. `every` is the time between two samples. */
export const realCourse = (history: HistoryView, bands: ReadonlyArray<Band>, every: number): Course => ({
  bands,
  openMillis: openMillisOf(bands),
  rejected: (sum(history.rejections) * every) / 1_000,
  failed: (sum(history.failures) * every) / 1_000
})

/** The approximate maximum number of replayed calls. */
const mostCalls = 50_000

const isDown = ({ state }: Band): boolean => state === "Open" || state === "HalfOpen"

/**
 * Turns samples into calls. `at` is the time of the last sample. A sample has only counts, so its calls are spread evenly over its time in a
 * random order.
 *
 * No sample says how a rejected call would have ended. If the circuit was open, the call counts as a failure. Otherwise, a limit or one key
 * rejected the call. Such calls fail as often as the calls that ran.
 */
export const callsOf = (
  { calls: ran, failures, rejections }: HistoryView,
  bands: ReadonlyArray<Band>,
  at: number,
  every: number
): ReplayedCalls => {
  const perSample = every / 1_000
  const weight = Math.max(1, ((sum(ran) + sum(rejections)) * perSample) / mostCalls)
  const chance = chances(1)
  const calls: Array<ReplayedCall> = []
  const left = { ran: 0, failed: 0, rejected: 0 }
  /** Rounds a count down. The next sample adds the remainder, so rounding loses no calls. */
  const whole = (name: keyof typeof left, perSecond: number): number => {
    const exact = left[name] + (perSecond * perSample) / weight
    const n = Math.floor(exact + 1e-6)
    left[name] = exact - n
    return n
  }
  let share = 0
  ran.forEach((perSecond, i) => {
    const to = at - (ran.length - 1 - i) * every
    const from = to - every
    const n = whole("ran", perSecond)
    const failed = Math.min(n, whole("failed", failures[i] ?? 0))
    const rejected = whole("rejected", rejections[i] ?? 0)
    if (perSecond > 0) share = Math.min(1, (failures[i] ?? 0) / perSecond)
    // A sample may be one interval late, and may then contain calls of the previous interval.
    const wasDown = bands.some((band) => isDown(band) && band.from < to && band.to > from - every)
    const fails = [
      ...Array.from({ length: n }, (_, j) => j < failed),
      ...Array.from({ length: rejected }, () => wasDown || chance() < share)
    ]
    for (let j = fails.length - 1; j > 0; j--) {
      const k = Math.floor(chance() * (j + 1))
      const other = fails[k] ?? false
      fails[k] = fails[j] ?? false
      fails[j] = other
    }
    fails.forEach((one, j) => {
      calls.push({ at: from + ((j + 0.5) / fails.length) * every, fails: one })
    })
  })
  return { calls, weight }
}

const rules: Circuit.Rules = {
  probes: 1,
  successesToClose: 1,
  failuresToReopen: 1,
  probeTimeoutMillis: 30_000,
  rampMillis: 0
}

/** The trip of a policy. A replayed call represents `weight` calls, so the rate needs fewer of them. */
const tripOf = ({ inARow, minimumCalls, share }: WhatIfPolicy, weight: number): Trip.Trip => ({
  _tag: "Any",
  trips: [
    { _tag: "Consecutive", failures: inARow },
    {
      _tag: "FailureRate",
      threshold: share,
      minimumCalls: Math.max(1, Math.round(minimumCalls / weight)),
      over: { _tag: "Time", millis: 10_000 }
    }
  ]
})

const cause: Circuit.Cause = { why: "Tripped", detail: "", actor: undefined }

/** Replays calls on one circuit. Each call ends at once. */
class Replay {
  private readonly trip: Trip.Trip
  private readonly evidence: LiveEvidence
  private readonly openFor: number
  private circuit: Circuit.Circuit = Circuit.initial
  readonly transitions: Array<BandChange> = []
  rejected = 0
  failed = 0

  constructor(policy: WhatIfPolicy, weight: number) {
    this.trip = tripOf(policy, weight)
    this.evidence = new LiveEvidence(Trip.windows(this.trip))
    this.openFor = policy.openForMillis
  }

  call({ at, fails }: ReplayedCall): void {
    const { circuit } = this
    if (Circuit.admission(circuit, at, rules) === "Reject") {
      this.rejected++
      return
    }
    if (fails) this.failed++
    if (circuit._tag === "Closed") this.count(circuit, at, fails)
    else if (circuit._tag === "Open") this.probe(circuit, at, fails)
  }

  private count(circuit: Circuit.Closed, at: number, fails: boolean): void {
    if (!fails) {
      this.evidence.recordSuccess(at, false)
      return
    }
    this.evidence.recordFailure(at, false, 1, 0)
    const seen = this.evidence.at(at, { running: 0, runningSince: undefined, openings: 0, time: at })
    if (Trip.tripped(this.trip, seen) === undefined) return
    this.enter(at, Circuit.open(circuit, at, { openFor: this.openFor, cause, at }))
  }

  private probe(circuit: Circuit.Open, at: number, fails: boolean): void {
    const probing = Circuit.probe(circuit, at, rules)
    this.enter(at, probing)
    const lease = probing.leases[0]?.id ?? 0
    const verdict: Circuit.Verdict = fails ? { _tag: "Failure", openFor: this.openFor, cause } : { _tag: "Success" }
    this.enter(at, Circuit.settleProbe(probing, lease, verdict, at, rules))
  }

  private enter(at: number, next: Circuit.Circuit): void {
    this.transitions.push({ at, key: undefined, from: this.circuit._tag, to: next._tag })
    this.evidence.clear()
    this.circuit = next
  }
}

/** Replays all calls on one circuit with a policy. */
export const replay = ({ calls, weight }: ReplayedCalls, policy: WhatIfPolicy, from: number, to: number): Course => {
  const run = new Replay(policy, weight)
  for (const call of calls) run.call(call)
  const bands = bandsOf(run.transitions, "Closed", from, to)
  return { bands, openMillis: openMillisOf(bands), rejected: run.rejected * weight, failed: run.failed * weight }
}
