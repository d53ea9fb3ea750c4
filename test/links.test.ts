import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { assert, it } from "@effect/vitest"
import { slugify } from "../site/slugify.ts"
import { root } from "./support/root.ts"

const pagesIn = (folder: string) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name))
const pages = [
  ".",
  "docs",
  "docs/coming-from",
  "docs/guide",
  "docs/modules",
  "docs/patterns",
  "docs/promises",
  "docs/resilience",
  "examples",
  "test"
].flatMap(pagesIn)

const anchorsOf = (page: string): ReadonlyArray<string> =>
  Array.from(readFileSync(join(root, page), "utf8").matchAll(/^#+ (.*)$/gm), ([, heading = ""]) => slugify(heading))

it.each(pages)("every link in %s leads to a file that is there, and to a heading that it has", (page) => {
  const text = readFileSync(join(root, page), "utf8")
  for (const [link, path = "", anchor = ""] of text.matchAll(/\]\(([^)#\s]*)(#[^)\s]+)?\)/g)) {
    if (/^https?:/.test(path)) continue
    const target = path === "" ? page : relative(root, join(root, dirname(page), path))
    assert.isTrue(existsSync(join(root, target)), `${page}: ${link}`)
    if (anchor !== "" && target.endsWith(".md")) assert.include(anchorsOf(target), anchor.slice(1), `${page}: ${link}`)
  }
})
