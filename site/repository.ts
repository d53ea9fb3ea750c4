/** Finds the files of the repository for the site, and computes their addresses. */
import { existsSync, globSync, readFileSync, statSync } from "node:fs"
import { join, posix, relative } from "node:path"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../", import.meta.url))

export const read = (path: string): string => readFileSync(join(root, path), "utf8")

const markdown = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**/*.md", "examples/**/*.md", "test/*.md"]

export const pages: ReadonlyArray<string> = globSync(markdown, { cwd: root }).sort()

/** VitePress does not search these folders, because they contain no pages. */
export const excluded = ["{bench,coverage,page,playground,reference,scripts,src}/**", "site/{dist,public}/**"]

/** The site serves pictures, dashboards, alerts and measurements without changes. */
export const rawFiles: ReadonlyArray<string> = globSync(["docs/**/*.{svg,png,json,yml}", "bench/results/*"], {
  cwd: root
}).sort()

export const titleOf = (page: string): string => /^# (.*)$/m.exec(read(page))?.[1] ?? page

export interface Link {
  readonly text: string
  readonly href: string
}

export const linksIn = (text: string): ReadonlyArray<Link> =>
  Array.from(text.matchAll(/\[((?:[^\]`]|`[^`]*`)*)\]\(([^)\s]+)\)/g), ([, label = "", href = ""]) => ({
    text: label,
    href
  }))

export const isExternal = (href: string): boolean => /^(?:[a-z]+:|\/\/)/i.test(href)

/** Resolves a relative link of a page to a path of the repository. `anchor` is empty or begins with `#`. */
export const targetOf = (page: string, href: string): { readonly path: string; readonly anchor: string } => {
  const [path = "", anchor] = href.split("#")
  return {
    path: path === "" ? page : posix.join(posix.dirname(page), decodeURI(path)).replace(/\/$/, ""),
    anchor: anchor === undefined ? "" : `#${anchor}`
  }
}

const isFolder = (path: string): boolean => existsSync(join(root, path)) && statSync(join(root, path)).isDirectory()

interface Linked {
  /** Maps a TypeScript file to the pages with links to this file. */
  readonly sources: ReadonlyMap<string, ReadonlyArray<string>>
  /** These folders have no `README.md`. */
  readonly folders: ReadonlyArray<string>
}

/** Finds the files and folders that become pages. These are all examples, and the targets of links. */
export const linked = (): Linked => {
  const sources = new Map<string, Array<string>>(
    globSync("examples/**/*.ts", { cwd: root })
      .sort()
      .map((path) => [path, []])
  )
  const folders = new Set<string>()
  for (const page of pages) {
    for (const { href } of linksIn(read(page))) {
      if (isExternal(href)) continue
      const { path } = targetOf(page, href)
      if (path.endsWith(".ts")) {
        const from = sources.get(path) ?? []
        if (!from.includes(page)) sources.set(path, [...from, page])
      } else if (isFolder(path) && !existsSync(join(root, path, "README.md"))) folders.add(path)
    }
  }
  return { sources, folders: [...folders] }
}

/** Returns the Markdown path in VitePress for a path in the repository. */
export const routeOf = (path: string): string => {
  if (path === "README.md") return "index.md"
  if (path.startsWith("site/")) return path.slice("site/".length)
  return path.replace(/\/README\.md$/, "/index.md")
}

/** Reverses {@link routeOf}. Returns the same route if the repository has no file for this route. */
export const pageAt = (route: string): string =>
  pages.find((page) => routeOf(page) === route || page === route) ?? route

/** The address of a file or folder, from the root of the site. */
export const addressOf = (path: string): string => {
  if (path.endsWith(".md")) return `/${routeOf(path)}`.replace(/\/index\.md$/, "/").replace(/\.md$/, ".html")
  if (path.endsWith(".ts")) return `/${path.replace(/\.ts$/, ".html")}`
  if (isFolder(path)) return existsSync(join(root, path, "README.md")) ? addressOf(`${path}/README.md`) : `/${path}/`
  return `/${path}`
}

/** Returns the address for a relative link. Throws if the site does not have the target. */
export const addressFrom = (page: string, href: string): string => {
  const { anchor, path } = targetOf(page, href)
  if (!existsSync(join(root, path))) throw new Error(`${page}: the link to ${href} leads nowhere`)
  if (relative(root, join(root, path)).startsWith("..")) throw new Error(`${page}: ${href} is outside the repository`)
  const isPage = path.endsWith(".md") || path.endsWith(".ts") || isFolder(path)
  if (path.endsWith(".md") && !pages.includes(path)) throw new Error(`${page}: the site has no page for ${path}`)
  if (!isPage && !rawFiles.includes(path)) throw new Error(`${page}: the site does not have ${path}`)
  return addressOf(path) + anchor
}
