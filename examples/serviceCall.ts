/** A service whose layer protects its calls: who uses it handles `CircuitOpen` and sees nothing else of a breaker. */
import { Context, Data, Effect, Layer, Logger } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker, type CircuitOpen, Trip } from "effect-fuse"

class BankError extends Data.TaggedError("BankError")<{ readonly reason: "declined" | "down" }> {}

/** What talks to the bank, without a breaker: in earnest an HTTP client. */
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
      // A declined card is an answer: the bank lives.
      const protect = CircuitBreaker.protect("bank", { isFailure: ({ reason }: BankError) => reason === "down" })
      return { charge: (card) => Effect.provideService(protect(bank.charge(card)), BreakerStore.BreakerStore, store) }
    })
  )
}

let asked = 0
const TestBank = Layer.succeed(Bank, {
  // Counted when it runs, and not when it is made: a call that is rejected is made all the same.
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

// Policies are read where a call runs: provide them to the program, and not only to the layer of the service.
const App = Payments.layer.pipe(
  Layer.provide(TestBank),
  Layer.provideMerge(BreakerStore.layerMemory),
  Layer.provideMerge(BreakerPolicy.layer({ breakers: { bank: { trip: Trip.consecutive(2) } } })),
  Layer.provideMerge(Logger.layer([]))
)
await Effect.runPromise(Effect.provide(program, App))
