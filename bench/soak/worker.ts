/** One process of the soak. It makes calls until it is stopped, follows orders, and writes everything to its journal. */
import { NodeRedis, NodeRuntime } from "@effect/platform-node"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Logger, pipe, Queue, Redacted, Schedule, Stream } from "effect"
import { CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import * as SqlStore from "effect-fuse/SqlStore"
import { oneCall, open } from "./call.ts"
import { write } from "./journal.ts"
import { type Answer, circuits, type Mood, type Name, now, type Order } from "./lines.ts"
import { policies, syncMillis } from "./policies.ts"

const [voice = "", url = "", prefix = ""] = process.argv.slice(2)

const moods: Record<Name, Mood> = { orders: "works", search: "works" }

const customersOfEach = 3

const send = (answer: Answer) => Effect.sync(() => process.send?.(answer))

const obey = (order: Order) =>
  Effect.gen(function* () {
    if (order._tag === "Mood") moods[order.c] = order.mood
    else if (order._tag === "OperatorAction") {
      const { c, action } = order
      const began = now()
      const by = { reason: "soak", actor: voice }
      yield* action === "isolate" ? CircuitBreaker.isolate(c, by) : CircuitBreaker.release(c, by)
      const { scope, state } = yield* CircuitBreaker.inspect(c)
      write({ k: "action", t: now(), began, action, c, scope, state })
    } else {
      const states = { orders: yield* CircuitBreaker.state("orders"), search: yield* CircuitBreaker.state("search") }
      yield* send({ _tag: "States", states })
    }
  })

const orders = Stream.callback<Order>((queue) =>
  Effect.sync(() => process.on("message", (order: Order) => Queue.offerUnsafe(queue, order)))
)

const customer = (c: Name) =>
  Effect.repeat(
    oneCall(c, () => moods[c]),
    Schedule.jittered(Schedule.spaced("30 millis"))
  )

const watchLag = () => {
  let due = now() + 50
  setInterval(() => {
    const late = now() - due
    if (late > 30) write({ k: "lag", t: now(), millis: late })
    due = now() + 50
  }, 50)
}

const watchHeap = () =>
  setInterval(() => {
    global.gc?.()
    write({ k: "heap", t: now(), bytes: process.memoryUsage().heapUsed })
  }, 2_000)

const watchStuck = () =>
  setInterval(() => {
    for (const call of open) if (now() - call.began > 3_000) write({ k: "stuck", t: now(), call })
  }, 1_000)

const troubles = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
  if (logLevel !== "Error" && logLevel !== "Fatal") return
  write({ k: "trouble", t: now(), text: `${String(message)} ${JSON.stringify(cause)}` })
})

const program = Effect.gen(function* () {
  yield* Effect.forkScoped(
    Stream.runForEach(CircuitBreaker.events, (event) =>
      Effect.sync(() => {
        if (event._tag === "Transition") write({ k: "move", t: now(), event })
      })
    ),
    { startImmediately: true }
  )
  yield* Effect.forkScoped(
    Stream.runForEach(orders, (order) => Effect.forkScoped(obey(order))),
    { startImmediately: true }
  )
  write({ k: "up", t: now(), voice })
  yield* send({ _tag: "Up" })
  yield* Effect.sync(() => [watchLag(), watchHeap(), watchStuck()])
  yield* Effect.forEach(
    circuits.flatMap((c) => Array.from({ length: customersOfEach }, () => customer(c))),
    (one) => Effect.forkScoped(one),
    { discard: true }
  )
  return yield* Effect.never
})

const shared = { prefix, process: voice, syncInterval: syncMillis }

const store = url.startsWith("postgres:")
  ? SqlStore.layer(shared).pipe(Layer.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 4 })))
  : RedisStore.layer(shared).pipe(Layer.provide(NodeRedis.layer({ url, disableOfflineQueue: true })))

const orphaned = Effect.callback<void>((resume) => {
  process.once("disconnect", () => resume(Effect.void))
})

pipe(
  Effect.scoped(program),
  Effect.provide(Layer.mergeAll(store, policies)),
  // `NodeRedis.layer` fails if the server is away while it is built, so a process that starts then has to retry.
  Effect.retry(Schedule.spaced("100 millis")),
  Effect.provide(Logger.layer([troubles])),
  Effect.raceFirst(orphaned),
  Effect.onExit(() => Effect.sync(() => setTimeout(() => process.exit(), 0))),
  NodeRuntime.runMain
)
