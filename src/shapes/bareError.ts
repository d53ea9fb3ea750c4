import * as Data from "effect/Data"

/** With frozen intrinsics the limit cannot be changed. Each error then has a stack trace. */
const canLimitStack = Object.getOwnPropertyDescriptor(Error, "stackTraceLimit")?.writable === true

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

export const withoutStack = <E extends Error>(make: () => E): E => {
  const limit = Error.stackTraceLimit
  if (canLimitStack) Error.stackTraceLimit = 0
  const error = make()
  if (canLimitStack) Error.stackTraceLimit = limit
  return error
}

/** Makes an instance of an error class without a stack trace, at a fifth of the cost of `new`. The caller sets its fields. */
export const bareError = <E extends Error>(constructor: new (...args: never) => E): Mutable<E> =>
  // Calls the constructor of `Data.Error` with this class as the target, which skips the validation of the class. The result is an instance
  // of this class, but TypeScript gives it the type of `Data.Error`.
  withoutStack(() => Reflect.construct(Data.Error, [], constructor) as unknown as Mutable<E> & Error)
