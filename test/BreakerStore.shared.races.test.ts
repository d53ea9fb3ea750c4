import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, MemoryStore, SharedStore, Trip } from "effect-fuse"
import { byHand } from "./support/byHand.ts"
import {
  begin,
  cooldownOver,
  expectAll,
  failing,
  fleet,
  intercepted,
  isRoutine,
  listed,
  load,
  openTogether,
  type Process,
  pause,
  standings,
  start,
  transitions,
  write
} from "./support/fleet.ts"
import { capture, type Line, times } from "./support/verbs.ts"

/** What became of a process since it was listened to: `Closed > Open, Tripped local`. */
const told = (seen: Effect.Success<ReturnType<typeof transitions>>) =>
  seen().map(({ from, scope, to, why }) => `${from} > ${to}, ${why} ${scope}`)

const swapsOf = (processes: ReadonlyArray<Process>): number =>
  processes.flatMap(({ trouble }) => trouble.asked).filter((operation) => operation === "swap").length

/** The first fails until it has opened by itself, while all others succeed. */
const openAlone = ([one, ...others]: ReadonlyArray<Process>) =>
  Effect.gen(function* () {
    const first = one ?? assert.fail("there is no process")
    for (let n = 0; n < 5; n++) {
      yield* first.fail
      yield* Effect.forEach(others, (process) => process.succeed)
      yield* pause(5)
    }
    yield* expectAll([first], "Open local")
  })

/** Its cooldown over, it tries again by itself: one call reaches the dependency, and fails. */
const expectOwnProbe = (process: Process) =>
  Effect.gen(function* () {
    const seen = yield* transitions(process)
    const { reached } = process
    yield* process.fail
    yield* pause()
    assert.deepStrictEqual(told(seen), ["Open > HalfOpen, CooldownOver local", "HalfOpen > Open, ProbeFailed local"])
    assert.strictEqual(process.reached, reached + 1)
  })

/** Processes that have opened and closed their circuit together. */
const recovered = (...args: Parameters<typeof fleet>) =>
  Effect.gen(function* () {
    const made = yield* fleet(...args)
    yield* openTogether(made.processes)
    yield* cooldownOver(made.processes)
    yield* made.at(0).succeed
    yield* pause()
    yield* expectAll(made.processes, "Closed local")
    return made
  })

const older = { policy: { trip: Trip.consecutive(5) } }
const newer = { policy: { trip: Trip.consecutive(6) } }

describe("An opening of its own stays its own", () => {
  it.effect("even if the store announces only now that the fleet closed long before", () =>
    Effect.gen(function* () {
      const { at } = yield* recovered(2)
      // What they had with the fleet is forgotten, and asked for again.
      yield* TestClock.adjust("20 seconds")
      const seen = yield* transitions(at(0))
      at(0).trouble.slow = 2
      const down = at(0).protect(Effect.delay(Effect.fail("down"), 3))
      yield* times(5, Effect.forkChild(down, { startImmediately: true }))
      yield* pause(3)
      yield* pause(20)
      assert.deepStrictEqual(told(seen), ["Closed > Open, Tripped local"])
      yield* expectAll([at(0)], "Open local")
    })
  )

  const befores: ReadonlyArray<readonly [string, typeof fleet | typeof recovered]> = [
    ["the fleet never opened", fleet],
    ["the fleet has recovered", recovered]
  ]
  for (const [what, make] of befores) {
    it.effect(`after a release without an override, and ${what}`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* make(3)
        yield* openAlone(processes)
        yield* at(0).run(CircuitBreaker.release("api"))
        yield* pause()
        yield* expectAll([at(0)], "Open local")
      })
    )
  }

  it.effect("while processes with another policy open theirs", () =>
    Effect.gen(function* () {
      const { all, at, processes } = yield* fleet(3, (i) => (i < 2 ? older : newer))
      yield* all((process) => process.succeed)
      yield* failing([at(2)], 6)
      yield* pause(500)
      yield* expectAll([at(2)], "Open local")
      yield* failing([at(0), at(1)], 4)
      yield* pause(500)
      assert.deepStrictEqual(yield* standings(processes), ["Open fleet", "Open fleet", "Open local"])
    })
  )

  it.effect("when a probe for the fleet ends that began before it", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      yield* openTogether(processes)
      yield* cooldownOver(processes)
      const probe = yield* begin(at(0), Effect.sleep("5 seconds"))
      yield* at(1).run(CircuitBreaker.close("api"))
      yield* pause()
      yield* openAlone(processes)
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(probe)))
      yield* expectAll([at(0)], "Open local")
      yield* TestClock.adjust("30 seconds")
      yield* expectOwnProbe(at(0))
    })
  )

  it.effect("when what processes with another policy forced over it has run out", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(4, (i) => (i < 2 ? older : newer))
      yield* Effect.forEach(processes, (process) => process.succeed)
      yield* openTogether([at(0), at(1)])
      yield* cooldownOver([at(0)])
      yield* at(0).succeed
      yield* pause()
      yield* failing([at(2)], 6)
      const before = ["Closed local", "Closed local", "Open local", "Closed local"]
      assert.sameOrderedMembers<string>(yield* standings(processes), before)
      yield* at(0).run(CircuitBreaker.isolate("api", { for: "10 seconds" }))
      yield* pause()
      yield* expectAll(processes, "Isolated fleet")
      yield* TestClock.adjust("11 seconds")
      yield* at(2).succeed
      assert.sameOrderedMembers<string>(yield* standings(processes), before)
      yield* TestClock.adjust("25 seconds")
      yield* expectOwnProbe(at(2))
    })
  )

  it.effect("also if the fleet opened it and then wrote a record of a later version", () =>
    Effect.gen(function* () {
      const { at, processes, store } = yield* fleet(2)
      yield* openTogether(processes)
      const { epoch } = (yield* load(store, "api")) ?? assert.fail("there is no record")
      yield* write(store, "api", { expectedEpoch: epoch, body: `{"v":2}` })
      yield* pause()
      yield* expectAll(processes, "Open local")
      yield* cooldownOver(processes)
      yield* TestClock.adjust("5 seconds")
      const { reached } = at(0)
      yield* times(3, at(0).succeed)
      assert.strictEqual(at(0).reached, reached + 3)
      yield* expectAll([at(0)], "Closed local")
    })
  )
})

describe("What was seen", () => {
  it.effect("before a reset does not open the circuit, even if its cooldown is computed slowly", () =>
    Effect.gen(function* () {
      let slow = false
      const find = Effect.suspend(() => Effect.as(slow ? Effect.sleep("3 seconds") : Effect.void, Duration.seconds(1)))
      const cooldown = Schedule.modifyDelay(Schedule.spaced("1 second"), () => find)
      const { all, at, processes } = yield* fleet(2, { policy: { cooldown } })
      yield* all((process) => process.succeed)
      slow = true
      yield* failing(processes, 3)
      yield* pause(300)
      yield* expectAll(processes, "Closed local")
      yield* at(0).run(CircuitBreaker.reset("api"))
      yield* pause()
      yield* TestClock.adjust("2750 millis")
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("before the fleet recovered gives no vote after it: a process without a later call is not counted", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* recovered(4, { policy: { cooldown: "1 second" } })
      yield* TestClock.adjust("1 second")
      yield* failing([at(0), at(1)], 5)
      yield* pause(500)
      yield* expectAll(processes, "Open fleet")
    })
  )
})

describe("A probe for the fleet", () => {
  it.effect("that failed while the store was away opens for its whole cooldown, also when the store is back", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2, { policy: { probes: 2 } })
      yield* openTogether(processes)
      yield* cooldownOver(processes)
      const probe = yield* begin(at(0), Effect.delay(Effect.fail("down"), 100))
      Object.assign(at(0).trouble, { now: "fail", only: ["swap"] })
      yield* pause(100)
      yield* Fiber.await(probe)
      yield* pause()
      at(0).trouble.now = "none"
      const { reached } = at(0)
      yield* at(0).succeed
      assert.strictEqual(at(0).reached, reached)
      assert.strictEqual(yield* at(0).state, "Open")
    })
  )

  it.effect("that is Ignored releases its lease, which is not announced as a recovery", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      yield* openTogether(processes)
      yield* cooldownOver(processes)
      at(1).trouble.deaf = true
      const probe = yield* begin(at(0), Effect.never)
      yield* pause()
      at(1).trouble.deaf = false
      const seen = yield* transitions(at(1))
      yield* Fiber.interrupt(probe)
      yield* pause()
      assert.deepStrictEqual(told(seen), ["Open > HalfOpen, CooldownOver fleet"])
    })
  )

  for (const millis of [49.999, 50, 50.001]) {
    it.effect(`whose place comes ${millis} ms after it was asked for is this call or the next`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(2)
        yield* openTogether(processes)
        yield* cooldownOver(processes)
        at(0).trouble.slow = millis
        const first = yield* begin(at(0), Effect.succeed("ok"))
        yield* TestClock.adjust("200 millis")
        at(0).trouble.slow = 0
        const exits = [yield* Fiber.await(first), yield* at(0).succeed]
        assert.isTrue(exits.some(Exit.isSuccess))
        yield* pause()
        yield* expectAll(processes, "Closed local")
      })
    )
  }
})

type OperatorAction = "isolate" | "disable" | "open" | "close" | "release" | "reset"

describe("Several operator actions while the store is away", () => {
  const orders: ReadonlyArray<readonly [actions: ReadonlyArray<OperatorAction>, holds: string, released: string]> = [
    [["open", "isolate", "disable"], "Isolated fleet", "Open fleet"],
    [["disable", "isolate"], "Isolated fleet", "Closed local"],
    [["close", "open", "isolate"], "Isolated fleet", "Open fleet"],
    [["open", "close", "isolate"], "Isolated fleet", "Closed local"],
    [["isolate", "release", "open"], "Open fleet", "Open fleet"],
    [["isolate", "open", "disable", "release", "isolate"], "Isolated fleet", "Open fleet"],
    [["isolate", "open", "reset", "disable"], "Disabled fleet", "Closed local"]
  ]
  for (const [actions, holds, released] of orders) {
    it.effect(`are sent in order: after ${actions.join(", ")} it is ${holds}, released ${released}`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(2)
        at(0).trouble.now = "fail"
        for (const action of actions) {
          const lasting = action === "open" ? { for: "10 minutes" as const } : {}
          yield* at(0).run(byHand(action, "api", lasting))
          yield* pause()
        }
        at(0).trouble.now = "none"
        yield* TestClock.adjust("6 seconds")
        yield* expectAll(processes, holds)
        yield* at(1).run(CircuitBreaker.release("api"))
        yield* pause()
        yield* expectAll(processes, released)
      })
    )
  }

  const many: ReadonlyArray<readonly [string, ReadonlyArray<OperatorAction>]> = [
    ["the same each time", ["isolate"]],
    ["by turns", ["open", "close"]],
    ["forced and released", ["isolate", "release"]]
  ]
  for (const [what, actions] of many) {
    it.effect(`are thousands, ${what}: none is too many, and one write tells them all`, () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(2)
        at(0).trouble.now = "fail"
        for (let i = 0; i < 12_000; i++) yield* at(0).run(byHand(actions[i % actions.length] ?? "open", "api"))
        yield* at(0).run(CircuitBreaker.disable("api", { reason: "the last" }))
        const holds = what === "the same each time" ? "Isolated" : "Disabled"
        yield* expectAll([at(0)], `${holds} local`)
        const before = swapsOf(processes)
        at(0).trouble.now = "none"
        yield* TestClock.adjust("10 seconds")
        yield* expectAll(processes, `${holds} fleet`)
        assert.strictEqual((yield* at(1).inspect).overrides.at(-1)?.reason, "the last")
        assert.strictEqual(swapsOf(processes) - before, 1)
        at(0).trouble.asked = []
        yield* TestClock.adjust("1 minute")
        assert.isTrue(isRoutine(at(0).trouble.asked))
      })
    )
  }
})

describe("An operator action that the store writes slowly, while the processes compare their states", () => {
  /** Two processes, of which one has a store that is slow to take what it is told, and may refuse to. */
  const slow = Effect.gen(function* () {
    const inner = yield* MemoryStore.make
    const wire = { slow: 200, refuses: false, asked: 0 }
    const refused = Effect.fail(new SharedStore.StoreError({ operation: "exchange", cause: new Error("conflict") }))
    const store = intercepted(inner, ({ swaps }, carryOut) => {
      if (swaps.length === 0) return carryOut
      wire.asked++
      const wait = Effect.sleep(wire.slow / 2)
      return Effect.andThen(wait, Effect.ensuring(wire.refuses ? refused : carryOut, wait))
    })
    const [a, b] = [yield* start(store, { syncInterval: 100 }), yield* start(inner, { syncInterval: 100 })]
    yield* TestClock.adjust("1 second")
    const by = (action: OperatorAction) => Effect.forkChild(a.run(byHand(action, "api")), { startImmediately: true })
    return { a, b, by, wire }
  })

  const actions: ReadonlyArray<readonly [before: OperatorAction | undefined, action: OperatorAction, what: string]> = [
    [undefined, "isolate", "Closed > Isolated, Isolated fleet"],
    [undefined, "disable", "Closed > Disabled, Disabled fleet"],
    [undefined, "open", "Closed > Open, OpenedByHand fleet"],
    ["open", "close", "Open > Closed, ClosedByHand fleet"],
    ["isolate", "release", "Isolated > Closed, Released fleet"],
    ["open", "reset", "Open > Closed, Reset fleet"]
  ]
  for (const [before, action, what] of actions) {
    it.effect(`is written once: ${action}`, () =>
      Effect.gen(function* () {
        const { a, b, by, wire } = yield* slow
        if (before !== undefined) yield* b.run(byHand(before, "api"))
        yield* pause()
        const seen = yield* transitions(b)
        yield* by(action)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(told(seen), [what])
        assert.strictEqual(wire.asked, 1)
        assert.deepStrictEqual(yield* standings([a]), yield* standings([b]))
      })
    )
  }

  it.effect("is the fleet's, also if the store refuses all later commands", () =>
    Effect.gen(function* () {
      const { a, b, by, wire } = yield* slow
      yield* by("isolate")
      yield* pause(1)
      wire.refuses = true
      yield* TestClock.adjust("1 second")
      yield* expectAll([a, b], "Isolated fleet")
    })
  )

  it.effect("is written again, and once, when the store accepts it, whatever it refused before", () =>
    Effect.gen(function* () {
      const { a, b, by, wire } = yield* slow
      wire.refuses = true
      const seen = yield* transitions(b)
      yield* by("open")
      yield* pause(100)
      yield* by("isolate")
      yield* TestClock.adjust("10 seconds")
      yield* expectAll([a], "Isolated local")
      wire.refuses = false
      yield* TestClock.adjust("2 seconds")
      yield* expectAll([a, b], "Isolated fleet")
      assert.deepStrictEqual(told(seen), ["Closed > Isolated, Isolated fleet"])
    })
  )

  // The answer comes after 200 milliseconds, the others hear of it after 100.
  for (const millis of [101, 199, 201]) {
    it.effect(`is what another undid ${millis} ms after it began: that holds in all, and is announced`, () =>
      Effect.gen(function* () {
        const { a, b, by } = yield* slow
        const seen = yield* transitions(a)
        yield* by("isolate")
        yield* pause(millis)
        yield* b.run(CircuitBreaker.release("api"))
        yield* TestClock.adjust("1 minute")
        yield* expectAll([a, b], "Closed local")
        assert.deepStrictEqual(told(seen), ["Closed > Isolated, Isolated fleet", "Isolated > Closed, Released fleet"])
      })
    )
  }

  it.effect("is the same as another process's: the reason of the last one holds and is announced", () =>
    Effect.gen(function* () {
      const { a, b, by } = yield* slow
      const seen = yield* transitions(a)
      yield* by("isolate")
      yield* pause(150)
      yield* b.run(CircuitBreaker.isolate("api", { reason: "the last" }))
      yield* TestClock.adjust("1 minute")
      yield* expectAll([a, b], "Isolated fleet")
      for (const process of [a, b]) assert.strictEqual((yield* process.inspect).cause?.detail, "the last")
      assert.deepStrictEqual(told(seen), ["Closed > Isolated, Isolated fleet", "Isolated > Isolated, Isolated fleet"])
    })
  )
})

describe("Operator actions on several circuits, of which the store refuses some", () => {
  it.effect("reach the fleet for the circuits that it accepts", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryStore.make
      const refused = Effect.fail(new SharedStore.StoreError({ operation: "exchange", cause: new Error("conflict") }))
      const store = intercepted(inner, ({ swaps }, carryOut) =>
        swaps.some(({ circuit }) => /^refused/.test(circuit)) ? refused : carryOut
      )
      const a = yield* start(store, { syncInterval: 100 })
      for (const name of ["refused1", "refused2", "refused3"]) yield* a.run(CircuitBreaker.isolate(name))
      yield* a.run(CircuitBreaker.isolate("taken"))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(
        (yield* listed(inner)).map(({ circuit }) => circuit),
        ["taken"]
      )
    })
  )
})

describe("What a process forced", () => {
  it.effect("expires in all processes without a store operation, and without an event before the next call", () =>
    Effect.gen(function* () {
      const { all, at, processes } = yield* fleet(3)
      yield* all((process) => process.succeed)
      const seen = yield* transitions(at(1))
      yield* at(0).run(CircuitBreaker.isolate("api", { for: "10 seconds" }))
      const before = swapsOf(processes)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(swapsOf(processes), before)
      assert.deepStrictEqual(told(seen), ["Closed > Isolated, Isolated fleet"])
      yield* all((process) => process.succeed)
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("is written again once when ten processes notice, without announcements, that the store has lost it", () =>
    Effect.gen(function* () {
      const { all, at, processes, store, wipe } = yield* fleet(10)
      yield* all((process) => process.succeed)
      yield* at(0).run(CircuitBreaker.isolate("api"))
      yield* pause()
      yield* wipe
      let written = 0
      const count = Stream.runForEach(store.changes, () => Effect.sync(() => written++))
      yield* Effect.forkChild(count, { startImmediately: true })
      for (const process of processes) Object.assign(process.trouble, { slow: 200, deaf: true })
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(written, 1)
      yield* expectAll(processes, "Isolated fleet")
    })
  )
})

describe("Openings with keys that the store has forgotten", () => {
  const keys = Array.from({ length: 20 }, (_, i) => `key ${i}`)
  const keysOf = (process: Process) =>
    Effect.map(process.run(CircuitBreaker.list), (all) => all.flatMap(({ key }) => key ?? []))

  it.effect("are dropped in processes that never called them, which no longer ask the store about them", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      for (const key of keys) yield* at(0).run(CircuitBreaker.open("api", { key }))
      yield* pause()
      for (const process of processes) assert.sameMembers(yield* keysOf(process), keys)
      yield* TestClock.adjust("1 hour")
      for (const process of processes) {
        assert.deepStrictEqual(yield* keysOf(process), [])
        assert.deepStrictEqual(yield* process.run(BreakerStore.stats), { circuits: 0, evicted: 0, overflowed: 0 })
        process.trouble.asked = []
      }
      yield* TestClock.adjust("1 minute")
      for (const { trouble } of processes) assert.isTrue(isRoutine(trouble.asked))
    })
  )

  it.effect("are kept in processes that called them, which do not ask the store about them", () =>
    Effect.gen(function* () {
      const { at } = yield* fleet(2)
      for (const key of keys) {
        yield* at(1).run(CircuitBreaker.protect(Effect.void, "api", { key }))
        yield* at(0).run(CircuitBreaker.open("api", { key }))
      }
      yield* TestClock.adjust("1 hour")
      assert.sameMembers(yield* keysOf(at(1)), keys)
      at(1).trouble.asked = []
      yield* TestClock.adjust("1 minute")
      assert.isTrue(isRoutine(at(1).trouble.asked))
    })
  )

  it.effect("are asked for many at a time, so that a slow store is listed all the same", () =>
    Effect.gen(function* () {
      const { at, wipe } = yield* fleet(2)
      for (let i = 0; i < 300; i++) yield* at(0).run(CircuitBreaker.open("api", { key: `key ${i}` }))
      yield* TestClock.adjust("6 seconds")
      yield* wipe
      Object.assign(at(1).trouble, { asked: [], slow: 100 })
      yield* TestClock.adjust("30 seconds")
      const asked = (operation: string) => at(1).trouble.asked.filter((one) => one === operation).length
      assert.isAtMost(asked("load"), 2 * 3)
      assert.isAtLeast(asked("page"), 5)
    })
  )
})

describe("A process", () => {
  it.effect("that got an invalid answer continues its repair", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryStore.make
      let bad = false
      const store: SharedStore.SharedStore = {
        ...inner,
        page: (since, limit) =>
          bad ? Effect.succeed(JSON.parse('{"live":1,"changes":[{"epoch":1}]}')) : inner.page(since, limit),
        exchange: (exchange) =>
          bad ? Effect.succeed(JSON.parse('{"_tag":"Done","live":"many","rollCalls":{}}')) : inner.exchange(exchange)
      }
      const one = yield* start(store)
      yield* TestClock.adjust("6 seconds")
      bad = true
      yield* TestClock.adjust("6 seconds")
      bad = false
      one.trouble.asked = []
      yield* TestClock.adjust("1 minute")
      assert.isAtLeast(one.trouble.asked.length, 10)
      assert.isTrue(isRoutine(one.trouble.asked))
    })
  )

  it.effect("logs once that another process has another policy, however often the circuit was idle since", () =>
    Effect.gen(function* () {
      const lines: Array<Line> = []
      const often = Effect.gen(function* () {
        const { all, at } = yield* fleet(2, (i) => (i < 1 ? older : newer))
        yield* all((process) => process.succeed)
        for (let n = 0; n < 5; n++) {
          yield* failing([at(0)], 3)
          yield* at(0).succeed
          yield* TestClock.adjust("5 minutes")
          yield* all((process) => process.succeed)
        }
      })
      yield* capture(lines, often)
      assert.strictEqual(lines.filter(({ message }) => /another trip, slowCall, fleet or mode/.test(message)).length, 1)
    })
  )

  for (const process of ["café", "a b", "a|b", "a,b", "", "a".repeat(101)]) {
    it.effect(`cannot be called ${JSON.stringify(process).slice(0, 20)}`, () =>
      Effect.gen(function* () {
        const store = yield* MemoryStore.make
        assert.throws(
          () => BreakerStore.layerShared(store, { process }),
          RangeError,
          /^BreakerStore.layerShared: process: expected at most 100 letters, /
        )
      })
    )
  }
})
