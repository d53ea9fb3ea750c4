/**
 * Measures the requests and capacity units of `DynamoStore` per process and hour, on an emulator. `npm run bench:dynamo`
 */
import { Effect, Exit, Layer, Logger, Scope } from "effect"
import { BreakerPolicy, type BreakerStore, CircuitBreaker } from "effect-fuse"
import * as DynamoStore from "effect-fuse/DynamoStore"
import { circuitsTable, dynamoClient, dynamoTable } from "../test/support/dynamoServer.ts"

interface Consumed {
  requests: number
  reads: number
  writes: number
}

const isWrite = (name: string) => /^(Put|Update)/.test(name)

/** Counts the requests and the capacity units of a client. */
const counting = (client: DynamoStore.DynamoClient, consumed: Consumed): DynamoStore.DynamoClient => ({
  send: async (command, options) => {
    command.input.ReturnConsumedCapacity = "TOTAL"
    consumed.requests++
    const answer = await client.send(command, options)
    // An answer to a batch contains a list.
    for (const capacity of [answer.ConsumedCapacity].flat()) {
      consumed[isWrite(command.constructor.name) ? "writes" : "reads"] += capacity?.CapacityUnits ?? 0
    }
    return answer
  }
})

const seconds = 60
const cooldown = 10_000

const measure = (processes: number, mode: "idle" | "failing", digest: boolean) =>
  Effect.gen(function* () {
    const server = yield* dynamoTable
    const client = yield* dynamoClient(server.url)
    const consumed: Consumed = { requests: 0, reads: 0, writes: 0 }
    const scope = yield* Scope.Scope
    const policies = BreakerPolicy.layer({ default: { cooldown } })
    const contexts = yield* Effect.forEach(Array.from({ length: processes }), () =>
      Layer.buildWithScope(
        Layer.fresh(
          Layer.provideMerge(
            DynamoStore.layer({ client: counting(client, consumed), table: circuitsTable, digest }),
            policies
          )
        ),
        scope
      )
    )
    const everywhere = <A, E>(effect: Effect.Effect<A, E, BreakerStore.BreakerStore>) =>
      Effect.forEach(contexts, (context) => Effect.exit(Effect.provideContext(effect, context)))
    yield* everywhere(CircuitBreaker.protect(Effect.succeed("ok"), "api"))
    yield* Effect.sleep("10 seconds")
    Object.assign(consumed, { requests: 0, reads: 0, writes: 0 })
    const call = CircuitBreaker.protect(mode === "idle" ? Effect.succeed("ok") : Effect.fail("down"), "api")
    const began = performance.now()
    while (performance.now() - began < seconds * 1_000) {
      yield* everywhere(call)
      yield* Effect.sleep("200 millis")
    }
    const perHour = (n: number) => Math.round(((n / processes) * 3_600_000) / (performance.now() - began))
    console.log(
      [processes, mode, digest ? "digest" : "no digest"].join(", "),
      "| requests",
      perHour(consumed.requests),
      "| read units",
      perHour(consumed.reads),
      "| write units",
      perHour(consumed.writes)
    )
  }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))

const program = Effect.gen(function* () {
  for (const digest of [true, false])
    for (const mode of ["idle", "failing"] as const)
      for (const processes of [1, 10, 50]) {
        const exit = yield* Effect.exit(measure(processes, mode, digest))
        if (Exit.isFailure(exit)) console.log(processes, mode, "failed", String(exit.cause))
      }
})
await Effect.runPromise(program)
process.exit(0)
