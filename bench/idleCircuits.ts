/** Prints how many bytes an idle circuit takes that was called once, under the default policy. */
import { Effect, ManagedRuntime } from "effect"
import { BreakerStore, CircuitBreaker } from "effect-fuse"
import { bytesEach } from "./measure.ts"

const circuits = Number(process.argv[2] ?? 100_000)

const bytes = await bytesEach(circuits, async () => {
  const runtime = ManagedRuntime.make(BreakerStore.layerMemoryWith({ maxCircuits: circuits }))
  let i = 0
  const call = () => CircuitBreaker.protect(Effect.succeed(1), "memory", { key: `key-${i++}` })
  await runtime.runPromise(Effect.whileLoop({ while: () => i < circuits, body: call, step: () => {} }))
  return runtime
})
console.log(bytes)
process.exit(0)
