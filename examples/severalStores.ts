/**
 * Two stores in one program: critical circuits are shared with other processes, and the others are local. Equal names are different
 * circuits.
 */
import { Context, Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, MemoryStore } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"

/** A service uses the store that is provided to its layer. */
class Payments extends Context.Service<Payments, { readonly pay: Effect.Effect<string> }>()("shop/Payments") {
  static readonly layer = Layer.effect(
    Payments,
    Effect.map(BreakerStore.BreakerStore, (store) => ({
      pay: call("paid").pipe(Effect.provideService(BreakerStore.BreakerStore, store))
    }))
  )
}

const call = (answer: string) =>
  CircuitBreaker.protect(Effect.succeed(answer), "api").pipe(
    Effect.catchTag("CircuitOpen", ({ detail, scope }) => Effect.succeed(`rejected: ${detail} (${scope})`))
  )

const program = Effect.gen(function* () {
  const fleet = yield* MemoryStore.make // in production: RedisStore.layerConnect(redis, { prefix: "critical" })
  const App = Payments.layer.pipe(
    Layer.provide(BreakerStore.layerShared(fleet, { process: "checkout" })),
    Layer.merge(BreakerStore.layerMemory)
  )
  return yield* Effect.gen(function* () {
    const { pay } = yield* Payments
    const browse = call("a page")
    const both = Effect.map(Effect.all([pay, browse]), (all) => console.log(all.join("; ")))

    yield* both
    yield* CircuitBreaker.isolate("api", { reason: "the catalogue moves" }) // in the store of this part of the program
    yield* both
    yield* CircuitBreaker.release("api")
    yield* Operator.isolate(fleet, "api", { reason: "the bank is closed" }) // in the store of the fleet
    yield* TestClock.adjust("1 second") // processes learn of it in the background
    yield* both
  }).pipe(Effect.provide(App))
})

await Effect.runPromise(program.pipe(Effect.provide(TestClock.layer()), Effect.provide(Logger.layer([]))))
