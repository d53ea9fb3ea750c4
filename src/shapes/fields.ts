import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { foreignText } from "../core/foreign.ts"
import { expectedDuration, toMillis } from "../core/millis.ts"
import { printable, show } from "../core/printable.ts"

/** One thing that is wrong with a policy, an option or a variable. */
export interface Problem {
  readonly path: string
  readonly message: string
}

export type Problems = ReadonlyArray<Problem>

// ---- Values -------------------------------------------------------------------------------------------------------

/** A field whose decoding is a plain function: a value, or what was expected. */
export const field = <A>(expected: string, decode: (input: unknown) => A | undefined) =>
  Schema.Unknown.pipe(
    Schema.decodeTo(
      Schema.declare((_: unknown): _ is A => true),
      SchemaTransformation.transformEffect<A, unknown>({
        decode: (input) => {
          const value = decode(input)
          return value === undefined
            ? Effect.fail(new SchemaIssue.InvalidValue({ message: `expected ${expected}, got ${show(input)}` }))
            : Effect.succeed(value)
        },
        encode: Effect.succeed
      })
    )
  )

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
export const flag = field("true or false", (input) => (typeof input === "boolean" ? input : undefined))
export const text = field("a text that is not empty", (input) =>
  typeof input === "string" && input !== "" ? input : undefined
)

export const textOrEmpty = field("a text", (input) => (typeof input === "string" ? input : undefined))

/** A text of a certain form. */
export const textLike = (expected: string, form: RegExp) =>
  field(expected, (input) => (typeof input === "string" && form.test(input) ? input : undefined))

/** A function, of which no more can be known before it is called. */
// biome-ignore lint/suspicious/noExplicitAny: whoever decodes it knows its type
export const functionField = field<any>("a function", (input) => (typeof input === "function" ? input : undefined))

/** Some words as a sentence lists them. */
export const wordOf = (words: ReadonlyArray<string>): string =>
  words
    .map((one) => `"${one}"`)
    .join(", ")
    .replace(/, ([^,]*)$/, " or $1")

/** One of some words. */
export const word = <const Words extends ReadonlyArray<string>>(...words: Words) =>
  field<Words[number]>(wordOf(words), (input) => words.find((one) => one === input))

// ---- Structures ---------------------------------------------------------------------------------------------------

export const isRecord = (input: unknown): input is Readonly<Record<string, unknown>> =>
  typeof input === "object" && input !== null && !Array.isArray(input)

export const at = (path: string, name: string | number): string => (path === "" ? String(name) : `${path}.${name}`)

export const wrong = (path: string, message: string): Result.Result<never, Problems> => Result.fail([{ path, message }])

/** Decodes an object with these fields and no others; everything that is wrong with it is said at once. */
export const decodeFields = <Fields extends Schema.Struct.Fields>(
  fields: Fields,
  input: unknown,
  path: string
): Result.Result<Schema.Struct<Fields>["Type"], Problems> => {
  const known = Object.keys(fields)
  if (!isRecord(input)) return wrong(path, `expected an object with ${known.join(", ")}, got ${show(input)}`)
  const unknown = Object.keys(input)
    .filter((name) => !known.includes(name))
    .map((name) => ({ path: at(path, name), message: `unknown field; expected one of ${known.join(", ")}` }))
  // These fields have neither services nor an encoding that matters here.
  const schema = Schema.Struct(fields) as unknown as Schema.Codec<Schema.Struct<Fields>["Type"], unknown>
  const decoded = Schema.decodeUnknownResult(schema, { errors: "all", reportInput: true })(input)
  const problems = [...unknown, ...(Result.isFailure(decoded) ? problemsOf(decoded.failure.issue, path) : [])]
  return Result.isSuccess(decoded) && problems.length === 0 ? Result.succeed(decoded.success) : Result.fail(problems)
}

/** Decodes a value with a schema of the user. Fields that the schema does not know are wrong, too. */
export const decodeWith = <A>(
  schema: Schema.Codec<A, never>,
  input: unknown,
  path: string
): Result.Result<A, Problems> => {
  const options = { errors: "all", onExcessProperty: "error", reportInput: true } as const
  try {
    const decoded = Schema.decodeUnknownResult(schema as Schema.Codec<A, unknown>, options)(input)
    return Result.mapError(decoded, ({ issue }) => problemsOf(issue, path))
  } catch (error) {
    return wrong(path, `its schema failed: ${foreignText(error)}`)
  }
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const problemsOf = (issue: SchemaIssue.Issue, path: string): Problems =>
  format(issue).issues.map((one) => ({
    path: (one.path ?? []).reduce<string>(
      (above, part) => at(above, String(typeof part === "object" ? part.key : part)),
      path
    ),
    message: one.message === "Missing key" ? "expected a value, got nothing" : one.message
  }))

export const problemsIn = (result: Result.Result<unknown, Problems> | undefined): Problems =>
  result !== undefined && Result.isFailure(result) ? result.failure : []

/** Decodes each of a list; everything that is wrong with any is said at once. */
export const decodeAll = <A>(
  inputs: ReadonlyArray<unknown>,
  decode: (input: unknown, index: number) => Result.Result<A, Problems>
): Result.Result<ReadonlyArray<A>, Problems> => {
  const results = inputs.map(decode)
  const problems = results.flatMap(problemsIn)
  return problems.length > 0 ? Result.fail(problems) : Result.all(results)
}

/** What is wrong, each with its field, as a message says it: on a line of its own, whatever a field is called. */
export const describeProblems = (problems: Problems): string =>
  problems.map(({ message, path }) => printable(path === "" ? message : `${path}: ${message}`)).join("\n")

/** Options that are what they should be, or a `RangeError` that names the operation and each field that is not. */
export const decodeOrThrow = <Fields extends Schema.Struct.Fields>(
  operation: string,
  fields: Fields,
  options: unknown
): Schema.Struct<Fields>["Type"] => orThrow(operation, decodeFields(fields, options, ""))

/** Options that have no fields but these; what is in each is seen to where it is used. */
export const onlyFields = <O>(operation: string, names: ReadonlyArray<string>, options: O): O => {
  // Calls come by here, with few options that are nearly always right: a schema is made for those that are not.
  if (!hasOnly(names, options)) {
    decodeOrThrow(operation, Object.fromEntries(names.map((name) => [name, Schema.optional(Schema.Unknown)])), options)
  }
  return options
}

const hasOnly = (names: ReadonlyArray<string>, options: unknown): boolean => {
  if (!isRecord(options)) return false
  for (const name in options) if (!names.includes(name)) return false
  return true
}

export const orThrow = <A>(operation: string, decoded: Result.Result<A, Problems>): A =>
  Result.getOrThrowWith(
    decoded,
    (problems) => new RangeError(`${operation}: ${describeProblems(problems).replaceAll("\n", "; ")}`)
  )
