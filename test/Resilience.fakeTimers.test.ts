import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import { Effect, Layer, Logger, ManagedRuntime, pipe } from "effect"
import { BreakerStore, CircuitBreaker, Resilience } from "effect-fuse"

afterEach(() => void vi.useRealTimers())

describe("a caller that waits for a circuit while fake timers are in use", () => {
  it("gives up after `waitForCircuit` of fake time", async () => {
    vi.useFakeTimers()
    const runtime = ManagedRuntime.make(Layer.merge(BreakerStore.layerMemory, Logger.layer([])))
    await runtime.runPromise(CircuitBreaker.open("api", { for: "1 second" }))
    const call = pipe(
      Effect.void,
      CircuitBreaker.protect("api"),
      Resilience.retry({ times: 0, waitForCircuit: "3 seconds" })
    )
    let error: unknown
    void runtime.runPromise(Effect.flip(call)).then((open) => {
      error = open
    })
    for (let i = 0; i < 20 && error === undefined; i++) {
      await vi.advanceTimersByTimeAsync(500)
      // This keeps the circuit open.
      await runtime.runPromise(CircuitBreaker.open("api", { for: "1 second" }))
    }
    assert.instanceOf(error, Error)
    assert.propertyVal(error, "_tag", "CircuitOpen")
    await runtime.dispose()
  })
})
