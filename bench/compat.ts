/**
 * Checks that the packed package works where it claims to work: with the lowest versions of its peers; on the lowest Node, on this one
 * and on Bun; with TypeScript 5.9, 6 and 7, which resolve its types as Node or as a bundler; and with bundlers, for servers and for
 * browsers, with and without the package redis.
 *
 *     npm run compat
 */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const program = `
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { BreakerStore, CircuitBreaker, Resilience } from "effect-fuse"
import * as Simulator from "effect-fuse/Simulator"
import { CircuitTest } from "effect-fuse/testing"
import { AuditTrail } from "effect-fuse/audit"
import * as RedisStore from "effect-fuse/RedisStore"
import * as SqlStore from "effect-fuse/SqlStore"
import { HttpClientBreaker } from "effect-fuse/http"
import { JobBreaker } from "effect-fuse/queue"
import { createBreaker } from "effect-fuse/promise"

const down = Effect.fail("down").pipe(CircuitBreaker.protect("a"), Effect.ignore)
const seen = await Effect.runPromise(
  Effect.andThen(Effect.repeat(down, { times: 5 }), CircuitBreaker.state("a")).pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(Logger.layer([]))
  )
)
const all = [CircuitTest, AuditTrail, RedisStore, SqlStore, HttpClientBreaker, JobBreaker, Resilience, Simulator]
const answer = await createBreaker(async () => "answer").execute()
console.log(JSON.stringify([seen, answer, all.every((one) => Object.keys(one).length > 0)]))
`

/** A user's program, and a line that must not compile. */
const typed = `${program}
import type { CircuitOpen } from "effect-fuse"
const hello: Effect.Effect<string, CircuitOpen.CircuitOpen, BreakerStore.BreakerStore> = Effect.succeed("hello").pipe(
  CircuitBreaker.protect("api")
)
// @ts-expect-error the type has the error of an open circuit
const never: Effect.Effect<string, never, BreakerStore.BreakerStore> = hello
export { hello, never }
`

/** The programs to bundle: one without Effect, and one with it. */
const bundled = {
  promise: `
import { createBreaker } from "effect-fuse/promise"
console.log(await createBreaker(async () => "answer").execute())
`,
  root: `
import * as Effect from "effect/Effect"
import { BreakerStore, CircuitBreaker } from "effect-fuse"
const call = CircuitBreaker.protect(Effect.succeed("answer"), "api")
console.log(await Effect.runPromise(Effect.provide(call, BreakerStore.layerMemory)))
`
}

/** The scripts of the bundlers. Each bundles `<name>.mjs` to `out/<name>.mjs` for a target. */
const bundlers: Readonly<Record<string, string>> = {
  esbuild: `
    import { build } from "esbuild"
    await build({ entryPoints: [name + ".mjs"], bundle: true, format: "esm", platform: target, outfile: out, logLevel: "error" })`,
  vite: `
    import { build } from "vite"
    await build({ logLevel: "error", configFile: false, ...(target === "node" ? { ssr: { noExternal: true } } : {}), build: {
      target: "esnext", minify: false, outDir: "out", emptyOutDir: false, ssr: target === "node",
      ...(target === "node" ? {} : { lib: { entry: name + ".mjs", formats: ["es"], fileName: () => name + ".mjs" } }),
      rollupOptions: { input: name + ".mjs", output: { entryFileNames: name + ".mjs" } } } })`,
  webpack: `
    import webpack from "webpack"
    const stats = await new Promise((resolve, reject) => webpack({ mode: "production", entry: "./" + name + ".mjs",
      target: target === "node" ? "node22" : "web", experiments: { outputModule: true }, optimization: { minimize: false },
      output: { path: process.cwd() + "/out", filename: name + ".mjs", module: true, library: { type: "module" }, chunkLoading: "import", publicPath: "" }
    }, (error, stats) => error ? reject(error) : resolve(stats)))
    if (stats.hasErrors()) throw new Error(stats.toString({ all: false, errors: true }))`,
  rollup: `
    import { rollup } from "rollup"
    import commonjs from "@rollup/plugin-commonjs"
    import json from "@rollup/plugin-json"
    import resolve from "@rollup/plugin-node-resolve"
    const plugins = [resolve({ browser: target !== "node", preferBuiltins: target === "node" }), commonjs(), json()]
    const bundle = await rollup({ input: name + ".mjs", plugins, logLevel: "silent" })
    await bundle.write({ file: out, format: "es", inlineDynamicImports: true })`
}

const compilers = ["5.9", "6.0", "7.0"]
const resolutions = { nodenext: "nodenext", bundler: "esnext" }

const root = process.cwd()
const { peerDependencies } = JSON.parse(readFileSync("package.json", "utf8"))
const lowest = (range: string): string => /\d+\.\d+\.\d+/.exec(range)?.[0] ?? range
const folder = mkdtempSync(join(tmpdir(), "compat-"))
const run = (command: string, ...args: ReadonlyArray<string>): string =>
  execFileSync(command, args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })
try {
  execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: root, stdio: "ignore" })
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "compat", private: true, type: "module" }))
  writeFileSync(join(folder, "program.mjs"), program)
  const peers = Object.entries<string>(peerDependencies).map(([name, range]) => `${name}@${lowest(range)}`)
  const packed = `effect-fuse-${JSON.parse(readFileSync("package.json", "utf8")).version}.tgz`
  const others = [
    "node@22.19.0",
    "bun@1",
    "@types/node@24",
    "esbuild@0.28",
    "vite@8",
    "webpack@5",
    "rollup@4",
    "@rollup/plugin-commonjs",
    "@rollup/plugin-json",
    "@rollup/plugin-node-resolve",
    ...compilers.map((version) => `typescript-${version}@npm:typescript@~${version}.0`)
  ]
  run("npm", "install", "--no-audit", "--no-fund", "--silent", `./${packed}`, ...peers, ...others)
  run(process.execPath, "node_modules/bun/install.js")
  const engines: ReadonlyArray<readonly [name: string, command: string]> = [
    ["Node", "node_modules/.bin/node"],
    ["Node", process.execPath],
    ["Bun", "node_modules/.bin/bun"]
  ]
  for (const [name, command] of engines) {
    const version = run(command, "--version").trim()
    const said = run(command, "program.mjs").trim()
    if (said !== '["Open","answer",true]') throw new Error(`${name} ${version}: ${said}`)
    console.log(`${name} ${version}: ok, with ${peers.join(", ")}`)
  }
  writeFileSync(join(folder, "typed.ts"), typed)
  const flags = [
    "--noEmit",
    "--strict",
    "--exactOptionalPropertyTypes",
    "--target",
    "es2023",
    "--lib",
    "es2023,dom,dom.iterable"
  ]
  for (const version of compilers) {
    for (const [resolution, module] of Object.entries(resolutions)) {
      const how = ["--module", module, "--moduleResolution", resolution, "--types", "node"]
      const compiled = spawnSync(
        process.execPath,
        [`node_modules/typescript-${version}/bin/tsc`, ...flags, ...how, "typed.ts"],
        {
          cwd: folder,
          encoding: "utf8"
        }
      )
      // Errors in the declarations of other packages do not count.
      const ours = compiled.stdout
        .split("\n")
        .filter((line) => /^(typed\.ts|node_modules\/effect-fuse|error)/.test(line))
      if (compiled.status !== 0 && compiled.stdout === "") throw new Error(compiled.stderr)
      if (ours.length > 0) throw new Error(`TypeScript ${version}, ${resolution}: ${ours.join("\n")}`)
      console.log(`TypeScript ${version}, ${resolution}: ok`)
    }
  }
  console.log(run("node_modules/.bin/node", "node_modules/effect-fuse/dist/cli/main.js", "--version").trim())
  for (const [name, code] of Object.entries(bundled)) writeFileSync(join(folder, `${name}.mjs`), code)
  for (const [bundler, code] of Object.entries(bundlers)) {
    writeFileSync(
      join(folder, `bundle-${bundler}.mjs`),
      `const [name, target] = process.argv.slice(2)\nconst out = "out/" + name + ".mjs"\n${code}`
    )
  }
  for (const redis of ["with", "without"]) {
    if (redis === "without") {
      for (const one of ["redis", "@redis"]) rmSync(join(folder, "node_modules", one), { recursive: true, force: true })
    }
    for (const bundler of [...Object.keys(bundlers), "bun"]) {
      for (const name of Object.keys(bundled)) {
        for (const target of ["node", "browser"]) {
          rmSync(join(folder, "out"), { recursive: true, force: true })
          if (bundler === "bun") {
            run("node_modules/.bin/bun", "build", `${name}.mjs`, `--target=${target}`, `--outfile=out/${name}.mjs`)
          } else run(process.execPath, `bundle-${bundler}.mjs`, name, target)
          const said = run(process.execPath, `out/${name}.mjs`).trim()
          if (said !== "answer") throw new Error(`${bundler}, ${name} for ${target}, ${redis} redis: ${said}`)
        }
      }
      console.log(`${bundler}, for servers and browsers, ${redis} redis: ok`)
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
