import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, MemoryStore, Trip } from "effect-fuse"
import { cooldownOver, expectAll, failing, fleet, listed, openTogether, pause, write } from "./support/fleet.ts"
import { capture, type Line } from "./support/verbs.ts"

const older = { policy: { trip: Trip.consecutive(5) } }
const newer = { policy: { trip: Trip.consecutive(6) } }

/** Processes of two releases: half of them with another policy under the same name, and each has called it. */
const deploying = (size: number) =>
  Effect.gen(function* () {
    const lines: Array<Line> = []
    const made = yield* capture(
      lines,
      fleet(size, (i) => (i < size / 2 ? older : newer))
    )
    yield* made.all((process) => process.succeed)
    const old = made.processes.slice(0, size / 2)
    return { ...made, lines, old, young: made.processes.slice(size / 2) }
  })

describe("While two releases have different policies for a name", () => {
  it.effect("neither decides for the other, and each logs that once", () =>
    Effect.gen(function* () {
      const { lines, old, young } = yield* deploying(4)
      yield* openTogether(old)
      yield* TestClock.adjust("12 seconds")
      yield* expectAll(young, "Closed local")
      const warnings = lines.filter((line) => /another trip, slowCall, fleet or mode/.test(line.message))
      assert.deepStrictEqual(
        warnings.map((line) => line.level),
        ["Warn", "Warn"]
      )
      assert.match(warnings[0]?.message ?? "", /"api"/)
    })
  )

  it.effect("their failures are not added up", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* deploying(2)
      yield* failing([at(0), at(1)], 3)
      yield* pause(400)
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("the second opens for its own while the first is open, and each recovers", () =>
    Effect.gen(function* () {
      const { at, old, processes, young } = yield* deploying(4)
      yield* openTogether(old)
      yield* failing(young, 6)
      yield* pause(200)
      for (const process of young) assert.strictEqual(yield* process.state, "Open")
      yield* cooldownOver(processes)
      for (const i of [0, 2, 1, 3]) {
        yield* at(i).succeed
        yield* pause()
      }
      yield* TestClock.adjust("6 seconds")
      yield* expectAll(processes, "Closed local")
    })
  )

  const before: ReadonlyArray<readonly [string, boolean]> = [
    ["a circuit of which nothing was said", false],
    ["a circuit that one release has open", true]
  ]
  for (const [what, opened] of before) {
    it.effect(`an override on ${what} applies to both releases, and either can release it`, () =>
      Effect.gen(function* () {
        const { at, old, processes } = yield* deploying(4)
        if (opened) yield* openTogether(old)
        for (const [by, release] of [
          [0, 0],
          [0, 3],
          [3, 0],
          [3, 3]
        ] as const) {
          yield* at(by).run(CircuitBreaker.isolate("api", { reason: `${by}` }))
          yield* pause()
          yield* expectAll(processes, "Isolated fleet")
          yield* at(release).run(CircuitBreaker.release("api"))
          yield* pause()
          for (const process of processes) assert.notStrictEqual(yield* process.state, "Isolated", `${by} ${release}`)
          assert.strictEqual(yield* at(2).state, "Closed", `${by} ${release}`)
        }
      })
    )
  }

  it.effect("open, close and reset by an operator apply to both releases", () =>
    Effect.gen(function* () {
      const { at, old, processes } = yield* deploying(4)
      yield* openTogether(old)
      yield* at(0).run(CircuitBreaker.open("api", { for: "10 minutes" }))
      yield* pause()
      yield* expectAll(processes, "Open fleet")
      yield* at(1).run(CircuitBreaker.close("api"))
      yield* pause()
      yield* expectAll(processes, "Closed local")
    })
  )

  it.effect("a record of a version to come is ignored, reported once, and costs no storm of ballots", () =>
    Effect.gen(function* () {
      const lines: Array<Line> = []
      const { processes, store } = yield* capture(lines, fleet(3))
      yield* write(store, "api", { body: '{"v":2,"more":1}' })
      yield* TestClock.adjust("12 seconds")
      yield* expectAll(processes, "Closed local")
      assert.strictEqual(lines.filter((line) => line.level === "Warn").length, 3)
      for (const process of processes) process.trouble.asked = []
      yield* failing(processes, 5)
      yield* TestClock.adjust("1 second")
      yield* expectAll(processes, "Open local")
      for (const process of processes) assert.isBelow(process.trouble.asked.length, 20)
    })
  )
})

describe("Several stores in one program", () => {
  const call = (self: Effect.Effect<unknown, string>) => Effect.exit(CircuitBreaker.protect(self, "api"))

  it.effect("a critical part with its own store shares nothing with the general store", () =>
    Effect.gen(function* () {
      const [general, critical] = yield* Effect.all([MemoryStore.make, MemoryStore.make])
      class Payments extends Context.Service<Payments, { readonly pay: Effect.Effect<Exit.Exit<unknown, unknown>> }>()(
        "test/Payments"
      ) {
        // The layer of the service reads the store once; its callers do not need it.
        static readonly layer = Layer.effect(
          this,
          Effect.map(Effect.context<BreakerStore.BreakerStore>(), (store) => ({
            pay: Effect.provideContext(call(Effect.fail("down")), store)
          }))
        ).pipe(Layer.provide(BreakerStore.layerShared(critical)))
      }
      const program = Effect.gen(function* () {
        const { pay } = yield* Payments
        // A store that is new does not know yet that this process is alone.
        yield* TestClock.adjust("6 seconds")
        for (let i = 0; i < 5; i++) yield* pay
        yield* pause(200)
        const paid = yield* pay
        const called = yield* call(Effect.succeed("ok"))
        return [Exit.isFailure(paid), Exit.isSuccess(called), yield* CircuitBreaker.state("api")]
      })
      const layers = Layer.merge(Payments.layer, BreakerStore.layerShared(general))
      assert.deepStrictEqual(yield* Effect.provide(program, layers), [true, true, "Closed"])
      const found = yield* Effect.forEach([general, critical], listed)
      assert.deepStrictEqual(
        found.map((records) => records.map(({ circuit }) => circuit)),
        [[], ["api"]]
      )
    })
  )

  it.effect("a part of an effect with another store", () =>
    Effect.gen(function* () {
      const stores = yield* Effect.all([MemoryStore.make, MemoryStore.make])
      const [general, critical] = yield* Effect.forEach(stores, (store) => Layer.build(BreakerStore.layerShared(store)))
      const program = Effect.gen(function* () {
        yield* CircuitBreaker.isolate("api").pipe(Effect.provide(critical ?? Context.empty()))
        return [
          yield* CircuitBreaker.state("api"),
          yield* CircuitBreaker.state("api").pipe(Effect.provide(critical ?? Context.empty()))
        ]
      })
      assert.deepStrictEqual(yield* Effect.provide(program, general ?? (Layer.empty as never)), ["Closed", "Isolated"])
    })
  )
})
