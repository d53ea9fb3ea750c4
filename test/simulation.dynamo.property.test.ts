import { assert, describe, it } from "@effect/vitest"
import { dynamoStore } from "./support/simulation/dynamo.ts"
import { alone, breaks, mutants } from "./support/simulation/mutants.ts"
import { check } from "./support/simulation/properties.ts"
import { type Given, oneIsBad, scenario, trips } from "./support/simulation/scenario.ts"
import { lanes } from "./support/simulation/seeds.ts"

const played = lanes(4, 15)

const onDynamo = (seed: number, given: Given = {}) => scenario(seed, { store: dynamoStore(), ...given })

describe("a fleet on a table of DynamoDB with all faults", () => {
  for (const { seeds, tags, title } of played)
    it(`keeps every promise at every step, and recovers${title}`, { tags, timeout: 600_000 }, () => {
      for (const seed of seeds) {
        const run = onDynamo(seed)
        check(seed, run)
        run.simulation.close()
      }
    })

  it("is repeated exactly with the same seed", () => {
    const play = () => {
      const { simulation } = onDynamo(7)
      simulation.runUntil(20_000)
      simulation.close()
      return simulation.history.entries.map(({ _tag, at }) => `${at} ${_tag}`)
    }
    const first = play()
    assert.include(first.join(), "Swapped")
    assert.deepStrictEqual(first, play())
  }, 60_000)
})

describe("a process on a table of DynamoDB that fails alone", () => {
  for (const { seeds, tags, title } of played)
    it(`opens only itself${title}`, { tags, timeout: 120_000 }, () => {
      for (const seed of seeds) {
        const simulation = oneIsBad(seed, { store: dynamoStore() })
        assert.deepStrictEqual(trips(simulation), [], `seed ${seed}`)
        const [bad, ...others] = simulation.look().processes
        assert.include(["Open", "HalfOpen"], bad?.state, `seed ${seed}`)
        for (const other of others) assert.strictEqual(other?.state, "Closed", `seed ${seed}`)
        simulation.close()
      }
    })

  it("would open the circuit for all with a store that counts no other process", () => {
    const simulation = oneIsBad(1, { store: dynamoStore(), mutate: alone })
    assert.isAbove(trips(simulation).length, 0)
    simulation.close()
  }, 60_000)
})

describe("the promises can be broken on a table of DynamoDB", () => {
  it.each(mutants)(
    "by a store that %s",
    (_, promise, mutate) => {
      assert.isTrue(breaks(promise, 50, (seed) => onDynamo(seed, { mutate })))
    },
    60_000
  )

  it("by turns that do not exclude each other", () => {
    const rewrite = <I extends object>(_: string, input: I): I => {
      const { ConditionExpression: condition } = input as { readonly ConditionExpression?: string }
      return condition?.startsWith("#v = :was")
        ? { ...input, ConditionExpression: condition.replace("#v = :was", "(#v = :was OR #v <> :was)") }
        : input
    }
    assert.isTrue(breaks("one transition per epoch", 50, (seed) => scenario(seed, { store: dynamoStore({ rewrite }) })))
  }, 120_000)
})
