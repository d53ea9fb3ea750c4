/** Policies in a database table. A change takes effect while the program runs. An invalid change is logged, and changes nothing. */
import { Cause, Effect, Layer, Logger, pipe, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { sqlite } from "../test/support/sqlite.ts" // Effect 4.1 has no client for SQLite. PgClient works the same way.

/** Each row is the policy of a name, as JSON. */
const load = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly name: string; readonly policy: string }>`SELECT name, policy FROM policies`
  const breakers = yield* Effect.try(() =>
    Object.fromEntries(rows.map(({ name, policy }) => [name, JSON.parse(policy)]))
  )
  return { default: { trip: Trip.consecutive(5) }, breakers }
})

const write = (policy: unknown) =>
  SqlClient.SqlClient.use(
    (sql) => sql`INSERT INTO policies ${sql.insert({ name: "bank", policy: JSON.stringify(policy) })}
      ON CONFLICT (name) DO UPDATE SET policy = excluded.policy`
  )

const pay = pipe(Effect.fail("down"), CircuitBreaker.protect("bank"))
const failuresUntilOpen = Effect.gen(function* () {
  yield* CircuitBreaker.reset("bank")
  let failures = 0
  for (; (yield* CircuitBreaker.state("bank")) === "Closed"; failures++) yield* Effect.ignore(pay)
  return failures
})

const program = Effect.gen(function* () {
  console.log("at first:", yield* failuresUntilOpen)
  yield* write({ trip: { _tag: "Consecutive", failures: 2 }, cooldown: "1 minute" })
  console.log("not loaded yet:", yield* failuresUntilOpen)
  yield* TestClock.adjust("30 seconds")
  console.log("loaded:", yield* failuresUntilOpen)
  yield* write({ trip: { _tag: "Consecutive", failures: "two" }, colldown: "1 minute" })
  yield* TestClock.adjust("30 seconds")
  console.log("invalid, so unchanged:", yield* failuresUntilOpen)
})

const Table = Layer.effectDiscard(
  SqlClient.SqlClient.use((sql) => sql`CREATE TABLE policies (name TEXT PRIMARY KEY, policy TEXT NOT NULL)`)
)
const errors = Logger.make(({ cause, logLevel, message }) => {
  if (logLevel !== "Error") return
  console.log(String(message))
  const { problems } = Cause.squash(cause) as BreakerPolicy.PolicyError
  for (const { message, path } of problems) console.log(`  ${path}: ${message.split(", expected")[0]}`)
})
const App = BreakerPolicy.layerReloading(load, Schedule.spaced("30 seconds")).pipe(
  Layer.provide(Table),
  Layer.provideMerge(Layer.mergeAll(sqlite(":memory:"), BreakerStore.layerMemory, Logger.layer([errors])))
)
await Effect.runPromise(program.pipe(Effect.provide(App), Effect.provide(TestClock.layer())))
