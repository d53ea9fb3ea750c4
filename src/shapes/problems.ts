/** Decoding with `core/fields` that returns problems instead of throwing an error, for policies and variables. */
import * as Result from "effect/Result"
import { type Decoded, decodeInto, type Field, type OptionFields, type Problem, type Problems } from "../core/fields.ts"

export const wrong = (path: string, message: string): Result.Result<never, Problems> => Result.fail([{ path, message }])

/** A field with a decoder of its own, which returns the problems inside the value. */
export const nested = <A>(decode: (input: unknown, path: string) => Result.Result<A, Problems>): Field<A> => ({
  optional: false,
  decode: (input, path, problems) => {
    const result = decode(input, path)
    if (Result.isSuccess(result)) return result.success
    problems.push(...result.failure)
    return undefined as A
  }
})

/** Decodes an object with these fields and no others. The failure has all problems. */
export const decodeFields = <F extends OptionFields>(
  fields: F,
  input: unknown,
  path: string
): Result.Result<Decoded<F>, Problems> => {
  const problems: Array<Problem> = []
  const decoded = decodeInto(fields, input, path, problems)
  return problems.length === 0 ? Result.succeed(decoded) : Result.fail(problems)
}

export const problemsIn = (result: Result.Result<unknown, Problems> | undefined): Problems =>
  result !== undefined && Result.isFailure(result) ? result.failure : []

export const decodeAll = <A>(
  inputs: ReadonlyArray<unknown>,
  decode: (input: unknown, index: number) => Result.Result<A, Problems>
): Result.Result<ReadonlyArray<A>, Problems> => {
  const results = inputs.map(decode)
  const problems = results.flatMap(problemsIn)
  return problems.length > 0 ? Result.fail(problems) : Result.all(results)
}
