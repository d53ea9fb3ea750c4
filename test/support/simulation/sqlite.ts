/**
 * `SqlStore` on SQLite, in virtual time: the commands of all processes come to one client, whose statements take their time,
 * so that those of one command come between those of another. Clocks of SQLite are the simulation's.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { DatabaseSync } from "node:sqlite"
import { Context, Effect, Exit, Layer, Random, Scope, Stream } from "effect"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import * as SqlStore from "effect-fuse/SqlStore"
import { type SqliteOptions, sqlite } from "../sqlite.ts"
import type { Backend, MakeBackend } from "./backend.ts"
import { Chance, sometimes, uniform } from "./random.ts"

/** Milliseconds that a statement takes. */
const statement = sometimes(0.02, uniform(5, 50), uniform(0.02, 0.5))

/** 1970, as SQLite counts days. */
const epochDays = 2_440_587.5
const millisPerDay = 86_400_000

const named = (...names: ReadonlyArray<string>) => names.map((name) => `circuit_breaker${name}`)
const read = named("s", "_ballots", "_boxes", "_voters", "_rolls", "_store")
const others = named("_events", "_states", "_heartbeats", "_snapshots", "_versions")

/** `wrong`: the database is, on purpose. */
export const sqlStore =
  (wrong: Pick<SqliteOptions, "rewrite" | "isolated"> = {}): MakeBackend =>
  ({ clock, publish, run, seed }): Backend => {
    const folder = mkdtempSync(join(tmpdir(), "simulation-"))
    const chance = new Chance(seed)
    let ready = false
    const scope = Scope.makeUnsafe()
    /** What waits for nothing. */
    const now = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): A => {
      let found: Exit.Exit<A, E> | undefined
      run(Scope.provide(effect, scope), (exit) => {
        found = exit
      })
      if (found === undefined) throw new Error("the store is not there at once")
      if (Exit.isFailure(found)) throw new Error("the store is not there", { cause: found.cause })
      return found.value
    }
    const opened = (db: DatabaseSync): void => {
      db.exec("PRAGMA synchronous = OFF; PRAGMA busy_timeout = 0")
      db.function("julianday", { varargs: true }, () => epochDays + clock.currentTimeMillisUnsafe() / millisPerDay)
    }
    const connect = (before: Effect.Effect<void>) =>
      now(Layer.build(Layer.fresh(sqlite(join(folder, "circuits.db"), { opened, before, ...wrong }))))
    const writing = connect(Effect.suspend(() => (ready ? Effect.sleep(statement(chance)) : Effect.void)))
    now(Effect.provideContext(SqlStore.migrate(), writing))
    ready = true
    const reader = now(Effect.provideContext(SqlStore.make({ migrate: false }), connect(Effect.void)))
    const store = now(Effect.provideContext(SqlStore.make(), writing))
    const sql = Context.get(writing, SqlClient.SqlClient)
    // Whoever listens begins again where that ended.
    const listen = Effect.ignoreCause(Stream.runForEach(store.changes, (change) => Effect.sync(() => publish(change))))
    run(Random.withSeed(Effect.forever(Effect.andThen(listen, Effect.sleep("1 second"))), seed))
    return {
      // A look is one statement: another process's.
      store: { ...store, load: reader.load },
      keepsTime: true,
      // Somebody empties the tables, or takes them away.
      wipe: Effect.suspend(() => {
        const word = chance.happens(0.5) ? "DELETE FROM" : "DROP TABLE"
        const all = word === "DELETE FROM" ? read : [...read, ...others]
        const wiped = sql.withTransaction(
          Effect.forEach(all, (table) => sql.unsafe(`${word} ${table}`), { discard: true })
        )
        // They may not be there again since the last time.
        const areGone = ({ reason }: SqlError) => /no such table/.test(String(reason.cause))
        return Effect.orDie(Effect.catchIf(wiped, areGone, () => Effect.void))
      }),
      close: () => {
        run(Scope.close(scope, Exit.void))
        rmSync(folder, { recursive: true, force: true })
      }
    }
  }
