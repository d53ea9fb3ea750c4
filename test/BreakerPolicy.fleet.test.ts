import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, Trip } from "effect-fuse"
import { expectAll, failing, fleet, pause } from "./support/fleet.ts"

describe("A fleet's policy", () => {
  it.effect(
    "suspectAfter 1: one failure in each process opens the circuit for the fleet; with the default it does not",
    () =>
      Effect.gen(function* () {
        for (const [suspectAfter, standing] of [
          [1, "Open fleet"],
          [2, "Closed local"]
        ] as const) {
          const policy = { trip: Trip.consecutive(3), fleet: { suspectAfter } }
          const { processes } = yield* fleet(4, { policy })
          yield* Effect.forEach(processes, (process) => process.succeed)
          yield* failing(processes, 1)
          yield* pause(400)
          yield* expectAll(processes, standing)
        }
      })
  )

  it.effect("hold: the fleet waits that long for ballots of silent processes before it opens", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(5, { policy: { trip: Trip.consecutive(6), fleet: { hold: "1 second" } } })
      // The other processes live and have never called the circuit, so they cast no ballot.
      yield* failing([at(0), at(1)], 2)
      yield* pause(500)
      // More failures meanwhile do not shorten it.
      yield* failing([at(0), at(1)], 2)
      yield* pause(400)
      yield* expectAll(processes, "Closed local")
      yield* pause(300)
      yield* expectAll(processes, "Open fleet")
    })
  )

  for (const [observation, standing] of [
    ["5 seconds", "Open fleet"],
    ["30 seconds", "Closed local"]
  ] as const) {
    it.effect(
      `observation ${observation}: a process whose last call was 10 seconds ago ${observation === "5 seconds" ? "has no vote" : "has a vote"}`,
      () =>
        Effect.gen(function* () {
          const { at, processes } = yield* fleet(4, { policy: { trip: Trip.consecutive(4), fleet: { observation } } })
          yield* Effect.forEach(processes, (process) => process.succeed)
          yield* TestClock.adjust("10 seconds")
          yield* failing([at(0), at(1)], 3)
          yield* pause(400)
          yield* expectAll(processes, standing)
        })
    )
  }
})

describe("BreakerPolicy.decode refuses a wrong `fleet` and names the field", () => {
  for (const [fleet, path] of [
    [true, "fleet"],
    [5, "fleet"],
    [{ suspectAfter: 0 }, "fleet.suspectAfter"],
    [{ quorum: 1 }, "fleet.quorum"],
    [{ quorum: -0.1 }, "fleet.quorum"],
    [{ hold: -1 }, "fleet.hold"],
    [{ observation: 0 }, "fleet.observation"],
    [{ holds: 1 }, "fleet.holds"]
  ] as const) {
    it(JSON.stringify(fleet), () => {
      const decoded = BreakerPolicy.decode({ fleet: fleet as never })
      assert.deepStrictEqual(Result.isFailure(decoded) ? decoded.failure.problems.map((problem) => problem.path) : [], [
        path
      ])
    })
  }
})
