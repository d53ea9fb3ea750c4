/** Three regions, each with a store, form one store by majority. It works while one region is away, and ignores one that is behind. */
import { Effect, Layer, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, MemoryStore, SharedStore } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import * as QuorumStore from "effect-fuse/QuorumStore"

/** A store in memory that can be cut off. In production, use `RedisStore.connect`, one for each region. */
const region = (name: string) =>
  Effect.map(MemoryStore.make, (store) => {
    const state = { name, store, down: false }
    const unless = <A>(operation: SharedStore.StoreError["operation"], run: Effect.Effect<A, SharedStore.StoreError>) =>
      Effect.suspend(() =>
        state.down ? Effect.fail(new SharedStore.StoreError({ operation, cause: "cut off" })) : run
      )
    const reached: SharedStore.SharedStore = {
      exchange: (exchange) => unless("exchange", store.exchange(exchange)),
      page: (since, limit) => unless("page", store.page(since, limit)),
      load: (circuits) => unless("load", store.load(circuits)),
      digests: (after) => unless("digests", store.digests(after)),
      changes: Stream.filter(store.changes, () => !state.down)
    }
    return Object.assign(state, { reached })
  })

const program = Effect.gen(function* () {
  const regions = yield* Effect.forEach(["eu", "us", "asia"], region)
  const [, us] = regions
  const store = yield* QuorumStore.make(regions.map(({ reached }) => reached))
  const first = yield* Layer.build(BreakerStore.layerShared(store, { process: "shop-1" }))
  const second = yield* Layer.build(BreakerStore.layerShared(store, { process: "shop-2" }))

  const look = (what: string) =>
    Effect.gen(function* () {
      yield* TestClock.adjust("10 seconds") // a process reads all circuits that are not Closed every 5 seconds
      const state = yield* Effect.provideContext(CircuitBreaker.state("bank"), second)
      // Reads what each region keeps for the majority, because its records are not those of a single store.
      const kept = yield* Effect.forEach(regions, ({ name, store }) =>
        Effect.map(Operator.list(store), ({ circuits }) => `${name} ${circuits.length}`)
      )
      console.log(`${what}: ${state}; records: ${kept.join(", ")}`)
    })

  yield* look("at first")
  if (us !== undefined) us.down = true
  yield* Effect.provideContext(CircuitBreaker.isolate("bank", { reason: "maintenance" }), first)
  yield* look("us is cut off")
  if (us !== undefined) us.down = false
  yield* look("us is back")
  yield* Effect.provideContext(CircuitBreaker.release("bank"), first)
  yield* look("released")
})

await Effect.runPromise(
  program.pipe(Effect.scoped, Effect.provide(TestClock.layer()), Effect.provide(Logger.layer([])))
)
