import { assert, describe, it } from "@effect/vitest"
import { Window } from "effect-fuse/core"
import { calls, none, time } from "./support/windows.ts"

const succeed = (window: Window.Window, now: number, slow = false) => window.record(now, false, slow, 0)
const fail = (window: Window.Window, now: number, weight = 1, slow = false) => window.record(now, true, slow, weight)

describe("any window", () => {
  const both: ReadonlyArray<readonly [string, Window.Over]> = [
    ["over calls", calls(10)],
    ["over time", time(1000)]
  ]

  it.each(both)("%s, starts empty and has its span as a field", (_, over) => {
    const window = Window.make(over)
    assert.deepStrictEqual(window.over, over)
    assert.deepStrictEqual(window.counts(0), none)
    assert.deepStrictEqual(window.counts(1e12), none)
  })

  it.each(both)("%s, counts a slow failure as both slow and failed, and once as a call", (_, over) => {
    const window = Window.make(over)
    succeed(window, 0)
    succeed(window, 0, true)
    fail(window, 0)
    fail(window, 0, 1, true)
    assert.deepStrictEqual(window.counts(0), { calls: 4, failures: 2, slow: 2, weight: 2 })
  })

  it.each(both)("%s, adds up weights, fractional ones too", (_, over) => {
    const window = Window.make(over)
    fail(window, 0, 0.25)
    succeed(window, 0)
    fail(window, 0)
    fail(window, 0, 3.5)
    assert.deepStrictEqual(window.counts(0), { calls: 4, failures: 3, slow: 0, weight: 4.75 })
  })

  it.each(both)("%s, holds nothing after a clear and counts on from there", (_, over) => {
    const window = Window.make(over)
    for (let i = 0; i < 7; i++) fail(window, 500 + i, 2.5, true)
    window.clear()
    assert.deepStrictEqual(window.counts(510), none)
    fail(window, 520)
    assert.deepStrictEqual(window.counts(520), { calls: 1, failures: 1, slow: 0, weight: 1 })
  })

  it.each(both)("%s, hands out a copy that later calls do not change", (_, over) => {
    const window = Window.make(over)
    fail(window, 0)
    const before = window.counts(0)
    fail(window, 0)
    assert.strictEqual(window.counts(0).calls, 2)
    assert.strictEqual(before.calls, 1)
  })

  it.each(both)("%s, weighs exactly nothing when the last failure is gone, whatever fractions it saw", (_, over) => {
    const window = Window.make(over)
    const weights = [0.1, 0.7, 0.2]
    // Added up and taken away again one by one, these leave a little more or less than nothing.
    assert.notStrictEqual(
      weights.reduce((rest, weight) => rest - weight, 0.1 + 0.7 + 0.2),
      0
    )
    for (const [index, weight] of weights.entries()) fail(window, index * 100, weight)
    // Each drops out by itself, after ten more calls and after as many buckets.
    for (let i = 3; i < 13; i++) succeed(window, i * 100)
    assert.deepStrictEqual(window.counts(1200), { calls: 10, failures: 0, slow: 0, weight: 0 })
  })
})

describe("a window over calls", () => {
  it("forgets the oldest call, and only that, when one more comes", () => {
    const window = Window.make(calls(3))
    fail(window, 0, 5)
    succeed(window, 0, true)
    fail(window, 0, 0.5, true)
    assert.deepStrictEqual(window.counts(0), { calls: 3, failures: 2, slow: 2, weight: 5.5 })
    succeed(window, 0)
    assert.deepStrictEqual(window.counts(0), { calls: 3, failures: 1, slow: 2, weight: 0.5 })
    succeed(window, 0)
    assert.deepStrictEqual(window.counts(0), { calls: 3, failures: 1, slow: 1, weight: 0.5 })
    succeed(window, 0)
    assert.deepStrictEqual(window.counts(0), { calls: 3, failures: 0, slow: 0, weight: 0 })
  })

  it("of one call knows only the last", () => {
    const window = Window.make(calls(1))
    fail(window, 0, 2)
    assert.deepStrictEqual(window.counts(0), { calls: 1, failures: 1, slow: 0, weight: 2 })
    succeed(window, 0)
    assert.deepStrictEqual(window.counts(0), { calls: 1, failures: 0, slow: 0, weight: 0 })
  })

  it("subtracts the plain weights of the failures that came before the first weighted one", () => {
    const window = Window.make(calls(2))
    fail(window, 0)
    fail(window, 0, 4)
    assert.strictEqual(window.counts(0).weight, 5)
    fail(window, 0, 8)
    assert.strictEqual(window.counts(0).weight, 12)
    fail(window, 0)
    assert.strictEqual(window.counts(0).weight, 9)
  })

  it("takes no notice of the time", () => {
    const window = Window.make(calls(5))
    fail(window, 1e9)
    fail(window, 0)
    assert.strictEqual(window.counts(1e12).failures, 2)
  })
})

describe("a window over time", () => {
  it("sees a call made at the beginning of a bucket until the whole length is over, to the millisecond", () => {
    const window = Window.make(time(1000))
    fail(window, 0)
    assert.strictEqual(window.counts(999).failures, 1)
    assert.strictEqual(window.counts(999.999).failures, 1)
    assert.deepStrictEqual(window.counts(1000), none)
  })

  it("forgets a call made at the end of a bucket together with the bucket", () => {
    const window = Window.make(time(1000))
    fail(window, 99.999)
    fail(window, 100)
    assert.strictEqual(window.counts(999).failures, 2)
    assert.strictEqual(window.counts(1000).failures, 1)
    assert.strictEqual(window.counts(1099).failures, 1)
    assert.strictEqual(window.counts(1100).failures, 0)
  })

  it("forgets bucket by bucket, oldest first, with everything that was in it", () => {
    const window = Window.make(time(1000))
    for (let bucket = 0; bucket < 10; bucket++) fail(window, bucket * 100, 2 ** bucket, bucket % 2 === 0)
    for (let gone = 0; gone <= 10; gone++) {
      const left = 10 - gone
      assert.deepStrictEqual(window.counts(900 + gone * 100), {
        calls: left,
        failures: left,
        slow: Math.floor(left / 2),
        weight: 1024 - 2 ** gone
      })
    }
  })

  it.each([1000, 1001, 1100, 3_600_000, 1e12])("holds nothing after an idle gap of %d ms", (gap) => {
    const window = Window.make(time(1000))
    for (let i = 0; i < 20; i++) fail(window, 50 * i, 1.5, true)
    assert.deepStrictEqual(window.counts(950 + gap), none)
    succeed(window, 950 + gap)
    assert.deepStrictEqual(window.counts(950 + gap), { calls: 1, failures: 0, slow: 0, weight: 0 })
  })

  it("forgets in the middle of a gap without reads", () => {
    const window = Window.make(time(1000))
    fail(window, 0)
    fail(window, 500)
    succeed(window, 1400)
    assert.deepStrictEqual(window.counts(1400), { calls: 2, failures: 1, slow: 0, weight: 1 })
  })

  it("does not bring anything back when the clock goes back", () => {
    const window = Window.make(time(1000))
    fail(window, 0)
    assert.deepStrictEqual(window.counts(1000), none)
    assert.deepStrictEqual(window.counts(0), none)
  })

  it("loses nothing when the clock goes back, and keeps what comes then as long as what came last", () => {
    const window = Window.make(time(1000))
    fail(window, 5000)
    fail(window, 10)
    assert.strictEqual(window.counts(10).failures, 2)
    assert.strictEqual(window.counts(5999).failures, 2)
    assert.deepStrictEqual(window.counts(6000), none)
  })

  it.each([1, 7, 10, 999, 86_400_000])("of %d ms keeps calls for that long, wherever the clock stands", (millis) => {
    const window = Window.make(time(millis))
    const start = 1000 * millis
    fail(window, start)
    assert.strictEqual(window.counts(start + millis * 0.99).failures, 1)
    assert.strictEqual(window.counts(start + millis).failures, 0)
  })
})

describe("resize", () => {
  it("is the same window when nothing changes", () => {
    for (const over of [calls(3), time(1000)]) {
      const window = Window.make(over)
      assert.strictEqual(Window.resize(window, { ...over }, 0), window)
    }
  })

  it("to fewer calls keeps the newest that fit, each as it was", () => {
    const window = Window.make(calls(4))
    for (const weight of [1, 2, 4, 8, 16, 32]) fail(window, 0, weight, weight === 16)
    const smaller = Window.resize(window, calls(3), 0)
    assert.deepStrictEqual(smaller.over, calls(3))
    assert.deepStrictEqual(smaller.counts(0), { calls: 3, failures: 3, slow: 1, weight: 56 })
    succeed(smaller, 0)
    assert.strictEqual(smaller.counts(0).weight, 48)
  })

  it("to more calls keeps them all, and their order", () => {
    const window = Window.make(calls(2))
    fail(window, 0, 4)
    fail(window, 0, 2)
    fail(window, 0, 0.5, true)
    const larger = Window.resize(window, calls(3), 0)
    assert.deepStrictEqual(larger.counts(0), { calls: 2, failures: 2, slow: 1, weight: 2.5 })
    succeed(larger, 0)
    succeed(larger, 0)
    assert.deepStrictEqual(larger.counts(0), { calls: 3, failures: 1, slow: 1, weight: 0.5 })
  })

  it("to a longer time keeps every bucket, and each is forgotten at its own time", () => {
    const window = Window.make(time(1000))
    fail(window, 0, 1, true)
    fail(window, 900, 2.5)
    succeed(window, 950)
    const longer = Window.resize(window, time(2000), 950)
    assert.deepStrictEqual(longer.counts(950), { calls: 3, failures: 2, slow: 1, weight: 3.5 })
    assert.deepStrictEqual(longer.counts(1999), { calls: 3, failures: 2, slow: 1, weight: 3.5 })
    assert.deepStrictEqual(longer.counts(2000), { calls: 2, failures: 1, slow: 0, weight: 2.5 })
    assert.deepStrictEqual(longer.counts(2800), none)
  })

  it("to a shorter time keeps the buckets that are not too old", () => {
    const window = Window.make(time(1000))
    for (let bucket = 0; bucket < 10; bucket++) fail(window, bucket * 100, 2 ** bucket)
    const shorter = Window.resize(window, time(500), 900)
    // Half of the length is left: the buckets that began after 400.
    assert.deepStrictEqual(shorter.counts(900), { calls: 5, failures: 5, slow: 0, weight: 992 })
    assert.strictEqual(shorter.counts(1000).failures, 4)
    assert.deepStrictEqual(shorter.counts(1400), none)
  })

  it("to another time brings back nothing that was too old already", () => {
    const window = Window.make(time(1000))
    fail(window, 0)
    assert.deepStrictEqual(Window.resize(window, time(60_000), 1000).counts(1000), none)
  })

  it("starts empty between calls and times", () => {
    const overCalls = Window.make(calls(5))
    const overTime = Window.make(time(1000))
    fail(overCalls, 0)
    fail(overTime, 0)
    assert.deepStrictEqual(Window.resize(overCalls, time(1000), 0).counts(0), none)
    assert.deepStrictEqual(Window.resize(overTime, calls(5), 0).counts(0), none)
    assert.deepStrictEqual(Window.resize(overTime, calls(1000), 0).counts(0), none)
  })
})

it.each([
  [calls(5), calls(5), true],
  [calls(5), calls(6), false],
  [time(5), time(5), true],
  [time(5), time(6), false],
  [calls(5), time(5), false],
  [time(5), calls(5), false]
] as ReadonlyArray<readonly [Window.Over, Window.Over, boolean]>)("%o looks as far as %o: %s", (a, b, same) => {
  assert.strictEqual(Window.sameOver(a, b), same)
})
