/** The layer of a service protects its calls. Code that uses the service only handles `CircuitOpen`. */
import { Context, Data, Effect, Layer, Logger } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker, type CircuitOpen, Trip } from "effect-fuse"

class BankError extends Data.TaggedError("BankError")<{ readonly reason: "declined" | "down" }> {}

/** The client of the bank, without a breaker. In production, an HTTP client. */
class Bank extends Context.Service<Bank, { readonly charge: (card: string) => Effect.Effect<string, BankError> }>()(
  "shop/Bank"
) {}

class Payments extends Context.Service<
  Payments,
  { readonly charge: (card: string) => Effect.Effect<string, BankError | CircuitOpen.CircuitOpen> }
>()("shop/Payments") {
  static readonly layer = Layer.effect(
    Payments,
    Effect.gen(function* () {
      const bank = yield* Bank
      const store = yield* BreakerStore.BreakerStore
      // A declined card is not a failure: the bank works.
      const protect = CircuitBreaker.protect("bank", { isFailure: ({ reason }: BankError) => reason === "down" })
      return { charge: (card) => Effect.provideService(protect(bank.charge(card)), BreakerStore.BreakerStore, store) }
    })
  )
}

let asked = 0
const TestBank = Layer.succeed(Bank, {
  // Counts calls that run. A rejected call is created, but does not run.
  charge: (card) =>
    Effect.suspend(() => {
      asked++
      if (card === "gold") return Effect.succeed("paid")
      return Effect.fail(new BankError({ reason: card === "red" ? "declined" : "down" }))
    })
})

const checkout = (card: string) =>
  Payments.use(({ charge }) => charge(card)).pipe(
    Effect.catchTags({
      BankError: ({ reason }) => Effect.succeed(reason),
      CircuitOpen: () => Effect.succeed("pay later")
    })
  )

const program = Effect.gen(function* () {
  for (const card of ["gold", "red", "red", "red", "blue", "blue", "gold"]) console.log(card, yield* checkout(card))
  console.log(`the bank was asked ${asked} times`)
})

// A call reads its policy where it runs. Provide policies to the program, not only to the layer of the service.
const App = Payments.layer.pipe(
  Layer.provide(TestBank),
  Layer.provideMerge(BreakerStore.layerMemory),
  Layer.provideMerge(BreakerPolicy.layer({ breakers: { bank: { trip: Trip.consecutive(2) } } })),
  Layer.provideMerge(Logger.layer([]))
)
await Effect.runPromise(Effect.provide(program, App))
