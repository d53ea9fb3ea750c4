import { getEventListeners } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { CircuitOpen } from "effect-fuse"
import {
  BulkheadFullError,
  type CallContext,
  CircuitOpenError,
  type CreateOptions,
  createBreaker,
  createManager,
  trip,
  wrap
} from "effect-fuse/promise"

import { ofProcess } from "../src/engine/timers.ts"
import { isRaisedByUser } from "../src/shapes/rejections.ts"

const sleep = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

/** Whether the function that calls this is called by a fiber of Effect. */
const isInFiber = (): boolean => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 100
  const { stack = "" } = new Error()
  Error.stackTraceLimit = stackTraceLimit
  return /node_modules[/\\]effect[/\\]/.test(stack)
}
const look = async () => isInFiber()

const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => assert.fail("expected a rejection"),
    (error) => error
  )

const probe = async (options: CreateOptions<[], boolean>): Promise<unknown> => {
  const breaker = createBreaker(look, { ...options, cooldown: 1 })
  await breaker.open()
  await sleep(5)
  return breaker.execute()
}

describe("A call is made without a fiber", () => {
  const ways: Readonly<Record<string, () => Promise<unknown>>> = {
    "by default": () => createBreaker(look).execute(),
    "without a timeout": () => createBreaker(look, { timeout: false }).execute(),
    "with a fallback": () => createBreaker(look, { fallback: () => true }).execute(),
    "with predicates": () => createBreaker(look, { isFailure: () => true, isIgnored: () => true }).execute(),
    "with another trip": () =>
      createBreaker(look, { trip: trip.slowRate({ threshold: 1, minimumCalls: 9, over: 9 }) }).execute(),
    "with a limit": () => createBreaker(look, { limit: true }).execute(),
    "with a key": () => createBreaker(look).with({ key: "a" }).execute(),
    "with a signal": () => createBreaker(look).with({ signal: new AbortController().signal }).execute(),
    "by run": () => createBreaker(async () => true).run(look),
    "by wrap": () => wrap(look)(),
    "by a manager": () => createManager().register("api", look).execute(),
    "if it is a probe": () => probe({}),
    "after the circuit has closed again": async () => {
      const breaker = createBreaker(look)
      await breaker.open()
      await breaker.close()
      return breaker.execute()
    }
  }
  for (const [way, call] of Object.entries(ways)) {
    it(way, async () => assert.isFalse(await call()))
  }
})

describe("A call is an effect", () => {
  const ways: Readonly<Record<string, () => Promise<unknown>>> = {
    "with a retry": () => createBreaker(look, { retry: 1 }).execute(),
    "with a bulkhead": () => createBreaker(look, { bulkhead: { concurrency: 1 } }).execute(),
    "until the end of a stream": () => createBreaker(look, { until: "stream end" }).execute(),
    "with a flag": () => createBreaker(look, { enabled: () => true }).execute(),
    "with a circuit that only observes": () => createBreaker(look, { mode: "observe" }).execute(),
    "with a dependency": () => createBreaker(look, { dependsOn: ["other"] }).execute(),
    "with a trip that asks for the calls in flight": () =>
      createBreaker(look, { trip: trip.stuck({ calls: 1, olderThan: "1s" }) }).execute(),
    "if it is a probe and `log` is given": () => probe({ log: () => {} }),
    "if it is a probe that `probeTimeout` may end": () => probe({ timeout: "1 hour" }),
    "during a ramp": async () => {
      const breaker = createBreaker(look, { ramp: "1 hour" })
      await breaker.open()
      await breaker.close()
      return breaker.execute()
    },
    "while it is disabled": async () => {
      const breaker = createBreaker(look)
      await breaker.disable()
      return breaker.with({ key: "a" }).execute()
    }
  }
  for (const [way, call] of Object.entries(ways)) {
    it(way, async () => assert.isTrue(await call()))
  }
})

describe("The result of a function is read as await reads it", () => {
  const ownThen = Object.assign(Promise.resolve("the promise"), {
    // biome-ignore lint/suspicious/noThenProperty: this is what is tested
    then: (resolve: (value: string) => void) => resolve("its own then")
  })
  class Lazy extends Promise<string> {
    // biome-ignore lint/suspicious/noThenProperty: this is what is tested
    override then(...on: ReadonlyArray<never>): never {
      return Promise.resolve("its class").then(...on) as never
    }
  }
  const values: ReadonlyArray<readonly [what: string, make: () => unknown, expected: string]> = [
    ["a value", () => "a value", "a value"],
    ["a promise with a `then` of its own", () => ownThen, "its own then"],
    ["a promise of a subclass", () => new Lazy((resolve) => resolve("the promise")), "its class"],
    // biome-ignore lint/suspicious/noThenProperty: this is what is tested
    ["a thenable", () => ({ then: (resolve: (value: string) => void) => resolve("a thenable") }), "a thenable"],
    ["what only looks like a promise", () => Object.create(Promise.prototype), "TypeError"],
    [
      "a promise that throws when it is looked at",
      () =>
        // biome-ignore lint/suspicious/noThenProperty: this is what is tested
        Object.defineProperty(Promise.resolve(), "then", {
          get: () => {
            throw new RangeError("no")
          }
        }),
      "RangeError"
    ]
  ]
  for (const options of [{}, { timeout: false }, { bulkhead: { concurrency: 1 } }] as const) {
    for (const [what, make, expected] of values) {
      it(`${what}, with ${JSON.stringify(options)}`, async () => {
        const breaker = createBreaker(make as () => Promise<string>, options)
        assert.strictEqual(await breaker.execute().catch((error) => error.name), expected)
        assert.strictEqual(breaker.metrics.inFlight, 0)
      })
    }
  }
})

describe("A rejection of another policy that the function throws", () => {
  for (const options of [{}, { timeout: false }, { bulkhead: { concurrency: 1 } }] as const) {
    it(`counts as an error of the function, also for Effect policies around the call, with ${JSON.stringify(options)}`, async () => {
      const { retryAfter, ...fields } = {
        circuit: "db",
        state: "Open",
        reason: "Cooldown",
        openings: 1,
        retryAfter: 1
      } as const
      const raised = CircuitOpen.make({ ...fields, retryAfter: Duration.millis(retryAfter) })
      const breaker = createBreaker(async () => Promise.reject(raised), options)
      assert.strictEqual(await errorOf(breaker.execute()), raised)
      assert.isTrue(isRaisedByUser(raised))
      assert.strictEqual(breaker.metrics.ignored, 1)
    })
  }
})

it("A function that first asks for its signal after the timeout finds it aborted", async () => {
  let asked: AbortSignal | undefined
  let end = () => {}
  const timedOut = new Promise<void>((resolve) => {
    end = resolve
  })
  const breaker = createBreaker(
    async function (this: CallContext) {
      await timedOut
      asked = this.signal
    },
    { timeout: 10 }
  )
  const error = await errorOf(breaker.execute())
  end()
  for (let i = 0; i < 500 && asked === undefined; i++) await sleep(5)
  assert.isTrue(asked?.aborted)
  assert.strictEqual(asked?.reason, error)
  assert.propertyVal(error, "code", "TIMEOUT")
})

it("A breaker that has made calls sees the circuits that are imported", async () => {
  const open = createBreaker(async () => "up", { name: "api" })
  await open.open()
  const breaker = createBreaker(async () => "up", { name: "api" })
  await breaker.execute()
  await breaker.importAll(await open.exportAll())
  assert.instanceOf(await errorOf(breaker.execute()), CircuitOpenError)
})

it("A call that has ended keeps no timer", async () => {
  const breaker = createBreaker(async (fails: boolean) => {
    if (fails) throw new Error("down")
  })
  const { waiting } = ofProcess
  await breaker.execute(false)
  await errorOf(breaker.execute(true))
  const control = new AbortController()
  const aborted = errorOf(breaker.run(() => new Promise(() => {}), { signal: control.signal }))
  control.abort()
  await aborted
  assert.strictEqual(ofProcess.waiting, waiting)
})

it("A call that has ended leaves no listener on its signal", async () => {
  const breaker = createBreaker(async (fails: boolean) => {
    if (fails) throw new Error("down")
  })
  const { signal } = new AbortController()
  for (const fails of [false, true])
    await breaker
      .with({ signal })
      .execute(fails)
      .catch(() => {})
  assert.deepStrictEqual(getEventListeners(signal, "abort"), [])
})

describe("The error of a rejection", () => {
  type Rejects = (rejectionStack: boolean | undefined) => Promise<unknown>
  const open = async (breaker: { open: () => Promise<void>; execute: () => Promise<unknown> }) => {
    await breaker.open()
    // The stack of an error names the functions that wait for it.
    const callerOfTheBreaker = async () => await breaker.execute()
    return errorOf(callerOfTheBreaker())
  }
  const ways: Readonly<Record<string, Rejects>> = {
    "of an open circuit": (rejectionStack) => open(createBreaker(look, { rejectionStack })),
    "of an open circuit, by an effect": (rejectionStack) => open(createBreaker(look, { rejectionStack, retry: 1 })),
    "of a full bulkhead": async (rejectionStack) => {
      const breaker = createBreaker(() => sleep(50), { rejectionStack, bulkhead: { concurrency: 1 } })
      const first = breaker.execute()
      const callerOfTheBreaker = async () => await breaker.execute()
      const error = await errorOf(callerOfTheBreaker())
      await first
      return error
    }
  }
  for (const [way, rejects] of Object.entries(ways)) {
    it(`${way} has no stack trace, which would cost more than the whole rejection`, async () => {
      for (const given of [undefined, false]) {
        const error = (await rejects(given)) as Error
        assert.isTrue(error instanceof CircuitOpenError || error instanceof BulkheadFullError)
        assert.strictEqual(error.stack, `${error.name}: ${error.message}`)
      }
    })

    it(`${way} has a stack trace that names the caller if rejectionStack is true`, async () => {
      const error = (await rejects(true)) as Error
      assert.include(error.stack, "callerOfTheBreaker")
    })
  }

  it("has the retryAfter of its own rejection, also after many other rejections", async () => {
    const breaker = createBreaker(look, { cooldown: "1 hour", name: "api" })
    await breaker.open()
    const messages = new Set<string>()
    for (let i = 0; i < 1_000 && messages.size < 3; i++) {
      const error = (await errorOf(breaker.execute())) as CircuitOpenError
      messages.add(error.message)
      assert.match(error.message, /^Circuit "api" is open \(opened by hand\), retry after \d/)
      await sleep(1)
    }
    assert.strictEqual(messages.size, 3)
  })
})
