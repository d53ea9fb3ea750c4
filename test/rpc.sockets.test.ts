import { createServer as createHttpServer } from "node:http"
import { type AddressInfo, createServer, type Socket } from "node:net"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, identity, Layer, Logger, Option, Schedule, Stream } from "effect"
import { HttpClient } from "effect/http"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { BreakerPolicy, BreakerStore, BulkheadFull, CircuitBreaker, CircuitOpen, Trip } from "effect-fuse"
import { RpcClientBreaker, RpcServerBreaker } from "effect-fuse/rpc"
import { connectRpc, serveRpc, transports } from "./support/rpcServing.ts"
import { GuardedUsers, NotFound, Users, usersWith } from "./support/users.ts"
import { rejectionIn } from "./support/verbs.ts"

const services = Layer.mergeAll(
  BreakerStore.layerMemory,
  Logger.layer([]),
  Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(3), cooldown: "10 seconds" } }))
)

const prepared = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  self.pipe(Effect.scoped, Effect.provide(services)) as Effect.Effect<A, E>

/** Repeats an effect until `until` accepts its result. A busy machine may stall, and the circuit ignores failures after a stall. */
const repeated = <A, E, R>(self: Effect.Effect<A, E, R>, until: (result: A) => boolean) =>
  Effect.repeat(Effect.delay(self, "10 millis"), { until }).pipe(Effect.timeout("20 seconds"))

/** Makes calls until the circuit rejects one. Returns the rejection. */
const rejected = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.map(
    repeated(Effect.exit(call), (exit) => Option.exists(Exit.findErrorOption(exit), CircuitOpen.isCircuitOpen)),
    rejectionIn
  )

const state = CircuitBreaker.state("users")

/** Turns each error except a rejection into a defect. */
const orDieUnlessOpen = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.catch(self, (error) => (CircuitOpen.isCircuitOpen(error) ? Effect.fail(error) : Effect.die(error)))

describe.each(transports)("over %s", (transport) => {
  it.live("the circuit opens when the server stops, and closes when the server restarts", () =>
    prepared(
      Effect.gen(function* () {
        const { port, stop } = yield* serveRpc(transport, Users, usersWith({}))
        const client = yield* connectRpc(transport, Users, port).pipe(
          RpcClientBreaker.protect(Users, "users", { policy: { trip: Trip.consecutive(3), cooldown: "100 millis" } })
        )
        assert.strictEqual(yield* client.GetUser({ id: 1 }), "user 1")
        assert.deepStrictEqual(yield* Stream.runCollect(client.WatchUsers(undefined)), ["a", "b"])
        yield* stop
        assert.strictEqual((yield* rejected(client.GetUser({ id: 1 }))).circuit, "users")
        yield* serveRpc(transport, Users, usersWith({}), port)
        yield* repeated(Effect.andThen(Effect.exit(client.GetUser({ id: 1 })), state), (now) => now === "Closed")
        assert.strictEqual(yield* client.GetUser({ id: 2 }), "user 2")
      })
    )
  )

  it.live("a typed error and a defect reach the caller unchanged", () =>
    prepared(
      Effect.gen(function* () {
        const { port } = yield* serveRpc(
          transport,
          Users,
          usersWith({
            GetUser: ({ id }) => (id === 0 ? Effect.fail(new NotFound({ id })) : Effect.die("out of order"))
          })
        )
        const client = yield* connectRpc(transport, Users, port).pipe(RpcClientBreaker.protect(Users, "users"))
        const error = yield* Effect.flip(client.GetUser({ id: 0 }))
        assert.strictEqual(error._tag, "NotFound")
        yield* Effect.exit(client.GetUser({ id: 1 }))
        const { totals } = yield* CircuitBreaker.inspect("users")
        assert.deepStrictEqual([totals.successes, totals.failures], [1, 1])
      })
    )
  )

  it.live("a client whose group lacks the middleware cannot decode its answer, which is a Failure", () =>
    prepared(
      Effect.gen(function* () {
        const full = BulkheadFull.make({ bulkhead: "pool", concurrency: 1, queue: 0 })
        const handlers = Layer.merge(usersWith({ GetUser: () => Effect.die(full) }), RpcServerBreaker.layer())
        const { port } = yield* serveRpc(transport, GuardedUsers, handlers)
        const client = yield* connectRpc(transport, Users, port).pipe(RpcClientBreaker.protect(Users, "users"))
        const exit = yield* Effect.exit(client.GetUser({ id: 1 }))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        assert.strictEqual((yield* CircuitBreaker.inspect("users")).totals.failures, 1)
      })
    )
  )

  it.live("if a circuit of the server is open, the client gets a typed answer without the key and the evidence", () =>
    prepared(
      Effect.gen(function* () {
        const secret = { key: "secret tenant", policy: { trip: Trip.consecutive(1), cooldown: "2 minutes" } } as const
        const database = Effect.fail("password=hunter2").pipe(
          CircuitBreaker.protect("database", secret),
          orDieUnlessOpen
        )
        const store = yield* Effect.context<BreakerStore.BreakerStore>()
        const handlers = usersWith({
          GetUser: () => Effect.provideContext(RpcServerBreaker.orUnavailable(database), store),
          WatchUsers: () => Stream.provideContext(RpcServerBreaker.orUnavailable(Stream.fromEffect(database)), store)
        })
        const { port } = yield* serveRpc(transport, GuardedUsers, Layer.merge(handlers, RpcServerBreaker.layer()))
        const client = yield* connectRpc(transport, GuardedUsers, port).pipe(
          RpcClientBreaker.protect(GuardedUsers, "users")
        )
        // The first call fails, and opens the circuit of the server.
        yield* Effect.exit(client.GetUser({ id: 1 }))
        const answers = [
          yield* Effect.flip(client.GetUser({ id: 1 })),
          yield* Effect.flip(Stream.runDrain(client.WatchUsers(undefined)))
        ]
        for (const answer of answers) {
          assert.instanceOf(answer, RpcServerBreaker.ServiceUnavailable)
          const { reason, retryable, service } = answer as RpcServerBreaker.ServiceUnavailable
          assert.deepStrictEqual(
            { reason, retryable, service },
            { reason: "CircuitOpen", retryable: true, service: "database" }
          )
          assert.notMatch(JSON.stringify(answer), /tenant|hunter2|in a row/)
        }
        // These failures open the client's circuit for at least the server's `retryAfter`.
        const { circuit, retryAfter } = yield* rejected(client.GetUser({ id: 1 }))
        assert.strictEqual(circuit, "users")
        assert.isAbove(Duration.toSeconds(retryAfter), 60)
      })
    )
  )
})

describe("a connection without answers", () => {
  /** Starts a server that accepts connections, but does not read or write. */
  const silent = Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const sockets = new Set<Socket>()
      const server = createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.resume()
      })
      server.listen(0, "127.0.0.1", () => {
        const close = () => {
          for (const socket of sockets) socket.destroy()
          server.close()
        }
        resume(Effect.succeed({ port: (server.address() as AddressInfo).port, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

  it.live("fails its calls once the pings of the transport have no answer, and opens the circuit", () =>
    prepared(
      Effect.gen(function* () {
        const { port } = yield* silent
        const client = yield* connectRpc("tcp", Users, port).pipe(RpcClientBreaker.protect(Users, "users"))
        assert.strictEqual((yield* rejected(client.GetUser({ id: 1 }))).circuit, "users")
      })
    )
  )

  it.live("fails ten thousand calls at once, and counts each call once", () =>
    prepared(
      Effect.gen(function* () {
        const { port } = yield* silent
        const client = yield* connectRpc("tcp", Users, port).pipe(RpcClientBreaker.protect(Users, "users"))
        const calls = Array.from({ length: 10_000 }, (_, id) => Effect.exit(client.GetUser({ id })))
        const exits = yield* Effect.all(calls, { concurrency: "unbounded" }).pipe(Effect.timeout("40 seconds"))
        assert.isTrue(exits.every((exit) => Exit.isFailure(exit)))
        const { inFlight, totals } = yield* CircuitBreaker.inspect("users")
        // Ten thousand calls stall this process, and a failure during a stall is Ignored.
        assert.deepStrictEqual([inFlight, totals.failures + totals.ignored + totals.rejected], [0, 10_000])
      })
    )
  )

  it.live("fails a call of standard at its timeout", () =>
    prepared(
      Effect.gen(function* () {
        const { port } = yield* silent
        const client = yield* connectRpc("http", Users, port).pipe(
          RpcClientBreaker.standard(Users, "users", { timeout: "50 millis" })
        )
        assert.strictEqual((yield* Effect.flip(client.GetUser({ id: 1 })))._tag, "TimeoutError")
        assert.strictEqual((yield* rejected(client.GetUser({ id: 1 }))).circuit, "users")
      })
    )
  )
})

describe("a gateway that answers 503 in place of the server", () => {
  const gateway = Effect.acquireRelease(
    Effect.sync(() => createHttpServer((_, response) => response.writeHead(503, { "retry-after": "120" }).end("busy"))),
    (server) =>
      Effect.callback<void>((resume) => {
        server.closeAllConnections()
        server.close(() => resume(Effect.void))
      })
  )

  it.live.each([
    { reads: "its status", seconds: 60 },
    { reads: "nothing of HTTP", seconds: 0 }
  ])("is a Failure for a client that reads $reads", ({ reads, seconds }) =>
    prepared(
      Effect.gen(function* () {
        const server = yield* gateway
        yield* Effect.callback<void>((resume) => {
          server.listen(0, "127.0.0.1", () => resume(Effect.void))
        })
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
        const http = reads === "its status" ? HttpClient.filterStatusOk : identity<HttpClient.HttpClient>
        const protocol = RpcClient.layerProtocolHttp({ url }).pipe(
          Layer.provide([
            Layer.effect(HttpClient.HttpClient, Effect.map(HttpClient.HttpClient, http)),
            RpcSerialization.layerNdjson
          ]),
          Layer.provide(NodeHttpClient.layerUndici)
        )
        const client = yield* RpcClient.make(Users).pipe(
          RpcClientBreaker.protect(Users, "users"),
          Effect.provideContext(yield* Layer.build(protocol))
        )
        const { retryAfter } = yield* rejected(client.GetUser({ id: 1 }))
        assert.isAbove(Duration.toSeconds(retryAfter), seconds)
        if (seconds === 0) assert.isAtMost(Duration.toSeconds(retryAfter), 10)
      })
    )
  )
})

describe("three services, each with two retries, above a service that is unavailable", () => {
  const retry = { times: 2, schedule: Schedule.spaced(1), budget: false } as const

  it.live.each([
    { deadlines: "without", calls: 27, retryable: true },
    { deadlines: "with", calls: 3, retryable: false }
  ] as const)("$deadlines deadlines make $calls calls for one call", ({ calls, deadlines, retryable }) =>
    prepared(
      Effect.gen(function* () {
        const deadline = deadlines === "with"
        const middleware = RpcServerBreaker.layer({ deadline })
        const seen: Array<string | undefined> = []
        const full = BulkheadFull.make({ bulkhead: "pool", concurrency: 1, queue: 0 })
        const bottom = usersWith({
          GetUser: (_, { headers }) => {
            seen.push(headers["x-envoy-attempt-count"])
            return Effect.die(full)
          }
        })
        let { port } = yield* serveRpc("http", GuardedUsers, Layer.merge(bottom, middleware))
        for (const name of ["c", "b", "a"]) {
          const next = yield* connectRpc("http", GuardedUsers, port).pipe(
            RpcClientBreaker.standard(GuardedUsers, name, {
              policy: { trip: Trip.consecutive(1_000) },
              idempotent: ["GetUser"],
              deadline,
              retry
            })
          )
          const GetUser = ({ id }: { readonly id: number }) =>
            next.GetUser({ id }).pipe(RpcServerBreaker.orUnavailable, Effect.orDie)
          const served = yield* serveRpc("http", GuardedUsers, Layer.merge(usersWith({ GetUser }), middleware))
          port = served.port
        }
        const client = yield* connectRpc("http", GuardedUsers, port)
        const error = yield* Effect.flip(client.GetUser({ id: 1 }))
        assert.deepInclude(
          { ...error },
          { _tag: "ServiceUnavailable", reason: "BulkheadFull", service: "pool", retryable }
        )
        assert.deepStrictEqual(seen, deadline ? ["1", "2", "3"] : Array.from({ length: calls }, () => undefined))
      })
    )
  )
})
