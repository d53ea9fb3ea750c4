import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { answer } from "../engine/answer.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import type { Registry } from "../engine/registry.ts"
import { effective } from "../engine/standing.ts"

/** The number of callers in the first wave after a close. Each further wave has twice as many. */
const firstWave = 4

/** The time between two waves. */
const betweenWavesMillis = 100

/** A caller waits at least this long, even if the circuit asks for no wait: other calls are probing. */
export const shortestWaitMillis = 50

/** The line checks its circuit again after this time at the latest, also if the current state has no end. */
export const longestWaitMillis = 60_000

/** Waits until a circuit closes. */
type Closes = (registry: Registry, circuit: LiveCircuit) => Effect.Effect<void>

interface WaitingCaller {
  /** How long it can wait. */
  readonly until: number
  readonly go: () => void
}

/**
 * The callers that wait for one circuit. While it probes, the line lets as many of them go as there are places for probes. After a
 * close it lets them go in waves, the oldest caller first: a few, then twice as many, and so on. This protects a dependency that has just
 * recovered. If the circuit opens again, the others wait for the next close, and the waves begin with the smallest one.
 */
export class Line {
  private readonly registry: Registry
  private readonly circuit: LiveCircuit
  private readonly closes: Closes
  /** The callers by their tickets. A caller that is rejected again keeps its ticket, and so its age. */
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
   * Waits for the turn of a caller, for `millis` at most. If the circuit rejects calls for longer than that, the caller goes at once, and
   * the circuit rejects it. A caller that is interrupted leaves the line.
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
    // This also runs when the store closes. Nothing else would then let the callers go.
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
      const now = registry.runtime.time.now()
      const told = answer(registry, circuit, now)
      if (told._tag === "Reject") {
        const rest = Math.max(shortestWaitMillis, told.wait)
        this.release([...this.waiting].filter(([, { until }]) => now + rest > until).map(([ticket]) => ticket))
        const millis = Math.min(longestWaitMillis, rest)
        const wait = Effect.raceFirst(Effect.sleep(Duration.millis(millis)), this.closes(registry, circuit))
        return Effect.flatMap(wait, () => this.waves(firstWave))
      }
      const places = this.placesOf(now)
      this.release(this.oldest(places ?? size))
      const next = places === undefined ? size * 2 : firstWave
      return Effect.flatMap(Effect.sleep(betweenWavesMillis), () => this.waves(next))
    })
  }

  /** How many probes may begin now; `undefined` if calls are not probes. */
  private placesOf(now: number): number | undefined {
    const { circuit } = this
    const control = effective(circuit, now)
    if (control._tag === "Open") return circuit.policy.probes
    if (control._tag !== "HalfOpen") return undefined
    return Math.max(1, circuit.policy.probes - control.leases.filter(({ until }) => now < until).length)
  }

  private oldest(count: number): ReadonlyArray<number> {
    return [...this.waiting.keys()].sort((a, b) => a - b).slice(0, count)
  }

  private release(tickets: ReadonlyArray<number>): void {
    for (const ticket of tickets) {
      const caller = this.waiting.get(ticket)
      this.waiting.delete(ticket)
      caller?.go()
    }
  }
}

const lines = new WeakMap<LiveCircuit, Line>()

/** The line of a circuit. */
export const lineOf = (registry: Registry, circuit: LiveCircuit, closes: Closes): Line => {
  const known = lines.get(circuit)
  if (known !== undefined) return known
  const line = new Line(registry, circuit, closes)
  lines.set(circuit, line)
  return line
}
