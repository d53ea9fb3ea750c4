import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker } from "effect-fuse"
import { failing, fleet, pause } from "./support/fleet.ts"
import { fail, quick, scenario } from "./support/verbs.ts"

describe("A key", () => {
  scenario("selects the circuit that state and inspect read", quick, function* () {
    yield* fail({ key: "k" })
    const looks = [
      CircuitBreaker.state,
      (name: string, at?: CircuitBreaker.Target) => Effect.map(CircuitBreaker.inspect(name, at), (seen) => seen.state)
    ]
    for (const look of looks)
      assert.deepStrictEqual([yield* look("api"), yield* look("api", { key: "k" })], ["Closed", "Open"])
  })

  scenario("selects the circuit that awaitClosed waits for", quick, function* () {
    yield* fail({ key: "k" })
    yield* CircuitBreaker.awaitClosed("api")
    const waiting = yield* Effect.forkChild(CircuitBreaker.awaitClosed("api", { key: "k" }), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    assert.isUndefined(waiting.pollUnsafe())
    yield* CircuitBreaker.close("api", { key: "k" })
    yield* Fiber.join(waiting)
  })

  it.effect("selects the circuit whose scope is read", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3, { key: "k" })
      yield* Effect.forEach(processes, (process) => process.succeed)
      yield* failing(processes, 3)
      yield* pause(200)
      const scopes = Effect.all([CircuitBreaker.scope("api"), CircuitBreaker.scope("api", { key: "k" })])
      assert.deepStrictEqual(yield* at(0).run(scopes), ["local", "fleet"])
    })
  )
})
