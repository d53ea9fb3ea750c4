import {
  type CastAnswer,
  type Change,
  type Changed,
  type Exchange,
  type ExchangeAnswer,
  type LoadAnswer,
  limits,
  type Page,
  type RollCall,
  type Stored,
  type StoredTally
} from "../store/SharedStore.ts"
import type { ExchangeReply, LoadReply, PageReply, RecordReply, TallyReply } from "./scripts.ts"

// What a script answers comes from keys that other programs may have written: an item that cannot be read is left out.

/** The arguments of the script that exchanges. */
export const exchangeArgs = (channel: string, request: Exchange): ReadonlyArray<string | number> => {
  const { casts, floor, heard, life = "", notAfter = "", swaps, ttl, voter } = request
  return [
    ...[channel, voter, ttl, notAfter, heard, floor, life, globalThis.crypto.randomUUID(), casts.length],
    ...casts.flatMap(({ ballot, box, circuit, epoch, inquire, roll, ttl }) => [
      ...[circuit, epoch, box, ballot === undefined ? "-" : ballot.join(","), ttl, inquire, roll]
    ]),
    ...swaps.flatMap(({ body, circuit, expectedEpoch, listed, ttl = "" }) => [
      ...[circuit, expectedEpoch, body, ttl, listed ? 1 : 0]
    ])
  ]
}

const toStored = (reply: RecordReply): Stored | undefined =>
  reply.length === 0 ? undefined : { epoch: Number(reply[0]), body: reply[1], age: Number(reply[2]) }

const since = (millis: number): number | undefined => (Number(millis) < 0 ? undefined : Number(millis))

const toTally = ([voters, asked, rolled, abstained, sums]: TallyReply): StoredTally => ({
  voters: Number(voters),
  sums: sums.map(Number),
  asked: since(asked),
  rolled: since(rolled),
  abstained: Number(abstained)
})

/** A number that a store may give to a record or a roll call. */
const isNumber = (n: number): boolean => Number.isSafeInteger(n) && n >= 1

const toRollCall = (member: string): ReadonlyArray<RollCall> => {
  const found = /^(\d+) (\d+) (\d+) (\S+) (\S+) (\d+)$/.exec(member)
  if (found === null) return []
  const [, seq, prev, epoch, circuit = "", box = "", term] = found
  const rollCall = { seq: Number(seq), prev: Number(prev), circuit, epoch: Number(epoch), box, term: Number(term) }
  const isSound = isNumber(rollCall.seq) && rollCall.prev < rollCall.seq && Number.isSafeInteger(rollCall.epoch)
  return isSound && rollCall.term <= limits.rollCallMillis ? [rollCall] : []
}

/** Those that ascend, up to the head of the log. */
const inOrder = (rollCalls: ReadonlyArray<RollCall>, head: number): ReadonlyArray<RollCall> => {
  let last = 0
  return rollCalls.filter(({ seq }) => {
    if (seq <= last || seq > head) return false
    last = seq
    return true
  })
}

export const toExchangeAnswer = (reply: ExchangeReply): ExchangeAnswer => {
  if (reply.length === 2) return { _tag: "Late", time: Number(reply[1]) }
  const [, time, live, liveFor, life, head, rollCalls, casts, swaps] = reply
  return {
    _tag: "Done",
    time: Number(time),
    live: Number(live),
    liveFor: Number(liveFor),
    life,
    head: Number(head),
    rollCalls: inOrder(rollCalls.flatMap(toRollCall), Number(head)),
    casts: casts.map(
      ([record, tally]): CastAnswer => ({
        record: toStored(record),
        tally: tally.length === 0 ? undefined : toTally(tally)
      })
    ),
    swaps: swaps.map(([swapped, record]) => ({ swapped: Number(swapped) === 1, record: toStored(record) }))
  }
}

/** A record as its text is kept: epoch, time, end, whether it is listed, and the body, with one space between them. */
const toRecord = (text: string, time: number): { readonly listed: boolean; readonly record: Stored | undefined } => {
  const found = /^(\d+) (\d+) (\d*) ([01]) (.*)$/s.exec(text)
  if (found === null) return { listed: false, record: undefined }
  const [, epoch, at, end, listed, body = ""] = found
  const isThere = isNumber(Number(epoch)) && Number.isSafeInteger(Number(at)) && (end === "" || time < Number(end))
  const record = isThere ? { epoch: Number(epoch), body, age: Math.max(0, time - Number(at)) } : undefined
  return { listed: listed === "1", record }
}

export const toPage = ([time, live, life, epoch, trimmed, listed, found]: PageReply): Page => {
  const now = Number(time)
  const changes: Array<Changed> = []
  for (let i = 0; i + 2 < found.length; i += 3) {
    changes.push({ circuit: found[i] ?? "", epoch: Number(found[i + 1]), ...toRecord(found[i + 2] ?? "", now) })
  }
  return {
    time: now,
    live: Number(live),
    life,
    epoch: Number(epoch),
    trimmed: Number(trimmed),
    listed: Number(listed),
    changes
  }
}

export const toLoadAnswer = (circuits: ReadonlyArray<string>, [time, records]: LoadReply): LoadAnswer => ({
  time: Number(time),
  records: circuits.map((_, index) => toRecord(records[index] ?? "", Number(time)).record)
})

const isText = (one: unknown): one is string => typeof one === "string"
const isName = (one: string): boolean => /^\S+$/.test(one)

const toChange = (message: unknown): Change | undefined => {
  if (!Array.isArray(message) || !message.every(isText)) return undefined
  const [tag, digits = "", circuit = "", rest, seq, prev, term] = message
  const epoch = Number(digits)
  if (rest === undefined || !isName(circuit) || !/^\d+$/.test(digits) || !Number.isSafeInteger(epoch)) return undefined
  if (tag === "R") return { _tag: "Record", circuit, epoch, body: rest }
  if (!isName(rest)) return undefined
  if (tag === "I") return { _tag: "Inquiry", circuit, epoch, box: rest }
  const [rollCall] = tag === "C" ? toRollCall(`${seq} ${prev} ${digits} ${circuit} ${rest} ${term}`) : []
  return rollCall === undefined ? undefined : { _tag: "RollCall", ...rollCall }
}

/** What one exchange announced: a list of lists of texts, in JSON. */
export const toChanges = (message: string): ReadonlyArray<Change> => {
  try {
    const found: unknown = JSON.parse(message)
    return Array.isArray(found) ? found.map(toChange).filter((change) => change !== undefined) : []
  } catch {
    return []
  }
}
