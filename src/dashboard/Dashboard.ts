/**
 * A page for an application's own `HttpRouter` that shows its circuits live, and lets operators change them.
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { HttpRouter, HttpServer } from "effect/http"
 * import { BreakerStore } from "effect-fuse"
 * import * as Dashboard from "effect-fuse/Dashboard"
 *
 * const App = Dashboard.layer({
 *   path: "/circuits",
 *   access: (request) => Effect.succeed({ see: true, steer: request.headers["x-role"] === "operator" })
 * }).pipe(Layer.provideMerge(BreakerStore.layerMemory), Layer.provide(HttpServer.layerServices))
 * const { dispose, handler } = HttpRouter.toWebHandler(App, { disableLogger: true })
 * const response = await handler(new Request("http://local/circuits/"))
 * response.headers.get("content-type") // => "text/html; charset=utf-8"
 * await dispose()
 * ```
 *
 * With a shared store, the page shows the whole fleet; otherwise the circuits of this process. The server reads
 * once a second while a browser shows the page, for any number of browsers.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import { decodeOptions, functionField, optional } from "../core/fields.ts"
import { pathField } from "../http/exempt.ts"
import { addExempt } from "../http/exemptRoute.ts"
import { detailsHere } from "./details.ts"
import { makeFeed } from "./feed.ts"
import { linksField } from "./links.ts"
import { inProcess, onStore } from "./operators.ts"
import { type Access, makePages } from "./pages.ts"
import { fleetReader, processReader } from "./reader.ts"

export type {
  /**
   * What the sender of a request may do.
   *
   * @category models
   */
  Access
} from "./pages.ts"

/**
 * The options of the page.
 *
 * @category options
 */
export interface Options<R = never> {
  /** The path of the page. Default: `/circuits`. */
  readonly path?: `/${string}` | undefined
  /**
   * What the sender of a request may do, from the application's own authentication. `see: false` refuses the request with 403. `steer: true`
   * shows the buttons of operators. `actor` is the name of the operator in events and in the trail.
   */
  readonly access: (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<Access, never, R>
  /**
   * Links from the page of a circuit to other pages about it: at most 10 titles with `http` or `https` URLs. In the path, the query and the
   * fragment, `{name}` and `{key}` stand for the circuit, such as in `https://grafana.example/d/fuse?var-circuit={name}`. Default: none.
   */
  readonly links?: Readonly<Record<string, string>> | undefined
}

const fields = { path: optional(pathField), access: functionField, links: optional(linksField) }

/** The routes below the path of the page. */
const places = ["/icon.svg", "/effect-fuse/:file", "/api/events", "/api/circuit", "/api/action"]

/** The part of a request's URL after the path of the page. */
const below = (base: string, url: string): string => (url.split(/[?#]/, 1)[0] ?? "").slice(base.length)

/**
 * Adds the page to the router. The breakers of the router neither reject nor count its requests.
 *
 * Throws a `RangeError` that names the invalid option.
 *
 * @category layers
 */
export const layer = <R = never>(
  options: Options<R>
): Layer.Layer<never, never, HttpRouter.HttpRouter | BreakerStore | R> => {
  const { access, links = [], path: given = "/circuits" } = decodeOptions("Dashboard.layer", fields, options)
  const path = (given.replace(/\/+$/, "") || "/") as `/${string}`
  return Layer.unwrap(
    Effect.gen(function* () {
      const context = yield* Effect.context<R>()
      const registry = yield* BreakerStore
      const { peers } = registry.runtime
      const reader =
        peers === undefined
          ? yield* processReader(registry, "this process")
          : fleetReader(peers.store, `seen by ${peers.process}`)
      const feed = yield* makeFeed(reader, { always: false })
      const pages = makePages({
        feed,
        act: peers === undefined ? inProcess(registry) : onStore(peers.store, peers.process, () => Effect.void),
        details: (name, key) => detailsHere(registry, name, key),
        links,
        access: (request) => Effect.provideContext(access(request) as Effect.Effect<Access, never, R>, context)
      })
      const { ignoreTrailingSlash } = yield* HttpRouter.RouterConfig
      const base = path === "/" ? "" : path
      const answer = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        const rest = below(base, request.url)
        // The files of the page have relative addresses, so the address of the page must end with a slash.
        if (rest !== "") return pages(request, rest)
        const to = `./${path.slice(path.lastIndexOf("/") + 1)}/`
        return Effect.succeed(HttpServerResponse.empty({ status: 307, headers: { location: to } }))
      })
      return Layer.mergeAll(
        addExempt(registry, "*", path, answer),
        ...[...(base !== "" && ignoreTrailingSlash === false ? ["/"] : []), ...places].map((place) =>
          addExempt(registry, "*", `${base}${place}` as `/${string}`, answer)
        )
      )
    })
  )
}
