/** A PostgreSQL as the store of a soak. */
import { setTimeout as sleep } from "node:timers/promises"
import { PgClient } from "@effect/sql-pg/PgClient"
import { Effect, Logger, Queue } from "effect"
import { client, postgresServer } from "../../test/support/postgresServer.ts"
import { heard, listening } from "./observer.ts"
import type { MakeServer } from "./server.ts"

const run = <A>(effect: Effect.Effect<A>): Promise<A> => Effect.runPromise(effect)

/** How the connections of the observer are called, so that a fault can leave them alone. */
const observerName = "observer"

export const postgres: MakeServer = (prefix) =>
  Effect.map(postgresServer, ({ kill, port, start, url }) => {
    const own = client(url, { applicationName: observerName, maxConnections: 1 })
    /** Statements on a connection of their own. */
    const saying = <A, E>(f: (sql: PgClient) => Effect.Effect<A, E>): Effect.Effect<A> =>
      Effect.orDie(Effect.flatMap(PgClient, f)).pipe(Effect.provide(own), Effect.provide(Logger.layer([])))
    const say = (text: string) => () => run(Effect.asVoid(saying((sql) => sql.unsafe(text))))
    const tables = ["s", "_ballots", "_inquiries", "_voices", "_eras"].map((name) => `${prefix}${name}`)
    return {
      port,
      urlBy: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
      faults: {
        // What was committed is there again.
        "postgres killed": async (lasts, running) => {
          await run(kill)
          await sleep(lasts)
          return running() ? run(start) : undefined
        },
        // Whoever writes waits, and so does whoever reads: as while somebody changes a table.
        "tables locked": (lasts) =>
          run(
            Effect.ignoreCause(
              saying((sql) =>
                sql.withTransaction(Effect.andThen(sql.unsafe(`LOCK TABLE ${tables.join(", ")}`), Effect.sleep(lasts)))
              )
            )
          ),
        "tables emptied": say(`TRUNCATE ${tables.join(", ")}`),
        "kill listeners": say(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE query ILIKE 'LISTEN%' AND application_name <> '${observerName}'`)
      },
      observe: (records) =>
        listening(
          Effect.gen(function* () {
            const sql = yield* PgClient
            const [row] = yield* sql.unsafe<{ oid: string }>(`SELECT CAST('${prefix}s'::regclass::oid AS TEXT) AS oid`)
            const messages = yield* sql.listen(`circuit_breakers_${row?.oid}`)
            return yield* Effect.forever(Effect.map(Queue.take(messages), ({ payload }) => heard(payload, records)))
          }).pipe(Effect.scoped, Effect.provide(own))
        ),
      voices: saying((sql) => {
        const now = "EXTRACT(EPOCH FROM now()) * 1000"
        return Effect.map(
          Effect.all([
            sql.unsafe<{ voice: string }>(`SELECT voice FROM ${prefix}_voices WHERE ends_at > ${now}`),
            sql.unsafe<{ voice: string; box: string }>(
              `SELECT voice, circuit || ' ' || box AS box FROM ${prefix}_ballots WHERE ends_at > ${now}`
            )
          ]),
          ([live, ballots]) => ({
            live: live.map(({ voice }) => voice),
            ballots: ballots.map(({ box, voice }) => [voice, box] as const)
          })
        )
      })
    }
  })
