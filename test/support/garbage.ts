import { Arbitrary, Schema } from "effect"

/** What ends a line, hides in one or colours a terminal. */
export const unprintable = /[\p{Cc}\p{Cf}\u2028\u2029]/u

/** The same, but for the line breaks that a message of several lines has. */
export const unprintableInLines = /(?!\n)[\p{Cc}\p{Cf}\u2028\u2029]/u

export const oneOf = <const A>(list: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(
    Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: list.length - 1 }))),
    (index) => list[index] as A
  )

export const either = <A, B>(a: Arbitrary.Arbitrary<A>, b: Arbitrary.Arbitrary<B>): Arbitrary.Arbitrary<A | B> =>
  Arbitrary.flatMap(oneOf<Arbitrary.Arbitrary<A | B>>([a, b]), (chosen) => chosen)

const share = Arbitrary.schema(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })))

/** So many more values, and others, where somebody looks for faults: `FUZZ=7 FUZZ_TIMES=20 npx vitest run fuzz`. */
const { FUZZ = "", FUZZ_TIMES = "1" } = process.env

/** How often a property is tried: always with the same values, so that what fails fails again. */
export const runs = (seed: string, runs: number) => ({
  arbitrary: { runs: runs * Number(FUZZ_TIMES), size: 30, seed: seed + FUZZ }
})

// ---- Texts --------------------------------------------------------------------------------------------------------

/** What means something to a terminal, a log, a shell, a format string, a query, a key, a pattern, JSON, XML or JavaScript. */
const pieces: ReadonlyArray<string> = [
  ...[
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\0",
    "\b",
    "\u007f",
    "\u0085",
    "\u001b[31m",
    "\u001b]0;x\u0007",
    "\u009b31m",
    "\u001b[2J"
  ],
  ...["\u202e", "\u2066", "\u200b", "\u2028", "\u2029", "\ufeff", "\u{e0041}", "\ud800", "\udc00", "\u00ad"],
  ...[
    "%s",
    "%d",
    "%o",
    "%c",
    "%00",
    "%0a",
    "$\u007bx}",
    "{{x}}",
    "\\",
    "\\n",
    '"',
    "'",
    "`",
    "<script>",
    "]]>",
    "&amp;",
    "&"
  ],
  ...[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ":",
    "|",
    "/",
    "*",
    "?",
    ",",
    ";",
    "=",
    "#",
    "--",
    "@",
    "~",
    "$",
    "^",
    " ",
    ".",
    ".."
  ],
  ...[
    "é",
    "e\u0301",
    "日本",
    "😀",
    "\u05d0",
    "__proto__",
    "constructor",
    "toString",
    "null",
    "NaN",
    "a",
    "b",
    "0",
    "-1"
  ]
]

/** Any text: most are short, some have no end. */
export const text: Arbitrary.Arbitrary<string> = Arbitrary.map(
  Arbitrary.all([Arbitrary.array(oneOf(pieces), { maxLength: 6 }), oneOf([1, 1, 1, 1, 1, 1, 1, 1, 1, 400])]),
  ([parts, times]) => parts.join("").repeat(times)
)

/** A text that may be the name of a circuit. */
export const name: Arbitrary.Arbitrary<string> = Arbitrary.map(text, (one) => (one === "" ? "a" : one))

/** A text with something put in, taken out or turned around at a few places. */
export const edited = (from: Arbitrary.Arbitrary<string>): Arbitrary.Arbitrary<string> =>
  Arbitrary.map(
    Arbitrary.all([
      from,
      Arbitrary.array(
        Arbitrary.all({ at: share, drop: oneOf([0, 0, 1, 2, 9, 1e9]), put: oneOf([...pieces, "", "", "9"]) }),
        {
          maxLength: 3
        }
      )
    ]),
    ([text, edits]) =>
      edits.reduce((before, { at, drop, put }) => {
        const place = Math.floor(at * before.length)
        return before.slice(0, place) + put + before.slice(place + drop)
      }, text)
  )

// ---- Numbers and JSON ---------------------------------------------------------------------------------------------

/** Numbers at the ends of what numbers are, and those that JSON can only write, or cannot. */
export const numbers: ReadonlyArray<number> = [
  ...[0, -0, 1, -1, 0.5, 1e-320, 99, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 8.64e15, 8.65e15, -8.65e15],
  ...[1e21, 1e300, 1e308, -1e308, Number.MAX_VALUE, -Number.MAX_VALUE, Infinity, -Infinity, NaN]
]

export const number: Arbitrary.Arbitrary<number> = oneOf(numbers)

const raw = (literal: string) => ({ "~raw": literal })

/** What is put where something else was. */
const strange: ReadonlyArray<unknown> = [
  ...numbers.filter((one) => Number.isFinite(one)),
  ...[raw("-0"), raw("1e999"), raw("-1e999"), raw("NaN"), raw("9".repeat(400)), raw('{"__proto__":{"v":1}}')],
  ...[raw(`${"[".repeat(3_000)}${"]".repeat(3_000)}`), raw('{"v":1,"v":2}')],
  ...[
    null,
    true,
    false,
    "",
    "0",
    "Open",
    "Closed",
    "HalfOpen",
    "Isolated",
    "__proto__",
    "\u0000",
    "\ud800",
    "\u001b[31m\n"
  ],
  ...["x".repeat(5_000), [], [null], [[]], {}, { _tag: "Open" }, { toString: 1 }, { length: -1 }, { at: 1, id: {} }]
]

/** JSON with what `JSON.stringify` does not write. */
export const toJson = (value: unknown): string =>
  (JSON.stringify(value) ?? "").replaceAll(/\{"~raw":("(?:[^"\\]|\\.)*")\}/g, (_, literal: string) =>
    JSON.parse(literal)
  )

interface Place {
  readonly isNumber: boolean
  readonly replace: (put: unknown) => unknown
}

/** Every place in a JSON value: how to replace what is there. */
const placesIn = (value: unknown): ReadonlyArray<Place> => {
  const self: Place = { isNumber: typeof value === "number", replace: (put) => put }
  if (typeof value !== "object" || value === null || "~raw" in value) return [self]
  const inside = Object.entries(value).flatMap(([field, of]) =>
    placesIn(of).map(({ isNumber, replace }) => ({
      isNumber,
      replace: (put: unknown) => {
        const copy: Record<string, unknown> | Array<unknown> = Array.isArray(value) ? [...value] : { ...value }
        return Object.assign(copy, { [field]: replace(put) })
      }
    }))
  )
  return [self, ...inside]
}

const far = [...numbers.filter((one) => Number.isFinite(one)), raw("1e999"), raw("-1e999"), raw("-0")]

/** Something strange for any place, or for one that has a number another that is far away: many of these are let in. */
const change = either(
  Arbitrary.map(Arbitrary.all([share, oneOf(strange)]), ([at, put]) => ({ at, put, numbers: false })),
  Arbitrary.map(Arbitrary.all([share, oneOf<unknown>(far)]), ([at, put]) => ({ at, put, numbers: true }))
)

/** One of some JSON values, with something strange in a few of its places. */
export const altered = (samples: ReadonlyArray<unknown>): Arbitrary.Arbitrary<unknown> =>
  Arbitrary.map(Arbitrary.all([oneOf(samples), Arbitrary.array(change, { maxLength: 4 })]), ([sample, changes]) =>
    changes.reduce<unknown>((before, { at, numbers, put }) => {
      const places = placesIn(before).filter(({ isNumber }) => isNumber || !numbers)
      const place = places[Math.min(places.length - 1, Math.floor(at * places.length))]
      return place === undefined ? before : place.replace(put)
    }, sample)
  )

/** The text of such a value, in half of the cases with something changed in it. */
export const alteredText = (samples: ReadonlyArray<unknown>): Arbitrary.Arbitrary<string> => {
  const whole = Arbitrary.map(altered(samples), toJson)
  return either(whole, either(edited(whole), text))
}

/** A value of JavaScript that nobody thought of: of any kind, and hostile where it can be. */
export const anything: Arbitrary.Arbitrary<unknown> = oneOf<unknown>([
  ...numbers,
  ...["", "x", "\u001b[31m\n", "10 seconds", "__proto__", null, undefined, true, false, 10n, Symbol("x")],
  ...[
    [],
    [1],
    {},
    Object.create(null),
    new Date(Number.NaN),
    new Map(),
    /x/,
    new Error("\u001b[31m"),
    () => 1,
    class A {}
  ],
  ...[Promise.resolve(1), { toString: null }, { toJSON: () => 10n }, new Proxy({}, {}), Object.freeze({ x: 1 })]
])

/** An object with some of these fields, or others, of any value. */
export const objectOf = (
  fields: ReadonlyArray<string>,
  value: Arbitrary.Arbitrary<unknown> = anything
): Arbitrary.Arbitrary<Record<string, unknown>> =>
  Arbitrary.map(
    Arbitrary.array(Arbitrary.all([oneOf([...fields, ...fields, "\u001b[31m\n", "__proto__", "x"]), value]), {
      maxLength: 3
    }),
    (entries) => Object.fromEntries(entries)
  )

/** A value, or `undefined`. */
export const optional = <A>(of: Arbitrary.Arbitrary<A>) => either(of, oneOf([undefined]))

export const pick = <const A extends ReadonlyArray<string | number | boolean>>(...of: A) =>
  Arbitrary.schema(Schema.Literals(of))

/** What may stand where a number is stored as text. */
export const word = either(
  oneOf(["5", "007", "-5", "0x10", "1e3", "inf", "nan", "", "9".repeat(16), "9".repeat(400), ...numbers.map(String)]),
  text
)
