import { assert, describe, it } from "@effect/vitest"
import { Duration, Result } from "effect"
import * as fields from "../src/core/fields.ts"
import { toMillis } from "../src/core/millis.ts"
import { printable, show } from "../src/core/printable.ts"
import * as problem from "../src/shapes/problems.ts"

/** The decoded value, or its problems. */
const read = (field: unknown, input: unknown): unknown => {
  const result = problem.decodeFields({ it: field as fields.Field<unknown> }, { it: input }, "")
  return Result.isSuccess(result) ? result.success.it : result.failure.map(({ message, path }) => `${path}: ${message}`)
}

describe("a duration", () => {
  const table: ReadonlyArray<readonly [input: unknown, millis: number]> = [
    [0, 0],
    [1500, 1500],
    [-1, -1],
    [Infinity, Infinity],
    ["1 minute", 60_000],
    ["Infinity", Infinity],
    [5_000_000n, 5],
    [Duration.seconds(2), 2_000],
    [Duration.infinity, Infinity],
    [[1, 2], 1_000.000002],
    [{ weeks: 1 }, 604_800_000],
    [{ days: 1 }, 86_400_000],
    [{ hours: 1 }, 3_600_000],
    [{ minutes: 1 }, 60_000],
    [{ seconds: 1 }, 1_000],
    [{ milliseconds: 1 }, 1],
    [{ microseconds: 1 }, 0.001],
    [{ nanoseconds: 1 }, 0.000001],
    [{ minutes: 1, seconds: 30 }, 90_000],
    ["30s", 30_000],
    ["250ms", 250],
    ["10m", 600_000],
    ["2h", 7_200_000],
    ["7d", 604_800_000],
    ["1w", 604_800_000],
    ["1.5h", 5_400_000],
    ["1.25h", 4_500_000],
    ["1.1h", 3_960_000],
    ["1h30m", 5_400_000],
    ["1h 30m", 5_400_000],
    ["30 s", 30_000],
    [" 30s ", 30_000],
    ["30seconds", 30_000],
    ["0s", 0],
    ["-5 seconds", -5_000]
  ]
  it.each(table)("of %o is %d milliseconds", (input, millis) => {
    assert.strictEqual(toMillis(input), millis)
  })

  // `Duration` itself reads some of these as a duration of 0.
  it.each(
    [
      ...["30 sec", "30S", "-30s", "30s+", "s", "1..5s", "30m soon", "1e3s", "5 5s", "30ms30", "thirty s", "30µs"],
      ...[undefined, null, true, Number.NaN, "", "5", "soon", Symbol("1 second"), () => 1_000, new Date(5), new Map()],
      ...[{}, { second: 3 }, { seconds: 3, second: 3 }, { seconds: "3" }, { seconds: Number.NaN }],
      ...[
        { minutes: 1, seconds: Number.NaN },
        { minutes: 1, seconds: null }
      ],
      ...[[], [1], [1, 2, 3], ["1", 2], [1, "2"], [Number.NaN, 1], [1, Number.NaN]]
    ].map((input) => [input] as const)
  )("is not %o", (input) => {
    assert.isUndefined(toMillis(input))
  })
})

describe("a field", () => {
  const yes = () => true
  const example = 'such as "30s" or "30 seconds"'
  const table: ReadonlyArray<
    readonly [name: string, field: unknown, expected: string, good: ReadonlyArray<unknown>, bad: ReadonlyArray<unknown>]
  > = [
    ["a count", fields.count, "a whole number of 1 or more", [1, 2 ** 53 - 1], [0, 1.5, 2 ** 53, -1, "1", null]],
    ["a count or zero", fields.countOrZero, "a whole number of 0 or more", [0, 2 ** 53 - 1], [0.5, 2 ** 53, -1, "0"]],
    ["a share", fields.share, "a number above 0 and at most 1", [Number.MIN_VALUE, 1], [0, 1.001, Number.NaN, "1"]],
    ["a share or zero", fields.shareOrZero, "a number from 0 to 1", [0, 1], [-0.001, 1.001, Number.NaN, "0"]],
    ["a factor", fields.factor, "a finite number of 1 or more", [1, 1.5, 1e300], [0.999, Infinity, Number.NaN, "2"]],
    ["a flag", fields.flag, "true or false", [true, false], [0, "true", null]],
    ["a text", fields.text, "a text that is not empty", ["a", " "], ["", 5, null]],
    ["a text or none", fields.textOrEmpty, "a text", ["", "a"], [5, null]],
    ["a text of a form", fields.textLike("a letter", /^[a-z]$/), "a letter", ["a"], ["ab", "", 5, ["a"]]],
    ["a function", fields.functionField, "a function", [yes, Date], [{}, "yes"]],
    ["one word", fields.word("a"), '"a"', ["a"], ["b", "", 1]],
    ["one of two words", fields.word("a", "b"), '"a" or "b"', ["a", "b"], ["c", "a, b"]],
    ["one of three words", fields.word("a", "b", "c"), '"a", "b" or "c"', ["a", "b", "c"], ["d", null]],
    ["a duration that lasts", fields.positiveMillis, `a duration above 0 ${example}`, [0.5, 1], [0, -1, Infinity, "x"]],
    ["an endless duration", fields.endlessMillis, `a duration above 0 ${example}`, [0.5, Infinity], [0, -1, "x"]],
    [
      "a concurrency",
      fields.concurrency,
      'a whole number of 1 or more, or "unbounded"',
      [1, "unbounded"],
      [0, 1.5, "1", "", null]
    ],
    ["checked elsewhere", fields.anything, "", [0, "", null, {}], []],
    ["any duration", fields.anyMillis, `a duration of 0 or more ${example}`, [0, 0.5], [-1, Infinity, "x", {}]]
  ]
  const good = table.flatMap(([name, field, , inputs]) => inputs.map((input) => [name, input, field] as const))
  const bad = table.flatMap(([name, field, expected, , inputs]) =>
    inputs.map((input) => [name, input, field, expected] as const)
  )
  it.each(good)("that is %s accepts %o", (_, input, field) => {
    assert.strictEqual(read(field, input), input)
  })
  it.each(bad)("that is %s rejects %o and names what it expects", (_, input, field, expected) => {
    assert.deepStrictEqual(read(field, input), [`it: expected ${expected}, got ${show(input)}`])
  })

  it("that is a list can require a number of items", () => {
    const field = fields.listOf(fields.count, 2)
    assert.deepStrictEqual(read(field, [1, 2]), [1, 2])
    assert.deepStrictEqual(read(field, [1]), ["it: expected a list of 2 or more, got [1]"])
    assert.deepStrictEqual(read(field, "ab"), ['it: expected a list of 2 or more, got "ab"'])
  })

  const required: ReadonlyArray<readonly [string, fields.Field<unknown>, unknown]> = [
    ["a count", fields.count, ["it: expected a whole number of 1 or more, got nothing"]],
    [
      "a count or false",
      fields.orFalse(fields.count),
      ["it: expected a whole number of 1 or more, got nothing (use false to turn it off)"]
    ],
    ["a list", fields.listOf(fields.count), ["it: expected a list, got nothing"]],
    ["an object", fields.struct({ a: fields.count }), ["it: expected an object with a, got nothing"]]
  ]
  it.each(required)("that is required cannot be left out: %s", (_, field, problems) => {
    assert.deepStrictEqual(read(field, undefined), problems)
  })

  it("that can be turned off says how, but the fields inside it do not", () => {
    const inside = { a: fields.count }
    assert.deepStrictEqual(
      [1, false].map((input) => read(fields.orFalse(fields.count), input)),
      [1, false]
    )
    assert.deepStrictEqual(read(fields.orFalse(fields.count), 0), [
      "it: expected a whole number of 1 or more, got 0 (use false to turn it off)"
    ])
    assert.deepStrictEqual(read(fields.orFalse(fields.struct(inside)), { a: 0 }), [
      "it.a: expected a whole number of 1 or more, got 0"
    ])
    assert.deepStrictEqual(read(fields.orFalse(fields.struct(inside)), 5), [
      "it: expected an object with a, got 5 (use false to turn it off)"
    ])
    const flagged = fields.structOrFlag({ a: fields.optional(fields.count) })
    assert.deepStrictEqual([read(flagged, true), read(flagged, false)], [{}, false])
    assert.deepStrictEqual(read(flagged, "2 seconds"), [
      'it: expected an object with a, got "2 seconds" (use true for the defaults, false to turn it off)'
    ])
    assert.deepStrictEqual(read(flagged, { a: 0 }), ["it.a: expected a whole number of 1 or more, got 0"])
  })

  it("that is required and checked elsewhere is passed on if it is left out", () => {
    assert.deepStrictEqual(problem.decodeFields({ it: fields.anything }, {}, ""), Result.succeed({ it: undefined }))
  })

  it("that is a duration is read as milliseconds", () => {
    assert.strictEqual(read(fields.positiveMillis, "2 seconds"), 2_000)
    assert.strictEqual(read(fields.anyMillis, Duration.zero), 0)
  })
})

describe("options", () => {
  const inner = fields.struct({ list: fields.listOf(fields.count) })
  const shape = { a: fields.count, b: fields.optional(fields.flag), c: fields.optional(inner) }
  const problems = (input: unknown, path = "") => problem.problemsIn(problem.decodeFields(shape, input, path))

  it("are decoded field by field", () => {
    assert.deepStrictEqual(
      problem.decodeFields(shape, { a: 1, c: { list: [2, 3] } }, ""),
      Result.succeed({ a: 1, c: { list: [2, 3] } })
    )
    assert.deepStrictEqual(problems({ a: 1 }), [])
    assert.deepStrictEqual(problem.problemsIn(undefined), [])
  })

  it.each([undefined, null, 5, "text", [], [1], () => ({ a: 1 })].map((input) => [input] as const))(
    "are an object, and not %o",
    (input) => {
      assert.deepStrictEqual(problems(input, "outer"), [
        {
          path: "outer",
          message: `expected an object with a, b, c, got ${input === undefined ? "nothing" : show(input)}`
        }
      ])
    }
  )

  it("report all problems at once, each with its path", () => {
    const input = { b: 1, c: { list: [1, 0, 2, -1] }, d: 1, e: 2 }
    const found = [
      { path: "d", message: "unknown field, expected one of a, b, c" },
      { path: "e", message: "unknown field, expected one of a, b, c" },
      { path: "a", message: "expected a whole number of 1 or more, got nothing" },
      { path: "b", message: "expected true or false, got 1" },
      { path: "c.list.1", message: "expected a whole number of 1 or more, got 0" },
      { path: "c.list.3", message: "expected a whole number of 1 or more, got -1" }
    ]
    assert.deepStrictEqual(problems(input), found)
    assert.deepStrictEqual(
      problems(input, "outer.0"),
      found.map(({ message, path }) => ({ path: `outer.0.${path}`, message }))
    )
  })

  it("are refused for an unknown field alone", () => {
    assert.deepStrictEqual(problems({ a: 1, B: true }), [
      { path: "B", message: "unknown field (did you mean b?), expected one of a, b, c" }
    ])
  })

  it("report what they got instead of a list or an object", () => {
    assert.deepStrictEqual(problems({ a: 1, c: 5 }), [{ path: "c", message: "expected an object with list, got 5" }])
    assert.deepStrictEqual(problems({ a: 1, c: { list: "x" } }), [
      { path: "c.list", message: 'expected a list, got "x"' }
    ])
  })

  const refused = (run: () => unknown): string => {
    try {
      run()
    } catch (error) {
      assert.instanceOf(error, RangeError)
      return error.message
    }
    return assert.fail("nothing was refused")
  }

  it("that are invalid throw a RangeError that names the operation and each field", () => {
    assert.strictEqual(
      refused(() => fields.decodeOptions("Pool.make", shape, { a: 0, b: 1, c: {} })),
      "Pool.make: a: expected a whole number of 1 or more, got 0; b: expected true or false, got 1; " +
        "c.list: expected a list, got nothing"
    )
    assert.strictEqual(
      refused(() => fields.decodeOptions("Pool.make", shape, null)),
      "Pool.make: expected an object with a, b, c, got null"
    )
    assert.deepStrictEqual(fields.decodeOptions("Pool.make", shape, { a: 1 }), { a: 1 })
  })

  it("can be undefined, which is an object without fields", () => {
    assert.deepStrictEqual(fields.decodeOptions("Pool.make", { b: fields.optional(fields.flag) }, undefined), {})
  })

  it("read known fields of their prototype, and ignore unknown fields there", () => {
    const options = Object.create({ a: 5, other: 1 })
    assert.deepStrictEqual(fields.decodeOptions("Pool.make", shape, options), { a: 5 })
  })

  it("distinguish a missing field from an invalid one", () => {
    assert.deepStrictEqual(fields.decodeOptions("Pool.make", shape, { a: 1, b: undefined }), { a: 1 })
    assert.deepStrictEqual(problems({ a: 1, b: null }), [{ path: "b", message: "expected true or false, got null" }])
  })

  it("that are nested in others are named with their path", () => {
    assert.strictEqual(
      refused(() => fields.decodeOptions("Pool.make", shape, { a: 1, B: 1 }, "part")),
      "Pool.make: part.B: unknown field (did you mean b?), expected one of a, b, c"
    )
  })

  it("that are invalid in combination throw a RangeError with the path and the reason", () => {
    const error = fields.refused("Pool.make", "max", "expected at least min (5 ms), got 3 ms")
    assert.instanceOf(error, RangeError)
    assert.strictEqual(error.message, "Pool.make: max: expected at least min (5 ms), got 3 ms")
  })

  it("report at most 20 problems, each bounded and on one line", () => {
    const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`x${i}\n${"y".repeat(5_000)}`, 1]))
    const message = refused(() => fields.decodeOptions("Pool.make", shape, { a: 1, ...many }))
    assert.isBelow(message.length, 10_000)
    assert.notInclude(message, "\n")
    assert.match(message, /; and 9980 more$/)
  })

  it("name up to 20 problems, and then the number of the others", () => {
    const some = (count: number) =>
      refused(() =>
        fields.decodeOptions(
          "Pool.make",
          { a: fields.optional(fields.listOf(fields.count)) },
          { a: Array(count).fill(0) }
        )
      )
    const lines = (count: number) =>
      Array.from({ length: count }, (_, i) => `a.${i}: expected a whole number of 1 or more, got 0`).join("; ")
    assert.strictEqual(some(20), `Pool.make: ${lines(20)}`)
    assert.strictEqual(some(21), `Pool.make: ${lines(20)}; and 1 more`)
  })

  it("name a path up to 200 characters", () => {
    const of = (path: string) => fields.describeProblems([{ path, message: "wrong" }])
    assert.strictEqual(of("x".repeat(200)), `${"x".repeat(200)}: wrong`)
    assert.strictEqual(of("x".repeat(201)), `${"x".repeat(200)}...: wrong`)
  })

  const similar: ReadonlyArray<readonly [name: string, known: ReadonlyArray<string>, meant: string | undefined]> = [
    ["kye", ["key"], "key"],
    ["kab", ["key"], undefined],
    ["kyb", ["key"], undefined],
    ["kbe", ["key"], undefined],
    ["moed", ["mode"], "mode"],
    ["xoed", ["mode"], undefined],
    ["omed", ["mode"], undefined],
    ["timeuot", ["timeout", "timeouts"], "timeout"],
    ["timeuot", ["timeouts", "timeout"], "timeout"],
    ["abxe", ["abcde"], undefined],
    ["isFailureabc", ["isFailure"], "isFailure"],
    ["isFailureFactorabcd", ["isFailureFactor"], undefined]
  ]
  it.each(similar)("%s, of %j, is taken to mean %s", (name, known, meant) => {
    const all = Object.fromEntries(known.map((one) => [one, fields.optional(fields.anything)]))
    const [found] = problem.problemsIn(problem.decodeFields(all, { [name]: 1 }, ""))
    assert.strictEqual(/did you mean (\w+)\?/.exec(String(found?.message))?.[1], meant)
  })

  it.each([
    ["isFailur", "isFailure"],
    ["isfailure", "isFailure"],
    ["coolDown", "cooldown"],
    ["maxCooldwon", "maxCooldown"],
    ["cooldwn", "cooldown"],
    ["ky", "key"],
    ["timeouts", "timeout"],
    ["retries", undefined],
    ["name", undefined],
    ["x", undefined],
    ["", undefined],
    ["x".repeat(10_000), undefined]
  ])("%s is taken to mean %s", (name, meant) => {
    const known = { key: fields.anything, isFailure: fields.anything, cooldown: fields.anything }
    const more = { maxCooldown: fields.anything, timeout: fields.anything, retry: fields.anything }
    const [found] = problem.problemsIn(problem.decodeFields({ ...known, ...more }, { [name]: 1 }, ""))
    assert.strictEqual(/did you mean (\w+)\?/.exec(String(found?.message))?.[1], meant)
  })
})

describe("an argument", () => {
  const read = (field: fields.Field<unknown>, value: unknown) => fields.decodeArgument("Pool.get", "name", field, value)

  it("is decoded like a field", () => {
    assert.strictEqual(read(fields.text, "a"), "a")
    assert.strictEqual(read(fields.positiveMillis, "2s"), 2_000)
    assert.isUndefined(read(fields.optional(fields.text), undefined))
  })

  it.each([
    [fields.text, "", 'Pool.get: name: expected a text that is not empty, got ""'],
    [fields.text, undefined, "Pool.get: name: expected a text that is not empty, got nothing"],
    [fields.optional(fields.text), null, "Pool.get: name: expected a text that is not empty, got null"]
  ] as const)("that is invalid is named with its operation", (field, value, message) => {
    assert.throws(() => read(field, value), RangeError, message)
  })
})

describe("a list", () => {
  const decode = (input: unknown, index: number) =>
    typeof input === "number"
      ? Result.succeed(input * 2)
      : problem.wrong(fields.at("trips", index), "expected a number")

  it("is decoded item by item", () => {
    assert.deepStrictEqual(problem.decodeAll([1, 2], decode), Result.succeed([2, 4]))
    assert.deepStrictEqual(problem.decodeAll([], decode), Result.succeed([]))
  })

  it("reports the problems of all items, and fails if one item is invalid", () => {
    assert.deepStrictEqual(
      problem.decodeAll([1, "2", 3, null], decode),
      Result.fail([
        { path: "trips.1", message: "expected a number" },
        { path: "trips.3", message: "expected a number" }
      ])
    )
  })
})

it("problems are described one per line, each with its path if it has one", () => {
  assert.strictEqual(
    fields.describeProblems([
      { path: "", message: "expected an object" },
      { path: "a.0", message: "expected a number" }
    ]),
    "expected an object\na.0: expected a number"
  )
})

describe("a value in the message of an error", () => {
  const cyclic: Record<string, unknown> = {}
  cyclic["self"] = cyclic
  const broken = { toJSON: () => broken.toString(), toString: (): string => assert.fail("it cannot be written") }
  const table: ReadonlyArray<readonly [what: string, value: unknown, text: string]> = [
    ["a number", 1.5, "1.5"],
    ["a number that JSON lacks", Number.NaN, "NaN"],
    ["an infinite number", -Infinity, "-Infinity"],
    ["a bigint", 5n, "5n"],
    ["a function", () => 1, "a function"],
    ["a text", "a", '"a"'],
    ["true", true, "true"],
    ["undefined", undefined, "undefined"],
    ["null", null, "null"],
    ["a symbol", Symbol("a"), "Symbol(a)"],
    ["an object", { a: [1] }, '{"a":[1]}'],
    ["a cyclic object", cyclic, "[object Object]"],
    ["an object with a bigint inside", { a: 1n }, "[object Object]"],
    ["an object that cannot be converted to text", broken, "[object Object]"],
    ["a text with line separators", "a\u0085b\u2028\u2029", '"a\\u0085b\\u2028\\u2029"'],
    ["a text of the maximum length", "x".repeat(118), `"${"x".repeat(118)}"`],
    ["a text that is too long", "x".repeat(119), `"${"x".repeat(119)}...`]
  ]
  it.each(table)("that is %s", (_, value, text) => {
    assert.strictEqual(show(value), text)
  })

  it("contains no character that hides, colours or ends a line", () => {
    assert.strictEqual(
      printable("a\n\0\u001b[31m\u007f\u202e\u200b\u{e0001}é日🧯"),
      "a\\u000a\\u0000\\u001b[31m\\u007f\\u202e\\u200b\\ue0001é日🧯"
    )
  })
})
