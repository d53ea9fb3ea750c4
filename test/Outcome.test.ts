import { assert, it } from "@effect/vitest"
import { Duration } from "effect"
import { Outcome } from "effect-fuse"
import { expectedDuration } from "../src/core/millis.ts"

it("a success and an ignored call carry nothing but their names", () => {
  assert.deepStrictEqual(Outcome.success, { _tag: "Success" })
  assert.deepStrictEqual(Outcome.ignored, { _tag: "Ignored" })
})

it("a failure has weight 1 and no retryAfter by default", () => {
  const plain: Outcome.Failure = {
    _tag: "Failure",
    weight: 1,
    retryAfter: undefined,
    overload: undefined,
    detail: undefined,
    scope: "key",
    opens: false
  }
  assert.deepStrictEqual(Outcome.failure(), plain)
  assert.deepStrictEqual(Outcome.failure({}), plain)
  assert.deepStrictEqual(Outcome.failure({ weight: undefined, retryAfter: undefined }), plain)
})

it("a plain failure is made once, so that a failing dependency costs no garbage", () => {
  assert.strictEqual(Outcome.failure(), Outcome.failure())
})

it.each([0.25, 1, 3, 1e6, Number.MIN_VALUE])("a failure may weigh %d", (weight) => {
  assert.strictEqual(Outcome.failure({ weight }).weight, weight)
})

it.each([0, -0, -1, 1_000_000.01, 1e21, Number.NaN, Infinity, -Infinity])(
  "a weight of %d is refused by name",
  (weight) => {
    const message = `Outcome.failure: weight: expected a number above 0 and at most 1,000,000, got ${weight}`
    assert.throws(() => Outcome.failure({ weight }), RangeError, message)
  }
)

it.each(["3", true, [3], 3n])("a weight is a number, and not %o", (weight) => {
  assert.throws(
    () => Outcome.failure({ weight: weight as never }),
    RangeError,
    /^Outcome\.failure: weight: expected a number/
  )
})

it("an option that there is not is refused by name", () => {
  const wrong = { weight: 2, retryafter: "1 minute" }
  const message =
    "Outcome.failure: retryafter: unknown field (did you mean retryAfter?), expected one of weight, retryAfter, overload, detail, scope, opens"
  assert.throws(() => Outcome.failure(wrong), RangeError, message)
})

const hints: ReadonlyArray<readonly [Duration.Input, number]> = [
  [0, 0],
  [1500, 1500],
  ["1 minute", 60_000],
  [Duration.seconds(2), 2000],
  [{ seconds: 3 }, 3000],
  [5_000_000n, 5],
  [Duration.infinity, Infinity]
]

it.each(hints)("a hint of %o is kept", (retryAfter, millis) => {
  const failure = Outcome.failure({ retryAfter })
  assert.strictEqual(failure.weight, 1)
  assert.strictEqual(failure.retryAfter && Duration.toMillis(failure.retryAfter), millis)
})

it("a failure is about its key unless it says that it is about the name", () => {
  assert.strictEqual(Outcome.failure({ weight: 2 }).scope, "key")
  assert.strictEqual(Outcome.failure({ scope: "name" }).scope, "name")
  const message = 'Outcome.failure: scope: expected "key" or "name", got "tenant"'
  assert.throws(() => Outcome.failure({ scope: "tenant" as never }), RangeError, message)
})

it("a weight, a hint, overload and a detail go together", () => {
  assert.deepStrictEqual(Outcome.failure({ weight: 3, retryAfter: "1 minute", overload: true, detail: "429" }), {
    _tag: "Failure",
    weight: 3,
    retryAfter: Duration.minutes(1),
    overload: true,
    detail: "429",
    scope: "key",
    opens: false
  })
})

const noHints: ReadonlyArray<readonly [unknown, string]> = [
  [-1, "-1"],
  [Number.NaN, "NaN"],
  ["-1 seconds", '"-1 seconds"'],
  [-Infinity, "-Infinity"],
  ["soon", '"soon"'],
  ["", '""'],
  ["5", '"5"'],
  [[1], "[1]"],
  [{}, "{}"],
  [{ seconds: Number.NaN }, '{"seconds":null}'],
  [{ secs: 1 }, '{"secs":1}'],
  [Duration.seconds(-1), ""]
]

it.each([null, 5, "429"])("%o for its options is refused", (options) => {
  assert.throws(() => Outcome.failure(options as never), RangeError, "Outcome.failure: expected an object with weight")
})

it.each(noHints)("a hint of %o is refused by name", (retryAfter, said) => {
  assert.throws(
    () => Outcome.failure({ retryAfter: retryAfter as Duration.Input }),
    RangeError,
    `Outcome.failure: retryAfter: expected ${expectedDuration.zeroOrMore}, got ${said}`
  )
})
