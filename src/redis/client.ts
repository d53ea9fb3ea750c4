import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redis from "effect/persistence/Redis"
import type * as Scope from "effect/Scope"
import { exportsOf, packageError } from "../core/optionalPackage.ts"

export type Package = typeof import("redis")

/**
 * Loads the package `redis`, which only programs that give a URL need. The `try` tells bundlers that it may be missing. For browsers
 * `package.json` replaces it with nothing.
 */
export const load = async (): Promise<Package> => {
  let found: Package
  try {
    found = exportsOf(await import("redis"), "createClient")
  } catch (cause) {
    throw packageError("redis", cause)
  }
  if (typeof found.createClient !== "function") throw new Error("the package redis does not run in browsers")
  return found
}
export type Client = ReturnType<Package["createClient"]>

/** How long to wait for a server that accepts a connection and does not answer. */
const connectMillis = 5_000

const failed = (cause: unknown) => new Redis.RedisError({ cause })

/** Connects a client. When the scope closes, the client is destroyed at once, whatever it is doing. */
const open = (make: () => Client, millis: number): Effect.Effect<Client, Redis.RedisError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const client = make()
      // Before connecting, so that its sockets never keep the process alive, not even during the handshake.
      client.unref()
      // Callers receive errors from their commands. Without a listener an error event would end the process.
      client.on("error", () => {})
      return client
    }),
    (client) => Effect.sync(() => client.isOpen && client.destroy())
  ).pipe(
    Effect.tap((client) =>
      Effect.tryPromise({ try: () => client.connect(), catch: failed }).pipe(
        Effect.timeoutOrElse({
          duration: millis,
          orElse: () => Effect.fail(failed(new Error(`no answer within ${millis} ms`)))
        })
      )
    )
  )

/** Calls `then` when a client ends. Such a client does not reconnect. */
export const whenEnded = (client: Client, then: () => void): void => {
  client.once("end", then)
  client.once("error", then)
  if (!client.isOpen) then()
}

/** A reconnect strategy. A client that has been connected reconnects by itself; before that, its first error ends it. */
const reconnecting = () => {
  let ready = false
  return {
    onReady: () => {
      ready = true
    },
    strategy: (retries: number, cause: Error) =>
      ready ? Math.min(50 * 2 ** retries, 2_000) + Math.floor(Math.random() * 200) : cause
  }
}

/**
 * Effect's `Redis` service on a connection that does not keep the process alive. Unless `reconnects` is set, the connection does not come
 * back by itself, because the timers for that would keep the process alive.
 */
export const connect = (
  { createClient }: Package,
  url: string,
  {
    connectTimeoutMillis: millis = connectMillis,
    reconnects = false
  }: { readonly connectTimeoutMillis?: number; readonly reconnects?: boolean } = {}
): Effect.Effect<{ readonly client: Client; readonly redis: Redis.Redis["Service"] }, Redis.RedisError, Scope.Scope> =>
  Effect.gen(function* () {
    const { onReady, strategy } = reconnecting()
    const client = yield* open(
      () =>
        createClient({
          url,
          disableOfflineQueue: true,
          socket: { connectTimeout: millis, reconnectStrategy: reconnects ? strategy : false }
        }),
      millis
    )
    onReady()
    const redis = yield* Redis.make({
      send: <A>(command: string, ...args: ReadonlyArray<string>) =>
        Effect.tryPromise({ try: () => client.sendCommand([command, ...args]) as Promise<A>, catch: failed }),
      // No command of a store needs a connection of its own.
      connect: Effect.fail(failed(new Error("there is one connection"))),
      subscribe: (channel, onMessage) =>
        Effect.gen(function* () {
          const subscriber = yield* open(() => client.duplicate(), millis)
          const over = yield* Deferred.make<void, Redis.RedisError>()
          whenEnded(subscriber, () => Deferred.doneUnsafe(over, Exit.fail(failed(new Error("it was disconnected")))))
          const receive = (message: string, channel: string) => onMessage({ channel, message })
          yield* Effect.tryPromise({ try: () => subscriber.subscribe(channel, receive), catch: failed })
          return Deferred.await(over)
        })
    })
    return { client, redis }
  })
