import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, Trip } from "effect-fuse"
import { byHand } from "./support/byHand.ts"
import { expectAll, failing, fleet, openTogether, type Process, pause, transitions } from "./support/fleet.ts"
import { rejectionIn } from "./support/verbs.ts"

const by = { reason: "maintenance", actor: "ann" }

describe("An operator action in one process", () => {
  const actions: ReadonlyArray<readonly [keyof typeof CircuitBreaker & ("isolate" | "disable" | "open"), string]> = [
    ["isolate", "Isolated"],
    ["disable", "Disabled"],
    ["open", "Open"]
  ]
  for (const [action, state] of actions) {
    it.effect(`${action}: applies in all processes, with actor and reason, and ends in all processes`, () =>
      Effect.gen(function* () {
        const { at, join, processes } = yield* fleet(3)
        yield* at(1).succeed
        const seen = yield* transitions(at(1))
        const answer = yield* at(0).run(byHand(action, "api", { ...by, for: "10 minutes" }))
        assert.strictEqual(answer, state)
        yield* pause()
        const all = [...processes, yield* join()]
        yield* expectAll(all, `${state} fleet`)
        for (const process of all) {
          const { cause, retryAfter } = yield* process.inspect
          assert.deepStrictEqual([cause?.detail, cause?.actor], ["maintenance", "ann"])
          if (action !== "disable") assert.isTrue(Duration.isGreaterThan(retryAfter, Duration.minutes(9)))
        }
        const [event] = seen()
        assert.deepStrictEqual([event?.to, event?.actor, event?.scope], [state, "ann", "fleet"])
        assert.strictEqual(event?.detail, "maintenance")
        yield* TestClock.adjust("10 minutes")
        yield* TestClock.adjust("2 seconds")
        for (const process of all) assert.isTrue(Exit.isSuccess(yield* Effect.tap(process.succeed, () => pause())))
        yield* expectAll(all, "Closed local")
        assert.strictEqual(seen().length, action === "open" ? 3 : 2)
      })
    )
  }

  const undoing: ReadonlyArray<
    readonly [string, "isolate" | "disable" | "open", "release" | "reset" | "close", why: string]
  > = [
    ["release ends isolate", "isolate", "release", "Released"],
    ["release ends disable", "disable", "release", "Released"],
    ["reset ends isolate", "isolate", "reset", "Reset"],
    ["reset ends open", "open", "reset", "Reset"],
    ["close ends open", "open", "close", "ClosedByHand"]
  ]
  for (const [what, before, after, why] of undoing) {
    it.effect(`${what} in all processes, also by another process`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(3)
        yield* at(0).run(byHand(before, "api"))
        yield* pause()
        const seen = yield* transitions(at(2))
        yield* at(1).run(byHand(after, "api", by))
        yield* pause()
        yield* expectAll(processes, "Closed local")
        assert.deepStrictEqual(
          seen().map((event) => [event.why, event.actor, event.scope]),
          [[why, "ann", "fleet"]]
        )
      })
    )
  }

  it.effect("reset clears the windows and the openings in all processes", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3, { policy: { trip: Trip.consecutive(5) } })
      yield* failing([at(1)], 4)
      yield* at(0).run(CircuitBreaker.reset("api"))
      yield* pause()
      yield* failing([at(1)], 4)
      yield* pause(200)
      yield* expectAll(processes, "Closed local")
      yield* openTogether(processes)
      yield* at(0).run(CircuitBreaker.reset("api"))
      yield* pause()
      for (const process of processes) assert.strictEqual((yield* process.inspect).openings, 0)
    })
  )

  it.effect("an isolation over an opening does not change the end of the opening", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3)
      yield* openTogether(processes)
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* TestClock.adjust("10 seconds")
      yield* expectAll(processes, "Isolated fleet")
      yield* at(1).run(CircuitBreaker.release("api"))
      yield* pause()
      yield* expectAll(processes, "Open fleet")
      for (const process of processes) {
        assert.isTrue(Duration.isLessThan((yield* process.inspect).retryAfter, Duration.seconds(21)))
      }
    })
  )

  it.effect("on a name applies to all its keys; on a key to that key", () =>
    Effect.gen(function* () {
      const { all, at, join } = yield* fleet(2)
      const call = (process: Process, key: string) =>
        Effect.exit(process.run(CircuitBreaker.protect(Effect.void, "api", { key })))
      yield* at(1).run(CircuitBreaker.protect(Effect.void, "api", { key: "old" }))
      yield* at(0).run(CircuitBreaker.isolate("api", by))
      yield* pause()
      const processes = [at(0), at(1), yield* join()]
      for (const process of processes) {
        for (const key of ["old", "new"]) {
          const error = rejectionIn(yield* call(process, key))
          assert.deepStrictEqual([error.reason, error.scope, error.detail], ["Isolated", "fleet", "maintenance"])
        }
      }
      yield* at(1).run(CircuitBreaker.release("api"))
      yield* at(1).run(CircuitBreaker.isolate("api", { key: "old" }))
      yield* pause()
      const seen = yield* all((process) => Effect.forEach(["old", "new"], (key) => call(process, key)))
      assert.deepStrictEqual(
        seen.map((exits) => exits.map(Exit.isSuccess)),
        [
          [false, true],
          [false, true]
        ]
      )
    })
  )
})

describe("An operator action while the store is away", () => {
  for (const now of ["hang", "fail", "die", "throw"] as const) {
    it.effect(`applies in its process at once, and in all processes when the store answers (${now})`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(2)
        at(0).trouble.now = now
        const action = yield* Effect.forkChild(at(0).run(CircuitBreaker.isolate("api", by)), { startImmediately: true })
        yield* pause(1)
        yield* expectAll([at(0)], `Isolated ${now === "hang" ? "fleet" : "local"}`)
        yield* pause(300)
        assert.isDefined(action.pollUnsafe())
        yield* expectAll(processes.slice(0, 1), "Isolated local")
        yield* expectAll(processes.slice(1), "Closed local")
        at(0).trouble.now = "none"
        yield* TestClock.adjust("2 seconds")
        yield* expectAll(processes, "Isolated fleet")
        assert.strictEqual((yield* at(1).inspect).cause?.actor, "ann")
      })
    )
  }

  it.effect("reaches the fleet even if its caller did not wait for it", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      at(0).trouble.now = "hang"
      const action = Effect.timeout(at(0).run(CircuitBreaker.isolate("api")), "100 millis")
      yield* Effect.forkChild(Effect.exit(action), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      at(0).trouble.now = "none"
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Isolated fleet")
    })
  )

  it.effect("ends when it was due to end, however late it reached the fleet", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      at(0).trouble.now = "fail"
      yield* at(0).run(CircuitBreaker.isolate("api", { for: "10 minutes" }))
      yield* TestClock.adjust("8 minutes")
      at(0).trouble.now = "none"
      yield* TestClock.adjust("10 seconds")
      yield* expectAll(processes, "Isolated fleet")
      yield* TestClock.adjust("2 minutes")
      for (const process of processes) assert.isTrue(Exit.isSuccess(yield* process.succeed))
    })
  )

  it.effect("that has ended before the store answers is not written", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      at(0).trouble.now = "fail"
      yield* at(0).run(CircuitBreaker.isolate("api", { for: "1 minute" }))
      yield* TestClock.adjust("2 minutes")
      at(0).trouble.now = "none"
      yield* TestClock.adjust("10 seconds")
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("followed by other actions: all of them apply", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      at(0).trouble.now = "fail"
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* at(0).run(CircuitBreaker.open("api", { for: "10 minutes" }))
      yield* expectAll([at(0)], "Isolated local")
      at(0).trouble.now = "none"
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Isolated fleet")
      yield* at(1).run(CircuitBreaker.release("api"))
      yield* pause()
      yield* expectAll(processes, "Open fleet")
    })
  )

  it.effect("and its release leave no record", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      at(0).trouble.now = "fail"
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* at(0).run(CircuitBreaker.release("api"))
      at(0).trouble.now = "none"
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("applies in its process whatever other processes do meanwhile", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3)
      Object.assign(at(0).trouble, { now: "fail", only: ["swap"] })
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* openTogether([at(1), at(2)])
      yield* TestClock.adjust("6 seconds")
      yield* expectAll([at(0)], "Isolated local")
      at(0).trouble.now = "none"
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Isolated fleet")
    })
  )
})

describe("An override", () => {
  for (const forever of [true, false]) {
    it.effect(`survives a store that lost everything, ${forever ? "without" : "with"} an end`, () =>
      Effect.gen(function* () {
        const { at, join, processes, wipe } = yield* fleet(3)
        yield* at(0).run(CircuitBreaker.isolate("api", forever ? by : { ...by, for: "5 minutes" }))
        yield* TestClock.adjust("1 minute")
        yield* wipe
        yield* TestClock.adjust("11 seconds")
        const late = yield* join()
        yield* expectAll([...processes, late], "Isolated fleet")
        const { cause } = yield* late.inspect
        assert.deepStrictEqual([cause?.detail, cause?.actor], ["maintenance", "ann"])
        yield* TestClock.adjust("5 minutes")
        if (!forever) for (const process of processes) assert.isTrue(Exit.isSuccess(yield* process.succeed))
        else yield* expectAll(processes, "Isolated fleet")
      })
    )
  }

  it.effect("survives the end of all processes that knew of it", () =>
    Effect.gen(function* () {
      const { at, join } = yield* fleet(2)
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* at(0).stop
      yield* at(1).stop
      yield* TestClock.adjust("2 hours")
      yield* expectAll([yield* join()], "Isolated fleet")
    })
  )

  it.effect("that is released stays released when a process returns that missed the release", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* pause()
      Object.assign(at(1).trouble, { now: "hang", deaf: true })
      yield* at(0).run(CircuitBreaker.release("api"))
      yield* TestClock.adjust("10 minutes")
      yield* expectAll([at(1)], "Isolated fleet")
      Object.assign(at(1).trouble, { now: "none", deaf: false })
      yield* TestClock.adjust("10 seconds")
      yield* expectAll(processes, "Closed local")
    })
  )
})

describe("Overrides that several operators set in several processes", () => {
  const hour = { reason: "migration", actor: "ann", for: "1 hour" } as const
  const minute = { reason: "drill", actor: "bob", for: "1 minute" } as const

  it.effect("never shorten one another, and one release ends them all and lists them", () =>
    Effect.gen(function* () {
      const { at, join, processes } = yield* fleet(3)
      yield* at(0).run(CircuitBreaker.isolate("api", hour))
      yield* pause()
      yield* at(1).run(CircuitBreaker.isolate("api", minute))
      yield* at(2).run(CircuitBreaker.disable("api", { actor: "eve" }))
      yield* pause()
      const all = [...processes, yield* join()]
      for (const process of all) {
        const { cause, overrides } = yield* process.inspect
        assert.deepStrictEqual([cause?.detail, cause?.actor], ["migration", "ann"])
        assert.deepStrictEqual(
          overrides.map(({ actor, state }) => `${state} ${actor}`),
          ["Isolated ann", "Isolated bob", "Disabled eve"]
        )
      }
      yield* TestClock.adjust("2 minutes")
      yield* expectAll(all, "Isolated fleet")
      const seen = yield* transitions(at(0))
      const { ended, state } = yield* at(1).run(CircuitBreaker.release("api", { actor: "bob" }))
      assert.deepStrictEqual(
        [state, ...ended.map(({ actor, state }) => `${state} ${actor}`)],
        ["Closed", "Isolated ann", "Disabled eve"]
      )
      yield* pause()
      yield* expectAll(all, "Closed local")
      assert.deepStrictEqual(
        seen()[0]?.ended?.map(({ actor }) => actor),
        ["ann", "eve"]
      )
    })
  )

  it.effect("leave the circuit Disabled in all processes after the end of the isolation", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      yield* at(0).run(CircuitBreaker.disable("api", hour))
      yield* at(1).run(CircuitBreaker.isolate("api", minute))
      yield* pause()
      yield* expectAll(processes, "Isolated fleet")
      yield* TestClock.adjust("1 minute")
      yield* expectAll(processes, "Disabled fleet")
      for (const process of processes) assert.isTrue(Exit.isSuccess(yield* process.succeed))
      yield* expectAll(processes, "Disabled fleet")
      yield* TestClock.adjust("1 hour")
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("that are set while the store is away are all written later", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      at(0).trouble.now = "fail"
      yield* at(0).run(CircuitBreaker.isolate("api", hour))
      yield* at(0).run(CircuitBreaker.isolate("api", minute))
      yield* at(1).run(CircuitBreaker.isolate("api", { actor: "eve", for: "2 hours" }))
      at(0).trouble.now = "none"
      yield* TestClock.adjust("10 seconds")
      for (const process of processes) {
        assert.deepStrictEqual(
          (yield* process.inspect).overrides.map(({ actor }) => actor),
          ["eve", "ann", "bob"]
        )
      }
    })
  )

  it.effect("keep what each process has counted beneath", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2, { policy: { trip: Trip.consecutive(5) } })
      yield* failing(processes, 1)
      const before = yield* Effect.forEach(processes, ({ inspect }) => inspect)
      yield* at(0).run(CircuitBreaker.isolate("api", hour))
      yield* pause()
      yield* at(1).run(CircuitBreaker.release("api"))
      yield* pause()
      yield* expectAll(processes, "Closed local")
      const after = yield* Effect.forEach(processes, ({ inspect }) => inspect)
      assert.deepStrictEqual(
        after.map(({ streak }) => streak),
        before.map(() => 1)
      )
    })
  )
})
