import * as Effect from "effect/Effect"
import { guard, subjectFields, toSubject } from "../breaker/protect.ts"
import { decodeArgument, decodeOptions, field, functionField, listOf, optional, struct, text } from "../core/fields.ts"
import type { AnyEffect } from "../engine/timeout.ts"
import { isCircuitOpen } from "../shapes/CircuitOpen.ts"

const wayFields = {
  ...subjectFields,
  name: text,
  call: field<AnyEffect>("an effect", (input) => (Effect.isEffect(input) ? (input as AnyEffect) : undefined))
}
const cascadeFields = { while: optional(functionField) }

/** Tries the alternatives in order, each under its own circuit, until an alternative succeeds or fails with an error that `while` refuses. */
export const cascading = (operation: string, ways: unknown, options: object | undefined): AnyEffect => {
  const { while: triesNext } = decodeOptions(operation, cascadeFields, options)
  const calls = decodeArgument(operation, "ways", listOf(struct(wayFields), 1), ways).map(
    ({ call, name, ...given }, index) => guard(call, toSubject(operation, name, given, `ways.${index}`))
  )
  const isNext = (error: unknown) => isCircuitOpen(error) || triesNext === undefined || triesNext(error)
  return calls.reduceRight((next, call) => Effect.catch(call, (error) => (isNext(error) ? next : Effect.fail(error))))
}
