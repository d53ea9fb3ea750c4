import { assert, describe, it } from "@effect/vitest"
import { type Cause, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerPolicy, CircuitBreaker, type CircuitOpen, Outcome } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import {
  begin,
  cooldownOver,
  expectAll,
  fleet,
  openTogether,
  type Process,
  pause,
  transitions
} from "./support/fleet.ts"
import { rejectionIn, times } from "./support/verbs.ts"

/** Processes whose circuit the fleet has opened, and whose cooldown is over. */
const recovering = (size: number, policy: BreakerPolicy.Input = {}) =>
  Effect.gen(function* () {
    const made = yield* fleet(size, { policy })
    yield* openTogether(made.processes)
    yield* cooldownOver(made.processes)
    for (const process of made.processes) process.reached = 0
    return made
  })

type Running = Fiber.Fiber<unknown, unknown>

const endOf = (fiber: Running): Exit.Exit<unknown, unknown> =>
  fiber.pollUnsafe() ?? assert.fail("the call has not ended")

const reaching = (processes: ReadonlyArray<Process>): number =>
  processes.reduce((sum, process) => sum + process.reached, 0)

describe("One probe for all processes", () => {
  it.effect("goes through, and its success closes all", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* recovering(5)
      const probe = yield* begin(at(3), Effect.sleep("1 second"))
      for (const process of processes) {
        const lost = rejectionIn(yield* process.succeed)
        assert.deepStrictEqual([lost.reason, lost.state, lost.scope], ["ProbesBusy", "HalfOpen", "fleet"])
        assert.isTrue(Duration.isGreaterThan(lost.retryAfter, Duration.zero))
      }
      assert.strictEqual(reaching(processes), 1)
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.isSuccess(endOf(probe)))
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("is found among callers of all processes that come at the same moment", () =>
    Effect.gen(function* () {
      const { all, processes } = yield* recovering(5)
      const callers = yield* all((process) =>
        times(4, Effect.forkChild(process.protect(Effect.sleep("1 second")), { startImmediately: true }))
      )
      yield* pause(100)
      assert.strictEqual(reaching(processes), 1)
      const losers = callers.flat().filter((fiber) => fiber.pollUnsafe() !== undefined)
      assert.strictEqual(losers.length, 19)
      for (const loser of losers) {
        const { reason, retryAfter } = rejectionIn(endOf(loser))
        assert.strictEqual(reason, "ProbesBusy")
        assert.isTrue(Duration.isGreaterThan(retryAfter, Duration.zero))
      }
      yield* TestClock.adjust("1 second")
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("fails for all, with one more opening", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* recovering(3)
      yield* at(1).fail
      yield* pause()
      for (const process of processes) {
        const { cause, openings, scope, state } = yield* process.inspect
        assert.deepStrictEqual([state, scope, openings, cause?.why], ["Open", "fleet", 2, "ProbeFailed"])
      }
    })
  )

  it.effect("that is a slow one, and fails late, opens from then on", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* recovering(3)
      yield* begin(at(1), Effect.delay(Effect.fail("late"), "20 seconds"))
      yield* TestClock.adjust("20 seconds")
      yield* expectAll(processes, "Open fleet")
      yield* TestClock.adjust("25 seconds")
      for (const process of processes) assert.strictEqual(rejectionIn(yield* process.succeed).reason, "Cooldown")
    })
  )
})

describe("How many processes agreed on an opening", () => {
  it.effect("is in the record until the circuit closes, also after a failed probe", () =>
    Effect.gen(function* () {
      const { at, processes, store } = yield* fleet(3)
      const known = Effect.map(Operator.inspect(store, "api"), (one) =>
        one?._tag === "Known" ? one : assert.fail("there is no record")
      )
      yield* openTogether(processes)
      const opened = yield* known
      assert.include(["2/3", "3/3"], `${opened.outage?.agreed?.processes}/${opened.outage?.agreed?.of}`)
      yield* cooldownOver(processes)
      yield* Effect.forkChild(at(0).fail, { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      const failed = yield* known
      assert.deepStrictEqual([failed.why, failed.outage?.openings], ["ProbeFailed", 2])
      assert.deepStrictEqual(failed.outage?.agreed, opened.outage?.agreed)
      yield* at(0).run(CircuitBreaker.reset("api"))
      yield* pause(500)
      yield* at(0).run(CircuitBreaker.open("api"))
      yield* pause(500)
      assert.isUndefined((yield* known).outage?.agreed)
    })
  )
})

describe("A lease that its probe no longer needs", () => {
  const ends: ReadonlyArray<readonly [string, (process: Process) => Effect.Effect<unknown>]> = [
    [
      "of a probe that was Ignored",
      (process) =>
        Effect.exit(process.run(CircuitBreaker.protect(Effect.void, "api", { classify: () => Outcome.ignored })))
    ],
    ["of a probe that was interrupted", (process) => Effect.flatMap(begin(process, Effect.never), Fiber.interrupt)],
    [
      "of a process that stopped",
      (process) => Effect.andThen(Effect.andThen(begin(process, Effect.never), process.stop), pause())
    ],
    [
      "of a permit that was settled as Ignored",
      (process) =>
        Effect.orDie(
          Effect.flatMap(process.run(CircuitBreaker.admit("api")), (permit) =>
            CircuitBreaker.settle(permit, Outcome.ignored)
          )
        )
    ]
  ]
  for (const [what, end] of ends) {
    it.effect(`${what} is free at once for another process`, () =>
      Effect.gen(function* () {
        const { at } = yield* recovering(3)
        yield* end(at(0))
        yield* pause()
        assert.isTrue(Exit.isSuccess(yield* at(1).succeed))
        yield* pause()
        yield* expectAll([at(1), at(2)], "Closed local")
      })
    )
  }

  it.effect("of a process that crashed is free after probeTimeout", () =>
    Effect.gen(function* () {
      const { at } = yield* recovering(3, { probeTimeout: "5 seconds" })
      yield* begin(at(0), Effect.never)
      yield* at(0).crash
      yield* TestClock.adjust("4900 millis")
      assert.strictEqual(rejectionIn(yield* at(1).succeed).reason, "ProbesBusy")
      // Each of the others waits up to a tenth longer, so that not all ask in the same millisecond.
      yield* TestClock.adjust("600 millis")
      assert.isTrue(Exit.isSuccess(yield* at(1).succeed))
      yield* pause()
      yield* expectAll([at(1), at(2)], "Closed local")
    })
  )

  it.effect("is not asked for by all others in the same millisecond", () =>
    Effect.gen(function* () {
      const { at } = yield* recovering(10, { probeTimeout: "5 seconds" })
      yield* begin(at(0), Effect.never)
      yield* at(0).crash
      yield* TestClock.adjust("4900 millis")
      const waits: Array<number> = []
      for (let i = 1; i < 10; i++) waits.push(Math.round(Duration.toMillis((yield* at(i).inspect).retryAfter)))
      assert.isAtLeast(new Set(waits).size, 6, waits.join())
      assert.isAtLeast(Math.min(...waits), 100 - 1)
      assert.isAtMost(Math.max(...waits), 100 + 500)
    })
  )

  it.effect("of a permit that was never settled is free after probeTimeout", () =>
    Effect.gen(function* () {
      const { at } = yield* recovering(2, { probeTimeout: "5 seconds" })
      yield* at(0).run(CircuitBreaker.admit("api"))
      assert.strictEqual(rejectionIn(yield* at(1).succeed).reason, "ProbesBusy")
      yield* TestClock.adjust("5500 millis")
      assert.isTrue(Exit.isSuccess(yield* at(1).succeed))
    })
  )

  it.effect("because its probe hangs: it is interrupted at its deadline, and opens again for all", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* recovering(3, { probeTimeout: "5 seconds" })
      let interrupted = false
      const hanging = Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          interrupted = true
        })
      )
      const probe = yield* begin(at(0), hanging)
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(interrupted)
      assert.strictEqual(rejectionIn(endOf(probe)).reason, "ProbeTimedOut")
      for (const process of processes) {
        const { cause, openings, state } = yield* process.inspect
        assert.deepStrictEqual([state, openings, cause?.why], ["Open", 2, "ProbeTimedOut"])
      }
      yield* cooldownOver(processes)
      assert.isTrue(Exit.isSuccess(yield* at(2).succeed))
    })
  )
})

describe("probes: 3, successesToClose: 2", () => {
  const policy = { probes: 3, successesToClose: 2 }

  it.effect("all processes together run three probes at once, and two successes close", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* recovering(4, policy)
      const running: Array<Running> = []
      for (const i of [0, 1, 2]) running.push(yield* begin(at(i), Effect.sleep(`${i + 1} seconds`)))
      assert.strictEqual(rejectionIn(yield* at(3).succeed).reason, "ProbesBusy")
      assert.strictEqual(rejectionIn(yield* at(0).succeed).reason, "ProbesBusy")
      for (const process of processes) assert.strictEqual((yield* process.inspect).probing, 3)
      yield* TestClock.adjust("1 second")
      yield* expectAll(processes, "HalfOpen fleet")
      yield* TestClock.adjust("1 second")
      yield* expectAll(processes, "Closed local")
      yield* TestClock.adjust("2 seconds")
      yield* expectAll(processes, "Closed local")
      assert.isTrue(running.every((fiber) => Exit.isSuccess(endOf(fiber))))
    })
  )

  it.effect("all three end at the same moment: they close", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* recovering(4, policy)
      for (const i of [0, 1, 2])
        yield* Effect.forkChild(at(i).protect(Effect.sleep(1_000 - i)), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("one failure among successes opens for all, and what ends later changes nothing", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* recovering(4, policy)
      yield* begin(at(0), Effect.sleep("1 second"))
      yield* begin(at(1), Effect.delay(Effect.fail("down"), "2 seconds"))
      yield* begin(at(2), Effect.sleep("3 seconds"))
      yield* TestClock.adjust("2 seconds")
      yield* expectAll(processes, "Open fleet")
      yield* TestClock.adjust("2 seconds")
      yield* expectAll(processes, "Open fleet")
      for (const process of processes) assert.strictEqual((yield* process.inspect).openings, 2)
    })
  )

  it.effect("one process may send all", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* recovering(2, policy)
      assert.isTrue(Exit.isSuccess(yield* at(0).succeed))
      yield* pause()
      yield* expectAll(processes, "HalfOpen fleet")
      assert.isTrue(Exit.isSuccess(yield* at(0).succeed))
      yield* pause()
      yield* expectAll(processes, "Closed local")
    })
  )
})

describe("successesToClose: 3, failuresToReopen: 2", () => {
  const policy = { probes: 2, successesToClose: 3, failuresToReopen: 2 }
  const runs: ReadonlyArray<readonly [probes: string, state: string, openings: number]> = [
    ["SFSS", "Closed local", 1],
    ["FSF", "Open fleet", 2],
    ["FF", "Open fleet", 2],
    ["SSF", "HalfOpen fleet", 1]
  ]
  for (const [probes, state, openings] of runs) {
    it.effect(`the probes of all processes are counted together: after ${probes} all are ${state}`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* recovering(3, policy)
        const seen = yield* transitions(at(2))
        for (const [i, probe] of [...probes].entries()) {
          yield* probe === "S" ? at(i % 3).succeed : at(i % 3).fail
          yield* pause()
        }
        yield* expectAll(processes, state)
        for (const process of processes) assert.strictEqual((yield* process.inspect).openings, openings)
        // A probe that decides nothing is no news.
        const told = seen().filter(({ to }) => to !== "HalfOpen")
        assert.strictEqual(told.length, state === "HalfOpen fleet" ? 0 : 1)
      })
    )
  }

  it.effect("the record of a HalfOpen circuit has the cause CooldownOver", () =>
    Effect.gen(function* () {
      const { at, store } = yield* recovering(2, policy)
      yield* at(0).fail
      yield* pause()
      const known = yield* Operator.inspect(store, "api")
      assert(known?._tag === "Known")
      assert.deepStrictEqual([known.state, known.why, known.reason], ["HalfOpen", "CooldownOver", undefined])
    })
  )
})

describe("A caller that asks for a place", () => {
  const modes: ReadonlyArray<readonly [string, (self: Effect.Effect<string, CircuitOpen.CircuitOpen>) => typeof self]> =
    [
      ["a caller", (self) => self],
      ["an uninterruptible caller", Effect.uninterruptible]
    ]
  for (const [who, as] of modes) {
    it.effect(`of a store that hangs: ${who} waits 50 ms and is rejected`, () =>
      Effect.gen(function* () {
        const { at } = yield* recovering(2)
        at(0).trouble.now = "hang"
        const caller = yield* Effect.forkChild(as(at(0).protect(Effect.succeed("ok"))), { startImmediately: true })
        yield* TestClock.adjust("49 millis")
        assert.isUndefined(caller.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        const { reason, retryAfter } = rejectionIn(endOf(caller))
        assert.strictEqual(reason, "ProbesBusy")
        assert.isTrue(Duration.isGreaterThan(retryAfter, Duration.zero))
      })
    )
  }

  it.effect("keeps other calls of its process from probing meanwhile, as inspect shows", () =>
    Effect.gen(function* () {
      const { at } = yield* recovering(2)
      assert.deepStrictEqual((yield* at(0).inspect).retryAfter, Duration.zero)
      at(0).trouble.now = "hang"
      yield* begin(at(0), Effect.void)
      const { retryAfter } = yield* at(0).inspect
      assert.deepStrictEqual(retryAfter, Duration.millis(50))
      assert.deepStrictEqual(rejectionIn(yield* at(0).succeed).retryAfter, retryAfter)
    })
  )

  it.effect("too late leaves its lease to the next caller, as inspect shows", () =>
    Effect.gen(function* () {
      const { at } = yield* recovering(2)
      at(0).trouble.slow = 100
      const caller = yield* begin(at(0), Effect.void)
      yield* pause(500)
      assert.strictEqual(rejectionIn(endOf(caller)).reason, "ProbesBusy")
      assert.deepStrictEqual((yield* at(0).inspect).retryAfter, Duration.zero)
      yield* begin(at(0), Effect.void)
      assert.strictEqual(at(0).reached, 1)
      at(0).trouble.slow = 0
      yield* pause(500)
    })
  )

  it.effect("and is interrupted meanwhile ends at once, and keeps no place", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* recovering(2)
      at(0).trouble.slow = 40
      const caller = yield* Effect.forkChild(at(0).protect(Effect.never), { startImmediately: true })
      yield* pause(30)
      yield* Fiber.interrupt(caller)
      const exit: Exit.Exit<never, CircuitOpen.CircuitOpen> = yield* Fiber.await(caller)
      assert.isTrue(
        Exit.isFailure(exit) && exit.cause.reasons.every((reason: Cause.Reason<unknown>) => reason._tag === "Interrupt")
      )
      yield* pause(100)
      assert.strictEqual(at(0).reached, 0)
      assert.isTrue(Exit.isSuccess(yield* at(1).succeed))
      yield* pause()
      yield* expectAll(processes, "Closed local")
      assert.strictEqual((yield* at(0).inspect).inFlight, 0)
    })
  )

  for (const millis of [60, 100, 200]) {
    it.effect(`of a store that takes ${millis} ms for each answer gets one, if not at once`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* recovering(2)
        for (const process of processes) process.trouble.slow = millis
        for (let i = 0; i < 10; i++) {
          yield* Effect.forkChild(at(0).succeed, { startImmediately: true })
          yield* TestClock.adjust("1 second")
        }
        assert.isAbove(at(0).reached, 0)
        yield* expectAll(processes, "Closed local")
      })
    )
  }

  for (const now of ["hang", "fail", "die", "throw"] as const) {
    it.effect(`probes and closes alone while the store is away (${now}), and takes part in the fleet again later`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* recovering(3)
        at(0).trouble.now = now
        at(0).trouble.deaf = true
        yield* TestClock.adjust("6 seconds")
        yield* begin(at(0), Effect.sleep("1 second"))
        yield* expectAll([at(0)], "HalfOpen local")
        yield* TestClock.adjust("1 second")
        yield* expectAll([at(0)], "Closed local")
        yield* expectAll([at(1), at(2)], "Open fleet")
        Object.assign(at(0).trouble, { now: "none", deaf: false })
        yield* TestClock.adjust("6 seconds")
        assert.isTrue(Exit.isSuccess(yield* at(1).succeed))
        yield* pause()
        yield* expectAll(processes, "Closed local")
        yield* openTogether(processes)
      })
    )
  }

  it.effect("and that closed alone does not close a later opening of the fleet with its late close", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      yield* openTogether(processes)
      yield* cooldownOver(processes)
      Object.assign(at(0).trouble, { now: "fail", deaf: true })
      yield* at(0).succeed
      yield* expectAll([at(0)], "Closed local")
      yield* at(1).fail
      yield* pause()
      yield* expectAll([at(1)], "Open fleet")
      // From now on, the process can write but cannot read.
      at(0).trouble.only = ["page", "load"]
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Open fleet")
    })
  )
})
