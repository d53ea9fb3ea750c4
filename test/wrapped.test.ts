import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { MemoryStore, type SharedStore } from "effect-fuse"
import { isUnconnected, Unconnected } from "../src/store/unconnected.ts"
import { type StoreCommand, wrapped } from "../src/store/wrapped.ts"

const request: SharedStore.Exchange = {
  ...{ voter: "a", ttl: 1_000, notAfter: undefined, heard: 0, floor: 0, casts: [], swaps: [] }
}

describe("a wrapped store", () => {
  it.effect("carries each command with its arguments", () =>
    Effect.gen(function* () {
      const sent: Array<unknown> = []
      const inner: SharedStore.SharedStore = {
        ...(yield* MemoryStore.make),
        exchange: (...args) => Effect.die(sent.push(args)),
        page: (...args) => Effect.die(sent.push(args)),
        load: (...args) => Effect.die(sent.push(args))
      }
      const carried: Array<Omit<StoreCommand<unknown>, "send">> = []
      const store = wrapped(inner, ({ exchange, operation, send }) => {
        carried.push({ operation, exchange })
        return send(inner)
      })
      yield* Effect.exit(store.exchange(request))
      yield* Effect.exit(store.page(7, 3))
      yield* Effect.exit(store.load(["api"]))
      assert.deepStrictEqual(sent, [[request], [7, 3], [["api"]]])
      assert.deepStrictEqual(carried, [
        { operation: "exchange", exchange: request },
        { operation: "page", exchange: undefined },
        { operation: "load", exchange: undefined }
      ])
    })
  )

  it.effect("has the connection, the announcements, the limit of circuits and the deadline of the inner store", () =>
    Effect.gen(function* () {
      const connected = Effect.void
      const changes = Stream.never
      const inner = {
        ...(yield* MemoryStore.make),
        longestCircuit: 7,
        deadline: 900,
        connected,
        changes,
        [Unconnected]: () => true
      }
      const store = wrapped(inner, ({ send }) => send(inner))
      assert.strictEqual(store.longestCircuit, 7)
      assert.strictEqual(store.deadline, 900)
      assert.strictEqual(store.connected, connected)
      assert.strictEqual(store.changes, changes)
      assert.isTrue(isUnconnected(store))
    })
  )
})
