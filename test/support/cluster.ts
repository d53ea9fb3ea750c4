import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { NodeClusterSocket, NodeCrypto } from "@effect/platform-node"
import { Effect, Layer, Option, Schema, type Scope } from "effect"
import { Entity, type MessageStorage, type RunnerAddress, type Sharding } from "effect/cluster"
import { Rpc } from "effect/rpc"
import type { Seen, Setup } from "./clusterWorker.ts"
import { freePort } from "./ownServer.ts"
import { client } from "./postgresServer.ts"
import { startWorker, type Worker } from "./worker.ts"

/** An entity that calls the server. `result`: `sent`, the error, or `rejected` with its scope. */
export const Customer = Entity.make("Customer", [
  Rpc.make("notify", { success: Schema.Struct({ runner: Schema.String, result: Schema.String }) })
])

/** A runner, or a process that only sends messages, of a cluster that keeps its messages in PostgreSQL. */
export const clusterLayer = (
  url: string,
  address?: RunnerAddress.RunnerAddress
): Layer.Layer<Sharding.Sharding | MessageStorage.MessageStorage> => {
  const shardingConfig = {
    runnerAddress: Option.fromUndefinedOr(address),
    shardsPerGroup: 30,
    refreshAssignmentsInterval: "200 millis",
    runnerHealthCheckInterval: "500 millis",
    shardLockExpiration: "5 seconds",
    entityMessagePollInterval: "200 millis",
    entityReplyPollInterval: "100 millis",
    entityTerminationTimeout: "500 millis"
  } as const
  return NodeClusterSocket.layer({ clientOnly: address === undefined, storage: "sql", shardingConfig }).pipe(
    Layer.provide([client(url), NodeCrypto.layerDigest]),
    Layer.orDie
  )
}

export interface Runner extends Omit<Worker, "ask"> {
  readonly name: string
  readonly seen: Effect.Effect<Seen>
  /** Opens the circuit again, with a short cooldown. */
  readonly reopen: Effect.Effect<unknown>
}

export const startRunner = (setup: Omit<Setup, "port">): Effect.Effect<Runner, never, Scope.Scope> =>
  Effect.gen(function* () {
    const whole: Setup = { ...setup, port: yield* freePort }
    const { ask, ...worker } = yield* startWorker("./clusterWorker.ts", whole)
    return {
      ...worker,
      name: setup.name,
      seen: Effect.map(ask("see"), (answer) => answer as Seen),
      reopen: ask("reopen")
    }
  })

/** The server that all runners call. */
export interface Called {
  readonly url: string
  /** Each request: what it is for, and the runner that made it. */
  readonly requests: Array<{ readonly path: string; readonly runner: string }>
  down: boolean
  /** The runners whose network is broken. */
  readonly cut: Set<string>
  /** The runner that gets no answer until `answer`. */
  held: string | undefined
  readonly answer: () => void
  readonly heldCount: () => number
}

export const calledServer: Effect.Effect<Called, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.promise(async () => {
      const waiting: Array<() => void> = []
      const called: Called = {
        ...{ url: "", requests: [], down: false, cut: new Set(), held: undefined, heldCount: () => waiting.length },
        answer: () => {
          called.held = undefined
          for (const one of waiting.splice(0)) one()
        }
      }
      const server = createServer(({ socket, url = "" }, response) => {
        const slash = url.lastIndexOf("/")
        const path = url.slice(1, slash)
        const runner = url.slice(slash + 1)
        const isRun = path.startsWith("run/")
        called.requests.push({ path, runner })
        const answer = () => void response.writeHead(called.down && !isRun ? 503 : 200).end()
        if (isRun) answer()
        else if (called.cut.has(runner)) socket.destroy()
        else if (called.held === runner) waiting.push(answer)
        else answer()
      }).listen(0, "127.0.0.1")
      // A server that closes an idle connection can meet a new request there, and that call fails.
      server.keepAliveTimeout = 0
      await once(server, "listening")
      const { port } = server.address() as AddressInfo
      return { server, called: Object.assign(called, { url: `http://127.0.0.1:${port}` }) }
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  ),
  ({ called }) => called
)
