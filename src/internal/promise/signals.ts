import { isRecord } from "../fields.ts"
import type { Signal } from "./types.ts"

/** Whether a value can be used as a signal: an `AbortSignal` of this or another realm, or of a library. */
export const isSignal = (value: unknown): value is Signal =>
  typeof value === "object" &&
  value !== null &&
  typeof (value as Partial<Signal>).aborted === "boolean" &&
  typeof (value as Partial<Signal>).addEventListener === "function"

/** Whether there is a signal and it is aborted. It is asked anew each time: waiting changes the answer. */
export const isAborted = (signal: Signal | undefined): signal is Signal => signal?.aborted === true

/** The reason of an aborted signal. Old libraries have none. */
export const reasonOf = (signal: Signal): unknown =>
  signal.reason === undefined ? new DOMException("This operation was aborted", "AbortError") : signal.reason

/** Calls `f` once when the signal is aborted, until the function that it returns is called. */
export const onAbort = (signal: Signal, f: () => void): (() => void) => {
  let done = false
  const off = () => {
    done = true
    signal.removeEventListener?.("abort", aborted)
  }
  const aborted = () => {
    if (done) return
    off()
    f()
  }
  signal.addEventListener("abort", aborted, { once: true })
  return off
}

/** The promise, or a rejection with the signal's reason if that is aborted first. */
export const unlessAborted = async <A>(promise: Promise<A>, signal: Signal | undefined): Promise<A> => {
  if (signal === undefined) return promise
  let off = () => {}
  const aborted = new Promise<never>((_, reject) => {
    off = onAbort(signal, () => reject(reasonOf(signal)))
  })
  try {
    const found = await Promise.race([promise, aborted])
    // A signal that says nothing when it is aborted is looked at, too.
    if (signal.aborted) throw reasonOf(signal)
    return found
  } finally {
    off()
  }
}

/** What libraries call the error of a call whose signal was aborted. */
const abortNames: ReadonlyArray<unknown> = ["AbortError", "CanceledError", "CancelError"]

const isAbortBy = (error: unknown, signal: Signal): boolean => {
  if (!signal.aborted) return false
  const { cause, name } = (typeof error === "object" && error !== null ? error : {}) as Partial<Error>
  if (abortNames.includes(name)) return true
  const { reason } = signal
  // `AbortSignal.timeout` says that the dependency was slow, not that its caller left.
  const timedOut = isRecord(reason) && (reason as Partial<Error>).name === "TimeoutError"
  return reason !== undefined && !timedOut && (error === reason || cause === reason)
}

/** The signals among the arguments of a call, by themselves or as the `signal` of an options object. */
const signalsIn = (args: ReadonlyArray<unknown>): ReadonlyArray<Signal> =>
  args.flatMap((arg) => {
    try {
      if (isSignal(arg)) return [arg]
      const inside: unknown = typeof arg === "object" && arg !== null && "signal" in arg ? arg.signal : undefined
      return isSignal(inside) ? [inside] : []
    } catch {
      // A getter or a proxy that throws: it is the function's business.
      return []
    }
  })

/** Whether an error only says that the caller gave up the call: one of its signals was aborted. */
export const isAbortByCaller = (
  error: unknown,
  signal: Signal | undefined,
  args: ReadonlyArray<unknown> | undefined
): boolean => {
  if (signal !== undefined && isAbortBy(error, signal)) return true
  return args?.some((arg) => typeof arg === "object") === true && signalsIn(args).some((one) => isAbortBy(error, one))
}
