import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, MemoryStore } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import * as RedisStore from "effect-fuse/RedisStore"
import * as SqlStore from "effect-fuse/SqlStore"
import { afterAll } from "vitest"
import { fleet } from "./support/fleet.ts"
import { madeBefore, ofFile } from "./support/ofFile.ts"
import { until } from "./support/redisFleet.ts"
import { client, redisServer } from "./support/redisServer.ts"
import { sqlite } from "./support/sqlite.ts"

const scope = Effect.runSync(Scope.make())
const folder = mkdtempSync(join(tmpdir(), "stores-"))
const server = madeBefore(ofFile(redisServer))
afterAll(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  rmSync(folder, { recursive: true, force: true })
})

type Store = Layer.Layer<BreakerStore.BreakerStore, unknown, Scope.Scope>

/** Options that every shared store has. */
const of = { process: "shop", maxCircuits: 1, syncInterval: "100 millis" } as const

const redis = () => Layer.unwrap(Effect.map(server, ({ url }) => client(url)))
const database = () => sqlite(join(folder, "circuits.db"))

const layers: Readonly<Record<string, () => Store>> = {
  "BreakerStore.layerShared": () =>
    Layer.unwrap(Effect.map(MemoryStore.make, (store) => BreakerStore.layerShared(store, of))),
  "RedisStore.layer": () => Layer.provide(RedisStore.layer({ ...of, prefix: "one" }), redis()),
  "RedisStore.layerConnect": () => RedisStore.layerConnect(redis(), { ...of, prefix: "two" }),
  "SqlStore.layer": () => Layer.provide(SqlStore.layer({ ...of, prefix: "three" }), database())
}

describe("The options `process` and `maxCircuits` name a process and bound its circuits", () => {
  it.live.each(Object.entries(layers))("by %s", ([, layer]) =>
    Effect.gen(function* () {
      const heard: Array<string | undefined> = []
      yield* Effect.forkScoped(
        Stream.runForEach(CircuitBreaker.events, (event) =>
          Effect.sync(() => {
            if (event._tag === "Transition") heard.push(event.process)
          })
        ),
        { startImmediately: true }
      )
      yield* CircuitBreaker.isolate("api")
      assert.match(heard[0] ?? "", /^shop\W/)
      for (const key of ["a", "b"]) yield* Effect.exit(CircuitBreaker.protect(Effect.fail("down"), "other", { key }))
      assert.strictEqual((yield* BreakerStore.stats).overflowed, 1)
    }).pipe(Effect.provide(layer()), Effect.provide(Logger.layer([])), Effect.scoped)
  )
})

it.live("RedisStore.layerConnect joins the fleet of its option `prefix`", () =>
  Effect.gen(function* () {
    const there = (prefix: string) =>
      Effect.map(Effect.flatMap(RedisStore.make({ prefix }), Operator.list), ({ circuits }) => circuits.length)
    yield* CircuitBreaker.isolate("api")
    yield* until(
      "told",
      Effect.map(Effect.orDie(there("mine")), (n) => n === 1)
    )
    assert.strictEqual(yield* there("effect-fuse"), 0)
  }).pipe(
    Effect.provide(Layer.suspend(() => RedisStore.layerConnect(redis(), { ...of, prefix: "mine" }))),
    Effect.provide(Layer.suspend(redis))
  )
)

it.effect("The option `syncInterval` is the interval at which a process reads all circuits that are not Closed", () =>
  Effect.gen(function* () {
    for (const [syncInterval, least, most] of [
      ["5 seconds", 11, 13],
      ["30 seconds", 1, 3]
    ] as const) {
      const { at } = yield* fleet(1, { syncInterval })
      at(0).trouble.asked = []
      yield* TestClock.adjust("1 minute")
      const lists = at(0).trouble.asked.filter((operation) => operation === "page").length
      assert.isTrue(lists >= least && lists <= most, `${syncInterval}: ${lists}`)
    }
  })
)
