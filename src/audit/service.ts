import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Database } from "../sql/database.ts"
import type { Trail } from "./trail.ts"

export const Inside: unique symbol = Symbol.for("effect-fuse/audit/AuditTrail/Inside")

/** A trail: where it is, and who writes it, if somebody does. */
export class AuditTrail extends Context.Service<
  AuditTrail,
  {
    readonly [Inside]: {
      readonly database: Database
      readonly trail: Trail | undefined
      /** When the tables are there. */
      readonly ready: Effect.Effect<void>
    }
  }
>()("effect-fuse/audit/AuditTrail") {}

export const readyMillis = 5_000

/** Who asks just after the start waits for the tables; later he hears what the database says. */
export const use = <A>(
  question: (database: Database) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError, AuditTrail> =>
  AuditTrail.use((service) => {
    const { database, ready } = service[Inside]
    return Effect.andThen(Effect.timeoutOption(ready, readyMillis), question(database))
  })
