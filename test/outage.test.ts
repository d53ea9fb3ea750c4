import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { cooldownOver, failing, fleet, openTogether, type Process, pause, transitions } from "./support/fleet.ts"
import { fail, inspect, pass, quick, recordEvents, reject, rejectionIn, scenario, succeed } from "./support/verbs.ts"

// An outage lasts from the first opening of a circuit until it closes again. Failed probes belong to it.

describe("The outage of a circuit", () => {
  scenario("begins with the first opening, contains failed probes, and ends with the close", quick, function* () {
    const events = yield* recordEvents
    assert.isUndefined((yield* inspect()).outage)
    yield* TestClock.adjust("1 second")
    const since = yield* Clock.currentTimeMillis
    yield* fail()
    for (const openings of [1, 2, 3]) {
      assert.deepStrictEqual((yield* inspect()).outage, { since, openings })
      const error = rejectionIn(yield* succeed())
      assert.deepStrictEqual([error.downSince, error.openings], [since, openings])
      yield* TestClock.adjust("10 seconds")
      if (openings < 3) yield* fail()
    }
    yield* pass()
    assert.isUndefined((yield* inspect()).outage)
    const seen = (yield* events).filter((event) => event._tag === "Transition")
    assert.deepStrictEqual(
      seen.map(({ downForMillis, outage, to }) => [to, outage?.at, outage?.openings, downForMillis]),
      [
        ["Open", since, 1, undefined],
        ["HalfOpen", since, 1, undefined],
        ["Open", since, 2, undefined],
        ["HalfOpen", since, 2, undefined],
        ["Open", since, 3, undefined],
        ["HalfOpen", since, 3, undefined],
        ["Closed", since, 3, 30_000]
      ]
    )
  })

  scenario("counts its own openings only, although earlier openings lengthen the next one", quick, function* () {
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    yield* pass()
    yield* TestClock.adjust("1 second")
    yield* fail()
    const { openings, outage } = yield* inspect()
    assert.deepStrictEqual([openings, outage?.openings], [2, 1])
  })

  scenario("is not an override, and continues beneath one", quick, function* () {
    yield* CircuitBreaker.isolate("api")
    assert.isUndefined((yield* inspect()).outage)
    assert.isUndefined(rejectionIn(yield* succeed()).downSince)
    yield* CircuitBreaker.release("api")
    const since = yield* Clock.currentTimeMillis
    yield* fail()
    yield* TestClock.adjust("1 second")
    yield* CircuitBreaker.isolate("api")
    assert.deepStrictEqual((yield* inspect()).outage, { since, openings: 1 })
    yield* TestClock.adjust("1 minute")
    yield* CircuitBreaker.release("api")
    const events = yield* recordEvents
    yield* pass()
    const closed = (yield* events).filter((event) => event._tag === "Transition").at(-1)
    assert.strictEqual(closed?.downForMillis, 61_000)
  })

  scenario("ends when an operator closes or resets the circuit", quick, function* () {
    for (const action of [CircuitBreaker.close, CircuitBreaker.reset]) {
      const events = yield* recordEvents
      yield* CircuitBreaker.open("api", { for: "1 minute" })
      yield* TestClock.adjust("5 seconds")
      yield* action("api")
      assert.deepInclude((yield* events).at(-1), { to: "Closed", downForMillis: 5_000 })
      yield* TestClock.adjust("1 hour")
    }
  })

  scenario(
    "of a dependency is not that of the circuit that depends on it",
    { breakers: { page: { dependsOn: ["api"] }, api: quick } },
    function* () {
      yield* fail()
      yield* reject()
      const error = rejectionIn(yield* Effect.exit(CircuitBreaker.protect(Effect.void, "page")))
      assert.deepStrictEqual([error.reason, error.dependency, error.downSince], ["Dependency", "api", undefined])
    }
  )
})

describe("The outage of a fleet", () => {
  const outages = (processes: ReadonlyArray<Process>) =>
    Effect.forEach(processes, (process) => Effect.map(process.inspect, ({ outage }) => outage))

  it.effect("has the same start in every process, also in one that starts later, and for an operator", () =>
    Effect.gen(function* () {
      const { at, join, processes, store } = yield* fleet(3)
      yield* openTogether([at(0), at(1)])
      yield* cooldownOver(processes)
      yield* at(0).fail
      yield* pause(100)
      const all = [...processes, yield* join()]
      const [first, ...others] = yield* outages(all)
      assert.strictEqual(first?.openings, 2)
      for (const other of others) assert.deepStrictEqual(other, first)
      for (const millis of [0, 1, 333]) {
        yield* TestClock.adjust(millis)
        const known = yield* Operator.inspect(store, "api")
        assert(known?._tag === "Known" && known.outage !== undefined)
        const { agreed, ...outage } = known.outage
        assert.deepStrictEqual(outage, first)
        // The record also says how many processes agreed on the opening, also after a probe has failed.
        assert.deepStrictEqual(agreed, { processes: 2, of: 3 })
      }
    })
  )

  it.effect("is as long in a process that did not see its start as in the process that opened", () =>
    Effect.gen(function* () {
      const { at, join, processes } = yield* fleet(2)
      yield* openTogether([at(0), at(1)])
      const opened = (yield* at(0).inspect).outage?.since ?? assert.fail("it is not open")
      const late = yield* join()
      const seen = yield* Effect.forEach([...processes, late], transitions)
      yield* cooldownOver([...processes, late])
      yield* at(1).succeed
      yield* pause(100)
      const now = yield* Clock.currentTimeMillis
      for (const read of seen) {
        const closed = read().find((event) => event.to === "Closed")
        assert.strictEqual(closed?.outage?.at, opened)
        assert.isAtLeast(closed?.downForMillis ?? 0, 30_000)
        assert.isAtMost(closed?.downForMillis ?? Infinity, now - opened)
      }
    })
  )

  it.effect("begins with the opening of a single process, if that was before the fleet agreed", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      for (const { trouble } of processes) trouble.slow = 100
      yield* Effect.forEach(processes, (process) => process.succeed)
      // The second process is convinced, but too few calls have failed to trip. The first opens alone, then for both.
      yield* failing([at(1)], 2)
      yield* pause(1_000)
      const since = yield* Clock.currentTimeMillis
      yield* failing([at(0)], 5, 0)
      const alone = yield* at(0).inspect
      assert.deepStrictEqual([alone.state, alone.scope, alone.outage?.since], ["Open", "local", since])
      yield* pause(1_000)
      for (const process of processes) {
        const { outage, scope, state } = yield* process.inspect
        assert.deepStrictEqual([state, scope, outage?.since], ["Open", "fleet", since])
      }
    })
  )
})
