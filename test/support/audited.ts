import { type Context, Effect, Layer, Logger, type Scope } from "effect"
import { BreakerPolicy, BreakerStore, Trip } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import { until } from "./redisFleet.ts"
import type { Connection } from "./sqlFleet.ts"
import { succeed } from "./verbs.ts"

/** A program that has a trail. */
export type Audited = Context.Context<AuditTrail.AuditTrail | BreakerStore.BreakerStore>

const policies = Layer.orDie(
  BreakerPolicy.layer({ default: { trip: Trip.failures({ atLeast: 2, of: 10 }), cooldown: "100 millis" } })
)

/** A program that writes a trail, in tables that are called `audit_...`. Two failures open its circuits. */
export const audited = (
  sql: Connection,
  options: AuditTrail.Options = {},
  store: Layer.Layer<BreakerStore.BreakerStore> = BreakerStore.layerMemory
): Effect.Effect<Audited, never, Scope.Scope> =>
  Layer.build(
    Layer.fresh(
      Layer.orDie(AuditTrail.layer({ flushInterval: 0, prefix: "audit", ...options })).pipe(
        Layer.provideMerge(Layer.mergeAll(store, policies, Logger.layer([]))),
        Layer.provide(Layer.succeedContext(sql))
      )
    )
  )

/** Waits until so many lines are written, and no other waits for that. */
export const written = (n: number) =>
  until(
    `${n} written`,
    Effect.map(AuditTrail.stats, (stats) => stats.written >= n && stats.pending === 0)
  )

/** How many lines there are, of all circuits. */
export const lines = Effect.map(AuditTrail.latest({ limit: 1_000_000 }), ({ length }) => length)

/** Calls until a call succeeds. */
export const recovers = (at: Parameters<typeof succeed>[0]) =>
  until(
    "it recovered",
    Effect.map(succeed(at), (exit) => exit._tag === "Success")
  )
