/** Fails, and answers how many seconds the opening lasts. */

import { assert, describe } from "@effect/vitest"
import { Duration, Effect, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerPolicy, CircuitBreaker } from "effect-fuse"
import { capture, expectState, fail, inspect, type Line, pass, quick, scenario } from "./support/verbs.ts"

/** Fails, and answers how many seconds the opening lasts. */
const opensFor = Effect.gen(function* () {
  yield* fail()
  yield* expectState("Open")
  return Duration.toSeconds((yield* inspect()).retryAfter)
})

const cooldownOver = Effect.gen(function* () {
  yield* TestClock.adjust((yield* inspect()).retryAfter)
})

describe("The n-th opening in a row lasts the n-th delay of the cooldown", () => {
  const cases: ReadonlyArray<
    readonly [what: string, cooldown: BreakerPolicy.Input["cooldown"], seconds: ReadonlyArray<number>]
  > = [
    ["a duration", "3 seconds", [3, 3, 3]],
    ["exponential, capped by maxCooldown", Schedule.exponential("1 second"), [1, 2, 4, 8, 16, 20, 20]],
    [
      "one that ends: its last delay holds",
      Schedule.max([Schedule.exponential("1 second"), Schedule.recurs(3)]),
      [1, 2, 4, 4, 4]
    ],
    ["exponential as data", { exponential: "1 second", factor: 3 }, [1, 3, 9, 20]],
    ["fibonacci", Schedule.fibonacci("1 second"), [1, 1, 2, 3, 5]],
    [
      "one delay after another",
      Schedule.concat(Schedule.duration("2 seconds"), Schedule.spaced("5 seconds")),
      [2, 5, 5]
    ],
    [
      "one that counts the time spent open",
      Schedule.upTo(Schedule.exponential("1 second"), { duration: "6 seconds" }),
      [1, 2, 4, 4]
    ]
  ]
  for (const [what, cooldown, seconds] of cases) {
    scenario(what, { ...quick, cooldown, maxCooldown: "20 seconds" }, function* () {
      for (const expected of seconds) {
        assert.strictEqual(yield* opensFor, expected)
        yield* cooldownOver
      }
    })
  }

  const jittered = Schedule.jittered(Schedule.exponential("10 seconds"))
  scenario("jitter stays within its bounds", { ...quick, cooldown: jittered }, function* () {
    const lengths: Array<number> = []
    for (let i = 0; i < 50; i++) {
      lengths.push(yield* opensFor)
      yield* CircuitBreaker.reset("api")
    }
    assert.isTrue(
      lengths.every((seconds) => seconds >= 8 && seconds <= 12),
      String(lengths)
    )
    assert.isAbove(new Set(lengths).size, 1)
  })

  scenario(
    "the circuit takes one delay from the schedule without sleeping",
    { ...quick, cooldown: Schedule.spaced("1 hour"), maxCooldown: "2 hours" },
    function* () {
      assert.strictEqual(yield* opensFor, 3600)
      yield* TestClock.adjust("1 hour")
      yield* pass()
    }
  )

  const dying = Schedule.modifyDelay(Schedule.exponential("1 second"), () => Effect.die(new Error("broken")))
  scenario(
    "a schedule that dies opens the circuit for maxCooldown and logs an error",
    { ...quick, cooldown: dying },
    function* () {
      const lines: Array<Line> = []
      assert.strictEqual(yield* capture(lines, opensFor), 600)
      assert.deepStrictEqual(
        lines.map((line) => line.level),
        ["Error", "Warn"]
      )
    }
  )

  scenario("maxCooldown does not shorten a fixed cooldown", { ...quick, cooldown: "1 hour" }, function* () {
    assert.strictEqual(yield* opensFor, 3600)
  })
})

describe("A cooldown", () => {
  for (const jittered of [true, false]) {
    scenario(
      `${jittered ? "jittered varies the delays" : "without jitter each delay is the same"}`,
      { ...quick, cooldown: { exponential: "10 seconds", jittered } },
      function* () {
        const seconds: Array<number> = []
        for (let i = 0; i < 20; i++) {
          yield* fail()
          seconds.push(Duration.toSeconds((yield* inspect()).retryAfter))
          yield* CircuitBreaker.reset("api")
        }
        assert.strictEqual(new Set(seconds).size > 1, jittered)
        assert.isTrue(
          seconds.every((one) => Math.abs(one - 10) <= 2.001),
          String(seconds)
        )
      }
    )
  }

  const dyingForever = Schedule.modifyDelay(Schedule.forever, () => Effect.die(new Error("broken")))
  scenario(
    "a schedule that dies opens the circuit for the maxCooldown of its policy",
    { ...quick, cooldown: dyingForever, maxCooldown: "2 minutes" },
    function* () {
      const lines: Array<Line> = []
      yield* capture(lines, fail())
      assert.strictEqual(Duration.toMinutes((yield* inspect()).retryAfter), 2)
    }
  )

  const growing = { ...quick, cooldown: { exponential: "1 second", factor: 1e200 }, maxCooldown: "1 minute" } as const
  scenario("a cooldown that grows beyond the largest number stays at maxCooldown", growing, function* () {
    for (const expected of [1, 60, 60, 60]) {
      yield* fail()
      const { retryAfter } = yield* inspect()
      assert.strictEqual(Duration.toSeconds(retryAfter), expected)
      yield* TestClock.adjust(retryAfter)
    }
  })

  const broken = Schedule.modifyDelay(Schedule.exponential("1 second"), () => Effect.die(new Error("broken")))
  scenario(
    "the default maxCooldown is 10 minutes: a schedule that dies opens the circuit that long",
    { ...quick, cooldown: broken },
    function* () {
      const lines: Array<Line> = []
      yield* capture(lines, fail())
      assert.isTrue(lines.some(({ level }) => level === "Error"))
      assert.strictEqual(Duration.toMinutes((yield* inspect()).retryAfter), 10)
    }
  )
})
