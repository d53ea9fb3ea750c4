/** The decisions of a fleet on different networks, with the real engine in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { type NetworkName, networks } from "./support/simulation/networks.ts"
import { type Options, Simulation } from "./support/simulation/simulation.ts"

const names = (from: number, until: number) => Array.from({ length: until - from }, (_, i) => from + i)

interface Given extends Partial<Options> {
  readonly network?: NetworkName
}

/** Processes that have been live for long enough to open a circuit together. */
const fleet = (processes: number, { network = "none", ...more }: Given = {}): Simulation => {
  const simulation = new Simulation({ seed: 1, processes, conditions: networks[network](), ...more })
  simulation.startAll()
  simulation.runUntil(20_000)
  return simulation
}

const openings = (simulation: Simulation) =>
  simulation.history.of("Swapped").filter(({ provenance }) => provenance.why === "Tripped")

/** Calls of one process, by default a tenth of a second apart. */
const calls = (simulation: Simulation, process: number, from: number, until: number, apart = 100): void => {
  for (let at = from; at < until; at += apart) simulation.at(at, () => simulation.process(process).call())
}

/** Counts the commands that are not empty, and their items. */
const batches = () => {
  const counted = { commands: 0, items: 0, largest: 0 }
  const add = (items: number): void => {
    if (items > 0) counted.commands++
    counted.items += items
    counted.largest = Math.max(counted.largest, items)
  }
  return Object.assign(counted, { add })
}

describe("A minority", () => {
  const networked: ReadonlyArray<NetworkName> = ["1 ms", "40 ms", "100 ms", "300 ms", "polled", "none", "lossy", "far"]
  it.each(networked)(
    "of two failing processes in ten opens only its own circuits, with announcements %s",
    (network) => {
      const simulation = fleet(10, { network })
      simulation.traffic(names(0, 10), 20)
      simulation.at(22_000, () => simulation.fail((process) => (process < 2 ? 1 : 0)))
      simulation.runUntil(50_000)
      assert.deepStrictEqual(openings(simulation), [])
      assert.deepStrictEqual(
        simulation.processes.slice(2).map(({ rejections }) => rejections),
        Array(8).fill(0)
      )
    }
  )

  it.each(["1 ms", "none"] as const)(
    "opens nothing if the others have stopped calling: they answer the roll call (%s)",
    (network) => {
      const simulation = fleet(5, { network, dependency: undefined })
      simulation.fail((process) => (process < 2 ? 1 : 0))
      for (const process of names(2, 5)) calls(simulation, process, 20_000, 21_000)
      for (const process of names(0, 2)) calls(simulation, process, 21_000, 40_000)
      simulation.runUntil(40_000)
      assert.deepStrictEqual(openings(simulation), [])
    }
  )

  it("opens nothing if the event loops of the others stall during the roll call: they answer afterwards", () => {
    const simulation = fleet(5, { network: "1 ms" })
    simulation.fail((process) => (process < 2 ? 1 : 0))
    for (const process of names(2, 5)) {
      calls(simulation, process, 20_000, 21_000)
      simulation.at(21_050, () => simulation.process(process).stall(2_000))
    }
    for (const process of names(0, 2)) calls(simulation, process, 21_000, 40_000)
    simulation.runUntil(40_000)
    assert.deepStrictEqual(openings(simulation), [])
  })

  it.each([
    ["have called before", true],
    ["have never called", false]
  ])("opens nothing if processes that abstained from a roll call begin to succeed, and %s", (_, before) => {
    const simulation = fleet(7)
    if (before) for (const process of [4, 5, 6]) calls(simulation, process, 20_000, 20_500)
    simulation.runUntil(60_000)
    simulation.fail((process) => (process < 2 ? 1 : 0))
    // Two successful processes prevent the opening. Three processes abstain.
    for (const process of [2, 3]) calls(simulation, process, 60_000, 61_000)
    for (const process of [0, 1]) calls(simulation, process, 61_000, 80_000, 2_000)
    for (const process of [4, 5, 6]) simulation.at(68_000, () => simulation.process(process).call())
    // From now on these three prevent the opening.
    for (const process of [2, 3]) simulation.at(68_500, () => simulation.process(process).end())
    simulation.runUntil(85_000)
    assert.deepStrictEqual(openings(simulation), [])
  })

  it("does not open if the others answered the roll call and then stopped calling: their answers stay valid during the roll call", () => {
    const simulation = fleet(5, { policy: { trip: { _tag: "Consecutive", failures: 12 } } })
    simulation.fail((process) => (process < 2 ? 1 : 0))
    // The roll call comes after 18 seconds, when the failures of the two processes together suffice. Each alone trips after 36 seconds.
    for (const process of [2, 3, 4]) calls(simulation, process, 20_000, 38_000)
    for (const process of [0, 1]) calls(simulation, process, 21_000, 57_000, 3_000)
    simulation.runUntil(57_000)
    assert.deepStrictEqual(openings(simulation), [])
  })

  it("opens nothing if processes crash after they received the roll call, and others do not receive it", () => {
    const simulation = fleet(6, { network: "1 ms", syncInterval: 5_000 })
    simulation.fail((process) => (process < 2 ? 1 : 0))
    for (const process of [2, 3]) calls(simulation, process, 20_000, 21_000)
    // Two processes do not receive the roll call, and their messages do not arrive.
    simulation.at(20_900, () => {
      for (const process of [2, 3]) simulation.process(process).network.conditions.cut = true
    })
    for (const process of [0, 1]) calls(simulation, process, 21_000, 24_000)
    simulation.at(21_600, () => {
      for (const process of [4, 5]) simulation.process(process).crash()
    })
    simulation.runUntil(24_000)
    assert.deepStrictEqual(openings(simulation), [])
  })
})

describe("A store", () => {
  it("that freezes before it executes an opening does not execute it when it thaws", () => {
    const simulation = fleet(6, { network: "1 ms", history: "all" })
    simulation.traffic(names(0, 6), 20)
    simulation.at(22_000, () => simulation.fail(1))
    simulation.store.onArrival = (request) => {
      const isOpening = request.operation === "exchange" && request.exchange.swaps.length > 0
      if (isOpening && simulation.now < 23_000) simulation.store.freeze()
    }
    simulation.at(30_000, () => simulation.fail(0))
    simulation.at(42_000, () => simulation.store.thaw())
    simulation.runUntil(60_000)
    assert.deepStrictEqual(openings(simulation), [])
  })

  it.each(["1 ms", "none"] as const)("that was wiped while new processes fail opens nothing (%s)", (network) => {
    const simulation = new Simulation({ seed: 3, processes: 12, conditions: networks[network]() })
    for (const process of names(0, 10)) simulation.process(process).start()
    simulation.traffic(names(0, 12), 20)
    simulation.runUntil(20_000)
    simulation.fail((process) => (process < 10 ? 0 : 1))
    simulation.store.wipe()
    simulation.runUntil(20_010)
    for (const process of [10, 11]) simulation.process(process).start()
    simulation.runUntil(50_000)
    assert.deepStrictEqual(openings(simulation), [])
  })

  it("opens a circuit within 9.6 s after a crash of most processes, when it no longer counts them", () => {
    const simulation = fleet(20, { network: "1 ms" })
    simulation.traffic(names(0, 20), 20)
    simulation.at(25_000, () => {
      for (const process of names(0, 12)) simulation.process(process).crash()
    })
    simulation.at(25_100, () => simulation.fail(1))
    simulation.runUntil(45_000)
    const [first] = openings(simulation)
    assert.isBelow((first?.at ?? Number.POSITIVE_INFINITY) - 25_100, 9_600)
  })
})

describe("Processes that are the only callers of a circuit", () => {
  const within: ReadonlyArray<readonly [NetworkName, millis: number]> = [
    ["1 ms", 160],
    ["100 ms", 300],
    ["300 ms", 500],
    ["polled", 2_600],
    ["none", 6_600]
  ]
  it.each(within)("open it for the whole fleet, with announcements %s, within %d ms", (network, millis) => {
    const simulation = fleet(30, { network })
    simulation.traffic(names(0, 4), 50)
    simulation.at(24_000, () => simulation.fail(1))
    simulation.runUntil(24_000 + millis)
    assert.strictEqual(openings(simulation).length, 1)
  })

  it("cost the other processes fewer than 50 commands for a hundred roll calls", () => {
    const simulation = fleet(12, { network: "1 ms" })
    const keys = Array.from({ length: 100 }, (_, n) => `k${n}`)
    simulation.rounds([0, 1, 2], keys, 1_000)
    simulation.runUntil(23_000)
    simulation.fail(1)
    const before = simulation.processes.map(({ network }) => network.commands)
    simulation.runUntil(28_000)
    assert.isAtLeast(openings(simulation).length, 100)
    for (const process of names(3, 12)) {
      assert.isBelow((simulation.processes[process]?.network.commands ?? 0) - (before[process] ?? 0), 50)
    }
  })
})

describe("A mass outage", () => {
  it("opens a thousand circuits for the fleet within a few seconds, with few commands", () => {
    const simulation = fleet(4, { network: "1 ms" })
    const keys = Array.from({ length: 1_000 }, (_, n) => `k${n}`)
    simulation.rounds(names(0, 4), keys, 1_000)
    simulation.runUntil(23_000)
    simulation.fail(1)
    const before = simulation.processes.map(({ network }) => network.commands)
    const [casts, swaps] = [batches(), batches()]
    simulation.store.onArrival = (request) => {
      if (request.operation !== "exchange") return
      casts.add(request.exchange.casts.length)
      swaps.add(request.exchange.swaps.length)
    }
    simulation.runUntil(27_000)
    // A command carries all items that were added while the previous command was in flight.
    for (const { commands, items, largest } of [casts, swaps]) {
      assert.isAbove(items / commands, 1.5)
      assert.isAbove(largest, 5)
    }
    assert.strictEqual(new Set(openings(simulation).map(({ circuit }) => circuit)).size, 1_000)
    for (const [index, { network }] of simulation.processes.entries()) {
      assert.isBelow(network.commands - (before[index] ?? 0), 4 * 200, `commands of process ${index}`)
    }
  })

  it("costs at most ten commands a second in each lane if the store refuses everything", () => {
    const simulation = fleet(4, { network: "1 ms" })
    const keys = Array.from({ length: 500 }, (_, n) => `k${n}`)
    simulation.rounds(names(0, 4), keys, 500)
    simulation.runUntil(23_000)
    simulation.store.refuses = true
    simulation.fail(1)
    const before = simulation.processes.map(({ network }) => network.commands)
    simulation.runUntil(28_000)
    for (const [index, { network }] of simulation.processes.entries()) {
      assert.isBelow(network.commands - (before[index] ?? 0), 50, `commands of process ${index}`)
    }
  })
})

describe("A process whose event loop stalled", () => {
  it("casts no ballot about the calls during the stall", () => {
    const simulation = fleet(2, { network: "1 ms", policy: { trip: { _tag: "Consecutive", failures: 50 } } })
    simulation.dependency.behaviour = () => ({ ok: false, latency: 500 })
    simulation.runUntil(24_000)
    const asked = simulation.store.items
    for (const process of names(0, 2)) for (let i = 0; i < 6; i++) simulation.process(process).call()
    for (const process of names(0, 2)) simulation.process(process).stall(3_000)
    simulation.runUntil(40_000)
    assert.strictEqual(simulation.store.items, asked)
  })
})
