import * as Data from "effect/Data"

/** Frozen intrinsics do not let it be changed; an error then costs its stack. */
const canLimitStack = Object.getOwnPropertyDescriptor(Error, "stackTraceLimit")?.writable === true

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

/**
 * An instance of an error class without a stack trace and without its fields, which its maker sets: about a fifth of the
 * cost of `new`. A rejection must stay cheap while everything is rejected.
 */
export const bareError = <E extends Error>(constructor: new (...args: never) => E): Mutable<E> => {
  const limit = Error.stackTraceLimit
  if (canLimitStack) Error.stackTraceLimit = 0
  // The plain error constructor with this class as its target: a real error and a real instance, less the validation.
  const error = Reflect.construct(Data.Error, [], constructor) as unknown as Mutable<E>
  if (canLimitStack) Error.stackTraceLimit = limit
  return error
}
