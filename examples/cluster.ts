/**
 * A cluster of three runners sends mails. The runners talk over sockets, and share messages and circuits in one PostgreSQL database.
 * When the mail server goes down, all runners stop calling it. Needs DATABASE_URL.
 */
import { once } from "node:events"
import { createServer } from "node:http"
import { type AddressInfo, createServer as createSocket } from "node:net"
import { NodeClusterSocket, NodeCrypto } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Logger, Option, Schedule, Schema } from "effect"
import { Entity, RunnerAddress, ShardingConfig, SqlMessageStorage, SqlRunnerStorage } from "effect/cluster"
import { FetchHttpClient, HttpClient } from "effect/http"
import { Rpc } from "effect/rpc"
import { BreakerPolicy, CircuitBreaker, CircuitOpen, Trip } from "effect-fuse"
import * as SqlStore from "effect-fuse/SqlStore"

// ---- The dependency -------------------------------------------------------------------------------------------------

let down = false
let requests = 0
const mailServer = createServer((_request, response) => {
  requests++
  response.writeHead(down ? 503 : 200).end()
})
mailServer.listen(0, "127.0.0.1")
await once(mailServer, "listening")
const mailUrl = `http://127.0.0.1:${(mailServer.address() as AddressInfo).port}`

// ---- The entity -----------------------------------------------------------------------------------------------------

const Customer = Entity.make("Customer", [
  Rpc.make("notify", { success: Schema.String, error: Schema.Union([CircuitOpen.CircuitOpen, Schema.String]) })
])

/** All entities of a runner use the store of the runner: the layer requires `BreakerStore`, and does not provide one. */
const Customers = Customer.toLayer(
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    const send = client.get(mailUrl).pipe(
      Effect.flatMap(({ status }) => (status === 200 ? Effect.succeed("sent") : Effect.fail(`answered ${status}`))),
      Effect.catchTag("HttpClientError", () => Effect.fail("no answer")),
      CircuitBreaker.protect("mail")
    )
    return { notify: () => send }
  })
)

// ---- A runner -------------------------------------------------------------------------------------------------------

// This example has its own tables. You can delete them.
const clusterTables = { prefix: "example_cluster" }
const circuitTables = { prefix: "example_cluster_breaker" }
const database = PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })

const runner = (name: string, port: number) => {
  const config = {
    runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", port)),
    shardsPerGroup: 30,
    refreshAssignmentsInterval: "200 millis"
  } as const
  const storage = Layer.mergeAll(
    SqlMessageStorage.layerWith(clusterTables),
    SqlRunnerStorage.layerWith(clusterTables)
  ).pipe(Layer.provide(ShardingConfig.layer(config)))
  return Customers.pipe(
    Layer.provideMerge(NodeClusterSocket.layer({ storage: "byo", shardingConfig: config })),
    Layer.provide([storage, FetchHttpClient.layer]),
    // One store for each runner. All entities of the runner share its circuits, and the database shares them between runners.
    Layer.provideMerge(SqlStore.layer({ ...circuitTables, process: name })),
    Layer.provide([database, NodeCrypto.layerDigest]),
    Layer.provideMerge(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "5 seconds" } })),
    Layer.provideMerge(Logger.layer([]))
  )
}

const freePort = Effect.promise(async () => {
  const server = createSocket()
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
})

// ---- What happens ---------------------------------------------------------------------------------------------------

/** Describes the error of a notification. */
const ended = (error: unknown): string => {
  if (CircuitOpen.isCircuitOpen(error)) return `rejected by the ${error.scope}`
  return typeof error === "string" ? error : "not delivered"
}

const program = Effect.gen(function* () {
  const runners = yield* Effect.forEach(
    ["runner-1", "runner-2", "runner-3"],
    (name) => Effect.flatMap(freePort, (port) => Layer.build(runner(name, port))),
    { concurrency: "unbounded" }
  )
  const [first] = runners
  if (first === undefined) return

  /** The first runner notifies 30 customers. The entities of the customers are spread over all runners. */
  const customer = yield* Effect.provideContext(Customer.client, first)
  const notifyAll = Effect.forEach(
    Array.from({ length: 30 }, (_, id) => customer(`customer-${id}`)),
    (one) => Effect.match(one.notify(), { onSuccess: (answer) => answer, onFailure: ended })
  )
  const untilAllAre = (answer: string) =>
    Effect.repeat(notifyAll, {
      until: (answers) => answers.every((one) => one === answer),
      schedule: Schedule.spaced("50 millis")
    })
  const inspected = Effect.forEach(runners, (services) =>
    Effect.provideContext(CircuitBreaker.inspect("mail"), services)
  )
  const states = Effect.map(inspected, (circuits) => circuits.map(({ state }) => state).join(", "))

  // Wait until each runner has some of the entities.
  const senders = Effect.map(inspected, (circuits) => circuits.filter(({ totals }) => totals.successes > 0).length)
  const count = yield* Effect.repeat(Effect.andThen(untilAllAre("sent"), senders), { until: (count) => count === 3 })
  console.log(`30 customers notified, by ${count} runners`)

  down = true
  yield* untilAllAre("rejected by the fleet")
  console.log(`the mail server is down: ${yield* states}`)
  const before = requests
  const answers = yield* notifyAll
  console.log(`${answers.filter((answer) => answer === "rejected by the fleet").length} more notifications rejected`)
  console.log(`requests meanwhile: ${requests - before}`)

  down = false
  yield* untilAllAre("sent")
  console.log(`the mail server is back: ${yield* states}`)
})

try {
  await Effect.runPromise(Effect.scoped(program))
} finally {
  mailServer.close()
  mailServer.closeAllConnections()
}
