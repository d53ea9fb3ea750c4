import { assert, describe, it } from "@effect/vitest"
import { breaks } from "./support/simulation/mutants.ts"
import { scenario } from "./support/simulation/scenario.ts"
import { lanes } from "./support/simulation/seeds.ts"
import { sqlStore } from "./support/simulation/sqlite.ts"
import { fleetOn } from "./support/simulation/suite.ts"

fleetOn("a database", () => sqlStore(), lanes(4, 15))

describe("a fleet on a database whose tables are emptied or dropped", () => {
  it("shares its transitions, also afterwards", () => {
    let [moves, later] = [0, 0]
    for (const seed of [3, 11, 15, 21]) {
      const { endsAt, simulation } = scenario(seed, { store: sqlStore() })
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
  it.each(wrong)(
    "by one %s",
    (_, promise, of) => {
      assert.isTrue(breaks(promise, 50, (seed) => scenario(seed, { store: sqlStore(of) })))
    },
    60_000
  )
})
