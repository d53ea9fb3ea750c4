/**
 * A cluster of three runners sends mails. Each runner is a process. The runners share messages and circuits in one PostgreSQL database.
 * When the mail server goes down, all runners stop calling it. Then a runner is killed. The other runners take over its entities, and do not
 * call the mail server. Needs DATABASE_URL.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { createServer as createHttpServer } from "node:http"
import { type AddressInfo, createServer, type Server } from "node:net"
import { NodeClusterSocket, NodeCrypto, NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Logger, Option, Schedule, Schema } from "effect"
import { Entity, RunnerAddress, ShardingConfig, SqlMessageStorage, SqlRunnerStorage } from "effect/cluster"
import { FetchHttpClient, HttpClient } from "effect/http"
import { Rpc } from "effect/rpc"
import { BreakerPolicy, CircuitBreaker, CircuitOpen, Trip } from "effect-fuse"
import * as SqlStore from "effect-fuse/SqlStore"

// ---- The entity -----------------------------------------------------------------------------------------------------

/** Each customer has an entity. `CircuitOpen` is a schema, so the client receives a rejection as `CircuitOpen`. */
const Customer = Entity.make("Customer", [
  Rpc.make("notify", { success: Schema.String, error: Schema.Union([CircuitOpen.CircuitOpen, Schema.String]) })
])

/** All entities of a runner use the store of the runner: the layer requires `BreakerStore`, and does not provide one. */
const customers = (runner: string, mailUrl: string) =>
  Customer.toLayer(
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient
      const send = client.get(mailUrl).pipe(
        Effect.flatMap(({ status }) => (status === 200 ? Effect.succeed(runner) : Effect.fail(`answered ${status}`))),
        Effect.catchTag("HttpClientError", () => Effect.fail("no answer")),
        CircuitBreaker.protect("mail")
      )
      return { notify: () => send }
    })
  )

// ---- The cluster ----------------------------------------------------------------------------------------------------

// Only this example uses these tables. You can delete them.
const clusterTables = { prefix: "example_cluster" }
const circuitTables = { prefix: "example_cluster_breaker" }
const database = PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })

/** A runner has an address and entities. A client has no address and no entities, and only sends messages. */
const cluster = <const ClientOnly extends boolean>(clientOnly: ClientOnly, address?: RunnerAddress.RunnerAddress) => {
  const shardingConfig = {
    runnerAddress: Option.fromUndefinedOr(address),
    shardsPerGroup: 30,
    // With these short times, other runners take over the entities of a killed runner within seconds.
    refreshAssignmentsInterval: "200 millis",
    runnerHealthCheckInterval: "1 second",
    shardLockExpiration: "5 seconds"
  } as const
  const storage = Layer.mergeAll(
    SqlMessageStorage.layerWith(clusterTables),
    SqlRunnerStorage.layerWith(clusterTables)
  ).pipe(Layer.provide([ShardingConfig.layer(shardingConfig), NodeCrypto.layerDigest]))
  return NodeClusterSocket.layer({ storage: "byo", clientOnly, shardingConfig }).pipe(
    Layer.provide(Layer.provideMerge(storage, database))
  )
}

// ---- A runner: this program with arguments --------------------------------------------------------------------------

const runner = (name: string, port: number, mailUrl: string) =>
  customers(name, mailUrl).pipe(
    Layer.provide(cluster(false, RunnerAddress.make("127.0.0.1", port))),
    // Each runner has one store. All entities of a runner share its circuits. Runners share circuits through the database.
    Layer.provide(SqlStore.layer({ ...circuitTables, process: name })),
    Layer.provide([database, FetchHttpClient.layer]),
    Layer.provide(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "20 seconds" } })),
    Layer.provide(Logger.layer([]))
  )

// ---- The demonstration: this program without arguments --------------------------------------------------------------

const demonstration = Effect.gen(function* () {
  const mail = yield* mailServer
  const [first] = yield* Effect.forEach(["runner-1", "runner-2", "runner-3"], (name) => startRunner(name, mail.url))
  const customer = yield* Customer.client

  /** Notifies 30 customers. The cluster spreads the customers over all runners. */
  const notifyAll = Effect.forEach(
    Array.from({ length: 30 }, (_, id) => customer(`customer-${id}`)),
    (one) => Effect.match(one.notify(), { onSuccess: (runner) => `sent by ${runner}`, onFailure: ended })
  )
  const notifyUntil = (done: (answers: ReadonlyArray<string>) => boolean) =>
    Effect.repeat(notifyAll, { until: done, schedule: Schedule.spaced("50 millis") })
  const areSent = (answers: ReadonlyArray<string>) => answers.every((one) => one.startsWith("sent"))
  const areRejected = (answers: ReadonlyArray<string>) => answers.every((one) => one === "rejected by the fleet")

  // Wait until each runner has some of the entities.
  const answers = yield* notifyUntil((answers) => areSent(answers) && new Set(answers).size === 3)
  console.log(`30 customers notified, by ${new Set(answers).size} runners`)

  mail.down = true
  yield* notifyUntil(areRejected)
  console.log("the mail server is down: the fleet rejects all notifications")

  const before = mail.requests
  first?.kill("SIGKILL")
  yield* notifyUntil(areRejected)
  console.log("a runner is killed: the runners that have its customers now reject them too")
  console.log(`requests meanwhile: ${mail.requests - before}`)

  mail.down = false
  const after = yield* notifyUntil(areSent)
  console.log(`the mail server is back: 30 customers notified, by ${new Set(after).size} runners`)
})

const ended = (error: unknown): string => {
  if (CircuitOpen.isCircuitOpen(error)) return `rejected by the ${error.scope}`
  return typeof error === "string" ? error : "not delivered"
}

const listening = async (server: Server): Promise<number> => {
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return (server.address() as AddressInfo).port
}

/** Starts the dependency. */
const mailServer = Effect.acquireRelease(
  Effect.promise(async () => {
    const mail = { down: false, requests: 0 }
    const server = createHttpServer((_request, response) => {
      mail.requests++
      response.writeHead(mail.down ? 503 : 200).end()
    })
    const url = `http://127.0.0.1:${await listening(server)}`
    return Object.assign(mail, { server, url })
  }),
  ({ server }) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
    })
)

const freePort = async () => {
  const server = createServer()
  const port = await listening(server)
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Starts this program again, with arguments. */
const startRunner = (name: string, mailUrl: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => fork(import.meta.filename, [name, String(await freePort()), mailUrl])),
    (child) =>
      Effect.promise(async () => {
        if (child.signalCode === null && child.kill()) await once(child, "exit")
      })
  )

const [, , name, port, mailUrl] = process.argv
if (name !== undefined && mailUrl !== undefined) {
  // A runner ends with the process that started it.
  process.once("disconnect", () => process.exit())
  NodeRuntime.runMain(Layer.launch(runner(name, Number(port), mailUrl)))
} else {
  const client = Layer.provideMerge(cluster(true), Logger.layer([]))
  await Effect.runPromise(Effect.scoped(Effect.provide(demonstration, client)))
}
