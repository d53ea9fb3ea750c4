import { assert, describe, it } from "@effect/vitest"
import { transitionOf } from "../src/dashboard/transitions.ts"
import type { Known } from "../src/store/known.ts"

const now = 10_000_000

const known = (more: Partial<Known>): Known => ({
  ...{
    _tag: "Known",
    name: "api",
    key: undefined,
    epoch: 1,
    state: "Closed",
    since: now - 3_000_000,
    outage: undefined
  },
  ...{ until: undefined, overrides: [], beneath: undefined, openings: 0, why: "Released", reason: undefined },
  ...{ actor: undefined, process: "p" },
  ...more
})

const isolated = known({ state: "Isolated", why: "Isolated", since: now - 60_000, until: now - 3_000 })

describe("the time of a transition", () => {
  it.each<readonly [string, Known | undefined, Known, boolean, number, number]>([
    ["of an opening is the start of Open", undefined, known({ state: "Open", since: now - 4_000 }), false, now, 4_000],
    // The circuit closed long before the override.
    ["of a release is when the record was written", isolated, known({}), false, now - 1_500, 1_500],
    [
      "of a release before the first read is when the record was written",
      undefined,
      known({}),
      true,
      now - 90_000,
      90_000
    ],
    ["of an override that expired is its end", isolated, known({ why: "Expired" }), false, now - 60_000, 3_000],
    ["is not in the future", undefined, known({ state: "Open", since: now + 5_000 }), false, now + 5_000, 0],
    ["is not long before the read that found it", undefined, known({ state: "Open" }), false, now, 10_000]
  ])("%s", (_, before, after, isFirst, writtenAt, ago) => {
    const transitions = transitionOf(before, after, now, isFirst, writtenAt)
    assert.deepStrictEqual(
      transitions.map(({ at }) => now - at),
      [ago]
    )
  })
})
