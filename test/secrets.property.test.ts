import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Data, Effect, Exit, Layer, Logger, Schema, Stream } from "effect"
import { HttpClientError, HttpClientRequest, HttpRouter } from "effect/http"
import * as Redis from "effect/persistence/Redis"
import { SqlClient } from "effect/sql"
import * as SqlError from "effect/sql/SqlError"
import {
  type BreakerEvent,
  BreakerHealth,
  BreakerPolicy,
  BreakerStore,
  CircuitBreaker,
  CircuitOpen,
  MemoryStore,
  Outcome,
  SharedStore,
  Trip
} from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import { BreakerRoutes } from "effect-fuse/http"
import { createBreaker, trip } from "effect-fuse/promise"
import { oneOf, runs } from "./support/garbage.ts"
import { until } from "./support/redisFleet.ts"
import { recordedSpans } from "./support/spans.ts"
import { sqlite } from "./support/sqlite.ts"

// Any error of a call may contain a secret. Nothing that the library shows or stores of that error may contain the secret.

const letters = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9]{4,12}$/))
/** A text that no other output contains, so that a test can search for it. */
const secret = Arbitrary.map(Arbitrary.schema(letters), (text) => `Zq9x${text}7kW`)

const base64 = (text: string) => Buffer.from(text).toString("base64")

/** The messages of errors that contain a secret. */
const messages: ReadonlyArray<(secret: string) => string> = [
  (s) => `request to https://api.example.com/v1/items?key=${s} failed`,
  (s) => `GET https://ann:${s}@api.example.com/x failed`,
  (s) => `GET https://${s}@api.example.com/x failed`,
  (s) => `https://hooks.example.com/services/T0/${s}/x returned 500`,
  (s) => `https://example.com/cb#access_token=${s}`,
  (s) => `connect redis://:${s}@cache:6379/0 failed`,
  (s) => `connect redis://default:a/${s}@cache:6379`,
  (s) => `connect redis://default:${s} b@cache:6379`,
  (s) => `connect redis://default:b ${s}@cache:6379`,
  (s) => `Invalid URL 'postgres://app:b@d/${s}@db/shop'`,
  (s) => `jdbc:mysql://db/shop?user=app&password=${s}`,
  (s) => `connect ann:${s}@db.example.com:5432/shop failed`,
  (s) => `jdbc:oracle:thin:ann/${s}@db:1521`,
  (s) => `dsn ann:${s}@tcp(db:3306)/shop`,
  (s) => `Server=db;User Id=sa;Password=${s};Encrypt=true`,
  (s) => `host=db password=${s} user=app`,
  (s) => `password: "${s} with spaces" is wrong`,
  (s) => `passphrase '${s}', again`,
  (s) => `wrong passwd:\n${s}`,
  (s) => `body: {"apiKey":"a \\"${s}","a":1}`,
  (s) => `body: "{\\"token\\":\\"a ${s}\\"}"`,
  (s) => `Authorization: Bearer ${s}`,
  (s) => `{ headers: { authorization: 'Basic ${base64(`ann:${s}`)}', 'x-api-key': '${s}' } }`,
  (s) => `Cookie: sid=${s}; other=1`,
  (s) => `x-api-key: ${s}`,
  (s) => `Command failed: mysql -u root -p${s} shop\nERROR 1045`,
  (s) => `curl --token ${s} https://example.com`,
  (s) => `Failed query: insert into users values ($1)\nparams: ann,${s}`,
  (s) => `Unexpected token 'x', "${s}" is not valid JSON`,
  (s) => `GET /v1/items?signature=${s}&x=1 failed`,
  (s) => `client_secret=${s}`,
  (s) => `SECRET_KEY => '${s}'`,
  (s) => `AWS4-HMAC-SHA256 Credential=${s}/20260101, Signature=${s}`,
  (s) => `-----BEGIN PRIVATE KEY-----\n${s}\n-----END PRIVATE KEY-----`,
  (s) => `invalid key sk_live_${s}`,
  (s) => `invalid key ${s}${s}`,
  (s) => `jwt eyJhbGciOiJIUzI1NiJ9.${s}.${s}`,
  // The message is longer than what is read, and the cut is within the secret.
  (s) => `${"word ".repeat(394)}https://u:${s.slice(0, 5)}${s}@a.example.com/`,
  (s) => `${"word ".repeat(38)}token=${s}`
]

class Tagged extends Data.TaggedError("Tagged")<{ readonly message: string }> {}

const request = (secret: string) =>
  HttpClientRequest.get(`https://ann:${secret}@api.example.com/v1/${secret}`, {
    urlParams: { key: secret },
    headers: { authorization: `Bearer ${secret}`, "x-api-key": secret }
  })

/** The errors of a call that contain such a message. */
const errors: ReadonlyArray<(message: string, secret: string) => unknown> = [
  (message) => new Error(message),
  (message) => message,
  (message) => new Tagged({ message }),
  (message) => ({ _tag: "Down", message, code: message, status: 503 }),
  (message) => ({ name: message, message: "down" }),
  (message) => Object.assign(new Error("down"), { code: message, name: message }),
  (message) => new TypeError("fetch failed", { cause: new Error(message) }),
  (message) => new Error("outer", { cause: { reason: message, errors: [message] } }),
  (message) => new AggregateError([new Error(message), message], ""),
  (message) => Object.assign(new Error("gave up"), { originalError: new Error(message) }),
  (message) => new Redis.RedisError({ cause: new Error(message) }),
  (message) => new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause: new Error(message), message }) }),
  (message, secret) =>
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.TransportError({
        request: request(secret),
        cause: new Error(message),
        description: message
      })
    }),
  (message, secret) =>
    Object.assign(new Error("Request failed with status code 500"), {
      config: { headers: { authorization: secret }, url: message },
      response: { data: secret, status: 500 },
      sql: message,
      parameters: [secret],
      stderr: message,
      cmd: message
    }),
  (message) => new Error("outer", { cause: Cause.die(new Error(message)) }),
  (message) => new Proxy(new Error(message), {})
]

/** The ways in which the library meets such an error. */
const ways: ReadonlyArray<
  (error: unknown, message: string) => Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
> = [
  (error) => CircuitBreaker.protect(Effect.fail(error), "api"),
  (error) => CircuitBreaker.protect(Effect.die(error), "api"),
  (error) =>
    CircuitBreaker.protect(
      Effect.failCause(
        Cause.fromReasons([Cause.makeFailReason("a"), Cause.makeDieReason(error), Cause.makeFailReason(error)])
      ),
      "api"
    ),
  (_, message) =>
    CircuitBreaker.protect(Effect.void, "api", {
      classify: () => Outcome.failure({ detail: message, retryAfter: "1 second" })
    }),
  (error) =>
    CircuitBreaker.protect(Effect.fail("x"), "api", {
      classify: () => {
        throw error
      }
    }),
  (error) => CircuitBreaker.protect(Effect.fail(error), "thrower"),
  (error) => Effect.flatMap(CircuitBreaker.admit("api"), (permit) => CircuitBreaker.settle(permit, Exit.fail(error)))
]

/** Everything that the library logs, returns, sends or stores while a call fails in this way. */
const told = (error: unknown, message: string, way: (typeof ways)[number]) =>
  Effect.gen(function* () {
    const said: Array<unknown> = []
    const logger = Logger.make((options) => {
      said.push(Logger.formatJson.log(options), Logger.formatLogFmt.log(options))
    })
    const shared = yield* MemoryStore.make
    const store = BreakerStore.layerShared(
      {
        ...shared,
        exchange: (asked) => {
          said.push(...asked.swaps.map(({ body }) => body))
          return shared.exchange(asked)
        }
      },
      { syncInterval: "1 second" }
    )
    const thrower = Trip.custom("thrower", () => {
      throw error
    })
    const policies = BreakerPolicy.layer({
      trips: [thrower],
      default: { trip: Trip.consecutive(1), cooldown: "20 millis" },
      breakers: { thrower: { trip: thrower } }
    })
    const database = sqlite(":memory:")
    const trail = AuditTrail.layer({ flushInterval: 0, prefix: "trail" })
    const { spans, tracer } = recordedSpans()
    const program = Effect.gen(function* () {
      const events: Array<BreakerEvent.BreakerEvent> = []
      yield* Effect.forkScoped(
        Stream.runForEach(CircuitBreaker.events, (event) => Effect.sync(() => events.push(event))),
        { startImmediately: true }
      )
      const call = Effect.exit(way(error, message)).pipe(Effect.withSpan("call"), Effect.withTracer(tracer))
      const reject = Effect.flip(CircuitBreaker.protect(Effect.void, "api")).pipe(
        Effect.tap((open) =>
          Effect.sync(() =>
            said.push(
              open.message,
              String(open),
              JSON.stringify(open),
              Schema.encodeUnknownSync(CircuitOpen.CircuitOpen)(open)
            )
          )
        ),
        Effect.ignore
      )
      yield* call
      yield* reject
      // A probe fails with the same error.
      yield* Effect.sleep("30 millis")
      yield* call
      yield* reject.pipe(Effect.withSpan("rejected"), Effect.withTracer(tracer))
      said.push(yield* CircuitBreaker.list, yield* BreakerHealth.check, yield* BreakerStore.exportAll)
      const registry = yield* BreakerStore.BreakerStore
      for (const keys of [true, false]) {
        const routes = Layer.provide(BreakerRoutes.layer({ keys }), Layer.succeed(BreakerStore.BreakerStore, registry))
        const { dispose, handler } = HttpRouter.toWebHandler(routes, { disableLogger: true })
        for (const path of ["health", "breakers"]) {
          said.push(yield* Effect.promise(async () => (await handler(new Request(`http://local/${path}`))).text()))
        }
        yield* Effect.promise(dispose)
      }
      yield* AuditTrail.flush
      const sql = yield* SqlClient.SqlClient
      for (const table of ["trail_events", "trail_states"]) said.push(yield* sql`SELECT * FROM ${sql(table)}`)
      said.push((yield* shared.page(0, SharedStore.limits.page)).changes, events)
      return events.length
    })
    const layers = trail.pipe(
      Layer.provideMerge(Layer.mergeAll(Layer.provideMerge(store, policies), database, Logger.layer([logger])))
    )
    const happened = yield* Effect.scoped(Effect.provide(program, layers))
    for (const { attributes, events, name } of spans) {
      // Effect itself writes the exit into the span of a call, so only the library's attributes and events are read.
      const ours = events.filter(([event]) => event.startsWith("circuit_breaker"))
      said.push(
        name,
        [...attributes].filter(([attribute]) => attribute.startsWith("circuit_breaker")),
        ours
      )
    }
    return { happened, said }
  })

/** Asserts that a text contains neither the secret nor its beginning or end. */
const hasNone = (said: unknown, secret: string, from: string) => {
  const text =
    typeof said === "string"
      ? said
      : JSON.stringify(said, (_, value) => (typeof value === "bigint" ? `${value}` : value))
  for (const part of [secret, secret.slice(0, 6), secret.slice(-6), base64(`ann:${secret}`).slice(0, 12)]) {
    assert.notInclude(text ?? "", part, from)
  }
}

describe("A secret in an error", () => {
  it.live.prop(
    "is in nothing that the library returns, logs, sends or stores",
    [secret, oneOf(messages), oneOf(errors), oneOf(ways)],
    ([secret, message, error, way]) =>
      Effect.gen(function* () {
        const text = message(secret)
        const { happened, said } = yield* told(error(text, secret), text, way)
        assert.isAbove(said.length, 10)
        for (const one of said) hasNone(one, secret, text)
        // The test is not empty: there were events.
        if (way !== ways[4] && way !== ways[5]) assert.isAbove(happened, 0)
      }),
    runs("secrets", 120)
  )

  it.each(messages.map((message, i) => [message("SECRET"), i] as const))(
    "is not shown by the promise face either: %s",
    async (_, i) => {
      const secret = "Zq9xAb12Cd7kW"
      const message = messages[i]?.(secret) ?? ""
      // The property has every error with every message.
      for (const make of errors.filter((_, n) => (n + i) % 4 === 0)) {
        const said: Array<unknown> = []
        const breaker = createBreaker(
          async () => {
            throw make(message, secret)
          },
          {
            trip: trip.consecutive(2),
            retry: { times: 3, minDelay: 1, jitter: 0 },
            log: (level, text) => said.push(level, text)
          }
        )
        breaker.on("transition", (event) => said.push(event))
        const open = await breaker.execute().catch((error: Error) => error)
        assert.include(String(open), "CircuitOpenError")
        said.push(String(open), JSON.stringify(open), breaker.metrics)
        await until(
          "heard",
          Effect.sync(() => said.some((one) => typeof one === "string" && one.includes("opened")))
        ).pipe(Effect.runPromise)
        for (const one of said) hasNone(one, secret, message)
        await breaker.shutdown()
      }
    }
  )
})
