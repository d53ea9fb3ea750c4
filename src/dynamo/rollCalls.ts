import * as Effect from "effect/Effect"
import { limits, type RollCall } from "../store/SharedStore.ts"
import { parsed } from "./ballotBoxes.ts"
import { type DynamoTable, expression, type Item, keyOf, n, queryAll, type RequestError, s, textOf } from "./client.ts"
import { type Hub, rollCallFrom, rollCallText } from "./hub.ts"
import { deletedAt } from "./records.ts"
import { farMillis } from "./serverClock.ts"

/** A roll call has this sort key. Leading zeros sort the keys in the order of the numbers. */
const rollCallKey = (seq: number): string => `l#${String(seq).padStart(16, "0")}`

export const rollCallItem = (table: DynamoTable, rollCall: RollCall, time: number): Item => {
  const end = time + rollCall.term + limits.logMillis
  return {
    ...keyOf(table, rollCallKey(rollCall.seq)),
    l: s(rollCallText(rollCall)),
    end: n(Math.ceil(end)),
    x: deletedAt(end)
  }
}

/** Older roll calls have ended, even if the clock of this process is slow. */
const oldestMillis = limits.rollCallMillis + limits.logMillis + farMillis

/**
 * Reads the live roll calls after `heard`, in ascending order. DynamoDB may delete expired roll calls hours late, so the query filters
 * them.
 */
export const unheard = (
  table: DynamoTable,
  hub: Hub,
  heard: number,
  time: number
): Effect.Effect<ReadonlyArray<RollCall>, RequestError> => {
  if (hub.head <= heard) return Effect.succeed([])
  const from = Math.min(hub.head, Math.max(heard + 1, Math.floor((time - oldestMillis) * 1_000)))
  const items = queryAll(
    table,
    {
      KeyConditionExpression: "#pk = :pk AND #sk BETWEEN :from AND :to",
      FilterExpression: "#end > :time",
      ExpressionAttributeNames: expression("#pk #sk #end"),
      ExpressionAttributeValues: {
        ":pk": s(table.prefix),
        ":from": s(rollCallKey(from)),
        ":to": s(rollCallKey(hub.head)),
        ":time": n(time)
      }
    },
    limits.rollCalls
  )
  return Effect.map(items, (found) => {
    const calls = new Map<number, RollCall>()
    for (const item of found) {
      const one = rollCallFrom(parsed(textOf(item["l"])))
      if (one !== undefined && one.seq <= hub.head) calls.set(one.seq, one)
    }
    // The log may not contain the roll calls of a pending turn yet.
    for (const one of hub.pending?.rollCalls ?? []) if (one.seq > heard) calls.set(one.seq, one)
    return [...calls.values()].sort((a, b) => a.seq - b.seq).slice(0, limits.rollCalls)
  })
}
