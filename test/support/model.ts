/**
 * A naive circuit breaker, written from the promises alone: lists of what happened, loops over all of it, time as a plain
 * number. It is slow and obvious on purpose, so that the real one can be compared with it.
 */

import type { CircuitOpen } from "effect-fuse"
import type { Circuit } from "effect-fuse/core"
import {
  bucketsOf,
  type Event,
  failuresInARow,
  type Look,
  type Outcome,
  type Recorded,
  type Rejection,
  type Rules,
  type Total,
  trips,
  windowsOf
} from "./modelTrip.ts"

/** Who makes a call: an effect, one that nobody can interrupt, or a caller that settles by itself within a lease. */
export type Caller = "effect" | "stubborn" | { readonly lease: number }

export interface ModelCall {
  readonly number: number
  readonly circuit: ModelCircuit
  readonly kind: "Normal" | "Probe" | "Pass"
  readonly caller: Caller
  readonly start: number
  /** The stay in one state during which it was admitted. */
  readonly stay: number
  /** When it is given up if it has not ended: a probe is interrupted, a permit lapses. */
  readonly deadline: number
  /** Whether its place as a probe was given to another, once its time was over. */
  replaced: boolean
}

interface Override {
  readonly tag: "Isolated" | "Disabled"
  readonly actor: string
  readonly since: number
  readonly until: number
}

interface ModelCircuit {
  readonly key: string | undefined
  beneath: "Closed" | "Open" | "HalfOpen"
  /** Its state after the latest move. */
  held: Circuit.State
  /** All that were set and not released; those whose time is over no longer count. */
  overrides: ReadonlyArray<Override>
  stay: number
  movedAt: number
  closedAt: number
  /** How long the close at `closedAt` lets only a share of calls through. */
  ramp: number
  credit: number
  openedAt: number
  openUntil: number
  openWhy: Circuit.Why | undefined
  openings: number
  openedFor: number
  successes: number
  /** Failed probes, and the latest end of what they asked for. */
  probesFailed: number
  probesHint: number
  ignoredInARow: number
  recorded: Array<Recorded>
  running: Array<ModelCall>
  failedAt: Array<number>
  totals: Record<Total, number>
}

/** All circuits of one name. */
export class Model {
  now: number
  readonly events: Array<Event> = []
  private readonly rules: Rules
  private calls = 0
  private readonly circuits = new Map<string | undefined, ModelCircuit>()

  constructor(rules: Rules, now: number) {
    this.rules = rules
    this.now = now
  }

  private at(key: string | undefined): ModelCircuit {
    const known = this.circuits.get(key)
    if (known !== undefined) return known
    const made: ModelCircuit = {
      key,
      beneath: "Closed",
      held: "Closed",
      overrides: [],
      stay: 0,
      movedAt: 0,
      closedAt: this.now,
      ramp: 0,
      credit: 1,
      openedAt: 0,
      openUntil: 0,
      openWhy: undefined,
      openings: 0,
      openedFor: 0,
      successes: 0,
      probesFailed: 0,
      probesHint: 0,
      ignoredInARow: 0,
      recorded: [],
      running: [],
      failedAt: [],
      totals: { calls: 0, successes: 0, failures: 0, ignored: 0, slow: 0, rejected: 0, passed: 0, wouldReject: 0 }
    }
    this.circuits.set(key, made)
    return made
  }

  private openingsOf(circuit: ModelCircuit): number {
    const forgotten = circuit.beneath === "Closed" && this.now - circuit.closedAt >= circuit.openedFor
    return forgotten ? 0 : circuit.openings
  }

  private probesOf(circuit: ModelCircuit): ReadonlyArray<ModelCall> {
    if (circuit.beneath !== "HalfOpen") return []
    return circuit.running.filter((c) => c.kind === "Probe" && c.stay === circuit.stay && this.now < c.deadline)
  }

  /** Of the overrides that stand one that rejects decides, and of several the one that ends last. */
  private deciding(circuit: ModelCircuit, at = this.now): Override | undefined {
    const standing = circuit.overrides.filter(({ until }) => at < until)
    const rejecting = standing.filter(({ tag }) => tag === "Isolated")
    const of = rejecting.length > 0 ? rejecting : standing
    const last = Math.max(...of.map(({ until }) => until))
    return of.filter(({ until }) => until === last).sort((a, b) => a.since - b.since)[0]
  }

  /** The override that decides for a circuit: its own or that of its name. If there are both, an Isolated one decides. */
  private forcedBy(circuit: ModelCircuit): Override | undefined {
    const forced = [circuit, this.at(undefined)].flatMap((one) => this.deciding(one) ?? [])
    return forced.find(({ tag }) => tag === "Isolated") ?? forced[0]
  }

  /** The circuit whose state decides: that of the call, or that of its name if the name has an override. */
  private deciderOf(circuit: ModelCircuit): ModelCircuit {
    const name = this.at(undefined)
    return this.deciding(circuit)?.tag !== "Isolated" && this.deciding(name) !== undefined ? name : circuit
  }

  look(key: string | undefined): Look {
    const circuit = this.at(key)
    const forced = this.forcedBy(circuit)
    return {
      state: forced?.tag ?? circuit.beneath,
      why: forced?.tag ?? (circuit.beneath === "Closed" ? undefined : circuit.openWhy),
      since: this.deciderOf(circuit).movedAt,
      openings: this.openingsOf(circuit),
      retryAfter: this.waitOf(circuit),
      inFlight: circuit.running.filter((one) => one.kind !== "Pass").length,
      probing: this.probesOf(circuit).length,
      streak: failuresInARow(circuit.recorded, this.now).length,
      windows: windowsOf(circuit.recorded, this.rules.trip, this.now),
      totals: { ...circuit.totals },
      failedAt: circuit.failedAt.slice(-5)
    }
  }

  /** How long until a call may pass: what the override on the name says, and what the circuit itself does. */
  private waitOf(circuit: ModelCircuit): number {
    return this.wait(circuit, [circuit, this.at(undefined)])
  }

  /** How long until a call may pass, for all that the overrides of these circuits say. */
  private wait(circuit: ModelCircuit, forcing = [circuit]): number {
    const tagsAt = (at: number) => forcing.map((one) => this.deciding(one, at)?.tag)
    const ends = forcing.flatMap(({ overrides }) => overrides.map(({ until }) => until))
    // The first moment at which nothing isolates.
    const at = [this.now, ...ends]
      .filter((one) => one >= this.now)
      .sort((a, b) => a - b)
      .find((one) => one === Number.POSITIVE_INFINITY || !tagsAt(one).includes("Isolated")) as number
    if (at === Number.POSITIVE_INFINITY || tagsAt(at).includes("Disabled")) return at - this.now
    return Math.max(at - this.now, this.waitBeneath(circuit))
  }

  private waitBeneath(circuit: ModelCircuit): number {
    if (circuit.beneath === "Closed") return Math.min(1000, Math.max(0, circuit.closedAt + circuit.ramp - this.now))
    if (circuit.beneath === "Open") return Math.max(0, circuit.openUntil - this.now)
    // While probes hold every place, their verdict is a second away at most.
    const probes = this.probesOf(circuit)
    return probes.length < this.rules.probes ? 0 : Math.min(1000, ...probes.map((one) => one.deadline - this.now))
  }

  // Moves.

  private move(circuit: ModelCircuit, why: Circuit.Why, change: () => void): void {
    const from = circuit.held
    const before = circuit.beneath
    change()
    circuit.stay++
    circuit.credit = 1
    circuit.probesHint = 0
    const deciding = this.deciding(circuit)
    const isOverride = ["Isolated", "Disabled", "Released", "Expired"].includes(why)
    // What was counted beneath an override goes on counting.
    if (!isOverride || before !== "Closed") circuit.recorded = []
    circuit.movedAt = deciding?.since ?? this.now
    const to = deciding?.tag ?? circuit.beneath
    circuit.held = to
    const wait = to === "Open" || to === "Isolated" ? this.wait(circuit) : 0
    this.events.push({
      _tag: "Transition",
      key: circuit.key,
      from,
      to,
      why,
      at: this.now,
      openings: this.openingsOf(circuit),
      retryAfterMillis: wait === Number.POSITIVE_INFINITY ? null : wait
    })
  }

  private moveToOpen(circuit: ModelCircuit, why: Circuit.Why, hint: number, given?: number): void {
    const { cooldown, maxCooldown } = this.rules
    const again = circuit.beneath === "Open"
    const opening = this.openingsOf(circuit) + (again ? 0 : 1)
    const planned = cooldown.first * cooldown.factor ** (opening - 1) * (cooldown.as === "jittered" ? 0.8 : 1)
    // A cooldown that never grows is a fixed one, which no cap shortens.
    const fixed = cooldown.first === 0 || (cooldown.factor === 1 && cooldown.as !== "jittered")
    const capped = fixed ? planned : Math.min(maxCooldown, planned)
    const length = given ?? Math.max(capped, Math.min(maxCooldown, hint))
    this.move(circuit, why, () => {
      circuit.beneath = "Open"
      circuit.openings = opening
      if (!again) circuit.openedAt = this.now
      circuit.openUntil = this.now + length
      circuit.openWhy = why
    })
  }

  private moveToClosed(circuit: ModelCircuit, why: Circuit.Why): void {
    this.move(circuit, why, () => {
      if (circuit.beneath === "Open") circuit.openedFor = Math.min(this.now, circuit.openUntil) - circuit.openedAt
      circuit.beneath = "Closed"
      circuit.closedAt = this.now
      circuit.ramp = this.rules.ramp
    })
  }

  private hintOf(circuit: ModelCircuit): number {
    const ofCalls = failuresInARow(circuit.recorded, this.now).map((one) => one.hintUntil - this.now)
    return Math.max(0, circuit.probesHint - this.now, ...ofCalls)
  }

  private lift(circuit: ModelCircuit, why: Circuit.Why): void {
    this.move(circuit, why, () => {
      circuit.overrides = why === "Released" ? [] : circuit.overrides.filter(({ until }) => this.now < until)
    })
  }

  private liftExpired(circuit: ModelCircuit): void {
    const isForced = circuit.held === "Isolated" || circuit.held === "Disabled"
    if (isForced && this.deciding(circuit)?.tag !== circuit.held) this.lift(circuit, "Expired")
  }

  // By hand.

  private byHand(key: string | undefined): ModelCircuit {
    const circuit = this.at(key)
    this.liftExpired(circuit)
    return circuit
  }

  open(key: string | undefined, millis: number | undefined): void {
    const circuit = this.byHand(key)
    this.moveToOpen(circuit, "OpenedByHand", this.hintOf(circuit), millis)
  }

  close(key: string | undefined): void {
    const circuit = this.byHand(key)
    if (circuit.beneath !== "Closed") this.moveToClosed(circuit, "ClosedByHand")
  }

  reset(key: string | undefined): void {
    const circuit = this.byHand(key)
    this.move(circuit, "Reset", () => {
      circuit.overrides = []
      circuit.beneath = "Closed"
      circuit.closedAt = this.now
      circuit.ramp = 0
      circuit.openings = 0
      circuit.openedFor = 0
    })
  }

  force(key: string | undefined, tag: "Isolated" | "Disabled", millis: number | undefined, actor: string): void {
    const circuit = this.byHand(key)
    this.move(circuit, tag, () => {
      // Probes in flight have lost their say: what is left is an opening whose cooldown is over.
      if (circuit.beneath === "HalfOpen") {
        circuit.beneath = "Open"
        circuit.openedAt = this.now - circuit.openedFor
        circuit.openUntil = this.now
      }
      const until = millis === undefined ? Number.POSITIVE_INFINITY : this.now + millis
      const standing = circuit.overrides.filter((one) => this.now < one.until)
      const same = standing.filter((one) => one.tag === tag && one.actor === actor)
      const since = Math.min(this.now, ...same.map((one) => one.since))
      const merged = { tag, actor, since, until: Math.max(until, ...same.map((one) => one.until)) }
      circuit.overrides = [...standing.filter((one) => !same.includes(one)), merged]
    })
  }

  /** Answers what it ended, the deciding override first. */
  release(key: string | undefined): ReadonlyArray<string> {
    const circuit = this.byHand(key)
    const ended: Array<string> = []
    const { overrides } = circuit
    for (let first = this.deciding(circuit); first !== undefined; first = this.deciding(circuit)) {
      ended.push(`${first.tag} by ${first.actor}`)
      circuit.overrides = circuit.overrides.filter((one) => one !== first)
    }
    circuit.overrides = overrides
    if (ended.length > 0) this.lift(circuit, "Released")
    return ended
  }

  // Calls.

  begin(key: string | undefined, caller: Caller): ModelCall | Rejection {
    const circuit = this.at(key)
    this.liftExpired(circuit)
    this.liftExpired(this.at(undefined))
    const override = this.forcedBy(circuit)
    if (override?.tag === "Disabled") {
      circuit.totals.passed++
      return this.start(circuit, "Pass", caller)
    }
    if (override !== undefined) return this.reject(circuit, "Isolated", caller)
    if (circuit.beneath === "Closed") {
      const stayed = this.now - circuit.closedAt
      if (stayed >= circuit.ramp) return this.start(circuit, "Normal", caller)
      circuit.credit += 0.1 + (0.9 * stayed) / circuit.ramp
      if (circuit.credit < 1) return this.reject(circuit, "Ramping", caller)
      circuit.credit--
      return this.start(circuit, "Normal", caller)
    }
    if (circuit.beneath === "Open") {
      if (this.now < circuit.openUntil) return this.reject(circuit, "Cooldown", caller)
      this.move(circuit, "CooldownOver", () => {
        circuit.beneath = "HalfOpen"
        circuit.openedFor = circuit.openUntil - circuit.openedAt
        circuit.successes = 0
        circuit.probesFailed = 0
        circuit.ignoredInARow = 0
      })
    }
    if (this.probesOf(circuit).length >= this.rules.probes) return this.reject(circuit, "ProbesBusy", caller)
    for (const one of circuit.running) if (one.kind === "Probe" && this.now >= one.deadline) one.replaced = true
    return this.start(circuit, "Probe", caller)
  }

  private start(circuit: ModelCircuit, kind: ModelCall["kind"], caller: Caller): ModelCall {
    const { now: start } = this
    let deadline = Number.POSITIVE_INFINITY
    if (kind === "Probe") deadline = start + this.rules.probeTimeout
    if (kind === "Normal" && typeof caller === "object") deadline = start + caller.lease
    const number = this.calls++
    const call: ModelCall = { number, circuit, kind, caller, start, stay: circuit.stay, deadline, replaced: false }
    circuit.running.push(call)
    if (kind !== "Pass") circuit.totals.calls++
    return call
  }

  private reject(circuit: ModelCircuit, reason: CircuitOpen.Reason, caller: Caller): ModelCall | Rejection {
    if (this.rules.mode === "observe") {
      circuit.totals.wouldReject++
      circuit.totals.passed++
      return this.start(circuit, "Pass", caller)
    }
    circuit.totals.rejected++
    return this.rejection(circuit, reason)
  }

  private rejection(circuit: ModelCircuit, reason: CircuitOpen.Reason): Rejection {
    const { openings, retryAfter, state } = this.look(circuit.key)
    return { state, reason, retryAfter, openings }
  }

  /** Whether what it finds no longer matters. */
  isStale(call: ModelCall): boolean {
    return call.stay !== call.circuit.stay || call.replaced
  }

  /** Whether it is interrupted at its deadline. Who observes interrupts nobody. */
  private isTimed({ caller, kind }: ModelCall): boolean {
    return kind === "Probe" && typeof caller === "string" && this.rules.mode === "enforce"
  }

  /** Answers what the caller gets in place of its own end. */
  end(call: ModelCall, outcome: Outcome): Rejection | undefined {
    const { circuit } = call
    if (!circuit.running.includes(call)) return undefined
    circuit.running = circuit.running.filter((one) => one !== call)
    if (this.isTimed(call) && this.now >= call.deadline) return this.timeOut(call)
    this.settle(call, outcome)
    return undefined
  }

  private timeOut(call: ModelCall): Rejection {
    const { circuit } = call
    circuit.totals.failures++
    if (this.now - call.start >= this.rules.slowCall) circuit.totals.slow++
    circuit.failedAt.push(this.now)
    if (!this.isStale(call)) this.probeFailed(circuit, "ProbeTimedOut")
    return this.rejection(circuit, "ProbeTimedOut")
  }

  private probeFailed(circuit: ModelCircuit, why: Circuit.Why): void {
    circuit.probesFailed++
    circuit.ignoredInARow = 0
    if (circuit.probesFailed >= this.rules.failuresToReopen) this.moveToOpen(circuit, why, this.hintOf(circuit))
  }

  private settle(call: ModelCall, outcome: Outcome): void {
    const { circuit, kind } = call
    if (kind === "Pass") return
    const current = !this.isStale(call)
    if (outcome._tag === "Ignored") {
      circuit.totals.ignored++
      if (kind !== "Probe" || !current) return
      circuit.ignoredInARow++
      const { ignoredInARow: probes, key } = circuit
      if (probes % 10 === 0) this.events.push({ _tag: "ProbesIgnored", key, at: this.now, probes })
      return
    }
    const slow = this.now - call.start >= this.rules.slowCall
    if (slow) circuit.totals.slow++
    const failed = outcome._tag === "Failure"
    if (failed) {
      circuit.totals.failures++
      circuit.failedAt.push(this.now)
    } else circuit.totals.successes++
    if (!current) return
    if (kind === "Probe") {
      if (failed) {
        if (outcome.retryAfter > 0) circuit.probesHint = Math.max(circuit.probesHint, this.now + outcome.retryAfter)
        this.probeFailed(circuit, "ProbeFailed")
        return
      }
      circuit.successes++
      circuit.ignoredInARow = 0
      if (circuit.successes >= this.rules.successesToClose) this.moveToClosed(circuit, "Recovered")
      return
    }
    const weight = failed ? outcome.weight : 0
    const hintUntil = failed ? this.now + outcome.retryAfter : this.now
    circuit.recorded.push({ at: this.now, failed, slow, weight, hintUntil })
    if ((failed || slow) && trips(circuit.recorded, this.rules.trip, this.now)) {
      this.moveToOpen(circuit, "Tripped", this.hintOf(circuit))
    }
  }

  /** Moves the time, and answers the probes that were interrupted on the way. */
  advance(millis: number): ReadonlyMap<ModelCall, Rejection> {
    const target = this.now + millis
    const interrupted = new Map<ModelCall, Rejection>()
    const due = [...this.circuits.values()]
      .flatMap((circuit) => circuit.running)
      .filter((call) => call.deadline <= target && (typeof call.caller === "object" || this.isInterrupted(call)))
      .sort((a, b) => a.deadline - b.deadline || a.number - b.number)
    for (const call of due) {
      const { circuit } = call
      this.now = call.deadline
      circuit.running = circuit.running.filter((one) => one !== call)
      if (typeof call.caller === "object") circuit.totals.ignored++
      else interrupted.set(call, this.timeOut(call))
    }
    this.now = target
    return interrupted
  }

  private isInterrupted(call: ModelCall): boolean {
    return this.isTimed(call) && call.caller !== "stubborn"
  }

  /** Moments still to come at which something changes by itself, and how long what is remembered lasts. */
  boundaries(): ReadonlyArray<number> {
    const found: Array<number> = []
    for (const circuit of this.circuits.values()) {
      const { closedAt, openedFor, openUntil, overrides, ramp } = circuit
      found.push(openUntil, ...overrides.map(({ until }) => until), closedAt + openedFor, closedAt + ramp)
      for (const call of circuit.running) found.push(call.deadline, call.start + this.rules.slowCall)
      for (const one of circuit.recorded)
        for (const width of bucketsOf(this.rules.trip)) {
          found.push((Math.floor(one.at / width) + 10) * width)
        }
    }
    return found.filter((at) => at > this.now && at < Number.POSITIVE_INFINITY)
  }
}

export const isRejection = (found: ModelCall | Rejection): found is Rejection => "reason" in found
