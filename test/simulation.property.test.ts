import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SharedStore } from "effect-fuse"
import { healthy, rough } from "./support/simulation/network.ts"
import { Broken, check } from "./support/simulation/properties.ts"
import { Chance } from "./support/simulation/random.ts"
import { scenario } from "./support/simulation/scenario.ts"
import { Simulation } from "./support/simulation/simulation.ts"

/** One seed alone: `SIMULATION_SEED=17 npx vitest run simulation`. More of them: `SIMULATION_SEEDS=1000`. */
const one = process.env["SIMULATION_SEED"]
const count = Number(process.env["SIMULATION_SEEDS"] ?? 60)
const seeds = one === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(one)]

describe("a fleet in which everything goes wrong", () => {
  it("keeps every promise at every step, and recovers", () => {
    for (const seed of seeds) check(seed, scenario(seed))
  }, 300_000)

  it("is played the same way again by its seed", () => {
    const play = () => {
      const { simulation } = scenario(7)
      simulation.runUntil(20_000)
      return simulation.history.entries.map(({ _tag, at }) => `${at} ${_tag}`)
    }
    assert.deepStrictEqual(play(), play())
  })

  it("reaches the states in which things go wrong in most of its runs", () => {
    let halfOpen = 0
    let forced = 0
    for (const seed of seeds.slice(0, 20)) {
      const { endsAt, simulation } = scenario(seed)
      simulation.runUntil(endsAt)
      const tags = new Set(simulation.history.of("Swapped").map(({ state }) => state._tag))
      if (tags.has("HalfOpen")) halfOpen++
      if (tags.has("Isolated")) forced++
    }
    assert.isAtLeast(halfOpen, Math.min(seeds.length, 20) * 0.5)
    assert.isAtLeast(forced, Math.min(seeds.length, 20) * 0.3)
  }, 120_000)
})

type Store = SharedStore.SharedStore

/** A fleet of two to twenty, of which one fails for a minute, or also hangs, while the network does what it likes. */
const oneIsBad = (seed: number, mutate?: (store: Store) => Store): Simulation => {
  const chance = new Chance(seed)
  const processes = 2 + chance.below(19)
  const simulation = new Simulation({ seed, processes, mutate, conditions: chance.happens(0.5) ? rough() : healthy() })
  simulation.startAll()
  simulation.traffic(
    simulation.processes.map(({ index }) => index),
    5 + chance.below(50)
  )
  simulation.at(5_000, () => simulation.fail((process) => (process === 0 ? 1 : 0), 1 + chance.below(100)))
  simulation.runUntil(65_000)
  return simulation
}

const trips = ({ history }: Simulation) => history.of("Swapped").filter(({ about }) => about.why === "Tripped")

describe("a process that fails alone", () => {
  it("opens only itself", () => {
    for (const seed of seeds) {
      const simulation = oneIsBad(seed)
      assert.deepStrictEqual(trips(simulation), [], `seed ${seed}`)
      const [bad, ...others] = simulation.look().processes
      assert.include(["Open", "HalfOpen"], bad?.state, `seed ${seed}`)
      for (const other of others) assert.strictEqual(other?.state, "Closed", `seed ${seed}`)
    }
  }, 120_000)

  it("would open all with a store that counts nobody else", () => {
    const alone = (store: Store): Store => ({
      ...store,
      cast: (cast) =>
        Effect.map(store.cast(cast), (answer) => ({
          ...answer,
          live: 1,
          tally: answer.tally && { ...answer.tally, voices: 1, sums: cast.ballot ?? [] }
        })),
      list: (voice, ttl) => Effect.map(store.list(voice, ttl), (answer) => ({ ...answer, live: 1 }))
    })
    assert.isAbove(trips(oneIsBad(1, alone)).length, 0)
  })
})

/** Stores, or what comes to the same, that are wrong on purpose, and the promise that each of them breaks. */
const mutants: ReadonlyArray<readonly [name: string, promise: string, mutate: (store: Store) => Store]> = [
  [
    "writes a trip whatever has happened meanwhile",
    "one transition per era",
    (store) => ({
      ...store,
      swap: (swap) =>
        swap.body.includes('"why":"Tripped"')
          ? Effect.flatMap(store.load(swap.circuit), (found) => store.swap({ ...swap, expectedEra: found?.era ?? 0 }))
          : store.swap(swap)
    })
  ],
  [
    "makes a record younger when it denies a request",
    "a denied request extends nothing",
    (store) => {
      const refreshed = new Map<number, number>()
      const younger = (found: SharedStore.Stored | undefined): SharedStore.Stored | undefined =>
        found === undefined ? undefined : { ...found, age: Math.max(0, found.age - (refreshed.get(found.era) ?? 0)) }
      return {
        ...store,
        load: (circuit) => Effect.map(store.load(circuit), younger),
        swap: (swap) =>
          Effect.map(store.swap(swap), (answer) => {
            const { record } = answer
            if (!answer.swapped && record !== undefined) refreshed.set(record.era, record.age)
            return { ...answer, record: younger(record) }
          })
      }
    }
  ]
]

describe("the promises are such that they can be broken", () => {
  it.each(mutants)(
    "by a store that %s",
    (_, promise, mutate) => {
      for (const seed of Array.from({ length: 400 }, (_, i) => i + 1)) {
        try {
          check(seed, scenario(seed, { mutate }))
        } catch (error) {
          if (error instanceof Broken && error.promise === promise) return
          if (!(error instanceof Broken)) throw error
        }
      }
      assert.fail(`400 runs and none broke "${promise}"`)
    },
    300_000
  )
})
