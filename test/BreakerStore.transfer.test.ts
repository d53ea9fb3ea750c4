import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"
import { expectAll, fleet, openTogether, pause } from "./support/fleet.ts"
import { expectState, fail, hang, pass, quick, recordEvents, reject, scenario, settings } from "./support/verbs.ts"

/** Runs an effect with a new, empty store. */
const elsewhere = <A, E>(effect: Effect.Effect<A, E, BreakerStore.BreakerStore>) =>
  effect.pipe(
    Effect.provide(BreakerStore.layerMemory, { local: true }),
    Effect.provide(BreakerPolicy.layer(settings(quick)), { local: true })
  )

const importing = (json: string) => BreakerStore.importAll(json)

/** Reads the fields that the tests compare, of all circuits. */
const views = Effect.map(CircuitBreaker.list, (all) =>
  all
    .map(({ cause, circuit, key, openings, retryAfter, state }) => ({
      circuit,
      key,
      state,
      openings,
      cause,
      retryAfter: Duration.toMillis(retryAfter)
    }))
    .sort((a, b) => `${a.circuit} ${a.key}`.localeCompare(`${b.circuit} ${b.key}`))
)

/** One circuit in each state, and keys of all sorts. */
const various = Effect.gen(function* () {
  yield* fail({ name: "open" })
  yield* fail({ name: "half" })
  for (const key of ["", "a/b", "%2F", 'quoted " and \\', "\u0000 ü 日本"]) yield* fail({ name: "keyed", key })
  yield* CircuitBreaker.isolate("isolated", { reason: "why", actor: "ann", for: "1 hour" })
  yield* CircuitBreaker.isolate("endless")
  yield* CircuitBreaker.disable("disabled", { for: "2 hours" })
  yield* CircuitBreaker.disable("endless too", { key: "k" })
  yield* fail({ name: "recovered" })
  yield* TestClock.adjust("1 second")
  yield* CircuitBreaker.close("recovered")
  yield* pass({ name: "healthy" })
})

describe("exportAll and importAll", () => {
  scenario("transfer every state to another store, and omit Closed circuits without openings", quick, function* () {
    yield* various
    const expected = (yield* views).filter(({ circuit }) => circuit !== "healthy")
    const json = yield* BreakerStore.exportAll
    const [count, found] = yield* elsewhere(Effect.all([importing(json), views]))
    assert.strictEqual(count, expected.length)
    assert.deepStrictEqual(found, expected)
  })

  scenario("are the same when they are imported and exported again", quick, function* () {
    yield* various
    const json = yield* BreakerStore.exportAll
    const again = yield* elsewhere(Effect.andThen(importing(json), BreakerStore.exportAll))
    const sorted = (text: string) =>
      JSON.parse(text)
        .circuits.map((one: unknown) => JSON.stringify(one))
        .sort()
    assert.deepStrictEqual(sorted(again), sorted(json))
  })

  scenario("do not pause the cooldown: an opening keeps its end", quick, function* () {
    yield* fail()
    yield* CircuitBreaker.isolate("isolated", { for: "5 seconds" })
    const json = yield* BreakerStore.exportAll
    yield* TestClock.adjust("6 seconds")
    yield* elsewhere(
      Effect.gen(function* () {
        yield* importing(json)
        assert.strictEqual(Duration.toMillis((yield* reject()).retryAfter), 4_000)
        yield* expectState("Closed", { name: "isolated" })
        yield* TestClock.adjust("4 seconds")
        yield* pass()
        yield* expectState("Closed")
      })
    )
  })

  scenario("after the end of an opening make the next call a probe", quick, function* () {
    yield* fail()
    const json = yield* BreakerStore.exportAll
    yield* TestClock.adjust("1 hour")
    yield* elsewhere(
      Effect.gen(function* () {
        yield* importing(json)
        const probe = yield* hang()
        yield* reject()
        yield* probe.end(Exit.fail("down"))
        yield* expectState("Open")
        assert.strictEqual((yield* CircuitBreaker.inspect("api")).openings, 2)
      })
    )
  })

  scenario(
    "import a HalfOpen circuit as Open with an ended cooldown: leases cannot be transferred",
    quick,
    function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      const probe = yield* hang()
      yield* expectState("HalfOpen")
      const json = yield* BreakerStore.exportAll
      yield* elsewhere(
        Effect.gen(function* () {
          yield* importing(json)
          yield* expectState("Open")
          yield* pass()
          yield* expectState("Closed")
        })
      )
      yield* probe.end(Exit.succeed("ok"))
      yield* expectState("Closed")
    }
  )

  scenario("keep an override without end, its actor, and the state beneath it", quick, function* () {
    yield* fail()
    yield* CircuitBreaker.isolate("api", { reason: "why", actor: "ann" })
    const json = yield* BreakerStore.exportAll
    yield* TestClock.adjust("1 second")
    yield* elsewhere(
      Effect.gen(function* () {
        yield* importing(json)
        const { cause, retryAfter } = yield* CircuitBreaker.inspect("api")
        assert.deepStrictEqual(cause, { why: "Isolated", detail: "why", actor: "ann" })
        assert.isFalse(Duration.isFinite(retryAfter))
        yield* CircuitBreaker.release("api")
        yield* expectState("Open")
        assert.strictEqual(Duration.toMillis((yield* reject()).retryAfter), 9_000)
      })
    )
  })

  scenario("keep the reason, the operator and the beginning of each state, and announce them", quick, function* () {
    yield* CircuitBreaker.isolate("isolated", { reason: "maintenance", actor: "ann" })
    yield* CircuitBreaker.disable("disabled", { reason: "migration", actor: "bob", for: "1 hour" })
    yield* CircuitBreaker.open("opened", { reason: "drill", actor: "eve", for: "1 hour" })
    yield* fail({ name: "tripped" })
    const names = ["isolated", "disabled", "opened", "tripped"]
    const origins = Effect.forEach(names, (name) =>
      Effect.map(CircuitBreaker.inspect(name), ({ cause, outage, since }) => ({ cause, outage, since }))
    )
    const before = yield* origins
    yield* TestClock.adjust("1 minute")
    const json = yield* BreakerStore.exportAll
    yield* TestClock.adjust("1 minute")
    yield* elsewhere(
      Effect.gen(function* () {
        const events = yield* recordEvents
        yield* importing(json)
        assert.deepStrictEqual(yield* origins, before)
        const announced = (yield* events).map((event) => event._tag === "Transition" && [event.detail, event.actor])
        assert.deepStrictEqual(
          announced,
          before.map(({ cause }) => [cause?.detail, cause?.actor].slice(0, 2))
        )
      })
    )
  })

  scenario("change existing circuits to the state in the text, and nothing else", quick, function* () {
    yield* fail()
    const json = yield* BreakerStore.exportAll
    yield* elsewhere(
      Effect.gen(function* () {
        yield* CircuitBreaker.isolate("api")
        yield* CircuitBreaker.isolate("other")
        yield* importing(json)
        yield* expectState("Open")
        yield* expectState("Isolated", { name: "other" })
      })
    )
  })

  scenario("wake callers of awaitClosed", quick, function* () {
    const nothing = yield* BreakerStore.exportAll
    assert.strictEqual(yield* importing(nothing), 0)
    yield* CircuitBreaker.open("api")
    yield* TestClock.adjust("1 second")
    yield* CircuitBreaker.close("api")
    const closed = yield* BreakerStore.exportAll
    yield* CircuitBreaker.isolate("api")
    const waiting = yield* Effect.forkChild(CircuitBreaker.awaitClosed("api"), { startImmediately: true })
    yield* importing(closed)
    yield* Fiber.join(waiting)
  })
})

describe("A text that cannot be read changes nothing, and the error names the fault", () => {
  const open = {
    _tag: "Open",
    since: 0,
    until: 1e4,
    outage: { since: 0, at: 0, openings: 1 },
    openings: 1,
    cause: { why: "Tripped", detail: "", actor: null }
  }
  const text = (change: object) =>
    JSON.stringify({ version: 1, at: 0, circuits: [{ circuit: "first", state: open }], ...change })
  const one = (change: object, state: object = {}) =>
    text({
      circuits: [
        { circuit: "first", state: open },
        { circuit: "api", state: { ...open, ...state }, ...change }
      ]
    })
  const wrong: ReadonlyArray<readonly [string, string, RegExp]> = [
    ["nothing", "", /JSON/i],
    ["no JSON", "{", /JSON/i],
    ["another thing", "null", /object/i],
    ["another version", text({ version: 2 }), /version: expected 1, got 2/],
    ["no time", text({ at: "now" }), /"at"/],
    ["no circuits", text({ circuits: 1 }), /circuits/],
    ["a circuit without a name", one({ circuit: "" }), /circuits.*1.*circuit/s],
    ["an invalid key", one({ key: 1 }), /circuits.*1.*key/s],
    ["an invalid state", one({ state: { _tag: "Ajar" } }), /circuits.*1.*state/s],
    ["an invalid end", one({}, { until: "soon" }), /circuits.*1.*until/s],
    ["a negative count", one({}, { openings: -1 }), /circuits.*1.*openings/s],
    ["an invalid cause", one({}, { cause: { why: "Because", detail: "", actor: null } }), /circuits.*1.*why/s]
  ]
  for (const [what, json, says] of wrong) {
    scenario(what, quick, function* () {
      const error = yield* Effect.flip(importing(json))
      assert.strictEqual(error._tag, "ImportError")
      assert.match(error.message, says)
      assert.deepStrictEqual(yield* CircuitBreaker.list, [])
    })
  }
  scenario("that is undefined", quick, function* () {
    assert.strictEqual((yield* Effect.flip(importing(undefined as never)))._tag, "ImportError")
  })
})

describe("From one process to a fleet and back", () => {
  it.effect("an import in one process applies in all; an export has the states of the fleet", () =>
    Effect.gen(function* () {
      const json = yield* elsewhere(Effect.andThen(various, BreakerStore.exportAll))
      const { all, at, join } = yield* fleet(3, { policy: quick })
      yield* at(0).run(importing(json))
      yield* TestClock.adjust("6 seconds")
      const late = yield* join()
      const seen = yield* at(0).run(views)
      for (const process of [at(1), at(2), late]) {
        const found = yield* process.run(views)
        for (const expected of seen) {
          if (expected.state === "Closed") continue
          const same = found.find(({ circuit, key }) => circuit === expected.circuit && key === expected.key)
          assert.deepStrictEqual([same?.state, same?.cause], [expected.state, expected.cause], expected.circuit)
        }
      }
      const scopes = yield* all((process) => process.run(CircuitBreaker.scope("open")))
      assert.deepStrictEqual(scopes, ["fleet", "fleet", "fleet"])
      const back = yield* at(2).run(BreakerStore.exportAll)
      const states = yield* elsewhere(
        Effect.andThen(
          importing(back),
          Effect.forEach(["open", "isolated", "endless", "disabled"], (name) => CircuitBreaker.state(name))
        )
      )
      assert.deepStrictEqual(states, ["Open", "Isolated", "Isolated", "Disabled"])
    })
  )

  it.effect("an opening of the fleet continues in a process without a fleet", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2)
      yield* openTogether(processes)
      const json = yield* at(0).run(BreakerStore.exportAll)
      yield* elsewhere(
        Effect.gen(function* () {
          yield* importing(json)
          const { scope, state } = yield* CircuitBreaker.inspect("api")
          assert.deepStrictEqual([state, scope], ["Open", "local"])
        })
      )
    })
  )

  it.effect("an import while the store is away is written later", () =>
    Effect.gen(function* () {
      const json = yield* elsewhere(Effect.andThen(CircuitBreaker.isolate("api"), BreakerStore.exportAll))
      const { at, processes } = yield* fleet(2)
      at(0).trouble.now = "fail"
      assert.strictEqual(yield* at(0).run(importing(json)), 1)
      yield* pause()
      yield* expectAll([at(0)], "Isolated local")
      at(0).trouble.now = "none"
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Isolated fleet")
    })
  )
})
