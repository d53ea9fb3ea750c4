import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Answer, answer } from "../engine/answer.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import type { Registry } from "../engine/registry.ts"
import { effective } from "../engine/standing.ts"

/** The number of callers in the first wave after a close. Each further wave has twice as many. */
const firstWave = 4

/** The time between two waves. */
const betweenWavesMillis = 100

/** A caller waits at least this long. While all probes of a circuit are in flight, the circuit may ask for a wait of 0. */
export const shortestWaitMillis = 50

/** While a limit admits no calls, the line checks its circuit at least this often, because a reset or a reload may change the limit. */
const longestRestMillis = 1_000

/** The line checks its circuit at least this often, even if the current state has no end. */
export const longestWaitMillis = 60_000

type Closes = (registry: Registry, circuit: LiveCircuit) => Effect.Effect<void>

interface WaitingCaller {
  /** The time until which the caller waits. */
  readonly until: number
  readonly go: () => void
}

/**
 * The queue of callers that wait for one circuit.
 *
 * While the circuit probes, the line releases one caller per available probe. After a close, it releases callers in waves, the oldest
 * first, and doubles the wave each time, to protect a dependency that has just recovered. If the circuit opens again, the remaining callers
 * wait for the next close, and the waves start small again. While the circuit limits its calls, the line releases callers whenever a call
 * ends, one for each free slot of the limit.
 */
export class Line {
  private readonly registry: Registry
  private readonly circuit: LiveCircuit
  private readonly closes: Closes
  /** The callers by ticket. A caller that is rejected again keeps its ticket, and so its position. */
  private readonly waiting = new Map<number, WaitingCaller>()
  private tickets = 0
  private isRunning = false

  constructor(registry: Registry, circuit: LiveCircuit, closes: Closes) {
    this.registry = registry
    this.circuit = circuit
    this.closes = closes
  }

  nextTicket(): number {
    return this.tickets++
  }

  /**
   * Waits at most `millis` for the caller's turn. If the circuit rejects calls for longer than that, the caller proceeds at once, and the
   * circuit rejects it. An interrupted caller leaves the line.
   */
  turn(ticket: number, millis: number): Effect.Effect<void> {
    const turn = Effect.callback<void>((resume) => {
      this.waiting.set(ticket, { until: this.registry.runtime.time.now() + millis, go: () => resume(Effect.void) })
      if (!this.isRunning) this.start()
      return Effect.sync(() => {
        this.waiting.delete(ticket)
      })
    })
    return millis === Infinity ? turn : Effect.raceFirst(turn, Effect.sleep(millis))
  }

  private start(): void {
    this.isRunning = true
    const run = Effect.andThen(Effect.sleep(shortestWaitMillis), this.waves(firstWave))
    // This also runs when the store closes, as nothing else would release the callers then.
    const ended = Effect.sync(() => {
      this.isRunning = false
      this.release([...this.waiting.keys()])
    })
    this.registry.runtime.background(Effect.ensuring(run, ended))
  }

  private waves(size: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.waiting.size === 0) return Effect.void
      const { circuit, registry } = this
      // `peek` applies a reload of the policy. Otherwise, only the next call would apply it.
      registry.peek(circuit.group.name, circuit.key)
      const now = registry.runtime.time.now()
      const answered = answer(registry, circuit, now)
      if (circuit.limitNow !== undefined && isNormalOrLimited(answered)) return this.withinLimit(circuit, now)
      if (answered._tag === "Reject") {
        const rest = Math.max(shortestWaitMillis, answered.wait)
        this.releaseUntil(now + rest)
        const millis = Math.min(longestWaitMillis, rest)
        const wait = Effect.raceFirst(Effect.sleep(Duration.millis(millis)), this.closes(registry, circuit))
        return Effect.flatMap(wait, () => this.waves(firstWave))
      }
      const probes = this.probesAt(now)
      this.release(this.oldest(probes ?? size))
      const next = probes === undefined ? size * 2 : firstWave
      return Effect.flatMap(Effect.sleep(betweenWavesMillis), () => this.waves(next))
    })
  }

  private withinLimit(circuit: LiveCircuit, now: number): Effect.Effect<void> {
    circuit.lapse(now)
    const rest = circuit.limit?.restMillis(now) ?? 0
    this.releaseUntil(now + rest)
    this.release(this.oldest(circuit.limit?.room(circuit.inFlight, now) ?? 0))
    const left = Effect.callback<void>((resume) => {
      circuit.onLeft = () => resume(Effect.void)
      return Effect.sync(() => {
        circuit.onLeft = undefined
      })
    })
    const wait = Effect.raceFirst(left, Effect.sleep(Math.min(longestRestMillis, Math.max(shortestWaitMillis, rest))))
    return Effect.flatMap(wait, () => this.waves(firstWave))
  }

  /** How many probes may start now; `undefined` if calls are not probes. */
  private probesAt(now: number): number | undefined {
    const { circuit } = this
    const control = effective(circuit, now)
    if (control._tag === "Open") return circuit.policy.probes
    if (control._tag !== "HalfOpen") return undefined
    return Math.max(1, circuit.policy.probes - control.leases.filter(({ until }) => now < until).length)
  }

  private oldest(count: number): ReadonlyArray<number> {
    return [...this.waiting.keys()].sort((a, b) => a - b).slice(0, count)
  }

  /** Releases the callers that stop waiting before a time. */
  private releaseUntil(time: number): void {
    this.release([...this.waiting].filter(([, { until }]) => time > until).map(([ticket]) => ticket))
  }

  private release(tickets: ReadonlyArray<number>): void {
    for (const ticket of tickets) {
      const caller = this.waiting.get(ticket)
      this.waiting.delete(ticket)
      caller?.go()
    }
  }
}

const isNormalOrLimited = (answered: Answer): boolean =>
  answered._tag === "Reject" ? answered.reason === "Limited" : answered._tag === "Admit" && answered.as === "Normal"

const lines = new WeakMap<LiveCircuit, Line>()

export const lineOf = (registry: Registry, circuit: LiveCircuit, closes: Closes): Line => {
  const known = lines.get(circuit)
  if (known !== undefined) return known
  const line = new Line(registry, circuit, closes)
  lines.set(circuit, line)
  return line
}
