import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, type Scope } from "effect"
import { Headers, HttpRouter, HttpServer } from "effect/http"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import * as Dashboard from "effect-fuse/Dashboard"
import { HttpServerBreaker } from "effect-fuse/http"
import { makeFiles } from "../src/dashboard/files.ts"
import { isSameOrigin } from "../src/dashboard/sameOrigin.ts"

type Handler = (request: Request) => Promise<Response>

const policies = Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "20 seconds" } }))

/** An application with the page. `run` uses the circuits of the page. */
const page = (options: Partial<Dashboard.Options> = {}) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(Layer.merge(BreakerStore.layerMemory, policies))
    const { access = () => Effect.succeed({ see: true, steer: true, actor: "ann" }), path } = options
    const dashboard = Dashboard.layer({ access, ...(path === undefined ? {} : { path }) })
    const routes = Layer.merge(dashboard, HttpRouter.add("GET", "/work", Effect.fail("broken")))
    const breaker = HttpServerBreaker.layer("inbound")
    const app = routes.pipe(
      Layer.provide(breaker),
      Layer.provide(Layer.succeedContext(context)),
      Layer.provide(HttpServer.layerServices)
    )
    const { dispose, handler } = HttpRouter.toWebHandler(app as Layer.Layer<never>, { disableLogger: true })
    yield* Effect.addFinalizer(() => Effect.promise(dispose))
    const send = (url: string, init?: RequestInit) =>
      Effect.promise(() => (handler as Handler)(new Request(`http://app.test${url}`, init)))
    const run = <A, E>(effect: Effect.Effect<A, E, BreakerStore.BreakerStore>) => Effect.provideContext(effect, context)
    return { send, run }
  })

const failing = (name: string, key?: string) =>
  Effect.ignore(
    CircuitBreaker.protect(Effect.fail(new Error("connect ECONNREFUSED")), name, key === undefined ? {} : { key })
  )

const action = (body: unknown, headers: Record<string, string> = {}): RequestInit => {
  const text = typeof body === "string" ? body : JSON.stringify(body)
  return {
    method: "POST",
    body: text,
    headers: {
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(text)),
      "sec-fetch-site": "same-origin",
      ...headers
    }
  }
}

const isolate = { action: "isolate", name: "api", reason: "drill" }

/** The messages of the event stream, as they arrive. */
const listen = (response: Response): Effect.Effect<() => Promise<string>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const reader = response.body?.getReader()
    assert.isDefined(reader)
    yield* Effect.addFinalizer(() => Effect.promise(() => reader?.cancel() ?? Promise.resolve()))
    let left = ""
    return async () => {
      while (!left.includes("\n\n")) left += new TextDecoder().decode((await reader?.read())?.value)
      const end = left.indexOf("\n\n")
      const message = left.slice(0, end)
      left = left.slice(end + 2)
      return message
    }
  })

const dataOf = (message: string) => JSON.parse(/^data: (.*)$/m.exec(message)?.[1] ?? "null")
const idOf = (message: string) => /^id: (.*)$/m.exec(message)?.[1] ?? ""

describe("the files of the page", () => {
  it.live("are served with a strict policy, and only those with a changing name are kept by the browser", () =>
    Effect.gen(function* () {
      const { send } = yield* page()
      const index = yield* send("/circuits/")
      const html = yield* Effect.promise(() => index.text())
      assert.strictEqual(index.status, 200)
      const policy = index.headers.get("content-security-policy") ?? ""
      assert.match(policy, /default-src 'none'/)
      assert.match(policy, /frame-ancestors 'none'/)
      assert.notMatch(policy, /unsafe|\*|https?:/)
      assert.strictEqual(index.headers.get("x-content-type-options"), "nosniff")
      assert.strictEqual(index.headers.get("cache-control"), "no-store")
      const script = /src="\.\/(effect-fuse\/[^"]+\.js)"/.exec(html)?.[1]
      const loaded = yield* send(`/circuits/${script}`, { headers: { "accept-encoding": "gzip, br" } })
      assert.match(loaded.headers.get("content-type") ?? "", /^text\/javascript/)
      assert.match(loaded.headers.get("cache-control") ?? "", /immutable/)
      assert.strictEqual(loaded.headers.get("content-encoding"), "gzip")
      yield* Effect.promise(() => loaded.arrayBuffer())
      // Nothing comes from another server.
      assert.notMatch(html, /(?:src|href)="(?:https?:)?\/\//)
    })
  )

  it.effect("have less than 80 kB in total, compressed", () =>
    Effect.gen(function* () {
      const files = yield* makeFiles()
      const size = [...files.values()].reduce((sum, { gzip }) => sum + gzip.byteLength, 0)
      assert.isBelow(size, 80_000)
      assert.isAbove(size, 20_000)
    })
  )

  it.live.each([
    ["/circuits", 307],
    ["/circuits/", 200],
    ["/circuits/icon.svg", 200],
    ["/circuits/nothing", 404],
    ["/circuits/effect-fuse/../../package.json", 404],
    ["/circuits/effect-fuse/%2e%2e/%2e%2e/package.json", 404],
    ["/circuits/..%2f..%2fpackage.json", 404],
    ["/other", 404]
  ] as const)("%s answers %i", ([url, status]) =>
    Effect.gen(function* () {
      const { send } = yield* page()
      assert.strictEqual((yield* send(url)).status, status)
    })
  )

  it.live("are served while the breaker of the router rejects every other request", () =>
    Effect.gen(function* () {
      const { run, send } = yield* page()
      yield* send("/circuits/")
      yield* run(CircuitBreaker.isolate("inbound"))
      assert.strictEqual((yield* send("/work")).status, 503)
      for (const url of ["/circuits", "/circuits/", "/circuits/icon.svg"]) {
        assert.isBelow((yield* send(url)).status, 400, url)
      }
    })
  )
})

describe("access", () => {
  it.live.each(["/circuits/", "/circuits/api/events", "/circuits/api/circuit?id=api", "/circuits/icon.svg"])(
    "%s is refused to a sender who may not see the page",
    (url) =>
      Effect.gen(function* () {
        const { send } = yield* page({ access: () => Effect.succeed({ see: false, steer: true }) })
        assert.strictEqual((yield* send(url)).status, 403)
      })
  )

  const post = "/circuits/api/action"
  it.live.each([
    ["a sender who may only look", { steer: false }, action(isolate), 403],
    ["another site", { steer: true }, action(isolate, { "sec-fetch-site": "cross-site" }), 403],
    ["another site of the same domain", { steer: true }, action(isolate, { "sec-fetch-site": "same-site" }), 403],
    ["a form", { steer: true }, action(isolate, { "content-type": "text/plain" }), 415],
    ["a GET", { steer: true }, {}, 405],
    ["a body without a length", { steer: true }, action(isolate, { "content-length": "" }), 413],
    ["a long body", { steer: true }, action({ ...isolate, reason: "x".repeat(20_000) }), 413],
    ["a body that is not JSON", { steer: true }, action("isolate"), 400],
    ["an unknown action", { steer: true }, action({ ...isolate, action: "constructor" }), 400],
    ["a name that no process uses", { steer: true }, action({ ...isolate, name: "apu" }), 404],
    ["a key of the wrong type", { steer: true }, action({ ...isolate, key: 7 }), 400],
    ["an endless reason", { steer: true }, action({ ...isolate, reason: "x".repeat(501) }), 400]
  ] as const)("an action from %s is refused, and changes nothing", ([, { steer }, init, status]) =>
    Effect.gen(function* () {
      const { run, send } = yield* page({ access: () => Effect.succeed({ see: true, steer }) })
      yield* run(failing("api"))
      const response = yield* send(post, init as RequestInit)
      assert.strictEqual(response.status, status, yield* Effect.promise(() => response.text()))
      assert.strictEqual(yield* run(CircuitBreaker.state("api")), "Closed")
    })
  )

  it.live("an action from the page has the actor from the application", () =>
    Effect.gen(function* () {
      const { run, send } = yield* page()
      yield* run(failing("api"))
      const response = yield* send(post, action({ ...isolate, actor: "mallory", forMillis: 60_000 }))
      assert.deepStrictEqual(yield* Effect.promise(() => response.json()), { state: "Isolated", processes: 1 })
      const { cause, overrides, state } = yield* run(CircuitBreaker.inspect("api"))
      assert.deepStrictEqual([state, cause?.detail, cause?.actor], ["Isolated", "drill", "ann"])
      assert.approximately((overrides[0]?.until ?? 0) - Date.now(), 60_000, 20_000)
    })
  )

  it.live("the actor of the request counts if the application gives no actor", () =>
    Effect.gen(function* () {
      const { run, send } = yield* page({ access: () => Effect.succeed({ see: true, steer: true }) })
      yield* run(failing("api"))
      yield* send(post, action({ ...isolate, actor: "bob" }))
      assert.strictEqual((yield* run(CircuitBreaker.inspect("api"))).cause?.actor, "bob")
    })
  )
})

describe("the origin of a request", () => {
  it.each([
    ["the page", true, { "sec-fetch-site": "same-origin" }],
    ["another site", false, { "sec-fetch-site": "cross-site", origin: "https://app.test", host: "app.test" }],
    ["the page, in an old browser", true, { origin: "https://app.test", host: "app.test" }],
    ["another port, in an old browser", false, { origin: "https://app.test:444", host: "app.test" }],
    ["another site, in an old browser", false, { origin: "https://evil.test", host: "app.test" }],
    ["a sandboxed page, in an old browser", false, { origin: "null", host: "app.test" }],
    ["a sandboxed page, without a host", false, { origin: "null" }],
    ["no browser", false, { host: "app.test" }]
  ])("%s is the same origin: %s", (_, expected, headers) => {
    assert.strictEqual(isSameOrigin({ headers: Headers.fromInput(headers) }), expected)
  })
})

describe("the events", () => {
  it.live("begin with all circuits, and continue with the changes", () =>
    Effect.gen(function* () {
      const { run, send } = yield* page()
      yield* run(failing("api"))
      const next = yield* listen(yield* send("/circuits/api/events"))
      const first = yield* Effect.promise(next)
      assert.match(first, /^event: view$/m)
      const view = dataOf(first)
      assert.deepStrictEqual(view.rights, { steer: true, actor: "ann" })
      assert.deepStrictEqual(
        view.circuits.map(({ name, state }: { name: string; state: string }) => [name, state]),
        [["api", "Closed"]]
      )
      assert.strictEqual(view.circuits[0].traffic.failures, 1)
      yield* run(failing("api"))
      yield* run(failing("shop", "tenant"))
      yield* run(failing("shop", "tenant"))
      const change = dataOf(yield* Effect.promise(next))
      assert.deepStrictEqual(
        change.circuits.map(({ key, name, rolledUp, state }: Record<string, unknown>) => [name, key, state, rolledUp]),
        [
          ["api", undefined, "Open", false],
          ["shop", undefined, "Open", true],
          ["shop", "tenant", "Open", false]
        ]
      )
      assert.match(change.circuits[0].why, /2 failures in a row/)
      assert.deepStrictEqual(
        change.transitions.map(({ from, name, to }: Record<string, unknown>) => [name, from, to]),
        [
          ["api", "Closed", "Open"],
          ["shop", "Closed", "Open"]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.live("resume after the last message that the viewer has", () =>
    Effect.gen(function* () {
      const { run, send } = yield* page()
      yield* run(failing("api"))
      const next = yield* listen(yield* send("/circuits/api/events"))
      const id = idOf(yield* Effect.promise(next))
      yield* run(failing("api"))
      const change = yield* Effect.promise(next)
      const resumed = yield* listen(yield* send("/circuits/api/events", { headers: { "last-event-id": id } }))
      assert.strictEqual(yield* Effect.promise(resumed), change)
      for (const unknown of ["", "x", `${id}9`, "other-1"]) {
        const begun = yield* listen(yield* send("/circuits/api/events", { headers: { "last-event-id": unknown } }))
        assert.match(yield* Effect.promise(begun), /^event: view$/m, unknown)
      }
    }).pipe(Effect.scoped)
  )

  it.live("carry no secret and no endless text", () =>
    Effect.gen(function* () {
      const { run, send } = yield* page()
      const secret = Effect.fail(new Error(`password=hunter2 at postgres://u:hunter2@db ${"x".repeat(5_000)}`))
      for (let i = 0; i < 2; i++) yield* run(Effect.ignore(CircuitBreaker.protect(secret, "api")))
      yield* run(CircuitBreaker.isolate("api", { reason: `\u202e${"y".repeat(5_000)}` }))
      const next = yield* listen(yield* send("/circuits/api/events"))
      const message = yield* Effect.promise(next)
      assert.notInclude(message, "hunter2")
      assert.notInclude(message, "\u202e")
      assert.isBelow(message.length, 5_000)
      const detail = yield* send("/circuits/api/circuit?id=api")
      const text = yield* Effect.promise(() => detail.text())
      assert.notInclude(text, "hunter2")
      assert.include(text, "failures")
      assert.isBelow(text.length, 8_000)
    }).pipe(Effect.scoped)
  )
})

describe("the options", () => {
  it.each([
    [{}, /access/],
    [{ access: true }, /access/],
    [{ access: () => Effect.succeed({ see: true, steer: false }), path: "circuits" }, /path/]
  ])("%j are refused, with the name of the field", (options, message) => {
    assert.throws(() => Dashboard.layer(options as never), message)
  })

  it.live.each(["/", "/ops/circuits"] as const)("the page can be at %s", ([...path]) =>
    Effect.gen(function* () {
      const { send } = yield* page({ path: path.join("") as `/${string}` })
      const base = path.join("").replace(/\/$/, "")
      assert.strictEqual((yield* send(`${base}/`)).status, 200)
      assert.strictEqual((yield* send(`${base}/icon.svg`)).status, 200)
      assert.strictEqual((yield* send(`${base}/api/circuit?id=none`)).status, 404)
    })
  )
})
