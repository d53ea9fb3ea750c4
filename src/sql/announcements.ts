import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { SqlError, UnknownError } from "effect/sql/SqlError"
import type { Statement } from "effect/sql/Statement"
import { detached } from "../connection/detached.ts"
import { listening, type Times } from "../connection/listening.ts"
import { fromText, toText } from "../store/announcementText.ts"
import type { Change } from "../store/SharedStore.ts"
import type { Database } from "./database.ts"
import { polled } from "./polling.ts"
import { load } from "./reads.ts"

/** PostgreSQL announces at most 8,000 bytes. The announcement of a longer body has no body, and its reader loads the record. */
const longestText = 7_900

/** The text of an announcement, without the body if that is too long. */
const short = (change: Change): string => {
  const text = toText(change)
  const isLong = change._tag === "Record" && new TextEncoder().encode(text).length > longestText
  return isLong ? toText({ ...change, body: "" }) : text
}

/**
 * The statement that announces changes on PostgreSQL. Other processes receive them when the transaction is committed. It must be the last
 * of several statements, because PostgreSQL skips a read whose result is not used.
 */
export const announcement = (database: Database, changes: ReadonlyArray<Change>): ReadonlyArray<Statement<object>> => {
  const { channel, sql } = database
  if (database.dialect !== "pg" || changes.length === 0) return []
  const texts = changes.map((change) => sql`(${database.text(short(change))})`)
  return [sql`SELECT pg_notify(${channel}, t.message) FROM (VALUES ${sql.csv(texts)}) AS t(message)`]
}

/** Sends an empty announcement. A standby rejects it. */
const announceNothing = (database: Database): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    const { channel, sql } = database
    return database.apart(database.run(sql`SELECT pg_notify(${channel}, '')`))
  })

/** The change of an announcement; `undefined` if another program sent it. Loads a body that the announcement does not have. */
const changeOf = (database: Database, text: string): Effect.Effect<Change | undefined, SqlError> => {
  const change = fromText(text)
  if (change?._tag !== "Record" || change.body !== "") return Effect.succeed(change)
  const { circuit } = change
  return Effect.map(load(database, [circuit]), ({ records: [record] }) =>
    record === undefined ? undefined : { _tag: "Record", circuit, epoch: record.epoch, body: record.body }
  )
}

/** What other processes announce by NOTIFY. The stream fails if its connection is silent. */
const heard = (database: Database, times: Times | undefined) => {
  const { announcing } = database
  if (announcing === undefined) return undefined
  const silent = (cause: Error) => new SqlError({ reason: new UnknownError({ cause, message: cause.message }) })
  const audible = listening<{ readonly payload: string }, SqlError>(
    "PostgreSQL",
    announceNothing(database),
    silent,
    times
  )
  // If finalizers ran one after the other, the client would wait for the answer to UNLISTEN before it closes the connection. On a
  // silent connection it would wait for ever, and the connection would never return to the pool.
  const listened = Effect.suspend(() => detached(announcing.listen(database.channel), "parallel"))
  return Stream.unwrap(Effect.map(listened, (queue) => audible(Stream.fromQueue(queue)))).pipe(
    Stream.mapEffect(({ payload }) => changeOf(database, payload)),
    Stream.filter((change) => change !== undefined)
  )
}

/** The changes of other processes: by LISTEN if the client has it, and otherwise read about every `pollMillis`. */
export const announcements = (
  database: Database,
  {
    pollMillis,
    run,
    times
  }: {
    readonly pollMillis: number
    readonly run: <A>(statement: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>
    readonly times: Times | undefined
  }
): Stream.Stream<Change, SqlError> => heard(database, times) ?? polled(database, pollMillis, run)
