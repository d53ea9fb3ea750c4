import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { HttpClient } from "effect/http"
import { Backoff, Bulkhead, CircuitBreaker, CircuitPool, Outcome, Resilience, Trip } from "effect-fuse"
import * as EffectCircuitBreaker from "effect-fuse/EffectCircuitBreaker"
import { HttpClientBreaker, HttpServerBreaker } from "effect-fuse/http"
import { JobBreaker, StreamBreaker } from "effect-fuse/queue"

// biome-ignore lint/suspicious/noExplicitAny: what a caller without types might write
const wrong: any = { isFailur: () => false }
const client = HttpClient.make(() => Effect.never)
const pool = CircuitPool.make("api", { members: ["a"] })

/** What takes options where it is written, and not where a layer is built or an effect runs. */
const calls: Readonly<Record<string, () => unknown>> = {
  "CircuitBreaker.protect": () => CircuitBreaker.protect("api", wrong),
  "CircuitBreaker.protect, data first": () => CircuitBreaker.protect(Effect.void, "api", wrong),
  "CircuitBreaker.admit": () => CircuitBreaker.admit("api", wrong),
  "CircuitBreaker.forEach": () => CircuitBreaker.forEach([1], () => Effect.void, { name: "api", ...wrong }),
  "CircuitBreaker.state": () => CircuitBreaker.state("api", wrong),
  "CircuitBreaker.scope": () => CircuitBreaker.scope("api", wrong),
  "CircuitBreaker.inspect": () => CircuitBreaker.inspect("api", wrong),
  "CircuitBreaker.awaitClosed": () => CircuitBreaker.awaitClosed("api", wrong),
  "CircuitBreaker.isolate": () => CircuitBreaker.isolate("api", wrong),
  "CircuitBreaker.disable": () => CircuitBreaker.disable("api", wrong),
  "CircuitBreaker.release": () => CircuitBreaker.release("api", wrong),
  "CircuitBreaker.open": () => CircuitBreaker.open("api", wrong),
  "CircuitBreaker.close": () => CircuitBreaker.close("api", wrong),
  "CircuitBreaker.reset": () => CircuitBreaker.reset("api", wrong),
  "CircuitPool.make": () => CircuitPool.make("api", { members: ["a"], ...wrong }),
  "CircuitPool.call": () => CircuitPool.call(pool, () => Effect.void, wrong),
  "CircuitPool.resetAll": () => CircuitPool.resetAll(pool, wrong),
  "Resilience.breaker": () => Resilience.breaker("api", wrong),
  "Resilience.standard": () => Resilience.standard("api", wrong),
  "Resilience.retry": () => Resilience.retry(wrong),
  "Resilience.hedge": () => Resilience.hedge({ after: "1 second", ...wrong }),
  "Resilience.rateLimit": () =>
    Resilience.rateLimit({ consume: () => Effect.void } as never, { limit: 1, window: "1 second", key: "a", ...wrong }),
  "Resilience.bulkhead": () => Resilience.bulkhead({ concurrency: 1, ...wrong }),
  "Resilience.cascade": () => Resilience.cascade([{ name: "a", call: Effect.void, ...wrong }]),
  "Bulkhead.make": () => Bulkhead.makeUnsafe({ concurrency: 1, ...wrong }),
  "Backoff.exponential": () => Backoff.exponential(wrong),
  "Backoff.linear": () => Backoff.linear(wrong),
  "EffectCircuitBreaker.layer": () => EffectCircuitBreaker.layer("api", wrong),
  "HttpClientBreaker.protect": () => HttpClientBreaker.protect(client, "api", wrong),
  "HttpServerBreaker.protect": () => HttpServerBreaker.protect("api", wrong),
  "JobBreaker.protect": () => JobBreaker.protect(Effect.void, "api", { release: () => Effect.void, ...wrong }),
  "JobBreaker.handBack": () => JobBreaker.handBack(Effect.void, { release: () => Effect.void, ...wrong }),
  "JobBreaker.take": () => JobBreaker.take({ take: () => Effect.void } as never, "api", () => Effect.void, wrong),
  "StreamBreaker.mapEffect": () => StreamBreaker.mapEffect(Stream.empty, "api", () => Effect.void, wrong),
  "Outcome.failure": () => Outcome.failure(wrong),
  "a policy": () => CircuitBreaker.protect("api", { policy: wrong }),
  "a trip": () => CircuitBreaker.protect("api", { policy: { trip: Trip.failures({ atLeast: 1, of: 2, ...wrong }) } })
}

describe("An option that there is not is named, and not passed over", () => {
  it.each(Object.entries(calls))("by %s", (_, call) => {
    assert.throws(call, /isFailur: unknown field/)
  })

  it("by EffectCircuitBreaker.layer, whose callers say what is theirs", () => {
    assert.throws(() => EffectCircuitBreaker.layer("api", { key: "b" } as object), /key: unknown field/)
  })

  it("by CircuitPool.call, whose circuits are those of the pool", () => {
    assert.throws(() => CircuitPool.call(pool, () => Effect.void, { key: "b" } as object), /key: unknown field/)
  })
})
