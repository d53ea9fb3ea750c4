import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type BuildOptions, build } from "esbuild"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { root } from "./support/root.ts"

/** Each program makes a call. Its store needs an optional package. No server listens at the address of the store. */
const programs = {
  "@aws-sdk/client-dynamodb": `
import { Effect, Layer, Logger, ManagedRuntime } from "effect"
import { CircuitBreaker } from "effect-fuse"
import * as DynamoStore from "effect-fuse/DynamoStore"
const Store = Layer.provideMerge(DynamoStore.layerConfig({ table: "circuits", connectTimeout: 10 }), Logger.layer([]))
const runtime = ManagedRuntime.make(Store)
const call = runtime.runPromise(CircuitBreaker.protect(Effect.succeed("answer"), "api"))
call.then(console.log, (error) => console.log(error.problems[0].message)).finally(() => process.exit())
`,
  redis: `
import { createBreaker } from "effect-fuse/promise"
const breaker = createBreaker(async () => "answer", { redis: "redis://127.0.0.1:1" })
breaker.execute().then(console.log, (error) => console.log(error.message)).finally(() => process.exit())
`
}
const drivers = Object.keys(programs) as ReadonlyArray<keyof typeof programs>

const require = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"

let folder = ""
/** This folder has no packages. */
let elsewhere = ""
beforeAll(() => {
  elsewhere = mkdtempSync(join(tmpdir(), "no-drivers-"))
  folder = mkdtempSync(join(tmpdir(), "drivers-"))
  writeFileSync(join(folder, "package.json"), `{ "type": "module" }`)
  const modules = join(folder, "node_modules")
  mkdirSync(modules)
  symlinkSync(root, join(modules, "effect-fuse"))
  for (const name of ["effect", "redis", "@aws-sdk"]) {
    symlinkSync(join(root, "node_modules", name), join(modules, name))
  }
})
afterAll(() => {
  for (const one of [folder, elsewhere]) rmSync(one, { recursive: true, force: true })
})

/** Bundles the program of a driver for Node into a new folder of `parent`. Runs the bundle, and returns its output. */
const run = async (driver: keyof typeof programs, options: BuildOptions, parent = folder): Promise<string> => {
  const outdir = mkdtempSync(join(parent, "bundle-"))
  const extension = options.format === "cjs" ? ".cjs" : ".mjs"
  await build({
    stdin: { contents: programs[driver], resolveDir: folder, loader: "ts" },
    bundle: true,
    platform: "node",
    conditions: ["@effect-fuse/source"],
    outdir,
    outExtension: { ".js": extension },
    logLevel: "silent",
    ...options
  })
  const { stderr, stdout } = spawnSync(process.execPath, [join(outdir, `stdin${extension}`)], {
    encoding: "utf8",
    env: { ...process.env, AWS_REGION: "eu-central-1", AWS_ENDPOINT_URL_DYNAMODB: "http://127.0.0.1:1" }
  })
  return stdout === "" ? stderr : stdout
}

describe("a bundle for Node that contains an optional package", () => {
  for (const driver of drivers) {
    const works: ReadonlyArray<readonly [what: string, options: BuildOptions]> = [
      ["in CommonJS", { format: "cjs" }],
      ["in ESM, with a require function", { format: "esm", banner: { js: require } }],
      ["in ESM in several files, with a require function", { format: "esm", splitting: true, banner: { js: require } }],
      ["in ESM, with the package outside", { format: "esm", external: [driver] }]
    ]
    for (const [what, options] of works) {
      it(`${driver}: works ${what}`, async () => {
        assert.strictEqual(await run(driver, options), "answer\n")
      }, 60_000)
    }

    it(`${driver}: in ESM without a require function, the error says that the package cannot be loaded, and why`, async () => {
      const said = await run(driver, { format: "esm" })
      assert.match(
        said,
        new RegExp(`the package ${driver} cannot be loaded \\(Dynamic require of .* is not supported\\)`)
      )
    }, 60_000)

    it(`${driver}: if the package is outside and missing, the error says that it is not installed`, async () => {
      const said = await run(driver, { format: "esm", external: [driver] }, elsewhere)
      assert.match(said, new RegExp(`the package ${driver} is not installed \\(Cannot find package`))
    }, 60_000)
  }
})
