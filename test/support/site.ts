/** Builds the documentation site in a temporary folder, serves the site below a path, and finds broken links. */
import { execFile } from "node:child_process"
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { Effect, type Scope } from "effect"
import { serveFolder } from "../../scripts/serveFolder.ts"
import { root } from "./root.ts"

/** A host may serve the site under a path: a link that forgets the path is then broken. */
export const base = "/projects/effect-fuse/"

/** Builds the site as `npm run docs:build` does, and returns its folder. */
export const builtSite: Effect.Effect<string, never, Scope.Scope> = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-fuse-site-"))),
    (one) => Effect.sync(() => rmSync(one, { recursive: true, force: true }))
  )
  const { NODE_ENV: _, VITEST: __, ...inherited } = process.env
  const env = { ...inherited, SITE_OUT: folder, SITE_URL: base }
  yield* Effect.promise(() =>
    promisify(execFile)("npm", ["run", "-s", "docs:build"], { cwd: root, env, maxBuffer: 1e8 })
  )
  return folder
})

const fileAt = (folder: string, path: string): string | undefined => {
  if (!path.startsWith(base)) return undefined
  const file = join(folder, path.slice(base.length), path.endsWith("/") ? "index.html" : "")
  return existsSync(file) && statSync(file).isFile() ? file : undefined
}

/** Serves a folder below `path` as a static host does, and returns the address of its start page. */
export const served = (folder: string, path = base): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => serveFolder(folder, path)),
      ({ server }) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    ),
    ({ url }) => url
  )

export interface Html {
  /** The targets of `href` and `src`. A link to the same host is a path with its anchor. Other links are complete URLs. */
  readonly links: ReadonlyArray<string>
  readonly ids: ReadonlySet<string>
}

const decoded = (attribute: string): string => attribute.replaceAll("&amp;", "&").replaceAll("&quot;", '"')

const attributes = (html: string, name: string): ReadonlyArray<string> => {
  // Generated HTML escapes every `<` in a text.
  const tags = html.replaceAll(/(<script[^>]*>)[\s\S]*?<\/script>/g, "$1").match(/<[a-zA-Z](?:"[^"]*"|[^">])*>/g) ?? []
  const attribute = new RegExp(`\\s${name}="([^"]*)"`)
  return tags.flatMap((tag) => {
    const [, value] = attribute.exec(tag) ?? []
    return value === undefined ? [] : [decoded(value)]
  })
}

/** All pages of a folder, by their path on the host. */
export const htmlIn = (folder: string): ReadonlyMap<string, Html> =>
  new Map(
    globSync("**/*.html", { cwd: folder }).map((path) => {
      const html = readFileSync(join(folder, path), "utf8")
      const at = `http://host${base}${path}`
      const links = ["href", "src"]
        .flatMap((name) => attributes(html, name))
        .filter((link) => !/^(?:data|mailto|javascript):/.test(link))
        .map((link) => new URL(link, at).href.replace("http://host", ""))
      return [`${base}${path}`, { links, ids: new Set(attributes(html, "id")) }]
    })
  )

/** Finds the links of a page to a missing file or a missing anchor. */
export const brokenLinks = (folder: string, pages: ReadonlyMap<string, Html>, path: string): ReadonlyArray<string> =>
  (pages.get(path)?.links ?? []).filter((link) => {
    if (/^https?:/.test(link)) return false
    const [address = "", anchor = ""] = link.split("#")
    const file = fileAt(folder, decodeURI(address.replace(/\?.*/, "")))
    if (file === undefined) return true
    const target = pages.get(address.endsWith("/") ? `${address}index.html` : address)
    return anchor !== "" && target !== undefined && !target.ids.has(decodeURIComponent(anchor))
  })

/** How many clicks each page is away from the start page. */
export const clicks = (pages: ReadonlyMap<string, Html>): ReadonlyMap<string, number> => {
  const away = new Map([[`${base}index.html`, 0]])
  // The loop also visits the pages that it adds.
  for (const [path, steps] of away) {
    for (const link of pages.get(path)?.links ?? []) {
      const to = link.replace(/[?#].*/, "").replace(/\/$/, "/index.html")
      if (pages.has(to) && !away.has(to)) away.set(to, steps + 1)
    }
  }
  return away
}
