import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { edgeFolders, folderOf, importedFiles, isPublic, root, rootFolders, sources } from "./support/sources.ts"

/** A file imports only from its own folder and from folders before it. */
const folders = [...rootFolders, ...edgeFolders]

/** The path by which users import a public file. It contains the folder only for some folders. */
const publicPath = (name: string): string =>
  name === "index"
    ? "."
    : `./${name.replace(/\/index$/, "").replace(/^(?!(?:core|ai|audit|http|queue|rpc|workflow|testing)\/)\w+\//, "")}`

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

  // Users write a public type with its module (`Trip.Input`), so it may have the name of a private type.
  it("declare no private type name twice", () => {
    const types = sources.flatMap(({ name, text }) =>
      name === "promise/types" // declares the types again for programs without Effect
        ? []
        : Array.from(text.matchAll(/^(?:export )?(?:abstract )?(?:interface|type|class) (\w+)/gm), ([, type]) => ({
            name,
            type
          }))
    )
    const hidden = types.filter(({ name }) => !isPublic(name)).map(({ type }) => type)
    assert.deepStrictEqual(
      hidden.filter((type, index) => hidden.indexOf(type) !== index),
      []
    )
  })

  it.each(sources)(
    "$name has at most 500 lines, and a name that differs from all others in more than case",
    (source) => {
      assert.isAtMost(source.text.split("\n").length, 500)
      const alike = sources.filter(({ name }) => name.toLowerCase() === source.name.toLowerCase())
      assert.deepStrictEqual(alike, [source])
    }
  )
})
