import { describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { SharedStoreContract } from "effect-fuse/testing"
import { afterAll, beforeAll } from "vitest"
import { databases, on } from "./support/databases.ts"
import { type Place, sharedStore } from "./support/sqlFleet.ts"

describe.each(databases)("%s keeps the contract", (database) => {
  const { place } = on(database)
  // One database for all cases: each has circuits of its own.
  const scope = Effect.runSync(Scope.make())
  let one: Place
  beforeAll(async () => {
    one = await Effect.runPromise(Scope.provide(place, scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  /** One more process with the same database: a client of its own. */
  const open = Effect.suspend(() =>
    Effect.flatMap(one.open, (sql) => sharedStore(sql, { prefix: "contract", pollInterval: "20 millis" }))
  )

  for (const { name, test } of SharedStoreContract.cases(open)) it.live(name, () => Effect.scoped(test), 60_000)
})
