import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Effect } from "effect"
import { CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { bytesEach } from "../measure.ts"
import { type Admin, type Ours, oursInMemory, oursOnRedis, theirsOnRedis } from "./stores.ts"

export interface Sizes {
  /** Bytes in Redis for one circuit, by MEMORY USAGE of its keys. */
  readonly redis: {
    readonly healthy: number
    readonly open: number
    readonly ballotsOf3: number
    readonly ballotsOf100: number
    readonly theirsHealthy: number
    readonly theirsOpen: number
  }
  readonly circuits: number
  /** Bytes of heap in the process for an idle circuit that was called once. */
  readonly idle: { readonly memory: number; readonly redis: number }
}

const noop = Effect.succeed(1)
/** The number of circuits, among which the constant part is divided. */
const sample = 50

const usage = async (server: Admin, pattern: string): Promise<number> => {
  const keys = await server.send<ReadonlyArray<string>>("KEYS", pattern)
  let bytes = 0
  for (const key of keys) bytes += Number(await server.send("MEMORY", "USAGE", key, "SAMPLES", "0"))
  return bytes
}

const callAll = (runtime: Ours, circuits: number) => {
  let i = 0
  return runtime.runPromise(
    Effect.whileLoop({
      while: () => i < circuits,
      body: () => CircuitBreaker.protect(noop, "memory", { key: `key-${i++}` }),
      step: () => {}
    })
  )
}

/** A ballot under the default policy: one window, three failures of forty calls. */
const ballot = [1_000, 1, 0, 3, 40, 3, 0, 3_000]
const cast = { circuit: "payments/acme", epoch: 0, box: "2~1a2b3c4", ballot, ttl: 60_000, inquire: 300, roll: 0 }

const ballotBytes = async (url: string, server: Admin, voters: number): Promise<number> => {
  const prefix = `ballots-${voters}`
  const casts = Effect.flatMap(RedisStore.make({ prefix, subscribe: false }), (store) =>
    Effect.forEach(
      Array.from({ length: voters }, (_, i) => `process~${(i * 7_919 + 36 ** 7).toString(36)}`),
      (voter) =>
        store.exchange({ voter, ttl: 60_000, notAfter: undefined, heard: 0, floor: 0, casts: [cast], swaps: [] }),
      { discard: true }
    )
  )
  await Effect.runPromise(Effect.provide(casts, NodeRedis.layer({ url })))
  return usage(server, `{${prefix}}:*`)
}

/** Waits until the fleet has opened all circuits. A young store first waits for processes that it may not know. */
const allWritten = async (server: Admin): Promise<void> => {
  for (let tries = 0; tries < 300; tries++) {
    if (Number(await server.send("HLEN", "{sizes}:records")) >= sample) return
    await Effect.runPromise(Effect.sleep("100 millis"))
  }
  throw new Error("not every open circuit has a record in Redis after 30 seconds")
}

export const sizes = async (url: string, server: Admin, quick: boolean): Promise<Sizes> => {
  const ours = await oursOnRedis(url, { prefix: "sizes", streak: true })
  const theirs = await theirsOnRedis(url)
  const context = await ours.context()
  const keys = Array.from({ length: sample }, (_, i) => `customer-${i}`)
  const each = (f: (key: string) => Effect.Effect<unknown>) => Effect.runPromise(Effect.forEach(keys, f))
  const protect = (key: string, effect: Effect.Effect<unknown, unknown>) =>
    Effect.ignore(Effect.provideContext(CircuitBreaker.protect(effect, "payments", { key }), context))
  const execute = (key: string, effect: Effect.Effect<unknown, unknown>) =>
    Effect.ignore(theirs.breaker.execute(effect, { key: `payments:${key}` }))
  await each((key) => protect(key, noop))
  await each((key) => execute(key, noop))
  const of = async (pattern: string) => (await usage(server, pattern)) / sample
  const healthy = (await usage(server, "{sizes}:record*")) + (await usage(server, "{sizes}:ballots*"))
  const theirsHealthy = await of("theirs-false:payments:*")
  for (let i = 0; i < 5; i++) {
    await each((key) => protect(key, Effect.fail("down")))
    await each((key) => execute(key, Effect.fail("down")))
  }
  await allWritten(server)
  const indexes = ["records", "changed", "listed", "unlisted"]
  let open = 0
  for (const index of indexes) open += await of(`{sizes}:${index}`)
  const theirsOpen = await of("theirs-false:payments:*")
  await ours.dispose()
  await theirs.runtime.dispose()

  const circuits = quick ? 5_000 : 50_000
  // This variable keeps the first store in memory. Otherwise, garbage collection of the first store would change the second measurement.
  const inMemory = oursInMemory({ maxCircuits: circuits })
  const memory = await bytesEach(circuits, async () => {
    await callAll(inMemory, circuits)
    return inMemory
  })
  let shared: Ours | undefined
  const redis = await bytesEach(circuits, async () => {
    shared = await oursOnRedis(url, { prefix: "memory", maxCircuits: circuits })
    await callAll(shared, circuits)
    return shared
  })
  await shared?.dispose()
  await inMemory.dispose()
  return {
    redis: {
      healthy: healthy / sample,
      open,
      ballotsOf3: await ballotBytes(url, server, 3),
      ballotsOf100: await ballotBytes(url, server, 100),
      theirsHealthy,
      theirsOpen
    },
    circuits,
    idle: { memory, redis }
  }
}
