import * as Digest from "effect/crypto/Digest"
import * as Effect from "effect/Effect"
import type * as Redis from "effect/persistence/Redis"

const digest = (lua: string) =>
  Digest.Digest.use((service) => service.digestHex(Digest.sha1, new TextEncoder().encode(lua))).pipe(
    Effect.provide(Digest.layerWebCrypto)
  )

/**
 * Runs a script with one round trip: by its digest, and with its text only if the server does not know it. (Effect's own
 * `eval` loads each script before its first use, which costs every process that starts a round trip for each.)
 */
export const evaluate = <Reply>(redis: Redis.Redis["Service"], lua: string) =>
  Effect.map(
    digest(lua),
    (sha) =>
      (keys: ReadonlyArray<string>, args: ReadonlyArray<string | number>): Effect.Effect<Reply, Redis.RedisError> => {
        const rest = [String(keys.length), ...keys, ...args.map(String)]
        return Effect.catchIf(
          redis.send<Reply>("EVALSHA", sha, ...rest),
          ({ cause }) => String(cause).includes("NOSCRIPT"),
          () => redis.send<Reply>("EVAL", lua, ...rest)
        )
      }
  )
