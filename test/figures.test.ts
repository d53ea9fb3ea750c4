import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const read = (path: string) => readFileSync(join(fileURLToPath(new URL("..", import.meta.url)), path), "utf8")
const figures: Readonly<Record<string, { readonly median: number }>> = JSON.parse(
  read("bench/results/breakers.json")
).nanosPerCall

const median = (name: string): number => figures[name]?.median ?? Number.NaN
const besideOnExit = (name: string, digits: number): string => (median(name) / median("Effect.onExit")).toFixed(digits)

describe("Figures that are shown are those of bench/results", () => {
  const page = read("docs/performance.md")
  const rows = Array.from(page.matchAll(/^\| (.+?) \| ([\d,]+) ns \| ([\d.]+) \|$/gm), ([, ...row]) => row)

  it.each(rows)("%s", (name = "", nanos, ratio) => {
    assert.deepStrictEqual([nanos, ratio], [Math.round(median(name)).toLocaleString("en-US"), besideOnExit(name, 1)])
  })

  it("all rows are found", () => {
    assert.isAtLeast(rows.length, 18)
  })

  it("in the README, too", () => {
    const shown = Array.from(
      read("README.md").matchAll(/^\| a (protected|rejected) call \| (.*) \|$/gm),
      ([, , row]) => row
    )
    const row = (state: "closed" | "open", digits: number) =>
      [
        `${besideOnExit(`effect-fuse, ${state}`, 1)} ×`,
        `${besideOnExit(`Effect's own, ${state}`, 0)} ×`,
        `${besideOnExit(`cockatiel, ${state}`, digits)} ×, ${besideOnExit(`opossum, ${state}`, digits)} ×`
      ].join(" | ")
    assert.deepStrictEqual(shown, [row("closed", 1), row("open", 0)])
  })
})
