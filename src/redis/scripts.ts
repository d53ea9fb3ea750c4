/** What a record is in the answer of a script: its epoch, its body and its age, or nothing. */
export type RecordReply = readonly [epoch: number, body: string, age: number] | readonly []

export type TallyReply = readonly [
  voters: number,
  asked: number,
  rolled: number,
  abstained: number,
  sums: ReadonlyArray<number>
]

export type ExchangeReply =
  | readonly [late: 0, time: number]
  | readonly [
      done: 1,
      time: number,
      live: number,
      liveFor: number,
      life: string,
      head: number,
      rollCalls: ReadonlyArray<string>,
      casts: ReadonlyArray<readonly [record: RecordReply, tally: TallyReply | readonly []]>,
      swaps: ReadonlyArray<readonly [swapped: number, record: RecordReply]>
    ]

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

/**
 * The keys that every exchange has:
 *
 * - `store`: a hash with the last epoch, when the store was first used, its life, the head of the log, and the like.
 * - `records`: a hash from each circuit to the text of its record: epoch, time, end, whether it is listed, and the body.
 * - `changed`: circuits by the epoch of their latest change.
 * - `listed`: circuits whose record is listed, by when it ends. `unlisted`: those of other records, by when nothing
 *   of them needs to be kept any longer.
 * - `voters`: voters by when they no longer live. `heard`: voters by how far they have heard the log of roll calls.
 * - `dead`: voters by the number of the burial that removed them.
 * - `rolls`: the log of roll calls.
 *
 * In addition, each circuit with ballots has a hash and a sorted set; see `ballots` below.
 */
export const keys = ["store", "records", "changed", "listed", "unlisted", "voters", "heard", "dead", "rolls"] as const

/** The keys of a page, in the order of its script. */
export const pageKeys = ["store", "records", "changed", "listed", "voters"] as const

// A script reads only the clock of the server. A number below 2^53 is passed to a command and answered as it is; only where
// it becomes part of a text it has to be written in full, because Lua would round it.
export const common = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local largest = 2 ^ 53 - 1
local function full(n) return string.format('%.0f', n) end
local function whole(text)
  if not text or not string.find(text, '^%d+$') then return nil end
  local n = tonumber(text)
  if n < largest then return n end
end
`

// Reads answer what is there and write nothing, so they work on a replica and for a user that may not write. A key of
// another type is as good as none.
const reading = `
local function ask(...)
  local found = redis.pcall(...)
  if type(found) ~= 'table' or not found.err then return found end
  if string.find(found.err, 'WRONGTYPE', 1, true) then return nil end
  error(found.err)
end
`

/** The keys: `store`, `records`, `changed`, `listed`, `voters`; the arguments: the epoch, and how many changes at most. */
export const page = `${common}${reading}
local store, records, changed, listed, voters = unpack(KEYS)
local after, most, changes = ARGV[1], tonumber(ARGV[2]), {}
local kept = ask('HMGET', store, 'epoch', 'trimmed', 'life') or {}
repeat
  local wanted = most - #changes / 3
  local found = ask('ZRANGEBYSCORE', changed, '(' .. after, largest, 'WITHSCORES', 'LIMIT', 0, wanted) or {}
  local circuits = {}
  for place = 1, #found, 2 do circuits[#circuits + 1] = found[place] end
  local texts = #circuits > 0 and ask('HMGET', records, unpack(circuits)) or {}
  for place, circuit in ipairs(circuits) do
    local epoch = found[2 * place]
    local own = string.match(texts[place] or '', '^(%d+) ')
    if whole(epoch) and string.find(circuit, '^[%w._~%%/-]+$') and (not own or own == epoch) then
      changes[#changes + 1] = circuit
      changes[#changes + 1] = epoch
      changes[#changes + 1] = texts[place] or ''
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
