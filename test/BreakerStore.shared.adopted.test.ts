import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, CircuitOpen, Outcome, Trip } from "effect-fuse"
import { cooldownOver, expectAll, failing, fleet, openTogether, pause, transitions } from "./support/fleet.ts"
import { rejectionIn, times } from "./support/verbs.ts"

describe("An opening of the fleet, in a process that made no call", () => {
  it.effect("rejects with all that is known of it", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3)
      yield* openTogether([at(0), at(1)])
      const error = rejectionIn(yield* at(2).succeed)
      assert.deepStrictEqual([error.state, error.scope, error.reason, error.openings], ["Open", "fleet", "Cooldown", 1])
      assert.match(error.detail ?? "", /in 2 of \d processes together$/)
      assert.strictEqual(at(2).reached, 0)
      for (const process of processes) {
        const { cause, openings, retryAfter, scope } = yield* process.inspect
        assert.deepStrictEqual([cause?.why, openings, scope], ["Tripped", 1, "fleet"])
        // The first probe is asked for after a random delay of up to a second.
        assert.isTrue(Duration.between(retryAfter, { minimum: Duration.seconds(29), maximum: Duration.seconds(31) }))
        assert.strictEqual(yield* process.run(CircuitBreaker.scope("api")), "fleet")
      }
    })
  )

  it.effect("is announced once, with the process that made it", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3, (i) => ({ process: `node${i}` }))
      const seen = yield* Effect.forEach(processes, transitions)
      yield* openTogether([at(0), at(1)])
      yield* TestClock.adjust("11 seconds")
      const openings = seen.map((read) => read().filter((event) => event.to === "Open" && event.scope === "fleet"))
      assert.deepStrictEqual(
        openings.map((events) => events.length),
        [1, 1, 1]
      )
      const names = new Set(openings.flat().map((event) => event.process))
      assert.strictEqual(names.size, 1)
      assert.match([...names].join(), /^node[01]~/)
    })
  )

  it.effect("lasts at least as long as the dependency asked for", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3)
      const busy = (i: number) =>
        Effect.exit(
          at(i).run(
            CircuitBreaker.protect(Effect.void, "api", { classify: () => Outcome.failure({ retryAfter: "2 minutes" }) })
          )
        )
      for (let n = 0; n < 3; n++) for (const i of [0, 1]) yield* Effect.andThen(busy(i), pause(5))
      yield* pause(200)
      yield* expectAll(processes, "Open fleet")
      assert.isTrue(Duration.isGreaterThan((yield* at(2).inspect).retryAfter, Duration.seconds(115)))
    })
  )

  it.effect("blocks what depends on it", () =>
    Effect.gen(function* () {
      const { at } = yield* fleet(3, { policy: { breakers: { api: {}, page: { dependsOn: ["api"] } } } })
      yield* at(2).run(CircuitBreaker.protect(Effect.void, "page"))
      yield* openTogether([at(0), at(1)])
      const error = rejectionIn(yield* Effect.exit(at(2).run(CircuitBreaker.protect(Effect.void, "page"))))
      assert.deepStrictEqual([error.reason, error.dependency, error.scope], ["Dependency", "api", "local"])
    })
  )

  it.effect("is waited for, until another process has closed it", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3)
      yield* openTogether([at(0), at(1)])
      const waiting = yield* Effect.forkChild(at(2).run(CircuitBreaker.awaitClosed("api")), { startImmediately: true })
      yield* cooldownOver(processes)
      assert.isUndefined(waiting.pollUnsafe())
      yield* at(0).succeed
      yield* pause()
      assert.isDefined(waiting.pollUnsafe())
    })
  )

  it.effect("what was in flight before it changes nothing after it", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3)
      yield* at(2).succeed
      const running = yield* Effect.forkChild(at(2).protect(Effect.sleep("5 seconds")), { startImmediately: true })
      yield* openTogether([at(0), at(1)], 4)
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(running)
      yield* expectAll(processes, "Open fleet")
    })
  )
})

describe("Openings in a row", () => {
  it.effect("are counted once by all processes, whichever process probes, and each is longer", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3, { policy: { cooldown: Schedule.exponential("10 seconds") } })
      yield* openTogether(processes)
      for (const [i, seconds] of [10, 20, 40, 80].entries()) {
        for (const process of processes) {
          const { openings, retryAfter } = yield* process.inspect
          assert.strictEqual(openings, i + 1)
          assert.isTrue(
            Duration.between(retryAfter, {
              minimum: Duration.seconds(seconds - 1),
              maximum: Duration.seconds(seconds + 1)
            }),
            `${Duration.format(retryAfter)} in opening ${i + 1}`
          )
        }
        yield* cooldownOver(processes)
        yield* at(i % 3).fail
        yield* pause()
      }
    })
  )

  it.effect("go on after a close that did not last, also where the fleet had forgotten its windows", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3, { policy: { cooldown: Schedule.exponential("20 seconds") } })
      yield* openTogether(processes)
      yield* cooldownOver(processes)
      yield* at(0).succeed
      yield* TestClock.adjust("12 seconds")
      yield* openTogether(processes)
      for (const process of processes) {
        const { openings, retryAfter } = yield* process.inspect
        assert.strictEqual(openings, 2)
        assert.isTrue(Duration.isGreaterThan(retryAfter, Duration.seconds(38)))
      }
    })
  )

  it.effect("are counted from 1 again after a close that lasted", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3)
      yield* openTogether(processes)
      yield* cooldownOver(processes)
      yield* at(0).succeed
      yield* TestClock.adjust("1 minute")
      yield* openTogether(processes)
      for (const process of processes) assert.strictEqual((yield* process.inspect).openings, 1)
    })
  )
})

describe("A close of the fleet", () => {
  it.effect("ramps in all processes", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3, { policy: { ramp: "20 seconds" } })
      yield* openTogether(processes)
      yield* cooldownOver(processes)
      yield* at(0).succeed
      yield* pause()
      for (const process of processes) {
        const exits = yield* times(10, process.succeed)
        const passed = exits.filter(Exit.isSuccess).length
        assert.isTrue(passed >= 1 && passed <= 3, String(passed))
        assert.strictEqual(rejectionIn(exits.find(Exit.isFailure) ?? Exit.void).reason, "Ramping")
      }
      yield* TestClock.adjust("20 seconds")
      for (const process of processes) assert.isTrue((yield* times(10, process.succeed)).every(Exit.isSuccess))
    })
  )

  it.effect("ramps in a process that starts meanwhile", () =>
    Effect.gen(function* () {
      const { at, join, processes } = yield* fleet(2, { policy: { ramp: "20 seconds" } })
      yield* openTogether(processes)
      yield* cooldownOver(processes)
      yield* at(0).succeed
      yield* pause()
      const late = yield* join()
      assert.isAbove((yield* times(10, late.succeed)).filter(Exit.isFailure).length, 5)
    })
  )

  it.effect("comes from the health check of whichever process it succeeds in first", () =>
    Effect.gen(function* () {
      const health = { up: false }
      const checks = [0, 0, 0]
      const { processes } = yield* fleet(3, (i) => ({
        policy: {
          trip: Trip.consecutive(5),
          probe: {
            check: Effect.suspend(() => {
              checks[i] = (checks[i] ?? 0) + 1
              return health.up && i === 1 ? Effect.void : Effect.fail("still down")
            }),
            schedule: "2 seconds"
          }
        }
      }))
      yield* openTogether(processes)
      yield* TestClock.adjust("5 seconds")
      yield* expectAll(processes, "Open fleet")
      health.up = true
      yield* TestClock.adjust("3 seconds")
      yield* expectAll(processes, "Closed local")
      const before = [...checks]
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(checks, before)
    })
  )
})

describe("A rejection of the fleet", () => {
  it.effect("has its scope as a field and in its message", () =>
    Effect.gen(function* () {
      const { at } = yield* fleet(2)
      yield* failing([at(0), at(1)], 3)
      yield* pause(200)
      const error = rejectionIn(yield* at(0).succeed)
      assert.isTrue(CircuitOpen.isCircuitOpen(error))
      assert.strictEqual(error.scope, "fleet")
      assert.match(error.message, /^Circuit "api" is open \(.*together\), retry after /)
    })
  )
})
