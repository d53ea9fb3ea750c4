import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import type { SharedStore } from "effect-fuse"
import { fromText, toText } from "../src/store/announcementText.ts"

const pick = <const A extends ReadonlyArray<string | number>>(...of: A) => Arbitrary.schema(Schema.Literals(of))

const name = pick("api", "a/b", "100%0025", "~", "R", "0")
const number = pick(1, 7, 40, 3_600_000)
const body = pick("", "{}", " two words\n{}", "R 5 api {}", '"', "\u2028é")

const change = Arbitrary.map(
  Arbitrary.all({
    kind: pick("Record", "Inquiry", "RollCall"),
    circuit: name,
    box: name,
    epoch: number,
    term: number,
    body
  }),
  ({ body, box, circuit, epoch, kind, term }): SharedStore.Change => {
    if (kind === "Record") return { _tag: kind, circuit, epoch, body }
    if (kind === "Inquiry") return { _tag: kind, circuit, epoch: epoch - 1, box }
    return { _tag: kind, circuit, epoch: epoch - 1, box, seq: epoch, prev: epoch - 1, term }
  }
)

describe("the text of an announcement", () => {
  it.prop(
    "is read as the change that was written",
    [change],
    ([change]) => assert.deepStrictEqual(fromText(toText(change)), change),
    { arbitrary: { runs: 500, seed: "announcements" } }
  )

  it.each([
    ["no text", ""],
    ["a kind without fields", "R"],
    ["an unknown kind", "Q 1 api x"],
    ["an epoch that is not a number", "R x api {}"],
    ["a negative epoch", "R -1 api {}"],
    ["an epoch of 2^53 or more", "R 9007199254740993 api {}"],
    ["an epoch of 400 digits", `R ${"9".repeat(400)} api {}`],
    ["a record without an epoch", "R 0 api {}"],
    ["a record without a circuit", "R 5  {}"],
    ["a record without the space before its body", "R 5 api"],
    ["an inquiry without a box", "I 5 api "],
    ["a box with a space", "I 5 api two boxes"],
    ["a roll call without fields", "C 5 api box"],
    ["a roll call with the number 0", "C 5 api 0 0 40 box"],
    ["a roll call after itself", "C 5 api 7 7 40 box"],
    ["a roll call whose number is 2^53 or more", "C 5 api 9007199254740993 1 40 box"],
    ["a roll call without a term", "C 5 api 7 6 0 box"],
    ["a roll call with a term of more than an hour", "C 5 api 7 6 3600001 box"],
    ["a roll call with a fraction", "C 5 api 7 6 1.5 box"],
    ["a roll call whose box has a space", "C 5 api 7 6 40 two boxes"]
  ])("with %s announces nothing", (_, text) => assert.isUndefined(fromText(text)))
})
