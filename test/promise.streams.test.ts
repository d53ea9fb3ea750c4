import { Readable } from "node:stream"
import { createBreaker, trip, wrap } from "effect-fuse/promise"
import { afterEach, assert, describe, it } from "vitest"

const owners: Array<{ readonly shutdown: () => Promise<void> }> = []
afterEach(async () => {
  for (const owner of owners.splice(0)) await owner.shutdown()
})

const breakerOf = <Args extends ReadonlyArray<unknown>, A>(fn: (...args: Args) => A | PromiseLike<A>) => {
  const breaker = createBreaker(fn, { name: "stream", until: "stream end", trip: trip.consecutive(1), timeout: 2_000 })
  owners.push(breaker)
  return breaker
}

interface Counted {
  readonly metrics: {
    readonly inFlight: number
    readonly successes: number
    readonly failures: number
    readonly ignored: number
  }
}
const counts = ({ metrics: { failures, ignored, inFlight, successes } }: Counted) => ({
  inFlight,
  successes,
  failures,
  ignored
})
const reading = { inFlight: 1, successes: 0, failures: 0, ignored: 0 }
const success = { inFlight: 0, successes: 1, failures: 0, ignored: 0 }
const failure = { inFlight: 0, successes: 0, failures: 1, ignored: 0 }

const broken = new Error("it broke off")

async function* generate(fails: boolean) {
  yield "a"
  yield "b"
  if (fails) throw broken
}

/** A class as SDKs have it, with private state and another way to read it. */
class Chunks {
  readonly #fails: boolean
  readonly controller = new AbortController()
  constructor(fails: boolean) {
    this.#fails = fails
  }
  [Symbol.asyncIterator]() {
    return generate(this.#fails)
  }
  async all() {
    const all: Array<string> = []
    for await (const chunk of this) all.push(chunk)
    return all
  }
}

const web = (fails: boolean) => {
  const chunks = generate(fails)
  return new ReadableStream<string>({
    pull: async (controller) => {
      const { done, value } = await chunks.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    }
  })
}

const kinds: ReadonlyArray<readonly [what: string, make: (fails: boolean) => AsyncIterable<string>]> = [
  ["a generator", generate],
  ["an async iterable of a class", (fails) => new Chunks(fails)],
  ["a ReadableStream", web],
  ["a stream of Node", (fails) => Readable.from(generate(fails))]
]

/** Reads all of it, at most `most` chunks. */
const read = async (stream: AsyncIterable<string>, most = Infinity) => {
  const seen: Array<string> = []
  for await (const chunk of stream) {
    seen.push(chunk)
    if (seen.length >= most) break
  }
  return seen
}

/** Waits for a fact that an event brings about. */
const settled = async (breaker: Counted) => {
  for (let i = 0; i < 500 && counts(breaker).inFlight > 0; i++) await new Promise((resolve) => setTimeout(resolve, 5))
  return counts(breaker)
}

describe("with `until`, a call that returns", () => {
  for (const [what, make] of kinds) {
    it(`${what} is in flight while the stream is read, and a Success when the stream ends`, async () => {
      const breaker = breakerOf(async () => make(false))
      const stream = await breaker.execute()
      assert.deepStrictEqual(counts(breaker), reading)
      assert.deepStrictEqual(await read(stream), ["a", "b"])
      assert.deepStrictEqual(await settled(breaker), success)
    })

    it(`${what} that fails while it is read is a Failure, and its reader gets the error`, async () => {
      const breaker = breakerOf(async () => make(true))
      const error = await read(await breaker.execute()).catch((error) => error)
      assert.strictEqual(error, broken)
      assert.deepStrictEqual(await settled(breaker), failure)
      assert.strictEqual(breaker.state, "Open")
    })

    it(`${what} that its reader stops reading is a Success`, async () => {
      const breaker = breakerOf(async () => make(true))
      assert.deepStrictEqual(await read(await breaker.execute(), 1), ["a"])
      assert.deepStrictEqual(await settled(breaker), success)
    })
  }

  it("a generator, not a promise of one, is counted in the same way", async () => {
    const breaker = breakerOf(generate)
    await read(await breaker.execute(true)).catch(() => {})
    assert.deepStrictEqual(await settled(breaker), failure)
  })

  it("a value that is not a stream ends when it returns", async () => {
    for (const answer of ["text", undefined, null, 7, [1], { next: 1 }, () => 1, new Map()]) {
      const breaker = breakerOf(async () => answer)
      assert.strictEqual(await breaker.execute(), answer)
      assert.deepStrictEqual(counts(breaker), success)
    }
  })

  it("a stream that is locked or frozen ends when it returns", async () => {
    const locked = web(false)
    locked.getReader()
    for (const answer of [Object.freeze(new Chunks(false)), locked]) {
      const breaker = breakerOf(async () => answer)
      assert.strictEqual(await breaker.execute(), answer)
      assert.deepStrictEqual(counts(breaker), success)
    }
  })

  it("a promise that rejects is a Failure", async () => {
    const breaker = breakerOf(() => Promise.reject(broken))
    assert.strictEqual(await breaker.execute().catch((error: unknown) => error), broken)
    assert.deepStrictEqual(counts(breaker), failure)
  })
})

describe("with `until`", () => {
  it("the caller gets the same stream object, and its other methods are counted", async () => {
    const chunks = new Chunks(true)
    const breaker = breakerOf(async () => chunks)
    const given = await breaker.execute()
    assert.strictEqual(given, chunks)
    assert.strictEqual(await given.all().catch((error) => error), broken)
    assert.deepStrictEqual(await settled(breaker), failure)
  })

  it("the platform accepts the returned ReadableStream as a body", async () => {
    const bytes = () => web(false).pipeThrough(new TextEncoderStream())
    const breaker = breakerOf(async () => bytes())
    assert.strictEqual(await new Response(await breaker.execute()).text(), "ab")
    assert.deepStrictEqual(await settled(breaker), success)
  })

  it("no error listener is added to a Node stream, so an uncaught error stays uncaught", async () => {
    const breaker = breakerOf(async () => Readable.from(generate(true)))
    assert.strictEqual((await breaker.execute()).listenerCount("error"), 0)
  })

  it("the body of a response can still be read with a BYOB reader", async () => {
    const breaker = breakerOf(async () => new Response("abcdef").body ?? assert.fail("no body"))
    const reader = (await breaker.execute()).getReader({ mode: "byob" })
    let text = ""
    while (true) {
      const { done, value } = await reader.read(new Uint8Array(4))
      if (done) break
      text += new TextDecoder().decode(value)
    }
    assert.strictEqual(text, "abcdef")
    assert.deepStrictEqual(await settled(breaker), success)
  })

  it("a Node stream that has already ended is counted at once", async () => {
    const over = async (stream: Readable, end: () => unknown) => {
      stream.on("error", () => {})
      await end()
      await new Promise((resolve) => setTimeout(resolve, 5))
      const breaker = breakerOf(async () => stream)
      await breaker.execute()
      return counts(breaker)
    }
    const quiet = () => new Readable({ read: () => {} })
    const [read_, failed, destroyed] = [Readable.from(["a"]), quiet(), quiet()]
    assert.deepStrictEqual(await over(read_, () => read(read_)), success)
    assert.deepStrictEqual(await over(failed, () => failed.destroy(broken)), failure)
    assert.deepStrictEqual(await over(destroyed, () => destroyed.destroy()), success)
  })

  it("an iterable that several calls return is watched once, and its end ends all of them", async () => {
    const shared = { [Symbol.asyncIterator]: () => generate(false) }
    const breaker = breakerOf(async () => shared)
    for (let i = 0; i < 3; i++) await breaker.execute()
    const begin = shared[Symbol.asyncIterator]
    for (let i = 0; i < 20_000; i++) await breaker.execute()
    assert.strictEqual(shared[Symbol.asyncIterator], begin)
    assert.deepStrictEqual(await read(shared), ["a", "b"])
    assert.deepStrictEqual(await settled(breaker), { ...success, successes: 20_003 })
  })

  it("an iterable that throws when it is iterated is a Failure", async () => {
    const breaker = breakerOf(async () => ({
      [Symbol.asyncIterator]: (): AsyncGenerator<string> => {
        throw broken
      }
    }))
    assert.strictEqual(await read(await breaker.execute()).catch((error) => error), broken)
    assert.deepStrictEqual(await settled(breaker), failure)
  })

  it("a call is not retried after it has returned a stream", async () => {
    let calls = 0
    const breaker = createBreaker(
      async () => {
        calls++
        if (calls === 1) throw new Error("not yet")
        return generate(true)
      },
      { name: "stream", until: "stream end", retry: { times: 3, minDelay: 1 } }
    )
    owners.push(breaker)
    await read(await breaker.execute()).catch(() => {})
    assert.strictEqual(calls, 2)
    assert.strictEqual((await settled(breaker)).failures, 2)
  })

  it("without `until`, a call ends when it returns", async () => {
    const breaker = createBreaker(async () => generate(true), { name: "stream" })
    owners.push(breaker)
    await read(await breaker.execute()).catch(() => {})
    assert.deepStrictEqual(counts(breaker), success)
  })

  it("rejects an invalid `until`", () => {
    assert.throws(() => createBreaker(async () => 1, { until: "end" as never }), /until: expected "stream end"/)
  })
})

describe("a wrapped function", () => {
  it("keeps its name, its length and its own properties", async () => {
    const key = Symbol("key")
    async function find(this: unknown, id: number, _name?: string) {
      return id
    }
    const given = Object.assign(find, { displayName: "Find", [key]: 1, nested: { a: 1 } })
    Object.defineProperty(given, "computed", { get: () => 42, enumerable: false })
    const wrapped = wrap(given, { name: "circuit" })
    owners.push(wrapped.breaker)
    assert.deepStrictEqual([wrapped.name, wrapped.length, wrapped.displayName, wrapped[key]], ["find", 2, "Find", 1])
    assert.strictEqual(wrapped.nested, given.nested)
    assert.strictEqual((wrapped as unknown as { readonly computed: number }).computed, 42)
    assert.strictEqual(wrapped.breaker.name, "circuit")
    assert.strictEqual(await wrapped(7), 7)
  })

  it("can be a bound, a frozen or an arrow function", async () => {
    const arrow = async (a: number, b: number) => a + b
    for (const fn of [arrow, arrow.bind(undefined), Object.freeze(async (a: number, b: number) => a + b)]) {
      const wrapped = wrap(fn, { name: "sum" })
      owners.push(wrapped.breaker)
      assert.deepStrictEqual([wrapped.length, wrapped.name, await wrapped(1, 2)], [2, fn.name || "sum", 3])
    }
  })
})
