import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, MemoryStore, type SharedStore } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { TestFleet } from "effect-fuse/testing"
import {
  expectAll,
  fleet,
  intercepted,
  load,
  openTogether,
  pause,
  Trouble,
  transitions,
  troubled,
  write
} from "./support/fleet.ts"

const { close, disable, isolate, open, release, reset } = Operator
const actions = { close, disable, isolate, open, release, reset }
const by = { reason: "maintenance", actor: "ann", process: "console" }

describe("An operator action", () => {
  const forcing: ReadonlyArray<readonly ["isolate" | "disable" | "open", string]> = [
    ["isolate", "Isolated"],
    ["disable", "Disabled"],
    ["open", "Open"]
  ]
  for (const [action, state] of forcing) {
    it.effect(`${action}: holds in all processes, with actor and reason, and ends in all`, () =>
      Effect.gen(function* () {
        const { at, join, processes, store } = yield* fleet(3)
        yield* at(0).succeed
        const seen = yield* transitions(at(0))
        const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        const answer = yield* actions[action](store, "api", { ...by, for: "10 minutes" })
        assert.deepStrictEqual([answer.state, answer.until, answer.reason], [state, now + 600_000, "maintenance"])
        yield* pause()
        const all = [...processes, yield* join()]
        yield* expectAll(all, `${state} fleet`)
        for (const process of all) {
          const { cause } = yield* process.inspect
          assert.deepStrictEqual([cause?.detail, cause?.actor], ["maintenance", "ann"])
        }
        const [event] = seen()
        assert.deepStrictEqual(
          [event?.to, event?.actor, event?.process, event?.scope],
          [state, "ann", "console", "fleet"]
        )
        yield* TestClock.adjust("10 minutes")
        yield* TestClock.adjust("2 seconds")
        for (const process of all) assert.isTrue(Exit.isSuccess(yield* Effect.tap(process.succeed, () => pause())))
        yield* expectAll(all, "Closed local")
      })
    )
  }

  const undoing: ReadonlyArray<
    readonly [before: "isolate" | "disable" | "open", after: "release" | "reset" | "close"]
  > = [
    ["isolate", "release"],
    ["disable", "release"],
    ["isolate", "reset"],
    ["open", "reset"],
    ["open", "close"]
  ]
  for (const [before, after] of undoing) {
    it.effect(`${after} by an operator ends ${before} by a process, in all processes`, () =>
      Effect.gen(function* () {
        const { at, processes, store } = yield* fleet(2)
        yield* at(0).run(CircuitBreaker[before]("api"))
        yield* pause()
        assert.strictEqual((yield* actions[after](store, "api", by)).state, "Closed")
        yield* pause()
        yield* expectAll(processes, "Closed local")
        assert.deepStrictEqual((yield* Operator.list(store)).circuits, [])
      })
    )
  }

  it.effect("reset closes what a process has opened for itself, too", () =>
    Effect.gen(function* () {
      const { at, store } = yield* fleet(2)
      yield* at(1).succeed
      for (let i = 0; i < 6; i++) yield* Effect.andThen(at(0).fail, pause(50))
      assert.strictEqual(yield* at(0).state, "Open")
      yield* Operator.reset(store, "api")
      yield* pause()
      assert.strictEqual(yield* at(0).state, "Closed")
    })
  )

  it.effect("changes nothing if the circuit is already in that state", () =>
    Effect.gen(function* () {
      const store = yield* MemoryStore.make
      yield* Operator.release(store, "api")
      yield* Operator.close(store, "api")
      assert.isUndefined(yield* Operator.inspect(store, "api"))
      const { epoch } = yield* Operator.isolate(store, "api")
      assert.strictEqual((yield* Operator.close(store, "api")).epoch, epoch)
      assert.strictEqual((yield* Operator.inspect(store, "api"))?.epoch, epoch)
      yield* Operator.release(store, "api")
      const brief = yield* Operator.disable(store, "api", { for: "1 minute" })
      yield* TestClock.adjust("1 minute")
      const over = yield* Operator.release(store, "api")
      assert.deepStrictEqual([over.epoch, over.state, over.why], [brief.epoch, "Closed", "Expired"])
    })
  )

  it.effect("never shortens an override of another operator, and release returns what it ended", () =>
    Effect.gen(function* () {
      const store = yield* MemoryStore.make
      const { since, until } = yield* isolate(store, "api", { ...by, for: "1 hour" })
      yield* TestClock.adjust("1 minute")
      const drill = yield* isolate(store, "api", { reason: "drill", actor: "bob", for: "1 minute" })
      assert.deepStrictEqual(
        [drill.state, drill.until, drill.reason, drill.actor],
        ["Isolated", until, "maintenance", "ann"]
      )
      assert.deepStrictEqual(
        drill.overrides.map(({ actor }) => actor),
        ["ann", "bob"]
      )
      assert.deepStrictEqual([drill.transition?.actor, drill.ended], ["bob", []])
      yield* TestClock.adjust("10 minutes")
      const done = yield* release(store, "api", { actor: "bob" })
      assert.deepStrictEqual(done.ended, [
        { state: "Isolated", since, until: until ?? 0, reason: "maintenance", actor: "ann" }
      ])
      assert.deepStrictEqual(done.transition?.ended, done.ended)
      assert.deepStrictEqual((yield* release(store, "api")).ended, [])
      yield* isolate(store, "api", by)
      assert.deepStrictEqual(
        (yield* reset(store, "api", { actor: "bob" })).ended.map(({ actor }) => actor),
        ["ann"]
      )
    })
  )

  it.effect("does not change the state beneath: an opening keeps its end", () =>
    Effect.gen(function* () {
      const store = yield* MemoryStore.make
      const { until } = yield* Operator.open(store, "api", { for: "10 minutes" })
      yield* TestClock.adjust("1 minute")
      const forced = yield* Operator.isolate(store, "api", { for: "2 minutes" })
      assert.deepStrictEqual([forced.beneath, forced.openings], ["Open", 1])
      yield* TestClock.adjust("2 minutes")
      const after = yield* Operator.inspect(store, "api")
      assert(after?._tag === "Known")
      assert.deepStrictEqual(
        [after.state, after.until, after.why, after.beneath],
        ["Open", until, "Expired", undefined]
      )
    })
  )

  const done = { reason: "done", actor: "ann" }

  it.effect("keeps the reason and the actor of a close, too", () =>
    Effect.gen(function* () {
      const { store } = yield* TestFleet.make(1)
      yield* Operator.open(store, "api", { for: "1 hour" })
      const closed = yield* Operator.close(store, "api", done)
      assert.deepStrictEqual(
        [closed.state, closed.why, closed.reason, closed.actor],
        ["Closed", "ClosedByHand", "done", "ann"]
      )
    })
  )

  it.effect("keeps the reason and the actor of an import", () =>
    Effect.gen(function* () {
      const { store } = yield* TestFleet.make(1)
      yield* Operator.open(store, "api", { for: "1 hour", reason: "there" })
      const { json } = yield* Operator.exportAll(store)
      const { store: to } = yield* TestFleet.make(1)
      yield* Operator.importAll(to, json, done)
      const found = yield* Operator.inspect(to, "api")
      assert.deepInclude(found, { _tag: "Known", state: "Open", why: "Imported", reason: "done", actor: "ann" })
    })
  )
})

describe("An operator", () => {
  it.effect("is no voter: a single live process still opens for itself and the fleet", () =>
    Effect.gen(function* () {
      const { processes, store } = yield* fleet(1)
      for (let i = 0; i < 5; i++) {
        assert.strictEqual((yield* Operator.list(store)).processes, 1)
        yield* pause(1_000)
      }
      yield* openTogether(processes, 6)
      assert.strictEqual((yield* Operator.list(store)).processes, 1)
    })
  )

  it.effect("sees all that is not simply closed, in order, with a key or without", () =>
    Effect.gen(function* () {
      const store = yield* MemoryStore.make
      const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      yield* Operator.open(store, "b", { key: "k/%2", for: "1 minute" })
      yield* Operator.isolate(store, "b", by)
      yield* Operator.disable(store, "a")
      yield* Operator.reset(store, "c")
      yield* TestClock.adjust("1 second")
      const { circuits } = yield* Operator.list(store)
      assert.deepStrictEqual(
        circuits.map((one) => one._tag === "Known" && [one.name, one.key, one.state, one.since, one.until, one.reason]),
        [
          ["a", undefined, "Disabled", now, undefined, "Disabled by hand"],
          ["b", undefined, "Isolated", now, undefined, "maintenance"],
          ["b", "k/%2", "Open", now, now + 60_000, "opened by hand"]
        ]
      )
      assert.deepStrictEqual(yield* Operator.inspect(store, "b", { key: "k/%2" }), circuits[2])
    })
  )

  it.effect("changes no record that it cannot read", () =>
    Effect.gen(function* () {
      const store = yield* MemoryStore.make
      const body = `{"v":2,"state":"Molten"}`
      const { record } = yield* write(store, "api", { body })
      for (const action of Object.values(actions)) {
        const error = yield* Effect.flip(action(store, "api"))
        assert.strictEqual(error._tag, "UnreadableRecord")
        assert.include(error.message, `"api"`)
      }
      assert.deepInclude(yield* Operator.inspect(store, "api"), {
        _tag: "Unreadable",
        name: "api",
        epoch: record?.epoch ?? assert.fail("no record"),
        body
      })
      assert.strictEqual((yield* Operator.list(store)).circuits[0]?._tag, "Unreadable")
    })
  )

  it.effect("fails if the store fails", () =>
    Effect.gen(function* () {
      const trouble = new Trouble()
      const store = troubled(yield* MemoryStore.make, trouble)
      trouble.now = "fail"
      const all = [Operator.list(store), Operator.inspect(store, "api"), Operator.isolate(store, "api")]
      for (const one of all)
        assert.strictEqual((yield* Effect.flip(one as Effect.Effect<unknown, Error>)).name, "StoreError")
      trouble.only = ["swap"]
      assert.include((yield* Effect.flip(Operator.reset(store, "api"))).message, "refused")
    })
  )

  it.effect("makes ten concurrent operator actions take effect one after the other", () =>
    Effect.gen(function* () {
      const memory = yield* MemoryStore.make
      // Others come in between where an operation takes a while.
      const store = intercepted(memory, (_, carryOut) => Effect.andThen(Effect.yieldNow, carryOut))
      const heard: Array<string> = []
      const listening = Stream.runForEach(store.changes, (change) => Effect.sync(() => heard.push(change._tag)))
      yield* Effect.forkChild(listening, { startImmediately: true })
      const answers = yield* Effect.forEach(
        Array.from({ length: 10 }, (_, i) => i),
        (i) => Operator.isolate(store, "api", { reason: `${i}` }),
        { concurrency: "unbounded" }
      )
      const epochs = answers.map(({ epoch }) => epoch).sort((a, b) => a - b)
      assert.deepStrictEqual(
        epochs,
        Array.from({ length: 10 }, (_, i) => i + 1)
      )
      yield* Effect.yieldNow
      assert.strictEqual(heard.length, 10)
    })
  )

  it("names its invalid arguments", () => {
    const store = { longestCircuit: 10 } as SharedStore.SharedStore
    const wrong: ReadonlyArray<readonly [() => unknown, RegExp]> = [
      [() => Operator.isolate(store, ""), /Operator\.isolate: name/],
      [
        () => Operator.isolate(store, "api", { for: "soon" as never }),
        /Operator\.isolate: for: expected a duration above 0/
      ],
      [() => Operator.isolate(store, "api", { form: "1 minute" } as never), /form/],
      [() => Operator.release(store, "api", { for: "1 minute" } as never), /for/],
      [() => Operator.open(store, "api", { reason: 7 as never }), /Operator\.open: reason: expected a text/],
      [() => Operator.inspect(store, "api", { key: 7 as never }), /Operator\.inspect: key: expected a text/],
      [
        () => Operator.close(store, "12345678901"),
        /Operator.close: name: expected name and key of at most 10 characters.* got 11/
      ]
    ]
    for (const [run, message] of wrong) assert.throws(run, RangeError, message as never)
  })
})

describe("Circuits moved from store to store by an operator", () => {
  const various = Effect.gen(function* () {
    const store = yield* MemoryStore.make
    yield* isolate(store, "a", { ...by, for: "1 hour" })
    yield* disable(store, "b", { key: "k/1" })
    yield* open(store, "c", { for: "10 minutes" })
    return store
  })
  const told = (store: SharedStore.SharedStore) =>
    Effect.map(Operator.list(store), ({ circuits }) =>
      circuits.map((one) => (one._tag === "Known" ? [one.name, one.key, one.state, one.until, one.openings] : one))
    )

  it.effect("keep their states and ends over an export and an import", () =>
    Effect.gen(function* () {
      const from = yield* various
      const before = yield* told(from)
      const { circuits, json, unreadable } = yield* Operator.exportAll(from)
      assert.deepStrictEqual([circuits, unreadable], [3, []])
      yield* TestClock.adjust("1 minute")
      const to = yield* MemoryStore.make
      const progress: Array<readonly [number, number]> = []
      const brought = yield* Operator.importAll(to, json, {
        ...by,
        onProgress: (done, total) => progress.push([done, total])
      })
      assert.deepInclude(brought, { circuits: 3, unreadable: [] })
      assert.deepStrictEqual(
        brought.transitions.map(({ actor, circuit, why }) => [circuit, why, actor]).sort(),
        ["a", "b", "c"].map((name) => [name, "Imported", "ann"])
      )
      assert.deepStrictEqual(progress, [
        [1, 3],
        [2, 3],
        [3, 3]
      ])
      assert.deepStrictEqual(yield* told(to), before)
      const known = yield* Operator.inspect(to, "a")
      assert(known?._tag === "Known")
      assert.deepStrictEqual([known.why, known.actor, known.process], ["Imported", "ann", "console"])
    })
  )

  it.effect("keep the reason, the operator and the start, whichever operator imports them", () =>
    Effect.gen(function* () {
      const from = yield* MemoryStore.make
      yield* Operator.isolate(from, "isolated", { reason: "maintenance", actor: "ann" })
      yield* Operator.disable(from, "disabled", { reason: "migration", actor: "bob", for: "1 day" })
      yield* Operator.open(from, "open", { reason: "drill", actor: "eve", for: "1 day" })
      const origins = (store: SharedStore.SharedStore) =>
        Effect.map(Operator.list(store), ({ circuits }) =>
          circuits.map((one) => one._tag === "Known" && [one.name, one.reason, one.actor, one.since, one.outage])
        )
      const before = yield* origins(from)
      yield* TestClock.adjust("1 hour")
      const { json } = yield* Operator.exportAll(from)
      yield* TestClock.adjust("1 hour")
      for (const by of [{}, { actor: "importer", process: "console" }]) {
        const to = yield* MemoryStore.make
        const { transitions } = yield* Operator.importAll(to, json, by)
        assert.deepStrictEqual(yield* origins(to), before)
        assert.deepStrictEqual(transitions.map(({ actor, circuit, detail }) => [circuit, detail, actor]).sort(), [
          ["disabled", "migration", by.actor ?? "bob"],
          ["isolated", "maintenance", by.actor ?? "ann"],
          ["open", "drill", by.actor ?? "eve"]
        ])
      }
    })
  )

  it.effect("hold in a fleet that is already something else", () =>
    Effect.gen(function* () {
      const { json } = yield* Operator.exportAll(yield* various)
      const { at, processes, store } = yield* fleet(2)
      for (const process of processes) yield* process.run(CircuitBreaker.disable("a", { reason: "other" }))
      yield* pause()
      yield* Operator.importAll(store, json)
      yield* pause()
      for (const process of processes) assert.strictEqual(yield* process.run(CircuitBreaker.state("a")), "Isolated")
      assert.strictEqual(yield* at(0).run(CircuitBreaker.state("b", { key: "k/1" })), "Disabled")
      assert.strictEqual(yield* at(1).run(CircuitBreaker.state("c")), "Open")
    })
  )

  it.effect("go to a process, too, by the same text", () =>
    Effect.gen(function* () {
      const { json } = yield* Operator.exportAll(yield* various)
      const state = Effect.andThen(BreakerStore.importAll(json), CircuitBreaker.state("a"))
      assert.strictEqual(yield* Effect.provide(state, BreakerStore.layerMemory), "Isolated")
    })
  )

  it.effect("do not replace a record that this version cannot read, and report it", () =>
    Effect.gen(function* () {
      const from = yield* various
      const { json } = yield* Operator.exportAll(from)
      const to = yield* MemoryStore.make
      yield* write(to, "a", { body: '{"v":2}' })
      assert.deepInclude(yield* Operator.importAll(to, json), {
        circuits: 2,
        unreadable: [{ name: "a", key: undefined }]
      })
      assert.strictEqual((yield* load(to, "a"))?.body, '{"v":2}')
      const again = yield* Operator.exportAll(to)
      assert.deepStrictEqual([again.circuits, again.unreadable.map(({ body }) => body)], [2, ['{"v":2}']])
    })
  )

  const wrong: ReadonlyArray<readonly [text: string, says: RegExp]> = [
    ["", /JSON/],
    ["{}", /version/],
    ['{"version":2,"at":0,"circuits":[]}', /version: expected 1, got 2$/],
    ['{"version":1,"at":"now","circuits":[]}', /at \["at"\]/],
    ['{"version":"2"}', /Expected 1/],
    ["null", /Expected/],
    ['{"version":1,"at":0,"circuits":[{"circuit":"a","state":{"_tag":"Ajar"}}]}', /state/]
  ]
  it.effect.each(wrong)("are not moved by %s", ([text, says]) =>
    Effect.gen(function* () {
      const store = yield* various
      const before = yield* told(store)
      const error = yield* Effect.flip(Operator.importAll(store, text))
      assert.strictEqual(error._tag, "ImportError")
      assert.match(error.message, says)
      assert.deepStrictEqual(yield* told(store), before)
    })
  )

  it.effect("are not imported if one of them has a key that is too long", () =>
    Effect.gen(function* () {
      const { json } = yield* Operator.exportAll(yield* various)
      const to = yield* MemoryStore.make
      const error = yield* Effect.flip(Operator.importAll(to, json.replace("k/1", "k".repeat(10_000))))
      assert.match(error.message, /key: expected a text of at most/)
      assert.deepStrictEqual(yield* told(to), [])
    })
  )
})

it.effect("An action that runs twice is two actions, and the second one has the greater id", () =>
  Effect.gen(function* () {
    const store = yield* MemoryStore.make
    const action = open(store, "api", by)
    const actions = [(yield* action).transition?.action ?? "", (yield* action).transition?.action ?? ""]
    assert.deepStrictEqual([...new Set(actions)].sort(), actions)
  })
)
