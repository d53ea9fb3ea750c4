import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { builtinModules } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { build } from "esbuild"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { root } from "./support/root.ts"

const programs = {
  "effect-fuse/promise": `
import { createBreaker } from "effect-fuse/promise"
console.log(await createBreaker(async () => "answer").execute())
`,
  "the root": `
import * as Effect from "effect/Effect"
import { BreakerStore, CircuitBreaker } from "effect-fuse"
const call = CircuitBreaker.protect(Effect.succeed("answer"), "api")
console.log(await Effect.runPromise(Effect.provide(call, BreakerStore.layerMemory)))
`
}

let folder = ""
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bundles-"))
  for (const [name, drivers] of [
    ["with", ["redis"]],
    ["without", []]
  ] as const) {
    const modules = join(folder, name, "node_modules")
    mkdirSync(join(modules, "effect-fuse"), { recursive: true })
    for (const file of ["src", "package.json"]) {
      cpSync(join(root, file), join(modules, "effect-fuse", file), { recursive: true })
    }
    for (const driver of ["effect", ...drivers]) {
      symlinkSync(join(root, "node_modules", driver), join(modules, driver))
    }
  }
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("esbuild bundles", () => {
  for (const [what, program] of Object.entries(programs)) {
    for (const platform of ["node", "browser", "neutral"] as const) {
      for (const redis of ["with", "without"]) {
        it(`${what} for ${platform}, ${redis} the package redis, and it runs`, async () => {
          const resolveDir = join(folder, redis)
          const outfile = join(resolveDir, `${platform}.mjs`)
          const { metafile, warnings } = await build({
            stdin: { contents: program, resolveDir, loader: "ts" },
            bundle: true,
            format: "esm",
            platform,
            conditions: ["@effect-fuse/source"],
            outfile,
            metafile: true,
            logLevel: "silent"
          })
          assert.deepStrictEqual(warnings, [])
          const needed = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path))
          if (platform !== "node") {
            const ofNode = needed.filter((path) => path.startsWith("node:") || builtinModules.includes(path))
            assert.deepStrictEqual(ofNode, [])
          }
          // A server with everything in one file has the driver in it.
          const bundled = Object.keys(metafile.inputs).some((path) => path.includes("node_modules/@redis/"))
          assert.strictEqual(bundled, platform === "node" && redis === "with" && what === "effect-fuse/promise")
          const { stderr, stdout } = spawnSync(process.execPath, [outfile], { encoding: "utf8" })
          assert.strictEqual(stdout, "answer\n", stderr)
        }, 60_000)
      }
    }
  }

  it("a URL of Redis in a bundle for browsers is an error that names the cause", async () => {
    const resolveDir = join(folder, "with")
    const outfile = join(resolveDir, "redis.mjs")
    await build({
      stdin: {
        contents: `
import { createBreaker } from "effect-fuse/promise"
await createBreaker(async () => "answer", { redis: "redis://localhost:1" }).execute().catch((error) => {
  console.log(error.name, error.cause.message)
})
`,
        resolveDir,
        loader: "ts"
      },
      bundle: true,
      format: "esm",
      platform: "browser",
      conditions: ["@effect-fuse/source"],
      outfile
    })
    const { stderr, stdout } = spawnSync(process.execPath, [outfile], { encoding: "utf8" })
    assert.strictEqual(stdout, "ConfigurationError the package redis does not run in browsers\n", stderr)
  }, 60_000)
})
