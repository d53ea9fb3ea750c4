/** Moves circuits to another store. Open circuits stay open until their end, and overrides stay. Closed circuits need no move. */
import { Duration, Effect, Layer, Logger, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, MemoryStore, Trip } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"

const policies = BreakerPolicy.layer({ default: { trip: Trip.consecutive(1) } })
const call = (name: string, up: boolean) =>
  Effect.exit(pipe(up ? Effect.void : Effect.fail("down"), CircuitBreaker.protect(name)))

/** A process with circuits in its memory. */
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
  yield* TestClock.adjust("10 seconds") // the duration of the move

  // The store of a fleet. One process imports the circuits, and the other processes get them from the store.
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

  // A script outside the fleet can copy the circuits of one store to another.
  const other = yield* MemoryStore.make
  const { json: all } = yield* Operator.exportAll(store)
  const { circuits } = yield* Operator.importAll(other, all)
  console.log(`${circuits} in the other store`)
  console.log((yield* Effect.flip(Operator.importAll(other, "[]")))._tag)
})

await Effect.runPromise(
  program.pipe(Effect.scoped, Effect.provide(TestClock.layer()), Effect.provide(Logger.layer([])))
)
