import { createInterface } from "node:readline"
import { Effect, Layer, Logger, ManagedRuntime } from "effect"
import { BreakerPolicy, type BreakerStore, CircuitBreaker } from "effect-fuse"
import * as DynamoStore from "effect-fuse/DynamoStore"
import * as RedisStore from "effect-fuse/RedisStore"
import { dynamoClient } from "./dynamoServer.ts"
import { outcome } from "./redisFleet.ts"
import { client } from "./redisServer.ts"

export interface Setup {
  readonly store: "Redis" | "DynamoDB"
  readonly url: string
  readonly table: string
  readonly syncInterval: number
  readonly policy: BreakerPolicy.Input
}

/** An invocation makes consecutive calls with one circuit. */
export interface Invocation {
  readonly circuit: string
  readonly finds: "up" | "down"
  readonly calls: number
}

export interface Result {
  readonly got: ReadonlyArray<string>
  readonly standing: string
  readonly openings: number
}

const { policy, store, syncInterval, table, url }: Setup = JSON.parse(process.argv[2] ?? "{}")

const layer = (): Layer.Layer<BreakerStore.BreakerStore> => {
  if (store === "Redis") return RedisStore.layerConnect(client(url), { syncInterval, process: "function" })
  return Layer.unwrap(
    Effect.map(dynamoClient(url, 3), (dynamo) =>
      DynamoStore.layer({ client: dynamo, table, syncInterval, process: "function" })
    )
  )
}
const policies = BreakerPolicy.layer({ default: policy })
const runtime = ManagedRuntime.make(
  // The standard output contains only answers.
  Layer.provideMerge(layer(), Layer.merge(policies, Logger.layer([]))).pipe(Layer.orDie)
)

const handler = ({ calls, circuit, finds }: Invocation): Promise<Result> =>
  runtime.runPromise(
    Effect.gen(function* () {
      const call = CircuitBreaker.protect(finds === "up" ? Effect.succeed("ok") : Effect.fail("down"), circuit)
      const got = yield* Effect.forEach(Array.from({ length: calls }), () => outcome(call))
      const { openings, scope, state } = yield* CircuitBreaker.inspect(circuit)
      return { got, standing: `${state} (${scope})`, openings }
    })
  )

createInterface({ input: process.stdin }).on("line", async (line) => {
  process.stdout.write(`${JSON.stringify(await handler(JSON.parse(line)))}\n`)
})
process.stdout.write('"ready"\n')
