import * as Effect from "effect/Effect"
import { type DigestsAnswer, type Exchange, limits } from "../store/SharedStore.ts"
import { type DynamoTable, expression, type Item, keyOf, n, putOver, type RequestError, s, textOf } from "./client.ts"
import { type Hub, liveVoter } from "./hub.ts"
import { deletedAt } from "./records.ts"

/** Each digest has its own item, because one item cannot contain the digests of all processes. A digest counts while its voter lives. */
export const digestKey = (voter: string): string => `d#${voter}`

/** How long DynamoDB keeps a digest. Readers skip the digests of dead processes, but each old digest makes a read slower. */
const keptMillis = 3_600_000

/** Writes the digest of a live voter. If this fails, the next heartbeat writes the next digest. A late write does not replace a newer digest. */
export const writeDigest = (
  table: DynamoTable,
  { digest, ttl, voter }: Exchange,
  hub: Hub,
  time: number
): Effect.Effect<void> => {
  const lives = liveVoter(hub, voter, time)
  if (digest === undefined || lives === undefined) return Effect.void
  const item: Item = {
    ...keyOf(table, digestKey(voter)),
    life: s(lives.life),
    at: n(time),
    digest: s(`=${digest}`),
    x: deletedAt(time + Math.max(ttl, keptMillis))
  }
  return Effect.ignore(putOver(table, item, "at", "<=", time))
}

/** Reads the digests of live voters with names after `after`, in ascending order. */
export const digests = (
  table: DynamoTable,
  hub: Hub | undefined,
  time: number,
  after: string
): Effect.Effect<DigestsAnswer, RequestError> => {
  if (hub === undefined) return Effect.succeed({ time, digests: [], next: undefined })
  const query = table.send("Query", {
    TableName: table.name,
    ConsistentRead: true,
    KeyConditionExpression: "#pk = :pk AND #sk BETWEEN :from AND :to",
    ExpressionAttributeNames: expression("#pk #sk"),
    // Names of voters contain no space, and no character after `~`.
    ExpressionAttributeValues: {
      ":pk": s(table.prefix),
      ":from": s(`${digestKey(after)} `),
      ":to": s(digestKey("\u007f"))
    },
    Limit: limits.digests
  })
  return Effect.map(query, ({ Items = [], LastEvaluatedKey }) => ({
    time,
    digests: Items.flatMap((item) => {
      const voter = textOf(item["sk"])?.slice(2) ?? ""
      const digest = textOf(item["digest"])
      const lives = liveVoter(hub, voter, time)
      const counts = digest?.startsWith("=") === true && lives !== undefined && lives.life === textOf(item["life"])
      return counts ? [{ voter, digest: digest.slice(1) }] : []
    }),
    next: textOf(LastEvaluatedKey?.["sk"])?.slice(2)
  }))
}
