import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import { Fleet } from "effect-fuse/core"
import type * as Operator from "effect-fuse/Operator"
import stringWidth from "string-width"
import type { SnapshotCounts } from "../src/audit/snapshotRows.ts"
import { agreementOf, type One, toData } from "../src/cli/circuits.ts"
import { rejectedIn } from "../src/cli/history.ts"
import { didYouMean, nearest } from "../src/cli/names.ts"
import { type Choice, chosen, matches, toTable } from "../src/cli/rows.ts"
import { cut, type Screen, table } from "../src/cli/table.ts"
import { either, oneOf, runs, text } from "./support/garbage.ts"

const graphemes = (text: string): ReadonlyArray<string> =>
  Array.from(new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text), ({ segment }) => segment)

const pieces = oneOf(["payments", "日本語", "é", "e\u0301", "😀", "👍🏽", "🇩🇪", "한국", "ﾊﾝ", " ", "-", "x".repeat(30)])
const words = Arbitrary.map(Arbitrary.array(either(pieces, text), { maxLength: 4 }), (parts) => parts.join(""))

describe("A text that is cut", () => {
  it.prop(
    "is at most as wide as its column, keeps whole characters from its beginning, and ends with an ellipsis",
    [words, oneOf([0, 1, 2, 3, 5, 8, 13, 40])],
    ([text, columns]) => {
      const short = cut(text, columns)
      assert.isAtMost(stringWidth(short), columns)
      if (short === text) return
      assert.isAbove(stringWidth(text), columns)
      if (columns === 0) return assert.strictEqual(short, "")
      assert.isTrue(short.endsWith("…"))
      const kept = graphemes(short.slice(0, -1))
      assert.deepStrictEqual(kept, graphemes(text).slice(0, kept.length))
    },
    runs("cut", 500)
  )

  it.each([
    ["payments", 8, "payments"],
    ["payments", 5, "paym…"],
    ["日本語のサービス", 7, "日本語…"],
    ["日本語のサービス", 6, "日本…"],
    ["a👍🏽b", 3, "a…"],
    ["e\u0301e\u0301e\u0301", 2, "e\u0301…"],
    ["🇩🇪🇫🇷", 3, "🇩🇪…"]
  ])("%s in %d columns is %s", (text, columns, expected) => {
    assert.strictEqual(cut(text, columns), expected)
  })
})

describe("A table", () => {
  const columns = [{ head: "CIRCUIT", long: true }, { head: "STATE" }, { head: "WHY", long: true }]
  const rows = Arbitrary.array(Arbitrary.all([words, oneOf(["Open", "HalfOpen", ""]), words]), {
    minLength: 1,
    maxLength: 4
  })

  it.prop(
    "has a line for each row, and no line is wider than the screen",
    [rows, oneOf([1, 10, 20, 40, 80, 160])],
    ([cells, columns_]) => {
      const lines = table(columns, cells, { columns: columns_, color: false }).split("\n")
      assert.strictEqual(lines.length, cells.length + 1)
      for (const line of lines) assert.isAtMost(stringWidth(line), columns_, line)
    },
    runs("table", 300)
  )

  it.prop(
    "has the same text with and without colors",
    [rows, oneOf([20, 80, Infinity])],
    ([cells, width]) => {
      const painted = columns.map((column) => ({ ...column, styleOf: () => "red" as const }))
      const color = table(painted, cells, { columns: width, color: true })
      assert.strictEqual(stripVTControlCharacters(color), table(painted, cells, { columns: width, color: false }))
      assert.strictEqual(
        color.includes("\u001b["),
        cells.flat().some((cell) => cell !== "")
      )
    },
    runs("colors", 200)
  )

  it("cuts names and texts before states and numbers", () => {
    const cells = [["payments-of-the-shop", "Isolated (Open beneath)", "5 failures in a row"]]
    const lines = table(columns, cells, { columns: 50, color: false }).split("\n")
    assert.strictEqual(lines[1], "payments-o…  Isolated (Open beneath)  5 failures…")
  })

  it("lines up columns by what a terminal shows, and not by the number of characters", () => {
    const lines = table(columns, [
      ["日本語のサービス", "Open", "a"],
      ["emoji😀", "Open", "b"],
      ["abcdef", "Open", "c"]
    ]).split("\n")
    for (const line of lines.slice(1)) assert.strictEqual(stringWidth(line.slice(0, line.indexOf("Open"))), 18, line)
  })
})

// ---- Circuits -------------------------------------------------------------------------------------------------------

const at = 1_800_000_000_000

const known = (name: string, key: string | undefined, more: Partial<Operator.Known> = {}): Operator.Known => ({
  _tag: "Known",
  name,
  key,
  epoch: 1,
  state: "Open",
  since: at - 10_000,
  outage: { since: at - 10_000, openings: 1 },
  until: at + 20_000,
  overrides: [],
  beneath: undefined,
  openings: 1,
  why: "Tripped",
  reason: "5 failures in a row",
  actor: undefined,
  process: "checkout",
  ...more
})

const unreadable: One = { _tag: "Unreadable", name: "odd", key: undefined, epoch: 1, body: "odd" }
const overridden = { state: "Isolated", why: "Isolated", outage: undefined, until: undefined, actor: "ann" } as const

const all: Choice = { name: undefined, states: [], sort: "name", limit: undefined, keys: false }
const plain: Screen = { columns: Infinity, color: false }

/** The cells of the rows that a choice shows, by the heads of their columns. */
const shown = (circuits: ReadonlyArray<One>, choice: Partial<Choice> = {}) => {
  const { left, text } = toTable(chosen(circuits, { ...all, ...choice }), { ...all, ...choice }, at, plain)
  const [head = "", ...lines] = text.split("\n")
  const heads = [...head.matchAll(/\S+(?: \S+)*/g)].map(({ 0: word, index }) => ({ word, index }))
  const rows = lines.map((line) =>
    Object.fromEntries(heads.map(({ index, word }, n) => [word, line.slice(index, heads[n + 1]?.index).trim()]))
  )
  return { rows, left }
}

describe("A row", () => {
  it("shows the start of the outage and its openings, and not those of the latest state", () => {
    const reopened = known("api", undefined, {
      since: at - 5_000,
      outage: { since: at - 3_600_000, openings: 92 },
      openings: 7,
      why: "ProbeFailed",
      reason: "503"
    })
    const probing = { ...reopened, name: "mail", state: "HalfOpen" as const, until: undefined }
    const { rows } = shown([reopened, probing])
    assert.deepStrictEqual(
      rows.map(({ FOR, OPENED, STATE }) => [STATE, FOR, OPENED]),
      [
        ["Open", "1h", "92x"],
        ["HalfOpen", "1h", "92x"]
      ]
    )
    assert.deepInclude(toData(reopened), { downSince: new Date(at - 3_600_000).toISOString(), outageOpenings: 92 })
  })

  it("shows how long an override has lasted, who set it, and what is beneath it", () => {
    const beneath = { beneath: "Open", outage: { since: at - 900_000, openings: 3 } } as const
    const { rows } = shown([
      known("api", undefined, { ...overridden, ...beneath, since: at - 60_000, reason: "drill" })
    ])
    assert.deepInclude(rows[0], {
      STATE: "Isolated (Open beneath)",
      FOR: "1m",
      "ENDS IN": "(release)",
      WHY: "Isolated: drill",
      BY: "ann"
    })
  })

  it("of a name shows the number of its keys, the worst state, and the longest outage", () => {
    const circuits = [
      known("api", "eu", { state: "HalfOpen", until: undefined, outage: { since: at - 90_000, openings: 4 } }),
      known("api", "us", { reason: "503" }),
      known("api", "asia", { state: "HalfOpen", until: undefined, reason: "timeout" }),
      known("mail", undefined)
    ]
    const { rows } = shown(circuits)
    assert.deepStrictEqual(
      rows.map(({ CIRCUIT, FOR, KEYS, OPENED, STATE, WHY }) => [CIRCUIT, KEYS, STATE, FOR, OPENED, WHY]),
      [
        ["api", "3", "Open (1)", "1m 30s", "4x", "503"],
        ["mail", "", "Open", "10s", "1x", "5 failures in a row"]
      ]
    )
    const keys = shown(circuits, { keys: true }).rows.map(({ CIRCUIT, KEY, STATE }) => [CIRCUIT, KEY, STATE])
    assert.deepStrictEqual(keys, [
      ["api", "asia", "HalfOpen"],
      ["api", "eu", "HalfOpen"],
      ["api", "us", "Open"],
      ["mail", "", "Open"]
    ])
  })

  it("shows a record of another version", () => {
    assert.deepInclude(shown([unreadable]).rows[0], { STATE: "Unreadable", WHY: "written by another version" })
  })

  it.each([
    [1, "1/1"],
    [2, "2/3"],
    [3, "3/3"]
  ])("shows how many processes agreed: %d of those that voted", (failing, expected) => {
    const voters = Math.max(failing, expected === "1/1" ? 1 : 3)
    const tally = {
      voters,
      live: voters,
      abstained: 0,
      asked: 900,
      convictions: failing,
      failing,
      open: 0,
      streak: 9,
      counts: []
    }
    const trip = { _tag: "Consecutive", failures: 5 } as const
    const verdict = Fleet.judge(tally, trip, Fleet.defaults, { openings: 0, time: 0 })
    if (verdict._tag !== "Open") return assert.fail(verdict._tag)
    const outage = { since: at - 10_000, openings: 1, agreed: verdict.agreed }
    const { rows } = shown([known("api", undefined, { reason: verdict.detail, outage })])
    assert.deepInclude(rows[0], { AGREED: expected })
    assert.match(rows[0]?.["WHY"] ?? "", /^\d failures in a row \(limit 5\)$/)
    // A failed probe does not end the outage, but changes the reason.
    const later = { why: "ProbeFailed", reason: "the probe failed", outage: { ...outage, openings: 2 } } as const
    const { rows: after } = shown([known("api", undefined, later)])
    assert.deepInclude(after[0], { AGREED: expected })
    assert.match(after[0]?.["WHY"] ?? "", /the probe failed$/)
  })

  it("shows how many processes opened before the fleet did", () => {
    const never = { _tag: "Consecutive", failures: 1_000 } as const
    const tally = {
      voters: 4,
      live: 4,
      abstained: 0,
      asked: 900,
      convictions: 3,
      failing: 3,
      open: 3,
      streak: 9,
      counts: []
    }
    const verdict = Fleet.judge(tally, never, Fleet.defaults, { openings: 0, time: 0 })
    if (verdict._tag !== "Open") return assert.fail(verdict._tag)
    const agreed = { processes: 3, of: 4 }
    assert.deepStrictEqual(verdict.agreed, agreed)
    const opened = known("api", undefined, { reason: verdict.detail, outage: { since: at, openings: 1, agreed } })
    assert.deepInclude(toData(opened), { reason: verdict.detail, agreed })
    assert.deepInclude(shown([opened]).rows[0], { AGREED: "3/4", WHY: "Tripped" })
  })

  it("leaves AGREED empty if the record has no agreement, or if the row shows an override", () => {
    const claims = "broken in 3 of 4 processes together"
    const outage = { since: at, openings: 1, agreed: { processes: 3, of: 4 } }
    const override = { state: "Isolated", since: at, reason: "drill" } as const
    for (const more of [
      { reason: "5 failures in a row" },
      { why: "Tripped", reason: claims },
      { why: "OpenedByHand", reason: claims },
      { ...overridden, outage, overrides: [override] }
    ] as const) {
      assert.isUndefined(agreementOf(known("api", undefined, more)))
    }
    assert.isUndefined(agreementOf(unreadable))
  })
})

describe("A choice of circuits", () => {
  const circuits: ReadonlyArray<One> = [
    known("api", undefined, { outage: { since: at - 5_000, openings: 9 } }),
    known("mail", "eu", { state: "HalfOpen", outage: { since: at - 9_000, openings: 2 } }),
    known("pay", undefined, { ...overridden, since: at - 1_000 }),
    known("payments", undefined, { outage: { since: at - 7_000, openings: 1 } }),
    known("search", undefined, { ...overridden, state: "Disabled", why: "Disabled", since: at - 8_000 }),
    unreadable
  ]
  const names = (choice: Partial<Choice>) => shown(circuits, choice).rows.map(({ CIRCUIT }) => CIRCUIT)

  it.each([
    ["name", ["api", "mail", "odd", "pay", "payments", "search"]],
    ["state", ["pay", "payments", "api", "mail", "odd", "search"]],
    ["down", ["mail", "search", "payments", "api", "pay", "odd"]],
    ["openings", ["api", "mail", "payments", "search", "pay", "odd"]]
  ] as const)("is in the order of %s", (sort, expected) => {
    assert.deepStrictEqual(names({ sort }), [...expected])
  })

  it.each([
    [{ name: "pay*" }, ["pay", "payments"]],
    [{ name: "pay" }, ["pay"]],
    [{ name: "*a*" }, ["api", "mail", "pay", "payments", "search"]],
    [{ name: "PAY*" }, []],
    [{ states: ["Open"] }, ["api", "payments"]],
    [{ states: ["Open", "HalfOpen"] }, ["api", "mail", "payments"]],
    [{ states: ["Unreadable"] }, ["odd"]],
    [{ name: "pay*", states: ["Isolated"] }, ["pay"]]
  ])("%j has %j", (choice, expected) => {
    assert.deepStrictEqual(
      chosen(circuits, { ...all, ...choice }).map(({ name }) => name),
      expected
    )
  })

  it("shows at most as many rows as its limit, and the number of hidden rows", () => {
    assert.deepStrictEqual(names({ sort: "down", limit: 2 }), ["mail", "search"])
    assert.strictEqual(shown(circuits, { limit: 2 }).left, 4)
    assert.strictEqual(shown(circuits, { limit: 6 }).left, 0)
  })

  it.prop(
    "matches a pattern as a regular expression would",
    [
      Arbitrary.map(Arbitrary.array(oneOf(["a", "a", ".", "*", "*", "*"]), { maxLength: 6 }), (all) => all.join("")),
      Arbitrary.map(Arbitrary.array(oneOf(["a", "a", ".", "\n"]), { maxLength: 4 }), (all) => all.join(""))
    ],
    ([pattern, text]) => {
      const parts = pattern.split("*").map((part) => part.replaceAll(".", "\\."))
      assert.strictEqual(matches(pattern, text), new RegExp(`^${parts.join(".*")}$`, "s").test(text))
    },
    runs("patterns", 1_000)
  )
})

describe("A name that is not known", () => {
  const names = ["payments", "payouts", "mail", "search", "db", "日本語"]
  it.each([
    ["paymnet", ["payments"]],
    ["Payments", ["payments"]],
    ["pay", ["payments", "payouts"]],
    ["payments-eu", ["payments"]],
    ["mali", ["mail"]],
    ["日本", ["日本語"]],
    ["inventory", []],
    ["x", []]
  ])("%s is like %j", (name, expected) => {
    assert.deepStrictEqual(nearest(name, names), expected)
  })

  it("gets at most three suggestions, the nearest first, and control characters in names are escaped", () => {
    const hint = didYouMean("api", ["api-4", "apis", "ap\u001b[31mi", "api1", "api-2"])
    assert.strictEqual(hint, ` Did you mean "api1", "apis" or "api-2"?`)
    assert.strictEqual(didYouMean("a\nb", ["a\u001bb"]), ` Did you mean "a\\u001bb"?`)
  })
})

describe("Rejected calls", () => {
  const since = 1_000
  const snapshot = (process: string, at: number, rejected: number) => ({ process, at, rejected }) as SnapshotCounts
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<SnapshotCounts>, ReturnType<typeof rejectedIn>]> = [
    ["no snapshots", [], undefined],
    ["one snapshot", [snapshot("a", 2_000, 5)], undefined],
    [
      "snapshots before and after the start",
      [snapshot("a", 900, 5), snapshot("a", 2_000, 12)],
      { calls: 7, processes: 1 }
    ],
    [
      "the latest snapshot before the start",
      [snapshot("a", 100, 1), snapshot("a", 900, 5), snapshot("a", 2_000, 12)],
      { calls: 7, processes: 1 }
    ],
    ["snapshots after the start only", [snapshot("a", 1_500, 5), snapshot("a", 2_000, 12)], { calls: 7, processes: 1 }],
    [
      "two processes",
      [snapshot("a", 900, 5), snapshot("b", 950, 0), snapshot("a", 2_000, 12), snapshot("b", 2_050, 3)],
      { calls: 10, processes: 2 }
    ],
    [
      "a process that was restarted",
      [snapshot("a", 900, 5), snapshot("a", 1_500, 9), snapshot("a", 2_000, 1)],
      undefined
    ],
    [
      "two processes of one name, beside another one",
      [
        snapshot("a", 900, 100),
        snapshot("a", 901, 5),
        snapshot("a", 1_500, 130),
        snapshot("a", 1_501, 8),
        snapshot("b", 900, 1),
        snapshot("b", 1_500, 2)
      ],
      { calls: 1, processes: 1 }
    ]
  ]
  it.each(cases)("of %s are counted only as far as they are known", (_, snapshots, expected) => {
    assert.deepStrictEqual(rejectedIn(snapshots, since), expected)
  })
})
