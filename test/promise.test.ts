import { assert, describe, expectTypeOf, it, vi } from "@effect/vitest"
import {
  type Breaker,
  BreakerError,
  type BreakerEvent,
  BulkheadFullError,
  CircuitOpenError,
  ConfigurationError,
  createBreaker,
  createManager,
  type Owner,
  protect,
  ShutdownError,
  TimeoutError,
  trip,
  wrap
} from "effect-fuse/promise"

/** How a promise ends, in a word: its value, or the code, the message or the reason of its error. */
const end = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    return await promise
  } catch (error) {
    return error instanceof BreakerError ? error.code : error instanceof Error ? error.message : error
  }
}

const until = async (fact: () => boolean): Promise<void> => {
  for (let i = 0; i < 1_000 && !fact(); i++) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.isTrue(fact(), "it did not become true")
}

const sleep = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

/** Something that is up or down. */
const dependency = () => {
  const self = {
    down: false,
    calls: [] as Array<number>,
    get: async (n: number) => {
      self.calls.push(n)
      if (self.down) throw new Error(`down ${n}`)
      return n * 10
    }
  }
  return self
}

/** Opens at the first failure and stays open for the whole test, however slow the machine is. */
const one = { trip: trip.consecutive(1), cooldown: "1 hour" } as const

/** Opens at the first failure and lets a probe through soon. */
const brief = { ...one, cooldown: "100 millis" } as const

/** Calls until the circuit has closed. */
const recovered = async (breaker: { readonly state: string; readonly execute: (n: number) => Promise<unknown> }) => {
  for (let i = 0; i < 1_000 && breaker.state !== "Closed"; i++) {
    await end(breaker.execute(1))
    await sleep(5)
  }
  assert.strictEqual(breaker.state, "Closed")
}

describe("a breaker of a function", () => {
  it("passes on results and errors unchanged", async () => {
    const api = dependency()
    const breaker = createBreaker(api.get)
    assert.strictEqual(await breaker.execute(4), 40)
    api.down = true
    const error = new TypeError("mine")
    const failing = createBreaker(async () => {
      throw error
    })
    assert.strictEqual(await failing.execute().catch((caught) => caught), error)
    const undefinedError = createBreaker(() => Promise.reject(undefined))
    assert.strictEqual(await undefinedError.execute().catch((caught) => caught), undefined)
  })

  it("accepts functions that return or throw synchronously", async () => {
    const breaker = createBreaker((n: number) => {
      if (n < 0) throw new Error("negative")
      return n + 1
    }, one)
    assert.strictEqual(await breaker.execute(1), 2)
    assert.strictEqual(await end(breaker.execute(-1)), "negative")
    assert.strictEqual(breaker.state, "Open")
  })

  it("opens, and then rejects without calling the function", async () => {
    const api = dependency()
    const breaker = createBreaker(api.get, { ...one, name: "api" })
    api.down = true
    assert.strictEqual(await end(breaker.execute(1)), "down 1")
    const open = await breaker.execute(2).catch((error) => error)
    assert.instanceOf(open, CircuitOpenError)
    assert.strictEqual(open.name, "CircuitOpenError")
    assert.deepInclude(open, {
      code: "CIRCUIT_OPEN",
      circuit: "api",
      key: undefined,
      state: "Open",
      scope: "local",
      reason: "Cooldown",
      openings: 1
    })
    assert.isTrue(open.retryAfter > 0 && open.retryAfter <= 3_600_000)
    assert.match(open.message, /^Circuit "api" is open/)
    assert.deepStrictEqual(api.calls, [1])
    assert.isNumber(open.downSince)
    assert.strictEqual(open.downSince, breaker.metrics.outage?.since)
  })

  it("recovers after its cooldown", async () => {
    const api = dependency()
    const breaker = createBreaker(api.get, brief)
    api.down = true
    assert.strictEqual(await end(breaker.execute(1)), "down 1")
    assert.strictEqual(breaker.state, "Open")
    api.down = false
    await recovered(breaker)
    assert.strictEqual(await breaker.execute(3), 30)
  })

  it("has a circuit for each key", async () => {
    const api = dependency()
    const breaker = createBreaker(api.get, one)
    api.down = true
    await end(breaker.with({ key: "a" }).execute(1))
    api.down = false
    assert.strictEqual(await end(breaker.with({ key: "a" }).execute(2)), "CIRCUIT_OPEN")
    assert.strictEqual(await breaker.with({ key: "b" }).execute(3), 30)
    assert.deepStrictEqual(
      [breaker.inspect("a").state, breaker.inspect("b").state, breaker.state],
      ["Open", "Closed", "Closed"]
    )
  })

  it("runs other functions with the same circuit", async () => {
    const breaker = createBreaker(async () => 1, one)
    assert.strictEqual(await end(breaker.run(() => Promise.reject(new Error("no")))), "no")
    assert.strictEqual(await end(breaker.execute()), "CIRCUIT_OPEN")
    assert.strictEqual(await end(breaker.run(() => "yes")), "CIRCUIT_OPEN")
  })

  it("rejects a call that exceeds the timeout, aborts its signal, and counts a failure", async () => {
    const aborted = vi.fn()
    const breaker = createBreaker(
      function (n: number) {
        this.signal.addEventListener("abort", aborted)
        return sleep(n)
      },
      { name: "slow", timeout: 20, trip: trip.consecutive(2) }
    )
    const error = await breaker.execute(5_000).catch((caught) => caught)
    assert.instanceOf(error, TimeoutError)
    assert.deepInclude(error, { code: "TIMEOUT", circuit: "slow", timeout: 20 })
    assert.strictEqual(error.message, 'A call of "slow" took longer than 20 ms')
    assert.strictEqual(aborted.mock.calls.length, 1)
    assert.strictEqual(breaker.metrics.failures, 1)
  })

  it("rejects a call that its caller aborts, and counts it as ignored", async () => {
    const signals: Array<AbortSignal> = []
    const breaker = createBreaker(function () {
      signals.push(this.signal)
      return new Promise<never>(() => {})
    }, one)
    const control = new AbortController()
    const call = breaker.with({ signal: control.signal }).execute()
    await until(() => signals.length === 1)
    const reason = new Error("the user left")
    control.abort(reason)
    assert.strictEqual(await call.catch((caught) => caught), reason)
    assert.isTrue(signals[0]?.aborted)
    const { ignored, inFlight } = breaker.metrics
    assert.deepStrictEqual([ignored, inFlight, breaker.state], [1, 0, "Closed"])
    // One that is aborted already is not called at all.
    assert.strictEqual(
      await breaker
        .with({ signal: control.signal })
        .execute()
        .catch((caught) => caught),
      reason
    )
    assert.strictEqual(signals.length, 1)
    assert.strictEqual(
      await breaker.run(() => sleep(5_000), { signal: AbortSignal.timeout(10) }).catch((error) => error.name),
      "TimeoutError"
    )
  })

  it("retries with the same arguments, and not while the circuit is open", async () => {
    const api = dependency()
    let failures = 2
    const flaky = createBreaker(
      async (n: number) => {
        api.calls.push(n)
        if (failures-- > 0) throw new Error("flaky")
        return n
      },
      { retry: { times: 2, minDelay: 1, jitter: 0 } }
    )
    assert.strictEqual(await flaky.execute(1), 1)
    assert.deepStrictEqual(api.calls, [1, 1, 1])
    api.down = true
    const opening = createBreaker(api.get, { ...one, retry: 5 })
    assert.strictEqual(await end(opening.execute(2)), "CIRCUIT_OPEN")
    assert.deepStrictEqual(api.calls, [1, 1, 1, 2])
  })

  it("retries twice by default", async () => {
    const api = dependency()
    api.down = true
    const retry = { times: undefined, minDelay: 1, jitter: 0 }
    const breaker = createBreaker(api.get, { trip: trip.consecutive(100), retry })
    await end(breaker.execute(1))
    assert.deepStrictEqual(api.calls, [1, 1, 1])
  })

  it("retries only the errors for which `while` returns true", async () => {
    const calls: Array<string> = []
    const breaker = createBreaker(
      async (message: string) => {
        calls.push(message)
        throw new Error(message)
      },
      {
        timeout: 1_000,
        retry: { times: 3, minDelay: 1, while: (error) => error instanceof Error && error.message === "busy" }
      }
    )
    assert.strictEqual(await end(breaker.execute("fatal")), "fatal")
    assert.strictEqual(await end(breaker.execute("busy")), "busy")
    assert.deepStrictEqual(calls, ["fatal", "busy", "busy", "busy", "busy"])
  })

  it("waits for its circuit with waitForCircuit", async () => {
    const api = dependency()
    const breaker = createBreaker(api.get, { ...brief, retry: { times: 0, waitForCircuit: "1 minute" } })
    api.down = true
    await end(breaker.execute(1))
    api.down = false
    assert.strictEqual(await breaker.execute(2), 20)
  })

  it("limits the calls that run and wait with a bulkhead", async () => {
    const releases: Array<() => void> = []
    const breaker = createBreaker((n: number) => new Promise<number>((resolve) => releases.push(() => resolve(n))), {
      name: "pdf",
      bulkhead: { concurrency: 1, queue: 1 }
    })
    const [first, second] = [breaker.execute(1), breaker.execute(2)]
    const full = await breaker.execute(3).catch((error) => error)
    assert.instanceOf(full, BulkheadFullError)
    assert.deepInclude(full, { code: "BULKHEAD_FULL", bulkhead: "pdf" })
    releases[0]?.()
    assert.strictEqual(await first, 1)
    await until(() => releases.length === 2)
    releases[1]?.()
    assert.strictEqual(await second, 2)
    assert.deepStrictEqual([breaker.metrics.failures, breaker.metrics.ignored], [0, 1])
  })

  it("returns the fallback for every failure, but not for a call that its caller aborted", async () => {
    const api = dependency()
    const seen: Array<unknown> = []
    const breaker = createBreaker(api.get, {
      ...one,
      fallback: async (error, n) => {
        seen.push(error instanceof BreakerError ? error.code : (error as Error).message)
        return -n
      }
    })
    api.down = true
    assert.deepStrictEqual([await breaker.execute(1), await breaker.execute(2)], [-1, -2])
    assert.deepStrictEqual(seen, ["down 1", "CIRCUIT_OPEN"])
    const failing = createBreaker(async () => Promise.reject(new Error("a")), {
      fallback: () => {
        throw new Error("b")
      }
    })
    assert.strictEqual(await end(failing.execute()), "b")
    const left = createBreaker(() => new Promise<string>(() => {}), { fallback: () => "fallback" })
    const call = left.with({ signal: AbortSignal.timeout(10) }).execute()
    assert.include((await end(call)) as string, "timeout")
  })

  it("classifies errors with isFailure and isIgnored", async () => {
    const breaker = createBreaker(
      async (message: string) => {
        throw new Error(message)
      },
      {
        ...one,
        isFailure: (error) => (error as Error).message === "down",
        isIgnored: (error) => (error as Error).message === "mine"
      }
    )
    await end(breaker.execute("not found"))
    await end(breaker.execute("mine"))
    assert.deepInclude(breaker.metrics, { state: "Closed", successes: 1, ignored: 1, failures: 0 })
    await end(breaker.execute("down"))
    assert.deepInclude(breaker.metrics, { state: "Open", failures: 1 })
  })

  it("ignores the rejections of a breaker inside it", async () => {
    const inner = createBreaker(async () => "ok", one)
    await inner.isolate()
    const outer = createBreaker(() => inner.execute(), one)
    assert.strictEqual(await end(outer.execute()), "CIRCUIT_OPEN")
    assert.deepStrictEqual([outer.state, outer.metrics.ignored], ["Closed", 1])
  })

  it("accepts the same trips as Effect code", async () => {
    const api = dependency()
    const breaker = createBreaker(api.get, {
      trip: trip.any(
        trip.failures({ atLeast: 2, of: 5 }),
        trip.custom("every third", (seen) => seen.running > 100, { over: "1 minute" })
      )
    })
    api.down = true
    await end(breaker.execute(1))
    api.down = false
    await breaker.execute(2)
    api.down = true
    await end(breaker.execute(3))
    assert.strictEqual(breaker.state, "Open")
  })

  it("can be switched off with `enabled`, and health checks run while it is open", async () => {
    const api = dependency()
    let on = false
    const flagged = createBreaker(api.get, { ...one, enabled: async () => on })
    api.down = true
    await end(flagged.execute(1))
    assert.strictEqual(await end(flagged.execute(2)), "down 2")
    on = true
    await end(flagged.execute(3))
    assert.strictEqual(await end(flagged.execute(4)), "CIRCUIT_OPEN")

    const told: Array<unknown> = []
    const asking = createBreaker(api.get, {
      ...one,
      name: "told",
      enabled: (of) => told.push(of) < 0
    })
    await end(asking.with({ key: "k1" }).execute(1))
    assert.deepStrictEqual(told, [{ name: "told", key: "k1" }])

    const hanging = createBreaker(api.get, {
      ...one,
      enabled: () => new Promise<boolean>(() => {})
    })
    assert.strictEqual(await end(hanging.execute(9)), "down 9")
    assert.strictEqual(await end(hanging.execute(9)), "CIRCUIT_OPEN")

    let well = false
    const checked = createBreaker(api.get, {
      ...one,
      probe: { check: async () => well, every: "10 millis" }
    })
    await end(checked.execute(5))
    assert.strictEqual(checked.state, "Open")
    well = true
    await until(() => checked.state === "Closed")
  })

  it("takes operator actions", async () => {
    const breaker = createBreaker(async () => 1)
    await breaker.isolate({ reason: "migration", actor: "ann", for: "1 hour" })
    const open = await breaker.execute().catch((error) => error)
    assert.deepInclude(open, { reason: "Isolated", detail: "migration" })
    assert.strictEqual(await end(breaker.with({ key: "a" }).execute()), "CIRCUIT_OPEN")
    await breaker.isolate({ reason: "drill", actor: "bob" })
    const { ended, state } = await breaker.release()
    assert.strictEqual(state, "Closed")
    const [drill, migration] = ended
    assert.deepInclude(drill, { state: "Isolated", until: Infinity, reason: "drill", actor: "bob" })
    assert.deepInclude(migration, { state: "Isolated", reason: "migration", actor: "ann" })
    assert.closeTo((migration?.until ?? 0) - (migration?.since ?? 0), 3_600_000, 2)
    assert.strictEqual(await breaker.execute(), 1)
    await breaker.open({ for: 60_000 })
    assert.strictEqual(breaker.state, "Open")
    await breaker.close()
    assert.strictEqual(breaker.state, "Closed")
    await breaker.disable()
    assert.strictEqual(breaker.state, "Disabled")
    await breaker.reset()
    assert.strictEqual(breaker.state, "Closed")
  })

  it("reports its counts and its state as metrics", async () => {
    const api = dependency()
    const breaker = createBreaker(api.get, { name: "api", trip: trip.failures({ atLeast: 5, of: 10 }) })
    await breaker.execute(1)
    api.down = true
    await end(breaker.execute(2))
    const { lastFailures, ...metrics } = breaker.metrics
    assert.deepStrictEqual(metrics, {
      name: "api",
      key: undefined,
      state: "Closed",
      scope: "local",
      calls: 2,
      successes: 1,
      failures: 1,
      ignored: 0,
      slow: 0,
      rejected: 0,
      passed: 0,
      inFlight: 0,
      limit: undefined,
      streak: 1,
      failureRate: 0.5,
      openings: 0,
      outage: undefined,
      retryAfter: 0
    })
    assert.deepStrictEqual(
      lastFailures.map(({ error }) => error),
      ["Error: down 2"]
    )
  })

  it("reports the transitions of its circuits until a listener is removed", async () => {
    const api = dependency()
    const breaker = createBreaker(api.get, { ...brief, name: "api" })
    const seen: Array<string> = []
    const all: Array<BreakerEvent> = []
    breaker.on("open", () => seen.push("open"))
    breaker.on("halfOpen", () => seen.push("halfOpen"))
    const off = breaker.on("close", () => seen.push("close"))
    breaker.on("isolate", ({ reason }: BreakerEvent & { reason?: string }) => seen.push(`isolate ${reason}`))
    breaker.on("transition", (event) => all.push(event))
    api.down = true
    await end(breaker.execute(1))
    api.down = false
    await recovered(breaker)
    await until(() => all.length === 3)
    assert.deepStrictEqual(seen, ["open", "halfOpen", "close"])
    const [open] = all
    assert.deepInclude(open, {
      name: "api",
      from: "Closed",
      to: "Open",
      why: "Tripped",
      retryAfter: 100,
      scope: "local"
    })
    assert.isNumber(open?.at)
    off()
    await breaker.isolate({ reason: "why", actor: "ann" })
    await breaker.release()
    await until(() => all.length === 5)
    assert.deepStrictEqual(seen, ["open", "halfOpen", "close", "isolate undefined"])
    assert.deepInclude(all[3], { to: "Isolated", detail: "why", actor: "ann", retryAfter: Infinity })
  })

  it("reports the start of an outage and the number of its openings until the circuit closes", async () => {
    const api = dependency()
    await using manager = createManager({ defaults: { ...one, cooldown: "5 millis" } })
    const breaker = manager.register("api", api.get)
    const all: Array<BreakerEvent> = []
    breaker.on("transition", (event) => all.push(event))
    api.down = true
    await end(breaker.execute(1))
    const since = breaker.metrics.outage?.since
    assert.isNumber(since)
    while ((breaker.metrics.outage?.openings ?? 0) < 3) {
      await end(breaker.execute(1))
      await sleep(1)
    }
    assert.deepStrictEqual(breaker.metrics.outage, { since, openings: 3 })
    assert.strictEqual(manager.aggregateMetrics().down, 1)
    api.down = false
    while (breaker.state !== "Closed") {
      await end(breaker.execute(1))
      await sleep(1)
    }
    assert.isUndefined(breaker.metrics.outage)
    assert.strictEqual(manager.aggregateMetrics().down, 0)
    await until(() => all.at(-1)?.to === "Closed")
    assert.deepStrictEqual([...new Set(all.map(({ outage }) => outage?.since))], [since])
    assert.deepStrictEqual(
      all.map(({ downFor }) => downFor !== undefined),
      all.map(({ to }) => to === "Closed")
    )
  })

  it("calls the other listeners if a listener throws, and the error is uncaught", async () => {
    const breaker = createBreaker(async () => 1)
    const thrown: Array<unknown> = []
    const others = process.listeners("uncaughtException")
    process.removeAllListeners("uncaughtException")
    process.on("uncaughtException", (error) => thrown.push(error))
    try {
      const seen: Array<string> = []
      breaker.on("transition", () => {
        throw new Error("listener")
      })
      breaker.on("transition", ({ to }) => seen.push(to))
      await breaker.isolate()
      await breaker.release()
      await until(() => seen.length === 2 && thrown.length === 2)
      assert.deepStrictEqual(seen, ["Isolated", "Closed"])
    } finally {
      process.removeAllListeners("uncaughtException")
      for (const other of others) process.on("uncaughtException", other)
    }
  })

  it("rejects calls after a shutdown, and lets running calls end", async () => {
    let release = () => {}
    const breaker = createBreaker(
      () =>
        new Promise<string>((resolve) => {
          release = () => resolve("done")
        }),
      { name: "api" }
    )
    const running = breaker.execute()
    await until(() => breaker.metrics.inFlight === 1)
    await Promise.all([breaker.shutdown(), breaker.shutdown()])
    const error = await breaker.execute().catch((caught) => caught)
    assert.instanceOf(error, ShutdownError)
    assert.deepInclude(error, { code: "SHUT_DOWN", message: 'The breaker "api" was shut down' })
    assert.strictEqual(await end(breaker.reset()), "SHUT_DOWN")
    release()
    assert.strictEqual(await running, "done")
  })

  it("has no call in flight after a thousand concurrent calls", async () => {
    const breaker = createBreaker(
      async (n: number) => {
        await sleep(n % 5)
        if (n % 7 === 0) throw new Error("seven")
        return n
      },
      { trip: trip.consecutive(100), retry: { times: 1, minDelay: 1, jitter: 0 } }
    )
    const ends = await Promise.all(
      Array.from({ length: 1_000 }, (_, n) => end(breaker.with({ signal: AbortSignal.timeout(10_000) }).execute(n)))
    )
    assert.strictEqual(ends.filter((one) => one === "seven").length, 143)
    assert.strictEqual(breaker.metrics.inFlight, 0)
  })
})

describe("a manager", () => {
  it("registers breakers by name, applies its defaults, and aggregates their metrics", async () => {
    const api = dependency()
    await using manager = createManager({ defaults: { ...one, timeout: false } })
    const users = manager.register("users", api.get)
    const orders = manager.register("orders", async () => ["one"], { cooldown: "1 hour" })
    manager.register("unused", async () => {})
    await users.execute(1)
    await orders.execute()
    api.down = true
    await end(users.execute(2))
    await end(users.execute(3))
    assert.deepStrictEqual(manager.names, ["users", "orders", "unused"])
    const { breakers, ...all } = manager.aggregateMetrics()
    assert.deepStrictEqual(all, {
      circuits: 3,
      healthy: 2,
      open: 1,
      down: 1,
      calls: 3,
      successes: 2,
      failures: 1,
      ignored: 0,
      slow: 0,
      rejected: 1,
      passed: 0,
      inFlight: 0,
      failureRate: 0.5 // of the one that is open, and the one that is well
    })
    assert.deepStrictEqual(
      breakers.map(({ name, state }) => [name, state]),
      [
        ["users", "Open"],
        ["orders", "Closed"],
        ["unused", "Closed"]
      ]
    )
    assert.strictEqual(manager.get("users"), users as unknown)
    assert.strictEqual(await end(manager.get("users")?.execute(1) ?? Promise.resolve()), "CIRCUIT_OPEN")
    assert.strictEqual(manager.get("nobody"), undefined)
  })

  it("applies a default to an option that is missing or undefined", async () => {
    const manager = createManager({ defaults: { timeout: 20 } })
    const breaker = manager.register("a", () => new Promise(() => {}), { timeout: undefined })
    assert.strictEqual(await end(breaker.execute()), "TIMEOUT")
  })

  it("reports the transitions of all circuits, and shuts all breakers down", async () => {
    const manager = createManager()
    const seen: Array<string> = []
    manager.on("isolate", ({ name }) => seen.push(name))
    const [a, b] = [manager.register("a", async () => 1), manager.register("b", async () => 2)]
    await manager.ready()
    await a.isolate()
    await b.isolate()
    await until(() => seen.length === 2)
    assert.deepStrictEqual(seen, ["a", "b"])
    await manager.shutdown()
    assert.deepStrictEqual([await end(a.execute()), await end(b.execute())], ["SHUT_DOWN", "SHUT_DOWN"])
  })

  it("logs only to its `log` function", async () => {
    const logged: Array<readonly [string, string]> = []
    const manager = createManager({ log: (level, message) => logged.push([level, message]) })
    const spy = vi.spyOn(console, "log")
    await manager.register("a", async () => 1).isolate({ reason: "why" })
    await createBreaker(async () => 1).isolate()
    assert.deepStrictEqual(
      logged.map(([level]) => level),
      ["warn"]
    )
    assert.include(logged[0]?.[1], 'Circuit "a" was isolated')
    assert.strictEqual(spy.mock.calls.length, 0)
    spy.mockRestore()
  })

  it("limits the circuits with keys to maxCircuits", async () => {
    const manager = createManager({ maxCircuits: 3 })
    const breaker = manager.register("a", async () => 1)
    for (let i = 0; i < 50; i++) await breaker.with({ key: `k${i}` }).execute()
    assert.isAtMost(manager.aggregateMetrics().circuits, 4)
  })
})

describe("methods", () => {
  class Users {
    readonly prefix: string
    constructor(prefix: string) {
      this.prefix = prefix
    }
    async find(id: number) {
      if (id < 0) throw new Error("negative")
      return `${this.prefix}${id}`
    }
  }

  it("are wrapped with their `this`", async () => {
    const users = new Users("u")
    const find = wrap(users.find, { ...one, name: "find" })
    assert.strictEqual(await find.call(users, 1), "u1")
    assert.strictEqual(await end(find.call(users, -1)), "negative")
    assert.strictEqual(await end(find.call(users, 1)), "CIRCUIT_OPEN")
    assert.strictEqual(find.breaker.state, "Open")
  })

  it("are decorated: all instances share the circuit", async () => {
    const manager = createManager()
    const decorate = protect({ manager, name: "users.find", ...one })
    const decorated = decorate(Users.prototype.find, { kind: "method", name: "find" })
    const [a, b] = [new Users("a"), new Users("b")]
    assert.deepStrictEqual([await decorated.call(a, 1), await decorated.call(b, 2)], ["a1", "b2"])
    assert.strictEqual(await end(decorated.call(a, -1)), "negative")
    assert.strictEqual(await end(decorated.call(b, 1)), "CIRCUIT_OPEN")
    assert.strictEqual(manager.get("users.find")?.metrics.calls, 3)
    // By itself it has the name of the method.
    const named = protect(one)(Users.prototype.find, { kind: "method", name: "find" })
    await end(named.call(a, -1))
    const open = await named.call(a, 1).catch((error) => error)
    assert.strictEqual(open.circuit, "find")
  })
})

describe("the types", () => {
  it("are those of the function", () => {
    const fn = async (id: number, name?: string) => ({ id, name })
    type User = { id: number; name: string | undefined }
    expectTypeOf(createBreaker(fn)).toEqualTypeOf<Breaker<[id: number, name?: string], User> & Owner>()
    const breaker = createBreaker(fn)
    expectTypeOf(breaker.execute).toEqualTypeOf<(id: number, name?: string) => Promise<User>>()
    // @ts-expect-error Not its argument.
    void end(breaker.execute("1"))
    createBreaker(fn, { fallback: (_, id) => ({ id, name: "nobody" }) })
    // @ts-expect-error Not its answer.
    createBreaker(fn, { fallback: () => 1 })
    expectTypeOf(breaker.run(() => "x")).toEqualTypeOf<Promise<string>>()
    const generic = wrap(async <T>(x: T): Promise<T> => x)
    expectTypeOf(generic(5)).toEqualTypeOf<Promise<number>>()
    function over(a: string): Promise<string>
    function over(a: number): Promise<number>
    async function over(a: unknown): Promise<unknown> {
      return a
    }
    expectTypeOf(wrap(over)("a")).toEqualTypeOf<Promise<string>>()
    const sync = wrap((n: number) => n + 1, { fallback: (_, n) => n })
    expectTypeOf(sync).returns.toEqualTypeOf<Promise<number>>()
    const named = wrap(over, { name: "circuit" })
    assert.deepStrictEqual([named.name, named.breaker.name], ["over", "circuit"])
    assert.strictEqual(
      wrap(
        (
          () => async () =>
            1
        )(),
        { name: "circuit" }
      ).name,
      "circuit"
    )
    const maybe = undefined as string | undefined
    void breaker.isolate({ for: maybe })
    createBreaker(fn, { cooldown: { exponential: "1 second", factor: undefined } })
    // As the compiler would apply it to a method.
    class Repo<T> {
      readonly items: Array<T> = []
      async by<K extends keyof T>(key: K): Promise<Array<T[K]>> {
        return this.items.map((item) => item[key])
      }
    }
    const context = { kind: "method", name: "by" } as const
    const by: typeof Repo.prototype.by = protect({ fallback: () => [] })(Repo.prototype.by, context)
    assert.strictEqual(by.name, "by")
  })
})

describe("an invalid option", () => {
  const fn = async () => 1
  it.each([
    [() => createBreaker(1 as never), /createBreaker: fn: expected a function, got 1/],
    [() => createBreaker(fn, { name: "" }), /createBreaker: name: expected a text/],
    [
      () => createBreaker(fn, { coolDown: 1 } as never),
      /createBreaker: coolDown: unknown field \(did you mean cooldown\?\), expected one of name, redis, maxCircuits, log, /
    ],
    [() => createBreaker(fn, { cooldown: "soon" }), /cooldown: expected/],
    [() => createBreaker(fn, { timeout: 0 }), /timeout: expected a duration above 0/],
    [() => createBreaker(fn, { trip: { _tag: "Never" } }), /trip: expected a trip such as trip\.consecutive\(5\) /],
    [
      () => createBreaker(fn, { trip: trip.any(5 as never) }),
      /trip\.trips\.0: expected a trip such as trip\.consecutive\(5\) /
    ],
    [
      () => createBreaker(fn, { keys: { a: { trip: 5 as never } } }),
      /keys\.a\.trip: expected a trip such as trip\.consecutive\(5\) /
    ],
    [
      () => createBreaker(fn, { trip: trip.failureRate({ threshold: 2, minimumCalls: 1, over: 10 }) }),
      /trip.threshold/
    ],
    [() => createBreaker(fn, { retry: -1 }), /retry.times: expected/],
    [
      () => createBreaker(fn, { retry: { minDelay: 10, maxDelay: 5 } }),
      /createBreaker: retry.maxDelay: expected at least/
    ],
    [() => createBreaker(fn, { retry: { tries: 1 } as never }), /tries: unknown field/],
    [() => createBreaker(fn, { bulkhead: { concurrency: 0 } }), /createBreaker: bulkhead.concurrency: expected/],
    [() => createBreaker(fn, { bulkhead: { concurrency: 1, name: "a" } as never }), /bulkhead.name: unknown field/],
    [() => createBreaker(fn, { bulkhead: 5 as never }), /bulkhead: expected an object/],
    [() => createBreaker(fn, { fallback: 1 as never }), /fallback: expected a function/],
    [() => createBreaker(fn, { isFailure: 1 as never }), /isFailure: expected a function/],
    [() => createBreaker(fn, { probe: { check: 1 as never, every: 1 } }), /probe.check: expected a function/],
    [() => createBreaker(fn, { probe: { check: fn, every: 0 } }), /probe.every: expected/],
    [() => createBreaker(fn, { enabled: 1 as never }), /createBreaker: enabled: expected true, false or a function/],
    [() => createBreaker(fn, { probe: 5 as never }), /createBreaker: probe: expected an object with check, every/],
    [() => createBreaker(fn, { redis: "localhost" }), /redis: expected a URL such as redis/],
    [() => createBreaker(fn, { redis: { url: "redis://localhost", prefix: "" } }), /redis.prefix: expected/],
    [
      () => createBreaker(fn, { redis: { host: "a" } as never }),
      /redis.host: unknown field.*redis.url: expected a URL/
    ],
    [() => createBreaker(fn, { log: true as never }), /log: expected a function/],
    [() => createBreaker(fn, null as never), /createBreaker/],
    [() => createManager({ default: {} } as never), /createManager: default: unknown field/],
    [() => createManager({ defaults: { cooldown: -1 } }), /createManager: defaults.cooldown: expected/],
    [() => createManager().register("a", fn, null as never), /register: expected an object/],
    [() => createManager().register("a", fn, "abc" as never), /register: expected an object/],
    [() => protect(null as never), /protect: expected an object/],
    [() => createManager({ defaults: 1 as never }), /defaults: expected an object/],
    [() => createManager({ maxCircuits: 0 }), /maxCircuits/],
    [() => createManager().register("", fn), /register: name/],
    [() => createManager().register("a", 1 as never), /register: fn: expected a function/],
    [
      () => {
        const manager = createManager()
        manager.register("a", fn)
        manager.register("a", fn)
      },
      /register: name: expected a name that no other breaker has, got "a"/
    ],
    [() => createBreaker(fn).on("opened" as never, () => {}), /on: event: expected "open", "halfOpen"/],
    [() => createBreaker(fn).on("open", 1 as never), /on: listener: expected a function/],
    [() => createBreaker(fn).with({ key: 1 } as never), /with: key: expected a text/],
    [() => createBreaker(fn).with({ signal: {} } as never), /with: signal: expected an AbortSignal/],
    [() => createBreaker(fn).inspect(1 as never), /^inspect: key: expected a text/],
    [() => protect({ manager: {} as never })(fn, { kind: "method", name: "m" }), /protect: manager/]
  ] as const)("is named: %s", (make, says) => {
    try {
      make()
    } catch (error) {
      assert.instanceOf(error, ConfigurationError)
      assert.deepInclude(error, { code: "INVALID_OPTIONS", name: "ConfigurationError" })
      assert.match((error as Error).message, says)
      return
    }
    assert.fail("it did not throw")
  })

  it("of an operator action is named", async () => {
    assert.strictEqual(await end(createBreaker(fn).isolate({ for: 0 })), "INVALID_OPTIONS")
    assert.strictEqual(await end(createBreaker(fn).reset({ reason: 1 as never })), "INVALID_OPTIONS")
    const breaker = createBreaker(fn)
    assert.strictEqual(await end(breaker.isolate({ form: "1 minute" } as object)), "INVALID_OPTIONS")
    assert.strictEqual(breaker.state, "Closed")
    const error = await breaker.isolate({ for: "abc" }).catch((caught) => caught)
    assert.match(error.message, /^isolate: for: expected a duration above 0/)
    assert.strictEqual(await end(breaker.run(1 as never)), "INVALID_OPTIONS")
  })

  it("is shown without the password of a URL", () => {
    assert.throws(() => createManager({ redis: "http://user:secret@host" }), /redis: expected a URL/)
    try {
      createManager({ redis: "http://user:secret@host" })
    } catch (error) {
      assert.notInclude(String(error), "secret")
    }
  })
})
