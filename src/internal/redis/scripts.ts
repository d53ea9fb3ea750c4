import * as Redis from "effect/persistence/Redis"

/** Era, body and age of a record; nothing where there is none. */
export type RecordReply = readonly [era: string, body: string, age: string] | readonly []

/** What an announcement begins and ends with; the script puts the era between them. */
export const announced = (tag: "R" | "I", circuit: string, rest: string): string => `${tag}|${circuit} ${rest}`

// Every script reads the time of the server, and only that. Numbers that may be large are written in full: Lua would
// round them. PUBLISH may be forbidden; what was written is written all the same.
const common = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function full(n) return string.format('%.0f', n) end
local function whole(text) return string.find(text or '', '^%d+$') and tonumber(text) < 2 ^ 53 - 1 end
-- What somebody else put in its place is none: one such must not keep the others from being read.
local function record(key)
  local found = redis.pcall('HMGET', key, 'era', 'body', 'at')
  if not (whole(found[1]) and found[1] + 0 > 0 and found[2] and whole(found[3])) then return {} end
  return { found[1], found[2], full(math.max(0, now - found[3])) }
end
local function announce(channel, text, era)
  local bar = string.find(text, '|', 1, true)
  redis.pcall('PUBLISH', channel, string.sub(text, 1, bar - 1) .. ' ' .. era .. ' ' .. string.sub(text, bar + 1))
end
`

/** Keys first, then arguments: the form of all scripts here. */
const script = <Reply>(lua: string) =>
  Redis.script((keys: ReadonlyArray<string>, args: ReadonlyArray<string | number>) => [...keys, ...args], {
    lua: common + lua,
    numberOfKeys: (keys) => keys.length
  }).withReturnType<Reply>()

/**
 * All boxes of a circuit are one hash: the era they are about, and for each box how many voices spoke, the sums, when its latest
 * inquiry began, and each voice's ballot; beside it a sorted set of when each ballot ends. A ballot is subtracted from the
 * sums when it is replaced, taken back or over, so that no number of voices makes this slower.
 */
export const cast = script<readonly [live: number, record: RecordReply, voices: number, sums: string, asked: number]>(`
local ballots, untils = KEYS[2], KEYS[3]
local era, box, voice, ttl = ARGV[1], ARGV[2] .. '|', ARGV[3], tonumber(ARGV[4])
local ballot, inquire = ARGV[5], tonumber(ARGV[6])
local live = redis.call('ZCOUNT', KEYS[4], '(' .. full(now), '+inf')
local there = record(KEYS[1])
if (there[1] or '0') ~= era then return { live, there, -1, '', -1 } end

local function add(box, csv, sign)
  local sums = {}
  for n in string.gmatch(redis.call('HGET', ballots, box .. 'sums') or '', '[^,]+') do table.insert(sums, n) end
  local place = 0
  for n in string.gmatch(csv, '[^,]+') do
    place = place + 1
    sums[place] = full((tonumber(sums[place]) or 0) + sign * (tonumber(n) or 0))
  end
  redis.call('HSET', ballots, box .. 'sums', table.concat(sums, ','))
  return redis.call('HINCRBY', ballots, box .. 'voices', sign)
end
local function takeBack(member, replaced)
  local old = redis.call('HGET', ballots, member)
  if not old then return end
  local box = string.match(member, '^[^|]*|')
  redis.call('HDEL', ballots, member)
  redis.call('ZREM', untils, member)
  if add(box, old, -1) == 0 and not replaced then redis.call('HDEL', ballots, box .. 'voices', box .. 'sums', box .. 'asked') end
end

if redis.call('HGET', ballots, 'era') ~= era then redis.call('DEL', ballots, untils) end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', untils, '-inf', full(now))) do takeBack(member) end
takeBack(box .. 'v' .. voice, ballot ~= '')
if ballot ~= '' then
  add(box, ballot, 1)
  redis.call('HSET', ballots, 'era', era, box .. 'v' .. voice, ballot)
  redis.call('ZADD', untils, full(now + ttl), box .. 'v' .. voice)
end
local voices = tonumber(redis.call('HGET', ballots, box .. 'voices') or '0') or 0
if voices <= 0 then return { live, there, 0, '', -1 } end

local asked = tonumber(redis.call('HGET', ballots, box .. 'asked') or '')
if inquire > 0 and (not asked or now - asked >= inquire or now < asked) then
  asked = now
  redis.call('HSET', ballots, box .. 'asked', full(now))
  announce(ARGV[7], ARGV[8], era)
end
for _, key in ipairs({ ballots, untils }) do
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, full(ttl)) end
end
return { live, there, voices, redis.call('HGET', ballots, box .. 'sums') or '', asked and now - asked or -1 }
`)

/**
 * An era is the time in microseconds, or one more than the last: it never comes again, whatever was forgotten. What was said
 * of the one before is gone.
 */
export const swap = script<readonly [swapped: number, record: RecordReply]>(`
local key, counter, listed = KEYS[1], KEYS[2], KEYS[3]
local there = record(key)
if (there[1] or '0') ~= ARGV[1] then return { 0, there } end
local last = redis.call('GET', counter)
if not whole(last) then last = 0 end
local era = full(math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('SET', counter, era)
redis.call('DEL', KEYS[4], KEYS[5])
redis.call('HSET', key, 'era', era, 'body', ARGV[2], 'at', full(now))
local ending = '+inf'
if ARGV[3] == '' then
  redis.call('PERSIST', key)
else
  local ttl = math.max(1, math.ceil(ARGV[3]))
  redis.call('PEXPIRE', key, full(ttl))
  ending = full(now + ttl)
end
if ARGV[4] == '1' then redis.call('ZADD', listed, ending, ARGV[5]) else redis.call('ZREM', listed, ARGV[5]) end
local last = redis.call('ZREVRANGE', listed, 0, 0, 'WITHSCORES')[2]
-- An end that no date can be is none.
if last == 'inf' or (last and tonumber(last) > 8.64e15) then redis.call('PERSIST', listed) elseif last then redis.call('PEXPIREAT', listed, full(last)) end
announce(ARGV[6], ARGV[7], era)
return { 1, { era, ARGV[2], '0' } }
`)

export const load = script<ReadonlyArray<RecordReply>>(`
local found = {}
for place, key in ipairs(KEYS) do found[place] = record(key) end
return found
`)

export const list = script<readonly [live: number, circuits: ReadonlyArray<string>]>(`
local live, listed, voice, ttl = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
if ttl > 0 then redis.call('ZADD', live, full(now + ttl), voice) else redis.call('ZREM', live, voice) end
for _, key in ipairs(KEYS) do redis.call('ZREMRANGEBYSCORE', key, '-inf', full(now)) end
if ttl > 0 and redis.call('PTTL', live) < ttl then redis.call('PEXPIRE', live, full(ttl)) end
return { redis.call('ZCARD', live), redis.call('ZRANGE', listed, 0, -1) }
`)
