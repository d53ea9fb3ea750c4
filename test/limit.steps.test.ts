import { assert, describe, it } from "@effect/vitest"
import { AdaptiveLimit, type Ending, type LimitRules } from "../src/core/limit.ts"

const learning: LimitRules = { objectiveMillis: 0, max: Infinity }

describe("a success is late", () => {
  const made = (rules = learning) => new AdaptiveLimit(rules, () => 0.5)
  const succeeds = (limit: AdaptiveLimit, took: number, now: number) => limit.ended("Success", took, 0, 0, now)

  it("never, before the limit has learned a duration", () => {
    assert.strictEqual(made().target, Infinity)
  })

  it("above the objective, whatever the usual duration is", () => {
    const limit = made({ objectiveMillis: 300, max: Infinity })
    succeeds(limit, 40, 0)
    assert.strictEqual(limit.target, 300)
  })

  it("above half of the time that callers wait, and this time follows the timeouts slowly", () => {
    const limit = made()
    limit.ended("TimedOut", 1_000, 0, 0, 0)
    assert.strictEqual(limit.target, 500)
    limit.ended("TimedOut", 3_000, 0, 0, 0)
    assert.strictEqual(limit.target, (1_000 + 2_000 / 16) / 2)
  })

  for (const [what, succeed] of [
    ["by `ended`", succeeds],
    ["by `succeededAsUsual`", (limit: AdaptiveLimit, took: number, now: number) => limit.succeededAsUsual(took, now)]
  ] as const) {
    it(`above 5 times the usual duration: the limit learns it in small steps, once per 100 ms ${what}`, () => {
      const limit = made()
      succeed(limit, 40, 1_000)
      assert.strictEqual(limit.target, 5 * 40)
      succeed(limit, 4_000, 1_099)
      assert.strictEqual(limit.target, 5 * 40)
      succeed(limit, 4_000, 1_100)
      assert.strictEqual(limit.target, 5 * 40 * (33 / 32))
      succeed(limit, 1, 1_200)
      assert.strictEqual(limit.target, 5 * 40 * (33 / 32) * (31 / 32))
    })
  }

  it("above 1.5 times the duration of a lone call, if even lone calls have become slow", () => {
    const limit = made()
    succeeds(limit, 40, 0)
    limit.closed(1, 0, 0)
    succeeds(limit, 900, 0)
    assert.strictEqual(limit.target, 1.5 * 900)
    succeeds(limit, 800, 0)
    assert.strictEqual(limit.target, 1.5 * 800)
    succeeds(limit, 1_000, 0)
    assert.strictEqual(limit.target, 1.5 * (800 + 200 / 8))
  })
})

describe("a limit of 10 becomes", () => {
  it.each<readonly [what: string, ending: Ending, took: number, inFlight: number, value: number]>([
    ["10.3 after a success while at least half of it is in use", "Success", 40, 5, 10 + 1 / 4 + 1 / 20],
    ["10 after a success while less than half of it is in use", "Success", 40, 4, 10],
    ["9.5 after an overload", "Refused", 40, 5, 9.5],
    ["9.75 after an overload while 20 calls are in flight", "Refused", 40, 20, 9.75],
    ["9.5 after an overload that took longer than usual", "Refused", 400, 5, 9.5],
    ["9.95 after an overload that took a tenth of the usual duration", "Refused", 4, 5, 9.95],
    ["9.5 after a late success", "Success", 900, 5, 9.5],
    ["10 after a plain failure", "Neutral", 900, 5, 10]
  ])("%s", (_, ending, took, inFlight, value) => {
    const limit = new AdaptiveLimit(learning, () => 0.5)
    limit.ended("Success", 40, 1, 0, 0)
    limit.closed(10, 0, 0)
    limit.ended(ending, took, inFlight, 0, 0)
    assert.closeTo(limit.value, value, 1e-9)
  })
})

it("a call from after a close makes no room for calls from before the close when it ends", () => {
  const limit = new AdaptiveLimit(learning, () => 0.5)
  limit.closed(1, 3, 1_000)
  assert.isTrue(limit.admits(3, 1_010))
  limit.began(1_010)
  assert.isFalse(limit.admits(4, 1_010))
  limit.left(1_010)
  assert.isTrue(limit.admits(3, 1_010))
  limit.left(1_000)
  assert.deepStrictEqual([limit.admits(2, 1_010), limit.admits(3, 1_010)], [true, false])
})

it("calls from before a close do not count as calls in flight when the limit decreases", () => {
  const limit = new AdaptiveLimit(learning, () => 0.5)
  limit.closed(10, 20, 0)
  limit.ended("Refused", 40, 25, 0, 0)
  assert.strictEqual(limit.value, 9.5)
})

it("the duration of lone calls does not count after the limit ends and a call is as fast as usual", () => {
  const limit = new AdaptiveLimit(learning, () => 0.5)
  limit.ended("Success", 40, 0, 0, 0)
  limit.closed(1, 0, 0)
  limit.ended("Success", 900, 0, 0, 0)
  limit.ended("Success", 900, 0, 0, 20_000)
  assert.deepStrictEqual([limit.holds, limit.target], [false, 1.5 * 900])
  limit.ended("Success", 40, 0, 0, 30_000)
  assert.strictEqual(limit.target, 5 * 40 * (31 / 32))
})

describe("a limit", () => {
  const closed = (probes: number) => {
    const limit = new AdaptiveLimit(learning, () => 0.5)
    limit.ended("Success", 40, 0, 0, 0)
    limit.closed(probes, 0, 0)
    return limit
  }

  it("of 1 pauses after an overload for a share of the time since the last success, and then has room", () => {
    const limit = closed(1)
    limit.ended("Refused", 40, 0, 0, 2_000)
    assert.strictEqual(limit.restMillis(2_000), 2_000 * (1 / 4 + 3 / 8))
    assert.deepStrictEqual([limit.room(0, 2_000), limit.room(0, 3_250)], [0, 1])
  })
  it("of 1 does not pause after a late success", () => {
    const limit = closed(1)
    limit.ended("Success", 900, 0, 0, 2_000)
    assert.strictEqual(limit.restMillis(2_000), 0)
  })
  it("above 1 does not pause after an overload", () => {
    const limit = closed(10)
    limit.ended("Refused", 40, 0, 0, 2_000)
    assert.strictEqual(limit.restMillis(2_000), 0)
  })

  it("that begins pauses at most for the time since the last success, even if the dependency asked for a longer wait before", () => {
    const limit = new AdaptiveLimit(learning, () => 0.5)
    limit.ended("Success", 40, 0, 0, 0)
    for (let i = 0; i < 5; i++) limit.ended("Refused", 40, 100, 60_000, 100_000)
    limit.ended("Success", 40, 100, 0, 100_000)
    assert.isFalse(limit.holds)
    limit.ended("Refused", 40, 0, 0, 101_000)
    assert.deepStrictEqual([limit.holds, limit.restMillis(101_000)], [true, 1_000])
  })

  it.each<readonly [what: string, max: number, inFlight: number, room: number]>([
    ["in addition to the calls from before a close", Infinity, 5, 8],
    ["up to `max`", 6, 5, 1],
    ["never below 0", 6, 7, 0]
  ])("has room for more calls, %s", (_, max, inFlight, room) => {
    const limit = new AdaptiveLimit({ objectiveMillis: 0, max }, () => 0.5)
    limit.closed(10, 3, 0)
    assert.strictEqual(limit.room(inFlight, 0), room)
  })
})

describe("`succeededAsUsual`", () => {
  it("is false and does not learn if an objective is set, or while the limit holds", () => {
    const strict = new AdaptiveLimit({ objectiveMillis: 300, max: Infinity }, () => 0.5)
    assert.isFalse(strict.succeededAsUsual(40, 0))
    const held = new AdaptiveLimit(learning, () => 0.5)
    held.closed(10, 0, 0)
    assert.isFalse(held.succeededAsUsual(40, 0))
    assert.strictEqual(held.target, Infinity)
  })

  it("cancels one earlier bad outcome, but no later bad outcome", () => {
    const limit = new AdaptiveLimit(learning, () => 0.5)
    const refused = (n: number) => {
      for (let i = 0; i < n; i++) limit.ended("Refused", 40, 0, 0, 0)
    }
    assert.isTrue(limit.succeededAsUsual(40, 0))
    refused(4)
    assert.isTrue(limit.succeededAsUsual(40, 0))
    refused(1)
    assert.isFalse(limit.holds)
    refused(1)
    assert.isTrue(limit.holds)
  })
})
