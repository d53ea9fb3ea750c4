import { assert, describe, it } from "@effect/vitest"
import { alone, breaks, mutants } from "./support/simulation/mutants.ts"
import { check } from "./support/simulation/properties.ts"
import { type Given, oneIsBad, scenario, trips } from "./support/simulation/scenario.ts"
import { lanes } from "./support/simulation/seeds.ts"
import { sqlStore } from "./support/simulation/sqlite.ts"

const played = lanes(4, 15)

const onSql = (seed: number, given: Given = {}) => scenario(seed, { store: sqlStore(), ...given })

describe("a fleet on a database with all faults", () => {
  for (const { seeds, tags, title } of played)
    it(`keeps every promise at every step, and recovers${title}`, { tags, timeout: 600_000 }, () => {
      for (const seed of seeds) {
        const run = onSql(seed)
        check(seed, run)
        run.simulation.close()
      }
    })

  it("is repeated exactly with the same seed", () => {
    const play = () => {
      const { simulation } = onSql(7)
      simulation.runUntil(20_000)
      simulation.close()
      return simulation.history.entries.map(({ _tag, at }) => `${at} ${_tag}`)
    }
    const first = play()
    assert.include(first.join(), "Swapped")
    assert.deepStrictEqual(first, play())
  }, 60_000)

  it("shares its transitions, also after the tables were emptied or dropped", () => {
    let [moves, later] = [0, 0]
    for (const seed of [3, 11, 15, 21]) {
      const { endsAt, simulation } = onSql(seed)
      simulation.runUntil(endsAt)
      simulation.close()
      const wiped = simulation.history.entries.find(({ _tag }) => _tag === "Wiped")?.at ?? Infinity
      const swapped = simulation.history.of("Swapped")
      moves += swapped.length
      later += swapped.filter(({ at }) => at > wiped).length
    }
    assert.isAbove(moves, 40)
    assert.isAbove(later, 10)
  }, 60_000)
})

describe("a process on a database that fails alone", () => {
  for (const { seeds, tags, title } of played)
    it(`opens only itself${title}`, { tags, timeout: 120_000 }, () => {
      for (const seed of seeds) {
        const simulation = oneIsBad(seed, { store: sqlStore() })
        assert.deepStrictEqual(trips(simulation), [], `seed ${seed}`)
        const [bad, ...others] = simulation.look().processes
        assert.include(["Open", "HalfOpen"], bad?.state, `seed ${seed}`)
        for (const other of others) assert.strictEqual(other?.state, "Closed", `seed ${seed}`)
        simulation.close()
      }
    })

  it("would open the circuit for all with a store that counts no other process", () => {
    const simulation = oneIsBad(1, { store: sqlStore(), mutate: alone })
    assert.isAbove(trips(simulation).length, 0)
    simulation.close()
  }, 60_000)
})

/** What a database, or a statement, would have to do to break a promise. */
const wrong: ReadonlyArray<readonly [name: string, promise: string, wrong: Parameters<typeof sqlStore>[0]]> = [
  ["without isolation of its transactions", "one transition per epoch", { isolated: false }],
  [
    "that does not know how old a record is",
    "a denied request extends nothing",
    {
      rewrite: (sql) => sql.replace(/(SELECT circuit, epoch, body, )[^?]*? - written_at/g, "$1 0")
    }
  ]
]

describe("the promises can be broken on a database", () => {
  it.each(mutants)(
    "by a store that %s",
    (_, promise, mutate) => {
      assert.isTrue(breaks(promise, 50, (seed) => onSql(seed, { mutate })))
    },
    60_000
  )

  it.each(wrong)(
    "by one %s",
    (_, promise, of) => {
      assert.isTrue(breaks(promise, 50, (seed) => scenario(seed, { store: sqlStore(of) })))
    },
    60_000
  )
})
