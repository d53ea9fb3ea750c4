/** A process of a fleet, which `processes.ts` starts with a URL. It executes the orders of the bench with each breaker. */
import { Effect, Queue, Stream } from "effect"
import { Redis } from "effect/persistence"
import { CircuitBreaker, type SharedStore } from "effect-fuse"
import { monotonic, sleep } from "./figures.ts"
import type { Breaker, News, Order } from "./messages.ts"
import { oursInMemory, oursOnRedis, plain, theirsOnRedis } from "./stores.ts"

const [url = ""] = process.argv.slice(2)

const tell = (news: News) => process.send?.(news)

/** Reports each record that the process writes. */
const around = (store: SharedStore.SharedStore): SharedStore.SharedStore => ({
  ...store,
  exchange: (exchange) =>
    Effect.suspend(() => {
      const sent = monotonic()
      return Effect.tap(store.exchange(exchange), (answer) =>
        Effect.sync(() => {
          const answered = monotonic()
          exchange.swaps.forEach(({ circuit }, place) => {
            const swapped = answer._tag === "Done" && answer.swaps[place]?.swapped === true
            if (swapped) tell({ said: "swapped", circuit, sent, answered })
          })
        })
      )
    })
})

const onRedis = await oursOnRedis(url, { prefix: "fleet", streak: true, around })
const inMemory = oursInMemory({ streak: true })
const theirs = await theirsOnRedis(url)
const redis = plain(url)
const channel = "bench:published"

const waiting = new Map<number, (ok: boolean) => void>()
let lastId = 0

/** The dependency is the bench process. It counts the calls, and decides whether each call fails. */
const dependency = (key: string) =>
  Effect.callback<void, "down">((resume) => {
    lastId++
    waiting.set(lastId, (ok) => resume(ok ? Effect.void : Effect.fail("down")))
    tell({ said: "calls", key, id: lastId })
  })

const through = (breaker: Breaker, key: string): (() => Promise<unknown>) => {
  if (breaker === "Effect's, Redis") {
    const call = theirs.breaker.execute(dependency(key), { key })
    return () => theirs.runtime.runPromiseExit(call)
  }
  const call = CircuitBreaker.protect(dependency(key), "leak", { key })
  const runtime = breaker === "ours, Redis" ? onRedis : inMemory
  return () => runtime.runPromiseExit(call)
}

/** Mulberry32. It gives every breaker the same arrivals. */
const random = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

const arrive = async ({ breaker, key, millis, rate, seed }: Extract<Order, { do: "arrive" }>) => {
  const call = through(breaker, key)
  const next = random(seed)
  const running: Array<Promise<unknown>> = []
  const start = performance.now()
  let due = start
  for (;;) {
    due += (-Math.log(1 - next()) * 1000) / rate
    if (due >= start + millis) break
    const wait = due - performance.now()
    if (wait > 0) await sleep(wait)
    running.push(call())
  }
  await sleep(Math.max(0, start + millis - performance.now()))
  await Promise.all(running)
}

const outcome = { ok: Effect.succeed(1), down: Effect.fail("down") }

const call = async (key: string, ok: boolean, times: number) => {
  const one = CircuitBreaker.protect(ok ? outcome.ok : outcome.down, "trip", { key })
  for (let i = 0; i < times; i++) {
    await onRedis.runPromiseExit(one)
    await sleep(5)
  }
}

// Makes a call as soon as this process knows a state of the fleet, because the figure is the time until a call is rejected.
onRedis.runFork(
  Stream.runForEach(CircuitBreaker.events, (event) => {
    const { key } = event
    if (event._tag !== "Transition" || key === undefined || event.circuit !== "trip") return Effect.void
    if (event.scope !== "fleet" || (event.to !== "Open" && event.to !== "Isolated")) return Effect.void
    return Effect.matchEffect(CircuitBreaker.protect(outcome.ok, "trip", { key }), {
      onFailure: () => Effect.sync(() => tell({ said: "rejected", key, at: monotonic() })),
      onSuccess: () => Effect.void
    })
  })
)

// Measures the time of a message without a circuit.
redis.runFork(
  Effect.scoped(
    Effect.gen(function* () {
      const heard = yield* (yield* Redis.Redis).subscribe(channel)
      while (true) {
        const { message } = yield* Queue.take(heard)
        tell({ said: "rejected", key: message, at: monotonic() })
      }
    })
  )
)

const publish = async (key: string) => {
  const sent = monotonic()
  await redis.runPromise(Effect.flatMap(Redis.Redis, ({ send }) => send("PUBLISH", channel, key)))
  tell({ said: "swapped", circuit: key, sent, answered: monotonic() })
}

const obey = async (order: Order): Promise<void> => {
  switch (order.do) {
    case "answer":
      waiting.get(order.id)?.(order.ok)
      waiting.delete(order.id)
      return
    case "call":
      await call(order.key, order.ok, order.times)
      break
    case "isolate":
      await onRedis.runPromise(CircuitBreaker.isolate("trip", { key: order.key, reason: "drill" }))
      break
    case "publish":
      await publish(order.key)
      break
    case "arrive":
      await arrive(order)
      break
    case "stop":
      await Promise.race([
        Promise.all([onRedis, inMemory, theirs.runtime, redis].map((one) => one.dispose())),
        sleep(1_000)
      ])
      process.exit(0)
  }
  tell({ said: "done" })
}

process.on("message", (order: Order) => void obey(order))
// The process must not outlive the bench.
process.on("disconnect", () => process.exit(0))
// By then, all subscriptions have begun.
await sleep(200)
tell({ said: "ready" })
