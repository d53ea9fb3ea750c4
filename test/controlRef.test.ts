import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TxRef } from "effect"
import { Circuit } from "effect-fuse/core"
import { ControlRef } from "../src/engine/controlRef.ts"

const open = (epoch: number): Circuit.Circuit => ({ ...Circuit.initial, epoch })

/** Waits in a transaction for an epoch of at least `least`. Returns the epoch. */
const waitFor = (ref: TxRef.TxRef<Circuit.Circuit>, least: number) =>
  Effect.tx(Effect.flatMap(TxRef.get(ref), ({ epoch }) => (epoch < least ? Effect.txRetry : Effect.succeed(epoch))))

const refs = [
  ["TxRef.makeUnsafe", () => TxRef.makeUnsafe<Circuit.Circuit>(Circuit.initial)],
  ["ControlRef", () => new ControlRef()]
] as const

describe.each(refs)("The state of a circuit in a %s", (_, make) => {
  it.effect("is read and written in transactions, and does not change if a transaction fails", () =>
    Effect.gen(function* () {
      const ref = make()
      yield* TxRef.set(ref, open(1))
      assert.strictEqual(yield* TxRef.modify(ref, (now) => [now.epoch, open(2)]), 1)
      yield* Effect.exit(Effect.tx(Effect.andThen(TxRef.set(ref, open(3)), Effect.fail("undo"))))
      assert.strictEqual((yield* TxRef.get(ref)).epoch, 2)
      assert.strictEqual(ref.version, 2)
    })
  )

  it.effect(
    "wakes all waiting transactions; a transaction waits again if the state does not satisfy its condition",
    () =>
      Effect.gen(function* () {
        const ref = make()
        const first = yield* Effect.forkChild(waitFor(ref, 1), { startImmediately: true })
        const second = yield* Effect.forkChild(waitFor(ref, 2), { startImmediately: true })
        assert.strictEqual(ref.pending.size, 2)
        yield* TxRef.set(ref, open(1))
        assert.strictEqual(yield* Fiber.join(first), 1)
        yield* TxRef.set(ref, open(2))
        assert.strictEqual(yield* Fiber.join(second), 2)
        assert.strictEqual(ref.pending.size, 0)
      })
  )

  it.effect("forgets a transaction that is interrupted while it waits", () =>
    Effect.gen(function* () {
      const ref = make()
      const waiting = yield* Effect.forkChild(waitFor(ref, 1), { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      assert.strictEqual(ref.pending.size, 0)
    })
  )

  it("can be piped", () => {
    assert.strictEqual(
      make().pipe(({ version }) => version),
      0
    )
  })
})
