import { join as pathOf } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import { BreakerStore, CircuitBreaker, MemoryStore, type SharedStore } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import * as Operator from "effect-fuse/Operator"
import { afterAll, beforeAll } from "vitest"
import { type Audited, audited } from "./support/audited.ts"
import { kinds, newPlace, type Servers, servers } from "./support/cliPlaces.ts"
import { runs } from "./support/commandLine.ts"
import { databases, on } from "./support/databases.ts"
import { until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import type { Connection } from "./support/sqlFleet.ts"

/** What an operator may do, one after the other, and the lines of it. */
const actions = (store: SharedStore.SharedStore) => {
  const by = { actor: "ann", process: "console" }
  return [
    Operator.isolate(store, "api", { ...by, reason: "drill" }),
    Operator.release(store, "api", by),
    Operator.disable(store, "api", by),
    Operator.release(store, "api", by),
    Operator.open(store, "api", { ...by, for: "1 hour" }),
    Operator.close(store, "api", by),
    Operator.isolate(store, "api", { ...by, key: "eu" }),
    Operator.reset(store, "api", { ...by, key: "eu" })
  ]
}

const expected = [
  ["api", undefined, "Closed", "Isolated", "Isolated"],
  ["api", undefined, "Isolated", "Closed", "Released"],
  ["api", undefined, "Closed", "Disabled", "Disabled"],
  ["api", undefined, "Disabled", "Closed", "Released"],
  ["api", undefined, "Closed", "Open", "OpenedByHand"],
  ["api", undefined, "Open", "Closed", "ClosedByHand"],
  ["api", "eu", "Closed", "Isolated", "Isolated"],
  ["api", "eu", "Isolated", "Closed", "Reset"]
]

const linesOf = Effect.map(AuditTrail.latest(), (all) =>
  all.toReversed().map(({ circuit, from, key, to, why }) => [circuit, key, from, to, why])
)

const sorted = (lines: ReadonlyArray<ReadonlyArray<unknown>>) => lines.map((line) => line.join()).sort()

const processOf = (sql: Connection, store: SharedStore.SharedStore, process: string) =>
  audited(sql, { process }, Layer.orDie(BreakerStore.layerShared(store, { process, syncInterval: "100 millis" })))

const isState = (processes: ReadonlyArray<Audited>, key: string | undefined, state: string) =>
  Effect.forEach(processes, (one) =>
    until(
      `all are ${state}`,
      Effect.map(Effect.provideContext(CircuitBreaker.state("api", { key }), one), (now) => now === state)
    )
  )

describe.each(databases)("an operator action in a trail in %s", (database) => {
  const { place } = on(database)

  live(
    "that no process heard of is written by the operator",
    Effect.gen(function* () {
      const { open } = yield* place
      const store = yield* MemoryStore.make
      const reader = AuditTrail.layerReader({ prefix: "audit" }).pipe(Layer.provide(Layer.succeedContext(yield* open)))
      yield* Effect.gen(function* () {
        for (const act of actions(store)) {
          const { transition } = yield* act
          yield* AuditTrail.recordAction(transition)
          yield* Effect.sleep(2)
        }
        assert.deepStrictEqual(yield* linesOf, expected)
        const [isolated] = (yield* AuditTrail.history("api")).toReversed()
        assert.deepInclude(isolated, { actor: "ann", detail: "drill", process: "console", scope: "fleet" })
        assert.deepStrictEqual([yield* AuditTrail.forced, yield* AuditTrail.openNow], [[], []])
        assert.strictEqual((yield* AuditTrail.timeToRecover()).recoveries, 1)
        const nothing = yield* Operator.release(store, "api")
        assert.isUndefined(nothing.transition)
        yield* AuditTrail.recordAction(nothing.transition)
        assert.strictEqual((yield* linesOf).length, expected.length)
      }).pipe(Effect.provide(reader))
    })
  )

  live(
    "is there once, and holds since when it was done, though the operator, living processes and later ones write it",
    Effect.gen(function* () {
      const { open } = yield* place
      const store = yield* MemoryStore.make
      const processes: Array<Audited> = []
      for (const name of ["a", "b"]) processes.push(yield* processOf(yield* open, store, name))
      for (const [i, act] of actions(store).entries()) {
        const { transition } = yield* act
        const [, key, , to] = expected[i] ?? []
        yield* isState(processes, key, String(to))
        const [a] = processes
        assert(a !== undefined)
        yield* Effect.provideContext(AuditTrail.recordAction(transition), a)
      }
      const { transition } = yield* Operator.isolate(store, "api", { actor: "eve" })
      yield* isState(processes, undefined, "Isolated")
      yield* Effect.sleep(50)
      const late = yield* processOf(yield* open, store, "late")
      yield* isState([late], undefined, "Isolated")
      processes.push(late)
      for (const one of processes) yield* Effect.provideContext(AuditTrail.flush, one)
      const [lines, forced] = yield* Effect.provideContext(Effect.all([linesOf, AuditTrail.forced]), late)
      assert.deepStrictEqual(sorted(lines), sorted([...expected, ["api", undefined, "Closed", "Isolated", "Isolated"]]))
      assert.deepStrictEqual(
        forced.map(({ actor, since }) => [actor, since]),
        [["eve", transition?.at]]
      )
    }),
    60_000
  )
})

describe("an operator action by the command line", () => {
  const scope = Effect.runSync(Scope.make())
  let found: Servers
  beforeAll(async () => {
    found = await Effect.runPromise(Scope.provide(servers, scope))
  }, 180_000)
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  for (const kind of kinds) {
    it.live(
      `with circuits in ${kind} is in the trail once, whether or not a process lives`,
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            const { flags, join, prefix, trail } = yield* newPlace(kind, found)
            const { end, run } = yield* join
            const living = ["isolate", "api", "--reason", "drill", "--actor", "ann", "--new", "--yes", ...flags]
            yield* runs(0, living)
            yield* until(
              "it is heard",
              Effect.map(run(CircuitBreaker.state("api")), (state) => state === "Isolated")
            )
            yield* end
            yield* runs(0, ["release", "api", "--actor", "bob", "--yes", ...flags])
            const exported = yield* runs(0, ["isolate", "mail", "--actor", "eve", "--new", "--yes", ...flags])
            assert.strictEqual(exported.error.includes("trail"), false, exported.error)
            const reader = AuditTrail.layerReader({ prefix }).pipe(Layer.provide(Layer.succeedContext(trail)))
            const [all, forced] = yield* Effect.provide(Effect.all([AuditTrail.latest(), AuditTrail.forced]), reader)
            assert.deepStrictEqual(
              all.toReversed().map(({ actor, circuit, detail, why }) => [circuit, why, actor, detail]),
              [
                ["api", "Isolated", "ann", "drill"],
                ["api", "Released", "bob", undefined],
                ["mail", "Isolated", "eve", "Isolated by hand"]
              ]
            )
            assert.deepStrictEqual(
              forced.map(({ circuit }) => circuit),
              ["mail"]
            )
            const file = pathOf(found.folder, `${prefix}.json`)
            yield* runs(0, ["export", "--out", file, ...flags])
            yield* runs(0, ["import", file, "--actor", "zoe", "--yes", ...flags])
            const [imported] = yield* Effect.provide(AuditTrail.latest(), reader)
            assert.deepInclude(imported, { circuit: "mail", why: "Imported", actor: "zoe", detail: "Isolated by hand" })
          })
        ),
      60_000
    )
  }
})

describe("AuditTrail.recordAction", () => {
  it("takes only what an operator did", () => {
    const event = { _tag: "Transition" } as never
    assert.throws(() => AuditTrail.recordAction(event), /AuditTrail.recordAction: action/)
  })
})
