import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { type Change, type DigestsAnswer, type LoadAnswer, limits, type PageAnswer } from "../store/SharedStore.ts"
import type { Changes } from "./changes.ts"
import { type DynamoTable, expression, getAll, queryAll, type RequestError, s, withDeadline } from "./client.ts"
import * as ofDigests from "./digests.ts"
import { type Hub, liveAt, overlaid, timeOf, type UnreadableHub } from "./hub.ts"
import { readHub } from "./hubRequests.ts"
import { circuitKey, circuitOf, itemFrom, storedAt } from "./records.ts"
import { unheard } from "./rollCalls.ts"

/**
 * All reads are strongly consistent. If a process read an older value of the hub, the store would seem to have lost its latest writes.
 * Processes would then read all changes again, and write their own back.
 */

type ReadFailure = RequestError | UnreadableHub

const withHub = <A>(
  table: DynamoTable,
  f: (hub: Hub | undefined, time: number) => Effect.Effect<A, RequestError>
): Effect.Effect<A, ReadFailure> => Effect.flatMap(readHub(table), (hub) => f(hub, timeOf(hub, table.clock.now())))

export const page = (
  table: DynamoTable,
  changes: Changes,
  since: number,
  limit: number
): Effect.Effect<PageAnswer, ReadFailure> =>
  withHub(table, (hub, time) => {
    if (hub === undefined) {
      const none: PageAnswer = { time, live: 0, life: "", epoch: 0, trimmed: 0, listed: 0, changes: [] }
      return Effect.succeed(none)
    }
    return changes.upTo(hub, time, () => ({
      time,
      live: liveAt(hub, time),
      life: hub.life,
      epoch: hub.epoch,
      ...changes.summary(time),
      changes: changes.after(since, Math.min(limit, limits.page), time)
    }))
  })

export const load = (table: DynamoTable, circuits: ReadonlyArray<string>): Effect.Effect<LoadAnswer, ReadFailure> =>
  withHub(table, (hub, time) =>
    Effect.map(getAll(table, [...new Set(circuits)].map(circuitKey)), (items) => ({
      time,
      records: circuits.map((circuit) => {
        const item = itemFrom(items.get(circuitKey(circuit)))
        return storedAt(overlaid(circuit, item, hub?.pending).record, time)
      })
    }))
  )

export const digests = (table: DynamoTable, after: string): Effect.Effect<DigestsAnswer, ReadFailure> =>
  withHub(table, (hub, time) => ofDigests.digests(table, hub, time, after))

/** Reads at most `most` circuits. The result includes circuits with ended records. */
export const circuitNames = (table: DynamoTable, most: number): Effect.Effect<ReadonlyArray<string>, RequestError> => {
  const condition = "#pk = :pk AND begins_with(#sk, :circuits)"
  return Effect.map(
    queryAll(
      table,
      {
        KeyConditionExpression: condition,
        ProjectionExpression: "#sk",
        ExpressionAttributeNames: expression(condition),
        ExpressionAttributeValues: { ":pk": s(table.prefix), ":circuits": s(circuitKey("")) }
      },
      most
    ),
    (items) => items.map(circuitOf)
  )
}

/** The position up to which the stream has announced changes. Before the first write to the store, `life` is `undefined`. */
interface Announced {
  readonly life: string | undefined
  readonly epoch: number
  readonly head: number
}

const beginning: Announced = { life: undefined, epoch: 0, head: 0 }

/**
 * Reads new records and roll calls about every `millis`, because DynamoDB does not announce changes to processes. The interval varies, to
 * spread the reads.
 */
export const polled = (table: DynamoTable, changes: Changes, millis: number): Stream.Stream<Change, ReadFailure> => {
  const wait = Effect.flatMap(Random.next, (random) => Effect.sleep(millis * (0.8 + 0.4 * random)))
  return Stream.suspend(() => {
    let after: Announced | undefined
    const poll = withDeadline(
      withHub(table, (hub, time) => {
        const at = after
        after = hub === undefined ? beginning : { life: hub.life, epoch: hub.epoch, head: hub.head }
        // The position belongs to one life of the store. This poll skips changes, and the next read of pages finds them.
        const isOther = at?.life !== undefined && at.life !== hub?.life
        if (hub === undefined || at === undefined || isOther || hub.epoch < at.epoch) {
          return Effect.succeed<ReadonlyArray<Change>>([])
        }
        const records =
          hub.epoch === at.epoch
            ? Effect.succeed<ReadonlyArray<Change>>([])
            : changes.upTo(hub, time, () => recordsAfter(changes, at.epoch, time))
        const rollCalls = Effect.map(unheard(table, hub, at.head, time), (all) =>
          all.map((one): Change => ({ _tag: "RollCall", ...one }))
        )
        return Effect.map(Effect.all([records, rollCalls], { concurrency: 2 }), (found) => found.flat())
      })
    )
    return Stream.flattenIterable(
      Stream.concat(Stream.fromEffect(poll), Stream.fromEffectRepeat(Effect.andThen(wait, poll)))
    )
  })
}

const recordsAfter = (changes: Changes, epoch: number, time: number): ReadonlyArray<Change> =>
  changes
    .after(epoch, Infinity, time)
    .flatMap(({ circuit, epoch, record }) =>
      record === undefined ? [] : [{ _tag: "Record", circuit, epoch, body: record.body }]
    )
