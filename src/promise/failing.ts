import { isRejection } from "../shapes/rejections.ts"

const { setImmediate: soon = (run: () => void) => setTimeout(run, 0) } = globalThis as {
  readonly setImmediate?: (run: () => void) => unknown
}

/**
 * After this number of rejections, one rejection waits for a turn of the event loop. A loop that calls an open circuit again and again
 * would otherwise run only microtasks, so that no timer and no I/O could run.
 */
const rejectionsPerTurn = 1_000
let rejections = 0

/** A fallback: it returns a result in place of a call that was rejected or has failed. */
export type FallbackFunction = (error: unknown, ...args: ReadonlyArray<unknown>) => unknown

/** Calls the fallback with the error and the arguments of the call. Without a fallback, the promise rejects with the error. */
export const failed = (
  error: unknown,
  fallback: FallbackFunction | undefined,
  args: ReadonlyArray<unknown> | undefined
): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const end = () => {
      if (fallback === undefined || args === undefined) return reject(error)
      try {
        resolve(fallback(error, ...args))
      } catch (thrown) {
        reject(thrown)
      }
    }
    if (isRejection(error) && ++rejections % rejectionsPerTurn === 0) soon(end)
    // In a microtask, because Node does extra work for a promise that rejects before its caller has received it.
    else settled.then(end)
  })

const settled = Promise.resolve()
