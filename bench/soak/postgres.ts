/** A PostgreSQL as the store of a soak. */
import { setTimeout as sleep } from "node:timers/promises"
import { PgClient } from "@effect/sql-pg/PgClient"
import { Context, Effect, Layer, Logger, Result, Schedule, Stream } from "effect"
import type { SharedStore } from "effect-fuse"
import { client, postgresServer } from "../../test/support/postgresServer.ts"
import { listening } from "./observer.ts"
import type { MakeServer } from "./server.ts"

const run = <A>(effect: Effect.Effect<A>): Promise<A> => Effect.runPromise(effect)

/** The application name of the observer's connections, so that faults can spare them. */
const observerName = "observer"

/** Decodes the record in a notification. */
const announced = (payload: string): Result.Result<SharedStore.Change, void> => {
  const found = /^R (\d+) (\S+) (.+)$/s.exec(payload)
  if (found === null) return Result.failVoid
  const [, epoch = "", circuit = "", body = ""] = found
  return Result.succeed({ _tag: "Record", circuit, epoch: Number(epoch), body })
}

export const postgres: MakeServer = (prefix) =>
  Effect.map(postgresServer, ({ kill, port, start, url }) => {
    const own = client(url, { applicationName: observerName, maxConnections: 1 })
    /** Runs statements on a separate connection. It retries, because on a busy machine, a killed server returns later than planned. */
    const saying = <A, E>(f: (sql: PgClient) => Effect.Effect<A, E>): Effect.Effect<A> =>
      Effect.flatMap(PgClient, f).pipe(
        Effect.provide(own),
        Effect.retry({ schedule: Schedule.spaced("200 millis"), times: 150 }),
        Effect.orDie,
        Effect.provide(Logger.layer([]))
      )
    const say = (text: string) => () => run(Effect.asVoid(saying((sql) => sql.unsafe(text))))
    const tables = ["s", "_ballots", "_boxes", "_voters", "_rolls", "_store"].map((name) => `${prefix}${name}`)
    return {
      port,
      urlBy: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
      faults: {
        // Committed transactions survive this fault.
        "postgres killed": async (lasts, running) => {
          await run(kill)
          await sleep(lasts)
          return running() ? run(start) : undefined
        },
        // Reads and writes wait, as while a migration changes a table.
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
          // Without a `SqlStore`, because it would check its tables first, which may be locked.
          Effect.gen(function* () {
            const sql = Context.get(yield* Layer.build(own), PgClient)
            const [row] = yield* sql.unsafe<{ oid: string }>(`SELECT CAST('${prefix}s'::regclass::oid AS TEXT) AS oid`)
            const messages = yield* sql.listen(`circuit_breakers_${row?.oid}`)
            return Stream.filterMap(Stream.fromQueue(messages), ({ payload }) => announced(payload))
          }),
          records
        ),
      voters: saying((sql) => {
        const now = "EXTRACT(EPOCH FROM now()) * 1000"
        return Effect.map(
          Effect.all([
            sql.unsafe<{ voter: string }>(`SELECT voter FROM ${prefix}_voters WHERE ends_at > ${now}`),
            sql.unsafe<{ voter: string; box: string }>(
              `SELECT voter, circuit || ' ' || box AS box FROM ${prefix}_ballots WHERE ends_at > ${now}`
            )
          ]),
          ([live, ballots]) => ({
            live: live.map(({ voter }) => voter),
            ballots: ballots.map(({ box, voter }) => [voter, box] as const)
          })
        )
      })
    }
  })
