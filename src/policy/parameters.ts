import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { at, type Problems } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import { wrong } from "../shapes/problems.ts"

/** Decodes the parameters of a custom trip with its schema. Unknown fields are errors. */
export const decodeParameters = <A>(
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
