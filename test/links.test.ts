import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { assert, it } from "@effect/vitest"
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

/** What a heading is called in a link. */
const anchorsOf = (page: string): ReadonlyArray<string> =>
  Array.from(readFileSync(join(root, page), "utf8").matchAll(/^#+ (.*)$/gm), ([, heading = ""]) =>
    heading
      .trim()
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_\- ]/gu, "")
      .replaceAll(" ", "-")
  )

it.each(pages)("every link in %s leads to a file that is there, and to a heading that it has", (page) => {
  const text = readFileSync(join(root, page), "utf8")
  for (const [link, path = "", anchor = ""] of text.matchAll(/\]\(([^)#\s]*)(#[^)\s]+)?\)/g)) {
    if (/^https?:/.test(path)) continue
    const target = path === "" ? page : relative(root, join(root, dirname(page), path))
    assert.isTrue(existsSync(join(root, target)), `${page}: ${link}`)
    if (anchor !== "" && target.endsWith(".md")) assert.include(anchorsOf(target), anchor.slice(1), `${page}: ${link}`)
  }
})
