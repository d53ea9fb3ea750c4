import { fromText } from "../store/announcementText.ts"
import {
  type CastAnswer,
  type Exchange,
  type ExchangeAnswer,
  limits,
  type RollCall,
  type StoredTally
} from "../store/SharedStore.ts"
import { boxes } from "./ballotBoxes.ts"
import { type RecordReply, readRecords, toStored, writeRecord } from "./records.ts"
import { common, keys } from "./scriptPrelude.ts"

type TallyReply = readonly [
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

/**
 * The script of an exchange. The order of the arguments: channel, voter, ttl, notAfter, heard, floor, the life to which `heard`
 * belongs, a text for a new life, the digest, and the number of casts; then 7 for each cast and 5 for each swap. An empty digest means
 * that the voter keeps the one it has. The keys: those of `keys`, then two for each cast and for each swap.
 */
export const exchange = `${common}
local channel, voter, ttl, notAfter = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local heard, floor, heardIn = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
if notAfter and now > notAfter then return { 0, now } end

local micros, lastDate = clock[1] * 1000000 + clock[2], 8.64e15
local store, records, changed, listed, unlisted, voters, hearers, dead, rolls, digests = unpack(KEYS)
for index, kind in ipairs({ 'hash', 'hash', 'zset', 'zset', 'zset', 'zset', 'zset', 'zset', 'zset', 'hash' }) do
  local found = redis.call('TYPE', KEYS[index]).ok
  if found ~= kind and found ~= 'none' then redis.call('UNLINK', KEYS[index]) end
end
local names = { 'epoch', 'trimmed', 'born', 'head', 'burial', 'longest', 'lasting' }
local kept, was = {}, redis.call('HMGET', store, unpack(names))
for index, name in ipairs(names) do
  was[name] = whole(was[index])
  kept[name] = was[name] or 0
end
local life = redis.call('HGET', store, 'life')
if kept.born == 0 or not life or life == '' then
  -- A new life begins, in which no voter has heard a roll call.
  kept.born, life = now, ARGV[8]
  redis.call('HSET', store, 'life', life)
  redis.call('UNLINK', hearers, rolls)
end
local function score(ends) return ends < math.huge and ends or '+inf' end
local function endOf(millis) return math.min(now + math.max(1, math.ceil(millis)), lastDate) end

-- The voters that no longer live are buried. Each burial has a number that is greater than all before it.
local lasting, burials = 0, 0
local function bury(gone)
  if #gone == 0 then return end
  burials = burials + #gone
  local scored = {}
  for _, one in ipairs(gone) do
    kept.burial = math.max(kept.burial + 1, micros)
    scored[#scored + 1] = kept.burial
    scored[#scored + 1] = one
  end
  redis.call('ZREM', voters, unpack(gone))
  redis.call('ZREM', hearers, unpack(gone))
  redis.call('HDEL', digests, unpack(gone))
  redis.call('ZADD', dead, unpack(scored))
end
local lived = redis.call('ZSCORE', voters, voter)
if lived and (ttl <= 0 or tonumber(lived) <= now) then bury({ voter }) end
bury(redis.call('ZRANGEBYSCORE', voters, '-inf', now, 'LIMIT', 0, 400))
local unburied = burials >= 400 and redis.call('ZCOUNT', voters, '-inf', now) or 0
if ttl > 0 then
  lasting = endOf(ttl)
  redis.call('ZADD', voters, lasting, voter)
  if ARGV[9] ~= '' then redis.call('HSET', digests, voter, ARGV[9]) end
end
if burials > 0 then
  -- Older burials are of no use: all ballots from before them are over.
  local old = redis.call('ZCOUNT', dead, '-inf', micros - kept.longest * 1000 - 1000)
  if old > 0 then redis.call('ZREMRANGEBYRANK', dead, 0, math.min(old, burials + 200) - 1) end
end
local registered = redis.call('ZCARD', voters)
if redis.call('ZCARD', hearers) > registered then redis.call('UNLINK', hearers) end
if redis.call('HLEN', digests) > registered then redis.call('UNLINK', digests) end

${readRecords}
sweep(listed)
sweep(unlisted)
local castsEnd = 10 + 7 * tonumber(ARGV[10])
local circuits, known = {}, {}
for at = 11, castsEnd, 7 do circuits[#circuits + 1] = ARGV[at] end
for at = castsEnd + 1, #ARGV, 5 do circuits[#circuits + 1] = ARGV[at] end
if #circuits > 0 then
  local found = redis.call('HMGET', records, unpack(circuits))
  for index, circuit in ipairs(circuits) do
    local record = read(found[index])
    if record and now < record.ends then known[circuit] = record end
  end
end
local function answer(record)
  if not record then return {} end
  return { record.epoch, record.body, math.max(0, now - record.at) }
end
local messages, called, longestTerm = {}, {}, 0
-- Writes the text of an announcement. store/announcementText.ts reads it.
local function announce(...)
  local text = table.concat({ ... }, ' ')
  messages[#messages + 1] = text
  return text
end

${boxes}

local casts, swaps, index = {}, {}, ${keys.length}
for at = 11, castsEnd, 7 do
  local circuit, epoch, name, csv, millis, inquire, roll = unpack(ARGV, at, at + 6)
  local record = known[circuit]
  local tally = {}
  if (record and full(record.epoch) or '0') == epoch then
    tally = castIn(KEYS[index + 1], KEYS[index + 2], epoch, circuit, name, csv, tonumber(millis), tonumber(inquire), tonumber(roll))
  end
  casts[#casts + 1] = { answer(record), tally }
  index = index + 2
end

${writeRecord}
for at = castsEnd + 1, #ARGV, 5 do
  local circuit, expected, body, millis, isListed = unpack(ARGV, at, at + 4)
  local record = known[circuit]
  local swapped = (record and full(record.epoch) or '0') == expected
  if swapped then
    known[circuit] = write(circuit, body, millis, isListed)
    redis.call('UNLINK', KEYS[index + 1], KEYS[index + 2])
  end
  swaps[#swaps + 1] = { swapped and 1 or 0, answer(known[circuit]) }
  index = index + 2
end

-- A key expires later than everything in it: exchanges must still find what has ended, and sweep it.
local grace = 60000
if isWritten then
  local last = now
  for _, key in ipairs({ listed, unlisted }) do
    last = math.max(last, tonumber(redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2]) or 0)
  end
  for _, key in ipairs({ records, changed, listed, unlisted }) do
    if last < lastDate then redis.call('PEXPIREAT', key, math.floor(last) + grace) else redis.call('PERSIST', key) end
  end
end
if heardIn ~= life or heard > kept.head then heard = 0 end
if ttl > 0 and heard > 0 then
  redis.call('ZADD', hearers, heard, voter)
elseif ttl > 0 then
  redis.call('ZREM', hearers, voter)
end
if ttl > 0 or burials > 0 then
  lasting = math.max(lasting, now)
  if lasting > kept.lasting then kept.lasting = math.min(lasting + grace, lastDate) end
  for _, key in ipairs({ voters, hearers, dead, digests }) do redis.call('PEXPIREAT', key, kept.lasting) end
end
if #called > 0 then
  redis.call('ZADD', rolls, unpack(called))
  local lasts = math.max(redis.call('PTTL', rolls), longestTerm + ${limits.logMillis} + grace)
  redis.call('PEXPIRE', rolls, lasts)
  -- Drops roll calls that are over from the front. Looks at no more than twice as many as were added.
  local over = 0
  for _, member in ipairs(redis.call('ZRANGE', rolls, 0, #called - 1)) do
    local digits, millis = string.match(member, '^C %d+ %S+ (%d+) %d+ (%d+) ')
    local seq, term = whole(digits), whole(millis)
    if seq and seq <= kept.head and micros - seq < ((term or 0) + ${limits.logMillis}) * 1000 then break end
    over = over + 1
  end
  if over > 0 then redis.call('ZREMRANGEBYRANK', rolls, 0, over - 1) end
end
local changes = {}
for _, name in ipairs(names) do
  if kept[name] ~= (was[name] or 0) then
    changes[#changes + 1] = name
    changes[#changes + 1] = kept[name]
  end
end
if #changes > 0 then redis.call('HSET', store, unpack(changes)) end
-- PUBLISH may be forbidden. The writes take effect all the same.
if #messages > 0 then redis.pcall('PUBLISH', channel, cjson.encode(messages)) end

local rollCalls = redis.call('ZRANGEBYSCORE', rolls, '(' .. full(heard), kept.head, 'LIMIT', 0, ${limits.rollCalls})
local live = redis.call('ZCOUNT', voters, '(' .. full(now), '+inf')
return { 1, now, live, math.max(0, now - kept.born), life, kept.head, rollCalls, casts, swaps }
`

export const exchangeArgs = (channel: string, request: Exchange): ReadonlyArray<string | number> => {
  const { casts, digest = "", floor, heard, life = "", notAfter = "", swaps, ttl, voter } = request
  return [
    ...[channel, voter, ttl, notAfter, heard, floor, life, globalThis.crypto.randomUUID(), digest, casts.length],
    ...casts.flatMap(({ ballot, box, circuit, epoch, inquire, roll, ttl }) => [
      ...[circuit, epoch, box, ballot === undefined ? "-" : ballot.join(","), ttl, inquire, roll]
    ]),
    ...swaps.flatMap(({ body, circuit, expectedEpoch, listed, ttl = "" }) => [
      ...[circuit, expectedEpoch, body, ttl, listed ? 1 : 0]
    ])
  ]
}

const since = (millis: number): number | undefined => (Number(millis) < 0 ? undefined : Number(millis))

const toTally = ([voters, asked, rolled, abstained, sums]: TallyReply): StoredTally => ({
  voters: Number(voters),
  sums: sums.map(Number),
  asked: since(asked),
  rolled: since(rolled),
  abstained: Number(abstained)
})

/** The roll calls in texts of the log, ascending, up to the head of the log. Texts that another program wrote are skipped. */
const toRollCalls = (texts: ReadonlyArray<string>, head: number): ReadonlyArray<RollCall> => {
  let last = 0
  return texts.flatMap((text) => {
    const change = fromText(text)
    if (change?._tag !== "RollCall" || change.seq <= last || change.seq > head) return []
    const { _tag, ...rollCall } = change
    last = rollCall.seq
    return [rollCall]
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
    rollCalls: toRollCalls(rollCalls, Number(head)),
    casts: casts.map(
      ([record, tally]): CastAnswer => ({
        record: toStored(record),
        tally: tally.length === 0 ? undefined : toTally(tally)
      })
    ),
    swaps: swaps.map(([swapped, record]) => ({ swapped: Number(swapped) === 1, record: toStored(record) }))
  }
}
