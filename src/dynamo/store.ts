import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { type ExchangeAnswer, type SharedStore, StoreError } from "../store/SharedStore.ts"
import { Changes } from "./changes.ts"
import { type AwsPackage, type DynamoClient, type DynamoTable, deadlineMillis, sender, withDeadline } from "./client.ts"
import { type Answered, exchange } from "./exchange.ts"
import { type HubSession, readHub } from "./hubRequests.ts"
import { digests, load, page, polled } from "./reads.ts"
import { ServerClock } from "./serverClock.ts"

/** A sort key has at most 1,024 bytes. */
export const longestCircuit = 1_000

/** How long a process that starts waits before it tries again to reach DynamoDB. */
const againMillis = 100

export const defaultPrefix = "effect-fuse"
export const defaultPollMillis = 1_000

const randomLife = (): string => globalThis.crypto.randomUUID().replaceAll("-", "").slice(0, 12)

/** A store on one table. Exchanges of one process run one after the other, so that they do not compete for the hub. */
export const storeOn = (table: DynamoTable, pollMillis: number, newLife = randomLife): SharedStore => {
  const session: HubSession = { table, voters: new Map(), newLife }
  const changes = new Changes(table)
  const lock = Semaphore.makeUnsafe(1)
  const failed = (operation: StoreError["operation"]) => (error: { readonly _tag: string; readonly cause?: unknown }) =>
    new StoreError({ operation, cause: error._tag === "RequestError" ? error.cause : error })
  /** Answers as soon as the exchange has happened. The next exchange begins when nothing is left to do for this one. */
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
    exchange: (request) => Effect.mapError(oneByOne(exchange(session, request)), failed("exchange")),
    page: (since, limit) => Effect.mapError(page(table, changes, since, limit), failed("page")),
    load: (circuits) => Effect.mapError(load(table, circuits), failed("load")),
    digests: (after) => Effect.mapError(digests(table, after), failed("digests")),
    changes: Stream.mapError(polled(table, changes, pollMillis), failed("changes"))
  }
}

/** Completes when DynamoDB has answered, also with an error: a cold start resolves credentials and makes a TLS connection first. */
const connected = (table: DynamoTable): Effect.Effect<void> => {
  const isUnanswered = (error: { readonly _tag: string; readonly cause?: unknown }) =>
    error._tag === "RequestError" && statusOf(error.cause) === undefined
  const asked = Effect.catch(Effect.asVoid(readHub(table)), (error) =>
    isUnanswered(error) ? Effect.fail(error) : Effect.void
  )
  return Effect.orDie(Effect.retry(asked, Schedule.spaced(againMillis)))
}

const statusOf = (error: unknown): unknown =>
  (error as { readonly $metadata?: { readonly httpStatusCode?: unknown } } | undefined)?.$metadata?.httpStatusCode

export const dynamoStore = (
  client: DynamoClient,
  aws: AwsPackage,
  of: { readonly table: string; readonly prefix: string; readonly pollMillis: number }
): Effect.Effect<SharedStore> =>
  Effect.map(Clock.Clock, (clock) => {
    // The clock on the wall goes on while a function is frozen.
    const serverClock = new ServerClock(() => clock.currentTimeMillisUnsafe())
    const send = sender(client, aws, serverClock)
    return storeOn({ name: of.table, prefix: of.prefix, send, clock: serverClock }, of.pollMillis)
  })
