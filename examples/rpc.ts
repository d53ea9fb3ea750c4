/** Two services talk by RPC. The database of the second service is down. The first service gets a typed error, and soon stops calling. */
import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Data, Duration, Effect, Layer, Logger, Schema } from "effect"
import { FetchHttpClient, HttpRouter, HttpServer } from "effect/http"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { RpcClientBreaker, RpcServerBreaker } from "effect-fuse/rpc"

// ---- For client and server: the procedures, and the middleware that adds ServiceUnavailable to their errors ----------

class UserNotFound extends Schema.TaggedError<UserNotFound>()("UserNotFound", { id: Schema.Number }) {}

class Users extends RpcGroup.make(
  Rpc.make("GetUser", { payload: { id: Schema.Number }, success: Schema.String, error: UserNotFound })
).middleware(RpcServerBreaker.Middleware) {}

// ---- The server -----------------------------------------------------------------------------------------------------

class DatabaseDown extends Data.TaggedError("DatabaseDown") {}

let queries = 0
const query = (id: number) =>
  Effect.suspend((): Effect.Effect<string, UserNotFound | DatabaseDown> => {
    queries++
    return id === 0 ? Effect.fail(new UserNotFound({ id })) : Effect.fail(new DatabaseDown())
  })

const handlers = Users.toLayer({
  GetUser: ({ id }) =>
    query(id).pipe(
      CircuitBreaker.protect("database", { isFailure: (error) => error._tag === "DatabaseDown" }),
      RpcServerBreaker.orUnavailable,
      Effect.catchTag("DatabaseDown", Effect.die)
    )
})

const Server = HttpRouter.serve(
  RpcServer.layerHttp({ group: Users, path: "/rpc", protocol: "http", disableFatalDefects: true }).pipe(
    Layer.provide([handlers, RpcServerBreaker.layer({ deadline: true })])
  ),
  { disableLogger: true, disableListenLog: true }
).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))

// ---- The client -----------------------------------------------------------------------------------------------------

const makeClient = RpcClient.make(Users).pipe(
  RpcClientBreaker.standard(Users, "users", { idempotent: ["GetUser"], deadline: true })
)

const program = Effect.gen(function* () {
  const { address } = Context.get(yield* Layer.build(Server), HttpServer.HttpServer)
  const url = `http://127.0.0.1:${"port" in address ? address.port : 0}/rpc`
  const transport = yield* Layer.build(RpcClient.layerProtocolHttp({ url }).pipe(Layer.provide(FetchHttpClient.layer)))
  const users = yield* Effect.provideContext(makeClient, transport)

  const minutes = (wait: Duration.Duration) => Math.round(Duration.toMinutes(wait))
  const ask = (id: number) =>
    users.GetUser({ id }).pipe(
      Effect.catchTags({
        UserNotFound: ({ id }) => Effect.succeed(`there is no user ${id}`),
        ServiceUnavailable: ({ retryAfter = Duration.zero, service }) =>
          Effect.succeed(`the server answers that its ${service} is down, for ${minutes(retryAfter)} minutes`),
        CircuitOpen: ({ circuit, retryAfter }) =>
          Effect.succeed(`${circuit} is not called, for ${minutes(retryAfter)} minutes`)
      }),
      Effect.catchDefect(() => Effect.succeed("the server failed"))
    )
  for (const id of [0, 1, 2, 3, 4, 5]) console.log(`user ${id}:`, yield* ask(id))
  console.log("queries:", queries)
})

const services = Layer.mergeAll(
  BreakerStore.layerMemory,
  BreakerPolicy.layer({
    breakers: {
      database: { trip: Trip.consecutive(2), cooldown: "2 minutes" },
      users: { trip: Trip.consecutive(3) }
    }
  }),
  RpcSerialization.layerNdjson,
  Logger.layer([])
)
await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(services)))
