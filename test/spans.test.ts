import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker } from "effect-fuse"
import { recordedSpans } from "./support/spans.ts"
import { fail, quick, reject, scenario, succeed } from "./support/verbs.ts"

/** What an effect's span says when it has ended. */
const traced = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const { spans, tracer } = recordedSpans()
    yield* Effect.exit(effect).pipe(Effect.withSpan("request"), Effect.withTracer(tracer))
    assert.strictEqual(spans.length, 1, "no span but the caller's")
    const [span] = spans
    return {
      attributes: Object.fromEntries(
        [...(span?.attributes ?? [])].filter(([name]) => name.startsWith("circuit_breaker"))
      ),
      // The log's lines are events of it as well.
      events: (span?.events ?? [])
        .filter(([name]) => name.startsWith("circuit_breaker"))
        .map(([name, , attributes]) => [name, attributes] as const)
    }
  })

describe("the span of a caller", () => {
  scenario("is unchanged by calls that pass", quick, function* () {
    assert.deepStrictEqual(yield* traced(succeed()), { attributes: {}, events: [] })
  })

  scenario("shows that its call opened the circuit, and why", quick, function* () {
    const { attributes, events } = yield* traced(fail({ key: "eu" }))
    assert.deepStrictEqual(attributes, { "circuit_breaker.name": "api", "circuit_breaker.state": "Open" })
    assert.deepStrictEqual(events, [
      [
        "circuit_breaker.transition",
        {
          "circuit_breaker.name": "api",
          "circuit_breaker.key": "eu",
          "circuit_breaker.from": "Closed",
          "circuit_breaker.to": "Open",
          "circuit_breaker.why": "Tripped",
          "circuit_breaker.detail": "1 failure in a row (limit 1)"
        }
      ]
    ])
  })

  scenario("shows that its call was rejected, and why", quick, function* () {
    yield* fail()
    const { attributes, events } = yield* traced(reject())
    const said = {
      "circuit_breaker.name": "api",
      "circuit_breaker.state": "Open",
      "circuit_breaker.scope": "local",
      "circuit_breaker.reason": "Cooldown",
      "circuit_breaker.detail": "1 failure in a row (limit 1)"
    }
    assert.deepStrictEqual(attributes, said)
    assert.deepStrictEqual(events, [["circuit_breaker.rejected", said]])
  })

  scenario("shows every reason", quick, function* () {
    yield* CircuitBreaker.isolate("api", { reason: "drill" })
    const { attributes } = yield* traced(reject())
    assert.deepInclude(attributes, { "circuit_breaker.reason": "Isolated", "circuit_breaker.detail": "drill" })
  })

  scenario("shows what its probe found", quick, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    const { events } = yield* traced(succeed())
    assert.deepStrictEqual(
      events.map(([, attributes]) => attributes?.["circuit_breaker.to"]),
      ["HalfOpen", "Closed"]
    )
  })
})
