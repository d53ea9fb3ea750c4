import * as Exit from "effect/Exit"

/** Receives the exit with which reading a stream ended. It is a success if the reader stops early. */
export type Ended = (end: Exit.Exit<unknown, unknown>) => void

const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function"

const once = (ended: Ended): Ended => {
  let over = false
  return (end) => {
    if (over) return
    over = true
    ended(end)
  }
}

// ---- Web streams ----------------------------------------------------------------------------------------------------

const isWebStream = (value: object): value is ReadableStream =>
  typeof ReadableStream === "function" && value instanceof ReadableStream

/** Whether readers can bring buffers of their own, as for the body of a response. */
const isByteStream = (stream: ReadableStream): boolean => {
  try {
    stream.getReader({ mode: "byob" }).releaseLock()
    return true
  } catch {
    return false
  }
}

/** Returns a new stream with the same chunks, because a stream that the platform reads itself cannot be observed. */
const webStream = (stream: ReadableStream, ended: Ended): ReadableStream => {
  // A reader of the new stream must be able to do the same as a reader of the given one.
  const type = isByteStream(stream) ? { type: "bytes" as const } : {}
  const reader = stream.getReader()
  return new ReadableStream(
    {
      ...(type as { readonly type?: undefined }),
      pull: async (controller: ReadableStreamDefaultController & Partial<ReadableByteStreamController>) => {
        try {
          const { done, value } = await reader.read()
          if (done) {
            ended(Exit.succeed(stream))
            controller.close()
            // A reader that has brought a buffer waits until it is given back.
            controller.byobRequest?.respond(0)
          } else controller.enqueue(value)
        } catch (error) {
          ended(Exit.fail(error))
          throw error
        }
      },
      cancel: (reason) => {
        ended(Exit.succeed(stream))
        return reader.cancel(reason)
      }
    },
    // A chunk is read only when the consumer asks for one, as without a breaker.
    { highWaterMark: 0 }
  )
}

// ---- Streams of Node ------------------------------------------------------------------------------------------------

interface NodeStream {
  readonly on: (event: string, listener: () => void) => unknown
  readonly pipe: unknown
  readonly errored?: unknown
  readonly closed?: unknown
  readonly readableEnded?: unknown
}

const isNodeStream = (value: object): value is NodeStream =>
  "on" in value && typeof value.on === "function" && "pipe" in value && typeof value.pipe === "function"

/** Node emits `close` after `end` and after `error`. A listener for `error` would hide an uncaught error, so there is none. */
const nodeStream = (stream: NodeStream, ended: Ended): void => {
  const closed = () => {
    const { errored } = stream
    // Node destroys a stream with an `AbortError` when its reader leaves early.
    const left = errored instanceof Error && errored.name === "AbortError"
    ended(left || errored === undefined || errored === null ? Exit.succeed(stream) : Exit.fail(errored))
  }
  // A stream that is over already emits no more events.
  if (stream.closed === true || stream.readableEnded === true) {
    closed()
    return
  }
  stream.on("end", () => ended(Exit.succeed(stream)))
  stream.on("close", closed)
}

// ---- Async iterables ------------------------------------------------------------------------------------------------

type StreamSteps = AsyncIterator<unknown>

const isIterable = (value: object): value is AsyncIterable<unknown> =>
  Symbol.asyncIterator in value && typeof value[Symbol.asyncIterator] === "function"

const isIterator = (value: object): value is StreamSteps => "next" in value && typeof value.next === "function"

const methods = ["next", "return", "throw"] as const

/** The methods of an iterator, wrapped so that they report how the iteration ends. */
const steps = (iterator: StreamSteps, ended: Ended): StreamSteps => {
  const watched = methods.flatMap((name) => {
    const method = iterator[name] as ((...args: ReadonlyArray<unknown>) => Promise<IteratorResult<unknown>>) | undefined
    if (method === undefined) return []
    const step = async (...args: ReadonlyArray<unknown>) => {
      try {
        const result = await method.apply(iterator, [...args])
        if (result.done === true) ended(Exit.succeed(iterator))
        return result
      } catch (error) {
        // An error that the reader throws into the iterator is not a failure of the stream.
        ended(name === "next" ? Exit.fail(error) : Exit.succeed(iterator))
        throw error
      }
    }
    return [[name, step] as const]
  })
  // `Object.fromEntries` loses the names of the methods. The object has the methods of `iterator`, which always include `next`.
  return Object.fromEntries(watched) as unknown as StreamSteps
}

/** The calls that are in flight until an iterable has been read. Several calls may return the same one. */
const readers = new WeakMap<object, Set<Ended>>()

/** Replaces the methods on the iterable itself, because its class may have more methods, which use the replaced ones. */
const iterable = (stream: AsyncIterable<unknown>, end: Ended): boolean => {
  const known = readers.get(stream)
  if (known !== undefined) {
    known.add(end)
    return true
  }
  const waiting = new Set([end])
  const ended: Ended = (exit) => {
    for (const one of waiting) one(exit)
    waiting.clear()
  }
  const begin = () => {
    try {
      return original.call(stream)
    } catch (error) {
      ended(Exit.fail(error))
      throw error
    }
  }
  const original = stream[Symbol.asyncIterator]
  // A generator is its own iterator.
  const replaced: object = isIterator(stream)
    ? steps(stream, ended)
    : {
        [Symbol.asyncIterator]: () => {
          const own: AsyncIterable<unknown> & StreamSteps = {
            ...steps(begin(), ended),
            [Symbol.asyncIterator]: () => own as AsyncIterableIterator<unknown>
          }
          return own
        }
      }
  try {
    for (const name of Reflect.ownKeys(replaced)) {
      Object.defineProperty(stream, name, {
        value: Reflect.get(replaced, name),
        configurable: true,
        writable: true
      })
    }
    readers.set(stream, waiting)
    return true
  } catch {
    // A frozen iterable cannot be observed.
    return false
  }
}

/** Returns the result of a call so that `ended` is called once it has been read; `undefined` if it is not a stream that can be observed. */
export const watchedStream = (answer: unknown, ended: Ended): unknown => {
  if (!isObject(answer)) return undefined
  const end = once(ended)
  if (isWebStream(answer)) return answer.locked ? undefined : webStream(answer, end)
  if (isNodeStream(answer)) {
    nodeStream(answer, end)
    return answer
  }
  return isIterable(answer) && iterable(answer, end) ? answer : undefined
}
