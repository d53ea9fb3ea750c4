import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Effect, type Scope } from "effect"
import { type OwnServer, ownServer } from "./ownServer.ts"
import { programsOf, userOf } from "./servers.ts"

export { freePort } from "./ownServer.ts"

/** A `redis-server` that only one test uses. It is empty after each start. */
export type RedisServer = OwnServer

/** A server that lives as long as the scope. */
export const redisServer: Effect.Effect<RedisServer, never, Scope.Scope> = ownServer({
  title: "Redis",
  programs: () => programsOf("redis"),
  user: () => userOf("redis"),
  serve: ({ server }, folder, port) => [
    server,
    ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
  ],
  ready: /Ready to accept connections/,
  signal: "SIGKILL",
  url: (port) => `redis://127.0.0.1:${port}`
})

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
