/**
 * Two processes share their circuits, and a script outside the fleet isolates one of them in both. The store is in memory here.
 * With Redis, use `RedisStore.make`; everything else stays the same.
 */
import { Effect, Layer, Logger } from "effect"
import { BreakerStore, CircuitBreaker, MemoryStore } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"

const pay = Effect.succeed("paid").pipe(
  CircuitBreaker.protect("payments"),
  Effect.catchTag("CircuitOpen", ({ detail, scope }) => Effect.succeed(`not now: ${detail} (${scope})`))
)

const program = Effect.gen(function* () {
  const store = yield* MemoryStore.make
  const first = yield* Layer.build(BreakerStore.layerShared(store, { process: "checkout-1" }))
  const second = yield* Layer.build(BreakerStore.layerShared(store, { process: "checkout-2" }))
  const both = Effect.forEach([first, second], (process) => Effect.provideContext(pay, process))
  const look = Effect.map(Operator.list(store), ({ circuits, processes }) => {
    const seen = circuits.map((one) => (one._tag === "Known" ? `${one.name} ${one.state}: ${one.reason}` : one.name))
    return `${processes} processes; ${seen.join(", ") || "nothing but Closed"}`
  })
  console.log((yield* both).join(", "))
  console.log(yield* look)

  yield* Operator.isolate(store, "payments", { reason: "the bank is closed", actor: "ann", for: "1 hour" })
  yield* Effect.sleep("100 millis") // the processes learn of it in the background
  console.log((yield* both).join("\n"))
  console.log(yield* look)

  yield* Operator.release(store, "payments", { actor: "ann" })
  yield* Effect.sleep("100 millis")
  console.log((yield* both).join(", "))
})

await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(Logger.layer([]))))
