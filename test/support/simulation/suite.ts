import { assert, describe, it } from "@effect/vitest"
import { alone, breaks, mutants } from "./mutants.ts"
import { check } from "./properties.ts"
import { type Given, oneIsBad, scenario, trips } from "./scenario.ts"
import type { lanes } from "./seeds.ts"

/** Defines the tests of a fleet in virtual time. `kind` names the kind of store in their titles, such as "a database". */
export const fleetOn = (kind: string, store: () => Given["store"], played: ReturnType<typeof lanes>): void => {
  const on = (seed: number, given: Given = {}) => scenario(seed, { store: store(), ...given })

  describe(`a fleet on ${kind} with all faults`, () => {
    for (const { seeds, tags, title } of played)
      it(`keeps every promise at every step, and recovers${title}`, { tags, timeout: 600_000 }, () => {
        for (const seed of seeds) {
          const run = on(seed)
          check(seed, run)
          run.simulation.close()
        }
      })

    it("is repeated exactly with the same seed", () => {
      const play = () => {
        const { simulation } = on(7)
        simulation.runUntil(20_000)
        simulation.close()
        return simulation.history.entries.map(({ _tag, at }) => `${at} ${_tag}`)
      }
      const first = play()
      assert.include(first.join(), "Swapped")
      assert.deepStrictEqual(first, play())
    }, 60_000)
  })

  describe(`a process on ${kind} that fails alone`, () => {
    for (const { seeds, tags, title } of played)
      it(`opens only itself${title}`, { tags, timeout: 120_000 }, () => {
        for (const seed of seeds) {
          const simulation = oneIsBad(seed, { store: store() })
          assert.deepStrictEqual(trips(simulation), [], `seed ${seed}`)
          const [bad, ...others] = simulation.look().processes
          assert.include(["Open", "HalfOpen"], bad?.state, `seed ${seed}`)
          for (const other of others) assert.strictEqual(other?.state, "Closed", `seed ${seed}`)
          simulation.close()
        }
      })

    it("would open the circuit of the fleet if the store counted only this process", () => {
      const simulation = oneIsBad(1, { store: store(), mutate: alone })
      assert.isAbove(trips(simulation).length, 0)
      simulation.close()
    }, 60_000)
  })

  describe(`the promises can be broken on ${kind}`, () => {
    it.each(mutants)(
      "by a store that %s",
      (_, promise, mutate) => {
        assert.isTrue(breaks(promise, 50, (seed) => on(seed, { mutate })))
      },
      60_000
    )
  })
}
