/** A breaker behind a feature flag. Each call evaluates the effect `enabled`. While it returns `false`, all calls pass. */
import { Context, Effect, Logger, pipe, Ref } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

/** The source of the flags. In production, use a client that keeps the flags in memory, because every call waits for the answer. */
class Flags extends Context.Service<Flags, { readonly isOn: (flag: string) => Effect.Effect<boolean> }>()(
  "shop/Flags"
) {}

const fails = pipe(Effect.fail("down"), CircuitBreaker.protect("search"))
const say = Effect.map(Effect.flip(fails), (error) => console.log(typeof error === "string" ? error : error._tag))

const program = Effect.gen(function* () {
  const on = yield* Ref.make(false)
  const flags = Flags.of({ isOn: () => Ref.get(on) })

  // The policy is created with the flags, so that its effect needs no services of the caller.
  const policies = BreakerPolicy.layer({
    breakers: { search: { trip: Trip.consecutive(2), enabled: flags.isOn("search-breaker") } }
  })

  yield* Effect.gen(function* () {
    for (let i = 0; i < 3; i++) yield* say
    yield* Ref.set(on, true)
    console.log("the flag is on")
    for (let i = 0; i < 3; i++) yield* say
    yield* Ref.set(on, false)
    console.log("the flag is off")
    yield* say
    const { state, totals } = yield* CircuitBreaker.inspect("search")
    console.log(`${state}: ${totals.passed} passed, ${totals.calls} counted, ${totals.rejected} rejected`)
  }).pipe(Effect.provide(policies))
})

await Effect.runPromise(program.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(Logger.layer([]))))
