/** While a dependency is down, its route returns 503 with `Retry-After`. Each tenant has its own circuit. */
import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer, Logger, pipe } from "effect"
import { FetchHttpClient, HttpClient, HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { BreakerPolicy, BreakerStore, Tenant, Trip } from "effect-fuse"
import { HttpServerBreaker } from "effect-fuse/http"

let handled = 0

/** Fails for one tenant, whose credentials have expired. */
const report = Effect.map(Tenant.Current, (tenant) => {
  handled++
  return tenant === "acme" ? HttpServerResponse.empty({ status: 502 }) : HttpServerResponse.text(`for ${tenant}`)
})

// Safe here, because only this program calls the server. In production, a gateway must set the header.
const Routes = HttpRouter.add("GET", "/report", pipe(report, HttpServerBreaker.protect("reports", { tenant: true })))

const Breakers = Layer.mergeAll(
  BreakerStore.layerMemory,
  BreakerPolicy.layer({ breakers: { reports: { trip: Trip.consecutive(2), cooldown: "1 minute" } } })
)
const App = HttpRouter.serve(Routes, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" })),
  Layer.provideMerge(Layer.mergeAll(Breakers, FetchHttpClient.layer, Logger.layer([])))
)

const program = Effect.gen(function* () {
  const url = `${HttpServer.formatAddress((yield* HttpServer.HttpServer).address)}/report`
  const client = yield* HttpClient.HttpClient
  const ask = (tenant: string) =>
    Effect.gen(function* () {
      const response = yield* client.get(url, { headers: { "X-Tenant-ID": tenant } })
      const wait = response.headers["retry-after"]
      console.log(`${tenant}: ${response.status}${wait === undefined ? "" : `, retry after ${wait} s`}`)
      return yield* response.text
    })

  for (let i = 0; i < 2; i++) yield* ask("acme")
  console.log(yield* ask("acme"))
  console.log(yield* ask("globex"))
  yield* ask("two words")
  console.log(`the handler ran ${handled} times`)
})

await Effect.runPromise(Effect.provide(program, App))
