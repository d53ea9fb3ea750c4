import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import { type Digest, decode, encode, longestFailure, mostKeys, type NameDigest } from "../src/store/digest.ts"
import { limits } from "../src/store/SharedStore.ts"
import { alteredText, anything, either, name, oneOf, pick, runs, text } from "./support/garbage.ts"

// Names and keys are foreign text, and a store may return any digest.

const empty: NameDigest = {
  ...{ name: "api", calls: 0, successes: 0, failures: 0, rejected: 0, slow: 0, passed: 0 },
  ...{ inFlight: 0, keys: 0, notClosed: 0, limit: undefined, p50: undefined, p95: undefined, worst: [] }
}

const count = oneOf([0, 0, 0, 1, 7, 1_000, 123_456_789, 2 ** 53 - 1])
const duration = oneOf([undefined, undefined, 0, 0.25, 12.5, 60_000])
const key = Arbitrary.all({ key: text, state: pick("Closed", "Open", "HalfOpen", "Isolated"), failures: count })
const nameDigest: Arbitrary.Arbitrary<NameDigest> = Arbitrary.all({
  ...{ name, calls: count, successes: count, failures: count, rejected: count, slow: count, passed: count },
  ...{ inFlight: count, keys: count, notClosed: count, limit: duration, p50: duration, p95: duration },
  worst: Arbitrary.array(key, { maxLength: 7 }),
  about: Arbitrary.map(
    Arbitrary.all({ is: pick(true, false), lastFailure: text, name: text, value: text }),
    ({ is, lastFailure, name, value }) =>
      is ? { lastFailure: lastFailure === "" ? undefined : lastFailure, policy: [[name, value] as const] } : undefined
  )
})

/** A digest has each name once. */
const distinct = (names: ReadonlyArray<NameDigest>): ReadonlyArray<NameDigest> => [
  ...new Map(names.map((one) => [one.name, one])).values()
]
const names = Arbitrary.map(Arbitrary.array(nameDigest, { maxLength: 30 }), distinct)

const decoded = (text: string): Digest => {
  const digest = decode(text)
  if (digest === undefined) return assert.fail("the digest cannot be read")
  return digest
}

const many = (length: number, more: (index: number) => Partial<NameDigest>): ReadonlyArray<NameDigest> =>
  Array.from({ length }, (_, index) => ({ ...empty, name: `name-${index}`, ...more(index) }))

describe("A digest", () => {
  it.prop(
    "has at most 8,192 characters of printable ASCII, and accounts for each name once",
    [names, oneOf([0, 5_000, 1e12])],
    ([names, millis]) => {
      const text = encode(millis, names)
      assert.isAtMost(text.length, limits.digest)
      assert.match(text, /^[ -~]*$/)
      const digest = decoded(text)
      const found = [...digest.names.map((one) => one.name), ...digest.others]
      assert.strictEqual(new Set(found).size, found.length)
      assert.strictEqual(found.length + digest.leftOut, names.length)
      assert.strictEqual(digest.millis, millis)
      for (const one of digest.names) {
        const { about, worst, ...counts } = one
        const { about: known, worst: sent, ...was } = names.find((other) => other.name === one.name) ?? empty
        if (about !== undefined) {
          const lastFailure = known?.lastFailure?.slice(0, longestFailure)
          assert.deepStrictEqual(about, { lastFailure, policy: known?.policy ?? [] })
        }
        assert.deepStrictEqual(counts, was)
        assert.isAtMost(worst.length, mostKeys)
        for (const key of worst) assert.deepInclude(sent, key)
      }
    },
    runs("digest", 300)
  )

  it.prop(
    "is decoded or skipped, whatever a store returns",
    [
      either(
        alteredText([
          {
            v: 1,
            p: 5_000,
            c: [["api", 5, 4, 1, 0, 0, 0, 2, 3, 1, null, 12, 40, ["a", 1, 2], ["timeout", ["probes", "3"]]]],
            n: ["b"],
            l: 3
          }
        ]),
        anything
      )
    ],
    ([value]) => {
      const digest = decode(value)
      if (digest === undefined) return
      for (const { about, name, worst, ...counts } of digest.names) {
        assert.isAtMost(about?.lastFailure?.length ?? 0, longestFailure)
        for (const one of about?.policy.flat() ?? []) assert.isString(one)
        assert.isNotEmpty(name)
        assert.isAtMost(worst.length, mostKeys)
        for (const one of Object.values(counts)) assert.isTrue(one === undefined || (one >= 0 && one < 2 ** 53))
        for (const one of worst) assert.include(["Closed", "Open", "HalfOpen", "Isolated", "Disabled"], one.state)
      }
    },
    runs("digests", 1_000)
  )

  const foreign: ReadonlyArray<readonly [what: string, text: unknown]> = [
    ["an empty text", ""],
    ["a text that is not JSON", "digest"],
    ["JSON that is not an object", "[]"],
    ["a digest of a newer version", '{"v":2,"p":1,"c":[],"n":[],"l":0}'],
    ["an entry without a name", '{"v":1,"p":1,"c":[[5]],"n":[],"l":0}'],
    ["a negative count", '{"v":1,"p":1,"c":[["api",-5]],"n":[],"l":0}'],
    ["an infinite count", '{"v":1,"p":1,"c":[["api",1e999]],"n":[],"l":0}'],
    ["an unknown state of a key", '{"v":1,"p":1,"c":[["api",1,1,1,1,1,1,1,1,1,1,1,1,["a",9,1]]],"n":[],"l":0}'],
    [
      "a state that is the name of a method",
      '{"v":1,"p":1,"c":[["a",1,1,1,1,1,1,1,1,1,1,1,1,["a","at",1]]],"n":[],"l":0}'
    ],
    ["a name that is a number", '{"v":1,"p":1,"c":[],"n":[5],"l":0}'],
    ["a text that is too long", `{"v":1,"p":1,"c":[],"n":["${"a".repeat(limits.digest)}"],"l":0}`],
    ["a number", 5],
    ["nothing", undefined]
  ]
  it.each(foreign)("is skipped if it is %s", (_, text) => assert.isUndefined(decode(text)))

  it("is decoded if a newer version added fields and values", () => {
    const text = '{"v":1,"p":9,"c":[["api",1,1,0,0,0,0,0,0,0,null,null,null,null,null,"more"]],"n":["b"],"l":0,"x":1}'
    assert.deepStrictEqual(decode(text), {
      ...{ millis: 9, others: ["b"], leftOut: 0 },
      names: [{ ...empty, calls: 1, successes: 1 }]
    })
  })

  it("starts with names that are not Closed, continues with the busiest names, and counts the omitted names", () => {
    const all = many(10_000, (index) => ({
      calls: index,
      notClosed: index % 1_000 === 0 ? 1 : 0,
      worst: [{ key: "k".repeat(150), state: "Open", failures: 1 }]
    }))
    const { leftOut, names, others } = decoded(encode(5_000, all))
    const first = names.slice(0, 12).map(({ name }) => name)
    const notClosed = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((n) => `name-${n * 1_000}`)
    assert.deepStrictEqual(first, [...notClosed, "name-9999", "name-9998"])
    assert.isAbove(names.length, 50, "the names with counts")
    assert.isAbove(others.length, 50, "the names alone")
    assert.strictEqual(names.length + others.length + leftOut, 10_000)
    assert.isAbove(encode(5_000, all).length, limits.digest - 40)
  })

  const about = { lastFailure: "timeout", policy: [["probes", "3"]] as const }

  it("has the details of failing names, if there is room after all counts", () => {
    const few = decoded(
      encode(
        5_000,
        many(20, () => ({ calls: 1, about }))
      )
    )
    assert.isTrue(few.names.every((one) => one.about?.lastFailure === "timeout"))
    assert.deepStrictEqual(few.names[0]?.about, about)
    // All counts fit into this digest, but not all details.
    const long = { ...about, lastFailure: "x".repeat(500) }
    const some = decoded(
      encode(
        5_000,
        many(180, (index) => ({ calls: 1_000 + index, notClosed: 1, about: long }))
      )
    )
    assert.strictEqual(some.names.length, 180)
    assert.strictEqual(some.names[0]?.about?.lastFailure, "x".repeat(longestFailure))
    assert.isUndefined(some.names.at(-1)?.about)
  })

  it.each([
    ["a text", '"timeout"', undefined],
    ["numbers", "[5,[1,2]]", { lastFailure: undefined, policy: [] }],
    ["an odd number of texts", '["timeout",["probes"]]', { lastFailure: "timeout", policy: [] }]
  ])("is decoded without invalid details: %s", (_, details, expected) => {
    const text = `{"v":1,"p":9,"c":[["api",1,1,0,0,0,0,0,0,0,null,null,null,null,${details}]],"n":[],"l":0}`
    const { names } = decoded(text)
    assert.strictEqual(names[0]?.calls, 1)
    assert.deepStrictEqual(names[0]?.about, expected)
  })

  it("has the counts of all names if there is room for them", () => {
    const all = many(300, () => ({ calls: 10 }))
    const { leftOut, names, others } = decoded(encode(5_000, all))
    assert.deepStrictEqual([names.length, others.length, leftOut], [300, 0, 0])
  })

  it("has at most 8,192 characters if there is almost enough room for all names", () => {
    for (const length of [10, 30, 80, 200]) {
      const all = many(400, (index) => ({ name: `${index}-`.padEnd(length, "n"), calls: 1_000 }))
      const text = encode(5_000, all)
      assert.isAtMost(text.length, limits.digest)
      const { leftOut, names, others } = decoded(text)
      assert.strictEqual(names.length + others.length + leftOut, 400)
    }
  })

  it("leaves out a name and a key that are very long", () => {
    const worst = [
      { key: "k".repeat(512), state: "Open", failures: 9 },
      { key: "short", state: "Open", failures: 1 }
    ] as const
    const { leftOut, names } = decoded(
      encode(1, [
        { ...empty, worst },
        { ...empty, name: "n".repeat(2_000), calls: 9 }
      ])
    )
    assert.deepStrictEqual(
      names.map(({ name, worst }) => [name, worst]),
      [["api", worst.slice(1)]]
    )
    assert.strictEqual(leftOut, 1)
  })
})
