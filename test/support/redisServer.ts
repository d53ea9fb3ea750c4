import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Effect, type Scope } from "effect"
import { freePort, type OwnServer, ownServer } from "./ownServer.ts"
import { programsOf, userOf } from "./servers.ts"

export { freePort }

/** A `redis-server` that only one test uses. It is empty after each start. */
export type RedisServer = OwnServer

const serverWith = (options: (bus: number) => ReadonlyArray<string>): Effect.Effect<RedisServer, never, Scope.Scope> =>
  Effect.flatMap(freePort, (bus) =>
    ownServer({
      title: "Redis",
      programs: () => programsOf("redis"),
      user: () => userOf("redis"),
      serve: ({ server }, folder, port) => [
        server,
        [
          ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"],
          ...options(bus)
        ]
      ],
      ready: /Ready to accept connections/,
      signal: "SIGKILL",
      url: (port) => `redis://127.0.0.1:${port}`
    })
  )

/** A server that lives as long as the scope. */
export const redisServer: Effect.Effect<RedisServer, never, Scope.Scope> = serverWith(() => [])

/** The only server of a Redis Cluster: it has all slots once it is told so. */
export const clusterServer: Effect.Effect<RedisServer, never, Scope.Scope> = serverWith((bus) => [
  ...["--cluster-enabled", "yes", "--cluster-port", String(bus)]
])

/** The server that `REDIS_URL` names, for tests that leave it as they found it, or one of the test's own. */
export const redisUrl: Effect.Effect<string, never, Scope.Scope> = Effect.suspend(() => {
  const url = process.env["REDIS_URL"]
  return url === undefined || url === "" ? Effect.map(redisServer, (server) => server.url) : Effect.succeed(url)
})

/** Effect's Redis service on a server, as the README says to make it. */
export const client = (
  url: string,
  options: NonNullable<Parameters<typeof NodeRedis.layer>[0]> = {}
): ReturnType<typeof NodeRedis.layer> => NodeRedis.layer({ url, disableOfflineQueue: true, ...options })
