/** The invariants of the fleet's protocol, checked at every step of simulated votes, and shown to be broken by protocols with one fault. */
import { assert, describe, it } from "@effect/vitest"
import { CircuitBreaker } from "effect-fuse"
import { faulty, forgetsUnlisted, ignoresOrigin, rollsEverySecond } from "./support/simulation/faultyStores.ts"
import { watch } from "./support/simulation/invariants.ts"
import { type NetworkName, networks } from "./support/simulation/networks.ts"
import { Broken } from "./support/simulation/properties.ts"
import { scenario } from "./support/simulation/scenario.ts"
import { chosen } from "./support/simulation/seeds.ts"
import { type Options, Simulation } from "./support/simulation/simulation.ts"
import { type VoteOptions, vote } from "./support/simulation/vote.ts"

const seeds = chosen(20)

/** Plays a vote; throws the first invariant that is broken. */
const play = (seed: number, options: VoteOptions) => {
  const { endsAt, simulation } = vote(seed, options)
  const watched = watch(simulation, seed)
  simulation.runUntil(endsAt)
  watched.verify()
  return watched.counts
}

const votes: ReadonlyArray<readonly [name: string, options: VoteOptions]> = [
  ["in networks of all kinds", {}],
  ["on several circuits at once", { keys: 8 }],
  ["while processes crash", { faults: { crash: true } }],
  ["while processes lose touch with the store for longer than they live", { faults: { lapse: true } }],
  ["on a circuit that was released just before", { faults: { released: true } }],
  ["after the store's clock leapt forward", { faults: { leap: true } }],
  ["while the store freezes and the dependency recovers", { faults: { freeze: true } }],
  ["after the store was wiped", { faults: { wipe: true } }],
  ["after the store's clock stepped back and it was wiped", { faults: { wipe: true, stepBack: true } }],
  ["in which an idle process begins to call", { tied: true }]
]

describe("the invariants of the protocol", () => {
  it.each(votes)(
    "hold in votes %s",
    (_, options) => {
      for (const seed of seeds) play(seed, options)
    },
    120_000
  )

  it("hold with all faults at once", () => {
    let openings = 0
    for (const seed of seeds) {
      const { endsAt, simulation, syncInterval } = scenario(seed)
      const { counts, verify } = watch(simulation, seed, { syncInterval })
      simulation.runUntil(endsAt)
      verify()
      openings += counts.openings
    }
    assert.isAtLeast(openings, seeds.length)
  }, 300_000)

  const found: ReadonlyArray<readonly [what: string, seed: number]> = [
    ["an answer with an epoch comes too late, and the process does not know the epoch", 72],
    ["a process begins to call while a command that came too late is repeated", 270],
    ["a command would arrive again after a later command that has heard more roll calls", 536],
    ["a withdrawal would arrive again after a later ballot", 764],
    ["a failing ballot would arrive again after a later ballot without failures", 4440],
    ["the record that a roll call is about ends", 3311],
    ["a process reads the changes of a store that has lost its clock and its records", 5655],
    ["a store was out of reach for longer than voters live, and the first process that reaches it fails alone", 7296],
    ["a record ends early because the store's clock leaps forward", 5071],
    ["the last command of a process that has left arrives again", 4888],
    ["a circuit recovers while its process cannot reach the store, which still has a ballot of its opening", 890],
    ["the store loses a release, and a roll call is about the time before it", 2187],
    ["the store loses a release, and a process that remembers only this release hears a roll call", 2453]
  ]
  it.each(found)("hold when %s (seed %d)", (_, seed) => {
    const { endsAt, simulation, syncInterval } = scenario(seed)
    const { verify } = watch(simulation, seed, { syncInterval })
    simulation.runUntil(endsAt)
    verify()
  })

  it.each(faulty)(
    "are broken by a protocol that $name",
    ({ name, seeds, ...options }) => {
      const isBroken = (seed: number): boolean => {
        try {
          play(seed, options)
          return false
        } catch (error) {
          if (error instanceof Broken) return true
          throw error
        }
      }
      assert.isTrue(
        Array.from({ length: seeds }, (_, i) => i + 1).some(isBroken),
        `none of ${seeds} votes shows a protocol that ${name}`
      )
    },
    120_000
  )
})

const keys = ["a", "b", "c", "d"]

/** Which circuits the fleet opened, and when the last of them, after three of twelve processes, the only ones that call, began to fail. */
const openings = (network: NetworkName, seed: number, options: Partial<Options> = {}) => {
  const simulation = new Simulation({ seed, processes: 12, conditions: networks[network](), ...options })
  simulation.startAll()
  simulation.traffic([0, 1, 2], 200, keys)
  simulation.at(12_000, () => simulation.fail(1))
  simulation.runUntil(24_000)
  const first = new Map<string, number>()
  for (const { provenance, at, circuit } of simulation.history.of("Swapped")) {
    if (provenance.why === "Tripped" && !first.has(circuit)) first.set(circuit, at - 12_000)
  }
  return { circuits: [...first.keys()].sort(), last: Math.max(...first.values()) }
}

describe("announcements only speed things up", () => {
  it("without them the same circuits open within one heartbeat", () => {
    for (const seed of seeds) {
      const [quick, slow] = [openings("1 ms", seed), openings("none", seed)]
      assert.deepStrictEqual(
        quick.circuits,
        keys.map((key) => `api/${key}`)
      )
      assert.deepStrictEqual(slow.circuits, quick.circuits)
      assert.isBelow(quick.last, 500)
      assert.isBelow(slow.last, 5_600)
    }
  })

  it("not if the roll is called again every second", () => {
    const late = seeds.filter((seed) => {
      const { circuits, last } = openings("none", seed, { mutate: rollsEverySecond })
      return circuits.length < keys.length || last > 5_600
    })
    assert.isAbove(late.length, 0)
  })
})

describe("a store that lost everything", () => {
  /** A release that process 1 missed: the store is wiped, and process 1 gives it the isolation back before process 0 can. */
  const afterwards = (options: Partial<Options>) => {
    const simulation = new Simulation({ seed: 1, processes: 2, conditions: networks.none(), ...options })
    const [first, second] = [simulation.process(0), simulation.process(1)]
    simulation.startAll()
    simulation.at(2_000, () => first.do(CircuitBreaker.isolate("api", { reason: "drill" })))
    simulation.partition([1], 12_000, 14_000)
    simulation.at(12_500, () => first.do(CircuitBreaker.release("api")))
    simulation.partition([0], 13_000, 22_000)
    simulation.at(13_500, () => simulation.store.wipe())
    simulation.runUntil(12_400)
    assert.deepStrictEqual([first.look()?.state, second.look()?.state], ["Isolated", "Isolated"])
    simulation.runUntil(60_000)
    return [first.look()?.state, second.look()?.state]
  }

  it("is given a release back over the isolation before it", () => {
    assert.deepStrictEqual(afterwards({}), ["Closed", "Closed"])
  })

  it("would isolate again if restored records counted as new", () => {
    assert.include(afterwards({ mutate: ignoresOrigin }), "Isolated")
  })
})

describe("pages", () => {
  /** What process 1 takes a circuit for, one interval after process 0 has released it. */
  const released = (options: Partial<Options>) => {
    const simulation = new Simulation({ seed: 1, processes: 2, conditions: networks.none(), ...options })
    simulation.startAll()
    simulation.at(2_000, () => simulation.process(0).do(CircuitBreaker.isolate("api", { reason: "drill" })))
    simulation.at(12_000, () => simulation.process(0).do(CircuitBreaker.release("api")))
    simulation.runUntil(18_000)
    return simulation.process(1).look()?.state
  }

  it("include circuits that are no longer listed", () => {
    assert.strictEqual(released({}), "Closed")
  })

  it("would leave a circuit isolated if they included only listed circuits", () => {
    assert.strictEqual(released({ mutate: forgetsUnlisted }), "Isolated")
  })
})
