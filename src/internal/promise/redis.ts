import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import type * as Scope from "effect/Scope"
import { layerShared } from "../../BreakerStore.ts"
import * as RedisStore from "../../RedisStore.ts"
import { connecting, type Session } from "../connecting.ts"
import { connect, load, type Package, whenEnded } from "../redis/client.ts"
import { ConfigurationError } from "./errors.ts"

export interface RedisOptions {
  readonly url: string
  readonly prefix?: string | undefined
  readonly process?: string | undefined
}

const loaded = async (): Promise<Package> => {
  try {
    return await load()
  } catch (cause) {
    const error = new ConfigurationError("redis: it needs the package redis, which is not installed")
    error.cause = cause
    throw error
  }
}

/** A connection that is built again when it ends. */
const session = (found: Package, { prefix, url }: RedisOptions): Effect.Effect<Session, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const { client, redis } = yield* connect(found, url)
    const store = yield* Effect.provideService(
      RedisStore.make(prefix === undefined ? {} : { prefix }),
      Redis.Redis,
      redis
    )
    return { store, ended: Effect.callback<void>((resume) => whenEnded(client, () => resume(Effect.void))) }
  })

/** The circuits of all processes with this Redis. */
export const layerRedis = async (options: RedisOptions, maxCircuits: number | undefined) => {
  const found = await loaded()
  const { process } = options
  return Layer.unwrap(
    Effect.map(connecting("Redis", session(found, options)), (store) =>
      layerShared(store, {
        ...(process === undefined ? {} : { process }),
        ...(maxCircuits === undefined ? {} : { maxCircuits })
      })
    )
  )
}
