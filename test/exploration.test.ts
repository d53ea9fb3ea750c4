/**
 * Every interleaving of a small world: three processes, one circuit, its votes, a roll call and a swap, with one crash, one lost message,
 * one late message and one wipe of the store. What random simulations may miss is not missed here.
 *
 * `EXPLORE=all npx vitest run exploration -t "two of three"` explores with all faults at once; otherwise with a few at a time.
 */
import { assert, describe, it } from "@effect/vitest"
import { Fleet } from "effect-fuse/core"
import { type Budget, type Faults, none, type Role, type Setting } from "./support/exploration/model.ts"
import { type Explored, explore } from "./support/exploration/search.ts"
import { fleet } from "./support/exploration/world.ts"

/** The quorum with which two of three that fail are too few, and two that fail beside an idle one are enough. */
const quorum = 0.7
const most = 20_000_000

const all: Budget = { ...none, crashes: 1, lost: 1, slow: 1, wipes: 1 }

const pairs: ReadonlyArray<Partial<Budget>> =
  process.env["EXPLORE"] === "all"
    ? [all, { ...all, intervals: 1, lost: 0 }, { ...all, late: 1, slow: 0 }]
    : [
        { crashes: 1, lost: 1, slow: 1 },
        { wipes: 1, lost: 1 },
        { late: 1 },
        { intervals: 1 },
        { lost: 1, firstCalls: 1 },
        { recoveries: 1, late: 1 }
      ]

const minority: ReadonlyArray<Role> = ["failing", "failing", "well"]
const majority: ReadonlyArray<Role> = ["failing", "failing", "idle"]

const setting = (roles: ReadonlyArray<Role>, budget: Partial<Budget>, faults: Faults = {}): Setting => ({
  roles,
  quorum,
  announcements: process.env["EXPLORE"] === "announced",
  budget: { ...none, ...budget },
  faults
})

/** How much was explored, and how long it took. */
const report = (name: string, { facts, millis, states, steps }: Explored): void => {
  process.stderr.write(`${name}: ${states} states, ${steps} steps, ${millis} ms, ${JSON.stringify(facts)}\n`)
}

const said = (budget: Partial<Budget>): string => JSON.stringify(budget)

describe("a small world in which two of three fail", () => {
  it.each(pairs.map((budget) => [said(budget), budget] as const))(
    "never opens wrongly, beside one that is well: %s",
    (name, budget) => {
      const found = explore(fleet(setting(minority, budget)), most)
      const { broken, facts } = found
      report(name, found)
      assert.isUndefined(broken, broken && `${broken.what}:\n${broken.trace.join("\n")}`)
      // It may open once the one that is well has crashed, and is no longer taken for alive.
      if (budget.crashes === undefined) assert.isUndefined(facts["opened"])
    },
    1_800_000
  )

  it.each(pairs.map((budget) => [said(budget), budget] as const))(
    "opens, beside one that is idle: %s",
    (name, budget) => {
      const found = explore(fleet(setting(majority, budget)), most)
      const { broken, facts } = found
      report(name, found)
      assert.isUndefined(broken, broken && `${broken.what}:\n${broken.trace.join("\n")}`)
      assert.isAbove(facts["opened"] ?? 0, 0)
    },
    1_800_000
  )
})

const votersOnly: typeof Fleet.judge = (tally, trip, rules, more) =>
  Fleet.judge({ ...tally, abstained: Math.max(0, tally.live - tally.voters) }, trip, rules, more)

const neverYoung: typeof Fleet.judge = (tally, trip, rules, more) =>
  Fleet.judge(tally, trip, rules, { ...more, young: false })

describe("a store that is wiped, and then has a clock that is behind", () => {
  it("gets no wrong answer", () => {
    const found = explore(fleet({ ...setting(minority, { wipes: 1 }), stepBack: 1_000 }), most)
    report("clock behind", found)
    assert.isUndefined(found.broken, found.broken && `${found.broken.what}:\n${found.broken.trace.join("\n")}`)
  }, 600_000)
})

/** Deliberate errors in the protocol. The roles of the processes and the faults of the network reveal each error. */
const mutants: ReadonlyArray<
  readonly [name: string, roles: ReadonlyArray<Role>, budget: Partial<Budget>, faults: Faults, stepBack: number]
> = [
  ["counts silence as consent", minority, {}, { judge: votersOnly }, 0],
  ["moves its cursor without casting the required ballots", minority, {}, { hearsWithoutVoting: true }, 0],
  ["moves its cursor although the exchange failed", minority, { lost: 1, intervals: 1 }, { hearsOnFailure: true }, 0],
  ["believes a young store", minority, { wipes: 1 }, { judge: neverYoung, forgetful: true }, 0],
  ["has no deadlines", majority, { slow: 1 }, { noDeadline: true }, 0],
  ["counts the cursor of a dead process", minority, { crashes: 1, intervals: 2 }, { keepsDead: true }, 0],
  ["trusts a cursor into a log that was lost", minority, { wipes: 1 }, { keepsHeard: true }, 1_000],
  ["remembers that it abstained when that is answered", majority, { firstCalls: 1 }, { remembersLate: true }, 0],
  ["says nothing of its first call after it abstained", majority, { firstCalls: 1 }, { silentFirstCall: true }, 0],
  ["lets a ballot end before the roll call that it answers", minority, { intervals: 2 }, { shortBallots: true }, 0]
]

describe("a protocol with one fault is found out", () => {
  it.each(mutants)(
    "that %s",
    (_, roles, budget, faults, stepBack) => {
      const { broken } = explore(fleet({ ...setting(roles, budget, faults), stepBack }), most)
      assert.isDefined(broken)
    },
    600_000
  )
})
