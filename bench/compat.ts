/**
 * Whether the packed package works where it says that it does: with the lowest versions of its peers, on the lowest Node, on this one,
 * and on Bun, installed afresh.
 *
 *     npm run compat
 */
import { execFileSync } from "node:child_process"
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
  run("npm", "install", "--no-audit", "--no-fund", "--silent", `./${packed}`, ...peers, "node@22.19.0", "bun@1")
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
  console.log(run("node_modules/.bin/node", "node_modules/effect-fuse/dist/internal/cli/main.js", "--version").trim())
} finally {
  rmSync(folder, { recursive: true, force: true })
}
