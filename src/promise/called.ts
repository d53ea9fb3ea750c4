import type { CallContext, Signal } from "./types.ts"

// biome-ignore lint/suspicious/noExplicitAny: the types of the function are not known here
export type AnyFunction = (this: any, ...args: any) => unknown

/** The `this` of a function. Its signal is made when the function first asks for it, because most functions do not. */
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

  /** Aborts the signal of a call. Not a method, because the function would have it. */
  static abort(context: OwnContext, reason: unknown): void {
    if (context.controller === undefined) context.aborted ??= { reason }
    else context.controller.abort(reason)
  }
}

/** What a caller asks for. */
export interface Called {
  readonly fn: AnyFunction
  /** The `this` of the function. If it is {@link ownContext}, the function gets a context of its own. */
  readonly self: unknown
  /** The arguments of the function and of the fallback. `undefined` for `run`, whose function gets the context and has no fallback. */
  readonly args: Array<unknown> | undefined
  readonly key: string | undefined
  readonly signal: Signal | undefined
}

export const ownContext: unique symbol = Symbol()

/** Calls the function. */
export const invoke = (
  fn: AnyFunction,
  self: unknown,
  args: Array<unknown> | undefined,
  context: OwnContext
): unknown => (args === undefined ? fn(context) : fn.apply(self === ownContext ? context : self, args))

/**
 * Waits for what a function has returned. A promise of the platform, which every `async` function returns, is waited for as it is, and
 * everything else as the result of an `async` function would be.
 */
export const afterwards = (
  made: unknown,
  onValue: (value: unknown) => unknown,
  onError: (error: unknown) => unknown
): Promise<unknown> => {
  try {
    // A subclass can have a `then` of its own, and so can a single promise.
    if (made instanceof Promise && made.constructor === Promise && made.then === Promise.prototype.then) {
      return made.then(onValue, onError)
    }
  } catch {
    // The value throws when it is looked at, or it only looks like a promise.
  }
  return new Promise((resolve) => resolve(made)).then(onValue, onError)
}
