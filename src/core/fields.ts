/**
 * Checks the options of functions. A function describes its options once, as a record of fields. The decoded values, the list of known names
 * and all messages come from this record. The messages have one form:
 *
 *     CircuitBreaker.admit: lease: expected a duration above 0 such as "30s" or "30 seconds", got "soon"
 *     CircuitBreaker.protect: isFailur: unknown field (did you mean isFailure?), expected one of key, policy, ...
 *
 * Some functions decode options for each request, so decoding valid options allocates only the decoded object.
 */
import { expectedDuration, toMillis } from "./millis.ts"
import { printable, show } from "./printable.ts"

/** One invalid value in a policy, an option or a variable. */
export interface Problem {
  readonly path: string
  readonly message: string
}

export type Problems = ReadonlyArray<Problem>

// ---- Fields -------------------------------------------------------------------------------------------------------

/** Decodes one field. If the value is invalid, `decode` adds a problem, and its result is not used. */
export interface Field<out A> {
  readonly optional: boolean
  readonly decode: (input: unknown, path: string, problems: Array<Problem>) => A
}

export interface OptionalField<out A> extends Field<A> {
  readonly optional: true
}

export type OptionFields = Readonly<Record<string, Field<unknown>>>

type Value<F> = F extends Field<infer A> ? A : never

export type Decoded<F extends OptionFields> = {
  readonly [K in keyof F as F[K] extends OptionalField<unknown> ? never : K]: Value<F[K]>
} & { readonly [K in keyof F as F[K] extends OptionalField<unknown> ? K : never]?: Value<F[K]> | undefined }

/** The fields of an options type. With `satisfies`, the compiler finds missing and unknown fields. */
export type FieldsOf<Options> = { readonly [K in keyof Options]-?: Field<unknown> }

export const expected = (what: string, input: unknown): string =>
  `expected ${what}, got ${input === undefined ? "nothing" : show(input)}`

/** A field with a function that returns the value, or `undefined` if the input is invalid. */
export const field = <A>(what: string, decode: (input: unknown) => A | undefined): Field<A> => ({
  optional: false,
  decode: (input, path, problems) => {
    const value = decode(input)
    if (value === undefined) problems.push({ path, message: expected(what, input) })
    return value as A
  }
})

export const optional = <A>({ decode }: Field<A>): OptionalField<A> => ({ optional: true, decode })

/** Adds a hint to the problem of a field. Problems of inner fields stay unchanged. */
const hinting = <A>({ decode }: Field<A>, hint: string): Field<A> => ({
  optional: false,
  decode: (input, path, problems) => {
    const found: Array<Problem> = []
    const value = decode(input, path, found)
    for (const problem of found) {
      problems.push(problem.path === path ? { path, message: `${problem.message} (${hint})` } : problem)
    }
    return value
  }
})

const unlessFalse = <A>({ decode }: Field<A>): Field<A | false> => ({
  optional: false,
  decode: (input, path, problems) => (input === false ? false : decode(input, path, problems))
})

export const orFalse = <A>(one: Field<A>): Field<A | false> => unlessFalse(hinting(one, "use false to turn it off"))

/** A value that is checked elsewhere. */
export const anything: Field<unknown> = { optional: false, decode: (input) => input }

export const struct = <F extends OptionFields>(fields: F): Field<Decoded<F>> => ({
  optional: false,
  decode: (input, path, problems) => decodeInto(fields, input, path, problems)
})

/** The fields of options. `true` means their defaults, and `false` stays `false`. */
export const structOrFlag = <F extends OptionFields>(fields: F): Field<Decoded<F> | false> => {
  const given = hinting(struct(fields), "use true for the defaults, false to turn it off")
  return unlessFalse({
    optional: false,
    decode: (input, path, problems) => given.decode(input === true ? {} : input, path, problems)
  })
}

export const listOf = <A>(one: Field<A>, minimum = 0): Field<ReadonlyArray<A>> => ({
  optional: false,
  decode: (input, path, problems) => {
    if (Array.isArray(input) && input.length >= minimum) {
      return input.map((value, index) => one.decode(value, at(path, index), problems))
    }
    problems.push({ path, message: expected(minimum === 0 ? "a list" : `a list of ${minimum} or more`, input) })
    return []
  }
})

// ---- Values -------------------------------------------------------------------------------------------------------

export const millisWhere = (ok: (millis: number) => boolean) => (input: unknown) => {
  const millis = toMillis(input)
  return millis !== undefined && ok(millis) ? millis : undefined
}

export const positiveMillis = field(
  expectedDuration.aboveZero,
  millisWhere((n) => n > 0 && n < Infinity)
)
export const anyMillis = field(
  expectedDuration.zeroOrMore,
  millisWhere((n) => n >= 0 && n < Infinity)
)
/** A duration above 0 that may be infinite. */
export const endlessMillis = field(
  expectedDuration.aboveZero,
  millisWhere((n) => n > 0)
)

export const numberWhere = (ok: (n: number) => boolean) => (input: unknown) =>
  typeof input === "number" && ok(input) ? input : undefined
export const isCount = (n: number) => Number.isSafeInteger(n) && n >= 1
export const count = field("a whole number of 1 or more", numberWhere(isCount))
export const countOrZero = field(
  "a whole number of 0 or more",
  numberWhere((n) => Number.isSafeInteger(n) && n >= 0)
)
export const share = field(
  "a number above 0 and at most 1",
  numberWhere((n) => n > 0 && n <= 1)
)
export const shareOrZero = field(
  "a number from 0 to 1",
  numberWhere((n) => n >= 0 && n <= 1)
)
export const factor = field(
  "a finite number of 1 or more",
  numberWhere((n) => n >= 1 && n < Infinity)
)
export const concurrency = field<number | "unbounded">('a whole number of 1 or more, or "unbounded"', (input) =>
  input === "unbounded" || (typeof input === "number" && isCount(input)) ? input : undefined
)
export const flag = field("true or false", (input) => (typeof input === "boolean" ? input : undefined))
export const text = field("a text that is not empty", (input) =>
  typeof input === "string" && input !== "" ? input : undefined
)

export const textOrEmpty = field("a text", (input) => (typeof input === "string" ? input : undefined))

export const textLike = (what: string, form: RegExp) =>
  field(what, (input) => (typeof input === "string" && form.test(input) ? input : undefined))

// biome-ignore lint/suspicious/noExplicitAny: the caller of the decoder knows its type
export const functionField = field<any>("a function", (input) => (typeof input === "function" ? input : undefined))

/** Joins words for a message: `"a", "b" or "c"`. */
export const wordOf = (words: ReadonlyArray<string>): string =>
  words
    .map((one) => `"${one}"`)
    .join(", ")
    .replace(/, ([^,]*)$/, " or $1")

export const word = <const Words extends ReadonlyArray<string>>(...words: Words) =>
  field<Words[number]>(wordOf(words), (input) => words.find((one) => one === input))

// ---- Structures ---------------------------------------------------------------------------------------------------

export const isRecord = (input: unknown): input is Readonly<Record<string, unknown>> =>
  typeof input === "object" && input !== null && !Array.isArray(input)

export const at = (path: string, name: string | number): string => (path === "" ? String(name) : `${path}.${name}`)

/** Decodes an object with these fields and no others. Adds all problems to `problems`. */
export const decodeInto = <F extends OptionFields>(
  fields: F,
  input: unknown,
  path: string,
  problems: Array<Problem>
): Decoded<F> => {
  const decoded: Record<string, unknown> = {}
  if (isRecord(input)) {
    for (const name in input) {
      if (!Object.hasOwn(fields, name) && Object.hasOwn(input, name)) problems.push(unknownField(fields, name, path))
    }
    for (const name in fields) {
      const one = fields[name] as Field<unknown>
      const value = input[name]
      if (value !== undefined || !one.optional) decoded[name] = one.decode(value, at(path, name), problems)
    }
  } else {
    problems.push({ path, message: expected(`an object with ${Object.keys(fields).join(", ")}`, input) })
  }
  return decoded as Decoded<F>
}

const unknownField = (fields: OptionFields, name: string, path: string): Problem => {
  const known = Object.keys(fields)
  const meant = nearest(name, known)
  const hint = meant === undefined ? "" : ` (did you mean ${meant}?)`
  return { path: at(path, name), message: `unknown field${hint}, expected one of ${known.join(", ")}` }
}

/** The known name that is most similar to a misspelt one. */
const nearest = (name: string, known: ReadonlyArray<string>): string | undefined => {
  const [best] = known
    .map((one) => ({ one, edits: edits(name.toLowerCase(), one.toLowerCase()) }))
    .filter(({ edits, one }) => edits < name.length && edits <= Math.ceil(Math.min(name.length, one.length) / 4))
    .sort((a, b) => a.edits - b.edits)
  return best?.one
}

/** The Damerau-Levenshtein distance: the number of inserted, deleted, changed and swapped letters. */
const edits = (a: string, b: string): number => {
  if (Math.abs(a.length - b.length) > 3) return Infinity
  let [before, row]: [ReadonlyArray<number>, Array<number>] = [[], Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      // Before the first letter, an index yields `undefined`, which is no letter.
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      next[j] = Math.min(
        Number(row[j]) + 1,
        Number(next[j - 1]) + 1,
        Number(row[j - 1]) + same,
        swapped ? Number(before[j - 2]) + 1 : Infinity
      )
    }
    before = row
    row = next
  }
  return row[b.length] ?? Infinity
}

// ---- Options ------------------------------------------------------------------------------------------------------

/**
 * Decodes the options of an operation. Throws a `RangeError` that names the operation and all problems. `undefined` stands for no options.
 * `path` is the path of the options, if they are a part of other options.
 */
export const decodeOptions = <F extends OptionFields>(
  operation: string,
  fields: F,
  options: unknown,
  path = ""
): Decoded<F> => {
  const problems: Array<Problem> = []
  const decoded = decodeInto(fields, options === undefined ? {} : options, path, problems)
  if (problems.length > 0) throw refusal(operation, problems)
  return decoded
}

/** Decodes one argument of an operation like a field of options. */
export const decodeArgument = <F extends Field<unknown>>(
  operation: string,
  name: string,
  field: F,
  value: unknown
): F extends OptionalField<unknown> ? Value<F> | undefined : Value<F> => {
  const problems: Array<Problem> = []
  const decoded = value === undefined && field.optional ? undefined : field.decode(value, name, problems)
  if (problems.length > 0) throw refusal(operation, problems)
  return decoded as F extends OptionalField<unknown> ? Value<F> | undefined : Value<F>
}

/** The error about options that are invalid only in combination. */
export const refused = (operation: string, path: string, message: string): RangeError =>
  refusal(operation, [{ path, message }])

const refusal = (operation: string, problems: Problems): RangeError =>
  new RangeError(`${operation}: ${describe(problems).join("; ")}`)

const maxProblems = 20
const maxPath = 200

const describe = (problems: Problems): ReadonlyArray<string> => {
  const lines = problems.slice(0, maxProblems).map(({ message, path }) => {
    const where = path.length > maxPath ? `${path.slice(0, maxPath)}...` : path
    return printable(where === "" ? message : `${where}: ${message}`)
  })
  return problems.length > maxProblems ? [...lines, `and ${problems.length - maxProblems} more`] : lines
}

export const describeProblems = (problems: Problems): string => describe(problems).join("\n")
