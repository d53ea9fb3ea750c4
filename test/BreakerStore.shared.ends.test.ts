import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerStore, CircuitBreaker, type SharedStore } from "effect-fuse"
import { Circuit } from "effect-fuse/core"
import * as Operator from "effect-fuse/Operator"
import { fromBody, toBody } from "../src/store/codec.ts"
import { byHand } from "./support/byHand.ts"
import {
  expectAll,
  failing,
  fleet,
  load,
  openTogether,
  type Process,
  pause,
  standings,
  write
} from "./support/fleet.ts"

const retryAfter = (process: Process) => Effect.map(process.inspect, (seen) => Duration.toMillis(seen.retryAfter))

/** Milliseconds until the opening ends that a store has, also beneath an override. */
const endInStore = (store: SharedStore.SharedStore) =>
  Effect.map(load(store, "api"), (record) => {
    const circuit = record && fromBody(record.body, -record.age)?.circuit
    const opening = circuit !== undefined && Circuit.isForced(circuit) ? circuit.under : circuit
    assert(opening?._tag === "Open")
    return opening.until
  })

describe("An opening that a process has made alone", () => {
  it.effect("is not shortened by a release, wherever that is done", () =>
    Effect.gen(function* () {
      for (const releasing of [0, 1]) {
        const { all, at } = yield* fleet(3, { policy: { cooldown: "1 minute" } })
        yield* all((process) => process.succeed)
        yield* failing([at(0)], 5)
        yield* expectAll([at(0)], "Open local")
        yield* at(1 - releasing).run(CircuitBreaker.isolate("api"))
        yield* TestClock.adjust("6 seconds")
        yield* expectAll([at(0)], "Isolated fleet")
        yield* at(releasing).run(CircuitBreaker.release("api"))
        yield* TestClock.adjust("6 seconds")
        yield* expectAll([at(0)], "Open local")
        yield* TestClock.adjust("40 seconds")
        yield* expectAll([at(0)], "Open local")
        yield* expectAll([at(1), at(2)], "Closed local")
      }
    })
  )

  const overrides: ReadonlyArray<
    readonly [
      string,
      ReadonlyArray<readonly ["isolate" | "disable", who: number, millis?: number]>,
      ends: "release" | "time"
    ]
  > = [
    [
      "two isolations of two operators, released",
      [
        ["isolate", 0],
        ["isolate", 1]
      ],
      "release"
    ],
    [
      "an isolation over a disabling, released",
      [
        ["disable", 1],
        ["isolate", 2]
      ],
      "release"
    ],
    [
      "a disabling beneath an isolation, released",
      [
        ["isolate", 1],
        ["disable", 0]
      ],
      "release"
    ],
    [
      "an isolation, then a disabling, that end by themselves",
      [
        ["isolate", 1, 6_000],
        ["disable", 2, 12_000]
      ],
      "time"
    ],
    ["a disabling that ends by itself", [["disable", 0, 12_000]], "time"]
  ]
  for (const [what, acts, ends] of overrides) {
    for (const away of [false, true]) {
      if (away && ends === "time") continue
      it.effect(`is neither shortened nor counted again by ${what}${away ? " while the store is away" : ""}`, () =>
        Effect.gen(function* () {
          const { all, at } = yield* fleet(3, { policy: { cooldown: "1 minute" } })
          yield* all((process) => process.succeed)
          yield* failing([at(0)], 5)
          const before = yield* at(0).inspect
          for (const [act, who, millis] of acts) {
            yield* at(who).run(byHand(act, "api", { actor: `operator ${who}`, for: millis }))
            yield* pause()
          }
          yield* TestClock.adjust("6 seconds")
          yield* expectAll(
            [at(0)],
            `${acts.some(([act, , millis]) => act === "isolate" && millis === undefined) ? "Isolated" : "Disabled"} fleet`
          )
          if (away) at(0).trouble.now = "fail"
          if (ends === "release") yield* at(0).run(CircuitBreaker.release("api"))
          yield* TestClock.adjust("6 seconds")
          at(0).trouble.now = "none"
          // The end of an override is detected by the next call.
          yield* at(0).succeed
          yield* TestClock.adjust("6 seconds")
          const { openings, outage, state } = yield* at(0).inspect
          assert.deepStrictEqual([state, openings, outage], ["Open", before.openings, before.outage])
          yield* TestClock.adjust("30 seconds")
          yield* expectAll([at(0)], "Open local")
          yield* expectAll([at(1), at(2)], "Closed local")
          yield* TestClock.adjust("15 seconds")
          yield* at(0).succeed
          yield* expectAll([at(0)], "Closed local")
        })
      )
    }
  }

  it.effect("is not shortened by a release of an override that the process did not know", () =>
    Effect.gen(function* () {
      const { all, at } = yield* fleet(3, { policy: { cooldown: "1 minute" } })
      yield* all((process) => process.succeed)
      yield* failing([at(0)], 5)
      yield* expectAll([at(0)], "Open local")
      yield* at(0).cutOff
      const before = yield* retryAfter(at(0))
      yield* at(1).run(CircuitBreaker.isolate("api"))
      yield* at(1).run(CircuitBreaker.release("api"))
      yield* pause()
      yield* at(0).reconnect
      yield* TestClock.adjust("6 seconds")
      yield* expectAll([at(0)], "Open local")
      assert.strictEqual(yield* retryAfter(at(0)), before - 6_010)
      yield* expectAll([at(1), at(2)], "Closed local")
    })
  )

  it.effect(
    "is not shortened, where an opening of the fleet ends a little sooner and an override above that is released",
    () =>
      Effect.gen(function* () {
        const { at, store } = yield* fleet(1, { policy: { cooldown: "10 seconds" } })
        yield* at(0).cutOff
        yield* failing([at(0)], 5)
        yield* expectAll([at(0)], "Open local")
        const before = yield* retryAfter(at(0))
        yield* Operator.open(store, "api", { for: before - 500 })
        yield* Operator.isolate(store, "api")
        yield* Operator.release(store, "api")
        yield* at(0).reconnect
        yield* TestClock.adjust("6 seconds")
        yield* expectAll([at(0)], "Open fleet")
        assert.strictEqual(yield* retryAfter(at(0)), before - 6_000)
      })
  )

  it.effect("is counted once, also where the fleet opens after it closed", () =>
    Effect.gen(function* () {
      const { all, at, processes } = yield* fleet(3, { policy: { cooldown: "10 seconds" } })
      yield* all((process) => process.succeed)
      yield* failing([at(0)], 5)
      yield* TestClock.adjust("11 seconds")
      yield* at(0).succeed
      yield* expectAll([at(0)], "Closed local")
      yield* TestClock.adjust("1 second")
      yield* openTogether(processes)
      assert.strictEqual((yield* at(0).inspect).openings, 2)
    })
  )
})

describe("An opening of the fleet", () => {
  for (const releasing of [0, 1]) {
    it.effect(`keeps its end when process ${releasing} releases an isolation above it that would last longer`, () =>
      Effect.gen(function* () {
        const { at, processes, store } = yield* fleet(2, { policy: { cooldown: "10 seconds" } })
        yield* openTogether(processes)
        yield* at(0).run(CircuitBreaker.isolate("api", { for: "1 hour" }))
        yield* TestClock.adjust("2 seconds")
        yield* expectAll(processes, "Isolated fleet")
        yield* at(releasing).run(CircuitBreaker.release("api"))
        yield* pause(500)
        yield* expectAll(processes, "Open fleet")
        const end = yield* endInStore(store)
        for (const process of processes) assert.closeTo((yield* retryAfter(process)) - end, 500, 500)
      })
    )
  }

  it.effect(
    "keeps its end when a process that is cut off releases an isolation above it, and another one does so, too",
    () =>
      Effect.gen(function* () {
        const { at, processes } = yield* fleet(2, { policy: { cooldown: "30 seconds" } })
        yield* openTogether(processes)
        yield* at(0).run(CircuitBreaker.isolate("api", { for: "1 hour" }))
        yield* TestClock.adjust("2 seconds")
        yield* expectAll(processes, "Isolated fleet")
        yield* at(0).cutOff
        yield* Effect.forkChild(at(0).run(CircuitBreaker.release("api")), { startImmediately: true })
        yield* at(1).run(CircuitBreaker.release("api"))
        yield* TestClock.adjust("2 seconds")
        for (const process of processes) assert.closeTo(yield* retryAfter(process), 26_000, 1_000)
        yield* at(0).reconnect
        yield* TestClock.adjust("6 seconds")
        yield* expectAll(processes, "Open fleet")
        for (const process of processes) assert.closeTo(yield* retryAfter(process), 20_000, 1_000)
      })
  )

  it.effect("keeps its end when two isolations above it are released, of which the first would last longer", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2, { policy: { cooldown: "30 seconds" } })
      yield* openTogether(processes)
      for (const [who, hours] of [
        [0, 2],
        [1, 1]
      ] as const) {
        yield* at(who).run(CircuitBreaker.isolate("api", { for: `${hours} hours`, actor: `operator ${who}` }))
        yield* TestClock.adjust("1 second")
      }
      yield* at(1).run(CircuitBreaker.release("api"))
      yield* TestClock.adjust("1 second")
      yield* expectAll(processes, "Open fleet")
      for (const process of processes) assert.closeTo(yield* retryAfter(process), 27_000, 1_000)
    })
  )

  it.effect("ends with an operator's close, also in a process that missed the close and the override above it", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(2, { policy: { cooldown: "1 minute" } })
      yield* openTogether(processes)
      yield* at(0).cutOff
      yield* at(1).run(CircuitBreaker.close("api"))
      yield* at(1).run(CircuitBreaker.isolate("api"))
      yield* at(1).run(CircuitBreaker.release("api"))
      yield* pause()
      yield* at(0).reconnect
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect(
    "is no reason to stay isolated after a release, where the process could not read a record before that",
    () =>
      Effect.gen(function* () {
        const { at, store } = yield* fleet(1)
        const rewrite = (to: (body: string) => string) =>
          Effect.gen(function* () {
            const { body, epoch } = (yield* load(store, "api")) ?? assert.fail("there is no record")
            assert.isTrue((yield* write(store, "api", { expectedEpoch: epoch, body: to(body) })).swapped)
            yield* TestClock.adjust("100 millis")
            return body
          })
        yield* at(0).run(CircuitBreaker.open("api", { for: "10 seconds" }))
        yield* Operator.isolate(store, "api", { for: "1 hour" })
        yield* TestClock.adjust("100 millis")
        yield* expectAll([at(0)], "Isolated fleet")
        const isolated = fromBody(yield* rewrite(() => "of another version"), 0) ?? assert.fail("it is not readable")
        yield* expectAll([at(0)], "Isolated local")
        // Another process has closed the circuit beneath the isolation meanwhile.
        yield* rewrite(() => toBody(Circuit.initial, 0, { ...isolated.provenance, why: "Released" }))
        yield* expectAll([at(0)], "Closed local")
      }).pipe(Effect.provide(Logger.layer([])))
  )

  const operate =
    (...acts: ReadonlyArray<Effect.Effect<unknown, never, BreakerStore.BreakerStore>>) =>
    (processes: ReadonlyArray<Process>) =>
      Effect.forEach(processes.slice(0, 1), (process) =>
        Effect.forkChild(process.run(Effect.all(acts)), { startImmediately: true })
      )
  const open = CircuitBreaker.open("api", { for: "1 second" })
  const writes: ReadonlyArray<
    readonly [string, Circuit.Circuit["_tag"], (processes: ReadonlyArray<Process>) => Effect.Effect<unknown>]
  > = [
    ["the processes trip", "Open", (processes) => failing(processes, 3)],
    ["an operator opens the circuit", "Open", operate(open)],
    [
      "an operator isolates the circuit after that",
      "Isolated",
      operate(open, CircuitBreaker.isolate("api", { for: "300 millis" }))
    ]
  ]
  for (const [what, state, act] of writes) {
    it.effect(`ends no sooner in the process that wrote it than in the store, if ${what} and the store is slow`, () =>
      Effect.gen(function* () {
        // A process waits up to 100 ms longer at random. That is less than a write takes to reach the store.
        const { all, processes, store } = yield* fleet(2, { policy: { cooldown: "1 second" } })
        yield* all((process) => process.succeed)
        for (const { trouble } of processes) trouble.slow = 240
        yield* act(processes)
        const expected = `${state} fleet`
        for (let i = 0; i < 100 && !(yield* standings(processes)).every((one) => one === expected); i++) yield* pause()
        yield* expectAll(processes, expected)
        // The answer to the process that wrote it is on its way back.
        yield* pause(130)
        for (const { trouble } of processes) trouble.slow = 0
        yield* expectAll(processes, expected)
        const end = yield* endInStore(store)
        for (const process of processes) assert.isAtLeast(yield* retryAfter(process), end)
      })
    )
  }
})
