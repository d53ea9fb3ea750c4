import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { HttpClient } from "effect/http"
import {
  Backoff,
  BreakerPolicy,
  BreakerStore,
  CircuitBreaker,
  MemoryStore,
  Outcome,
  Resilience,
  Trip
} from "effect-fuse"
import { HttpClientBreaker } from "effect-fuse/http"
import { createBreaker, trip } from "effect-fuse/promise"
import * as Simulator from "effect-fuse/Simulator"
import { Dependency } from "effect-fuse/testing"
import { parseMillis } from "../src/cli/settings.ts"
import { expectedDuration } from "../src/core/millis.ts"

/** A text from a file or a variable. The type `Duration.Input` has only the long forms. */
type Text = never

const client = HttpClient.make(() => Effect.never)
const fn = async () => "answer"
const policy = (input: object) => Effect.runSync(Effect.fromResult(BreakerPolicy.decode(input)))
const environment = (env: Readonly<Record<string, string>>) =>
  Effect.runSync(
    Effect.provide(
      Effect.asVoid(BreakerPolicy.Policies),
      Layer.provide(BreakerPolicy.layerConfig(), ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
    )
  )
const inStore = <A, E>(effect: Effect.Effect<A, E, BreakerStore.BreakerStore>) =>
  Effect.runSync(Effect.provide(effect, BreakerStore.layerMemory))

const places: ReadonlyArray<readonly [place: string, read: (text: Text) => unknown]> = [
  ["the cooldown of a policy", (text) => policy({ cooldown: text })],
  ["the growing cooldown of a policy", (text) => policy({ cooldown: { exponential: text } })],
  ["the slowCall of a policy", (text) => policy({ slowCall: text })],
  ["the window of a trip", (text) => policy({ trip: Trip.failures({ atLeast: 2, of: text }) })],
  ["the schedule of a health check", (text) => policy({ probe: { check: Effect.void, schedule: text } })],
  ["the hold of a fleet", (text) => policy({ fleet: { hold: text } })],
  ["an environment variable", (text) => environment({ CIRCUIT_BREAKER_COOLDOWN: text })],
  ["an environment variable of one circuit", (text) => environment({ CIRCUIT_BREAKER_API_SLOW_CALL: text })],
  ["the interval of a reload", (text) => BreakerPolicy.layerReloading(Effect.succeed({}), text)],
  ["an outcome", (text) => Outcome.failure({ retryAfter: text })],
  ["a timeout", (text) => Resilience.timeout(text)],
  ["a retry", (text) => Resilience.retry({ maxRetryAfter: text })],
  ["a hedge", (text) => Resilience.hedge({ after: text })],
  ["a backoff", (text) => Backoff.exponential({ min: text, max: text })],
  ["the lease of a permit", (text) => inStore(CircuitBreaker.admit("api", { lease: text }))],
  ["the length of an isolation", (text) => inStore(CircuitBreaker.isolate("api", { for: text }))],
  ["the length of an opening", (text) => inStore(CircuitBreaker.open("api", { for: text }))],
  ["the lease of a body", (text) => HttpClientBreaker.protect(client, "api", { body: true, lease: text })],
  [
    "an option of a shared store",
    (text) =>
      Effect.runPromise(
        Effect.flatMap(MemoryStore.make, (store) =>
          Effect.scoped(Layer.build(BreakerStore.layerShared(store, { syncInterval: text })))
        )
      )
  ],
  ["a simulated load", (text) => Simulator.load({ rate: 1, for: text })],
  ["a simulated dependency", (text) => Effect.runSync(Dependency.make({ answer: 1, error: 2 })).slow(text)],
  ["the timeout of a promise breaker", (text) => createBreaker(fn, { timeout: text })],
  ["the cooldown of a promise breaker", (text) => createBreaker(fn, { cooldown: text })],
  ["the window of a promise breaker", (text) => createBreaker(fn, { trip: trip.failures({ atLeast: 2, of: text }) })],
  ["the delay of a promise retry", (text) => createBreaker(fn, { retry: { minDelay: text, maxDelay: text } })],
  [
    "a flag of the command line",
    (text) => {
      if (parseMillis(text) === undefined) throw new RangeError(expectedDuration.aboveZero)
    }
  ]
]

const texts = ["30s", "250ms", "10m", "1h30m", "1d", "30 seconds"]

describe("a duration as a text", () => {
  it.each(places)("is accepted in %s", async (_, read) => {
    for (const text of texts) await read(text as Text)
  })

  it.each(places)("is refused in %s with the same message if it cannot be read", async (_, read) => {
    for (const text of ["soon", "30 sec", "30S", "-30s", "s"]) {
      let message = "accepted"
      try {
        await read(text as Text)
      } catch (error) {
        message = String(error)
      }
      assert.match(message, /a duration (above 0|of 0 or more) such as "30s" or "30 seconds"/)
    }
  })
})
