import { anyMillis, count, field, flag, isRecord, optional, positiveMillis, text } from "../core/fields.ts"
import { tableLocationFields } from "../sql/tableLocation.ts"
import { metadataField } from "./metadata.ts"
import type * as questions from "./queries.ts"

export const readerFields = { ...tableLocationFields, migrate: optional(flag) }
export const optionFields = {
  ...readerFields,
  process: optional(text),
  metadata: optional(metadataField),
  flushInterval: optional(anyMillis),
  maxPending: optional(count)
}

export const withinFields = { within: optional(positiveMillis), limit: optional(count) }

const before = field<questions.Before>("a time in milliseconds since 1970, or a line with at and id", (input) => {
  if (typeof input === "number") return Number.isFinite(input) ? input : undefined
  if (!isRecord(input)) return undefined
  const { at, id } = input
  return typeof at === "number" && Number.isFinite(at) && typeof id === "string" ? { at, id } : undefined
})
export const pageFields = {
  limit: optional(count),
  before: optional(before)
}

export const pruneFields = {
  olderThan: positiveMillis,
  closedFor: optional(positiveMillis),
  batch: optional(count)
}
