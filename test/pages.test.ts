import { existsSync, readdirSync, readFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { publicModules, root } from "./support/sources.ts"

const read = (path: string) => readFileSync(join(root, path), "utf8")

/** Public modules that contain more than exports of other modules. */
const modules = publicModules
  .map(({ name, text }) => ({ name: name.endsWith("/index") ? dirname(name) : basename(name), text }))
  .filter(({ text }) => /^export (const|class|interface|function)/m.test(text))

const skeleton = ["What", "When", "Defaults", "Example", "Gotchas", "Anti-patterns"]

describe.each(modules)("the page of $name", ({ name, text }) => {
  const path = `docs/modules/${name}.md`
  const page = existsSync(join(root, path)) ? read(path) : ""

  it("has what every page has, in the same order", () => {
    assert.match(page, new RegExp(`^# ${name}\n\n\`\`\`ts\nimport `))
    assert.deepStrictEqual(
      Array.from(page.matchAll(/^## (.*)$/gm), ([, heading]) => heading),
      skeleton
    )
  })

  it("names all that can be called, and all that may be left out", () => {
    const exported = Array.from(text.matchAll(/^export (?:const|class|function) (\w+)/gm), ([, one]) => one ?? "")
    const interfaces = (text.match(/^export interface [\s\S]*?^}/gm) ?? []).join("\n")
    const optional = Array.from(interfaces.matchAll(/^ {2}readonly (\w+)\?:/gm), ([, one]) => one ?? "")
    const named = new Set(Array.from(page.matchAll(/`([^`\n]+)`/g), ([, code = ""]) => code.match(/\w+/g) ?? []).flat())
    assert.deepStrictEqual(
      [...exported, ...optional].filter((one) => !named.has(one)),
      []
    )
  })
})

it("every page is of a module, and in the index", () => {
  const pages = readdirSync(join(root, "docs/modules"))
  assert.deepStrictEqual(pages.sort(), modules.map(({ name }) => `${name}.md`).sort())
  const index = read("docs/README.md")
  assert.deepStrictEqual(
    pages.filter((page) => !index.includes(`(modules/${page})`)),
    []
  )
})

/** The number of words. Signs, such as the borders of a table, do not count. */
const words = (text: string): number => text.match(/\S*[\p{L}\p{N}]\S*/gu)?.length ?? 0
const withoutCode = (text: string): string => text.replaceAll(/^```[\s\S]*?^```/gm, "")

describe("the pages for newcomers", () => {
  it("the README has at most 700 words", () => assert.isAtMost(words(read("README.md")), 700))

  it.each(["tutorial", "do-i-need-this", "http-recipes", "services"])("%s.md has at most 900 words plus code", (name) =>
    assert.isAtMost(words(withoutCode(read(`docs/${name}.md`))), 900)
  )

  it("the index answers ten questions", () => {
    const [, questions = ""] = read("docs/README.md").split("## Ten questions of newcomers\n")
    const [list = ""] = questions.split("\n## ")
    assert.strictEqual(list.match(/^\| .*\? \| \[.+\]\(.+\) \|$/gm)?.length, 10)
  })

  it("services.md has every environment variable in its tables", () => {
    const page = read("docs/services.md")
    const sources = ["src/policy/environment.ts", "src/redis/environment.ts"].map(read).join("\n")
    const fields = Array.from(sources.matchAll(/^ {2}([A-Z_]+): parsers/gm), ([, field]) => `CIRCUIT_BREAKER_${field}`)
    const redis = Array.from(sources.matchAll(/"(REDIS_[A-Z]+)"/g), ([, name = ""]) => name)
    assert.isAbove(fields.length, 15)
    assert.isAbove(redis.length, 5)
    assert.deepStrictEqual(
      [...new Set([...fields, ...redis, "CIRCUIT_BREAKER_STORE"])].filter((name) => !page.includes(`| \`${name}\` |`)),
      []
    )
  })

  it("do-i-need-this.md has the figures of the scenarios", () => {
    const figures: Record<string, Record<string, Record<string, number>>> = JSON.parse(
      read("bench/results/scenarios.json")
    )
    const share = (scenario: string, protection: string, figure = "share") =>
      `${Math.round((figures[scenario]?.[protection]?.[figure] ?? Number.NaN) * 100)} %`
    const page = read("docs/do-i-need-this.md").replaceAll(/\s+/g, " ")
    for (const sentence of [
      `With one breaker, callers get ${share("shards", "breaker")} of the possible answers, and ${share("shards", "no protection")} without`,
      `with \`key\`. Callers then also get ${share("shards", "breaker for each shard")},`,
      `callers behind a breaker get ${share("brownout", "breaker")} of the possible answers`,
      `can answer, and callers get ${share("brownout", "breaker with limit")}.`,
      `callers get ${share("herd", "no protection")} of the possible answers`,
      `A breaker gets ${share("herd", "breaker")}, and a limit ${share("herd", "breaker with limit")}.`,
      `it gets ${share("cold-cache", "breaker")} of the possible answers, and no protection gets ${share("cold-cache", "no protection")}.`,
      `Add a \`ramp\` (${share("cold-cache", "breaker with ramp")}) or a \`limit\` (${share("cold-cache", "breaker with limit")}).`,
      `a default breaker gets ${share("quota", "breaker")} of the possible answers`,
      `its p99 is ${Math.round(figures["limping-replica"]?.["pool, fastest replica"]?.["p99"] ?? 0)} ms`
    ])
      assert.include(page, sentence)
  })
})
