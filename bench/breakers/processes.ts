import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { promisify } from "node:util"
import { libraries } from "./families.ts"
import { byHandText, ownTimedText, timeoutText } from "./names.ts"
import { type Sample, spreadOf } from "./sampling.ts"

/* Measurements that need a new process each. */

/** Runs a script and returns what it prints. On a busy machine a script can be too slow, and is tried again. */
const output = async (args: ReadonlyArray<string>, tries = 3): Promise<string> => {
  try {
    return (await promisify(execFile)(process.execPath, args, { encoding: "utf8" })).stdout
  } catch (error) {
    if (tries <= 1) throw error
    return output(args, tries - 1)
  }
}

const medianOf = async (times: number, args: ReadonlyArray<string>): Promise<number> => {
  const values: Array<number> = []
  for (let i = 0; i < times; i++) values.push(Number(await output(args)))
  return spreadOf(values).median
}

/** The bytes of heap that an idle circuit takes. */
export const idleCircuitBytes = (times: number, circuits: number): Promise<number> =>
  medianOf(times, ["--expose-gc", "bench/idleCircuits.ts", String(circuits)])

const waiting: ReadonlyArray<readonly [family: string, name: string, label: string]> = [
  "Effect.promise",
  "protect",
  "Effect's own",
  "Effect.timeout",
  "Resilience.timeout",
  ownTimedText,
  byHandText,
  "Resilience.standard"
].map((name) => ["asyncEffects", name, `async, ${name}`] as const)

/** The bytes of heap that a call takes while it waits for an answer, by name. Two processes run at once, which changes no bytes. */
export const waitingCallBytes = async (times: number, calls: number): Promise<Record<string, number>> => {
  const all = [...waiting]
  for (const [family, load] of Object.entries(libraries)) {
    const { library } = await load()
    all.push([family, "", library.name])
    if (library.open !== undefined) all.push([family, timeoutText, `${library.name}, ${timeoutText}`])
  }
  const bytes = Object.fromEntries(all.map(([, , label]) => [label, Number.NaN]))
  const measureRest = async (): Promise<void> => {
    for (let one = all.shift(); one !== undefined; one = all.shift()) {
      const [family, name, label] = one
      const args = ["--expose-gc", "bench/breakers/waitingCalls.ts", family, name, String(calls)]
      bytes[label] = await medianOf(times, args)
    }
  }
  await Promise.all([measureRest(), measureRest()])
  return bytes
}

/** The modules of Effect that the root module imports, directly or through its own files. */
const effectModules = (): ReadonlyArray<string> => {
  const seen = new Set<string>()
  const found = new Set<string>()
  const visit = (url: URL) => {
    if (seen.has(url.href)) return
    seen.add(url.href)
    for (const [, module = ""] of readFileSync(url, "utf8").matchAll(/^(?:import|export) .*from "(.+)";$/gm)) {
      if (module.startsWith(".")) visit(new URL(module, url))
      else if (module.startsWith("effect/")) found.add(module)
    }
  }
  visit(new URL("../../dist/index.js", import.meta.url))
  return [...found]
}

/** How many milliseconds a new process takes to import modules. */
const importTime = async (modules: ReadonlyArray<string>): Promise<Sample> => {
  const code = `
    const cpuStart = process.cpuUsage()
    const start = performance.now()
    ${modules.map((one) => `await import(${JSON.stringify(one)})`).join(";")}
    const wall = performance.now() - start
    const { system, user } = process.cpuUsage(cpuStart)
    console.log(JSON.stringify({ wall, cpu: (system + user) / 1_000 }))`
  return JSON.parse(await output(["--input-type=module", "-e", code]))
}

/** The time to import the root module, and the time to import only the Effect modules that it needs. */
export interface ImportTimes {
  readonly needed: Sample
  readonly root: Sample
}

/** Measures imports. The two kinds of imports take turns. */
export const importTimes = async (times: number): Promise<ReadonlyArray<ImportTimes>> => {
  const modules = effectModules()
  const pairs: Array<ImportTimes> = []
  for (let i = 0; i < times; i++) {
    pairs.push({ needed: await importTime(modules), root: await importTime(["effect-fuse"]) })
  }
  return pairs
}
