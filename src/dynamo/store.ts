import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { type ExchangeAnswer, type SharedStore, StoreError } from "../store/SharedStore.ts"
import { Changes } from "./changes.ts"
import {
  type Attempts,
  type AwsPackage,
  type DynamoClient,
  type DynamoTable,
  deadlineMillis,
  isAnswered,
  sender,
  withDeadline,
  withReason
} from "./client.ts"
import { type Answered, exchange } from "./exchange.ts"
import { explained } from "./explained.ts"
import { type HubSession, readHub } from "./hubRequests.ts"
import { digests, load, page, polled } from "./reads.ts"
import { ServerClock } from "./serverClock.ts"

/** A sort key has at most 1,024 bytes. */
export const longestCircuit = 1_000

/** The delay between attempts to reach DynamoDB at the start of a process. */
const reconnectMillis = 100

export const defaultPrefix = "effect-fuse"
export const defaultPollMillis = 1_000

const randomLife = (): string => globalThis.crypto.randomUUID().replaceAll("-", "").slice(0, 12)

/** A store on one table. A process runs one exchange at a time, because concurrent exchanges would compete for the hub. */
export const storeOn = (table: DynamoTable, pollMillis: number, newLife = randomLife): SharedStore => {
  const session: HubSession = { table, voters: new Map(), newLife }
  const changes = new Changes(table)
  const lock = Semaphore.makeUnsafe(1)
  const failed = (operation: StoreError["operation"]) => (error: { readonly _tag: string; readonly cause?: unknown }) =>
    new StoreError({ operation, cause: error._tag === "RequestError" ? explained(table.name, error.cause) : error })
  const asked = <A, E extends { readonly _tag: string; readonly cause?: unknown }>(
    operation: StoreError["operation"],
    self: Effect.Effect<A, E>
  ) => Effect.mapError(withReason(table, self), failed(operation))
  /** Answers as soon as the exchange has committed. The next exchange begins after the remaining work of this one. */
  const oneByOne = <E>(one: Effect.Effect<Answered, E>): Effect.Effect<ExchangeAnswer, E> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(lock.take(1)), () =>
        Effect.flatMap(Effect.exit(restore(one)), (exit) => {
          const follow = Exit.isSuccess(exit) ? exit.value.follow : undefined
          const bounded = follow && Effect.ignoreCause(Effect.interruptible(withDeadline(follow)))
          const release: Effect.Effect<unknown> =
            bounded === undefined ? lock.release(1) : Effect.forkDetach(Effect.ensuring(bounded, lock.release(1)))
          return Effect.andThen(
            release,
            Effect.map(exit, ({ answer }) => answer)
          )
        })
      )
    )
  return {
    longestCircuit,
    deadline: deadlineMillis,
    connected: connected(table),
    exchange: (request) => asked("exchange", oneByOne(exchange(session, request))),
    page: (since, limit) => asked("page", page(table, changes, since, limit)),
    load: (circuits) => asked("load", load(table, circuits)),
    digests: (after) => asked("digests", digests(table, after)),
    changes: Stream.mapError(polled(table, changes, pollMillis), failed("changes"))
  }
}

/** Completes at the first answer of DynamoDB, even an error. A cold start first resolves credentials and opens a TLS connection. */
const connected = (table: DynamoTable): Effect.Effect<void> => {
  const asked = Effect.catch(Effect.asVoid(readHub(table)), (error) =>
    error._tag === "RequestError" && !isAnswered(error) ? Effect.fail(error) : Effect.void
  )
  return Effect.orDie(Effect.retry(asked, Schedule.spaced(reconnectMillis)))
}

/** Prepares a table for the store. The table's clock learns the servers' time from their responses. */
export const dynamoTable = (
  client: DynamoClient,
  aws: AwsPackage,
  { name, prefix }: Pick<DynamoTable, "name" | "prefix">
): Effect.Effect<DynamoTable> =>
  Effect.map(Clock.Clock, (local) => {
    const clock = new ServerClock(() => local.currentTimeMillisUnsafe())
    const attempts: Attempts = { trouble: undefined }
    return { name, prefix, send: sender(client, aws, clock, attempts), clock, attempts }
  })
