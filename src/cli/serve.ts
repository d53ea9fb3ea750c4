import { createHmac, timingSafeEqual } from "node:crypto"
import { createServer } from "node:http"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { noDetails } from "../dashboard/details.ts"
import { makeFeed } from "../dashboard/feed.ts"
import type { Link } from "../dashboard/linkTemplate.ts"
import { onStore } from "../dashboard/operators.ts"
import { type Access, makePages, type PageRequest } from "../dashboard/pages.ts"
import { fleetReader } from "../dashboard/reader.ts"
import { makeWebhook } from "../dashboard/webhook.ts"
import { processName } from "./actor.ts"
import { answer, CommandFailure } from "./messages.ts"
import { record } from "./recording.ts"
import { reopenedStore } from "./reopened.ts"
import { servedTrail } from "./servedTrail.ts"
import type { CommandSettings } from "./settings.ts"

export interface ServeInput {
  readonly port: number
  readonly host: string
  readonly token: Option.Option<Redacted.Redacted<string>>
  readonly webhook: Option.Option<Redacted.Redacted<string>>
  readonly link: ReadonlyArray<Link>
}

/** A shorter token can be guessed. */
const shortestToken = 12

/** A hash of the token, for the cookie and for comparisons. */
const digestOf = (token: string): string =>
  createHmac("sha256", token).update("effect-fuse dashboard").digest("base64url")

const isEqual = (a: string, b: string): boolean => {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

const loopback = new Set(["localhost", "127.0.0.1", "::1", "[::1]"])

const hostOf = ({ headers }: PageRequest): string => URL.parse(`http://${headers["host"] ?? ""}`)?.hostname ?? ""

/** Checks the token. After a valid token, a cookie identifies the browser. */
const makeLogin = (token: string | undefined, port: number) => {
  const expected = token === undefined ? undefined : digestOf(token)
  // All ports of a host share their cookies.
  const cookie = `effect-fuse-${port}`
  const isOperator = ({ cookies, headers }: PageRequest): boolean => {
    if (expected === undefined) return false
    const [, bearer] = /^Bearer (.+)$/.exec(headers["authorization"] ?? "") ?? []
    return isEqual(cookies[cookie] ?? "", expected) || (bearer !== undefined && isEqual(digestOf(bearer), expected))
  }
  return {
    access: (request: PageRequest): Effect.Effect<Access> =>
      Effect.sync(() => ({ see: true, steer: isOperator(request) })),
    /** The answer to a request with `?token=`. */
    answer: (given: string): HttpServerResponse.HttpServerResponse => {
      const headers = { "cache-control": "no-store", "referrer-policy": "no-referrer" }
      if (expected === undefined || !isEqual(digestOf(given), expected)) {
        return HttpServerResponse.text("This token is not valid.\n", { status: 403, headers })
      }
      // The redirect keeps the token out of the address bar and the browser history.
      return HttpServerResponse.empty({
        status: 303,
        headers: {
          ...headers,
          location: "./",
          "set-cookie": `${cookie}=${expected}; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200`
        }
      })
    }
  }
}

const listening = (host: string, port: number) =>
  Effect.gen(function* () {
    const { make } = yield* Effect.promise(() => import("@effect/platform-node/NodeHttpServer"))
    // Viewers keep their connections open, so the server does not wait for them.
    const options = { host, port, gracefulShutdownTimeout: 200 }
    const server = yield* Effect.mapError(
      make(() => createServer(), options),
      ({ cause }) => {
        const code = (cause as { readonly code?: string } | undefined)?.code
        return new CommandFailure({
          code: 1,
          message: `Cannot listen on port ${port} of ${host}${code === undefined ? "" : ` (${code})`}`,
          ...(code === "EADDRINUSE" ? { advice: "Another program listens there. Add --port for another port." } : {})
        })
      }
    )
    const { address } = server
    return { server, port: "port" in address ? address.port : port }
  })

/** Serves the page of the fleet until it is interrupted. */
export const serve = (
  { host, link: links, port: asked, token: secret, webhook }: ServeInput,
  settings: CommandSettings
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { opened, store } = yield* reopenedStore(settings)
      const { label } = opened().server
      const token = Option.getOrUndefined(Option.map(secret, Redacted.value))
      if (token !== undefined && token.length < shortestToken) {
        return yield* new CommandFailure({
          code: 1,
          message: `--token: expected at least ${shortestToken} characters`,
          advice: "Make one with: openssl rand -base64 24"
        })
      }
      const target = Option.getOrUndefined(webhook)
      if (target !== undefined && !/^https?:$/.test(URL.parse(Redacted.value(target))?.protocol ?? "")) {
        // The URL is a secret, so the message does not repeat it.
        return yield* new CommandFailure({ code: 1, message: "--webhook: expected a URL such as https://host/path" })
      }
      const onChange = target === undefined ? undefined : yield* makeWebhook(target)
      const { port, server } = yield* listening(host, asked)
      const login = makeLogin(token, port)
      const feed = yield* makeFeed(fleetReader(store, label), {
        always: true,
        ...(onChange === undefined ? {} : { onChange })
      })
      const trail = servedTrail(settings, opened)
      const pages = makePages({
        feed,
        act: onStore(store, processName, (transition) => record(settings, opened(), [transition])),
        details: (name, key) => Effect.map(trail(name, key), (transitions) => ({ ...noDetails, transitions })),
        access: login.access,
        links
      })
      const isLoopback = loopback.has(host)
      const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        // This prevents DNS rebinding. Without this check, another site could point its own name to this machine, and then read the page.
        if (isLoopback && !loopback.has(hostOf(request))) {
          return Effect.succeed(HttpServerResponse.text("This server answers to localhost only.\n", { status: 421 }))
        }
        const [path = "/", query = ""] = request.url.split("?")
        const given = path === "/" ? new URLSearchParams(query).get("token") : null
        return given === null ? pages(request, path) : Effect.succeed(login.answer(given))
      })
      yield* Effect.provideContext(HttpServer.serveEffect(app), Context.make(HttpServer.HttpServer, server))
      const name = host.includes(":") ? `[${host.replace(/^\[|\]$/g, "")}]` : host
      const url = `http://${name}:${port}/`
      yield* answer(settings.json, { url, steer: token !== undefined }, `The circuits of ${label}: ${url}`)
      if (token !== undefined) yield* Console.error(`Operators open ${url}?token=... with the token.`)
      else
        yield* Console.error("The page is read-only. With --token, a browser that has the token can change circuits.")
      if (!isLoopback)
        yield* Console.error(`Every machine that can reach port ${port} of this machine can read the page.`)
      return yield* Effect.never
    })
  )
