/**
 * Measures the cost and the benefit of circuits that are shared through Redis, compared with Effect's own breaker on the same Redis.
 *
 *     npm run bench:fleet                         tables, and files in bench/results: fleet.v2.json, fleet.svg, scale.v2.json
 *     npm run bench:fleet -- --json               the same as JSON on the standard output
 *     npm run bench:fleet -- --quick              takes a minute, only to check that it works
 *     npm run bench:fleet -- --experiment mass    one part, or several: calls, mass, blocking, newcomer, steady, cold
 *
 * `calls` starts a `redis-server` and a PostgreSQL on free ports, and three processes that call one dependency. The other experiments
 * start a `redis-server` and up to 20 processes with thousands of circuits. The figures of the first protocol, from the files named
 * v1, are printed for comparison.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { Effect, Exit, Scope } from "effect"
import { postgresServer } from "../test/support/postgresServer.ts"
import { redisServer } from "../test/support/redisServer.ts"
import { commandsAtRates, commandsIdle } from "./fleet/commands.ts"
import { latency } from "./fleet/latency.ts"
import { Fleet, leaks, propagation } from "./fleet/processes.ts"
import { judge, print, type Result, toChart } from "./fleet/report.ts"
import {
  experiments,
  judgeScale,
  printScale,
  type Scale,
  type ScaleExperiment,
  writeScale
} from "./fleet/scaleReport.ts"
import { sizes } from "./fleet/sizes.ts"
import { admin } from "./fleet/stores.ts"
import { throughput } from "./fleet/throughput.ts"

const { values: flags } = parseArgs({
  options: {
    json: { type: "boolean" },
    quick: { type: "boolean" },
    help: { type: "boolean" },
    experiment: { type: "string", multiple: true }
  },
  strict: false
})
const names = ["calls", ...Object.keys(experiments)]
const usage = `npm run bench:fleet -- [--json] [--quick] [--experiment ${names.join("|")}]`
if (flags["help"] === true) {
  console.log(usage)
  process.exit(0)
}
const chosen = [flags["experiment"] ?? names].flat().flatMap((one) => String(one).split(","))
const unknown = chosen.find((name) => !names.includes(name))
if (unknown !== undefined) {
  console.error(`--experiment ${unknown}: there is no such experiment\n${usage}`)
  process.exit(2)
}
const quick = flags["quick"] === true
/** After this time, a store is no longer young, with the default `syncInterval`. */
const youngMillis = 10_000
const began = performance.now()
const before = loadavg()[0] ?? 0
const tell = (what: string) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${what}`)
}

const json = flags["json"] === true
// More than four digits would only be noise.
const toJson = (value: unknown) =>
  JSON.stringify(
    value,
    (_, one) => (typeof one === "number" && !Number.isInteger(one) ? Number(one.toPrecision(4)) : one),
    2
  )
const machine = { cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length, node: process.version }

const inResults = (name: string) => new URL(`results/${name}`, import.meta.url)
const earlier: Result | undefined = existsSync(inResults("fleet.v1.json"))
  ? JSON.parse(readFileSync(inResults("fleet.v1.json"), "utf8"))
  : undefined

/** Three processes that call one dependency, compared with Effect's own breaker. */
const calls = async (): Promise<Result> => {
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
    // A young store may not know all processes, so a circuit opens later. The measurement begins when the store is no longer young.
    await sleep(youngMillis)
    const heard = await propagation(fleet, quick ? 5 : 50)
    const leaked = await leaks(fleet, quick ? 1 : 15, tell)
    await fleet.stop()
    await onServer.close()
    const latencies = await latency(server, quick, tell)
    tell("")
    const measured = {
      machine: {
        ...machine,
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
    return { ...measured, bars: judge(measured) }
  } finally {
    await close()
  }
}

const found: Scale = {}
for (const name of Object.keys(experiments) as ReadonlyArray<ScaleExperiment>) {
  if (!chosen.includes(name)) continue
  tell(name)
  Object.assign(found, { [name]: await experiments[name](quick) })
}
tell("")
const result = chosen.includes("calls") ? await calls() : undefined
const hasScale = Object.keys(found).length > 0
if (json) console.log(toJson({ ...result, scale: { ...found, bars: judgeScale(found) } }))
else {
  if (result !== undefined) print(result, earlier)
  if (hasScale) printScale(found)
}
if (quick) tell("A quick run is too short to judge by.\n")
else {
  mkdirSync(inResults("."), { recursive: true })
  if (hasScale) writeScale(machine, found)
  if (result !== undefined) {
    writeFileSync(inResults("fleet.v2.json"), `${toJson(result)}\n`)
    writeFileSync(inResults("fleet.svg"), toChart(result))
  }
}
// Clients that lost their server may still be closing, so the process does not wait for them.
process.exit(0)
