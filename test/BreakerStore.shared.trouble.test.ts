import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import {
  cooldownOver,
  expectAll,
  failing,
  fleet,
  isRoutine,
  openTogether,
  type Process,
  pause,
  type Trouble,
  write
} from "./support/fleet.ts"
import { capture, type Line, rejectionIn, times } from "./support/verbs.ts"

const modes: ReadonlyArray<readonly [what: string, trouble: Partial<Trouble>]> = [
  ["hangs", { now: "hang" }],
  ["fails", { now: "fail" }],
  ["dies", { now: "die" }],
  ["throws", { now: "throw" }],
  ["takes 300 ms", { slow: 300 }],
  ["executes commands after their callers stopped waiting", { now: "lost" }]
]
const well: Partial<Trouble> = { now: "none", slow: 0, late: 0, deaf: false, only: [] }

describe("A store that", () => {
  for (const [what, trouble] of modes) {
    it.effect(`${what}: no caller waits for it, and each process protects itself`, () =>
      Effect.gen(function* () {
        const { all, at, processes } = yield* fleet(2)
        yield* all((process) => process.succeed)
        Object.assign(at(0).trouble, trouble)
        // The clock does not advance, so a caller that waited would never return.
        yield* times(5, at(0).fail)
        yield* expectAll([at(0)], "Open local")
        assert.strictEqual(rejectionIn(yield* at(0).succeed).reason, "Cooldown")
        yield* TestClock.adjust("31 seconds")
        yield* at(0).fail
        yield* expectAll([at(0)], "Open local")
        assert.strictEqual((yield* at(0).inspect).openings, 2)
        yield* TestClock.adjust("31 seconds")
        assert.isTrue(Exit.isSuccess(yield* at(0).succeed))
        Object.assign(at(0).trouble, well)
        yield* TestClock.adjust("6 seconds")
        yield* openTogether(processes)
      })
    )

    it.effect(`${what}: a process starts within 200 ms, and is part of the fleet when the store is well`, () =>
      Effect.gen(function* () {
        const { join, processes } = yield* fleet(2)
        yield* openTogether(processes)
        const starting = yield* Effect.forkChild(join({ trouble }), { startImmediately: true })
        yield* TestClock.adjust("200 millis")
        const exit = starting.pollUnsafe() ?? assert.fail("it has not started")
        const late: Process = yield* exit
        Object.assign(late.trouble, well)
        yield* TestClock.adjust("6 seconds")
        yield* expectAll([late], "Open fleet")
      })
    )

    it.effect(`${what}: a process ends within 500 ms`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(2)
        yield* openTogether(processes)
        yield* cooldownOver(processes)
        yield* Effect.forkChild(at(0).protect(Effect.never), { startImmediately: true })
        yield* pause(1)
        Object.assign(at(0).trouble, trouble)
        const stopping = yield* Effect.forkChild(at(0).stop, { startImmediately: true })
        yield* TestClock.adjust("500 millis")
        assert.isDefined(stopping.pollUnsafe())
      })
    )

    it.effect(`${what} for one of three processes: it learns of the opening when its store is back`, () =>
      Effect.gen(function* () {
        const { at } = yield* fleet(3)
        yield* at(2).succeed
        Object.assign(at(2).trouble, { ...trouble, deaf: true })
        yield* openTogether([at(0), at(1)])
        yield* TestClock.adjust("10 seconds")
        if (what !== "takes 300 ms") yield* expectAll([at(2)], "Closed local")
        Object.assign(at(2).trouble, well)
        yield* TestClock.adjust("6 seconds")
        yield* expectAll([at(2)], "Open fleet")
      })
    )
  }

  it.effect("works receives only one read and one heartbeat per interval, even while single calls fail", () =>
    Effect.gen(function* () {
      const { all, at } = yield* fleet(2)
      yield* all((process) => times(100, process.succeed))
      yield* times(3, Effect.andThen(at(0).fail, at(0).succeed))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(new Set(yield* all((process) => Effect.succeed(process.trouble.asked.join()))).size, 1)
      assert.isTrue(isRoutine(at(0).trouble.asked))
      // One read and one heartbeat in each interval, and a few more after the start.
      assert.isAtMost(at(0).trouble.asked.length, 2 * 16)
    })
  )

  it.effect("answers writes but fails reads: one warning says why, and one line says when reads work again", () => {
    const lines: Array<Line> = []
    const about = () => lines.filter(({ message }) => /changes of other processes/.test(message))
    return capture(
      lines,
      Effect.gen(function* () {
        const { at } = yield* fleet(2)
        yield* TestClock.adjust("10 seconds")
        Object.assign(at(0).trouble, { now: "fail", only: ["page"], deaf: true })
        yield* at(1).run(CircuitBreaker.isolate("api"))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(
          about().map(({ annotations, level, message }) => [level, message, annotations["store"]]),
          [
            [
              "Warn",
              "The store answers, but this process cannot read the changes of other processes: StoreError: The store failed to page: refused",
              "circuits"
            ]
          ]
        )
        Object.assign(at(0).trouble, well)
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(
          about()
            .map(({ message }) => message)
            .slice(1),
          ["The changes of other processes can be read again"]
        )
        yield* expectAll([at(0)], "Isolated fleet")
      })
    )
  })

  for (const only of [[], ["heartbeat"], ["load"]] as const) {
    it.effect(`fails ${only[0] ?? "every operation"} does not log that only reads fail`, () => {
      const lines: Array<Line> = []
      return capture(
        lines,
        Effect.gen(function* () {
          const { at } = yield* fleet(2)
          Object.assign(at(0).trouble, { now: "fail", only })
          yield* TestClock.adjust("1 minute")
          assert.deepStrictEqual(
            lines.filter(({ message }) => /changes of other processes/.test(message)),
            []
          )
        })
      )
    })
  }

  it.effect("has many circuits with old failures does not fill the memory of a process", () =>
    Effect.gen(function* () {
      const { at } = yield* fleet(2, { maxCircuits: 2 })
      for (const key of ["a", "b", "c", "d"]) {
        const call = <E>(self: Effect.Effect<void, E>) =>
          Effect.andThen(Effect.exit(at(0).run(CircuitBreaker.protect(self, "api", { key }))), pause(5))
        yield* times(2, call(Effect.fail("down")))
        yield* pause(500)
        yield* times(2, call(Effect.void))
        yield* TestClock.adjust("2 minutes")
      }
      const stats = yield* at(0).run(BreakerStore.stats)
      assert.deepStrictEqual([stats.overflowed, stats.evicted], [0, 2])
    })
  )
})

describe("Lost answers of commands that were executed", () => {
  it.effect("change nothing: each opening and each close is counted once", () =>
    Effect.gen(function* () {
      const { all, processes } = yield* fleet(3)
      yield* all((process) => process.succeed)
      for (const process of processes) Object.assign(process.trouble, { now: "lost", only: ["swap"] })
      yield* failing(processes, 3)
      yield* TestClock.adjust("2 seconds")
      yield* expectAll(processes, "Open fleet")
      for (const process of processes) assert.strictEqual((yield* process.inspect).openings, 1)
    })
  )

  it.effect("of one process: its operator action holds in all processes, once", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      Object.assign(at(0).trouble, { now: "lost", only: ["swap"] })
      yield* Effect.forkChild(at(0).run(CircuitBreaker.isolate("api", { for: "1 minute" })), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      yield* expectAll([at(1)], "Isolated fleet")
      assert.strictEqual(yield* at(0).state, "Isolated")
      Object.assign(at(0).trouble, well)
      yield* TestClock.adjust("51 seconds")
      for (const process of processes) assert.isTrue(Exit.isSuccess(yield* process.succeed))
    })
  )
})

describe("Operations that are carried out twice", () => {
  it.effect("change nothing the second time, from opening to close", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3)
      for (const process of processes) process.trouble.now = "twice"
      yield* openTogether(processes)
      yield* cooldownOver(processes)
      yield* at(0).fail
      yield* pause(100)
      for (const process of processes) assert.strictEqual((yield* process.inspect).openings, 2)
      yield* cooldownOver(processes)
      yield* at(1).succeed
      yield* pause(100)
      yield* expectAll(processes, "Closed local")
      yield* TestClock.adjust("10 seconds")
      yield* expectAll(processes, "Closed local")
    })
  )
})

describe("Announcements", () => {
  it.effect("that are all dropped: the next list repairs an opening, a close, an override and its release", () =>
    Effect.gen(function* () {
      const { at } = yield* fleet(3)
      yield* at(2).succeed
      at(2).trouble.deaf = true
      const repaired = (standing: string) =>
        Effect.andThen(TestClock.adjust("5600 millis"), expectAll([at(2)], standing))
      yield* openTogether([at(0), at(1)])
      yield* repaired("Open fleet")
      yield* TestClock.adjust("26 seconds")
      yield* at(0).succeed
      yield* repaired("Closed local")
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* repaired("Isolated fleet")
      yield* at(0).run(CircuitBreaker.release("api"))
      yield* repaired("Closed local")
    })
  )

  it.effect("that are late tell nothing that is over", () =>
    Effect.gen(function* () {
      const { at } = yield* fleet(3)
      at(2).trouble.late = 8_000
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* TestClock.adjust("6 seconds")
      at(2).trouble.late = 0
      yield* expectAll([at(2)], "Isolated fleet")
      yield* at(0).run(CircuitBreaker.release("api"))
      yield* pause()
      yield* expectAll([at(2)], "Closed local")
      yield* TestClock.adjust("2 seconds")
      yield* expectAll([at(2)], "Closed local")
    })
  )

  it.effect("out of turn are right again after the next list", () =>
    Effect.gen(function* () {
      const { at } = yield* fleet(3)
      at(2).trouble.late = 2_000
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* pause(500)
      at(2).trouble.late = 0
      yield* at(0).run(CircuitBreaker.release("api"))
      yield* TestClock.adjust("8 seconds")
      yield* expectAll([at(2)], "Closed local")
    })
  )

  it.effect("of things that no process of this library wrote are ignored", () =>
    Effect.gen(function* () {
      const { announce, processes, store } = yield* fleet(3)
      const bodies = ["", "{}", "null", '{"v":2}', '{"v":1,"state":{"_tag":"Open"}}']
      for (const [i, circuit] of ["api", "%zz", "a/b/c", "/", "other"].entries()) {
        yield* write(store, circuit, { body: bodies[i] ?? "", ttl: 60_000 })
        yield* announce({ _tag: "Record", circuit, epoch: 2 ** 40, body: bodies[i] ?? "" })
        yield* announce({ _tag: "Inquiry", circuit, epoch: 0, box: "unknown" })
        yield* announce({ _tag: "RollCall", circuit, epoch: 0, box: "unknown", seq: i + 1, prev: i, term: 30_000 })
      }
      yield* TestClock.adjust("11 seconds")
      yield* expectAll(processes, "Closed local")
      for (const process of processes) assert.isTrue(Exit.isSuccess(yield* process.succeed))
    })
  )
})

describe("A store that lost everything", () => {
  it.effect("while a circuit was open: it stays open to its end, and then one probes for all", () =>
    Effect.gen(function* () {
      const { all, processes, wipe } = yield* fleet(3)
      yield* openTogether(processes)
      yield* wipe
      yield* TestClock.adjust("25 seconds")
      yield* expectAll(processes, "Open fleet")
      yield* cooldownOver(processes)
      for (const process of processes) process.reached = 0
      const callers = yield* all((process) =>
        Effect.forkChild(process.protect(Effect.sleep("1 second")), { startImmediately: true })
      )
      yield* pause(100)
      assert.strictEqual(
        processes.reduce((sum, process) => sum + process.reached, 0),
        1
      )
      assert.strictEqual(callers.filter((fiber) => fiber.pollUnsafe() !== undefined).length, 2)
      yield* TestClock.adjust("1 second")
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("while one was probing: its verdict counts, or another probes", () =>
    Effect.gen(function* () {
      const { at, processes, wipe } = yield* fleet(3, { policy: { probeTimeout: "5 seconds" } })
      yield* openTogether(processes)
      yield* cooldownOver(processes)
      yield* Effect.forkChild(at(0).protect(Effect.sleep("1 second")), { startImmediately: true })
      yield* pause()
      yield* wipe
      yield* TestClock.adjust("6 seconds")
      for (const process of processes) yield* Effect.andThen(process.succeed, pause())
      yield* expectAll(processes, "Closed local")
    })
  )

  for (const millis of [0, 1_000, 3_000, 5_000, 7_000]) {
    it.effect(`${millis} ms ago: one process alone is no majority, though it knows of no other`, () =>
      Effect.gen(function* () {
        const { at, processes, wipe } = yield* fleet(3)
        yield* wipe
        yield* TestClock.adjust(millis)
        yield* failing([at(0)], 5)
        yield* pause(400)
        yield* expectAll([at(0)], "Open local")
        yield* expectAll(processes.slice(1), "Closed local")
      })
    )
  }

  it.effect(
    "or was unreachable until it counts no process as live: the first process that returns and fails alone opens only its own circuit",
    () =>
      Effect.gen(function* () {
        const { all, at, processes } = yield* fleet(3)
        yield* all((process) => process.succeed)
        for (const { trouble } of processes) trouble.now = "fail"
        // After this time, the store does not count a silent process as live.
        yield* TestClock.adjust("15 seconds")
        at(0).trouble.now = "none"
        yield* TestClock.adjust("1200 millis")
        yield* all((process) => process.succeed)
        yield* failing([at(0)], 5)
        yield* pause(400)
        yield* expectAll([at(0)], "Open local")
        for (const { trouble } of processes) trouble.now = "none"
        yield* TestClock.adjust("6 seconds")
        yield* expectAll(processes.slice(1), "Closed local")
      })
  )
})

describe("Evidence from the time when the store was away", () => {
  for (const failures of [4, 5]) {
    it.effect(`is not sent afterwards: ${failures} failures in each of two processes`, () =>
      Effect.gen(function* () {
        const { all, at } = yield* fleet(3)
        yield* all((process) => process.succeed)
        for (const i of [0, 1]) at(i).trouble.now = "fail"
        yield* TestClock.adjust("6 seconds")
        yield* failing([at(0), at(1)], failures)
        for (const i of [0, 1]) at(i).trouble.now = "none"
        yield* TestClock.adjust("6 seconds")
        yield* failing([at(2)], 4)
        yield* pause(400)
        yield* expectAll([at(2)], "Closed local")
      })
    )
  }

  const afterwards: ReadonlyArray<
    readonly [string, Trip.Input, away: string, (process: Process) => Effect.Effect<unknown>]
  > = [
    [
      "a streak, after an opening that the process decided alone",
      Trip.consecutive(5),
      "FFFF",
      (process) =>
        Effect.andThen(process.fail, TestClock.adjust("31 seconds")).pipe(
          Effect.andThen(process.succeed),
          Effect.andThen(pause())
        )
    ],
    [
      "a window, once it is over",
      Trip.failureRate({ threshold: 0.5, minimumCalls: 20, over: "10 seconds" }),
      "FFFFSFFFFS",
      (process) => Effect.andThen(process.fail, TestClock.adjust("15 seconds"))
    ]
  ]
  for (const [what, trip, away, then] of afterwards) {
    it.effect(`does not weaken later evidence: ${what}`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(3, { policy: { trip } })
        for (const process of processes) process.trouble.now = "fail"
        yield* TestClock.adjust("6 seconds")
        for (const process of processes) {
          for (const letter of away) yield* letter === "F" ? process.fail : process.succeed
        }
        for (const process of processes) process.trouble.now = "none"
        yield* TestClock.adjust("2 seconds")
        for (const process of processes) yield* then(process)
        yield* pause(500)
        yield* expectAll(processes, "Closed local")
        if (what.startsWith("a streak")) yield* failing(processes, 2)
        else {
          for (const process of processes) yield* times(4, process.succeed)
          yield* failing(processes, 4)
        }
        yield* pause(300)
        yield* expectAll([at(0), at(1), at(2)], "Open fleet")
      })
    )
  }
})
