import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { folderOf, importedFiles, isPublic, root, sources, withoutComments } from "./support/sources.ts"

/** The folders of `src`. A file imports only from its own folder and from folders before it. */
const folders = [
  ...["core", "shapes", "policy", "store", "engine", "fleet", "breaker", "resilience"],
  ...["operator", "simulator", "connection", "redis", "sql", "audit", "http", "queue", "effect", "promise", "testing"],
  "cli"
]

/** Modules of these folders are imported with the folder in their path: `effect-fuse/http/RetryAfter`. */
const subPaths = ["core", "audit", "http", "queue", "testing"]

/** The path by which users import a public file. */
const publicPath = (name: string): string => {
  if (name === "index") return "."
  const folder = folderOf(name)
  const file = name.slice(folder.length + 1)
  return file === "index" ? `./${folder}` : subPaths.includes(folder) ? `./${name}` : `./${file}`
}

describe("the folders", () => {
  it.each(sources.filter(({ name }) => name !== "index"))(
    "$name imports only from its folder and the folders above",
    (source) => {
      const own = folders.indexOf(folderOf(source.name))
      assert.isAtLeast(own, 0, "its folder is in the list")
      assert.deepStrictEqual(
        importedFiles(source).filter((one) => !folders.slice(0, own + 1).includes(folderOf(one))),
        []
      )
    }
  )

  it("have no import cycles", () => {
    const imports = new Map(sources.map((source) => [source.name, importedFiles(source)]))
    const done = new Set<string>()
    const visit = (name: string, path: ReadonlyArray<string>): void => {
      assert.notInclude(path, name, [...path, name].join(" -> "))
      if (done.has(name)) return
      for (const one of imports.get(name) ?? []) visit(one, [...path, name])
      done.add(name)
    }
    for (const { name } of sources) visit(name, [])
  })
})

describe("the files", () => {
  it("that are public are the exports of the package", () => {
    const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const expected = sources
      .filter(({ name }) => isPublic(name))
      .map(({ name }) => [
        publicPath(name),
        { "@effect-fuse/source": `./src/${name}.ts`, default: `./dist/${name}.js` }
      ])
    assert.deepStrictEqual(exports, { "./package.json": "./package.json", ...Object.fromEntries(expected) })
  })

  it("have different names on a file system that ignores case", () => {
    const names = sources.map(({ name }) => name.toLowerCase())
    assert.strictEqual(new Set(names).size, names.length)
  })

  it.each(sources)("$name has at most 500 lines", ({ text }) => {
    const code = withoutComments(text).split("\n")
    assert.isAtMost(code.filter((line) => line.trim() !== "").length, 450)
    assert.isAtMost(text.split("\n").length, 500)
  })
})
