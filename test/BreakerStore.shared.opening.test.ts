import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, MemoryStore, Tenant, Trip } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { expectAll, failing, fleet, isRoutine, openTogether, type Process, pause, standings } from "./support/fleet.ts"
import { times } from "./support/verbs.ts"

/** Calls of one process that hang. */
const hangs = (process: Process, calls: number) =>
  times(calls, Effect.forkChild(process.protect(Effect.never), { startImmediately: true }))

/** A call that succeeds after so long. */
const slowly = (process: Process, millis: number) =>
  Effect.andThen(
    Effect.forkChild(process.protect(Effect.sleep(millis)), { startImmediately: true }),
    TestClock.adjust(millis)
  )

const succeedAll = (processes: ReadonlyArray<Process>, calls = 1) =>
  Effect.forEach(processes, (process) => times(calls, process.succeed), { discard: true })

describe("Three processes open a circuit together that no process would open alone", () => {
  const cases: ReadonlyArray<readonly [string, Trip.Input, successes: number, failures: number]> = [
    ["5 in a row", Trip.consecutive(5), 1, 2],
    ["half within 10 seconds", Trip.failureRate({ threshold: 0.5, minimumCalls: 20, over: "10 seconds" }), 4, 4],
    ["half of the last 20", Trip.failureRate({ threshold: 0.5, minimumCalls: 20, over: 20 }), 5, 5],
    ["6 of the last 10", Trip.failures({ atLeast: 6, of: 10 }), 1, 2],
    ["6 within a minute", Trip.failures({ atLeast: 6, of: "1 minute" }), 1, 2],
    ["a weight of 6", Trip.weighted({ atLeast: 6, over: 20 }), 1, 2],
    ["a rule of one's own", Trip.custom("six", (seen) => seen.failures >= 6 && seen.streak >= 6), 1, 2],
    ["all of two", Trip.all(Trip.consecutive(5), Trip.failures({ atLeast: 6, of: 10 })), 1, 2],
    ["any of two", Trip.any(Trip.consecutive(50), Trip.failures({ atLeast: 6, of: 10 })), 1, 2]
  ]
  for (const [what, trip, successes, failures] of cases) {
    it.effect(what, () =>
      Effect.gen(function* () {
        const { processes } = yield* fleet(3, { policy: { trip } })
        yield* succeedAll(processes, successes)
        yield* failing(processes, failures)
        yield* pause(200)
        yield* expectAll(processes, "Open fleet")
      })
    )
    it.effect(`${what}: a process that alone has all these failures stays Closed`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(3, { policy: { trip } })
        yield* succeedAll(processes, successes)
        yield* failing([at(0)], failures)
        yield* pause(400)
        yield* expectAll(processes, "Closed local")
      })
    )
  }
})

describe("A circuit opens for the fleet when most processes have opened it alone", () => {
  const policies: Readonly<Record<string, BreakerPolicy.Input>> = {
    slow: { slowCall: "100 millis", trip: Trip.slowRate({ threshold: 0.5, minimumCalls: 4, over: 10 }) },
    stuck: { trip: Trip.stuck({ calls: 2, olderThan: "1 second" }) },
    two: { trip: Trip.failures({ atLeast: 2, of: 5 }) }
  }
  const ways: Readonly<Record<string, (process: Process) => Effect.Effect<unknown>>> = {
    slow: (process) => times(3, slowly(process, 120)),
    stuck: (process) =>
      hangs(process, 2).pipe(
        Effect.andThen(TestClock.adjust("1 second")),
        Effect.andThen(process.fail),
        Effect.andThen(pause())
      ) as Effect.Effect<unknown>,
    two: (process) => Effect.andThen(times(2, process.fail), pause())
  }
  for (const [name, policy] of Object.entries(policies)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(3, { policy })
        yield* succeedAll(processes)
        yield* ways[name]?.(at(0)) ?? Effect.die(name)
        yield* pause(200)
        assert.deepStrictEqual(yield* standings(processes), ["Open local", "Closed local", "Closed local"])
        yield* ways[name]?.(at(1)) ?? Effect.die(name)
        yield* pause(200)
        yield* expectAll(processes, "Open fleet")
      })
    )
  }
})

describe("One process alone opens only its own circuit", () => {
  for (const size of [2, 3, 20]) {
    it.effect(`1 of ${size}, while the others succeed`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(size)
        const [, ...others] = processes
        yield* succeedAll(processes)
        for (let i = 0; i < 40; i++) {
          yield* at(0).fail
          yield* succeedAll(others)
          yield* TestClock.adjust("500 millis")
        }
        yield* expectAll([at(0)], "Open local")
        yield* expectAll(others, "Closed local")
      })
    )
  }

  it.effect("half of 4 are not most", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(4)
      yield* succeedAll(processes)
      for (let i = 0; i < 10; i++) {
        yield* failing([at(0), at(1)], 1)
        yield* succeedAll([at(2), at(3)])
        yield* pause(100)
      }
      assert.deepStrictEqual(yield* standings(processes), ["Open local", "Open local", "Closed local", "Closed local"])
    })
  )

  it.effect("the only one alive is a majority", () =>
    Effect.gen(function* () {
      const { at, join } = yield* fleet(1)
      yield* failing([at(0)], 5)
      yield* pause(200)
      yield* expectAll([at(0), yield* join()], "Open fleet")
    })
  )

  it.effect("the last one alive is a majority once the others are gone", () =>
    Effect.gen(function* () {
      const { at } = yield* fleet(3)
      yield* at(1).stop
      yield* at(2).stop
      yield* TestClock.adjust("15 seconds")
      yield* failing([at(0)], 5)
      yield* pause(200)
      yield* expectAll([at(0)], "Open fleet")
    })
  )
})

describe("All that look fail", () => {
  it.effect("one after the other, seconds apart", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3)
      yield* succeedAll(processes)
      for (const i of [0, 1]) {
        yield* failing([at(i)], 5)
        yield* TestClock.adjust("3 seconds")
      }
      yield* expectAll(processes, "Open fleet")
    })
  )

  it.effect("each with a call every nine seconds", () =>
    Effect.gen(function* () {
      const { processes } = yield* fleet(3)
      yield* succeedAll(processes)
      for (let i = 0; i < 3; i++) {
        for (const process of processes) {
          yield* process.fail
          yield* TestClock.adjust("3 seconds")
        }
      }
      yield* expectAll(processes, "Open fleet")
    })
  )

  it.effect("2 of 10: the others never call it, and learn of the opening", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(10)
      yield* openTogether([at(0), at(1)])
      yield* expectAll(processes, "Open fleet")
    })
  )
})

describe("Which processes have a vote", () => {
  const lately: ReadonlyArray<readonly [ago: string, standing: string]> = [
    ["20 seconds", "Closed local"],
    ["31 seconds", "Open fleet"]
  ]
  for (const [ago, standing] of lately) {
    it.effect(`3 of 5 that succeeded ${ago} ago leave it ${standing}`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(5)
        yield* succeedAll(processes)
        yield* TestClock.adjust(ago as "20 seconds")
        yield* failing([at(0), at(1)], 4)
        yield* pause(300)
        yield* expectAll([at(3), at(4)], standing)
      })
    )
  }

  it.effect("a process that has recovered updates its ballot without being asked", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(4, { policy: { trip: Trip.consecutive(3) } })
      yield* succeedAll(processes)
      yield* failing([at(0), at(1)], 2)
      yield* TestClock.adjust("1 second")
      yield* succeedAll([at(0), at(1)])
      yield* pause(200)
      yield* failing([at(2), at(3)], 2)
      yield* pause(400)
      yield* expectAll(processes, "Closed local")
    })
  )

  const after: ReadonlyArray<readonly [millis: number, standing: string]> = [
    [3_000, "Open fleet"],
    [12_000, "Closed local"]
  ]
  for (const [millis, standing] of after) {
    it.effect(`one that opened ${millis} ms ago and another that fails now leave the third ${standing}`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(3)
        yield* succeedAll(processes)
        yield* failing([at(0)], 5)
        for (let passed = 0; passed < millis; passed += 500) {
          yield* succeedAll([at(1), at(2)])
          yield* TestClock.adjust("500 millis")
        }
        yield* failing([at(1)], 2)
        yield* pause(200)
        yield* expectAll([at(2)], standing)
      })
    )
  }
})

describe("The policy decides how a fleet agrees", () => {
  const options: ReadonlyArray<
    readonly [string, BreakerPolicy.Input["fleet"], bad: number, failures: number, standing: string]
  > = [
    ["by default 2 of 5 are too few", undefined, 2, 4, "Closed local"],
    ["quorum 0.3: 2 of 5 are enough", { quorum: 0.3 }, 2, 4, "Open fleet"],
    ["quorum 0.8: 4 of 5 are too few", { quorum: 0.8 }, 4, 4, "Closed local"],
    ["suspectAfter 2: three failures each begin to ask", { suspectAfter: 2 }, 5, 3, "Open fleet"],
    ["suspectAfter 4: three failures each do not", { suspectAfter: 4 }, 5, 3, "Closed local"],
    ["fleet: false", false, 5, 3, "Closed local"]
  ]
  for (const [what, rules, bad, failures, standing] of options) {
    it.effect(what, () =>
      Effect.gen(function* () {
        const { processes } = yield* fleet(5, { policy: { fleet: rules } })
        yield* succeedAll(processes)
        yield* failing(processes.slice(0, bad), failures)
        yield* succeedAll(processes.slice(bad))
        yield* pause(400)
        yield* expectAll(processes, standing)
      })
    )
  }

  it.effect("fleet: false: the circuit neither writes to the store nor reads from it", () =>
    Effect.gen(function* () {
      const { at, join, processes } = yield* fleet(2, { policy: { fleet: false } })
      const other = yield* join({ policy: {} })
      yield* failing(processes, 5)
      yield* expectAll(processes, "Open local")
      yield* at(0).run(CircuitBreaker.reset("api"))
      yield* at(1).run(CircuitBreaker.reset("api"))
      yield* other.run(CircuitBreaker.isolate("api"))
      yield* TestClock.adjust("10 seconds")
      yield* expectAll(processes, "Closed local")
      const asked = processes.flatMap((process) => process.trouble.asked)
      assert.isTrue(isRoutine(asked), String(asked))
    })
  )

  const own = Effect.succeed("ok").pipe(CircuitBreaker.protect("api", { policy: { fleet: false } }))

  it.effect(
    "fleet: false in the policy of the first call: the circuit ignores the state of the fleet from then on",
    () =>
      Effect.gen(function* () {
        const { join, processes } = yield* fleet(2)
        yield* openTogether(processes)
        const late = yield* join()
        yield* expectAll([late], "Open fleet")
        assert.strictEqual(yield* late.run(own), "ok")
        yield* expectAll([late], "Closed local")
        yield* expectAll(processes, "Open fleet")
      })
  )

  it.effect(
    "fleet: false in the policy of the first call: overrides of other processes end, and overrides of this process stay",
    () =>
      Effect.gen(function* () {
        const { at, join } = yield* fleet(1)
        yield* at(0).run(CircuitBreaker.isolate("api"))
        const late = yield* join()
        yield* expectAll([late], "Isolated fleet")
        assert.strictEqual(yield* late.run(own), "ok")
        yield* expectAll([late], "Closed local")
        yield* TestClock.adjust("10 seconds")
        yield* expectAll([late], "Closed local")
        yield* late.run(CircuitBreaker.isolate("other"))
        const elsewhere = Effect.succeed("ok").pipe(CircuitBreaker.protect("other", { policy: { fleet: false } }))
        assert.isTrue(Exit.isFailure(yield* Effect.exit(late.run(elsewhere))))
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* late.run(CircuitBreaker.state("other")), "Isolated")
      })
  )

  it.effect(
    "fleet: false since a reload: overrides of other processes end, because the process would miss their release",
    () =>
      Effect.gen(function* () {
        const store = yield* MemoryStore.make
        let loaded: BreakerPolicy.Settings = {}
        const policies = BreakerPolicy.layerReloading(
          Effect.sync(() => loaded),
          "1 second"
        )
        const call = Effect.succeed("ok").pipe(CircuitBreaker.protect("api"))
        const program = Effect.gen(function* () {
          yield* call
          yield* Operator.isolate(store, "api")
          yield* TestClock.adjust("10 seconds")
          const before = (yield* Effect.flip(call)).reason
          loaded = { breakers: { api: { fleet: false } } }
          yield* TestClock.adjust("10 seconds")
          return [before, yield* call, yield* CircuitBreaker.state("api")]
        })
        const layer = Layer.provideMerge(BreakerStore.layerShared(store), policies)
        assert.deepStrictEqual(yield* Effect.provide(program, layer), ["Isolated", "ok", "Closed"])
      })
  )

  it.effect("fleet: false, for a name that this process has not called yet", () =>
    Effect.gen(function* () {
      const { join, processes } = yield* fleet(2)
      const late = yield* join({ policy: { fleet: false } })
      yield* openTogether(processes)
      yield* expectAll([late], "Closed local")
    })
  )
})

describe("A circuit with a key is one for all processes, and another than that of its name", () => {
  const fails = (process: Process, within: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) =>
    Effect.andThen(Effect.exit(process.run(within(CircuitBreaker.protect(Effect.fail("down"), "api")))), pause(5))
  it.effect("a key", () =>
    Effect.gen(function* () {
      const { all, processes } = yield* fleet(3, { key: "a/b %ü\u0000" })
      yield* openTogether(processes)
      for (const key of [undefined, "", "a", "a/b"]) {
        const states = yield* all((process) => process.run(CircuitBreaker.state("api", { key })))
        assert.deepStrictEqual(states, ["Closed", "Closed", "Closed"])
      }
    })
  )
  it.effect("a tenant", () =>
    Effect.gen(function* () {
      const { all, processes } = yield* fleet(3)
      for (let i = 0; i < 3; i++) yield* Effect.forEach(processes, (one) => fails(one, Tenant.within("acme")))
      yield* pause(200)
      for (const [key, state] of [
        ["acme", "Open"],
        ["other", "Closed"]
      ] as const) {
        const states = yield* all((process) => process.run(CircuitBreaker.state("api", { key })))
        assert.deepStrictEqual(states, [state, state, state])
      }
    })
  )
})
