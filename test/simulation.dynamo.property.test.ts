import { assert, describe, it } from "@effect/vitest"
import { dynamoStore } from "./support/simulation/dynamo.ts"
import { breaks } from "./support/simulation/mutants.ts"
import { scenario } from "./support/simulation/scenario.ts"
import { lanes } from "./support/simulation/seeds.ts"
import { fleetOn } from "./support/simulation/suite.ts"

fleetOn("a table of DynamoDB", () => dynamoStore(), lanes(4, 15))

describe("the promises can be broken on a table of DynamoDB", () => {
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
