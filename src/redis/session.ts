import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redis from "effect/persistence/Redis"
import type * as Scope from "effect/Scope"
import type { Session } from "../connection/connecting.ts"
import { connect, type Package } from "./client.ts"
import { redisUrl } from "./environment.ts"
import { redisStore } from "./store.ts"

/** Builds a client from a layer, and a store on it. */
export const session = <E, R>(
  redis: Layer.Layer<Redis.Redis, E, R>,
  options: Parameters<typeof redisStore>[1]
): Effect.Effect<Session, E, R | Scope.Scope> =>
  Effect.gen(function* () {
    const services = yield* quietUntilBuilt(Layer.build(Layer.fresh(redis)))
    yield* Effect.addFinalizer(() => Effect.sync(() => destroy(services)))
    const store = yield* redisStore(Context.get(services, Redis.Redis), options)
    // A client that has been connected reconnects by itself. If it does not, its commands fail.
    return { store, ended: Effect.never }
  })

/** `NodeRedis`, which this module cannot import: users of Bun and Deno do not have it. */
const nodeRedis = Context.Service<{ readonly client: { readonly isOpen: boolean; readonly destroy: () => void } }>(
  "@effect/platform-node/NodeRedis"
)

/** Closes a client of node-redis at once. Its layer would wait for all answers, which never come if the connection is silent. */
const destroy = (services: Context.Context<Redis.Redis>): void => {
  const found = Context.getOption(services, nodeRedis)
  if (found._tag === "Some" && found.value.client.isOpen) found.value.client.destroy()
}

/** Drops the warnings of Effect's client while it connects: it warns of each failed attempt, and this library warns once. */
const quietUntilBuilt = <A, E, R>(build: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const loggers = fiber.getRef(Logger.CurrentLoggers)
    let built = false
    const gate = Logger.make((options) => {
      if (built || options.logLevel !== "Warn") for (const logger of loggers) logger.log(options)
    })
    const done = Effect.tap(build, () =>
      Effect.sync(() => {
        built = true
      })
    )
    return Effect.provideService(done, Logger.CurrentLoggers, new Set([gate]))
  })

/** A client that this library opens itself, to the Redis that the environment names. */
export const layerEnvironment = (found: Package) =>
  Layer.effect(
    Redis.Redis,
    Effect.map(
      Effect.flatMap(redisUrl, (url) => connect(found, url, { reconnects: true })),
      ({ redis }) => redis
    )
  )
