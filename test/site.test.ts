import { existsSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { documentation, exampleGroups, flat, type Group, type Item, unreachable } from "../site/navigation.ts"
import {
  addressFrom,
  addressOf,
  isExternal,
  linked,
  linksIn,
  pages,
  rawFiles,
  read,
  routeOf
} from "../site/repository.ts"
import { sourcePages } from "../site/sourcePages.ts"
import { startPage } from "../site/startPage.ts"
import { summary } from "../site/summary.ts"
import { root } from "./support/root.ts"

describe("the navigation of the site", () => {
  it("reaches every page", () => {
    assert.deepStrictEqual(unreachable(), [])
  })

  it.each([
    ["documentation", documentation],
    ["examples", exampleGroups]
  ] as const)("has each page of the %s once, so each page has one next page", (_, groups) => {
    const links = flat(groups()).map(({ link }) => link)
    assert.deepStrictEqual(
      links.filter((link, i) => links.indexOf(link) !== i),
      []
    )
  })

  it("leads to pages only", () => {
    const addresses = new Set([...pages, ...linked().sources.keys()].map(addressOf))
    const links = flat([...documentation(), ...exampleGroups()]).map(({ link }) => link.replace(/#.*/, ""))
    assert.deepStrictEqual(
      links.filter((link) => !addresses.has(link)),
      []
    )
  })

  it("has the sections of docs/README.md in their order, without the questions", () => {
    const headings = Array.from(read("docs/README.md").matchAll(/^## (.*)$/gm), ([, heading]) => heading)
    const expected = ["Start here", ...headings.filter((heading) => !heading?.includes("questions")), "The project"]
    assert.deepStrictEqual(
      documentation().map(({ text }) => text),
      expected as Array<string>
    )
  })

  it("puts the pages of a folder below the page that names them", () => {
    const items = documentation().flatMap(({ items }) => items)
    const patterns = items.find(({ link }) => link === "/docs/patterns.html") as Group & Item
    assert.isTrue(flat(patterns.items).length > 40)
    assert.isTrue(flat(patterns.items).every(({ link }) => link.startsWith("/docs/patterns/")))
  })
})

describe("the addresses of the site", () => {
  it.each([
    ["README.md", "/"],
    ["docs/README.md", "/docs/"],
    ["docs/guide/policies.md", "/docs/guide/policies.html"],
    ["examples/README.md", "/examples/"],
    ["examples/fleet/acts.ts", "/examples/fleet/acts.html"],
    ["bench/results", "/bench/results/"],
    ["docs/prometheus-alerts.yml", "/docs/prometheus-alerts.yml"],
    ["CHANGELOG.md", "/CHANGELOG.html"]
  ])("%s is at %s", (path, address) => assert.strictEqual(addressOf(path), address))

  it("no two files have the same address", () => {
    const sources = sourcePages().map(({ params }) => `/${params.file}.html`.replace(/index\.html$/, ""))
    const addresses = [...pages.map(addressOf), ...sources, ...rawFiles.map(addressOf)]
    assert.strictEqual(new Set(addresses).size, addresses.length)
    assert.strictEqual(new Set(pages.map(routeOf)).size, pages.length)
  })

  it.each(pages)("every relative link of %s has an address", (page) => {
    const withoutCode = read(page).replaceAll(/^```[\s\S]*?^```$/gm, "")
    for (const { href } of linksIn(withoutCode)) if (!isExternal(href)) addressFrom(page, href)
  })

  it.each([
    ["nowhere.md", /leads nowhere/],
    ["../package.json", /does not have package\.json/],
    ["../page/main.tsx", /does not have page\/main\.tsx/]
  ])("a link to %s is an error that names the page", (href, problem) => {
    assert.throws(() => addressFrom("docs/tutorial.md", href), problem)
    assert.throws(() => addressFrom("docs/tutorial.md", href), /docs\/tutorial\.md/)
  })
})

describe("the summary of a page", () => {
  it.each([
    ["is its first paragraph", "# Title\n\nOne *two*\n`three`.\n\nFour.", "One two three."],
    ["has the text of a link", "[One](two.md) three.", "One three."],
    [
      "has no straight quotes, because it is the value of an attribute",
      'Say "hello" to <b> or 5".',
      "Say “hello” to b or 5."
    ],
    ["passes over code and pictures", "# T\n\n```ts\nx\n```\n\n![a](b.svg)\n\nText.", "Text."],
    ["is empty without a paragraph", "# T\n\n| a |\n| - |", ""]
  ])("%s", (_, markdown, expected) => assert.strictEqual(summary(markdown), expected))

  it("is short", () => assert.isAtMost(summary("word ".repeat(200)).length, 200))
})

describe("the start page", () => {
  const start = startPage(read("README.md"), ["[Tutorial](docs/tutorial.md)"])

  it("has the picture, the command and the smallest program of the README, in this order", () => {
    const places = ["# effect-fuse", "docs/tutorial.md", "<picture>", "npm install", "```ts", "## Ten questions"]
    const found = places.map((place) => start.indexOf(place))
    assert.isTrue(found.every((at) => at >= 0))
    assert.deepStrictEqual(
      found,
      found.toSorted((a, b) => a - b)
    )
  })

  it("loses no paragraph of the README", () => {
    for (const block of read("README.md").split(/\n{2,}/)) assert.include(start, block.trim())
  })

  it("has ten questions, each with a link to its answer", () => {
    const [, after = ""] = start.split('<div class="questions">')
    const links = linksIn(after.split("</div>")[0] ?? "")
    assert.strictEqual(links.length, 10)
    for (const { href, text } of links) {
      assert.match(text, /\?$/)
      assert.isTrue(existsSync(join(root, href.replace(/#.*/, ""))), href)
    }
  })

  it.each([
    ["without a picture", "# a\n\nb\n\n## c\n"],
    ["without a section", "# a\n\n<picture></picture>\n"],
    ["without a title", "<picture></picture>\n\n## c\n"]
  ])("cannot be made from a README %s: the error lists the expected parts", (_, readme) => {
    assert.throws(() => startPage(readme, []), /README\.md: expected a title, a <picture>/)
  })
})
