import { assert, describe, it } from "@effect/vitest"
import { passesAll, severity, states, worst } from "../src/shapes/states.ts"

const order = ["Isolated", "Open", "HalfOpen", "Unreadable", "Disabled", "Closed"] as const

describe("The order of states", () => {
  it("is the same for the command line, the routes and the snapshots: from the worst to the best", () => {
    assert.deepStrictEqual(
      [...order].sort((a, b) => severity(a) - severity(b)),
      [...order]
    )
    for (const [i, state] of order.entries()) {
      const rest = order.slice(i)
      assert.deepStrictEqual([worst(rest), worst(rest.toReversed())], [state, state])
    }
    assert.isUndefined(worst([]))
  })
})

it("Only a Closed and a Disabled circuit let every call run", () => {
  assert.deepStrictEqual(states.filter(passesAll), ["Closed", "Disabled"])
})
