/** Two processes share circuits in PostgreSQL. Prints an outage and its audit trail. Needs DATABASE_URL. */
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Logger } from "effect"
import { BreakerPolicy, CircuitBreaker, Trip } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import * as SqlStore from "effect-fuse/SqlStore"

// Only this example uses these tables. You can delete them.
const tables = { prefix: "example_breaker" }
const database = PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })

const process = (name: string) =>
  AuditTrail.layer({ ...tables, process: name, metadata: { version: "1.2.3" } }).pipe(
    Layer.provideMerge(SqlStore.layer({ ...tables, process: name })),
    Layer.provide(database),
    Layer.provideMerge(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "500 millis" } })),
    Layer.provideMerge(Logger.layer([]))
  )

let down = false
const charge = Effect.suspend(() => (down ? Effect.fail("down") : Effect.succeed("paid"))).pipe(
  CircuitBreaker.protect("payments"),
  Effect.catchTag("CircuitOpen", ({ scope }) => Effect.succeed(`rejected by the ${scope}`)),
  Effect.catch(() => Effect.succeed("failed"))
)

const program = Effect.gen(function* () {
  const checkout = yield* Layer.build(process("checkout"))
  const invoices = yield* Layer.build(process("invoices"))
  const both = Effect.all([Effect.provideContext(charge, checkout), Effect.provideContext(charge, invoices)])

  yield* both
  down = true
  // Both processes see failures, and open the circuit together.
  const said = (what: string) => Effect.repeat(both, { until: (all) => all.every((one) => one.startsWith(what)) })
  const rejected = yield* Effect.delay(said("rejected by the fleet"), "50 millis")
  console.log(rejected.join("; "))
  down = false
  const paid = yield* Effect.repeat(Effect.delay(both, "20 millis"), {
    until: (all) => all.every((one) => one === "paid")
  })
  console.log(paid.join("; "))

  yield* Effect.provideContext(CircuitBreaker.isolate("payments", { reason: "maintenance", actor: "ann" }), checkout)
  yield* Effect.provideContext(CircuitBreaker.reset("payments", { actor: "ann" }), checkout)
  for (const one of [checkout, invoices]) yield* Effect.provideContext(AuditTrail.flush, one)
  const lines = yield* Effect.provideContext(AuditTrail.history("payments", { limit: 6 }), checkout)
  for (const { actor, detail, from, scope, to, why } of lines.toReversed()) {
    console.log(
      `${from} -> ${to}  ${why}${actor === undefined ? "" : ` by ${actor}`}${detail === undefined ? "" : ` (${detail})`}, ${scope}`
    )
  }
})

await Effect.runPromise(Effect.scoped(program))
