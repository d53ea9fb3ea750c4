import { isRecord } from "../core/fields.ts"
import { safely } from "../shapes/rejections.ts"
import type { Signal } from "./types.ts"

/** Whether a value can be used as a signal: an `AbortSignal` of this or another realm, or of a library. */
export const isSignal = (value: unknown): value is Signal =>
  typeof value === "object" &&
  value !== null &&
  typeof (value as Partial<Signal>).aborted === "boolean" &&
  typeof (value as Partial<Signal>).addEventListener === "function"

/** Whether the signal exists and is aborted. Callers must check again after each wait, because the signal may have been aborted. */
export const isAborted = (signal: Signal | undefined): signal is Signal => signal?.aborted === true

/** The reason of an aborted signal. The signals of some old libraries have no `reason`. */
export const reasonOf = (signal: Signal): unknown =>
  signal.reason === undefined ? new DOMException("This operation was aborted", "AbortError") : signal.reason

/** Calls `f` once when the signal is aborted, or now if it is aborted already. Returns a function that removes the listener. */
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
  if (signal.aborted) aborted()
  return off
}

/** Waits for the promise. If the signal is aborted first, rejects with the reason of the signal. */
export const unlessAborted = async <A>(promise: Promise<A>, signal: Signal | undefined): Promise<A> => {
  if (signal === undefined) return promise
  let off = () => {}
  const aborted = new Promise<never>((_, reject) => {
    off = onAbort(signal, () => reject(reasonOf(signal)))
  })
  try {
    const found = await Promise.race([promise, aborted])
    // Some signals dispatch no event when they are aborted.
    if (signal.aborted) throw reasonOf(signal)
    return found
  } finally {
    off()
  }
}

/** The names that libraries give to the error of an aborted call. */
const abortNames: ReadonlyArray<unknown> = ["AbortError", "CanceledError", "CancelError"]

const isAbortBy = (error: unknown, signal: Signal): boolean => {
  if (!signal.aborted) return false
  const { cause, name } = (typeof error === "object" && error !== null ? error : {}) as Partial<Error>
  if (abortNames.includes(name)) return true
  const { reason } = signal
  // `AbortSignal.timeout` means that the dependency was slow, not that the caller gave up.
  const timedOut = isRecord(reason) && (reason as Partial<Error>).name === "TimeoutError"
  return reason !== undefined && !timedOut && (error === reason || cause === reason)
}

/** The signals among the arguments of a call: arguments that are signals, and the `signal` of options objects. */
const signalsIn = (args: ReadonlyArray<unknown>): ReadonlyArray<Signal> =>
  args.flatMap((arg) =>
    safely<ReadonlyArray<Signal>>(() => {
      if (isSignal(arg)) return [arg]
      const inside: unknown = typeof arg === "object" && arg !== null && "signal" in arg ? arg.signal : undefined
      return isSignal(inside) ? [inside] : []
    }, [])
  )

/** Whether the call failed only because its caller aborted one of its signals. */
export const isAbortByCaller = (
  error: unknown,
  signal: Signal | undefined,
  args: ReadonlyArray<unknown> | undefined
): boolean => {
  const by = (one: Signal) => safely(() => isAbortBy(error, one), false)
  return (signal !== undefined && by(signal)) || signalsIn(args ?? []).some(by)
}
