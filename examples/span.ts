/**
 * A thousand shards behind one gateway. While the gateway is down, no shard gets enough calls to open its own circuit. With `span`, the
 * failures of all shards open the circuit of the name, and this circuit rejects the calls of every shard. A successful probe closes this circuit.
 */
import { Effect, Logger, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"

let gatewayIsDown = true
let reached = 0

const read = (shard: number) =>
  pipe(
    Effect.suspend(() => {
      reached++
      return gatewayIsDown ? Effect.fail("no connection") : Effect.succeed(`rows of shard ${shard}`)
    }),
    CircuitBreaker.protect("shards", { key: `shard-${shard}` }),
    Effect.catch((error) => Effect.succeed(typeof error === "string" ? error : error.message))
  )

const program = Effect.gen(function* () {
  for (let i = 0; i < 3_000; i++) yield* read(i % 1_000)
  console.log(`${reached} of 3000 calls reached the gateway`)
  console.log((yield* CircuitBreaker.inspect("shards")).cause?.detail)

  gatewayIsDown = false
  yield* TestClock.adjust("30 seconds")
  console.log(`the probe: ${yield* read(7)}`)
  console.log(`another shard: ${yield* read(500)}`)
})

const policies = BreakerPolicy.layer({ breakers: { shards: { span: true } } })
await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(policies),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
