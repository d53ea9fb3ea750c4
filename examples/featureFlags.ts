/** A breaker behind a feature flag: `enabled` is an effect that is asked at each call, and while it says no all calls pass. */
import { Context, Effect, Logger, pipe, Ref } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

/** What the flags come from: in earnest a client that keeps them in memory, as every call waits for the answer. */
class Flags extends Context.Service<Flags, { readonly isOn: (flag: string) => Effect.Effect<boolean> }>()(
  "shop/Flags"
) {}

const fails = pipe(Effect.fail("down"), CircuitBreaker.protect("search"))
const say = Effect.map(Effect.flip(fails), (error) => console.log(typeof error === "string" ? error : error._tag))

const program = Effect.gen(function* () {
  const on = yield* Ref.make(false)
  const flags = Flags.of({ isOn: () => Ref.get(on) })

  // The policy is made once the flags are there: its effect needs no services of whoever calls.
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
