import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { capture, type Line } from "./support/verbs.ts"

describe("a store for each call", () => {
  const reports = (lines: ReadonlyArray<Line>) =>
    lines
      .filter(({ message }) => message.includes("stores of circuits were built and closed"))
      .map(({ message }) => message)

  it.live("is reported once", () => {
    const lines: Array<Line> = []
    return Effect.gen(function* () {
      // The stores of a process are counted in a module, and other tests build stores, too.
      vi.resetModules()
      const { BreakerStore, CircuitBreaker } = yield* Effect.promise(() => import("effect-fuse"))
      const one = Effect.provide(CircuitBreaker.protect(Effect.void, "api"), Layer.fresh(BreakerStore.layerMemory))
      for (let i = 0; i < 99; i++) yield* one
      assert.deepStrictEqual(reports(lines), [])
      for (let i = 0; i < 300; i++) yield* one
      const [line, ...more] = reports(lines)
      assert.include(line, "Provide one BreakerStore layer at the top of the program")
      assert.deepStrictEqual(more, [])
    }).pipe((self) => capture(lines, self))
  })
})
