import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import type { Earlier, Result } from "../bench/breakers/result.ts"
import { fill, pages, partNames, shownOn } from "../bench/breakers/tables.ts"

const read = (path: string) => readFileSync(join(fileURLToPath(new URL("..", import.meta.url)), path), "utf8")
const result: Result = JSON.parse(read("bench/results/breakers.json"))
const earlier: Earlier = JSON.parse(read("bench/results/breakers.v1.json"))
const cpu = (name: string): number => result.nanosPerCall[name]?.cpu.median ?? Number.NaN

describe("the figures in the documentation", () => {
  it.each(pages)("%s shows the figures of bench/results", (page) => {
    const text = read(page)
    assert.isAbove(shownOn(text).length, 0)
    assert.strictEqual(text, fill(text, result, earlier), "write the tables with: npm run bench -- --tables")
  })

  it("every table is on exactly one page", () => {
    assert.deepStrictEqual(pages.flatMap((page) => shownOn(read(page))).toSorted(), partNames.toSorted())
  })

  it.each([
    ["promises", 9],
    ["effects", 9],
    ["half-open", 3],
    ["sync", 16],
    ["bars", 20],
    ["readme", 6]
  ])("the table %s has its rows, each with a value of effect-fuse", (name, count) => {
    const table = fill(`<!-- bench:${name} --><!-- /bench -->`, result, earlier)
    const rows = Array.from(table.matchAll(/^\| (?!---)(.+) \|$/gm), ([, row = ""]) => row.split(" | ")).slice(1)
    assert.strictEqual(rows.length, count)
    const column = name === "promises" ? 2 : 1
    for (const row of rows) assert.match(row[column] ?? "", /^[\d.,]+( ns| µs| B)?$/, row.join(" | "))
  })

  it("fill replaces old figures, keeps all other text, and refuses a table that does not exist", () => {
    const old = "before <!-- bench:idle -->\nold\n<!-- /bench --> between <!-- bench:idle --><!-- /bench --> after"
    const filled = fill(old, result, earlier)
    assert.match(
      filled,
      /^before <!-- bench:idle -->\n\n\|[\s\S]*<!-- \/bench --> between <!-- bench:idle -->\n\n\|[\s\S]*after$/
    )
    assert.notInclude(filled, "old")
    assert.throws(() => fill("<!-- bench:other --><!-- /bench -->", result, earlier), "bench:other: expected one of")
  })

  it("the libraries that were measured are the installed ones", () => {
    const { devDependencies } = JSON.parse(read("package.json"))
    assert.isAtLeast(Object.keys(result.versions).length, 5)
    for (const [name, version] of Object.entries(result.versions)) assert.strictEqual(version, devDependencies[name])
  })

  it("a healthy call takes less than a microsecond more, as the README says", () => {
    assert.isBelow(cpu("effect-fuse, closed") - cpu("bare effect"), 1_000)
    assert.isBelow(cpu("async, protect") - cpu("async, Effect.promise"), 1_000)
  })

  it("`Resilience.standard` costs less than the same by hand, as the page about resilience says", () => {
    const byHand = "Effect.timeout, protect, Effect.retry by hand"
    assert.isBelow(cpu("Resilience.standard"), cpu(byHand))
    assert.isBelow(cpu("async, Resilience.standard"), cpu(`async, ${byHand}`))
  })
})
