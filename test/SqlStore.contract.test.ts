import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import * as SqlStore from "effect-fuse/SqlStore"
import { SharedStoreContract } from "effect-fuse/testing"
import { afterAll, beforeAll } from "vitest"
import { client, postgresUrl } from "./support/postgresServer.ts"
import { sqlite } from "./support/sqlite.ts"

const scope = Effect.runSync(Scope.make())
const folder = mkdtempSync(join(tmpdir(), "contract-"))
let url = ""

beforeAll(async () => {
  url = await Effect.runPromise(Scope.provide(postgresUrl, scope))
}, 180_000)
afterAll(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  rmSync(folder, { recursive: true, force: true })
})

/** One more process with the same database: a client of its own. */
const databases = {
  PostgreSQL: () => client(url),
  SQLite: () => sqlite(join(folder, "circuits.db"))
}

const open = (database: keyof typeof databases) =>
  Effect.gen(function* () {
    const sql = yield* Layer.build(databases[database]())
    return yield* Effect.provideContext(SqlStore.make({ prefix: "contract", pollInterval: "20 millis" }), sql)
  })

describe.each(["PostgreSQL", "SQLite"] as const)("%s keeps the contract", (database) => {
  for (const { name, test } of SharedStoreContract.cases(open(database)))
    it.live(name, () => Effect.scoped(test), 60_000)
})
