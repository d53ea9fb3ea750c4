/**
 * One process of the fleet. It calls the shop ten times per second through the shared circuit. The first part is what such a process
 * looks like; the second part only reports to the demonstration.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Duration, Effect, Layer, Logger, pipe, Queue, Schedule, Stream } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { BreakerPolicy, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import type { Command, End, Report } from "./messages.ts"

const [name = "", shopUrl = "", redisUrl = "", prefix = ""] = process.argv.slice(2)

// ---- A process whose circuits are the fleet's ----------------------------------------------------------------------

const policies = BreakerPolicy.layer({
  breakers: { shop: { cooldown: "2 seconds" } } // short for the demonstration, as is the `syncInterval`
})

const redis = NodeRedis.layer({ url: redisUrl, disableOfflineQueue: true })

const store = RedisStore.layer({ prefix, process: name, syncInterval: "1 second" }).pipe(Layer.provide(redis))

let url = shopUrl

const callShop = Effect.flatMap(HttpClient.HttpClient, (client) =>
  pipe(
    Effect.suspend(() => HttpClient.filterStatusOk(client).get(url)),
    Effect.timeout("1 second"),
    CircuitBreaker.protect("shop")
  )
)

// ---- What the show hears, and what it may ask for ------------------------------------------------------------------

const report = (message: Report) => Effect.sync(() => process.send?.(message))

const obey = (command: Command) => {
  switch (command) {
    case "isolate":
      return CircuitBreaker.isolate("shop", { reason: "stocktaking", actor: "olga" })
    case "release":
      return CircuitBreaker.release("shop", { actor: "olga" })
    case "break network":
      return Effect.sync(() => {
        url = "http://127.0.0.1:9" // no server listens there
      })
    case "mend network":
      return Effect.sync(() => {
        url = shopUrl
      })
  }
}

const commands = Stream.callback<Command>((queue) => {
  const listen = (command: Command) => Queue.offerUnsafe(queue, command)
  return Effect.acquireRelease(
    Effect.sync(() => process.on("message", listen)),
    () => Effect.sync(() => process.off("message", listen))
  )
})

const customer = pipe(
  callShop,
  Effect.match({
    onSuccess: (): End => "ok",
    onFailure: (error): End => (error._tag === "CircuitOpen" ? "rejected" : "error")
  }),
  Effect.timed,
  Effect.flatMap(([took, end]) => report({ _tag: "Call", end, millis: Duration.toMillis(took) }))
)

const program = Effect.gen(function* () {
  yield* Effect.forkScoped(
    Stream.runForEach(CircuitBreaker.events, (event) =>
      event._tag === "Transition" ? report({ _tag: "Moved", event }) : Effect.void
    ),
    { startImmediately: true }
  )
  yield* Effect.forkScoped(Stream.runForEach(commands, obey), { startImmediately: true })
  yield* report({ _tag: "Ready" })
  return yield* Effect.repeat(customer, Schedule.spaced("100 millis"))
})

// No worker may outlive the demonstration, however it ends.
const orphaned = Effect.callback<void>((resume) => {
  process.once("disconnect", () => resume(Effect.void))
})

pipe(
  Effect.scoped(program),
  Effect.provide(Layer.mergeAll(store, policies, FetchHttpClient.layer)),
  Effect.raceFirst(orphaned),
  Effect.provide(Logger.layer([])),
  NodeRuntime.runMain
)
