/** From a store to another: what is open stays open to its end, what people forced stays forced, and what is closed needs no moving. */
import { Duration, Effect, Layer, Logger, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, MemoryStore, Trip } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"

const policies = BreakerPolicy.layer({ default: { trip: Trip.consecutive(1) } })
const call = (name: string, up: boolean) =>
  Effect.exit(pipe(up ? Effect.void : Effect.fail("down"), CircuitBreaker.protect(name)))

/** One process with circuits in its memory. */
const before = Effect.gen(function* () {
  yield* call("stock", true)
  yield* call("bank", false)
  yield* CircuitBreaker.isolate("search", { reason: "a new index", actor: "ann" })
  return yield* BreakerStore.exportAll
}).pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(policies))

const program = Effect.gen(function* () {
  const json = yield* before
  console.log(
    JSON.parse(json)
      .circuits.map(({ circuit }: { readonly circuit: string }) => circuit)
      .join(", ")
  )
  yield* TestClock.adjust("10 seconds") // the time that the move takes

  // The store of a fleet: one process brings it all, and the others have it, too.
  const store = yield* MemoryStore.make
  const first = yield* Layer.build(BreakerStore.layerShared(store, { process: "shop-1" }))
  const second = yield* Layer.build(BreakerStore.layerShared(store, { process: "shop-2" }))
  const brought = yield* Effect.provideContext(BreakerStore.importAll(json), first)
  yield* TestClock.adjust("1 second")
  console.log(`${brought} circuits`)
  for (const { cause, circuit, retryAfter, state } of yield* Effect.provideContext(CircuitBreaker.list, second)) {
    const until = Duration.isFinite(retryAfter)
      ? `${Math.floor(Duration.toSeconds(retryAfter))} more seconds`
      : "for good"
    console.log(`${circuit}: ${state}, ${cause?.detail}, ${until}`)
  }

  // A script that is no process of the fleet moves what a store has to another.
  const other = yield* MemoryStore.make
  const { json: all } = yield* Operator.exportAll(store)
  const { circuits } = yield* Operator.importAll(other, all)
  console.log(`${circuits} in the other store`)
  console.log((yield* Effect.flip(Operator.importAll(other, "[]")))._tag)
})

await Effect.runPromise(
  program.pipe(Effect.scoped, Effect.provide(TestClock.layer()), Effect.provide(Logger.layer([])))
)
