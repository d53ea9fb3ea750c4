/** What the processes call: it answers as it is told to, and counts who reached it. */
import type { Chance, Distribution } from "./random.ts"
import { always } from "./random.ts"

/** How one call ends, and after how many milliseconds. `Infinity` hangs until somebody interrupts it. */
export interface Answer {
  readonly ok: boolean
  readonly latency: number
}

/** What becomes of a call that one process makes at a time. */
export type Behaviour = (time: number, process: number, chance: Chance, key?: string) => Answer

/** Fails with a probability that depends on the time and the process. */
export const failing =
  (
    probability: number | ((time: number, process: number) => number),
    latency: Distribution = always(1),
    latencyOfFailures: Distribution = latency
  ): Behaviour =>
  (time, process, chance) => {
    const ok = !chance.happens(typeof probability === "number" ? probability : probability(time, process))
    return { ok, latency: (ok ? latency : latencyOfFailures)(chance) }
  }

export class Dependency {
  /** May be replaced at any time. */
  behaviour: Behaviour
  /** Calls that reached it, in all and by process. */
  arrivals = 0
  readonly arrivalsOf: Array<number> = []
  /** Calls that it is still working on. */
  running = 0
  private readonly chance: Chance

  constructor(behaviour: Behaviour, chance: Chance) {
    this.behaviour = behaviour
    this.chance = chance
  }

  answer(time: number, process: number, key?: string): Answer {
    this.arrivals++
    this.arrivalsOf[process] = (this.arrivalsOf[process] ?? 0) + 1
    return this.behaviour(time, process, this.chance, key)
  }
}
