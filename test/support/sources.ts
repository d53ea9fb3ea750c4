import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { root } from "./root.ts"

export { root }

export const src = join(root, "src")

/** A file of `src`. Its name is its path in `src`, without `.ts`. */
export interface Source {
  readonly name: string
  readonly text: string
}

export const sources: ReadonlyArray<Source> = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => ({ name: path.slice(0, -3), text: readFileSync(join(src, path), "utf8") }))

/** The folders of `src` whose public modules the root exports, and on which these depend. */
export const rootFolders = ["core", "shapes", "policy", "store", "engine", "fleet", "breaker", "resilience"]

/** The folders of `src` that the root does not load. Users import each by a path of its own. */
export const edgeFolders = [
  ...["operator", "simulator", "connection", "redis", "sql", "dynamo", "audit", "http", "rpc", "ai", "queue"],
  ...["workflow", "effect", "promise", "dashboard", "testing", "cli"]
]

/** PascalCase files and `index.ts` are public. */
export const isPublic = (name: string): boolean => /(^|\/)([A-Z]\w*|index)$/.test(name)

/** Public modules that contain more than exports of other modules. */
export const publicModules: ReadonlyArray<Source> = sources.filter(({ name }) => isPublic(name) && name !== "index")

export const withoutComments = (text: string): string => text.replaceAll(/\/\*\*[\s\S]*?\*\//g, "")

/** All modules that a file imports, including imports of types, dynamic imports and imports without names. */
export const importsOf = (text: string): ReadonlyArray<string> =>
  Array.from(
    withoutComments(text).matchAll(
      /^(?:import|export)\s[^"']*?from\s+"([^"]+)"|\bimport\("([^"]+)"\)|^import\s+"([^"]+)"/gm
    ),
    (match) => match[1] ?? match[2] ?? match[3] ?? ""
  )

/** The name of the file in `src` that a relative import refers to. */
export const resolved = (file: string, specifier: string): string =>
  relative(src, join(src, dirname(file), specifier)).replace(/\.ts$/, "")

/** The names of the files in `src` that a file imports. */
export const importedFiles = ({ name, text }: Source): ReadonlyArray<string> =>
  importsOf(text)
    .filter((one) => one.startsWith("."))
    .map((one) => resolved(name, one))

/** The top folder of a file; "" for `index`. */
export const folderOf = (name: string): string => (name.includes("/") ? name.slice(0, name.indexOf("/")) : "")
