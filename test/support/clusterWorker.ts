import { createInterface } from "node:readline"
import { Effect, Layer, Logger, ManagedRuntime, pipe } from "effect"
import { ClusterWorkflowEngine, RunnerAddress } from "effect/cluster"
import { FetchHttpClient, HttpClient } from "effect/http"
import { Activity } from "effect/workflow"
import { BreakerPolicy, CircuitBreaker, CircuitOpen } from "effect-fuse"
import * as SqlStore from "effect-fuse/SqlStore"
import { ActivityBreaker } from "effect-fuse/workflow"
import { Customer, clusterLayer } from "./cluster.ts"
import { client } from "./postgresServer.ts"
import { waits } from "./workflowRunner.ts"
import { Order } from "./workflows.ts"

/** The configuration of a runner. */
export interface Setup {
  readonly url: string
  readonly name: string
  readonly port: number
  /** The server that entities and activities call. */
  readonly server: string
  readonly syncInterval: number
  readonly policy: BreakerPolicy.Input
}

/** The circuit of the server, in a runner. */
export interface Seen {
  readonly standing: string
  readonly openings: number
  readonly failures: number
  readonly ignored: number
}

const { name, policy, port, server, syncInterval, url }: Setup = JSON.parse(process.argv[2] ?? "{}")

const get = (path: string) =>
  Effect.flatMap(HttpClient.HttpClient, (http) =>
    http.get(`${server}/${path}/${name}`).pipe(
      Effect.flatMap(({ status }) => (status === 200 ? Effect.succeed(name) : Effect.fail(`answered ${status}`))),
      Effect.catchTag("HttpClientError", () => Effect.fail("no answer")),
      Effect.timeoutOrElse({ duration: "3 seconds", orElse: () => Effect.fail("late") })
    )
  )

const customers = Customer.toLayer(
  Effect.map(Effect.context<HttpClient.HttpClient>(), (http) => {
    const send = pipe(get("mail"), Effect.provideContext(http), CircuitBreaker.protect("server"))
    const reject = (error: string | CircuitOpen.CircuitOpen) =>
      CircuitOpen.isCircuitOpen(error) ? `rejected (${error.scope})` : error
    return {
      notify: () =>
        Effect.match(send, {
          onSuccess: () => ({ runner: name, result: "sent" }),
          onFailure: (error) => ({ runner: name, result: reject(error) })
        })
    }
  })
)

const charge = (id: string) =>
  Effect.map(Effect.context<HttpClient.HttpClient>(), (http) =>
    Activity.make({
      name: "charge",
      success: Order.successSchema,
      error: Order.errorSchema,
      execute: Effect.provideContext(
        Effect.flatMap(Activity.CurrentAttempt, (attempt) => get(`charge/${id}/${attempt}`)),
        http
      )
    })
  )

const orders = Order.toLayer(({ id }) =>
  Effect.gen(function* () {
    // The server records which runner runs the workflow. This call has no circuit.
    yield* Effect.ignore(get(`run/${id}`))
    return yield* pipe(yield* charge(id), ActivityBreaker.protect("server", waits))
  })
)

const runner = Layer.merge(customers, orders).pipe(
  Layer.provide(ClusterWorkflowEngine.layer),
  Layer.provide(clusterLayer(url, RunnerAddress.make("127.0.0.1", port))),
  Layer.provide(FetchHttpClient.layer),
  Layer.provideMerge(SqlStore.layer({ process: name, syncInterval })),
  Layer.provide(client(url)),
  Layer.provideMerge(BreakerPolicy.layer({ default: policy })),
  // Only answers go to the standard output.
  Layer.provideMerge(Logger.layer([])),
  Layer.orDie
)
const runtime = ManagedRuntime.make(runner)

const seen = Effect.map(
  CircuitBreaker.inspect("server"),
  ({ openings, scope, state, totals: { failures, ignored } }): Seen => ({
    standing: `${state} (${scope})`,
    ...{ openings, failures, ignored }
  })
)

/** Opens the circuit again, with a short cooldown. */
const reopened = CircuitBreaker.open("server", { for: "1 millis" })

await runtime.runPromise(Effect.void)
createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const answer = await runtime.runPromise(JSON.parse(line) === "reopen" ? Effect.andThen(reopened, seen) : seen)
    process.stdout.write(`${JSON.stringify(answer)}\n`)
  })
  // The test has ended.
  .on("close", () => process.exit(1))
process.stdout.write('"ready"\n')
