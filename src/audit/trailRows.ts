import type { Transition } from "../shapes/BreakerEvent.ts"
import { storable } from "../sql/database.ts"
import { circuitId } from "../store/codec.ts"

export type TrailRow = Readonly<Record<string, string | number | null>>

const whole = (n: number | undefined | null): number | null => (n === undefined || n === null ? null : Math.round(n))

const textOrNull = (text: string | undefined): string | null => (text === undefined ? null : storable(text))

const longestId = 1_400

/** Shortens an id that is too long for an index: the result is its beginning and a hash of the whole id. */
export const shortId = (id: string): string => {
  if (id.length <= longestId) return id
  const sums = [0x811c9dc5, 0x1b873593, 0x9e3779b1, 0x85ebca6b]
  for (let i = 0; i < id.length; i++) {
    const index = i % sums.length
    sums[index] = Math.imul((sums[index] as number) ^ id.charCodeAt(i), 0x01000193)
  }
  const mixed = sums.map((one, i) => (Math.imul(one ^ (sums[(i + 1) % 4] as number), 0x01000193) >>> 0).toString(36))
  return `${id.slice(0, longestId)}~${mixed.join("")}`
}

/** The `circuit_id` of an event. */
export const idOf = ({ circuit, key }: Transition): string => shortId(circuitId(circuit, key))

/** The fields that the writer of a row adds to its event. */
export interface Written {
  readonly id: string
  readonly process: string
  /** Makes the id of an outage unique if one process decided it alone; empty for an outage of the fleet. */
  readonly owner: string
  readonly metadata: string | null
}

export const toLine = (event: Transition, { id, metadata, owner, process }: Written): TrailRow => {
  const { counts, outage } = event
  const at = Math.round(event.at)
  return {
    id,
    at,
    circuit_id: idOf(event),
    circuit: storable(event.circuit),
    circuit_key: textOrNull(event.key),
    from_state: event.from,
    to_state: event.to,
    why: event.why,
    detail: textOrNull(event.detail),
    actor: textOrNull(event.actor),
    scope: event.scope,
    process: storable(event.process ?? process),
    mode: event.mode,
    epoch: event.epoch,
    openings: event.openings,
    retry_after: whole(event.retryAfterMillis),
    lasted: whole(event.lastedMillis),
    // All processes agree on the start of an outage of the fleet, so the start identifies it. For other outages the owner is added.
    outage: outage === undefined ? null : `${outage.at}${owner === "" ? "" : `~${owner}`}`,
    outage_since: whole(outage?.at),
    outage_openings: whole(outage?.openings),
    down_for: whole(event.downForMillis),
    calls: whole(counts?.calls),
    failures: whole(counts?.failures),
    slow: whole(counts?.slow),
    streak: whole(counts?.streak),
    metadata
  }
}

const digits = (n: number): string => String(Math.max(0, Math.round(n))).padStart(16, "0")

/** The text that {@link isNewer} compares: whether the event ends an outage, its time, and the start of the outage. */
const versionOf = ({ at, downForMillis, outage }: Transition): string =>
  `${downForMillis === undefined ? 0 : 1}${digits(at)}${digits(outage?.at ?? 0)}`

/**
 * The SQL condition that the new one of two states of a circuit is the later one. The later time wins, but within one outage its end is
 * always last, because the clocks of the processes that opened and closed the circuit may differ.
 */
export const isNewer = (now: string, before: string): string => {
  const [end, at, outage] = ["1, 17", "2, 16", "18, 16"]
  const part = (of: string, index: string | undefined) => `SUBSTR(${of}, ${index})`
  const isSame = `${part(now, outage)} = ${part(before, outage)}`
  return `(${isSame} AND ${part(now, end)} >= ${part(before, end)}
    OR NOT ${isSame} AND ${part(now, at)} >= ${part(before, at)})`
}

export const toState = (event: Transition, owner: string): TrailRow => {
  const { at, outage, retryAfterMillis, to } = event
  // Of several overrides the row has the one that decides, which another operator may have set before.
  const deciding = event.overrides?.[0]
  return {
    circuit_id: idOf(event),
    owner,
    circuit: storable(event.circuit),
    circuit_key: textOrNull(event.key),
    state: to,
    since: Math.round(deciding?.since ?? at),
    why: event.why,
    detail: textOrNull(deciding?.reason ?? event.detail),
    actor: textOrNull(deciding === undefined ? event.actor : deciding.actor),
    openings: event.openings,
    // Only Open and Isolated end at a time that the event gives.
    ends_at:
      retryAfterMillis === null || (to !== "Open" && to !== "Isolated") ? null : Math.round(at + retryAfterMillis),
    outage_since: whole(outage?.at),
    outage_openings: whole(outage?.openings),
    version: versionOf(event)
  }
}
