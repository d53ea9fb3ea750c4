/** Takes the pictures of the documentation: `npm run pictures`. */
import { existsSync, mkdirSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import { chromium as driver } from "playwright-core"
import { chromium } from "../test/support/servers.ts"
import { ensurePage } from "./page.ts"
import { pictureView } from "./pictureView.ts"

const root = fileURLToPath(new URL("../", import.meta.url))
const page = `${root}dist/dashboard/page`
const folder = `${root}docs/pictures`

const types: Readonly<Record<string, string>> = {
  html: "text/html",
  js: "text/javascript",
  css: "text/css",
  svg: "image/svg+xml"
}

await ensurePage()
mkdirSync(folder, { recursive: true })

const server = createServer((request, response) => {
  const path = request.url === "/" ? "/index.html" : (request.url ?? "")
  if (path === "/api/events") {
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.write(`event: view\ndata: ${JSON.stringify(pictureView(Date.now()))}\n\n`)
  } else if (existsSync(page + path)) {
    response.writeHead(200, { "content-type": types[path.split(".").at(-1) ?? ""] })
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
for (const colorScheme of ["light", "dark"] as const) {
  const shown = await browser.newPage({ viewport: { width: 1_180, height: 860 }, colorScheme })
  await shown.goto(`http://127.0.0.1:${port}/`)
  await shown.locator("tbody tr").first().waitFor()
  const path = `${folder}/dashboard-${colorScheme}.png`
  await shown.screenshot({ path })
  console.log(path)
}
await browser.close()
server.close()
server.closeAllConnections()
