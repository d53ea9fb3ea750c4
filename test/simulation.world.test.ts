/** Tests of the simulation itself: if it did not play a fault, no test would find that fault. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { replicated } from "./support/simulation/backend.ts"
import { type NetworkName, networks } from "./support/simulation/networks.ts"
import { type Options, Simulation } from "./support/simulation/simulation.ts"

const everyone = [0, 1, 2]

/** Three processes that have run for some time. */
const fleet = ({
  network = "1 ms",
  ...others
}: Partial<Options> & { readonly network?: NetworkName } = {}): Simulation => {
  const simulation = new Simulation({
    seed: 1,
    processes: 3,
    history: "all",
    conditions: networks[network](),
    ...others
  })
  simulation.startAll()
  simulation.runUntil(2_000)
  return simulation
}

const open = CircuitBreaker.open("api", { for: "30 seconds" })

/** The time from the sending of each command to the arrival of its answer. */
const roundTrips = ({ history }: Simulation): ReadonlyArray<number> => {
  const sent = new Map(history.of("Sent").map(({ at, command }) => [command, at]))
  return history.of("Answered").map(({ at, command }) => at - (sent.get(command) ?? Number.NaN))
}

/** When a process entered a state for the first time. */
const entered = ({ history }: Simulation, of: number, state: string): number =>
  history.of("Event").find(({ event, process }) => process === of && event._tag === "Transition" && event.to === state)
    ?.at ?? Number.POSITIVE_INFINITY

const states = (simulation: Simulation, key?: string) => everyone.map((of) => simulation.process(of).look(key)?.state)

describe("announcements", () => {
  it.each([
    ["1 ms", 1],
    ["40 ms", 40],
    ["300 ms", 300]
  ] as const)("arrive %s late", (network, millis) => {
    const simulation = fleet({ network })
    simulation.process(0).do(open)
    simulation.runUntil(3_000)
    const written = simulation.history.of("Swapped")[0]?.at ?? Number.NaN
    for (const other of [1, 2]) {
      assert.isAtLeast(entered(simulation, other, "Open") - written, millis - 0.001)
      assert.isBelow(entered(simulation, other, "Open") - written, millis + 1)
    }
  })

  it("that are late do not delay an answer", () => {
    const simulation = fleet({ network: "300 ms" })
    simulation.traffic(everyone, 50)
    simulation.fail(0.3)
    simulation.runUntil(60_000)
    const all = roundTrips(simulation)
    assert.isAbove(all.length, 100)
    assert.isBelow(Math.max(...all), 2)
  })

  it("arrive together if a process asks for them once a second, each process at its own time", () => {
    const simulation = fleet({ network: "polled", syncInterval: 60_000 })
    const { now } = simulation
    simulation.process(0).do(open)
    simulation.runUntil(now + 1_001)
    simulation.process(0).do(CircuitBreaker.close("api"))
    simulation.runUntil(now + 2_002)
    const polls = [1, 2].map((other) => {
      const [opened, closed] = ["Open", "Closed"].map((state) => entered(simulation, other, state)) as [number, number]
      assert.isBelow(opened, now + 1_001)
      assert.isAtMost(Math.abs(closed - opened - 1_000), 0.5)
      return Math.round(opened)
    })
    assert.notStrictEqual(polls[0], polls[1])
  })

  it("never arrive if the store sends none: other processes learn of a change with their heartbeats", () => {
    const simulation = fleet({ network: "none" })
    simulation.process(0).do(open)
    simulation.runUntil(2_500)
    assert.deepStrictEqual(states(simulation), ["Open", "Closed", "Closed"])
    simulation.runUntil(8_000)
    assert.deepStrictEqual(states(simulation), ["Open", "Open", "Open"])
  })
})

describe("keys", () => {
  it("have their own circuits, thousands of them in each process", () => {
    const keys = Array.from({ length: 2_000 }, (_, i) => `k${i}`)
    const simulation = fleet({ history: "moves" })
    simulation.rounds(everyone, keys, 1_000)
    simulation.dependency.behaviour = (_, __, ___, key) => ({ ok: key !== "k7" && key !== "k1999", latency: 1 })
    simulation.runUntil(8_000)
    const circuits = simulation.history.of("Swapped").map(({ circuit }) => circuit)
    assert.deepStrictEqual([...circuits].sort(), ["api/k1999", "api/k7"])
    assert.deepStrictEqual(states(simulation, "k7"), ["Open", "Open", "Open"])
    assert.deepStrictEqual(states(simulation, "k8"), ["Closed", "Closed", "Closed"])
  })
})

describe("a store", () => {
  it("serves one command at a time: the others wait", () => {
    const simulation = fleet({ service: () => 10 })
    const already = simulation.history.of("Answered").length
    // Each has one command at a time for what it writes.
    for (const { index } of simulation.processes) {
      for (const key of ["k0", "k1", "k2"]) {
        simulation.process(index).do(CircuitBreaker.open("api", { key: `${key}-${index}`, for: "30 seconds" }))
      }
    }
    simulation.runUntil(2_090)
    const answered = simulation.history.of("Answered").slice(already)
    assert.isAtLeast(answered.length, 6)
    for (const [i, { at }] of answered.entries()) {
      if (i > 0) assert.isAtLeast(at - (answered[i - 1]?.at ?? 0), 9)
    }
  })

  it("that thaws executes nothing of what arrived while it was frozen, and answers it in the same order", () => {
    const simulation = fleet()
    simulation.store.freeze()
    simulation.process(0).do(open)
    simulation.runUntil(20_000)
    assert.deepStrictEqual(simulation.history.of("Swapped"), [])
    simulation.store.thaw()
    simulation.runUntil(20_001)
    const carriedOut = simulation.history.of("Applied").filter(({ at }) => at >= 20_000)
    assert.isAbove(carriedOut.length, 5)
    assert.deepStrictEqual(simulation.history.of("Swapped"), [])
    simulation.runUntil(25_000)
    // What it could not tell is told again.
    assert.deepStrictEqual(
      carriedOut.map(({ command }) => command),
      carriedOut.map(({ command }) => command).toSorted((a, b) => a - b)
    )
    assert.isAbove(simulation.history.of("Swapped").length, 0)
  })

  it("that fails over to a copy loses its latest writes, and assigns each epoch once", () => {
    const simulation = fleet({ network: "none", store: replicated(500), syncInterval: 60_000 })
    const swapped = () => simulation.history.of("Swapped")
    simulation.process(0).do(open)
    simulation.runUntil(4_000)
    simulation.process(0).do(CircuitBreaker.isolate("api", { reason: "drill" }))
    simulation.runUntil(4_400)
    assert.strictEqual(simulation.look().record?.state._tag, "Isolated")
    const lost = simulation.look().record?.epoch ?? Number.NaN
    simulation.store.failover()
    const { record } = simulation.look()
    assert.strictEqual(record?.state._tag, "Open")
    assert.strictEqual(record?.epoch, swapped()[0]?.epoch)
    // The clock of the copy shows the time of the last command that it has executed.
    const since = record?.state.since ?? Number.NaN
    assert.closeTo(since, swapped()[0]?.at ?? Number.NaN, 2)
    simulation.process(1).do(CircuitBreaker.isolate("api", { reason: "another drill" }))
    simulation.runUntil(4_500)
    assert.isAbove(simulation.look().record?.epoch ?? 0, lost)
  })

  it("that fails over after a wipe has the records from before the wipe", () => {
    const simulation = fleet({ network: "none", store: replicated(500), syncInterval: 60_000 })
    simulation.process(0).do(open)
    simulation.runUntil(4_000)
    simulation.store.wipe()
    simulation.runUntil(6_000)
    simulation.store.failover()
    assert.isUndefined(simulation.look().record)
  })
})

describe("a process", () => {
  it("whose commands are frozen gets no answer; when they thaw they are too late, and the process sends them again", () => {
    const simulation = fleet()
    const { network } = simulation.process(0)
    network.freeze()
    simulation.process(0).do(open)
    simulation.runUntil(12_000)
    assert.deepStrictEqual(simulation.history.of("Swapped"), [])
    network.thaw()
    simulation.runUntil(12_001)
    assert.deepStrictEqual(simulation.history.of("Swapped"), [])
    simulation.runUntil(15_000)
    assert.strictEqual(simulation.history.of("Swapped")[0]?.process, 0)
  })

  it("whose event loop stalled first runs all due timers in their order, and then handles what arrived", () => {
    const simulation = fleet()
    const order: Array<string> = []
    simulation.history.onEntry(({ _tag }) => _tag === "Settled" && order.push("answer"))
    simulation.dependency.behaviour = () => ({ ok: true, latency: 50 })
    simulation.process(0).call()
    for (const millis of [900, 300]) {
      simulation.process(0).do(
        Effect.andThen(
          Effect.sleep(millis),
          Effect.sync(() => order.push(`timer ${millis}`))
        )
      )
    }
    simulation.process(0).stall(2_000)
    simulation.runUntil(3_900)
    assert.deepStrictEqual(order, [])
    simulation.runUntil(4_000)
    assert.deepStrictEqual(order, ["timer 300", "timer 900", "answer"])
  })

  it("whose event loop stalls makes its calls and handles announcements after the stall", () => {
    const simulation = fleet()
    simulation.process(0).stall(3_000)
    assert.isTrue(simulation.process(0).isStalled)
    simulation.runUntil(2_500)
    simulation.process(0).call()
    simulation.process(1).do(open)
    simulation.runUntil(4_900)
    assert.strictEqual(simulation.history.of("Admitted").length, 0)
    assert.deepStrictEqual(states(simulation), ["Closed", "Open", "Open"])
    simulation.runUntil(5_000)
    assert.isFalse(simulation.process(0).isStalled)
    // The call was due before the announcement arrived, and the process handled both only after the stall.
    assert.deepStrictEqual(
      simulation.history.of("Admitted").map(({ at }) => at),
      [5_000]
    )
    // A delayed announcement may be old, so the process reads the record.
    simulation.runUntil(5_010)
    assert.isAbove(entered(simulation, 0, "Open"), 5_000)
    assert.isBelow(entered(simulation, 0, "Open"), 5_002)
  })
})

describe("a seed", () => {
  it("determines every random choice, also with all kinds of faults", () => {
    const play = () => {
      const simulation = fleet({ network: "polled", store: replicated(300) })
      const keys = ["a", "b", "c"]
      simulation.traffic(everyone, 50, keys)
      simulation.traffic(everyone, 10)
      simulation.at(5_000, () => simulation.fail(1))
      simulation.at(6_000, () => simulation.store.freeze())
      simulation.at(7_500, () => simulation.store.thaw())
      simulation.at(9_000, () => simulation.process(1).stall(1_500))
      simulation.at(12_000, () => simulation.store.failover())
      simulation.at(13_000, () => simulation.process(2).network.freeze())
      simulation.at(15_000, () => simulation.process(2).network.thaw())
      simulation.at(20_000, () => simulation.store.wipe())
      simulation.runUntil(40_000)
      return simulation.history.entries.map(({ _tag, at, process }) => `${at} ${_tag} ${process}`)
    }
    const first = play()
    for (const tag of ["Swapped", "Stalled", "FailedOver", "Frozen", "Thawed"]) assert.include(first.join(), tag)
    assert.deepStrictEqual(play(), first)
  })
})
