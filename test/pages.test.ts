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
