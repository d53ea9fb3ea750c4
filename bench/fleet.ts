/**
 * What sharing circuits through Redis costs and brings, beside Effect's own breaker on the same Redis, in one run.
 *
 *     npm run bench:fleet             tables, bench/results/fleet.json and bench/results/fleet.svg
 *     npm run bench:fleet -- --json   the same as JSON on the standard output
 *     npm run bench:fleet -- --quick  in half a minute, to see that it works
 *
 * It starts a `redis-server` and a PostgreSQL of its own on free ports, and three processes that call one dependency.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { parseArgs } from "node:util"
import { Effect, Exit, Scope } from "effect"
import { postgresServer } from "../test/support/postgresServer.ts"
import { redisServer } from "../test/support/redisServer.ts"
import { commandsAtRates, commandsIdle } from "./fleet/commands.ts"
import { latency } from "./fleet/latency.ts"
import { Fleet, leaks, propagation } from "./fleet/processes.ts"
import { judge, print, type Result, toChart } from "./fleet/report.ts"
import { sizes } from "./fleet/sizes.ts"
import { admin } from "./fleet/stores.ts"
import { throughput } from "./fleet/throughput.ts"

const { values: flags } = parseArgs({
  options: { json: { type: "boolean" }, quick: { type: "boolean" }, help: { type: "boolean" } },
  strict: false
})
if (flags["help"] === true) {
  console.log("npm run bench:fleet -- [--json] [--quick]")
  process.exit(0)
}
const quick = flags["quick"] === true
const began = performance.now()
const before = loadavg()[0] ?? 0
const tell = (what: string) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${what}`)
}

const scope = Scope.makeUnsafe()
const server = await Effect.runPromise(Scope.provide(redisServer, scope))
const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => close().then(() => process.exit(1)))
try {
  const onServer = await admin(server.url)
  tell("throughput")
  const database = await Effect.runPromise(Scope.provide(postgresServer, scope))
  const speeds = await throughput(server.url, database.url, quick)
  tell("commands")
  const rates = await commandsAtRates(server.url, onServer, quick)
  const idle = await commandsIdle(server.url, onServer, quick)
  tell("sizes")
  const bytes = await sizes(server.url, onServer, quick)
  tell("trips")
  const fleet = await Fleet.start(server.url, 3)
  const heard = await propagation(fleet, quick ? 5 : 50)
  const leaked = await leaks(fleet, quick ? 1 : 15, tell)
  await fleet.stop()
  await onServer.close()
  const latencies = await latency(server, quick, tell)
  tell("")

  const measured = {
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      node: process.version,
      redis: onServer.version,
      platform: `${process.platform} ${process.arch}`,
      load: [before, loadavg()[0] ?? 0] as const
    },
    quick,
    seconds: Math.round((performance.now() - began) / 1000),
    throughput: speeds,
    commands: { rates, idle },
    latency: latencies,
    propagation: heard,
    leaks: leaked,
    sizes: bytes
  }
  const result: Result = { ...measured, bars: judge(measured) }
  // Four digits are more than it can be sure of.
  const json = JSON.stringify(
    result,
    (_, value) => (typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value),
    2
  )
  if (flags["json"] === true) console.log(json)
  else print(result)
  if (!quick) {
    mkdirSync(new URL("results", import.meta.url), { recursive: true })
    writeFileSync(new URL("results/fleet.json", import.meta.url), `${json}\n`)
    writeFileSync(new URL("results/fleet.svg", import.meta.url), toChart(result))
  }
} finally {
  await close()
}
// Clients that lost their server may still be closing.
process.exit(0)
