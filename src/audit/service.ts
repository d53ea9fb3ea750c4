import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Database } from "../sql/database.ts"
import type { Trail } from "./trail.ts"

export const Inside: unique symbol = Symbol.for("effect-fuse/audit/AuditTrail/Inside")

/** An audit trail. `trail` is `undefined` if this program only reads it. */
export class AuditTrail extends Context.Service<
  AuditTrail,
  {
    readonly [Inside]: {
      readonly database: Database
      readonly trail: Trail | undefined
      /** Waits up to 5 seconds for the tables. */
      readonly ready: Effect.Effect<void>
    }
  }
>()("effect-fuse/audit/AuditTrail") {}

/** Runs a query. Without the tables it fails with the error of the database. */
export const use = <A>(
  question: (database: Database) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError, AuditTrail> =>
  AuditTrail.use((service) => {
    const { database, ready } = service[Inside]
    return Effect.andThen(ready, question(database))
  })
