import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { Circuit, Fleet } from "effect-fuse/core"
import { circuitId, fromBody, fromCircuitId, type Provenance, toBody } from "../src/store/codec.ts"
import { pick } from "./support/garbage.ts"

const runs = (seed: string) => ({ arbitrary: { runs: 1_000, size: 40, seed } })

// ---- Names --------------------------------------------------------------------------------------------------------

// Characters with a meaning in an id, in a Redis key or in a pattern, and lone surrogates.
const pieces = pick(
  ...["a", "Z", "0", "9", ".", "_", "-", "~", "%", "/", "{", "}", "*", "?", "[", ":", " ", "\n", "\0", "\u007f"],
  ...["%0025", "%002f", "0041", "%0041", "%", "%00", "é", "e\u0301", "日", "\ud83d", "\udeaf", "\ud800", "\uffff", ".."]
)
const anyText = Arbitrary.map(Arbitrary.array(pieces, { maxLength: 6 }), (found) => found.join(""))
const names = Arbitrary.map(anyText, (text) => (text === "" ? "a" : text))
const keys = Arbitrary.map(Arbitrary.all({ has: pick(true, true, false), text: anyText }), ({ has, text }) =>
  has ? text : undefined
)

describe("the name of a circuit in a store", () => {
  it.each([
    ["api", undefined, "api"],
    ["api", "", "api/"],
    ["api", "tenant-7", "api/tenant-7"],
    ["a/b", "c/d", "a%002fb/c%002fd"],
    ["100%", undefined, "100%0025"],
    ["{api}", "*", "%007bapi%007d/%002a"],
    ["ü ~", "\0", "%00fc%0020%007e/%0000"],
    ["\u{1f9ef}", "\ud83e", "%d83e%ddef/%d83e"]
  ])("of %j with key %j is %s", (name, key, id) => {
    assert.strictEqual(circuitId(name, key), id)
    assert.deepStrictEqual(fromCircuitId(id), { name, key })
  })

  it.prop(
    "leads back to its name and key, whatever text they are",
    { name: names, key: keys },
    ({ key, name }) => {
      const id = circuitId(name, key)
      assert.deepStrictEqual(fromCircuitId(id), { name, key })
      assert.match(id, /^[A-Za-z0-9._%-]+(\/[A-Za-z0-9._%-]*)?$/, "no more characters than a store must take")
      assert.strictEqual(id.includes("/"), key !== undefined)
    },
    runs("ids")
  )

  it.prop(
    "leads back to any text that Schema thinks of, too",
    { name: Schema.NonEmptyString, key: Schema.UndefinedOr(Schema.String) },
    ({ key, name }) => assert.deepStrictEqual(fromCircuitId(circuitId(name, key)), { name, key }),
    runs("schema")
  )

  it("is another for every other name or key: all that are up to three of six characters long", () => {
    const characters = ["a", "A", "%", "/", "0", "\ud800"]
    const longer = (texts: ReadonlyArray<string>) => texts.flatMap((text) => characters.map((one) => text + one))
    const one = longer([""])
    const two = longer(one)
    const three = longer(two)
    const all = ["", ...one, ...two, ...three]
    const ids = new Set<string>()
    for (const name of all) for (const key of [undefined, ...all]) ids.add(circuitId(name, key))
    assert.strictEqual(ids.size, all.length * (all.length + 1))
  })

  it.each([
    ["nothing", ""],
    ["a key without a name", "/key"],
    ["two keys", "a/b/c"],
    ["a character that would have been written otherwise", "a b"],
    ["an escape of what needs none", "%0041"],
    ["an escape in capitals", "%00FC"],
    ["an escape that is cut", "a%00f"],
    ["a percent of its own", "100%"],
    ["a tilde", "process~1"],
    ["a brace", "{a}"],
    ["a letter of another script", "é"]
  ])("is not %s", (_, id) => {
    assert.strictEqual(fromCircuitId(id), undefined)
  })

  const idPieces = pick("a", "%", "/", "0", "00", "%0025", "%002f", "%0041", "%d800", "F", "f", "~", "{", "é", "\n", "")
  it.prop(
    "is read from no text but the one that it is written as",
    { pieces: Arbitrary.array(idPieces, { maxLength: 6 }) },
    ({ pieces }) => {
      const id = pieces.join("")
      const found = fromCircuitId(id)
      if (found !== undefined) assert.strictEqual(circuitId(found.name, found.key), id)
    },
    runs("garbage")
  )
})

// ---- Records ------------------------------------------------------------------------------------------------------

const texts = Arbitrary.map(Arbitrary.array(Arbitrary.all({ piece: pieces, quote: pick("", '"', "\\") })), (found) =>
  found.map(({ piece, quote }) => piece + quote).join("")
)
const textOrNot = Arbitrary.map(Arbitrary.all({ text: texts, has: pick(true, false) }), ({ has, text }) =>
  has ? text : undefined
)
const why = pick("Tripped", "ProbeFailed", "OpenedByHand", "Isolated", "Imported")
// Sums and differences of quarters are exact.
const millis = pick(0, 0.25, 1, 99, 1_000.5, 60_000, 86_400_000, 2 ** 40)
const counts = pick(0, 1, 2, 1_000, 2 ** 31, Number.MAX_SAFE_INTEGER)
const cause = Arbitrary.map(Arbitrary.all({ why, detail: texts, actor: textOrNot }), (found): Circuit.Cause => found)

const closed = Arbitrary.map(
  Arbitrary.all({ since: millis, openings: counts, openFor: millis, ramp: millis }),
  ({ ramp, ...more }): Circuit.Closed => ({
    _tag: "Closed",
    epoch: 0,
    ...more,
    rampUntil: ramp === 0 ? 0 : more.since + ramp
  })
)
const outage = Arbitrary.all({ since: millis, at: millis, openings: pick(1, 2, 2 ** 31) })
const open = Arbitrary.map(
  Arbitrary.all({ since: millis, lasts: millis, openings: counts, outage, cause }),
  ({ lasts, ...more }): Circuit.Open => ({ _tag: "Open", epoch: 0, ...more, until: more.since + lasts })
)
const halfOpen = Arbitrary.map(
  Arbitrary.all({
    since: millis,
    openings: counts,
    openFor: millis,
    outage,
    cause,
    successes: counts,
    failures: counts,
    ignored: counts,
    leases: Arbitrary.array(Arbitrary.all({ id: counts, until: millis }), { maxLength: 4 })
  }),
  (found): Circuit.HalfOpen => ({ _tag: "HalfOpen", epoch: 0, ...found, nextLease: 0 })
)
const forced = Arbitrary.map(
  Arbitrary.all({
    _tag: pick("Isolated", "Disabled"),
    since: millis,
    lasts: Arbitrary.schema(Schema.Literals([0, 1, 86_400_000, "for good"])),
    reason: texts,
    actor: textOrNot,
    closed,
    open,
    isOpen: Arbitrary.schema(Schema.Boolean),
    others: Arbitrary.array(
      Arbitrary.all({
        _tag: pick("Isolated", "Disabled"),
        since: millis,
        until: millis,
        reason: texts,
        actor: textOrNot
      }),
      { maxLength: 2 }
    )
  }),
  ({ closed, isOpen, lasts, open, ...more }): Circuit.Circuit => ({
    ...more,
    epoch: 0,
    until: lasts === "for good" ? Infinity : more.since + lasts,
    under: isOpen ? open : closed
  })
)
const circuits: Readonly<Record<Circuit.State, Arbitrary.Arbitrary<Circuit.Circuit>>> = {
  Closed: closed,
  Open: open,
  HalfOpen: halfOpen,
  Isolated: forced,
  Disabled: forced
}
const provenance = Arbitrary.map(
  Arbitrary.all({ why, detail: textOrNot, actor: textOrNot, policy: textOrNot, process: texts, at: millis }),
  (found): Provenance => found
)
const plain: Provenance = {
  why: "Tripped",
  detail: "it failed",
  actor: undefined,
  policy: "abc",
  process: "p~1",
  at: 1_700_000_000_000
}

describe("a record", () => {
  for (const [tag, circuit] of Object.entries(circuits)) {
    it.prop(
      `says on every clock what a circuit that is ${tag} was on the one it was written by`,
      { circuit, provenance, now: millis, at: millis },
      ({ provenance, at, circuit, now }) => {
        const body = toBody(circuit, now, provenance)
        // A ramp that ends as it is written is over on every clock.
        const relative = Fleet.shift(circuit, -now)
        assert.deepStrictEqual(fromBody(body, at), { circuit: Fleet.shift(relative, at), provenance })
        const back = fromBody(body, now)?.circuit
        if (circuit._tag !== "Closed" || circuit.rampUntil !== now)
          assert.deepStrictEqual(back, Fleet.shift(relative, now))
        assert.strictEqual(back?.since, circuit.since)
        if ("until" in circuit) assert.strictEqual(back !== undefined && "until" in back && back.until, circuit.until)
        assert.strictEqual(toBody(fromBody(body, at)?.circuit ?? Circuit.initial, at, provenance), body)
      },
      { arbitrary: { runs: 300, size: 20, seed: `record ${tag}` } }
    )
  }

  it.prop(
    "keeps none of the epochs and lease counters of the process that wrote it",
    { open, halfOpen, epoch: counts },
    ({ epoch, halfOpen, open }) => {
      const forced = { _tag: "Isolated", epoch, since: 0, until: 9, reason: "", actor: undefined, others: [] } as const
      for (const circuit of [
        { ...open, epoch },
        { ...halfOpen, epoch, nextLease: epoch },
        { ...forced, under: { ...open, epoch } }
      ]) {
        const found = fromBody(toBody(circuit, 0, plain), 0)?.circuit
        assert.strictEqual(found?.epoch, 0)
        if (found?._tag === "HalfOpen") assert.strictEqual(found.nextLease, 0)
        if (found?._tag === "Isolated") assert.strictEqual(found.under.epoch, 0)
      }
    },
    runs("epochs")
  )

  it("is read at any time of a clock, also one before the reader's began", () => {
    const body = toBody({ ...Circuit.initial, since: 500, openFor: 100, rampUntil: 900 }, 700, plain)
    const { circuit } = fromBody(body, -3_600_000) ?? {}
    assert.deepStrictEqual(circuit, {
      ...Circuit.initial,
      since: -3_600_200,
      openFor: 100,
      rampUntil: -3_599_800
    })
  })

  // `CircuitBreaker.open(name, { for: "Infinity" })` makes one.
  it("keeps an opening without an end", () => {
    const endless: Circuit.Open = {
      _tag: "Open",
      epoch: 0,
      since: 1,
      until: Infinity,
      openings: 1,
      outage: { since: 1, at: 1_700_000_000_000, openings: 1 },
      cause: { why: "OpenedByHand", detail: "drill", actor: "ann" }
    }
    assert.deepStrictEqual(fromBody(toBody(endless, 5, plain), 5)?.circuit, endless)
  })

  it("do not have the random time that one process waits longer", () => {
    const isolated = Circuit.force(Circuit.initial, "Isolated", 0, { until: 9, reason: "drill", actor: undefined })
    assert.strictEqual(toBody({ ...isolated, spread: 7 }, 0, plain), toBody(isolated, 0, plain))
  })
})

const samples = [
  toBody({ ...Circuit.initial, openings: 3, openFor: 100, rampUntil: 900 }, 100, plain),
  toBody(
    {
      _tag: "HalfOpen",
      epoch: 0,
      since: 10,
      openings: 1,
      openFor: 5,
      outage: { since: 5, at: 1_700_000_000_000, openings: 1 },
      cause: { why: "Tripped", detail: "x", actor: undefined },
      successes: 0,
      failures: 1,
      ignored: 0,
      leases: [{ id: 7, until: 50 }],
      nextLease: 0
    },
    20,
    plain
  ),
  toBody(
    {
      _tag: "Isolated",
      epoch: 0,
      since: 0,
      until: Infinity,
      reason: "drill",
      actor: "ann",
      others: [],
      under: Circuit.initial
    },
    20,
    { ...plain, why: "Isolated", actor: "ann", policy: undefined }
  )
]

/** Every position in a JSON value, as a function that replaces the value there. */
const placesIn = (value: unknown): ReadonlyArray<(put: unknown) => unknown> => {
  const self = (put: unknown) => put
  if (typeof value !== "object" || value === null) return [self]
  const inside = Object.entries(value).flatMap(([field, of]) =>
    placesIn(of).map((replace) => (put: unknown) => {
      const copy: Record<string, unknown> | Array<unknown> = Array.isArray(value) ? [...value] : { ...value }
      return Object.assign(copy, { [field]: replace(put) })
    })
  )
  return [self, ...inside]
}

describe("a record", () => {
  it.each([
    ["fits", 10_000, "x".repeat(10_000)],
    ["is too long", 10_001, `${"x".repeat(9_997)}...`]
  ])("has a text that %s in at most 10,000 characters", (_, length, written) => {
    const body = toBody(Circuit.initial, 0, { ...plain, detail: "x".repeat(length) })
    assert.strictEqual(fromBody(body, 0)?.provenance.detail, written)
  })

  it("has `others` only if there is a second override", () => {
    const force = (circuit: Circuit.Circuit, tag: "Isolated" | "Disabled", actor: string) =>
      Circuit.force(circuit, tag, 0, { until: 1_000, reason: "drill", actor })
    for (const tag of ["Isolated", "Disabled"] as const) {
      const first = force(Circuit.initial, tag, "ann")
      assert.notInclude(toBody(first, 0, plain), "others")
      assert.include(toBody(force(first, tag, "bob"), 0, plain), "others")
    }
  })
})

describe("an invalid record", () => {
  const deep = 50_000
  it.each([
    ["nothing", ""],
    ["a word", "record"],
    ["null", "null"],
    ["a number", "1"],
    ["a text", '"Open"'],
    ["a list", "[]"],
    ["an empty object", "{}"],
    ["a record in a list", `[${samples[0]}]`],
    ["two records", `${samples[0]}${samples[0]}`],
    ["another version", samples[0]?.replace('"v":1', '"v":2') ?? ""],
    ["a version in words", samples[0]?.replace('"v":1', '"v":"1"') ?? ""],
    ["another state", samples[0]?.replace('"Closed"', '"Melted"') ?? ""],
    ["another reason", samples[0]?.replace('"Tripped"', '"Because"') ?? ""],
    ["a number that JSON does not have", samples[0]?.replace('"openings":3', '"openings":NaN') ?? ""],
    ["a number that is too large", samples[0]?.replace('"openings":3', '"openings":1e999') ?? ""],
    ["less than no openings", samples[0]?.replace('"openings":3', '"openings":-3') ?? ""],
    ["half an opening", samples[0]?.replace('"openings":3', '"openings":0.5') ?? ""],
    ["an override over an override", samples[2]?.replace('"_tag":"Closed"', '"_tag":"Isolated"') ?? ""],
    ["a prototype", '{"__proto__":{"v":1}}'],
    ["a list of lists without end", "[".repeat(deep) + "]".repeat(deep)],
    ["objects of objects without end", `${'{"state":'.repeat(deep)}1${"}".repeat(deep)}`],
    ["what begins with a byte order mark", `\ufeff${samples[0]}`]
  ])("reads as nothing: %s", (_, body) => {
    assert.isFalse(samples.includes(body), "it was changed")
    assert.strictEqual(fromBody(body, 0), undefined)
  })

  it("reads as nothing: a record that is cut anywhere", () => {
    for (const body of samples) {
      assert.isDefined(fromBody(body, 0))
      for (let length = 0; length < body.length; length++) assert.isUndefined(fromBody(body.slice(0, length), 0))
    }
  })

  it("reads as nothing: a record with something of another kind anywhere", () => {
    for (const body of samples) {
      const places = placesIn(JSON.parse(body))
      assert.isAbove(places.length, 10)
      for (const replace of places) {
        for (const put of [undefined, true, [], {}, "Closed.", "1", [null]]) {
          const near = JSON.stringify(replace(put)) ?? ""
          const found = fromBody(near, 0)
          // A text may stand where a text was, and no lease where one was: then that is what it says.
          if (found !== undefined) {
            assert.deepStrictEqual(JSON.parse(toBody(found.circuit, 0, found.provenance)), JSON.parse(near))
          }
        }
      }
    }
  })

  it("reads as a record though it has more fields than this version knows", () => {
    for (const body of samples) {
      const more = JSON.stringify({ ...JSON.parse(body), since: "2.0", epoch: 9 })
      assert.deepStrictEqual(fromBody(more, 0), fromBody(body, 0))
    }
  })

  it.prop(
    "never throws, and what it reads it would write",
    {
      sample: pick(0, 1, 2),
      cuts: Arbitrary.array(
        Arbitrary.all({
          at: Arbitrary.schema(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))),
          put: pieces,
          drop: pick(0, 1, 2, 9)
        }),
        { maxLength: 3 }
      )
    },
    ({ cuts, sample }) => {
      let body = samples[sample] ?? ""
      for (const { at, drop, put } of cuts) {
        const place = Math.floor(at * body.length)
        body = body.slice(0, place) + put + body.slice(place + drop)
      }
      const found = fromBody(body, 0)
      if (found === undefined) return
      assert.deepStrictEqual(fromBody(toBody(found.circuit, 0, found.provenance), 0), found)
    },
    runs("near")
  )

  it.prop(
    "never throws: any text",
    { text: Schema.String },
    ({ text }) => assert.isUndefined(fromBody(text, 0)),
    runs("any")
  )
})
