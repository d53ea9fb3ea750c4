import type { Layer } from "effect"
import type { SqlClient } from "effect/sql"
import * as client from "../../src/internal/cli/sqlite.ts"

/** A client for a file of SQLite, which several processes use at once. */
export const sqlite = (file: string): Layer.Layer<SqlClient.SqlClient> =>
  client.sqlite(file, "PRAGMA journal_mode = WAL")
