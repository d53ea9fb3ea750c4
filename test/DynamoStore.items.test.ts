import { assert, describe, it } from "@effect/vitest"
import { SharedStore } from "effect-fuse"
import { type Ballot, type Box, boxesFrom, boxesText, changedBox } from "../src/dynamo/ballotBoxes.ts"
import { type DynamoTable, type Item, wholeOf } from "../src/dynamo/client.ts"
import { applied, overlaid } from "../src/dynamo/hub.ts"
import { type CircuitItem, type CircuitRecord, itemFrom, noItem, storedAt, toItem } from "../src/dynamo/records.ts"
import { rollCallItem } from "../src/dynamo/rollCalls.ts"

const { logMillis, unlistedMillis } = SharedStore.limits
const table = { name: "table", prefix: "fleet" } as DynamoTable

const record: CircuitRecord = {
  ...{ epoch: 7, body: "body", at: 1_000_000, until: 1_500_000, listed: true, changed: true }
}
const ballot = (until: number, life = "life"): Ballot => ({ life, until, numbers: [3, 0] })
const box: Box = { epoch: 7, asked: undefined, roll: undefined, ballots: new Map([["v", ballot(2_000)]]) }
const item = (fields: Partial<CircuitItem>): CircuitItem => ({ ...noItem, version: 4, ...fields })

describe("the item of a circuit", () => {
  it.each<readonly [string, CircuitItem]>([
    ["with a record", item({ record })],
    ["with a record that never ends", item({ record: { ...record, until: Infinity } })],
    ["with a record that is not listed", item({ record: { ...record, listed: false } })],
    ["with a record that the index does not contain", item({ record: { ...record, changed: false } })],
    ["with an empty body", item({ record: { ...record, body: "" } })],
    ["with ballots", item({ boxes: new Map([["b", box]]) })],
    [
      "with a roll call, a question and no ballots",
      item({ boxes: new Map([["b", { epoch: 7, asked: 5, roll: { seq: 1, at: 2, term: 3 }, ballots: new Map() }]]) })
    ],
    ["without any fields", item({})]
  ])("%s is read as it was written", (_, written) => {
    assert.deepStrictEqual(itemFrom(toItem(table, "api", written)), written)
  })

  it("without a version is older than every turn", () => {
    const { v: _, ...others } = toItem(table, "api", item({ record }))
    assert.deepStrictEqual(itemFrom(others), item({ version: 0, record }))
    assert.deepStrictEqual(itemFrom(undefined), noItem)
  })

  const sound = toItem(table, "api", item({ record }))
  it.each<readonly [string, Item]>([
    ["an epoch", { epoch: { S: "7" } }],
    ["a safe epoch", { epoch: { N: "99999999999999999999" } }],
    ["a time", { at: { S: "now" } }],
    ["a readable end", { until: { N: "1.5" } }],
    ["a text as its body", { body: { N: "1" } }],
    ["the mark of its body", { body: { S: "body" } }],
    ["a flag", { listed: { S: "true" } }]
  ])("has no record if another program wrote it without %s", (_, altered) => {
    assert.isUndefined(itemFrom({ ...sound, ...altered }).record)
  })
  it.each(["epoch", "at", "body", "listed"])("has no record without the attribute %s", (name) => {
    const { [name]: _, ...others } = sound
    assert.isUndefined(itemFrom(others).record)
  })
})

describe("DynamoDB may delete an item at the earliest a minute after", () => {
  const until = (fields: Partial<Omit<CircuitRecord, "changed">> & { readonly changed?: boolean }) =>
    item({ record: { ...record, ...fields } })
  const late = { ...box, ballots: new Map([["v", ballot(1_900_000)]]) }
  const cases: ReadonlyArray<readonly [what: string, of: CircuitItem, end: number]> = [
    ["the end of its record", until({}), 1_500_000],
    ["the end of its record, if it was never listed", until({ listed: false, changed: false }), 1_500_000],
    ["the hour after its removal from the list", until({ listed: false }), 1_000_000 + unlistedMillis],
    [
      "the end of its record, if the record is not listed but ends after that hour",
      until({ listed: false, until: 9_000_000 }),
      9_000_000
    ],
    ["the end of its last ballot", item({ record, boxes: new Map([["b", late]]) }), 1_900_000],
    ["the end of its record, if its ballots end earlier", item({ record, boxes: new Map([["b", box]]) }), 1_500_000],
    [
      "the end of its roll call",
      item({ record, boxes: new Map([["b", { ...box, roll: { seq: 1, at: 1_400_000, term: 300_000 } }]]) }),
      1_700_000
    ],
    ["the end of its ballots, if it has no record", item({ boxes: new Map([["b", late]]) }), 1_900_000]
  ]
  it.each(cases)("%s", (_, of, end) => {
    assert.strictEqual(wholeOf(toItem(table, "api", of)["x"]), end / 1_000 + 60)
  })

  it("the end of a roll call and of its log", () => {
    const found = rollCallItem(table, { seq: 1, prev: 0, circuit: "api", epoch: 7, box: "b", term: 5_000 }, 1_000_000)
    assert.strictEqual(wholeOf(found["end"]), 1_005_000 + logMillis)
    assert.strictEqual(wholeOf(found["x"]), Math.ceil((1_005_000 + logMillis) / 1_000) + 60)
  })
})

it("DynamoDB never deletes an item if its record never ends", () => {
  const endless = { ...record, until: Infinity }
  assert.notProperty(toItem(table, "api", item({ record: endless })), "x")
  assert.notProperty(toItem(table, "api", item({ record: { ...endless, listed: false } })), "x")
})

it("a record has an age even if the clock of this process is behind, and it ends at its end time", () => {
  assert.deepStrictEqual(storedAt(record, 1_000_500), { epoch: 7, body: "body", age: 500 })
  assert.strictEqual(storedAt(record, 999_000)?.age, 0)
  assert.isDefined(storedAt(record, 1_499_999))
  assert.isUndefined(storedAt(record, 1_500_000))
})

describe("a cast", () => {
  const change = { epoch: 7, voter: "w", asked: 1, roll: undefined }
  const voters = ({ ballots }: Box) => [...ballots.keys()]

  it("adds the ballot of its voter, and keeps the live ballots of others", () => {
    const found = changedBox(box, { ...change, ballot: ballot(9_000) }, 1_999)
    assert.deepStrictEqual([voters(found), found.asked], [["v", "w"], 1])
  })
  it("drops expired ballots of other voters", () => {
    assert.deepStrictEqual(voters(changedBox(box, { ...change, ballot: ballot(9_000) }, 2_000)), ["w"])
  })
  it("drops ballots about an earlier record", () => {
    assert.deepStrictEqual(voters(changedBox(box, { ...change, epoch: 8, ballot: ballot(9_000) }, 0)), ["w"])
  })
  it("without a ballot removes the ballot of its voter", () => {
    assert.deepStrictEqual(voters(changedBox(box, { ...change, voter: "v", ballot: undefined }, 0)), [])
  })
})

describe("the changes of a turn", () => {
  const boxes = new Map([["b", box]])
  const cast = { epoch: 7, voter: "w", ballot: ballot(9_000), asked: undefined, roll: undefined }
  const ofBox = { record: undefined, boxes: new Map([["b", cast]]) }
  const pending = { version: 5, time: 1_000, circuits: new Map([["api", ofBox]]), rollCalls: [] }

  it("keep the record and the other ballots of the circuit", () => {
    const after = applied(item({ record, boxes }), ofBox, pending)
    assert.deepStrictEqual([after.version, after.record], [5, record])
    assert.deepStrictEqual([...(after.boxes.get("b")?.ballots.keys() ?? [])], ["v", "w"])
  })
  it("with a new record remove all ballots", () => {
    const next = { ...record, epoch: 8 }
    const after = applied(item({ record, boxes }), { record: next, boxes: new Map() }, pending)
    assert.deepStrictEqual(after, { version: 5, record: next, boxes: new Map() })
  })
  it("are added to an older item, but not to an item with the same or later changes", () => {
    assert.strictEqual(overlaid("api", item({ record, boxes }), pending).boxes.get("b")?.ballots.size, 2)
    for (const version of [5, 6]) {
      const present = item({ version, record, boxes })
      assert.strictEqual(overlaid("api", present, pending), present)
    }
    assert.strictEqual(overlaid("other", noItem, pending), noItem)
    assert.strictEqual(overlaid("api", noItem, undefined), noItem)
  })
})

it.each([
  ["not JSON", "["],
  ["not a list", "{}"],
  ["a box that is not a list", "[7]"],
  ["a box without a name", "[[7,7,null,null,[]]]"],
  ["a box without an epoch", '[["b",null,null,null,[]]]'],
  ["a box without ballots", '[["b",7,null,null]]'],
  ["a ballot that is not a list", '[["b",7,null,null,[7]]]'],
  ["a ballot without a voter", '[["b",7,null,null,[[7,"life",1,2]]]]'],
  ["a ballot without a life", '[["b",7,null,null,[["v",7,1,2]]]]'],
  ["a ballot without an end", '[["b",7,null,null,[["v","life","1",2]]]]'],
  ["a ballot with a number below 0", '[["b",7,null,null,[["v","life",1,2,-3]]]]']
])("if the boxes of a circuit contain %s, all of its ballots are ignored", (_, text) => {
  assert.strictEqual(boxesFrom(boxesText(new Map([["b", box]]))).size, 1)
  const both = text.startsWith("[[") ? `${boxesText(new Map([["a", box]])).slice(0, -1)},${text.slice(1)}` : text
  assert.strictEqual(boxesFrom(both).size, 0)
})

it.each(["null", "7", "[1,2]", '["1",2,3]', "[1,null,3]", "[1,2,-3]"])("a roll call %s in a box is ignored", (roll) => {
  const read = boxesFrom(`[["b",7,null,${roll},[]]]`).get("b")
  assert.deepStrictEqual(read, { epoch: 7, asked: undefined, roll: undefined, ballots: new Map() })
})
