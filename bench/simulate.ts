/**
 * Measures the benefit and the cost of a fleet, and the adaptive limit of a circuit, with the real engine in virtual time.
 *
 *     npm run simulate                            all experiments; writes bench/results/simulate.v2.json
 *     npm run simulate -- --experiment minority   one of them, or several: --experiment few,many
 *     npm run simulate -- --json                  the results as JSON on standard output
 *     npm run simulate -- --quick                 few seeds and little time, only to check that it works; writes nothing
 *     npm run simulate -- --seed 7                other random numbers; writes nothing
 *     npm run simulate -- --list                  the names of the experiments
 *
 * Figures in brackets are those of the first protocol, from bench/results/simulate.v1.json.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { judge, lines } from "./simulate/bars.ts"
import { costs } from "./simulate/costs.ts"
import { type Experiment, play, type Results } from "./simulate/experiment.ts"
import { freeze, wipe } from "./simulate/faults.ts"
import { limit } from "./simulate/limit.ts"
import { judgeLimit, limitLines } from "./simulate/limitBars.ts"
import { few, ghosts, leaked, many } from "./simulate/outages.ts"
import { callers, falseTrips, minorities, nodes, weather } from "./simulate/votes.ts"

const experiments: ReadonlyArray<Experiment> = [
  leaked,
  few,
  ghosts,
  many,
  minorities,
  callers,
  nodes,
  falseTrips,
  weather,
  costs,
  freeze,
  wipe,
  limit
]

const names = experiments.map(({ name }) => name)
const usage = `npm run simulate -- [--experiment ${names.join("|")}] [--quick] [--json] [--seed n] [--list]`

const fail = (message: string): never => {
  console.error(`${message}\n${usage}`)
  process.exit(2)
}

const flags = () => {
  try {
    return parseArgs({
      options: {
        experiment: { type: "string", multiple: true },
        json: { type: "boolean" },
        quick: { type: "boolean" },
        seed: { type: "string" },
        list: { type: "boolean" },
        help: { type: "boolean" }
      }
    }).values
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}

const { experiment: wanted = names.join(), help, json = false, list, quick = false, seed: given = "1" } = flags()
if (help === true || list === true) {
  console.log(list === true ? experiments.map(({ name, title }) => `${name.padEnd(10)} ${title}`).join("\n") : usage)
  process.exit(0)
}
const seed = Number(given)
if (!Number.isSafeInteger(seed) || seed < 0) fail(`--seed ${given}: a whole number from 0`)
const chosen = [wanted].flat().flatMap((one) => one.split(","))
const unknown = chosen.find((name) => !names.includes(name))
if (unknown !== undefined) fail(`--experiment ${unknown}: there is no such experiment`)

interface File {
  readonly node: string
  readonly seed: number
  readonly experiments: Readonly<Record<string, Results>>
}

const read = (name: string): File | undefined => {
  const file = new URL(`results/${name}`, import.meta.url)
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined
}

const say = (line: string): void => {
  if (!json) console.log(line)
}
const began = performance.now()
const before = read("simulate.v1.json")
const found: Record<string, Results> = {}
for (const experiment of experiments) {
  if (!chosen.includes(experiment.name)) continue
  found[experiment.name] = play(experiment, { seed, quick }, before?.experiments[experiment.name], say)
}
const bars = judge(before?.experiments, found)
if (bars.length > 0)
  say(["\nThe bars, with the figures of the first protocol (v1) and of this one (v2)", ...lines(bars)].join("\n"))
const limitBars = found["limit"] === undefined ? [] : judgeLimit(found["limit"])
if (limitBars.length > 0)
  say(["\nThe bars of the limit, and the case with the worst figure", ...limitLines(limitBars)].join("\n"))
say(`\n${((performance.now() - began) / 1000).toFixed(0)} s`)

const results: File = { node: process.version, seed, experiments: found }
if (json) console.log(JSON.stringify({ ...results, bars, limitBars }, null, 2))
if (quick) say("A quick run is too short to judge by.")
else if (seed === 1) {
  // Experiments that were not run keep their earlier figures.
  const all = { ...read("simulate.v2.json")?.experiments, ...found }
  const inOrder = Object.fromEntries(names.flatMap((name) => (name in all ? [[name, all[name]]] : [])))
  mkdirSync(new URL("results", import.meta.url), { recursive: true })
  writeFileSync(
    new URL("results/simulate.v2.json", import.meta.url),
    `${JSON.stringify({ ...results, experiments: inOrder }, null, 2)}\n`
  )
}
