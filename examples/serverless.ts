/**
 * AWS Lambda calls a function. The runtime is a module-level value, so an instance builds its store once for all its invocations. A payment
 * provider is down during four invocations.
 *
 *     node --conditions=@effect-fuse/source examples/serverless.ts
 *     CIRCUIT_BREAKER_STORE=dynamo CIRCUITS_TABLE=circuits AWS_REGION=eu-central-1 node ... examples/serverless.ts
 */
import { Config, Effect, Layer, Logger, ManagedRuntime, pipe } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import * as DynamoStore from "effect-fuse/DynamoStore"

// An instance serves one request at a time and makes few calls, so a short streak of failures opens the circuit.
const Policies = BreakerPolicy.layer({ breakers: { payments: { trip: Trip.consecutive(3), cooldown: "30 seconds" } } })

const Circuits = BreakerStore.layerConfig({
  dynamo: DynamoStore.layerConfig({ table: Config.String("CIRCUITS_TABLE"), prefix: "shop", process: "charge" })
})

const runtime = ManagedRuntime.make(Layer.provideMerge(Circuits, Layer.merge(Policies, Logger.layer([]))))

const charge = (_order: string) => Effect.fail("the provider does not answer")

/** Lambda calls this function. A real function exports it: `export const handler`. */
const handler = (event: { readonly order: string }): Promise<{ readonly statusCode: number; readonly body: string }> =>
  pipe(
    charge(event.order),
    CircuitBreaker.protect("payments"),
    Effect.match({
      onSuccess: () => ({ statusCode: 200, body: "charged" }),
      onFailure: (error) =>
        typeof error === "string"
          ? { statusCode: 502, body: error }
          : { statusCode: 503, body: `${error.circuit} is open: try again later` }
    }),
    runtime.runPromise
  )

for (const order of ["a", "b", "c", "d"]) {
  const { body, statusCode } = await handler({ order })
  console.log(`${order}: ${statusCode} ${body}`)
}
// Lambda ends an instance without notice. A program that ends by itself closes its runtime.
await runtime.dispose()
