/** Half a minute in which some processes fail, some are well, some have not called lately, and faults come at random. */
import { CircuitBreaker } from "effect-fuse"
import { type NetworkName, networks } from "./networks.ts"
import { Chance } from "./random.ts"
import { type Options, Simulation } from "./simulation.ts"

export interface Vote {
  readonly simulation: Simulation
  readonly endsAt: number
}

export interface Fault {
  /** The store is wiped, and two processes that fail start beside it. */
  readonly wipe?: boolean
  /** The store's clock steps back before it is wiped. */
  readonly stepBack?: boolean
  /** The store freezes for some seconds while there is a vote. */
  readonly freeze?: boolean
  readonly crash?: boolean
  /** A process is cut off from the store, and one stands still, for longer than they live without an exchange. */
  readonly lapse?: boolean
  /** An operator isolates a circuit and releases it again just before its vote. */
  readonly released?: boolean
  /** The store's clock leaps forward: it takes every process for dead. */
  readonly leap?: boolean
}

export type VoteOptions = Pick<Options, "mutate" | "store" | "announcing" | "client"> & {
  readonly network?: NetworkName
  readonly keys?: number
  readonly faults?: Fault
  /**
   * Three processes fail, two are well, and two are idle. One of those abstains and then begins to call; the other can abstain only
   * after that. If the first were taken for idle the circuit would open.
   */
  readonly tied?: boolean
}

const calm: ReadonlyArray<NetworkName> = ["near", "1 ms", "40 ms", "100 ms", "300 ms", "polled", "none", "lossy", "far"]

export const vote = (
  seed: number,
  { faults = {}, keys: count = 1, network, tied = false, ...options }: VoteOptions = {}
): Vote => {
  const chance = new Chance(seed)
  const processes = tied ? 7 : 4 + chance.below(5)
  const chosen = network ?? calm[chance.below(calm.length)] ?? "near"
  const simulation = new Simulation({
    ...options,
    seed,
    processes,
    conditions: networks[chosen](),
    history: "all",
    // What opens stays open: the vote is the subject.
    policy: { cooldown: 120_000 }
  })
  const keys = Array.from({ length: count }, (_, i) => `k${i}`)
  const name = (key: string): string | undefined => (count === 1 ? undefined : key)
  const failing = tied ? 3 : 1 + chance.below(Math.ceil(processes / 2))
  const idle = tied ? 2 : chance.below(processes - failing)
  const isBad = (process: number): boolean => process < failing
  const isIdle = (process: number): boolean => process >= processes - idle
  const downAt = 10_000
  simulation.dependency.behaviour = (time, process) => ({ ok: time < downAt || !isBad(process), latency: 1 })
  simulation.startAll()
  const calling = (process: number, from: number): void => {
    const next = (): void => {
      simulation.process(process).call(name(keys[chance.below(count)] ?? ""))
      simulation.at(simulation.now + 20 + chance.below(180), next)
    }
    simulation.at(from, next)
  }
  for (const { index } of simulation.processes) {
    if (!isIdle(index)) calling(index, 1_000 + chance.below(1_000))
    // Some that are idle begin to call while there is a vote, or after it.
    else if (!tied && chance.happens(0.5)) calling(index, downAt + chance.below(10_000))
  }
  if (tied) {
    const [caller, other] = [simulation.process(5), simulation.process(6)]
    calling(caller.index, downAt + 1_500)
    simulation.at(downAt - 10, () => other.network.freeze())
    simulation.at(downAt + 2_500, () => other.network.thaw())
  }
  const at = downAt + chance.below(8_000)
  if (faults.crash === true) {
    // An idle process has heard what it will ever hear; a bad one has a ballot in the box.
    for (let i = 0; i < 2; i++) {
      const one = simulation.process(chance.below(processes))
      simulation.at(at, () => one.crash())
    }
  }
  if (faults.lapse === true) {
    const from = at + chance.below(1_000)
    const lasts = 9_000 + chance.below(3_000)
    simulation.partition([chance.below(processes)], from, from + lasts)
    const other = simulation.process(chance.below(processes))
    simulation.at(from, () => other.stall(lasts))
  }
  if (faults.released === true) {
    const key = name(keys[0] ?? "")
    const which = key === undefined ? {} : { key }
    const operator = simulation.process(chance.below(processes))
    const from = downAt - chance.below(600)
    simulation.at(from, () => operator.do(CircuitBreaker.isolate("api", { ...which, reason: "drill" })))
    simulation.at(from + 100, () => operator.do(CircuitBreaker.release("api", which)))
  }
  if (faults.leap === true) simulation.at(at, () => simulation.store.jump(12_000))
  if (faults.freeze === true) {
    simulation.at(downAt + 20 + chance.below(200), () => simulation.store.freeze())
    simulation.at(downAt + 3_000, () => simulation.fail(0))
    simulation.at(downAt + 8_000, () => simulation.store.thaw())
  }
  if (faults.wipe === true) {
    const back = faults.stepBack === true
    simulation.at(at, () => {
      if (back) simulation.store.jump(-20_000)
      simulation.store.wipe()
      for (const process of simulation.processes.slice(0, 2)) {
        process.crash()
        process.start()
      }
    })
  }
  return { simulation, endsAt: downAt + 20_000 }
}
