import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SharedStoreContract } from "effect-fuse/testing"
import { databases, on } from "./support/databases.ts"
import { madeBefore, ofFile } from "./support/ofFile.ts"
import { sharedStore } from "./support/sqlFleet.ts"

describe.each(databases)("%s keeps the contract", (database) => {
  const { place } = on(database)
  // One database for all cases: each has circuits of its own.
  const one = madeBefore(ofFile(place))

  /** One more process with the same database: a client of its own. */
  const open = Effect.flatMap(one, ({ open }) =>
    Effect.flatMap(open, (sql) => sharedStore(sql, { prefix: "contract" }))
  )

  const announces = database === "PostgreSQL"
  for (const { name, test } of SharedStoreContract.cases(open, { announces }))
    it.live(name, () => Effect.scoped(test), 60_000)
})
