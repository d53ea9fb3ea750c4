/** One deadline for all attempts of a call, and three services whose retries do not multiply. */
import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Effect, Layer, Logger, Schedule } from "effect"
import { FetchHttpClient, HttpClient, HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { BreakerPolicy, BreakerStore, Deadline, Resilience, Trip } from "effect-fuse"
import { HttpClientBreaker, HttpServerBreaker } from "effect-fuse/http"

type Handler<R> = Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, R>

/** Serves one route on a free port, and returns its URL. */
const serve = <R>(handler: Handler<R>) =>
  Effect.gen(function* () {
    const routes = HttpRouter.add("GET", "/", Effect.orDie(handler))
    const app = HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" }))
    )
    return HttpServer.formatAddress(Context.get(yield* Layer.build(app), HttpServer.HttpServer).address)
  })

/** A service that calls the next one, with two retries, and answers 503 if that fails. */
const service = (next: string, options: { readonly deadline?: boolean }) => {
  const retry = { times: 2, schedule: Schedule.spaced("1 millis"), budget: false } as const
  const handler = Effect.gen(function* () {
    const client = HttpClientBreaker.standard(yield* HttpClient.HttpClient, "next", { ...options, retry })
    const { status } = yield* client.get(next)
    return HttpServerResponse.empty({ status: status < 500 ? status : 503 })
  })
  return serve(HttpServerBreaker.protect("service", options)(handler))
}

/** How many calls reach a dependency that is down, through three services, for one request. */
const callsAtTheBottom = (options: { readonly deadline?: boolean }) =>
  Effect.gen(function* () {
    let calls = 0
    const down = Effect.sync(() => {
      calls++
      return HttpServerResponse.empty({ status: 500 })
    })
    let url = yield* serve(down)
    for (let i = 0; i < 3; i++) url = yield* service(url, options)
    yield* HttpClient.get(url)
    return calls
  }).pipe(Effect.scoped)

const program = Effect.gen(function* () {
  let attempts = 0
  const busy = Effect.andThen(
    Effect.sync(() => attempts++),
    Effect.fail("busy")
  )
  const patient = Resilience.retry({ times: 5, schedule: Schedule.spaced("1 hour") })
  const error = yield* Effect.flip(Deadline.within(patient(busy), "3 seconds"))
  console.log(`${error} after ${attempts} attempt: a retry in an hour does not fit into 3 seconds`)

  const hanging = Effect.never.pipe(Resilience.timeout("10 seconds"))
  const late = yield* Effect.flip(Deadline.within(hanging, "50 millis"))
  console.log(`${late._tag}, of the deadline: ${Deadline.isDeadlineExceeded(late)}`)

  console.log(`without deadlines: ${yield* callsAtTheBottom({})} calls at the bottom`)
  console.log(`with deadlines: ${yield* callsAtTheBottom({ deadline: true })} calls at the bottom`)
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemory),
    // In this example the circuits must not open, so that only deadlines and attempts reduce the calls.
    Effect.provide(BreakerPolicy.layer({ default: { trip: Trip.consecutive(1_000) } })),
    Effect.provide(FetchHttpClient.layer),
    Effect.provide(Logger.layer([]))
  )
)
