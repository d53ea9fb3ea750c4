import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import { layerShared } from "../../BreakerStore.ts"
import * as RedisStore from "../../RedisStore.ts"
import { connecting } from "../redis/connecting.ts"
import { ConfigurationError } from "./errors.ts"

export interface RedisOptions {
  readonly url: string
  readonly prefix?: string | undefined
  readonly process?: string | undefined
}

const load = async () => {
  try {
    return await import("@effect/platform-node/NodeRedis")
  } catch (cause) {
    const error = new ConfigurationError(
      "redis: it needs the packages @effect/platform-node and redis, which are not installed"
    )
    error.cause = cause
    throw error
  }
}

/**
 * A connection that keeps no process alive: its sockets do not, and it is built again when it ends, by timers that do not
 * either. The client's own way to come back has timers that do.
 */
const session = (NodeRedis: Awaited<ReturnType<typeof load>>, { prefix, url }: RedisOptions) =>
  Effect.gen(function* () {
    const services = yield* Layer.build(
      Layer.fresh(NodeRedis.layer({ url, disableOfflineQueue: true, socket: { reconnectStrategy: false } }))
    )
    const { client } = Context.get(services, NodeRedis.NodeRedis)
    client.unref()
    // The one that subscribes is made of this one.
    const duplicate = client.duplicate.bind(client)
    client.duplicate = ((...args: Parameters<typeof duplicate>) => {
      const copy = duplicate(...args)
      copy.unref()
      return copy
    }) as typeof client.duplicate
    const ended = Effect.callback<void>((resume) => {
      const end = () => resume(Effect.void)
      client.once("end", end)
      client.once("error", end)
      if (!client.isOpen) end()
    })
    const store = yield* Effect.provideService(
      RedisStore.make(prefix === undefined ? {} : { prefix }),
      Redis.Redis,
      Context.get(services, Redis.Redis)
    )
    return { store, ended }
  })

/** The circuits of all processes with this Redis. */
export const layerRedis = async (options: RedisOptions, maxCircuits: number | undefined) => {
  const NodeRedis = await load()
  const { process } = options
  return Layer.unwrap(
    Effect.map(connecting(session(NodeRedis, options)), (store) =>
      layerShared(store, {
        ...(process === undefined ? {} : { process }),
        ...(maxCircuits === undefined ? {} : { maxCircuits })
      })
    )
  )
}
