/** Circuits by key are created at their first call, and evicted when idle if there are too many, unless they count a failure. */
import { Effect, Logger } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

const hosts = (...keys: ReadonlyArray<string>) =>
  Effect.forEach(keys, (key) =>
    (key.startsWith("bad") ? Effect.fail("down") : Effect.void).pipe(
      CircuitBreaker.protect("host", { key }),
      Effect.ignore
    )
  )

const look = (what: string) =>
  Effect.gen(function* () {
    const { evicted, overflowed } = yield* BreakerStore.stats
    const kept = (yield* CircuitBreaker.list).map(({ key, state }) => (state === "Closed" ? key : `${key} (${state})`))
    console.log(`${what}: ${kept.join(" ") || "none"}; ${evicted} forgotten, ${overflowed} without room`)
  })

const program = Effect.gen(function* () {
  yield* look("at first")
  yield* CircuitBreaker.inspect("host", { key: "a" })
  yield* look("inspect creates none")
  yield* hosts("a", "b", "bad-1")
  yield* look("three")
  yield* hosts("c", "d", "e")
  yield* look("three more")
  yield* hosts("bad-2", "bad-3")
  yield* look("two bad ones")
  yield* hosts("f", "g")
  yield* look("no room left")
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 3 })), // the default is 100,000
    Effect.provide(BreakerPolicy.layer({ default: { trip: Trip.consecutive(1) } })),
    Effect.provide(Logger.layer([]))
  )
)
