import { assert, describe, it } from "@effect/vitest"
import { plural } from "../src/core/plural.ts"
import { remember } from "../src/core/remember.ts"

describe("remember", () => {
  const kept = (...keys: ReadonlyArray<string>) => {
    const map = new Map<string, number>()
    for (const [n, key] of keys.entries()) remember(map, key, n, 2)
    return [...map]
  }

  it("keeps the latest entries, up to the limit", () => {
    assert.deepStrictEqual(kept("a"), [["a", 0]])
    assert.deepStrictEqual(kept("a", "b"), [
      ["a", 0],
      ["b", 1]
    ])
    assert.deepStrictEqual(kept("a", "b", "c"), [
      ["b", 1],
      ["c", 2]
    ])
  })

  it("makes an entry the newest when the entry is added a second time", () => {
    assert.deepStrictEqual(kept("a", "b", "a", "c"), [
      ["a", 2],
      ["c", 3]
    ])
  })
})

it.each([
  [0, "0 failures"],
  [1, "1 failure"],
  [2, "2 failures"]
])("plural of %d", (n, text) => {
  assert.strictEqual(plural(n, "failure"), text)
})

it("plural with an irregular noun", () => {
  assert.deepStrictEqual([plural(1, "query", "queries"), plural(2, "query", "queries")], ["1 query", "2 queries"])
})
