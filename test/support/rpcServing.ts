import { createServer } from "node:http"
import { NodeHttpClient, NodeHttpServer, NodeSocket, NodeSocketServer } from "@effect/platform-node"
import { Context, Effect, Exit, Layer, Schedule, Scope } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { type Rpc, RpcClient, type RpcClientError, type RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
import { SocketServer } from "effect/socket/SocketServer"

export const transports = ["http", "websocket", "tcp"] as const
export type Transport = (typeof transports)[number]

const host = "127.0.0.1"
const path = "/rpc"
/** Each test serves a group with other handlers, so the types of the handlers do not matter here. */
type Served = RpcGroup.RpcGroup<Rpc.Any>

const listening = (transport: Transport, group: Served, handlers: Layer.Layer<never>, port: number) => {
  const options = { disableFatalDefects: true, group, path } as const
  if (transport === "tcp") {
    return RpcServer.layer(group, options).pipe(
      Layer.provide([handlers, RpcServer.layerProtocolSocketServer]),
      Layer.provideMerge(NodeSocketServer.layer({ host, port })),
      Layer.provide(RpcSerialization.layerNdjson)
    ) as Layer.Layer<SocketServer | HttpServer.HttpServer>
  }
  const routes = RpcServer.layerHttp({ ...options, protocol: transport }).pipe(Layer.provide(handlers))
  return HttpRouter.serve(routes as Layer.Layer<never, never, HttpRouter.HttpRouter>, {
    disableLogger: true,
    disableListenLog: true
  }).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { host, port, gracefulShutdownTimeout: "10 millis" })),
    Layer.provide(RpcSerialization.layerNdjson)
  ) as Layer.Layer<SocketServer | HttpServer.HttpServer>
}

/** Serves a group over a socket, on a free port unless told otherwise. */
export const serveRpc = <Rpcs extends Rpc.Any, Handlers>(
  transport: Transport,
  group: RpcGroup.RpcGroup<Rpcs>,
  handlers: Layer.Layer<Handlers>,
  port = 0
) =>
  Effect.gen(function* () {
    const scope = yield* Effect.acquireRelease(Scope.make(), (one) => Scope.close(one, Exit.void))
    const served = Layer.fresh(listening(transport, group as never, handlers as never, port))
    const context = yield* Layer.buildWithScope(served, scope)
    const { address } =
      transport === "tcp" ? Context.get(context, SocketServer) : Context.get(context, HttpServer.HttpServer)
    return { port: "port" in address ? address.port : 0, stop: Scope.close(scope, Exit.void) }
  })

/** Makes the transport of a client. The transport closes a silent connection after 200 ms, and reconnects after 20 ms. */
const protocolOf = (transport: Transport, port: number) => {
  if (transport === "http") {
    return RpcClient.layerProtocolHttp({ url: `http://${host}:${port}${path}` }).pipe(
      Layer.provide([NodeHttpClient.layerUndici, RpcSerialization.layerNdjson])
    )
  }
  const socket =
    transport === "tcp" ? NodeSocket.layerNet({ host, port }) : NodeSocket.layerWebSocket(`ws://${host}:${port}${path}`)
  return RpcClient.layerProtocolSocket({ pingInterval: "100 millis", retryPolicy: Schedule.spaced("20 millis") }).pipe(
    Layer.provide([socket, RpcSerialization.layerNdjson])
  )
}

/** Makes the client of a group. It stays connected until the scope ends. */
export const connectRpc = <Rpcs extends Rpc.Any>(transport: Transport, group: RpcGroup.RpcGroup<Rpcs>, port: number) =>
  Effect.flatMap(Layer.build(Layer.fresh(protocolOf(transport, port))), (protocol) =>
    Effect.provideContext(RpcClient.make(group), protocol as never)
  ) as Effect.Effect<RpcClient.RpcClient<Rpcs, RpcClientError.RpcClientError>, never, Scope.Scope>
