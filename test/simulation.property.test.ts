import { assert, describe, it } from "@effect/vitest"
import { alone, breaks, mutants } from "./support/simulation/mutants.ts"
import { check } from "./support/simulation/properties.ts"
import { oneIsBad, scenario, trips } from "./support/simulation/scenario.ts"
import { lanes } from "./support/simulation/seeds.ts"

const played = lanes(15, 60)

describe("a fleet with all faults", () => {
  for (const { seeds, tags, title } of played)
    it(`keeps every promise at every step, and recovers${title}`, { tags, timeout: 300_000 }, () => {
      for (const seed of seeds) check(seed, scenario(seed))
    })

  const found: ReadonlyArray<readonly [what: string, seed: number]> = [
    ["an operator's reset admits a call that waits for a lease", 3019],
    ["a store that lost two records gets back one and then the other", 5204]
  ]
  it.each(found)("keeps every promise when %s (seed %d)", (_, seed) => check(seed, scenario(seed)))

  it("is repeated exactly with the same seed", () => {
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
    for (let seed = 1; seed <= 20; seed++) {
      const { endsAt, simulation } = scenario(seed)
      simulation.runUntil(endsAt)
      const tags = new Set(simulation.history.of("Swapped").map(({ state }) => state._tag))
      if (tags.has("HalfOpen")) halfOpen++
      if (tags.has("Isolated")) forced++
    }
    assert.isAtLeast(halfOpen, 10)
    assert.isAtLeast(forced, 6)
  }, 120_000)
})

describe("a process that fails alone", () => {
  for (const { seeds, tags, title } of played)
    it(`opens only itself${title}`, { tags, timeout: 120_000 }, () => {
      for (const seed of seeds) {
        const simulation = oneIsBad(seed)
        assert.deepStrictEqual(trips(simulation), [], `seed ${seed}`)
        const [bad, ...others] = simulation.look().processes
        assert.include(["Open", "HalfOpen"], bad?.state, `seed ${seed}`)
        for (const other of others) assert.strictEqual(other?.state, "Closed", `seed ${seed}`)
      }
    })

  it("would open the circuit for all with a store that counts no other process", () => {
    assert.isAbove(trips(oneIsBad(1, { mutate: alone })).length, 0)
  })
})

describe("the promises can be broken", () => {
  it.each(mutants)(
    "by a store that %s",
    (_, promise, mutate) => {
      assert.isTrue(
        breaks(promise, 400, (seed) => scenario(seed, { mutate })),
        `400 runs and none broke "${promise}"`
      )
    },
    300_000
  )
})
