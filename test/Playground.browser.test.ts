import { readdirSync, readFileSync } from "node:fs"
import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import type { Browser, Page } from "playwright-core"
import { afterAll } from "vitest"
import { ensurePlayground, playgroundFolder } from "../scripts/page.ts"
import { axe, browser, type Opened, open } from "./support/browser.ts"
import { prepared } from "./support/prepared.ts"
import { until } from "./support/redisFleet.ts"
import { served } from "./support/site.ts"

let chrome: Browser
let url = ""
const scope = Effect.runSync(Scope.make())

prepared(async () => {
  await ensurePlayground()
  const make = Effect.all([browser, served(playgroundFolder, "/docs/playground/")])
  ;[chrome, url] = await Effect.runPromise(Scope.provide(make, scope))
}, 120_000)

afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const say = <A>(promise: () => Promise<A>): Effect.Effect<A> => Effect.promise(promise)

/** Opens the playground and waits for the first picture. */
const opened = (fragment = "", options: Parameters<Browser["newContext"]>[0] = {}) =>
  Effect.gen(function* () {
    const page = yield* open(chrome, url + fragment, options)
    yield* say(() => page.locator(".picture svg").waitFor())
    return page
  })

/** Reads the paths of all bars and strips. */
const drawn = (page: Page) =>
  say(() => page.locator(".picture path").evaluateAll((all) => all.map((one) => one.getAttribute("d")).join()))
const figures = (page: Page) => say(() => page.locator(".figures table").innerText())
const differences = (page: Page) => say(() => page.locator(".differences").innerText())

const changes = <A>(what: string, read: Effect.Effect<A>, before: A) =>
  until(
    what,
    Effect.map(read, (now) => now !== before)
  )

const unharmed = (page: Opened) => assert.deepStrictEqual(page.problems, [])

const noWiderThanTheScreen = (page: Page) =>
  say(() => page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

describe("the playground", () => {
  it.live("compares two policies: a picture, the difference in a sentence, and a table", () =>
    Effect.gen(function* () {
      const page = yield* opened()
      const svg = yield* say(() => page.locator(".picture").innerText())
      for (const words of ["A: no breaker", "B: breaker with limit", "calls per second", "time (s)", "rejected by"]) {
        assert.include(svg, words)
      }
      assert.match(yield* differences(page), /Of 1\d,\d{3} calls, policy B answers \d.*policy A does not recover/)
      const table = yield* figures(page)
      for (const words of ["answered", "failed", "rejected", "reached the server", "Recovered"]) {
        assert.include(table, words)
      }
      unharmed(page)
    })
  )

  it.live("redraws the picture and the figures when a slider moves, by mouse or keyboard", () =>
    Effect.gen(function* () {
      const page = yield* opened()
      const [picture, table] = [yield* drawn(page), yield* figures(page)]
      const rate = page.getByLabel("Calls per second")
      yield* say(() => rate.press("ArrowLeft"))
      assert.strictEqual(yield* say(() => rate.getAttribute("aria-valuetext")), "90 / s")
      yield* changes("the picture", drawn(page), picture)
      yield* changes("the table", figures(page), table)

      const before = yield* drawn(page)
      // The slider has the range from 0 to 100, and the value 20. The click is at 60 % of its width.
      const start = page.getByLabel("It begins after")
      const width = (yield* say(() => start.boundingBox()))?.width ?? 0
      yield* say(() => start.click({ position: { x: width * 0.6, y: 5 } }))
      yield* changes("the picture", drawn(page), before)
      unharmed(page)
    })
  )

  it.live("shows the latest value when a slider moves faster than the simulation", () =>
    Effect.gen(function* () {
      const page = yield* opened()
      const rate = page.getByLabel("Calls per second")
      for (let i = 0; i < 25; i++) yield* say(() => rate.press("ArrowLeft"))
      const last = page.locator(".figures tbody tr").first()
      // One call a second for two minutes.
      yield* until(
        "the slowest traffic is shown",
        Effect.map(
          say(() => last.innerText()),
          (words) => /\b1[0-4]\d\b/.test(words) && !words.includes(",")
        )
      )
      unharmed(page)
    })
  )

  it.live("begins with a scenario of the documentation", () =>
    Effect.gen(function* () {
      const page = yield* opened()
      yield* say(() => page.getByLabel("Scenario").selectOption("retry-storm"))
      const title = page.locator(".picture svg > title")
      yield* until(
        "the picture has its title",
        Effect.map(
          say(() => title.textContent()),
          (words) => words?.startsWith("The server freezes for eight seconds") === true
        )
      )
      assert.include(yield* say(() => page.locator(".picture").innerText()), "3 attempts")
      unharmed(page)
    })
  )

  it.live("adds and removes policies", () =>
    Effect.gen(function* () {
      const page = yield* opened()
      yield* say(() => page.getByRole("button", { name: "Add a policy" }).click())
      yield* say(() => page.getByRole("columnheader", { name: "C: breaker with limit" }).waitFor())
      yield* say(() => page.getByRole("button", { name: "Remove policy A" }).click())
      yield* say(() => page.getByRole("columnheader", { name: "A: breaker with limit" }).waitFor())
      assert.strictEqual(yield* say(() => page.locator("thead th").count()), 3)
      unharmed(page)
    })
  )

  it.live("copies a link that restores the settings", () =>
    Effect.gen(function* () {
      const page = yield* opened("", { permissions: ["clipboard-read", "clipboard-write"] })
      yield* say(() => page.getByLabel("Calls per second").press("ArrowLeft"))
      const policy = page.getByRole("region", { name: "Policy B" })
      yield* say(() => policy.getByLabel("Begin with").selectOption("hasty breaker"))
      yield* say(() => page.getByRole("columnheader", { name: "B: hasty breaker" }).waitFor())
      yield* say(() => page.getByRole("button", { name: "Copy a link" }).click())
      yield* say(() => page.locator(".share [role=status]", { hasText: "Copied" }).waitFor())
      const link = yield* say(() => page.evaluate<string>("navigator.clipboard.readText()"))
      assert.isTrue(link.startsWith(`${url}#v=1&n=2&rate=90&`), link)
      yield* until(
        "the address of the page is the link, too",
        Effect.sync(() => page.url() === link)
      )
      const other = yield* open(chrome, link)
      yield* say(() => other.getByRole("columnheader", { name: "B: hasty breaker" }).waitFor())
      assert.strictEqual(yield* figures(other), yield* figures(page))
      assert.strictEqual(
        yield* say(() => other.getByLabel("Calls per second").getAttribute("aria-valuetext")),
        "90 / s"
      )
      unharmed(other)
    })
  )

  it.live("shows the problem of an invalid link, and the initial settings", () =>
    Effect.gen(function* () {
      const usual = yield* figures(yield* opened())
      for (const [fragment, words] of [
        ["#v=9&n=2", "expected version 1, got “9”"],
        ["#v=1&n=2&rate=100000", "rate: expected a whole number from 1 to 200"],
        ["#v=1&n=1&%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E=1", "there is no setting “<img src=x onerror=alert(1)>”"]
      ] as const) {
        const page = yield* opened(fragment)
        assert.include(yield* say(() => page.getByRole("alert").innerText()), words)
        assert.strictEqual(yield* say(() => page.locator("img[src=x]").count()), 0)
        assert.strictEqual(yield* figures(page), usual)
        unharmed(page)
      }
    })
  )

  it.live("follows a link that is opened in the same tab", () =>
    Effect.gen(function* () {
      const page = yield* opened()
      yield* say(() => page.goto(`${url}#v=1&n=1&rate=10`))
      yield* say(() => page.getByRole("columnheader", { name: "A: default breaker" }).waitFor())
      yield* say(() => page.goto(`${url}#nonsense`))
      yield* say(() => page.getByRole("alert").waitFor())
      unharmed(page)
    })
  )

  it.live("copies a policy as code", () =>
    Effect.gen(function* () {
      const page = yield* opened("#v=1&n=1&1.trip=consecutive&1.failures=3&1.cooldown=10", {
        permissions: ["clipboard-read", "clipboard-write"]
      })
      yield* say(() => page.getByText("As code").click())
      yield* say(() => page.getByRole("button", { name: "Copy the code of policy A" }).click())
      yield* say(() => page.locator(".code [role=status]", { hasText: "Copied" }).waitFor())
      const code = yield* say(() => page.evaluate<string>("navigator.clipboard.readText()"))
      assert.include(code, `api: { trip: Trip.consecutive(3), cooldown: "10 seconds" }`)
      assert.strictEqual(code, yield* say(() => page.locator("pre").innerText()))
      unharmed(page)
    })
  )

  it.live("is dark on a dark screen", () =>
    Effect.gen(function* () {
      const colours: Array<string> = []
      for (const colorScheme of ["light", "dark"] as const) {
        const page = yield* opened("", { colorScheme })
        for (const selector of ["body", ".picture rect.page", ".picture path.failed"]) {
          const property = selector === "body" ? "backgroundColor" : "fill"
          const read = `getComputedStyle(document.querySelector("${selector}")).${property}`
          colours.push(yield* say(() => page.evaluate<string>(read)))
        }
      }
      assert.deepStrictEqual(colours, [
        ...["rgb(246, 247, 249)", "rgb(255, 255, 255)", "rgb(226, 100, 27)"],
        ...["rgb(15, 18, 23)", "rgb(15, 20, 26)", "rgb(242, 128, 61)"]
      ])
    })
  )

  it.live.each([
    ["light", 1_280],
    ["dark", 1_280],
    ["light", 390],
    ["dark", 390]
  ] as const)("has no problem of accessibility, and fits: %s, %s pixels", ([colorScheme, width]) =>
    Effect.gen(function* () {
      const page = yield* opened("#v=1&n=2&fault=outage&replicas=3&2.circuits=replica", {
        colorScheme,
        viewport: { width, height: 844 }
      })
      for (const one of yield* say(() => page.locator("summary").all())) yield* say(() => one.click())
      yield* say(() => page.locator("pre").first().waitFor())
      assert.deepStrictEqual(yield* axe(page), [])
      assert.strictEqual(yield* noWiderThanTheScreen(page), 0)
      unharmed(page)
    })
  )

  it.live("loads nothing from another host, and works in any folder", () =>
    Effect.gen(function* () {
      const context = yield* say(() => chrome.newContext())
      yield* Effect.addFinalizer(() => say(() => context.close()))
      const asked: Array<string> = []
      context.on("request", (request) => asked.push(request.url()))
      const page = yield* say(() => context.newPage())
      yield* say(() => page.goto(url))
      yield* say(() => page.locator(".figures").waitFor())
      assert.isAtLeast(asked.length, 4)
      for (const one of asked) assert.isTrue(one.startsWith(url), one)
    })
  )

  it("is smaller than 150 kB compressed", () => {
    const files = readdirSync(playgroundFolder, { recursive: true, encoding: "utf8" }).filter((one) =>
      /\.\w+$/.test(one)
    )
    const bytes = files.map((file) => gzipSync(readFileSync(`${playgroundFolder}/${file}`)).length)
    assert.isBelow(
      bytes.reduce((sum, one) => sum + one, 0),
      150_000
    )
  })
})
