import { readFileSync } from "node:fs"
import { builtinModules } from "node:module"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { edgeFolders, folderOf, importedFiles, importsOf, root, sources } from "./support/sources.ts"

/** Effect modules that Effect does not mark stable, with the only files or folders that import them. */
const unstable: ReadonlyArray<readonly [folder: string, users: ReadonlyArray<string>]> = [
  ["effect/persistence/", ["redis", "effect/EffectCircuitBreaker", "queue/JobBreaker", "cli/redisServer"]],
  ["effect/reactivity/", ["cli/sqlite"]],
  ["effect/crypto/", ["redis/evaluate"]],
  ["effect/testing/", ["testing/TestFleet"]],
  ["effect/sql/", ["sql", "audit", "cli/sqlite", "cli/server", "cli/databaseServer"]],
  ["effect/cli/", ["cli"]],
  ["effect/http/", ["http", "rpc", "dashboard", "cli/serve"]],
  ["effect/ai/", ["ai"]],
  ["effect/rpc/", ["rpc"]],
  ["effect/workflow/", ["workflow"]]
]

/** Packages that are installed only by users who need them, with the only file that loads each. */
const optional: ReadonlyArray<readonly [specifier: string, file: string]> = [
  ["redis", "redis/client"],
  ["@effect/sql-pg", "cli/databaseServer"],
  ["@aws-sdk/client-dynamodb", "dynamo/client"],
  ["@effect/platform-node/NodeServices", "cli/program"],
  ["@effect/platform-node/NodeRuntime", "cli/program"],
  ["@effect/platform-node/NodeHttpServer", "cli/serve"]
]

/** The dependencies of the package, with the only file that imports each. */
const dependencies: ReadonlyArray<readonly [specifier: string, file: string]> = [
  ["string-width", "cli/table"],
  ["leven", "cli/names"]
]

const outside = (text: string) => importsOf(text).filter((one) => !one.startsWith("."))

describe("imports from other packages", () => {
  it("core imports only durations from Effect, and reads no clock", () => {
    for (const { name, text } of sources.filter(({ name }) => folderOf(name) === "core")) {
      assert.deepStrictEqual(
        outside(text).filter((one) => one !== "effect/Duration"),
        [],
        name
      )
      assert.notMatch(text, /\b(Date\.now|performance\.now|Math\.random|setTimeout)\b/, name)
    }
  })

  it("are stable modules of Effect, each by its own path", () => {
    for (const { name, text } of sources) {
      const allowed = (one: string) =>
        unstable.some(
          ([folder, users]) =>
            one.startsWith(folder) &&
            /^[A-Z]\w+$/.test(one.slice(folder.length)) &&
            (users.includes(name) || users.includes(folderOf(name)))
        ) || [...optional, ...dependencies].some(([specifier, file]) => one === specifier && name === file)
      for (const one of outside(text).filter((one) => !allowed(one))) {
        if ((folderOf(name) === "cli" || name === "dashboard/files") && one.startsWith("node:")) continue
        assert.match(one, /^effect\/[A-Z][A-Za-z]+$/, `${name} imports ${one}`)
        const module = readFileSync(join(root, "node_modules/effect/src", `${one.slice("effect/".length)}.ts`), "utf8")
        assert.include(module, "@stability stable", `${name} imports ${one}`)
      }
    }
  })

  it("are modules of Node only in the command line: everything else runs in a browser, too", () => {
    for (const { name, text } of sources.filter(({ name }) => folderOf(name) !== "cli")) {
      const ofNode = importsOf(text).filter((one) => one.startsWith("node:") || builtinModules.includes(one))
      // A server reads the files of the page only when a browser requests them.
      assert.deepStrictEqual(ofNode, name === "dashboard/files" ? ["node:fs/promises"] : [], name)
    }
  })

  it("are dependencies of the package only in the command line", () => {
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    assert.deepStrictEqual(Object.keys(manifest.dependencies).sort(), dependencies.map(([name]) => name).sort())
  })
})

it("the root does not load modules that have their own path", () => {
  const index = sources.filter(({ name }) => name === "index").flatMap(importedFiles)
  assert.deepStrictEqual(
    index.filter((one) => edgeFolders.includes(folderOf(one))),
    []
  )
})
