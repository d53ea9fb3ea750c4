import { assert, describe, it } from "@effect/vitest"
import { Circuit } from "effect-fuse/core"
import { fromBody, type Provenance } from "../src/store/codec.ts"
import { isByPeople, isForce, isLift, policyAfter, toSwap, wallOf } from "../src/store/record.ts"

/** Lists every cause. A cause tells whether an operator or the library sets the state, and whether the record keeps the earlier policy. */
const whys: Readonly<Record<Circuit.Why, readonly [by: "an operator" | "the library", rests: "keeps" | "drops"]>> = {
  Tripped: ["the library", "drops"],
  CooldownOver: ["the library", "drops"],
  ProbeFailed: ["the library", "drops"],
  ProbeTimedOut: ["the library", "drops"],
  Recovered: ["the library", "drops"],
  HealthCheckPassed: ["the library", "drops"],
  Expired: ["the library", "drops"],
  OpenedByHand: ["an operator", "drops"],
  ClosedByHand: ["an operator", "drops"],
  Reset: ["an operator", "drops"],
  Imported: ["an operator", "drops"],
  Isolated: ["an operator", "keeps"],
  Disabled: ["an operator", "keeps"],
  Released: ["an operator", "keeps"]
}
const all = Object.entries(whys).map(([why, [by, rests]]) => ({ why: why as Circuit.Why, by, rests }))

const provenance: Provenance = {
  why: "Tripped",
  detail: "it failed",
  actor: undefined,
  policy: "abc",
  process: "p-1",
  at: 1_700_000_000_000
}
const closed: Circuit.Closed = { ...Circuit.initial, since: 1000, openings: 2, openFor: 500 }
const cause: Circuit.Cause = { why: "Tripped", detail: "it failed", actor: undefined }
const open: Circuit.Open = {
  _tag: "Open",
  epoch: 3,
  since: 1000,
  until: 1500,
  openings: 2,
  outage: { since: 1000, at: 1, openings: 1 },
  cause
}

describe("a record", () => {
  it.each(all)("with the cause $why comes from $by", ({ by, why }) => {
    assert.strictEqual(isByPeople(why), by === "an operator")
  })

  it.each(all)("with the cause $why $rests the policy of the record before", ({ rests, why }) => {
    assert.strictEqual(policyAfter(why, provenance), rests === "keeps" ? "abc" : undefined)
    assert.isUndefined(policyAfter(why, undefined))
    assert.isUndefined(policyAfter(why, { ...provenance, policy: undefined }))
  })

  const minute = 60_000
  const day = 86_400_000
  it.each(all)(
    "with the cause $why stays in the store while its state applies, or for a day if the record ends an override",
    ({ why }) => {
      const lifts = why === "Released" || why === "Reset"
      assert.strictEqual(
        toSwap("api", 1, closed, 1100, { ...provenance, why }).ttl,
        lifts ? day + minute : 500 + minute
      )
      assert.strictEqual(toSwap("api", 1, open, 1100, { ...provenance, why }).ttl, 900 + (lifts ? day : minute))
    }
  )

  it("replaces the epoch that was read, and is listed if a starting process must know it", () => {
    const { body, ...swap } = toSwap("api/key", 7, open, 1100, provenance)
    assert.deepStrictEqual(swap, { circuit: "api/key", expectedEpoch: 7, ttl: 900 + minute, listed: true })
    assert.deepStrictEqual(fromBody(body, 1100), { circuit: { ...open, epoch: 0 }, provenance })
    assert.isFalse(toSwap("api", 7, closed, 1100, provenance).listed)
    assert.isTrue(toSwap("api", 7, { ...closed, rampUntil: 1200 }, 1100, provenance).listed)
  })
})

it("Isolated and Disabled set an override, Released and Reset may end one", () => {
  const of = (is: (why: Circuit.Why) => boolean) => all.filter(({ why }) => is(why)).map(({ why }) => why)
  assert.sameMembers(of(isForce), ["Isolated", "Disabled"])
  assert.sameMembers(of(isLift), ["Released", "Reset"])
})

it("A new record has the same age by the wall clock and by the monotonic clock", () => {
  const began = (since: number) =>
    wallOf({ ...Circuit.initial, since }, { ...provenance, at: 1_700_000_000_000 }, 5_000)
  assert.deepStrictEqual([5_000, 4_000, 5_000.6].map(began), [1_700_000_000_000, 1_699_999_999_000, 1_700_000_000_001])
})
