/** Timeout, bulkhead, breaker, retry and fallback together, around a call that fails twice, then hangs, then works. */
import { Data, Effect, Logger } from "effect"
import { Backoff, BreakerStore, CircuitBreaker, Resilience } from "effect-fuse"

class ApiError extends Data.TaggedError("ApiError")<{ readonly status: number }> {}

const answers = [
  Effect.fail(new ApiError({ status: 503 })),
  Effect.fail(new ApiError({ status: 503 })),
  Effect.succeed("third time lucky"),
  Effect.never
]
let calls = 0
const callApi = Effect.suspend(() => answers[calls++] ?? Effect.succeed("as usual"))

const resilient = Resilience.standard("api", {
  timeout: "100 millis",
  bulkhead: { concurrency: 10, queue: 10 },
  breaker: { policy: { cooldown: "1 minute" } },
  retry: { times: 2, schedule: Backoff.exponential({ min: "10 millis", max: "1 second", jitter: 0.5 }) }
})

const program = Effect.gen(function* () {
  console.log(resilient.parts.join(" inside "))
  console.log(yield* resilient(callApi))
  console.log(yield* resilient(callApi), "after a timeout")

  yield* CircuitBreaker.isolate("api", { reason: "maintenance" })
  console.log(String(yield* Effect.flip(resilient(callApi))))

  const { retries, totals } = yield* CircuitBreaker.inspect("api")
  console.log(
    `${totals.calls} calls, ${totals.failures} failed, ${totals.rejected} rejected, ${retries?.retries} retries`
  )
})

await Effect.runPromise(program.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(Logger.layer([]))))
