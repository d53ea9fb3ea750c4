import type { CallContext, Signal } from "./types.ts"

// biome-ignore lint/suspicious/noExplicitAny: the types of the function are not known here
export type AnyFunction = (this: any, ...args: any) => unknown

/** The `this` of a function. Its signal is created when the function first reads it, because most functions do not. */
export class OwnContext implements CallContext {
  // `declare` emits no field definition, which would cost each call time.
  declare private controller: AbortController | undefined
  /** Set if the call was aborted before the function asked for the signal. */
  declare private aborted: { readonly reason: unknown } | undefined

  constructor() {
    this.controller = undefined
    this.aborted = undefined
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController()
      if (this.aborted !== undefined) this.controller.abort(this.aborted.reason)
    }
    return this.controller.signal
  }

  /** Aborts the signal of a call. It is static, so that the function cannot call it. */
  static abort(context: OwnContext, reason: unknown): void {
    if (context.controller === undefined) context.aborted ??= { reason }
    else context.controller.abort(reason)
  }
}

/** One call of a breaker. */
export interface Called {
  readonly fn: AnyFunction
  /** The `this` of the function. If it is {@link ownContext}, the function gets a context of its own. */
  readonly self: unknown
  /** The arguments of the function and of the fallback. `undefined` for `run`, whose function gets the context and has no fallback. */
  readonly args: ReadonlyArray<unknown> | undefined
  readonly key: string | undefined
  readonly signal: Signal | undefined
}

export const ownContext: unique symbol = Symbol()

export const invoke = (
  fn: AnyFunction,
  self: unknown,
  args: ReadonlyArray<unknown> | undefined,
  context: OwnContext
): unknown =>
  // `apply` does not change the array, but its type does not accept a readonly array.
  args === undefined ? fn(context) : fn.apply(self === ownContext ? context : self, args as Array<unknown>)

/**
 * Waits for the result of a function. A native promise, which every `async` function returns, is used directly; any other value is
 * resolved first.
 */
export const afterwards = (
  returned: unknown,
  onValue: (value: unknown) => unknown,
  onError: (error: unknown) => unknown
): Promise<unknown> => {
  try {
    // A subclass can have a `then` of its own, and so can a single promise.
    if (returned instanceof Promise && returned.constructor === Promise && returned.then === Promise.prototype.then) {
      return returned.then(onValue, onError)
    }
  } catch {
    // Reading a property of the value throws, or the value only looks like a promise.
  }
  return new Promise((resolve) => resolve(returned)).then(onValue, onError)
}
