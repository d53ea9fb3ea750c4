import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { layerShared } from "../breaker/BreakerStore.ts"
import { connecting, type Session } from "../connection/connecting.ts"
import { ofOwnClient } from "../connection/judge.ts"
import { foreignMessage } from "../core/foreign.ts"
import { connect, load, type Package, whenEnded } from "../redis/client.ts"
import { longestCircuit, redisStore } from "../redis/store.ts"
import { ConfigurationError } from "./errors.ts"

export interface RedisUrlOptions {
  /** Called for each client that is built. */
  readonly url: () => Promise<string>
  readonly prefix?: string | undefined
  readonly process?: string | undefined
}

const loaded = async (): Promise<Package> => {
  try {
    return await load()
  } catch (cause) {
    const error = new ConfigurationError(`redis: ${foreignMessage(cause)}`)
    error.cause = cause
    throw error
  }
}

/** Opens one connection. `ended` completes when the connection ends, so that the caller can replace it. */
const session = (found: Package, { prefix, url }: RedisUrlOptions): Effect.Effect<Session, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const { client, redis } = yield* connect(found, yield* Effect.tryPromise({ try: url, catch: (error) => error }))
    const store = yield* redisStore(redis, { prefix })
    return { store, ended: Effect.callback<void>((resume) => whenEnded(client, () => resume(Effect.void))) }
  })

/** The store of the circuits that all processes with this Redis share. */
export const layerRedis = async (options: RedisUrlOptions, maxCircuits: number | undefined) => {
  const found = await loaded()
  const { process } = options
  const judged = { what: "Redis", strictness: ofOwnClient, replaces: true, hearsLate: true, longestCircuit }
  return Layer.unwrap(
    Effect.map(connecting(judged, session(found, options)), (store) =>
      layerShared(store, {
        ...(process === undefined ? {} : { process }),
        ...(maxCircuits === undefined ? {} : { maxCircuits })
      })
    )
  )
}
