import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { libraries } from "./families.ts"
import { byHandText, ownTimedText, timeoutText } from "./names.ts"
import { spreadOf } from "./sampling.ts"

/* Measurements that need a new process each. */

/** Runs a script that prints a number. On a busy machine a script can be too slow, and is tried again. */
const run = async (args: ReadonlyArray<string>, tries = 3): Promise<number> => {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { encoding: "utf8" })
    return Number(stdout)
  } catch (error) {
    if (tries <= 1) throw error
    return run(args, tries - 1)
  }
}

const medianOf = async (times: number, args: ReadonlyArray<string>): Promise<number> => {
  const values: Array<number> = []
  for (let i = 0; i < times; i++) values.push(await run(args))
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

/** How many milliseconds of CPU time a new process takes to import modules. */
const importMillis = (modules: ReadonlyArray<string>): Promise<number> => {
  const imports = modules.map((one) => `await import(${JSON.stringify(one)})`).join(";")
  const code = `${imports}; const { system, user } = process.cpuUsage(before); console.log((system + user) / 1_000)`
  return run(["--input-type=module", "-e", `const before = process.cpuUsage(); ${code}`])
}

const needed = [
  "Cause",
  "Clock",
  "Config",
  "ConfigProvider",
  "Context",
  "Data",
  "Duration",
  "Effect",
  "Effectable",
  "Equal",
  "Exit",
  "FiberSet",
  "Layer",
  "PubSub",
  "Result",
  "Random",
  "Schedule",
  "Schema",
  "SchemaIssue",
  "SchemaTransformation",
  "Semaphore",
  "Stream",
  "TxRef"
].map((name) => `effect/${name}`)

/** The CPU time to import the root module, and that to import only the Effect modules that it needs. They take turns. */
export const importTimes = async (
  times: number
): Promise<ReadonlyArray<{ readonly needed: number; readonly root: number }>> => {
  const pairs: Array<{ readonly needed: number; readonly root: number }> = []
  for (let i = 0; i < times; i++) {
    pairs.push({ needed: await importMillis(needed), root: await importMillis(["effect-fuse"]) })
  }
  return pairs
}
