/**
 * Prints how many bytes a call takes while it waits for an answer.
 *
 *     node --expose-gc bench/breakers/waitingCalls.ts FAMILY NAME CALLS
 */
import { Effect } from "effect"
import { bytesEach } from "../measure.ts"
import { libraries } from "./families.ts"
import { type Call, never, timeoutMillis } from "./library.ts"
import { timeoutText } from "./names.ts"

const [family = "", name = "", count = "5000"] = process.argv.slice(2)
const calls = Number(count)

const effectCall = async (): Promise<Call> => {
  const { wrappers } = await import("./asyncEffects.ts")
  const wrapper = wrappers.find((one) => one.name === name)
  if (wrapper === undefined) throw new Error(`expected one of ${wrappers.map((one) => one.name).join(", ")}`)
  const { effect, runtime } = wrapper.run(Effect.promise(never))
  return async () => runtime.runFork(effect)
}

const promiseCall = async (): Promise<Call> => {
  const load = libraries[family]
  if (load === undefined) throw new Error(`expected one of ${Object.keys(libraries).join(", ")}`)
  return (await load()).library.protect(never, { timeout: name === timeoutText })
}

const isEffect = family === "asyncEffects"
const call = await (isEffect ? effectCall() : promiseCall())
// The first call prepares what all calls share.
const kept = [call()]
const start = performance.now()
const bytes = await bytesEach(calls, async () => {
  for (let i = 0; i < calls; i++) kept.push(call())
  return kept
})
if (performance.now() - start > timeoutMillis * 0.9) throw new Error("too slow: calls may have timed out")
console.log(bytes)
process.exit(0)
