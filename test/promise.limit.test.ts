import { setTimeout as sleep } from "node:timers/promises"
import { assert, it } from "@effect/vitest"
import { CircuitOpenError, createBreaker, TimeoutError, trip } from "effect-fuse/promise"

/** A function with promises that the test settles. */
const held = () => {
  const ends: Array<{ readonly answer: (value: string) => void; readonly fail: (error: unknown) => void }> = []
  return { ends, call: () => new Promise<string>((answer, fail) => ends.push({ answer, fail })) }
}

const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => assert.fail("expected a rejection"),
    (error) => error
  )

const never = trip.failures({ atLeast: 100_000, of: "1m" })

it("a limit rejects the calls in excess of `max`, and admits other calls as calls end", async () => {
  const { call, ends } = held()
  const breaker = createBreaker(call, { name: "api", limit: { max: 2 } })
  const calls = [breaker.execute(), breaker.execute()]
  assert.deepStrictEqual([breaker.metrics.limit, breaker.metrics.inFlight], [2, 2])
  const error = await errorOf(breaker.execute())
  assert.instanceOf(error, CircuitOpenError)
  assert.deepStrictEqual([error.reason, error.state, error.circuit], ["Limited", "Closed", "api"])
  assert.isAtLeast(error.retryAfter, 50)
  assert.isAtMost(error.retryAfter, 150)
  ends[0]?.answer("ok")
  assert.strictEqual(await calls[0], "ok")
  const third = breaker.execute()
  for (const { answer } of ends) answer("ok")
  assert.deepStrictEqual(await Promise.all([...calls, third]), ["ok", "ok", "ok"])
})

const overloads: Readonly<Record<string, () => unknown>> = {
  "a response of fetch with status 503": () => new Response("busy", { status: 503 }),
  "a response of fetch with status 429": () => new Response("busy", { status: 429 }),
  "an error with status 503": () => Promise.reject(Object.assign(new Error("busy"), { status: 503 })),
  "the timeout of the breaker": () => new Promise(() => {})
}
for (const [name, call] of Object.entries(overloads)) {
  it(`a limit begins after ${name}`, async () => {
    const breaker = createBreaker(call, { limit: true, trip: never, timeout: 20 })
    // A timeout during a stall of the process does not count, so a busy machine may need more than one burst.
    for (let i = 0; i < 50 && breaker.metrics.limit === undefined; i++) {
      const ends = await Promise.allSettled(Array.from({ length: 20 }, () => breaker.execute()))
      if (name.startsWith("the timeout")) {
        assert.isTrue(ends.every((end) => end.status === "rejected" && end.reason instanceof TimeoutError))
      }
    }
    assert.isAtMost(breaker.metrics.limit ?? Infinity, 10)
    assert.strictEqual(breaker.metrics.state, "Closed")
  })
}

it("a limit does not begin after plain errors", async () => {
  const breaker = createBreaker(() => Promise.reject(new Error("no such table")), { limit: true, trip: never })
  await Promise.allSettled(Array.from({ length: 50 }, () => breaker.execute()))
  assert.strictEqual(breaker.metrics.limit, undefined)
})

it("a call that waits for the circuit starts when another call ends", async () => {
  const { call, ends } = held()
  const breaker = createBreaker(call, { limit: { max: 1 }, retry: { times: 0, waitForCircuit: "1 minute" } })
  const first = breaker.execute()
  const second = breaker.execute()
  while (ends.length < 1) await sleep(1)
  ends[0]?.answer("first")
  assert.strictEqual(await first, "first")
  while (ends.length < 2) await sleep(1)
  ends[1]?.answer("second")
  assert.strictEqual(await second, "second")
})

it("with a limit the cooldown is 5 seconds", async () => {
  const breaker = createBreaker(async () => 1, { limit: true })
  await breaker.open()
  assert.isAbove(breaker.metrics.retryAfter, 0)
  assert.isAtMost(breaker.metrics.retryAfter, 5_000)
})
