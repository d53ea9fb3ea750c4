/** Serves the files of a folder. If a file is missing, answers 404, with the folder's `404.html` if it exists. */
import { existsSync, readFileSync, statSync } from "node:fs"
import { createServer, type Server } from "node:http"
import { join, normalize } from "node:path"

const types: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript",
  mjs: "text/javascript",
  json: "application/json",
  css: "text/css",
  png: "image/png",
  svg: "image/svg+xml"
}

export const contentType = (file: string): string => types[file.split(".").at(-1) ?? ""] ?? "application/octet-stream"

/** Serves `folder` below `path` on a free port. `path` begins and ends with a slash. */
export const serveFolder = async (
  folder: string,
  path: string
): Promise<{ readonly url: string; readonly server: Server }> => {
  const server = createServer((request, response) => {
    const asked = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname))
    const file = join(folder, asked.slice(path.length), asked.endsWith("/") ? "index.html" : "")
    if (!asked.startsWith(path) || !existsSync(file) || !statSync(file).isFile()) {
      const missing = join(folder, "404.html")
      response.writeHead(404, { "content-type": types["html"] })
      response.end(existsSync(missing) ? readFileSync(missing) : undefined)
      return
    }
    response.writeHead(200, { "content-type": contentType(file) })
    response.end(readFileSync(file))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
  const address = server.address()
  const port = typeof address === "object" ? address?.port : undefined
  return { url: `http://127.0.0.1:${port}${path}`, server }
}
