/** A process freezes between a decision and the command for this decision. The real engine runs in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { CircuitBreaker, type SharedStore } from "effect-fuse"
import { type Options, Simulation } from "./support/simulation/simulation.ts"

const minutes = 60_000

/** Starts two processes. Their first calls succeed. */
const two = (options: Partial<Options> = {}): Simulation => {
  const simulation = new Simulation({
    seed: 1,
    processes: 2,
    history: "all",
    syncInterval: 1_000,
    policy: { cooldown: 300_000 },
    ...options
  })
  simulation.startAll()
  simulation.runUntil(2_000)
  calls(simulation, 0, 20)
  calls(simulation, 1, 20)
  simulation.runUntil(4_000)
  return simulation
}

/** Plans consecutive calls of one process. */
const calls = (simulation: Simulation, of: number, count: number): void => {
  for (let i = 0; i < count; i++) simulation.at(simulation.now + 5 * i, () => simulation.process(of).call())
}

const wait = (simulation: Simulation, millis: number): void => simulation.runUntil(simulation.now + millis)

/** Lists the records that were written after `since`, each with its cause. */
const written = ({ history }: Simulation, since: number): ReadonlyArray<string> =>
  history
    .of("Swapped")
    .flatMap(({ at, circuit, provenance, state }) =>
      at > since && circuit === "api" ? [`${state._tag}, ${provenance.why}`] : []
    )

/** Whether the store has executed a command of process 0 after `since`. */
const applied = ({ history }: Simulation, since: number, operation: "load" | "page"): boolean =>
  history
    .of("Applied")
    .some(({ at, process, request }) => at > since && process === 0 && request.operation === operation)

const until = (simulation: Simulation, isTrue: () => boolean): void => {
  for (let i = 0; !isTrue(); i++) {
    assert.isBelow(i, 100_000)
    wait(simulation, 0.1)
  }
}

const states = (simulation: Simulation) => simulation.look().processes.map((one) => one?.state)

const openFor = (millis: number) => CircuitBreaker.open("api", { for: millis })

/** When a process is stopped, its clocks continue. When it is suspended, its monotonic clock stops. */
const freezes = {
  "is stopped": (simulation: Simulation, millis: number) => simulation.process(0).stall(millis),
  "is suspended together with its clock": (simulation: Simulation, millis: number) =>
    simulation.process(0).suspend(millis)
}

/** Makes a call in a process. Counts whether the call was admitted or rejected. */
const tried = (simulation: Simulation, of: number) => {
  const { history } = simulation
  const began = simulation.now
  const ended = (_tag: "Admitted" | "Rejected") =>
    history.of(_tag).filter(({ at, process }) => at >= began && process === of).length
  simulation.process(of).call()
  wait(simulation, 100)
  return { reached: ended("Admitted"), rejected: ended("Rejected") }
}

describe.each(Object.entries(freezes))("A process that %s", (_, freeze) => {
  it.each([0, 20])("does not send an old vote as a new vote (%s calls after the thaw)", (after) => {
    const simulation = two()
    // The votes do not reach the store before the freeze.
    simulation.process(0).network.freeze()
    simulation.fail(1)
    calls(simulation, 0, 4)
    wait(simulation, 50)
    freeze(simulation, 10 * minutes)
    simulation.process(0).network.thaw()
    wait(simulation, 10 * minutes - 40)
    // Two failures do not trip the policy.
    calls(simulation, 1, 2)
    wait(simulation, 41)
    assert.isFalse(simulation.process(0).isStalled)
    simulation.fail(0)
    calls(simulation, 0, after)
    wait(simulation, 10_000)
    assert.deepStrictEqual(written(simulation, 0), [])
    assert.strictEqual(states(simulation)[1], "Closed")
  })

  it("does not vote because of failures from before the freeze", () => {
    const simulation = two()
    simulation.fail(1)
    calls(simulation, 0, 4)
    wait(simulation, 50)
    freeze(simulation, 10 * minutes)
    wait(simulation, 10 * minutes + 3_000)
    calls(simulation, 1, 2)
    wait(simulation, 10_000)
    assert.deepStrictEqual(written(simulation, 0), [])
  })

  it("does not open the circuit because of a tally from before the freeze", () => {
    const isOther = ({ circuit }: SharedStore.Swap) => circuit !== "api"
    const simulation = two({
      client: (store) => ({
        ...store,
        exchange: (one) => {
          if (one.swaps.some(isOther)) return Effect.never
          // The store executes an opening only if the frozen process sends it.
          return one.swaps.length > 0 && one.voter.startsWith("p1") ? Effect.never : store.exchange(one)
        }
      })
    })
    simulation.fail(1)
    // The store does not answer this command, so later commands wait.
    simulation.process(0).do(CircuitBreaker.isolate("other"))
    calls(simulation, 0, 5)
    calls(simulation, 1, 5)
    wait(simulation, 100)
    freeze(simulation, 10 * minutes)
    // During the freeze, the calls of the other process succeed.
    simulation.fail(0)
    wait(simulation, 6 * minutes)
    calls(simulation, 1, 20)
    wait(simulation, 4 * minutes - 1)
    assert.deepStrictEqual(states(simulation), ["Open", "Closed"])
    wait(simulation, 10_000)
    assert.deepStrictEqual(written(simulation, 0), [])
    assert.strictEqual(states(simulation)[1], "Closed")
  })

  it("does not write an opening back to the store if the opening ended during the freeze", () => {
    const simulation = two()
    simulation.process(1).do(openFor(30_000))
    wait(simulation, 1_000)
    assert.strictEqual(states(simulation)[0], "Open")
    const began = simulation.now
    freeze(simulation, 10 * minutes)
    wait(simulation, 10 * minutes + 10_000)
    assert.deepStrictEqual(written(simulation, began), [])
  })

  it("does not write back an opening that it was about to write back before the freeze", () => {
    const simulation = two()
    simulation.process(1).do(openFor(30_000))
    wait(simulation, 500)
    simulation.process(1).crash()
    simulation.store.wipe()
    // Process 0 detects the loss. Before it writes the opening back, it waits for a random time, so that not all processes write.
    const began = simulation.now
    until(simulation, () => applied(simulation, began, "load"))
    wait(simulation, 2)
    freeze(simulation, 10 * minutes)
    wait(simulation, 10 * minutes + 10_000)
    assert.deepStrictEqual(written(simulation, began), [])
  })

  it("does not follow an announcement if its opening ended during the freeze", () => {
    const simulation = two()
    const began = simulation.now
    simulation.process(1).do(openFor(2_000))
    freeze(simulation, 10 * minutes)
    wait(simulation, 10 * minutes + 10_000)
    assert.deepStrictEqual(written(simulation, began), ["Open, OpenedByHand"])
    const { reached, rejected } = tried(simulation, 0)
    assert.deepStrictEqual([reached, rejected], [1, 0])
  })
})

describe("A process that is stopped", () => {
  it("does not close a later opening because of an earlier health check", () => {
    let checks = 0
    let passes = true
    // The processes check alternately. The checks of process 0 pass after 50 milliseconds, until `passes` is false.
    const check = Effect.suspend(() => (checks++ % 2 === 1 && passes ? Effect.sleep(50) : Effect.fail("down")))
    const simulation = two({ policy: { cooldown: 300_000, probe: { check, schedule: "1 second" } } })
    simulation.process(1).do(openFor(30 * minutes))
    until(simulation, () => checks === 2)
    simulation.process(0).stall(5 * minutes)
    wait(simulation, 100)
    simulation.process(1).do(CircuitBreaker.reset("api"))
    wait(simulation, 100)
    const began = simulation.now
    passes = false
    simulation.process(1).do(openFor(30 * minutes))
    wait(simulation, 6 * minutes)
    assert.deepStrictEqual(written(simulation, began), ["Open, OpenedByHand"])
    assert.deepStrictEqual(states(simulation), ["Open", "Open"])
  })

  it("does not follow an answer of the store that expired during the freeze", () => {
    const simulation = two()
    simulation.process(0).network.conditions.loseAnnouncement = 1
    simulation.process(1).do(openFor(30_000))
    wait(simulation, 10)
    const began = simulation.now
    simulation.process(0).network.conditions.delay = () => 5
    until(simulation, () => applied(simulation, began, "page"))
    assert.strictEqual(states(simulation)[0], "Closed")
    simulation.process(0).stall(10 * minutes)
    wait(simulation, 10 * minutes + 5_000)
    const { reached, rejected } = tried(simulation, 0)
    assert.deepStrictEqual([reached, rejected], [1, 0])
    assert.notInclude(written(simulation, began), "Open, OpenedByHand")
  })

  it("learns after the thaw that its own opening ended during the freeze", () => {
    const simulation = two()
    simulation.process(0).network.conditions.delay = () => 5
    const began = simulation.now
    simulation.process(0).do(openFor(30_000))
    until(simulation, () => written(simulation, began).length > 0)
    simulation.process(0).stall(10 * minutes)
    wait(simulation, 10 * minutes + 5_000)
    const { reached, rejected } = tried(simulation, 0)
    assert.deepStrictEqual([reached, rejected], [1, 0])
  })
})

describe("A command that is late because the store's clock has stepped", () => {
  it.each([-30_000, 30_000])("is decided a second time and sent at once (%s ms)", (millis) => {
    const simulation = two()
    simulation.store.jump(millis)
    const began = simulation.now
    simulation.process(0).do(openFor(30_000))
    wait(simulation, 10)
    assert.deepStrictEqual(written(simulation, began), ["Open, OpenedByHand"])
  })

  it("is repeated rarely if each command is late", () => {
    let late = 0
    const simulation = two({
      client: (store) => ({
        ...store,
        exchange: (one) => {
          if (one.swaps.length === 0) return store.exchange(one)
          late++
          return store.exchange({ ...one, notAfter: 0 })
        }
      })
    })
    simulation.process(0).do(openFor(30_000))
    wait(simulation, 90)
    assert.strictEqual(late, 2)
    assert.strictEqual(states(simulation)[0], "Open")
    wait(simulation, 10_000)
    assert.isBelow(late, 30)
  })
})
