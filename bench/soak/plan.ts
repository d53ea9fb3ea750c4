/** The plan of faults, drawn from the seed, in four lanes that run concurrently. */
import { circuits, type Mood, type Name } from "./lines.ts"
import type { Random } from "./random.ts"

/** Faults of the connection of one process or of all processes to the store. */
export type WayFault = "proxy delay" | "proxy cut" | "proxy hang"

/** Faults of the store itself. */
export type StoreFault =
  | "redis stopped"
  | "redis killed"
  | "flushall"
  | "script flush"
  | "kill pubsub"
  | "postgres killed"
  | "tables locked"
  | "tables emptied"
  | "kill listeners"

/** Faults after which the store is empty. */
export const forgetting: ReadonlyArray<string> = [
  "flushall",
  "redis killed",
  "tables emptied"
] satisfies Array<StoreFault>

export type Fault =
  | { readonly kind: WayFault | StoreFault; readonly who: number | "all"; readonly millis: number }
  | { readonly kind: "dependency"; readonly mood: Mood; readonly c: ReadonlyArray<Name>; readonly who: number | "all" }
  | { readonly kind: "worker killed" | "worker restarted"; readonly who: number }
  | { readonly kind: "isolate"; readonly c: Name; readonly who: number; readonly releasedBy: number }

export interface Planned {
  readonly at: number
  readonly lasts: number
  readonly fault: Fault
}

interface Lane {
  readonly gap: readonly [number, number]
  readonly lasts: readonly [number, number]
  readonly draw: (random: Random, processes: number) => Fault
}

const anyone = (random: Random, processes: number) => Math.floor(random.next() * processes)

const store = (faults: ReadonlyArray<StoreFault>): Lane => ({
  gap: [1_500, 9_000],
  lasts: [200, 3_000],
  draw: (random, processes) => ({
    kind: random.pick<WayFault | StoreFault>(["proxy delay", "proxy cut", "proxy hang", ...faults]),
    who: random.next() < 0.5 ? "all" : anyone(random, processes),
    millis: random.between(20, 600)
  })
})

const dependency: Lane = {
  gap: [800, 4_000],
  lasts: [400, 4_000],
  draw: (random, processes) => ({
    kind: "dependency",
    mood: random.pick<Mood>(["down", "down", "flapping", "partly", "slow", "hanging"]),
    c: random.pick<ReadonlyArray<Name>>([circuits, ["orders"], ["search"]]),
    who: random.next() < 0.3 ? anyone(random, processes) : "all"
  })
}

const worker: Lane = {
  gap: [4_000, 10_000],
  lasts: [100, 1_500],
  draw: (random, processes) => ({
    kind: random.next() < 0.7 ? "worker killed" : "worker restarted",
    who: anyone(random, processes)
  })
}

const operator: Lane = {
  gap: [4_000, 10_000],
  lasts: [2_000, 6_000],
  draw: (random, processes) => ({
    kind: "isolate",
    c: random.pick(circuits),
    who: anyone(random, processes),
    releasedBy: anyone(random, processes)
  })
}

export const draw = (
  random: Random,
  minutes: number,
  processes: number,
  faults: ReadonlyArray<StoreFault>
): ReadonlyArray<Planned> =>
  [store(faults), dependency, worker, operator].flatMap(({ draw, gap, lasts }) => {
    const planned: Array<Planned> = []
    for (let at = 2_000 + random.between(...gap) / 2; at < minutes * 60_000; ) {
      const one = { at, lasts: random.between(...lasts), fault: draw(random, processes) }
      planned.push(one)
      at += one.lasts + random.between(...gap)
    }
    return planned
  })
