/** An API with an OAuth token. A 401 refreshes the token and does not count as a failure. The token server has its own circuit. */
import { Data, Effect, Logger, pipe, Ref } from "effect"
import { BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

class ApiError extends Data.TaggedError("ApiError")<{ readonly status: number }> {}
class TokenError extends Data.TaggedError("TokenError") {}

// ---- The two servers ----

let valid = "token-1"
let tokensDown = false
const items = (token: string) =>
  token === valid ? Effect.succeed("items") : Effect.fail(new ApiError({ status: 401 }))
const issue = Effect.suspend(() => (tokensDown ? Effect.fail(new TokenError()) : Effect.succeed(valid)))

// ---- The client ----

const policy = { trip: Trip.consecutive(2), cooldown: "1 minute" } as const
const refresh = pipe(issue, CircuitBreaker.protect("tokens", { policy }))

const getItems = (token: Ref.Ref<string>) => {
  const ask = pipe(
    Effect.flatMap(Ref.get(token), items),
    CircuitBreaker.protect("api", { policy, isFailure: ({ status }: ApiError) => status >= 500 })
  )
  // The refresh is outside the circuit of the API, which it does not concern. It happens once; a second 401 is the result.
  return Effect.catchIf(
    ask,
    (error) => error._tag === "ApiError" && error.status === 401,
    () =>
      Effect.andThen(
        Effect.flatMap(refresh, (fresh) => Ref.set(token, fresh)),
        ask
      )
  )
}

const program = Effect.gen(function* () {
  const call = getItems(yield* Ref.make("token-1"))
  const say = Effect.match(call, { onFailure: (error) => error._tag, onSuccess: (answer) => answer })
  const look = Effect.map(CircuitBreaker.list, (all) =>
    all.map(({ circuit, state, totals }) => `${circuit} ${state}, ${totals.failures} failed`).join("; ")
  )
  console.log(yield* say)
  valid = "token-2"
  console.log(yield* say, "with a new token")
  console.log(yield* look)

  valid = "token-3"
  tokensDown = true
  for (let i = 0; i < 3; i++) console.log(yield* say)
  console.log(yield* look)
})

await Effect.runPromise(program.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(Logger.layer([]))))
