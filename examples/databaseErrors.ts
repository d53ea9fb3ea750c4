/** Tells apart two errors of SQLite: a busy database opens the circuit, and a violated constraint does not. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Data, Effect, Logger } from "effect"
import { BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

class DatabaseError extends Data.TaggedError("DatabaseError")<{ readonly code: number; readonly message: string }> {}

/** The last byte of an extended code is the primary code: 5 busy, 6 locked, 10 disk, 13 full, 14 cannot open, 26 no database. */
const isTrouble = ({ code }: DatabaseError) => [5, 6, 10, 13, 14, 26].includes(code & 0xff)

const protect = CircuitBreaker.protect("orders", { isFailure: isTrouble, policy: { trip: Trip.consecutive(2) } })
const insert = (db: DatabaseSync, id: number) =>
  Effect.try({
    try: () => `order ${db.prepare("INSERT INTO orders (id) VALUES (?)").run(id).lastInsertRowid}`,
    catch: (error) => {
      const { errcode, message } = error as Error & { readonly errcode?: number }
      return new DatabaseError({ code: errcode ?? 0, message })
    }
  }).pipe(protect)

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "orders-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)
const open = (path: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(join(path, "orders.db"), { timeout: 10 })),
    (db) => Effect.sync(() => db.close())
  )

const program = Effect.gen(function* () {
  const path = yield* folder
  const [db, other] = [yield* open(path), yield* open(path)]
  db.exec("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
  const say = (id: number) =>
    Effect.catch(insert(db, id), (error) =>
      Effect.succeed(error._tag === "CircuitOpen" ? "not asked: the circuit is open" : error.message)
    )

  for (let i = 0; i < 4; i++) console.log(yield* say(1))
  other.exec("BEGIN IMMEDIATE") // another connection holds the lock
  for (let i = 0; i < 3; i++) console.log(yield* say(2))
  const { totals } = yield* CircuitBreaker.inspect("orders")
  console.log(`${totals.successes} answers, ${totals.failures} failures, ${totals.rejected} rejected`)
})

await Effect.runPromise(
  program.pipe(Effect.scoped, Effect.provide(BreakerStore.layerMemory), Effect.provide(Logger.layer([])))
)
