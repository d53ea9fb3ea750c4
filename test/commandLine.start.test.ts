import { execFile } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { afterAll } from "vitest"

const root = fileURLToPath(new URL("..", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "command-line-start-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

// Writes the URL of every module that is loaded.
const hook = join(folder, "hook.mjs")
const list = join(folder, "loaded")
writeFileSync(
  hook,
  `import { appendFileSync } from "node:fs"
import { registerHooks } from "node:module"
registerHooks({ load(url, context, next) { appendFileSync(process.env.LOADED, url + "\\n"); return next(url, context) } })`
)

let runs = 0
/** The modules that a command loads: files of this package by their names, and the packages of others. */
const loaded = (...args: ReadonlyArray<string>): Promise<ReadonlySet<string>> =>
  new Promise((resolve, reject) => {
    const to = `${list}-${runs++}`
    const { DATABASE_URL: _, REDIS_URL: __, ...env } = process.env
    const main = join(root, "src/cli/main.ts")
    execFile(
      process.execPath,
      ["--conditions=@effect-fuse/source", "--import", hook, main, ...args],
      { cwd: root, env: { ...env, LOADED: to } },
      (error) => {
        // A usage error loads modules, too.
        if (error !== null && typeof error.code !== "number") return reject(error)
        assert.isTrue(existsSync(to))
        const urls = readFileSync(to, "utf8").trim().split("\n")
        resolve(new Set(urls.map((url) => toName(url))))
      }
    )
  })

const toName = (url: string): string => {
  const [, package_] = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url) ?? []
  const [, file] = /\/src\/(.*)\.ts$/.exec(url) ?? []
  return package_ ?? file ?? url
}

const bare = [
  "cli/main",
  "cli/program",
  "cli/command",
  "cli/flags",
  "cli/settings",
  "cli/messages",
  "core/foreign",
  "core/millis",
  "core/printable",
  "dashboard/linkTemplate",
  "simulator/scenarioNames"
]
const platform = ["effect", "@effect/platform-node", "@effect/platform-node-shared"]

const awsClient = "@aws-sdk/client-dynamodb"

describe("The command line loads", () => {
  it.each([
    ["--help", ["--help"]],
    ["help of a command", ["list", "--help"]],
    ["completions", ["--completions", "bash"]],
    ["--version", ["--version"]],
    ["a usage error", ["list", "--nonsense"]]
  ])(
    "nothing but its flags for %s",
    async (_, args) => {
      const modules = [...(await loaded(...args))].filter((one) => !one.startsWith("node:"))
      assert.sameMembers(modules, [...bare, ...platform])
    },
    60_000
  )

  it("no simulator, no clients and no database to list circuits", async () => {
    const modules = await loaded("list", "--redis", "redis://127.0.0.1:1", "--timeout", "100ms")
    assert.isTrue(modules.has("cli/show"))
    for (const one of ["simulator/Simulator", "cli/simulate", "@effect/sql-pg", "pg", "node:sqlite", awsClient]) {
      assert.isFalse(modules.has(one), one)
    }
  }, 60_000)
})
