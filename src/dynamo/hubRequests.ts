import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { ExchangeAnswer } from "../store/SharedStore.ts"
import { type DynamoTable, expression, get, type Item, isRepeated, keyOf, n, type RequestError, s } from "./client.ts"
import { type Hub, hubFrom, hubKey, newHub, UnreadableHub } from "./hub.ts"
import { farMillis } from "./serverClock.ts"

/** Another process changed the hub after it was read. If the request is a repetition, the change may be that of its first sending. */
export class Lost extends Data.TaggedError("Lost")<{ readonly isRepeated: boolean }> {}

/** What one process remembers of its voters: their latest values in the register. */
export interface Remembered {
  readonly storeLife: string
  readonly life: string
  readonly until: number
  readonly text: string
}

export interface HubSession {
  readonly table: DynamoTable
  readonly voters: Map<string, Remembered>
  readonly newLife: () => string
}

export const late = (time: number): ExchangeAnswer => ({ _tag: "Late", time })

export const readHub = (table: DynamoTable): Effect.Effect<Hub | undefined, RequestError | UnreadableHub> =>
  Effect.flatMap(get(table, hubKey), (item) => (item === undefined ? Effect.succeed(undefined) : decoded(item)))

const decoded = (item: Item): Effect.Effect<Hub, UnreadableHub> => {
  const hub = hubFrom(item)
  return hub instanceof UnreadableHub ? Effect.fail(hub) : Effect.succeed(hub)
}

/** The hub. The first process of a store creates it. */
export const existingHub = ({ newLife, table }: HubSession): Effect.Effect<Hub, RequestError | UnreadableHub | Lost> =>
  Effect.flatMap(readHub(table), (hub) => {
    if (hub !== undefined) return Effect.succeed(hub)
    const create = table.send("PutItem", {
      TableName: table.name,
      Item: { ...keyOf(table, hubKey), ...newHub(table.clock.now(), newLife()) },
      ConditionExpression: "attribute_not_exists(#pk)",
      ExpressionAttributeNames: expression("#pk")
    })
    return Effect.flatMap(Effect.mapError(create, refusedAsLost), () => Effect.fail(new Lost({ isRepeated: false })))
  })

const refusedAsLost = (error: RequestError): RequestError | Lost =>
  error.isRefused ? new Lost({ isRepeated: isRepeated(error) }) : error

/**
 * The condition that the time of the store is not after the deadline. Each heartbeat of the fleet sets this time. If the hub was read with a
 * time that no process of the fleet wrote, the condition accepts exactly this time, too. It does not accept every time that is far ahead,
 * because a command of a process that was frozen finds such a time as well.
 */
export const inTime = (hub: Hub | undefined, time: number, notAfter: number) => {
  if (notAfter === Infinity) return { condition: "#f = :f", values: {} }
  const deadline = { ":notAfter": n(Math.floor(notAfter)) }
  return hub !== undefined && hub.time - time >= farMillis
    ? { condition: "#f = :f AND (#t <= :notAfter OR #t = :far)", values: { ...deadline, ":far": n(hub.time) } }
    : { condition: "#f = :f AND #t <= :notAfter", values: deadline }
}

/** That the voter's value is the one that was read. */
export const isOwn = (text: string | undefined) =>
  text === undefined
    ? { condition: "attribute_not_exists(#r.#voter)", values: {} }
    : { condition: "#r.#voter = :own", values: { ":own": s(text) } }

/** Writes the hub, and returns it. Fails with `Lost` if a condition does not hold. */
export const updateHub = (
  table: DynamoTable,
  voter: string,
  of: { readonly set: string; readonly condition: string; readonly values: Item }
): Effect.Effect<Hub, RequestError | UnreadableHub | Lost> =>
  table
    .send("UpdateItem", {
      TableName: table.name,
      Key: keyOf(table, hubKey),
      UpdateExpression: of.set,
      ConditionExpression: of.condition,
      ExpressionAttributeNames: expression(`${of.set} ${of.condition}`, { "#voter": voter }),
      ExpressionAttributeValues: { ":f": n(1), ...of.values },
      ReturnValues: "ALL_NEW"
    })
    .pipe(
      Effect.mapError(refusedAsLost),
      Effect.flatMap(({ Attributes = {} }) => decoded(Attributes))
    )
