import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { ExchangeAnswer } from "../store/SharedStore.ts"
import { type DynamoTable, expression, get, type Item, isRepeated, keyOf, n, type RequestError, s } from "./client.ts"
import { format, type Hub, hubFrom, hubKey, newHub, UnreadableHub, type Voter } from "./hub.ts"
import { farMillis } from "./serverClock.ts"

/** The hub has changed since this process read it. If the AWS client repeated the request, an earlier attempt may have made the change. */
export class Lost extends Data.TaggedError("Lost")<{ readonly isRepeated: boolean }> {}

/** This process's voter has this value in the register. */
export interface Remembered extends Voter {
  readonly storeLife: string
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

/** Reads the hub. Creates it if the table has no hub, and then fails with `Lost`, so that the caller reads it again. */
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
 * Requires that the hub's time is not after the deadline. Each heartbeat of the fleet sets the hub's time. If another program has written a
 * time far in the future, the condition also accepts exactly this time. The condition must not accept all far times: after a long freeze, a
 * process finds the hub's time far after its deadline.
 */
export const inTime = (hub: Hub | undefined, time: number, notAfter: number) => {
  if (notAfter === Infinity) return { condition: "#f = :f", values: {} }
  const deadline = { ":notAfter": n(Math.floor(notAfter)) }
  return hub !== undefined && hub.time - time >= farMillis
    ? { condition: "#f = :f AND (#t <= :notAfter OR #t = :far)", values: { ...deadline, ":far": n(hub.time) } }
    : { condition: "#f = :f AND #t <= :notAfter", values: deadline }
}

/** Requires that the voter's value has not changed since the read. */
export const isOwn = (text: string | undefined) =>
  text === undefined
    ? { condition: "attribute_not_exists(#r.#voter)", values: {} }
    : { condition: "#r.#voter = :own", values: { ":own": s(text) } }

/** Writes the hub, and returns its new value. Fails with `Lost` if the condition is false. */
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
      ExpressionAttributeValues: { ":f": n(format), ...of.values },
      ReturnValues: "ALL_NEW"
    })
    .pipe(
      Effect.mapError(refusedAsLost),
      Effect.flatMap(({ Attributes = {} }) => decoded(Attributes))
    )
