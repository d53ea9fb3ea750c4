import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { Effect, type Scope } from "effect"
import { type Browser, type BrowserContextOptions, chromium as driver, type Page } from "playwright-core"
import { chromium } from "./servers.ts"

/** A Chromium that lives as long as the scope. */
export const browser: Effect.Effect<Browser, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(async () =>
    // Root may run Chromium only without its sandbox. The pages are the tests' own.
    driver.launch({ executablePath: await chromium(), args: ["--no-sandbox", "--disable-gpu"] })
  ),
  (one) => Effect.promise(() => one.close())
)

/** The longest wait for a fact on the page, on the slowest machine. */
export const patience = 40_000

export interface Opened extends Page {
  /** What went wrong in the page: errors, and what its policy refused. */
  readonly problems: ReadonlyArray<string>
}

/** A page in a browser profile of its own. */
export const open = (
  of: Browser,
  url: string,
  options: BrowserContextOptions = {}
): Effect.Effect<Opened, never, Scope.Scope> =>
  Effect.gen(function* () {
    const context = yield* Effect.acquireRelease(
      Effect.promise(() => of.newContext(options)),
      (one) => Effect.promise(() => one.close())
    )
    context.setDefaultTimeout(patience)
    const page = yield* Effect.promise(() => context.newPage())
    const problems: Array<string> = []
    page.on("pageerror", ({ message }) => problems.push(message))
    page.on("console", (message) => {
      // A request that the server refuses, or a lost connection, is no error of the page.
      if (message.type() === "error" && !/Failed to load resource|ERR_|EventSource/.test(message.text())) {
        problems.push(message.text())
      }
    })
    page.on("dialog", (dialog) => {
      problems.push(`a dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
    yield* Effect.promise(() => page.goto(url))
    return Object.assign(page, { problems })
  })

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

/**
 * Runs axe and returns its problems, or only problems with these impacts, such as "serious". The content security policy forbids a
 * script element for axe, so the browser evaluates the source of axe.
 */
export const axe = (page: Page, impacts?: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<string>> =>
  Effect.promise(async () => {
    await page.evaluate(axeSource)
    const found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    const { violations } = found as {
      violations: Array<{ id: string; impact: string; nodes: Array<{ html: string }> }>
    }
    const wanted = violations.filter(({ impact }) => impacts?.includes(impact) ?? true)
    return wanted.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`)
  })
