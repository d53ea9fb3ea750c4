import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import { type BreakerPolicy, Trip } from "effect-fuse"
import { expectAll, failing, fleet, pause } from "./support/fleet.ts"

const policy: BreakerPolicy.Input = { limit: true, trip: Trip.consecutive(5) }

describe("In a fleet whose policy has a limit", () => {
  it.effect("timeouts open no circuit while other calls succeed, however many processes see them", () =>
    Effect.gen(function* () {
      const { all, processes } = yield* fleet(3, { policy })
      for (let round = 0; round < 20; round++) {
        yield* all((process) => process.succeed)
        for (let i = 0; i < 4; i++) {
          yield* all((process) => Effect.exit(process.protect(Effect.fail(new Cause.TimeoutError()))))
          yield* pause(100)
        }
      }
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("plain failures open the circuit of all, once they have lasted for a second", () =>
    Effect.gen(function* () {
      const { all, processes } = yield* fleet(3, { policy })
      yield* all((process) => process.succeed)
      yield* failing(processes, 10, 10)
      yield* expectAll(processes, "Closed local")
      yield* pause(1_000)
      yield* failing(processes, 3, 10)
      yield* pause(200)
      yield* expectAll(processes, "Open fleet")
    })
  )

  it.effect(
    "after the fleet closes the circuit, each process limits its own calls, even if it made no calls before",
    () =>
      Effect.gen(function* () {
        const { all, at, processes } = yield* fleet(3, { policy })
        yield* all((process) => process.succeed)
        yield* pause(1_000)
        yield* failing([at(0), at(1)], 8, 10)
        yield* pause(200)
        yield* expectAll(processes, "Open fleet")
        yield* pause(8_000)
        yield* all((process) => process.succeed)
        yield* pause(200)
        yield* all((process) => process.succeed)
        yield* expectAll(processes, "Closed local")
        const limits = yield* all((process) => Effect.map(process.inspect, ({ limit }) => limit))
        assert.isTrue(limits.every((limit) => limit !== undefined && limit <= 3))
        assert.isTrue(Exit.isSuccess(yield* at(2).succeed))
      })
  )
})
