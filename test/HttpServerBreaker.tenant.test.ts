import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, pipe } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { BreakerStore, CircuitBreaker, Tenant } from "effect-fuse"
import { HttpServerBreaker } from "effect-fuse/http"
import { answer, get, seen, serving } from "./support/httpServing.ts"
import { scenario } from "./support/verbs.ts"

describe("the tenant of a request", () => {
  const who = Effect.map(Tenant.Current, (tenant) => HttpServerResponse.jsonUnsafe({ tenant: tenant ?? null }))
  const route = (tenant: boolean | HttpServerBreaker.TenantOptions | undefined = true) =>
    serving(HttpRouter.add("GET", "/who", pipe(who, HttpServerBreaker.protect("reports", { tenant }))))

  it.live("has its own circuit, and is the tenant of every call that the handler makes", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("reports", { key: "acme" })
      assert.deepInclude((yield* seen("/who", { "X-Tenant-ID": "acme" })).body, { tenant_id: "acme" })
      assert.deepStrictEqual((yield* seen("/who", { "X-Tenant-ID": "other" })).body, { tenant: "other" })
      assert.deepStrictEqual((yield* seen("/who")).body, { tenant: null })
    }).pipe(Effect.provide(route()))
  )

  it.live.each([
    ["empty", ""],
    ["longer than 256 characters", "x".repeat(257)],
    ["with a space", "a b"],
    ["of two headers", "a, b"],
    ["not ASCII", "caf\u00e9"],
    ["with a slash, which is for keys", "a/b"],
    ["with a per cent sign", "a%2Fb"]
  ] as const)("%s: the response is 400 and does not repeat the header", ([, tenant]) =>
    Effect.gen(function* () {
      const { body, status } = yield* seen("/who", { "x-tenant-id": tenant })
      assert.strictEqual(status, 400)
      assert.deepStrictEqual(body, {
        error: "invalid_tenant",
        detail: "The header x-tenant-id does not name a tenant"
      })
      assert.deepStrictEqual(yield* CircuitBreaker.list, [])
    }).pipe(Effect.provide(route()))
  )

  it.live("has at most 256 characters", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* get("/who", { "x-tenant-id": "x".repeat(256) })).status, 200)
    }).pipe(Effect.provide(route()))
  )

  it.live("heeds the options header, maxLength, pattern and required", () =>
    Effect.gen(function* () {
      const status = (tenant: string) => Effect.map(get("/who", { org: tenant }), ({ status }) => status)
      assert.deepStrictEqual(
        yield* Effect.all([
          status("t-1"),
          status("t-1"),
          status("t-123"),
          status("x-1"),
          status("t-1x"),
          status("xt-1")
        ]),
        [200, 200, 400, 400, 400, 400]
      )
      assert.strictEqual((yield* get("/who")).status, 400)
    }).pipe(Effect.provide(route({ header: "Org", maxLength: 4, pattern: /t-\d+/gy, required: true })))
  )

  for (const tenant of [undefined, false] as const) {
    it.live(`is not read with ${tenant}: any client could bypass an open circuit with a tenant of its own`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* seen("/who", { "x-tenant-id": "acme" })).body, { tenant: null })
        yield* CircuitBreaker.isolate("reports")
        for (const value of ["acme", "fresh-1", "a/b"]) {
          assert.strictEqual((yield* get("/who", { "x-tenant-id": value })).status, 503)
        }
      }).pipe(
        Effect.provide(
          serving(
            HttpRouter.add(
              "GET",
              "/who",
              pipe(who, HttpServerBreaker.protect("reports", tenant === undefined ? {} : { tenant }))
            )
          )
        )
      )
    )
  }

  it.live("may be any number of tenants: the store bounds the number of circuits", () => {
    const routes = HttpRouter.add("GET", "/who", pipe(who, HttpServerBreaker.protect("reports", { tenant: true })))
    const App = HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layerTest),
      Layer.provideMerge(Layer.orDie(BreakerStore.layerMemoryWith({ maxCircuits: 10 })))
    )
    return Effect.gen(function* () {
      for (let i = 0; i < 50; i++) yield* get("/who", { "x-tenant-id": `t${i}` })
      assert.isAtMost((yield* BreakerStore.stats).circuits, 11)
    }).pipe(Effect.provide(App))
  })

  scenario("matches the pattern with the flags of the pattern", {}, function* () {
    const statuses: Array<number> = []
    for (const [pattern, tenant] of [
      [/acme/, "ACME"],
      [/acme/i, "ACME"]
    ] as const) {
      statuses.push((yield* answer({ tenant: { pattern } }, { "x-tenant-id": tenant })).status)
    }
    assert.deepStrictEqual(statuses, [400, 500])
  })

  scenario("that is missing is refused in the format that `respond` names", {}, function* () {
    const types: Array<string | undefined> = []
    for (const respond of ["json", "problem"] as const) {
      const { headers } = yield* answer({ respond, tenant: { required: true } })
      types.push(headers["content-type"])
    }
    assert.deepStrictEqual(types, ["application/json", "application/problem+json"])
  })
})
