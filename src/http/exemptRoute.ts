import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import { exemptRoute, saysNothing } from "./exempt.ts"

/** Marks a response as Ignored: a route that reports an open circuit has not failed itself. */
const silent = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  saysNothing.add(response)
  return response
}

/**
 * Adds a route, and passes its path, with the prefix of the router, to `onPath`. A router has no public field for its prefix, but `addAll`
 * adds it by calling `map` of the given routes. If a later version did not call `map`, `onPath` would receive the path without the prefix,
 * and the first request would provide the complete path.
 */
const addRoute = <E, R>(route: HttpRouter.Route<E, R>, onPath: (path: string) => void) =>
  HttpRouter.use((router) => {
    let { path }: { readonly path: string } = route
    const routes = [route]
    const map = (f: (one: typeof route, index: number, all: typeof routes) => typeof route) =>
      Array.from(routes, (one, index) => {
        const derived = f(one, index, routes)
        path = derived.path
        return derived
      })
    return Effect.tap(router.addAll(Object.assign(routes, { map })), () => Effect.sync(() => onPath(path)))
  })

/**
 * Adds a route that responds even while breakers reject requests. The router's breakers neither reject nor count requests to this route.
 */
export const addExempt = <E>(
  store: object,
  method: "GET" | "*",
  path: `/${string}`,
  answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, HttpServerRequest.HttpServerRequest>
) => {
  // A breaker outside the router knows the URL of a request, but not its route. If the path ends with a parameter, exempt all paths below.
  const exempted = (path: string) => exemptRoute(store, path.replace(/\/:\w+$/, "/*"))
  const known = Effect.tap(HttpRouter.RouteContext, ({ route }) => Effect.sync(() => exempted(route.path)))
  const handler = Effect.andThen(known, Effect.map(answer, silent))
  return addRoute(HttpRouter.route(method, path, handler), exempted)
}
