/**
 * Measures how much time and memory a protected call takes, and how long the import takes. Compares this library with others.
 *
 *     npm run bench              prints all figures, and whether each bar is met
 *     npm run bench -- --write   also writes bench/results/breakers.json, and the tables of the README, docs/performance.md and docs/performance-figures.md
 *     npm run bench -- --json    prints JSON instead
 *     npm run bench -- --quick   only checks that it works; too short to judge by
 *     npm run bench -- --tables  measures nothing, and writes the tables again from bench/results/breakers.json
 *
 * Final figures need a machine that does nothing else.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { parseArgs } from "node:util"
import { barsOf, changes } from "./breakers/bars.ts"
import { families } from "./breakers/families.ts"
import { interleave } from "./breakers/interleave.ts"
import { idleCircuitBytes, importTimes, waitingCallBytes } from "./breakers/processes.ts"
import type { Earlier, Figure, Result } from "./breakers/result.ts"
import { spreadOf } from "./breakers/sampling.ts"
import { fill, pages } from "./breakers/tables.ts"

const usage = "npm run bench -- [--write] [--json] [--quick] [--tables]"
const { values: flags } = parseArgs({
  options: {
    write: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    tables: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})
if (flags.help) {
  console.log(usage)
  process.exit(0)
}
const { json, quick, write } = flags
if (quick && write) throw new Error("--quick is too short for figures to write")

const results = new URL("results/breakers.json", import.meta.url)
const read = <A>(url: URL): A => JSON.parse(readFileSync(url, "utf8"))
const earlier = read<Earlier>(new URL("results/breakers.v1.json", import.meta.url))

const writeTables = (result: Result) => {
  for (const page of pages) {
    const url = new URL(`../${page}`, import.meta.url)
    writeFileSync(url, fill(readFileSync(url, "utf8"), result, earlier))
  }
}

const measureAll = async (): Promise<Result> => {
  const before = loadavg()[0] ?? Number.NaN
  const effort = quick
    ? { starts: 1, rounds: 3, warmUpMillis: 10, sampleMillis: 3 }
    : { starts: 3, rounds: 11, warmUpMillis: 100, sampleMillis: 15 }
  const waiting = await waitingCallBytes(quick ? 1 : 3, quick ? 1_000 : 5_000)
  const idle = await idleCircuitBytes(quick ? 1 : 3, quick ? 10_000 : 100_000)
  const imports = await importTimes(quick ? 1 : 21)
  const samples = await interleave(Object.keys(families), effort)
  const figures = Object.fromEntries(
    [...samples].map(([name, all]): [string, Figure] => [
      name,
      { ...spreadOf(all.map(({ wall }) => wall)), cpu: spreadOf(all.map(({ cpu }) => cpu)) }
    ])
  )
  const { devDependencies } = read<{ readonly devDependencies: Record<string, string> }>(
    new URL("../package.json", import.meta.url)
  )
  const versions = Object.fromEntries(
    ["effect", "opossum", "cockatiel", "mollitia", "@git-stunts/alfred"].map((name) => [
      name,
      devDependencies[name] ?? "unknown"
    ])
  )
  return {
    node: process.version,
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    load: { before, after: loadavg()[0] ?? Number.NaN },
    versions,
    rounds: effort.starts * effort.rounds,
    nanosPerCall: figures,
    bytesPerWaitingCall: waiting,
    bytesPerIdleCircuit: idle,
    importMillis: {
      needed: spreadOf(imports.map(({ needed }) => needed.wall)).median,
      root: spreadOf(imports.map(({ root }) => root.wall)).median
    },
    bars: barsOf({ samples, figures, waiting, idle, imports, earlier })
  }
}

const print = (result: Result) => {
  const { before, after } = result.load
  console.log(`${result.cpu}, ${result.cores} cores, Node ${result.node}, ${result.rounds} rounds`)
  console.log(`load average ${before.toFixed(1)} before the run, ${after.toFixed(1)} after it\n`)
  console.log(`${"one call".padEnd(62)} CPU time: median and quartiles    wall time`)
  const ns = (nanos: number, width = 6) => nanos.toFixed(0).padStart(width)
  for (const [name, { cpu, median }] of Object.entries(result.nanosPerCall)) {
    console.log(`${name.padEnd(62)} ${ns(cpu.median)} ns (${ns(cpu.low, 5)} to ${ns(cpu.high, 5)})  ${ns(median)} ns`)
  }
  console.log(`\n${"one waiting call".padEnd(62)}  bytes`)
  for (const [name, bytes] of Object.entries(result.bytesPerWaitingCall)) {
    console.log(`${name.padEnd(62)} ${ns(bytes)}`)
  }
  const { needed, root } = result.importMillis
  console.log(`\nan idle circuit: ${result.bytesPerIdleCircuit.toFixed(0)} bytes`)
  console.log(`import: ${root.toFixed(0)} ms; only the Effect modules that it needs: ${needed.toFixed(0)} ms\n`)
  if (quick) {
    console.log("a quick run is too short to judge by")
    return
  }
  console.log("wall time in bare calls, in the earlier results and now")
  for (const { base, before, name, now } of changes(result.nanosPerCall, earlier)) {
    console.log(`${name.padEnd(62)} ${before.toFixed(2).padStart(6)}  ${now.toFixed(2).padStart(6)}   (${base})`)
  }
  console.log("\nbars, with the quartiles of the rounds")
  for (const { bar, high, low, met, value } of result.bars) {
    const spread = low === undefined || high === undefined ? "" : `${low.toFixed(2)} to ${high.toFixed(2)}`
    console.log(`${met ? "met   " : "MISSED"} ${value.toFixed(2).padStart(8)}  ${spread.padEnd(16)}  ${bar}`)
  }
}

if (flags.tables) writeTables(read<Result>(results))
else {
  const result = await measureAll()
  if (json) console.log(JSON.stringify(result, null, 2))
  else print(result)
  if (write) {
    writeFileSync(results, `${JSON.stringify(result, null, 2)}\n`)
    writeTables(result)
  }
}
