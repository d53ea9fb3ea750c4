import { assert, describe, it } from "@effect/vitest"
import { severity, worst } from "../src/shapes/states.ts"

const order = ["Isolated", "Open", "HalfOpen", "Unreadable", "Disabled", "Closed"] as const

describe("The order of states", () => {
  it("is one for the command line, the routes and the snapshots: from the worst to the best", () => {
    assert.deepStrictEqual(
      [...order].sort((a, b) => severity(a) - severity(b)),
      [...order]
    )
    for (const [i, state] of order.entries()) assert.strictEqual(worst(order.slice(i).toReversed()), state)
    assert.isUndefined(worst([]))
  })
})
