import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import { listening } from "../src/connection/listening.ts"
import { capture, type Line } from "./support/verbs.ts"

const times = { quietMillis: 1_000, answerMillis: 100 }

/** A subscription, and whether it receives the announcements. */
const subscription = (hears: () => boolean, mayAnnounce = true) =>
  Effect.gen(function* () {
    const queue = yield* Queue.unbounded<string>()
    let announced = 0
    const announce = Effect.suspend(() => {
      if (!mayAnnounce) return Effect.fail("not allowed")
      announced++
      if (hears()) Queue.offerUnsafe(queue, "")
      return Effect.void
    })
    const audible = listening<string, string>("Redis", announce, () => "silent", times)
    const listen = Effect.forkChild(Effect.exit(Stream.runDrain(audible(Stream.fromQueue(queue)))))
    return { listen, queue, announced: () => announced }
  })

describe("a subscription", () => {
  it.effect("that receives messages of other processes sends no test message", () =>
    Effect.gen(function* () {
      const { announced, listen, queue } = yield* subscription(() => true)
      const fiber = yield* listen
      for (let i = 0; i < 100; i++) {
        yield* TestClock.adjust(500)
        yield* Queue.offer(queue, "news")
      }
      assert.strictEqual(announced(), 0)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("that is quiet is tested about once in the interval, and stays if it receives its own message", () =>
    Effect.gen(function* () {
      const { announced, listen } = yield* subscription(() => true)
      const fiber = yield* listen
      for (let i = 0; i < 100; i++) yield* TestClock.adjust(1_000)
      assert.isAtLeast(announced(), 45)
      assert.isAtMost(announced(), 100)
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("that misses two own announcements ends with an error, and one warning however often that happens", () =>
    Effect.gen(function* () {
      const lines: Array<Line> = []
      const { announced, listen } = yield* subscription(() => false)
      yield* capture(
        lines,
        Effect.gen(function* () {
          for (let i = 0; i < 3; i++) {
            const fiber = yield* listen
            for (let j = 0; j < 20 && fiber.pollUnsafe() === undefined; j++) yield* TestClock.adjust(1_000)
            assert.strictEqual(String(yield* yield* Fiber.join(fiber).pipe(Effect.map(Effect.flip))), "silent")
          }
        })
      )
      assert.strictEqual(announced(), 6)
      assert.deepStrictEqual(
        lines.map(({ level }) => level),
        ["Warn"]
      )
    })
  )

  it.effect("on a store that takes no announcements is left alone", () =>
    Effect.gen(function* () {
      const { listen } = yield* subscription(() => false, false)
      const fiber = yield* listen
      for (let i = 0; i < 100; i++) yield* TestClock.adjust(1_000)
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
    })
  )
})
