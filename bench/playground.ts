/**
 * Measures the playground in Chromium: its size, and the time from the move of a slider until the new picture is drawn.
 *
 *     npm run bench:playground
 */
import { readdirSync, readFileSync } from "node:fs"
import { gzipSync } from "node:zlib"
import { chromium as driver } from "playwright-core"
import { ensurePlayground, playgroundFolder } from "../scripts/page.ts"
import { serveFolder } from "../scripts/serveFolder.ts"
import { chromium } from "../test/support/servers.ts"

await ensurePlayground()
const files = readdirSync(playgroundFolder, { recursive: true, encoding: "utf8" }).filter((file) => /\.\w+$/.test(file))
const sizes = files.map(
  (file) => [file, gzipSync(readFileSync(`${playgroundFolder}/${file}`), { level: 9 }).length] as const
)
for (const [file, bytes] of sizes) console.log(`${(bytes / 1_000).toFixed(1).padStart(7)} kB compressed  ${file}`)
console.log(
  `${(sizes.reduce((sum, [, bytes]) => sum + bytes, 0) / 1_000).toFixed(1).padStart(7)} kB compressed  in all\n`
)

const { server, url } = await serveFolder(playgroundFolder, "/playground/")
const browser = await driver.launch({ executablePath: await chromium(), args: ["--no-sandbox", "--disable-gpu"] })

const redraws = `performance.getEntriesByName("redraw").map((entry) => entry.duration)`

/** Moves a slider back and forth, and waits for the picture each time. */
const measure = async (scenario: string, label: string): Promise<void> => {
  const page = await browser.newPage({ viewport: { width: 1_280, height: 900 } })
  await page.goto(url)
  await page.locator(".picture svg").waitFor()
  const slider = page.getByLabel(label, { exact: true }).first()
  const drawn = async (n: number): Promise<void> => {
    // `waitForFunction` does not work: the content security policy of the page forbids it.
    while ((await page.evaluate<Array<number>>(redraws)).length < n) await new Promise((wake) => setTimeout(wake, 5))
  }
  // The playground begins with this scenario.
  if (scenario !== "brownout") {
    await page.getByLabel("Scenario").selectOption(scenario)
    await drawn(1)
  }
  const before = (await page.evaluate<Array<number>>(redraws)).length
  for (let i = 0; i < 48; i++) {
    await slider.press(i % 8 < 4 ? "ArrowLeft" : "ArrowRight")
    await drawn(before + i + 1)
  }
  // The browser optimizes the simulator during the first redraws.
  const all = (await page.evaluate<Array<number>>(redraws)).slice(before + 8).sort((a, b) => a - b)
  const at = (share: number) => `${(all[Math.min(all.length - 1, Math.floor(all.length * share))] ?? 0).toFixed(0)} ms`
  console.log(`${scenario.padEnd(16)} ${label.padEnd(30)} median ${at(0.5).padStart(7)}   worst ${at(1).padStart(7)}`)
  await page.close()
}

/** Moves a slider faster than the simulation with four policies, and prints the longest task of the main thread. */
const drag = async (): Promise<void> => {
  const page = await browser.newPage({ viewport: { width: 1_280, height: 900 } })
  await page.goto(`${url}#v=1&n=4&2.limit=yes&3.circuits=replica&4.trip=rate`)
  await page.locator(".picture svg").waitFor()
  await page.evaluate(
    "globalThis.tasks = []; new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: 'longtask' })"
  )
  const slider = page.getByLabel("Calls per second", { exact: true })
  for (let i = 0; i < 80; i++) await slider.press(i % 20 < 10 ? "ArrowLeft" : "ArrowRight")
  const tasks = await page.evaluate<Array<number>>("tasks")
  const longest = tasks.length === 0 ? "below 50 ms" : `${Math.max(...tasks).toFixed(0)} ms`
  const drawn = (await page.evaluate<Array<number>>(redraws)).length
  console.log(
    `\n80 moves without a pause, four policies: ${drawn} pictures, longest task of the main thread ${longest}`
  )
  await page.close()
}

for (const scenario of ["healthy", "brownout", "retry-storm", "shards"]) {
  await measure(scenario, "Calls per second")
  await measure(scenario, "Failures in a row")
}
await drag()
await browser.close()
server.close()
server.closeAllConnections()
