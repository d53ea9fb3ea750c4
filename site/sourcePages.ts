/** Makes pages for examples, for source files with links to them, and for folders. */
import { globSync } from "node:fs"
import { basename, posix } from "node:path"
import { addressOf, linked, read, root, titleOf } from "./repository.ts"
import { summary } from "./summary.ts"

export interface SourcePage {
  readonly params: { readonly file: string; readonly title: string; readonly description: string }
  readonly content: string
}

const link = (path: string, text = path): string => `[${text}](${addressOf(path)})`

/** The first paragraph of the comment at the top of a file. */
const headOf = (source: string): string => {
  const [, comment = ""] = /^(?:#!.*\n)?\s*\/\*\*([\s\S]*?)\*\//.exec(source) ?? []
  return summary(comment.replaceAll(/^\s*\* ?/gm, "").trim())
}

const ofSource = (path: string, users: ReadonlyArray<string>, known: ReadonlySet<string>): SourcePage => {
  const source = read(path)
  const isProgram = /^examples\/[^/]+\.ts$/.test(path)
  const imports = Array.from(source.matchAll(/from "(\.[^"]+)"/g), ([, to = ""]) => posix.join(posix.dirname(path), to))
  const parts = [...known].filter((one) => imports.includes(one) || one.startsWith(path.replace(/\.ts$/, "/")))
  // The fence must be longer than every fence in the file.
  const fence = "`".repeat(Math.max(3, ...Array.from(source.matchAll(/`+/g), ([ticks]) => ticks.length + 1)))
  const lines = [
    `# ${path}`,
    ...(isProgram ? ["", `    node --conditions=@effect-fuse/source ${path}`] : []),
    ...(parts.length > 0 ? ["", `Uses ${parts.map((part) => link(part)).join(", ")}.`] : []),
    ...(users.length > 0 ? ["", `Linked from ${users.map((page) => link(page, titleOf(page))).join(", ")}.`] : []),
    "",
    `${fence}ts`,
    source.trimEnd(),
    fence
  ]
  const description = headOf(source) || `The source of ${path}`
  return { params: { file: path.replace(/\.ts$/, ""), title: path, description }, content: lines.join("\n") }
}

const ofFolder = (path: string): SourcePage => {
  const files = globSync(`${path}/*`, { cwd: root }).sort()
  return {
    params: { file: `${path}/index`, title: path, description: `The files of ${path}` },
    content: [`# ${path}`, "", ...files.map((file) => `- ${link(file, basename(file))}`)].join("\n")
  }
}

export const sourcePages = (): ReadonlyArray<SourcePage> => {
  const { folders, sources } = linked()
  const known = new Set(sources.keys())
  return [...Array.from(sources, ([path, users]) => ofSource(path, users, known)), ...folders.map(ofFolder)]
}
