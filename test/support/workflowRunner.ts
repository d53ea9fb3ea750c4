import { NodeCrypto } from "@effect/platform-node"
import { type Context, Effect, Exit, Layer, Scope } from "effect"
import { ClusterWorkflowEngine, SingleRunner } from "effect/cluster"
import type { WorkflowEngine } from "effect/workflow"
import { BreakerPolicy, BreakerStore, Trip } from "effect-fuse"
import type { ActivityBreaker } from "effect-fuse/workflow"
import { client } from "./postgresServer.ts"

/** A long cooldown makes the wait of the workflow durable. `maxDelay` shortens the wait for the tests. */
export const waits: ActivityBreaker.Waits = { maxDelay: "300 millis", minDelay: "300 millis", jitter: 0 }

const policy: BreakerPolicy.Input = { trip: Trip.consecutive(1), cooldown: "1 hour" }

type Services = BreakerStore.BreakerStore | WorkflowEngine.WorkflowEngine

export interface Runner {
  readonly run: <A, E>(self: Effect.Effect<A, E, Services>) => Effect.Effect<A, E>
  /** Stops the runner, as if its process ended. */
  readonly stop: Effect.Effect<void>
}

/** Starts a runner with its own circuits. The database keeps the workflows of the runner. */
export const runner = (
  url: string,
  workflow: Layer.Layer<never, never, Services>
): Effect.Effect<Runner, never, Scope.Scope> =>
  Effect.gen(function* () {
    const cluster = SingleRunner.layer({
      shardingConfig: {
        shardsPerGroup: 4,
        entityMessagePollInterval: "50 millis",
        entityReplyPollInterval: "50 millis",
        entityTerminationTimeout: "500 millis"
      }
    }).pipe(Layer.provide([client(url), NodeCrypto.layerDigest]))
    const services = workflow.pipe(
      Layer.provideMerge(ClusterWorkflowEngine.layer),
      Layer.provide(cluster),
      Layer.provideMerge(BreakerStore.layerMemory),
      Layer.provide(BreakerPolicy.layer({ default: policy }))
    )
    const scope = yield* Scope.fork(yield* Effect.scope)
    const context: Context.Context<Services> = yield* Layer.buildWithScope(Layer.orDie(services), scope)
    return {
      run: (self) => Effect.provideContext(self, context),
      stop: Scope.close(scope, Exit.void)
    }
  })
