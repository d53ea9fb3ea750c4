import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { HttpClient, HttpClientRequest, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { HttpServerBreaker } from "effect-fuse/http"

const policies = Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "20 seconds" } }))
export const services = Layer.merge(BreakerStore.layerMemory, policies)

export const ok = Effect.succeed(HttpServerResponse.text("ok"))
export const status = (status: number, headers: Record<string, string> = {}) =>
  Effect.succeed(HttpServerResponse.empty({ status, headers }))

/** What these routes answer to a client, over a socket. */
export const serving = <A, E, R>(
  routes: Layer.Layer<A, E, R>,
  under: Layer.Layer<BreakerStore.BreakerStore> = services
) =>
  HttpRouter.serve(routes as Layer.Layer<A, E, HttpRouter.HttpRouter>, {
    disableLogger: true,
    disableListenLog: true
  }).pipe(Layer.provideMerge(NodeHttpServer.layerTest), Layer.provideMerge(under)) as Layer.Layer<
    HttpClient.HttpClient | BreakerStore.BreakerStore
  >

export const get = (path: string, headers: Record<string, string> = {}) =>
  Effect.flatMap(HttpClient.HttpClient, (client) => client.execute(HttpClientRequest.get(path, { headers })))

/** The status, the headers that matter and the body of a response. */
export const seen = (path: string, headers: Record<string, string> = {}) =>
  Effect.flatMap(get(path, headers), (response) =>
    Effect.map(response.text, (body) => ({
      status: response.status,
      type: response.headers["content-type"],
      retryAfter: response.headers["retry-after"],
      cache: response.headers["cache-control"],
      body: body === "" ? undefined : (JSON.parse(body) as Record<string, unknown>)
    }))
  )

export const state = (name: string, key?: string) => CircuitBreaker.state(name, { key })

/** The response of a handler that fails to a request with these headers. */
export const answer = (options: HttpServerBreaker.Options<never>, headers: Record<string, string> = {}) => {
  const handler = HttpServerBreaker.protect("api", options)(Effect.succeed(HttpServerResponse.empty({ status: 500 })))
  const request = HttpServerRequest.fromWeb(new Request("http://a.test/", { headers }))
  return Effect.provideService(handler, HttpServerRequest.HttpServerRequest, request)
}
