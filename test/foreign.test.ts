import net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Effect } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import * as Redis from "effect/persistence/Redis"
import { foreignMessage, foreignText, withoutSecrets } from "../src/core/foreign.ts"
import { StoreError } from "../src/store/SharedStore.ts"
import { either, oneOf, runs, text, unprintable } from "./support/garbage.ts"
import { freePort } from "./support/redisServer.ts"

const coded = (message: string, code: string | number, cause?: unknown) =>
  Object.assign(new Error(message, { cause }), { code })

const cycle = () => {
  const [a, b] = [new Error("a is down"), new Error("b is down")]
  a.cause = b
  b.cause = a
  return a
}

const hostile = new Proxy(new Error("hidden"), {
  get: () => {
    throw new Error("no")
  },
  getPrototypeOf: () => {
    throw new Error("no")
  }
})

class Refused extends Data.TaggedError("Refused")<{ readonly message: string; readonly reason?: unknown }> {}

describe("the text of a foreign error", () => {
  it.each<readonly [what: string, error: unknown, text: string]>([
    ["an error", new TypeError("wrong"), "TypeError: wrong"],
    ["an error without a message", new TypeError(""), "TypeError"],
    ["a code that the message does not have", coded("it failed", "ECONNRESET"), "Error: it failed (ECONNRESET)"],
    ["a code that the message has", coded("read ECONNRESET", "ECONNRESET"), "Error: read ECONNRESET"],
    ["a status", Object.assign(new Error("no answer"), { status: 503 }), "Error: no answer (503)"],
    ["a small number, which names nothing", coded("it failed", 5), "Error: it failed"],
    [
      "a cause with a code of the system",
      new TypeError("fetch failed", { cause: coded("connect ECONNREFUSED 127.0.0.1:1", "ECONNREFUSED") }),
      "TypeError: fetch failed (ECONNREFUSED)"
    ],
    [
      "a cause with a code that explains nothing",
      new Error("query failed", { cause: coded("permission denied for table orders", "42501") }),
      "Error: query failed (permission denied for table orders, 42501)"
    ],
    ["a cause without a code", new Error("outer", { cause: new Error("inner") }), "Error: outer (inner)"],
    [
      "a long message that a cause repeats",
      new Error(`the query failed: ${"no right. ".repeat(12)}`, { cause: new Error("no right. ".repeat(12)) }),
      `Error: the query failed: ${"no right. ".repeat(12).trim()}`
    ],
    ["a cause that is a text", new Error("outer", { cause: "inner" }), "Error: outer (inner)"],
    [
      "causes of causes, each once",
      new Error("a", { cause: coded("b", "EPIPE", coded("c", "EPIPE", coded("d", "ENOTFOUND"))) }),
      "Error: a (EPIPE, ENOTFOUND)"
    ],
    [
      "several errors without a message, each once",
      new AggregateError([coded("1", "ECONNREFUSED"), coded("2", "ECONNREFUSED"), coded("3", "ENETUNREACH")]),
      "AggregateError (ECONNREFUSED, ENETUNREACH)"
    ],
    [
      "several errors without codes",
      new AggregateError([new Error("read ECONNRESET"), new Error("b")], ""),
      "AggregateError (read ECONNRESET, b)"
    ],
    ["a reason", new Refused({ message: "no", reason: { _tag: "Quota", code: "EX1" } }), "Refused: no (EX1)"],
    [
      "a Redis error of Effect",
      new Redis.RedisError({ cause: new Error("WRONGPASS invalid pair") }),
      "RedisError (WRONGPASS invalid pair)"
    ],
    [
      "an error of a store",
      new StoreError({ operation: "page", cause: new Error("NOAUTH Authentication required.") }),
      "StoreError: The store failed to page: NOAUTH Authentication required."
    ],
    [
      "the original error of a client",
      Object.assign(new Error("gave up"), {
        originalError: coded("self-signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT")
      }),
      "Error: gave up (self-signed certificate, DEPTH_ZERO_SELF_SIGNED_CERT)"
    ],
    ["an object with a tag", { _tag: "Down", status: 503, body: "not read" }, "Down (503)"],
    ["an object with a message", { message: "it is closed" }, "it is closed"],
    ["an object that says nothing", { password: "secret" }, "an object"],
    ["a text", "boom", "boom"],
    ["nothing", undefined, "undefined"],
    ["a symbol", Symbol("x"), "Symbol(x)"],
    ["a bigint", 5n, "5n"],
    ["a function", () => 1, "a function"],
    ["a cycle", cycle(), "Error: a is down (b is down)"],
    ["an error that cannot be read", hostile, "an object"],
    ["a Cause with a failure", Cause.fail(new TypeError("wrong")), "TypeError: wrong"],
    [
      "a Cause with several reasons: the failure comes first",
      Cause.fromReasons([
        Cause.makeDieReason(new Error("dead")),
        Cause.makeFailReason(coded("x", "EPIPE")),
        Cause.makeInterruptReason(1)
      ]),
      "Error: x (EPIPE, dead)"
    ],
    ["a Cause of interrupts", Cause.interrupt(1), "interrupted"],
    [
      "a Cause as the cause of an error",
      new Error("outer", { cause: Cause.fail(coded("x", "EPIPE")) }),
      "Error: outer (EPIPE)"
    ],
    ["several lines", new Error("first\n  second\tthird"), "Error: first second third"]
  ])("of %s", (_, error, text) => {
    assert.strictEqual(foreignText(error), text)
  })

  it("can be without the kind, if there is a message", () => {
    assert.strictEqual(foreignMessage(new TypeError("wrong")), "wrong")
    assert.strictEqual(foreignMessage(new TypeError("")), "TypeError")
    assert.strictEqual(foreignMessage(coded("it failed", "EPIPE")), "it failed (EPIPE)")
  })

  it.live("of a connection that is refused, as Node and Effect report it", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const url = `http://localhost:${port}/v1/items?api_key=hunter2`
      const ofFetch = yield* Effect.flip(Effect.tryPromise({ try: () => fetch(url), catch: (error) => error }))
      assert.strictEqual(foreignText(ofFetch), "TypeError: fetch failed (ECONNREFUSED)")
      const ofSocket = yield* Effect.flip(
        Effect.callback<never, unknown>((resume) => {
          net.connect({ host: "localhost", port }).on("error", (error) => resume(Effect.fail(error)))
        })
      )
      assert.include(foreignText(ofSocket), "ECONNREFUSED")
      const ofClient = yield* Effect.flip(HttpClient.get(url)).pipe(Effect.provide(FetchHttpClient.layer))
      assert.strictEqual(
        foreignText(ofClient),
        `HttpClientError: Transport error (GET http://localhost:${port}) (fetch failed, ECONNREFUSED)`
      )
    })
  )

  it("stays short and reads a bounded number of causes, even if a getter makes a new cause at each read", () => {
    let made = 0
    class Endless extends Error {
      override get cause(): unknown {
        return new Endless(`cause ${made++}`)
      }
    }
    assert.isAtMost(foreignText(new Endless("first")).length, 300)
    assert.isAtMost(made, 20)
    const wide = new AggregateError(Array.from({ length: 10_000 }, (_, i) => new Error(`error ${i}`)))
    assert.isAtMost(foreignText(wide).length, 300)
    for (const big of ["x", "a=", "token", '"', "http://", "a:b ", "-", "?", "redis://u:", "\\", "\n", "password "]) {
      assert.isAtMost(foreignText(new Error(big.repeat(100_000))).length, 300)
    }
  })

  it("takes linear time, also on texts that are made to be slow", { timeout: 30_000 }, () => {
    const repeated = ["x-key", "x-x-key", "tokenx-key", "pwd", "http://a: ", "token ", '"a', "?a=", "a:", "a:a/", "a@"]
    const hostile = [
      ...repeated.map((part) => part.repeat(2_000 / part.length)),
      `?${"a".repeat(1_900)} ${"b".repeat(2_000)}`,
      "hello world ".repeat(500_000)
    ]
    for (const text of hostile) {
      for (let i = 0; i < 500; i++) withoutSecrets(text)
      assert.isAtMost(foreignText(text).length, 300)
    }
  })

  const anything = either(
    text,
    either(
      oneOf<unknown>([
        undefined,
        null,
        0,
        Number.NaN,
        {},
        [],
        hostile,
        cycle(),
        Object.create(null),
        new Map(),
        new Date(Number.NaN)
      ]),
      oneOf<unknown>([
        Symbol.iterator,
        class {},
        new Proxy({}, {}),
        Object.freeze([1]),
        new (class extends Error {})("x")
      ])
    )
  )
  it.prop(
    "is one printable line of bounded length, whatever it is",
    [anything, anything, anything, anything, anything],
    ([message, name, code, cause, reason]) => {
      const object = { message, name, code, cause, reason, errors: [cause, reason], reasons: cause, _tag: name }
      for (const error of [
        message,
        object,
        Object.assign(new Error("x"), object),
        new Error(String(typeof cause), { cause: object })
      ]) {
        const told = foreignText(error)
        assert.isAtMost(told.length, 300)
        assert.notMatch(told, unprintable)
        assert.notMatch(told, /\p{Cs}/u)
        assert.isAtMost(foreignMessage(error).length, 300)
      }
    },
    runs("foreign", 300)
  )
})

describe("a text without its secrets", () => {
  it.each([
    ["GET https://ann:pw@api.example.com:8443/v1/x?key=abc#frag failed", "GET https://api.example.com:8443 failed"],
    ["see http://localhost:3000. And more", "see http://localhost:3000. And more"],
    ["https://discord.com/api/users/@me 401", "https://discord.com 401"],
    ["GET http://[::1]:3000/x?a=b", "GET http://[::1]:3000"],
    ["mongodb+srv://u:p@a.net,b.net:27017/db?x=1", "mongodb+srv://a.net,b.net:27017"],
    ["redis://:p@ss/w:o@rd@host:6379/0 no", "redis://*** no"],
    ["connect ann:pw@db.example.com:5432 failed", "connect ***@db.example.com:5432 failed"],
    ["mail to ann@example.com: refused", "mail to ann@example.com: refused"],
    ["at node_modules/.pnpm/effect@4.1.0/index.js:10:5", "at node_modules/.pnpm/effect@4.1.0/index.js:10:5"],
    ["postgres://u:123/456@host", "postgres://***"],
    ["/v1/x?key=1&b=2 failed", "/v1/x failed"],
    ["Server=db;User Id=sa;Password=p@ss w;Encrypt=true", "Server=db;User Id=sa;Password=***;Encrypt=true"],
    ['{"password":"a \\" b","x":1}', '{"password":***,"x":1}'],
    ["password='a \\\nb'", "password=***"],
    ["password: )x, again", "password: ***, again"],
    ["password=YES-or-no", "password=***"],
    ["password: no one knows it", "password: ***"],
    ["Authorization: Bearer abc.def", "Authorization: ***"],
    [
      "Access denied for user 'root'@'db' (using password: YES)",
      "Access denied for user 'root'@'db' (using password: YES)"
    ],
    [
      "WRONGPASS invalid username-password pair or user is disabled.",
      "WRONGPASS invalid username-password pair or user is disabled."
    ],
    ['password authentication failed for user "app"', 'password authentication failed for user "app"'],
    [
      "getaddrinfo ENOTFOUND payments-prod-v2-internal.svc.cluster.local",
      "getaddrinfo ENOTFOUND payments-prod-v2-internal.svc.cluster.local"
    ],
    ["Stream closed with error code ERR_HTTP2_STREAM_ERROR", "Stream closed with error code ERR_HTTP2_STREAM_ERROR"],
    ["request 550e8400-e29b-41d4-a716-446655440000 failed", "request *** failed"],
    ["connect ECONNREFUSED ::1:1999", "connect ECONNREFUSED ::1:1999"],
    ["5 failures in the last 10 calls (limit 5)", "5 failures in the last 10 calls (limit 5)"],
    ["HTTP 503", "HTTP 503"]
  ])("%s", (before, after) => {
    assert.strictEqual(withoutSecrets(before), after)
    assert.strictEqual(foreignText(before), after)
    assert.strictEqual(foreignText(new Error(before)), `Error: ${after}`)
  })
})
