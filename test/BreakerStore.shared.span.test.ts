import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { fleet, type Process, pause } from "./support/fleet.ts"

const policy = { span: true, cooldown: "10 seconds" } as const

const call = (process: Process, key: string, ok: boolean) =>
  Effect.exit(process.run(CircuitBreaker.protect(ok ? Effect.succeed("ok") : Effect.fail("down"), "api", { key })))

/** Makes a call with each of many keys. */
const all = (process: Process, ok: boolean, from = 0) =>
  Effect.forEach(Array.from({ length: 40 }), (_, i) => call(process, `k${from + i}`, ok), { discard: true })

const standing = (process: Process) =>
  process.run(Effect.all([CircuitBreaker.state("api", { key: "k0" }), CircuitBreaker.scope("api", { key: "k0" })]))

describe("The circuit of a name in a fleet", () => {
  it.effect("opens for all processes when all keys are down, and one probe of any key closes it for all", () =>
    Effect.gen(function* () {
      const { at, join, processes } = yield* fleet(3, { policy })
      yield* Effect.forEach(processes, (process) => all(process, true))
      yield* Effect.forEach(processes, (process) => all(process, false))
      yield* pause(1_000)
      for (const process of processes) assert.deepStrictEqual(yield* standing(process), ["Open", "fleet"])
      const late = yield* join()
      assert.isTrue(
        Exit.isFailure(yield* call(late, "new", true)),
        "a process that starts rejects the calls of all keys"
      )
      yield* pause(12_000)
      assert.isTrue(Exit.isSuccess(yield* call(at(0), "k7", true)))
      yield* pause(6_000)
      for (const process of [...processes, late]) {
        assert.deepStrictEqual(yield* standing(process), ["Closed", "local"])
        assert.isTrue(Exit.isSuccess(yield* call(process, "k1", true)))
      }
    })
  )

  it.effect("opens in the only process whose keys are down", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3, { policy })
      yield* Effect.forEach(processes, (process) => all(process, true))
      yield* all(at(0), false)
      yield* pause(2_000)
      assert.deepStrictEqual(yield* standing(at(0)), ["Open", "local"])
      for (const process of processes.slice(1)) {
        assert.deepStrictEqual(yield* standing(process), ["Closed", "local"])
        assert.isTrue(Exit.isSuccess(yield* call(process, "k1", true)))
      }
    })
  )

  it.effect("stays closed in the healthy half of the processes", () =>
    Effect.gen(function* () {
      const { processes } = yield* fleet(4, { policy })
      yield* Effect.forEach(processes, (process) => all(process, true))
      const [failing, healthy] = [processes.slice(0, 2), processes.slice(2)]
      yield* Effect.forEach(failing, (process) => all(process, false))
      for (let second = 0; second < 9; second++) {
        yield* Effect.forEach(healthy, (process) => all(process, true))
        yield* pause(1_000)
        for (const process of failing) assert.deepStrictEqual(yield* standing(process), ["Open", "local"])
        for (const process of healthy) assert.deepStrictEqual(yield* standing(process), ["Closed", "local"])
      }
    })
  )

  it.effect("opens in a healthy process if most of the others agree", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(4, { policy })
      yield* Effect.forEach(processes, (process) => all(process, true))
      yield* Effect.forEach(processes.slice(1), (process) => all(process, false))
      yield* pause(1_000)
      assert.deepStrictEqual(yield* standing(at(0)), ["Open", "fleet"])
      assert.isTrue(Exit.isFailure(yield* call(at(0), "k1", true)))
    })
  )
})
