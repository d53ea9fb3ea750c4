import * as Data from "effect/Data"

/** Frozen intrinsics do not let it be changed; an error then costs its stack. */
const canLimitStack = Object.getOwnPropertyDescriptor(Error, "stackTraceLimit")?.writable === true

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

/** Makes an error without its stack trace: a rejection must stay cheap while everything is rejected. */
export const withoutStack = <E extends Error>(make: () => E): E => {
  const limit = Error.stackTraceLimit
  if (canLimitStack) Error.stackTraceLimit = 0
  const error = make()
  if (canLimitStack) Error.stackTraceLimit = limit
  return error
}

/** An instance of an error class without a stack trace and without its fields, which its maker sets: a fifth of the cost of `new`. */
export const bareError = <E extends Error>(constructor: new (...args: never) => E): Mutable<E> =>
  // The plain error constructor with this class as its target: a real error and a real instance, less the validation.
  withoutStack(() => Reflect.construct(Data.Error, [], constructor) as unknown as Mutable<E> & Error)
