/**
 * Takes the pictures of the documentation: `npm run pictures`. With a folder (`npm run pictures -- /tmp/pictures`), it takes the pictures of
 * all screens into that folder.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import { chromium as driver } from "playwright-core"
import { chromium } from "../test/support/servers.ts"
import { ensurePage } from "./page.ts"
import { pictureDetail, pictureView } from "./pictureView.ts"
import { contentType } from "./serveFolder.ts"

const root = fileURLToPath(new URL("../", import.meta.url))
const page = `${root}dist/dashboard/page`
const folder = `${root}docs/pictures`

await ensurePage()
mkdirSync(folder, { recursive: true })

const server = createServer((request, response) => {
  const path = request.url === "/" ? "/index.html" : (request.url ?? "")
  if (path === "/api/events") {
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.write(`event: view\ndata: ${JSON.stringify({ ...pictureView(Date.now()), rest: 0 })}\n\n`)
  } else if (path.startsWith("/api/circuit?")) {
    const id = new URLSearchParams(path.split("?")[1]).get("id") ?? ""
    response.writeHead(200, { "content-type": "application/json" })
    response.end(JSON.stringify(pictureDetail(pictureView(Date.now()), id)))
  } else if (existsSync(page + path)) {
    response.writeHead(200, { "content-type": contentType(path) })
    response.end(readFileSync(page + path))
  } else {
    response.writeHead(404).end()
  }
})
await new Promise<void>((resolve) => {
  server.listen(0, "127.0.0.1", resolve)
})
const address = server.address()
const port = typeof address === "object" ? address?.port : undefined

const browser = await driver.launch({ executablePath: await chromium(), args: ["--no-sandbox", "--disable-gpu"] })
const screens = [
  { name: "dashboard", address: "/", width: 1_180, height: 860, ready: "tbody tr" },
  { name: "circuit", address: "/#/circuit/payments/", width: 1_180, height: 1_640, ready: ".courses" },
  { name: "phone", address: "/", width: 390, height: 844, ready: "tbody tr" },
  { name: "phone-circuit", address: "/#/circuit/payments/", width: 390, height: 1_900, ready: ".courses" }
]
/** The documentation contains only these pictures. Maintainers check the dashboard by eye with the other pictures. */
const inDocs = new Set(["dashboard", "circuit"])
const elsewhere = process.argv[2]
for (const colorScheme of ["light", "dark"] as const) {
  for (const { address, height, name, ready, width } of screens) {
    if (elsewhere === undefined && !inDocs.has(name)) continue
    const shown = await browser.newPage({ viewport: { width, height }, colorScheme })
    await shown.goto(`http://127.0.0.1:${port}${address}`)
    await shown.locator(ready).first().waitFor()
    // The page adds the rows of long lists step by step.
    await shown.waitForTimeout(1_000)
    const path = `${elsewhere ?? folder}/${name}-${colorScheme}.png`
    await shown.screenshot({ path })
    await shown.close()
    console.log(path)
  }
}
await browser.close()
server.close()
server.closeAllConnections()
