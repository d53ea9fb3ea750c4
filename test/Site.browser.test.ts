import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import type { Browser, Page } from "playwright-core"
import { afterAll } from "vitest"
import { addressOf, linksIn, pages as markdownPages, read } from "../site/repository.ts"
import { axe, browser, type Opened, open } from "./support/browser.ts"
import { prepared } from "./support/prepared.ts"
import { base, brokenLinks, builtSite, clicks, type Html, htmlIn, served } from "./support/site.ts"

const say = <A>(promise: () => Promise<A>): Effect.Effect<A> => Effect.promise(promise)

interface Shared {
  readonly chrome: Browser
  readonly folder: string
  readonly url: string
  readonly pages: ReadonlyMap<string, Html>
}

let shared: Shared
const scope = Effect.runSync(Scope.make())

prepared(async () => {
  const make = Effect.gen(function* () {
    // The browser starts before the slow build, so a missing Chromium fails at once.
    const chrome = yield* browser
    const folder = yield* builtSite
    return { chrome, folder, url: yield* served(folder), pages: htmlIn(folder) }
  })
  shared = await Effect.runPromise(Scope.provide(make, scope))
}, 300_000)

afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

/** Opens a page of the site. `foreign` lists requests to other hosts and failed requests. */
const visit = (path: string, options = {}) =>
  Effect.gen(function* () {
    const page = yield* open(shared.chrome, "about:blank", options)
    const foreign: Array<string> = []
    page.on("request", (request) => {
      const url = request.url()
      if (!url.startsWith(shared.url) && !/^(?:data|blob|about):/.test(url)) foreign.push(url)
    })
    page.on("response", (response) => {
      if (response.status() >= 400) foreign.push(`${response.status()} ${response.url()}`)
    })
    yield* say(() => page.goto(shared.url + path))
    // Keys and buttons work only after Vue has mounted the app.
    yield* say(() => page.waitForFunction(() => "__vue_app__" in (document.querySelector("#app") ?? {})))
    return Object.assign(page, { foreign })
  })

const unharmed = (page: Opened & { readonly foreign: ReadonlyArray<string> }) => {
  assert.deepStrictEqual(page.problems, [])
  assert.deepStrictEqual(page.foreign, [])
}

const isDark = (page: Page) => say(() => page.evaluate(() => document.documentElement.classList.contains("dark")))

/** Scrolls through a page, so that it loads its lazy pictures, and waits until all of them are there. */
const seeAll = (page: Page) =>
  say(async () => {
    for (const picture of await page.locator(".vp-doc img:visible").all()) await picture.scrollIntoViewIfNeeded()
    await page.waitForFunction(() =>
      Array.from(document.querySelectorAll<HTMLImageElement>(".vp-doc img"))
        .filter((one) => one.offsetParent !== null)
        .every((one) => one.complete && one.naturalWidth > 0)
    )
  })

const serious = (page: Page) => axe(page, ["serious", "critical"])

/** One page of each kind. */
const sample = [
  ["the start page", ""],
  ["the documentation", "docs/"],
  ["the tutorial", "docs/tutorial.html"],
  ["a page with diagrams", "docs/concepts.html"],
  ["a page with sequences", "docs/how-a-fleet-decides.html"],
  ["a page with pictures", "docs/scenarios.html"],
  ["a page with tables", "docs/performance.html"],
  ["a module", "docs/modules/CircuitBreaker.html"],
  ["an example", "examples/quickstart.html"],
  ["a source file", "src/store/SharedStore.html"],
  ["the changelog", "CHANGELOG.html"]
] as const

describe("the built site", { tags: ["long"] }, () => {
  it("has a page for each Markdown file, the API reference and the playground", () => {
    for (const page of markdownPages) {
      const path = base.slice(0, -1) + addressOf(page).replace(/\/$/, "/index.html")
      assert.isTrue(shared.pages.has(path), path)
    }
    assert.isTrue(shared.pages.has(`${base}reference/index.html`))
    assert.isTrue(shared.pages.has(`${base}playground/index.html`))
    assert.isTrue(shared.pages.has(`${base}404.html`))
  })

  it("every link and every anchor of every page leads somewhere", () => {
    const broken = Array.from(shared.pages.keys(), (path) => [path, brokenLinks(shared.folder, shared.pages, path)])
    assert.deepStrictEqual(
      broken.filter(([, links]) => links?.length !== 0),
      []
    )
  })

  it("every page can be reached from the start page", () => {
    const away = clicks(shared.pages)
    const lost = Array.from(shared.pages.keys()).filter((path) => !away.has(path) && !path.endsWith("/404.html"))
    assert.deepStrictEqual(lost, [])
  })

  it("the answer to each of the ten questions is at most two clicks away from the start page", () => {
    const [, section = ""] = read("docs/README.md").split(/^## Ten questions.*$/m)
    const answers = linksIn(section.split(/^## /m)[0] ?? "").map(({ href }) => href)
    assert.strictEqual(answers.length, 10)
    const away = clicks(shared.pages)
    for (const href of answers) {
      const [page = "", anchor = ""] = href.split("#")
      const path = base.slice(0, -1) + addressOf(`docs/${page}`)
      assert.isAtMost(away.get(path) ?? Number.POSITIVE_INFINITY, 2, href)
      if (anchor !== "") assert.isTrue(shared.pages.get(path)?.ids.has(anchor), href)
    }
  })

  it("no page loads anything from another host", () => {
    const loaded = /<(?:script|img|iframe|source|video)\b[^>]*\ssrc="https?:|<link\b[^>]*\shref="https?:/
    for (const path of shared.pages.keys()) {
      assert.notMatch(readFileSync(`${shared.folder}/${path.slice(base.length)}`, "utf8"), loaded, path)
    }
  })

  it("each page has a description and a unique title", () => {
    const about = Array.from(shared.pages.keys())
      .filter((path) => !/\/(?:reference\/|playground\/|404)/.test(path))
      .map((path) => {
        const html = readFileSync(`${shared.folder}/${path.slice(base.length)}`, "utf8")
        assert.match(html, /<meta property="og:title" content="[^"]+">/, path)
        assert.match(html, /<meta name="description" content="[^"]+">/, path)
        return /<title>([^<]+)<\/title>/.exec(html)?.[1]
      })
    assert.deepStrictEqual(
      about.filter((title, i) => title === undefined || about.indexOf(title) !== i),
      []
    )
  })

  it.live.each(sample)("%s has no error, no request to another host and no cut off text in Chromium", ([, path]) =>
    Effect.gen(function* () {
      for (const width of [1280, 390]) {
        const page = yield* visit(path, { viewport: { width, height: 844 } })
        yield* say(() => page.locator("h1").first().waitFor())
        yield* seeAll(page)
        yield* say(() => page.waitForFunction(() => document.querySelector(".diagram.waiting") === null))
        assert.isAtMost(yield* say(() => page.evaluate(() => document.documentElement.scrollWidth)), width)
        unharmed(page)
      }
    })
  )

  it.live("a number and its unit stay on one line", () =>
    Effect.gen(function* () {
      const page = yield* visit("docs/performance.html", { viewport: { width: 390, height: 844 } })
      const wraps = yield* say(() =>
        page.evaluate(() =>
          Array.from(document.querySelectorAll(".vp-doc td"), (cell) => getComputedStyle(cell))
            .filter(({ textAlign }) => textAlign === "right")
            .map(({ whiteSpace }) => whiteSpace)
        )
      )
      assert.deepStrictEqual([...new Set(wraps)], ["nowrap"])
    })
  )

  it.live.each(["light", "dark"] as const)("axe finds nothing serious in the %s scheme", (colorScheme) =>
    Effect.gen(function* () {
      for (const [path, width] of [
        ["", 1280],
        ["", 390],
        ["docs/concepts.html", 1280],
        ["docs/concepts.html", 390],
        ["examples/quickstart.html", 1280]
      ] as const) {
        const page = yield* visit(path, { colorScheme, viewport: { width, height: 844 } })
        yield* say(() => page.locator("h1").first().waitFor())
        yield* say(() => page.waitForFunction(() => document.querySelector(".diagram.waiting") === null))
        assert.deepStrictEqual(yield* serious(page), [], `${path} at ${width} pixels`)
      }
    })
  )

  it.live("axe finds nothing serious on a page that a link has opened, with another sidebar", () =>
    Effect.gen(function* () {
      const page = yield* visit("docs/concepts.html")
      yield* say(() => page.locator(".VPNavBarMenu").getByRole("link", { name: "Examples" }).click())
      yield* say(() => page.getByRole("heading", { level: 1, name: "Examples" }).waitFor())
      assert.deepStrictEqual(yield* serious(page), [])
    })
  )

  it.live.each([
    ["half-open", /HalfOpen|half-open/i],
    ["CircuitBreaker", /CircuitBreaker/],
    ["redis", /redis/i],
    ["why does my circuit not open", /The circuit does not open/],
    ["how do I test it", /TestClock/]
  ] as const)("the search finds %s, by keyboard", ([term, words]) =>
    Effect.gen(function* () {
      const page = yield* visit("")
      yield* say(() => page.keyboard.press("Control+k"))
      yield* say(() => page.getByRole("searchbox").fill(term))
      yield* say(() => page.locator("#localsearch-list .result").nth(2).waitFor())
      yield* say(() => page.keyboard.press("Enter"))
      yield* say(() => page.waitForURL(/#./))
      // The address changes before the page does.
      yield* say(() => page.locator("#VPContent").getByText(words).first().waitFor({ state: "attached" }))
      unharmed(page)
    })
  )

  it.live("the search says if it finds nothing", () =>
    Effect.gen(function* () {
      const page = yield* visit("docs/")
      yield* say(() => page.keyboard.press("Control+k"))
      yield* say(() => page.getByRole("searchbox").fill("zebra-crossing"))
      yield* say(() => page.getByText("No results for").waitFor())
      unharmed(page)
    })
  )

  it.live("the dark scheme can be chosen, stays, and also applies to pictures, diagrams and the reference", () =>
    Effect.gen(function* () {
      const page = yield* visit("docs/scenarios.html", { colorScheme: "light" })
      const shownPictures = () =>
        say(() =>
          page.evaluate(() =>
            Array.from(document.querySelectorAll<HTMLImageElement>(".vp-doc img"))
              .filter((one) => one.offsetParent !== null)
              .map((one) => one.src.replace(/.*\.(light|dark)\.svg$/, "$1"))
          )
        )
      assert.deepStrictEqual([...new Set(yield* shownPictures())], ["light"])
      yield* say(() => page.locator(".VPSwitchAppearance:visible").click())
      assert.isTrue(yield* isDark(page))
      assert.deepStrictEqual([...new Set(yield* shownPictures())], ["dark"])
      yield* say(() => page.reload())
      assert.isTrue(yield* isDark(page))
      const reference = () => say(() => page.evaluate(() => document.documentElement.dataset["theme"]))
      yield* say(() => page.getByRole("link", { name: "API reference" }).first().click())
      yield* say(() => page.locator("#tsd-toolbar-links a").waitFor())
      assert.strictEqual(yield* reference(), "dark")
      // The reader chooses a color scheme in the reference. The site uses the same scheme.
      yield* say(() => page.locator("summary", { hasText: "Settings" }).first().click())
      yield* say(() => page.locator("#tsd-theme").selectOption("light"))
      assert.strictEqual(yield* reference(), "light")
      yield* say(() => page.locator("#tsd-toolbar-links a", { hasText: "Documentation" }).click())
      yield* say(() => page.locator(".hero h1").waitFor())
      assert.isFalse(yield* isDark(page))
      unharmed(page)
    })
  )

  it.live("a diagram is redrawn in the colours of the scheme, and has a name", () =>
    Effect.gen(function* () {
      const page = yield* visit("docs/concepts.html", { colorScheme: "light" })
      const diagram = page.locator(".diagram").first()
      yield* say(() => diagram.locator("svg").waitFor())
      const light = yield* say(() => diagram.innerHTML())
      yield* say(() => page.locator(".VPSwitchAppearance:visible").click())
      yield* say(() =>
        page.waitForFunction((before) => document.querySelector(".diagram")?.innerHTML !== before, light)
      )
      assert.strictEqual(yield* say(() => diagram.getAttribute("aria-label")), "Diagram: A circuit")
      unharmed(page)
    })
  )

  it.live("leads from the start page to the next page, and copies code", () =>
    Effect.gen(function* () {
      const page = yield* visit("", { permissions: ["clipboard-read", "clipboard-write"] })
      const code = page.locator('.vp-doc div[class*="language-"]').first()
      yield* say(() => code.hover())
      yield* say(() => code.locator("button.copy").click())
      yield* say(() => page.locator("button.copied").waitFor())
      assert.match(yield* say(() => page.evaluate(() => navigator.clipboard.readText())), /^npm install effect-fuse/)
      yield* say(() => page.locator(".actions a").first().click())
      yield* say(() => page.waitForURL(/\/docs\/tutorial\.html$/))
      yield* say(() => page.locator(".pager-link.next").click())
      yield* say(() => page.waitForURL(/\/docs\/do-i-need-this\.html$/))
      yield* say(() => page.getByRole("heading", { level: 1, name: "Do I need this?" }).waitFor())
      unharmed(page)
    })
  )

  it.live("leads to the playground, which works below a path", () =>
    Effect.gen(function* () {
      const page = yield* visit("")
      for (const link of [page.locator(".actions"), page.locator(".VPNavBarMenu")]) {
        yield* say(() => page.goto(shared.url))
        yield* say(() => link.getByRole("link", { name: /playground/i }).click())
        yield* say(() => page.waitForURL(/\/playground\/index\.html/))
        yield* say(() => page.locator("svg").first().waitFor())
      }
      yield* say(() => page.getByRole("link", { name: "Documentation" }).click())
      yield* say(() => page.locator(".hero h1").waitFor())
      unharmed(page)
    })
  )

  it.live("says that a page does not exist, and leads back", () =>
    Effect.gen(function* () {
      const page = yield* visit("docs/nowhere.html")
      yield* say(() => page.getByText("This page does not exist").waitFor())
      yield* say(() => page.getByRole("link", { name: "Go to the start page" }).click())
      yield* say(() => page.locator(".hero h1").waitFor())
      assert.deepStrictEqual(page.problems, [])
    })
  )
})
