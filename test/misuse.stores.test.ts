import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { BreakerStore, CircuitBreaker } from "effect-fuse"
import { capture, type Line } from "./support/verbs.ts"

// The count of stores is one for the whole process, so this file has only this test.
describe("a store for each call", () => {
  const one = Effect.provide(CircuitBreaker.protect(Effect.void, "api"), Layer.fresh(BreakerStore.layerMemory))
  const reports = (lines: ReadonlyArray<Line>) =>
    lines
      .filter(({ message }) => message.includes("stores of circuits were built and closed"))
      .map(({ message }) => message)

  it.live("is reported once", () => {
    const lines: Array<Line> = []
    return Effect.gen(function* () {
      for (let i = 0; i < 99; i++) yield* one
      assert.deepStrictEqual(reports(lines), [])
      for (let i = 0; i < 300; i++) yield* one
      const [line, ...more] = reports(lines)
      assert.include(line, "Provide one BreakerStore layer at the top of the program")
      assert.deepStrictEqual(more, [])
    }).pipe((self) => capture(lines, self))
  })
})
