import { isStoreNumber } from "../store/announcementText.ts"
import { limits, type Stored } from "../store/SharedStore.ts"
import { type Box, boxesFrom, boxesText } from "./ballotBoxes.ts"
import { type AttributeValue, type DynamoTable, type Item, keyOf, n, s, textOf, wholeOf } from "./client.ts"

/** The record of a circuit. All times come from the store. */
export interface CircuitRecord {
  readonly epoch: number
  readonly body: string
  readonly at: number
  /** Infinity for a record without an end. */
  readonly until: number
  readonly listed: boolean
  /** Whether the index of changes contains this record. The index does if this record or an earlier record of the circuit is listed. */
  readonly changed: boolean
}

export interface CircuitItem {
  /** The turn with this number wrote the item last. */
  readonly version: number
  readonly record: CircuitRecord | undefined
  readonly boxes: ReadonlyMap<string, Box>
}

export const noItem: CircuitItem = { version: 0, record: undefined, boxes: new Map() }

export const circuitKey = (circuit: string): string => `c#${circuit}`
export const circuitOf = (item: Item): string => textOf(item["sk"])?.slice(2) ?? ""

/** This index orders changes by epoch. */
export const changesIndex = "changes"

/** The index contains these attributes of a record. */
export const indexed = ["epoch", "body", "at", "until", "listed"]

/** Begins every stored body, because some emulators refuse empty texts. */
const bodyMark = "="

/** Reads the record of an item. Returns `undefined` without a record, or if another program wrote the record. */
export const recordFrom = (item: Item): CircuitRecord | undefined => {
  const epoch = wholeOf(item["epoch"])
  const at = wholeOf(item["at"])
  const body = textOf(item["body"])
  const until = item["until"] === undefined ? Infinity : wholeOf(item["until"])
  const { listed } = item
  if (epoch === undefined || !isStoreNumber(epoch) || at === undefined || until === undefined) return undefined
  if (body === undefined || !body.startsWith(bodyMark) || listed === undefined || !("BOOL" in listed)) return undefined
  return { epoch, body: body.slice(1), at, until, listed: listed.BOOL, changed: wholeOf(item["e"]) === epoch }
}

export const itemFrom = (item: Item | undefined): CircuitItem =>
  item === undefined
    ? noItem
    : { version: wholeOf(item["v"]) ?? 0, record: recordFrom(item), boxes: boxesFrom(textOf(item["b"])) }

/** Returns the value for the expiry attribute. DynamoDB keeps the item for at least a minute after `millis`. */
export const deletedAt = (millis: number): AttributeValue => n(Math.ceil(millis / 1_000) + 60)

/** Returns when processes no longer need the item: its record, its ballots and its roll calls have then ended. */
const endOf = ({ boxes, record }: CircuitItem): number => {
  let end = 0
  if (record !== undefined) {
    end = record.changed && !record.listed ? Math.max(record.until, record.at + limits.unlistedMillis) : record.until
  }
  for (const { ballots, roll } of boxes.values()) {
    for (const { until } of ballots.values()) end = Math.max(end, until)
    if (roll !== undefined) end = Math.max(end, roll.at + roll.term)
  }
  return end
}

export const toItem = (table: DynamoTable, circuit: string, item: CircuitItem): Item => {
  const { boxes, record, version } = item
  const end = endOf(item)
  const ofRecord: Item =
    record === undefined
      ? {}
      : {
          epoch: n(record.epoch),
          body: s(`${bodyMark}${record.body}`),
          at: n(record.at),
          listed: { BOOL: record.listed },
          ...(record.until === Infinity ? {} : { until: n(record.until) }),
          ...(record.changed ? { e: n(record.epoch) } : {})
        }
  return {
    ...keyOf(table, circuitKey(circuit)),
    v: n(version),
    ...ofRecord,
    ...(boxes.size === 0 ? {} : { b: s(boxesText(boxes)) }),
    ...(end === Infinity ? {} : { x: deletedAt(end) })
  }
}

/** Returns the record, or `undefined` after its end. */
export const storedAt = (record: CircuitRecord | undefined, time: number): Stored | undefined =>
  record === undefined || time >= record.until
    ? undefined
    : { epoch: record.epoch, body: record.body, age: Math.max(0, time - record.at) }
