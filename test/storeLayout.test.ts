import { assert, describe, it } from "@effect/vitest"
import { sources } from "./support/sources.ts"

/** The parts that every store has, each in the file of this name. */
const parts = ["ballotBoxes", "exchange", "reads", "records", "store"]

describe.each(["store/memory", "store/quorum", "redis", "sql", "dynamo"])("the store in %s", (folder) => {
  it("has the same files as every store for the same parts", () => {
    const files = sources.map(({ name }) => name)
    assert.deepStrictEqual(
      parts.filter((part) => !files.includes(`${folder}/${part}`)),
      []
    )
  })
})
