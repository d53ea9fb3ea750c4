import { DatabaseSync } from "node:sqlite"
import { type Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql"
import * as client from "../../src/cli/sqlite.ts"

export interface SqliteOptions {
  /** Is given the database once it is open. */
  readonly opened?: (db: DatabaseSync) => void
  /** Runs before each statement: what it takes until it is carried out. */
  readonly before?: Effect.Effect<void>
  /** Makes another statement of each: for a store that is wrong on purpose. */
  readonly rewrite?: (statement: string) => string
  /** `false` for transactions that keep nobody out, which are wrong on purpose. Default `true`. */
  readonly isolated?: boolean
}

const transaction = /^(BEGIN|COMMIT|ROLLBACK)\b/i

/** A client for a file of SQLite, which several processes use at once. */
export const sqlite = (
  file: string,
  { before, isolated = true, opened: prepare, rewrite = (statement) => statement }: SqliteOptions = {}
): Layer.Layer<SqlClient.SqlClient> =>
  Layer.orDie(
    client.sqlite(
      () => {
        const db = new DatabaseSync(file, { timeout: 5_000 })
        db.exec("PRAGMA journal_mode = WAL")
        prepare?.(db)
        db.prepare = (statement) => {
          const other = !isolated && transaction.test(statement) ? "SELECT 1" : rewrite(statement)
          return DatabaseSync.prototype.prepare.call(db, other)
        }
        return db
      },
      { ...(before === undefined ? {} : { before }), transactions: isolated ? 1 : 1_000 }
    )
  )
