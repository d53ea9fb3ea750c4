import { type Changed, type DigestsAnswer, type LoadAnswer, limits, type PageAnswer } from "../store/SharedStore.ts"
import { toRecord } from "./records.ts"
import { common } from "./scriptPrelude.ts"

export type PageReply = readonly [
  time: number,
  live: number,
  life: string,
  epoch: number,
  trimmed: number,
  listed: number,
  /** Three for each change: the circuit, the epoch, and the text of the record, which is empty if there is none. */
  changes: ReadonlyArray<string>
]

export type LoadReply = readonly [time: number, records: ReadonlyArray<string | null>]

/** The keys of a page, in the order of its script. */
export const pageKeys = ["store", "records", "changed", "listed", "voters"] as const

// Reads write nothing, so they work on a replica and for a user without write permission. A key of another type counts as missing.
const reading = `
local function ask(...)
  local found = redis.pcall(...)
  if type(found) ~= 'table' or not found.err then return found end
  if string.find(found.err, 'WRONGTYPE', 1, true) then return nil end
  error(found.err)
end
`

/** The keys: `store`, `records`, `changed`, `listed`, `voters`. The arguments: the epoch, and the most changes. */
export const page = `${common}${reading}
local store, records, changed, listed, voters = unpack(KEYS)
local after, most, changes = ARGV[1], tonumber(ARGV[2]), {}
local kept = ask('HMGET', store, 'epoch', 'trimmed', 'life') or {}
repeat
  local wanted = most - #changes / 3
  local found = ask('ZRANGEBYSCORE', changed, '(' .. after, largest, 'WITHSCORES', 'LIMIT', 0, wanted) or {}
  local circuits = {}
  for index = 1, #found, 2 do circuits[#circuits + 1] = found[index] end
  local texts = #circuits > 0 and ask('HMGET', records, unpack(circuits)) or {}
  for index, circuit in ipairs(circuits) do
    local epoch = found[2 * index]
    local own = string.match(texts[index] or '', '^(%d+) ')
    if whole(epoch) and string.find(circuit, '^[%w._~%%/-]+$') and (not own or own == epoch) then
      changes[#changes + 1] = circuit
      changes[#changes + 1] = epoch
      changes[#changes + 1] = texts[index] or ''
    end
    after = epoch
  end
until #circuits < wanted or #changes == 3 * most
local open = '(' .. full(now)
return {
  now,
  ask('ZCOUNT', voters, open, '+inf') or 0,
  kept[3] or '',
  whole(kept[1]) or 0,
  whole(kept[2]) or 0,
  ask('ZCOUNT', listed, open, '+inf') or 0,
  changes
}
`

/** The key: `records`; the arguments: circuits. */
export const load = `${common}${reading}
return { now, #ARGV > 0 and ask('HMGET', KEYS[1], unpack(ARGV)) or {} }
`

export type DigestsReply = readonly [
  time: number,
  next: string,
  /** Two for each digest: the voter and the digest. */
  digests: ReadonlyArray<string>
]

export const digestsKeys = ["digests", "voters"] as const

/** The keys: `digests`, `voters`; the argument: where the scan continues. A digest of a voter that no longer lives may still be there. */
export const digests = `${common}${reading}
local scanned = ask('HSCAN', KEYS[1], ARGV[1], 'COUNT', ${limits.digests}) or { '0', {} }
local found = {}
for index = 1, #scanned[2], 2 do
  local voter = scanned[2][index]
  local ends = tonumber(ask('ZSCORE', KEYS[2], voter) or nil)
  if ends and now < ends then
    found[#found + 1] = voter
    found[#found + 1] = scanned[2][index + 1]
  end
end
return { now, scanned[1], found }
`

export const toDigests = ([time, next, found]: DigestsReply): DigestsAnswer => ({
  time: Number(time),
  digests: found.flatMap((voter, i) => (i % 2 === 0 ? [{ voter, digest: found[i + 1] ?? "" }] : [])),
  next: String(next) === "0" ? undefined : String(next)
})

export const toPage = ([time, live, life, epoch, trimmed, listed, found]: PageReply): PageAnswer => {
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
