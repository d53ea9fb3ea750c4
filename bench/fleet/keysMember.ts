/** A process with many keys, which `scale.ts` starts. It uses only public modules. */
import { NodeRedis } from "@effect/platform-node"
import { Effect, Layer, Logger, ManagedRuntime } from "effect"
import { BreakerPolicy, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import type { KeysAnswer, KeysOrder, KeysSetup } from "./keysMessages.ts"

const setup: KeysSetup = JSON.parse(process.argv[2] ?? "{}")
const began = performance.now()

/** The log messages about the store: that it does not answer, and that it answers again. */
const store: Array<string> = []
const logger = Logger.make(({ message }) => {
  const text = String(message)
  if (/store/i.test(text) && !/answers again/.test(text)) store.push(text.slice(0, 200))
})
const redis = NodeRedis.layer({ url: setup.url, disableOfflineQueue: true })
const layer = RedisStore.layerConnect(redis, { prefix: setup.prefix, process: setup.name }).pipe(
  Layer.provideMerge(BreakerPolicy.layer({ default: { cooldown: "10 minutes" } })),
  Layer.provideMerge(Logger.layer([logger]))
)
const runtime = ManagedRuntime.make(layer)

let isUp = true
let reached = 0
const dependency = Effect.suspend(() => {
  reached++
  return isUp ? Effect.void : Effect.fail("down")
})
const call = (key?: string) => runtime.runPromiseExit(CircuitBreaker.protect(dependency, "tenant", { key }))

const known = () =>
  runtime.runPromise(
    Effect.map(
      CircuitBreaker.list,
      (all) => all.filter(({ scope, state }) => state === "Open" && scope === "fleet").length
    )
  )

await runtime.context()
const builtMillis = performance.now() - began
for (let i = 0; i < setup.callsAtOnce; i++) await call()
const reachedAtOnce = reached
const knownAtOnce = await known()

let longestLag = 0
let last = performance.now()
setInterval(() => {
  const now = performance.now()
  longestLag = Math.max(longestLag, now - last - 20)
  last = now
}, 20).unref()

/** Calls every key once per second, in a random order, until it is stopped. */
let isCalling = false
const rounds = async (keys: number) => {
  const order = Array.from({ length: keys }, (_, i) => i)
  let due = performance.now()
  while (isCalling) {
    for (let i = keys - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1))
      const one = order[i] ?? 0
      order[i] = order[j] ?? 0
      order[j] = one
    }
    const each = Math.ceil(keys / 100)
    for (let i = 0; i < keys && isCalling; i += each) {
      for (const key of order.slice(i, i + each)) void call(`k${key}`)
      due += 10
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())))
    }
  }
}

const obey = async (order: KeysOrder): Promise<void> => {
  switch (order.do) {
    case "dependency":
      isUp = order.isUp
      return
    case "call":
      isCalling = order.keys > 0
      if (isCalling) void rounds(order.keys)
      return
    case "open":
      await runtime.runPromise(
        Effect.forEach(
          Array.from({ length: order.keys }, (_, i) => `k${i}`),
          (key) => CircuitBreaker.open("tenant", { key, for: "1 hour" }),
          { concurrency: 64, discard: true }
        )
      )
      return
    case "open one":
      await runtime.runPromise(CircuitBreaker.open("tenant", { for: "1 hour" }))
      return
    case "report":
      return
    case "stop":
      await Promise.race([runtime.dispose(), new Promise((resolve) => setTimeout(resolve, 2_000))])
      process.exit(0)
  }
}

const tell = async (id: number) => {
  const lag = longestLag
  longestLag = 0
  const answer: KeysAnswer = {
    id,
    reached,
    reachedAtOnce,
    knownAtOnce,
    known: await known(),
    builtMillis,
    upMillis: performance.now() - began,
    longestLag: lag,
    store
  }
  process.send?.(answer)
}

process.on("message", ({ id, order }: { readonly id: number; readonly order: KeysOrder }) => {
  void obey(order).then(() => tell(id))
})
process.on("disconnect", () => process.exit(0))
await tell(0)
