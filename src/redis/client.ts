import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redis from "effect/persistence/Redis"
import type * as Scope from "effect/Scope"

export type Package = typeof import("redis")

/**
 * The package `redis`, for users who give a URL and no client. Bundlers see by the `try` that it may be missing. For browsers
 * `package.json` replaces it with nothing.
 */
export const load = async (): Promise<Package> => {
  let found: Package
  try {
    found = await import("redis")
  } catch (cause) {
    throw new Error("the package redis is not installed", { cause })
  }
  if (typeof found.createClient !== "function") throw new Error("the package redis does not run in browsers")
  return found
}
export type Client = ReturnType<Package["createClient"]>

/** A server that takes a connection and says nothing is no server. */
const connectMillis = 5_000

const failed = (cause: unknown) => new Redis.RedisError({ cause })

/** Runs until it ends, and is gone with the scope, whatever it was doing. */
const open = (make: () => Client, millis: number): Effect.Effect<Client, Redis.RedisError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const client = make()
      // Before it connects: its sockets keep no process alive, not even while they wait for a greeting.
      client.unref()
      // Whoever waits for it hears of it elsewhere; an event that nobody hears would end the process.
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

/** Calls this when a client ends, which does not come back by itself. */
export const whenEnded = (client: Client, then: () => void): void => {
  client.once("end", then)
  client.once("error", then)
  if (!client.isOpen) then()
}

/** A client that has connected once connects again by itself; before that, its first error ends it. */
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
 * Effect's service on a connection whose sockets keep no process alive. Unless `again` is set, the connection does not come back by
 * itself, because the timers for that would keep the process alive.
 */
export const connect = (
  { createClient }: Package,
  url: string,
  millis = connectMillis,
  again = false
): Effect.Effect<{ readonly client: Client; readonly redis: Redis.Redis["Service"] }, Redis.RedisError, Scope.Scope> =>
  Effect.gen(function* () {
    const { onReady, strategy } = reconnecting()
    const client = yield* open(
      () =>
        createClient({
          url,
          disableOfflineQueue: true,
          socket: { connectTimeout: millis, reconnectStrategy: again ? strategy : false }
        }),
      millis
    )
    onReady()
    const redis = yield* Redis.make({
      send: <A>(command: string, ...args: ReadonlyArray<string>) =>
        Effect.tryPromise({ try: () => client.sendCommand([command, ...args]) as Promise<A>, catch: failed }),
      // No command of a store needs a connection for itself.
      connect: Effect.fail(failed(new Error("there is one connection"))),
      subscribe: (channel, onMessage) =>
        Effect.gen(function* () {
          const subscriber = yield* open(() => client.duplicate(), millis)
          const over = yield* Deferred.make<void, Redis.RedisError>()
          whenEnded(subscriber, () => Deferred.doneUnsafe(over, Exit.fail(failed(new Error("it was disconnected")))))
          const heard = (message: string, channel: string) => onMessage({ channel, message })
          yield* Effect.tryPromise({ try: () => subscriber.subscribe(channel, heard), catch: failed })
          return Deferred.await(over)
        })
    })
    return { client, redis }
  })
