import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Duration, Effect, Schema } from "effect"
import { BreakerStore, CircuitBreaker, CircuitOpen } from "effect-fuse"
import { isRejection, Rejection } from "../src/shapes/rejections.ts"
import { plain } from "./support/rejections.ts"
import { quick, reject, scenario } from "./support/verbs.ts"

const codec = Schema.toCodecJson(CircuitOpen.CircuitOpen)

const make = (fields: Partial<CircuitOpen.Fields> = {}) => CircuitOpen.make({ ...plain, ...fields })

const build = ({ scope = "local", ...fields }: CircuitOpen.Fields) => new CircuitOpen.CircuitOpen({ ...fields, scope })

/** One that has every field. */
const full = make({
  downSince: 1_700_000_000_000,
  key: "a/b",
  scope: "fleet",
  reason: "Dependency",
  dependency: "db",
  detail: "5 in a row"
})

const fieldsOf = (error: CircuitOpen.CircuitOpen) => Object.fromEntries(Object.entries(error))

/** Any text, and often one that breaks a line. */
const text = Schema.Union([Schema.String, Schema.Literals(["", "\n", "a\r\nb", "\u0085", "\u2028", "\u2029x"])])
const finite = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e12 }))

const fields: Arbitrary.Arbitrary<CircuitOpen.Fields> = Arbitrary.map(
  Arbitrary.schema(
    Schema.Struct({
      circuit: text,
      key: Schema.optionalKey(text),
      state: Schema.Literals(["Closed", "Open", "HalfOpen", "Isolated", "Disabled"]),
      scope: Schema.optionalKey(Schema.Literals(["local", "fleet"])),
      reason: CircuitOpen.Reason,
      retryAfter: Schema.NullOr(finite),
      openings: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 })),
      downSince: Schema.optionalKey(Schema.Literals([0, 1, 1_700_000_000_000])),
      dependency: Schema.optionalKey(text),
      detail: Schema.optionalKey(text)
    })
  ),
  ({ retryAfter, ...rest }) => ({
    ...rest,
    retryAfter: retryAfter === null ? Duration.infinity : Duration.millis(retryAfter)
  })
)

describe("the message", () => {
  it.each([
    [{}, 'Circuit "api" is open, retry after 3s'],
    [{ key: "a" }, 'Circuit "api" ["a"] is open, retry after 3s'],
    [{ key: "" }, 'Circuit "api" [""] is open, retry after 3s'],
    [{ detail: "5 in a row" }, 'Circuit "api" is open (5 in a row), retry after 3s'],
    [
      { reason: "Dependency", dependency: "db", detail: "not of db" },
      'Circuit "api" depends on "db", which lets no calls through, retry after 3s'
    ],
    [{ state: "Isolated", reason: "Isolated", retryAfter: Duration.infinity }, 'Circuit "api" is isolated'],
    [
      { state: "HalfOpen", reason: "ProbesBusy", retryAfter: Duration.zero },
      'Circuit "api" is being probed, retry after 0'
    ],
    [{ reason: "ProbeTimedOut", detail: "too slow" }, 'Circuit "api" gave up a probe (too slow), retry after 3s'],
    [
      { state: "Closed", reason: "Ramping" },
      'Circuit "api" has just closed and lets only a share of calls through, retry after 3s'
    ],
    [{ retryAfter: Duration.millis(90_500) }, 'Circuit "api" is open, retry after 1m 30s 500ms']
  ] as ReadonlyArray<[Partial<CircuitOpen.Fields>, string]>)("of %o is %s", (given, message) => {
    const error = make(given)
    assert.strictEqual(error.message, message)
    assert.strictEqual(String(error), `CircuitOpen: ${message}`)
    assert.strictEqual(build({ ...plain, ...given }).message, message)
  })

  it.each(["\n", "\r", "\u0085", "\u2028", "\u2029", "\u001b[31m", "\u0000"])(
    "keeps what comes from outside on one line, without colours: %j",
    (char) => {
      const outside = `a${char}b"`
      const error = make({ circuit: outside, key: outside, detail: outside })
      assert.notMatch(error.message, /[\p{Cc}\u2028\u2029]/u)
      assert.notMatch(make({ reason: "Dependency", dependency: outside }).message, /[\p{Cc}\u2028\u2029]/u)
      assert.notMatch(build({ ...plain, detail: outside, key: outside }).message, /[\p{Cc}\u2028\u2029]/u)
      // What it replaces it still shows: a before it and b behind it.
      assert.match(error.message, / \(a.+b"\), retry after 3s$/)
      assert.strictEqual(error.detail, outside)
    }
  )

  it.prop("never breaks a line, whatever the fields", [fields], ([given]) => {
    assert.strictEqual(CircuitOpen.make(given).message.split(/[\n\v\f\r\u0085\u2028\u2029]/u).length, 1)
  })

  scenario("of a rejection is one line without control characters, whatever its key", quick, function* () {
    const key = "a\n\u009b31m\u2028\u202e"
    yield* CircuitBreaker.isolate("api", { key, reason: "b\n\u001b[31m" })
    assert.notMatch((yield* reject({ key })).message, /[\p{Cc}\p{Cf}\u2028\u2029]/u)
  })
})

describe("the error", () => {
  it("is an Error and a CircuitOpen, and only that is", () => {
    for (const error of [make(), full, build(plain)]) {
      assert.instanceOf(error, Error)
      assert.instanceOf(error, CircuitOpen.CircuitOpen)
      assert.isTrue(CircuitOpen.isCircuitOpen(error))
      assert.strictEqual(error._tag, "CircuitOpen")
      assert.strictEqual(error.name, "CircuitOpen")
    }
    for (const other of [new Error("CircuitOpen"), { ...make() }, undefined, "CircuitOpen"]) {
      assert.isFalse(CircuitOpen.isCircuitOpen(other))
    }
  })

  it("is marked as a rejection, by which the policies around it know that no call was made", () => {
    for (const error of [make(), full, build(plain)]) {
      assert.isTrue(isRejection(error))
      assert.isTrue(error[Rejection])
    }
  })

  it("has the cause that it was given as any error has it: not enumerable, configurable and writable", () => {
    const cause = new Error("down")
    assert.deepStrictEqual(Object.getOwnPropertyDescriptor(make({ cause }), "cause"), {
      value: cause,
      enumerable: false,
      configurable: true,
      writable: true
    })
    assert.isFalse("cause" in make())
  })

  it("is not a value that throws when its class is read", () => {
    const hostile = new Proxy({}, { getPrototypeOf: () => assert.fail("no class") })
    assert.isFalse(CircuitOpen.isCircuitOpen(hostile))
  })

  it("captures no stack frames, and lets other errors go on capturing theirs", () => {
    const limit = Error.stackTraceLimit
    assert.strictEqual(make().stack?.includes("\n    at "), false)
    assert.strictEqual(Error.stackTraceLimit, limit)
    assert.include(new Error("other").stack, "\n    at ")
  })

  it.effect("captures no stack frames when a circuit rejects a call", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.open("api")
      const error = yield* Effect.flip(CircuitBreaker.protect(Effect.void, "api"))
      assert.strictEqual(error.stack?.includes("\n    at "), false)
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  it.effect("is caught by its tag, and can be yielded", () =>
    Effect.gen(function* () {
      const caught = yield* Effect.catchTag(Effect.fail(full), "CircuitOpen", (error) =>
        Effect.succeed(error.dependency)
      )
      assert.strictEqual(caught, "db")
      const other = Effect.fail({ _tag: "Other" } as const) as Effect.Effect<
        never,
        CircuitOpen.CircuitOpen | { _tag: "Other" }
      >
      assert.deepStrictEqual(yield* Effect.flip(Effect.catchTag(other, "CircuitOpen", () => Effect.void)), {
        _tag: "Other"
      })
      const failing = Effect.gen(function* () {
        return yield* make()
      })
      assert.strictEqual((yield* Effect.flip(failing)).circuit, "api")
    })
  )

  it("has the fields it was given, scope `local` by default, and no others", () => {
    assert.deepStrictEqual(fieldsOf(make()), { _tag: "CircuitOpen", ...plain, scope: "local" })
    assert.deepStrictEqual(
      fieldsOf(make({ key: undefined, dependency: undefined, detail: undefined })),
      fieldsOf(make())
    )
    assert.sameMembers(Object.keys(full), [
      "_tag",
      ...Object.keys(CircuitOpen.CircuitOpen.fields).filter((key) => key !== "_tag")
    ])
  })

  it.prop("has the same shape from make and from new", [fields], ([given]) => {
    const made = CircuitOpen.make(given)
    const built = build(given)
    assert.deepStrictEqual(fieldsOf(made), fieldsOf(built))
    assert.deepStrictEqual(Object.keys(made), Object.keys(built))
    assert.strictEqual(made.message, built.message)
    assert.strictEqual(made.name, built.name)
    assert.strictEqual(Object.getPrototypeOf(made), Object.getPrototypeOf(built))
    assert.strictEqual(JSON.stringify(made), JSON.stringify(built))
    assert.deepStrictEqual(Schema.encodeSync(codec)(made), Schema.encodeSync(codec)(built))
  })
})

describe("the schema", () => {
  it("writes milliseconds, and null for what has no end", () => {
    const encode = Schema.encodeSync(CircuitOpen.CircuitOpen)
    assert.deepStrictEqual(encode(full), {
      _tag: "CircuitOpen",
      circuit: "api",
      key: "a/b",
      state: "Open",
      scope: "fleet",
      reason: "Dependency",
      retryAfter: 3_000,
      openings: 1,
      downSince: 1_700_000_000_000,
      dependency: "db",
      detail: "5 in a row"
    })
    assert.strictEqual(encode(make({ retryAfter: Duration.infinity })).retryAfter, null)
  })

  it.each(["CircuitOpen", "codec for JSON"])("brings back what went through JSON as text: %s", (which) => {
    const schema = which === "CircuitOpen" ? CircuitOpen.CircuitOpen : codec
    for (const error of [
      make(),
      full,
      make({ retryAfter: Duration.infinity }),
      make({ retryAfter: Duration.millis(0.25) })
    ]) {
      const wire = JSON.stringify(Schema.encodeSync(schema as typeof CircuitOpen.CircuitOpen)(error))
      const back = Schema.decodeUnknownSync(schema as typeof CircuitOpen.CircuitOpen)(JSON.parse(wire))
      assert.instanceOf(back, CircuitOpen.CircuitOpen)
      assert.deepStrictEqual(fieldsOf(back), fieldsOf(error))
      assert.strictEqual(String(back), String(error))
    }
  })

  it.prop("loses nothing through JSON, whatever the fields", [fields], ([given]) => {
    const error = CircuitOpen.make(given)
    const wire = JSON.stringify(Schema.encodeSync(CircuitOpen.CircuitOpen)(error))
    const back = Schema.decodeUnknownSync(CircuitOpen.CircuitOpen)(JSON.parse(wire))
    assert.isTrue(Duration.equals(back.retryAfter, given.retryAfter))
    // Equal durations may be written in different units within.
    const { retryAfter: _, ...rest } = fieldsOf(error)
    assert.deepStrictEqual({ ...fieldsOf(back), retryAfter: undefined }, { ...rest, retryAfter: undefined })
    assert.strictEqual(back.message, error.message)
    assert.strictEqual(JSON.stringify(Schema.encodeSync(CircuitOpen.CircuitOpen)(back)), wire)
  })

  it.each([
    [{ state: "Ajar" }, "state"],
    [{ reason: "Mood" }, "reason"],
    [{ retryAfter: "soon" }, "retryAfter"],
    [{ circuit: 1 }, "circuit"],
    [{ scope: undefined }, "scope"],
    [{ _tag: "Other" }, "_tag"]
  ])("refuses %o from outside", (wrong, field) => {
    const wire = { ...Schema.encodeSync(CircuitOpen.CircuitOpen)(full), ...wrong }
    assert.throws(() => Schema.decodeUnknownSync(CircuitOpen.CircuitOpen)(wire), field)
  })
})
