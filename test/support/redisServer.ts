import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Effect, type Scope } from "effect"
import { freePort, type OwnServer, ownServer } from "./ownServer.ts"
import { programsOf, userOf } from "./servers.ts"

export { freePort }

/** A `redis-server` that only one test uses. It is empty after each start. */
export type RedisServer = OwnServer

/** Starts a Redis that lives as long as the scope. */
export const startRedis = (of: {
  readonly options: ReadonlyArray<string>
  /** The text of a configuration file, for programs that write into it. */
  readonly config?: string
  readonly ready?: RegExp
}): Effect.Effect<RedisServer, never, Scope.Scope> =>
  ownServer({
    title: "Redis",
    programs: () => programsOf("redis"),
    user: () => userOf("redis"),
    serve: ({ server }, folder, port) => {
      const file = join(folder, "redis.conf")
      writeFileSync(file, of.config ?? "", { mode: 0o666 })
      const common = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder]
      return [server, [file, ...common, ...of.options]]
    },
    ready: of.ready ?? /Ready to accept connections/,
    signal: "SIGKILL",
    url: (port) => `redis://127.0.0.1:${port}`
  })

/** Options of a server that writes no files. */
export const inMemory = ["--save", "", "--appendonly", "no"]

/** Options of a server of a Redis Cluster. */
export const ofCluster = (bus: number) => ["--cluster-enabled", "yes", "--cluster-port", String(bus)]

/** A server that lives as long as the scope. */
export const redisServer: Effect.Effect<RedisServer, never, Scope.Scope> = startRedis({ options: inMemory })

/** The only server of a Redis Cluster: it has all slots once it is told so. */
export const clusterServer: Effect.Effect<RedisServer, never, Scope.Scope> = Effect.flatMap(freePort, (bus) =>
  startRedis({ options: [...inMemory, ...ofCluster(bus)] })
)

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
