import { isStoreNumber } from "../store/announcementText.ts"
import { limits, type Stored } from "../store/SharedStore.ts"

/** A record in the answer of a script: its epoch, its body and its age, or nothing. */
export type RecordReply = readonly [epoch: number, body: string, age: number] | readonly []

export const toStored = (reply: RecordReply): Stored | undefined =>
  reply.length === 0 ? undefined : { epoch: Number(reply[0]), body: reply[1], age: Number(reply[2]) }

/** Reads the text of a record: epoch, time, end, whether it is listed, and the body, with one space between them. */
export const toRecord = (
  text: string,
  time: number
): { readonly listed: boolean; readonly record: Stored | undefined } => {
  const found = /^(\d+) (\d+) (\d*) ([01]) (.*)$/s.exec(text)
  if (found === null) return { listed: false, record: undefined }
  const [, epoch, at, end, listed, body = ""] = found
  const isThere = isStoreNumber(Number(epoch)) && Number.isSafeInteger(Number(at)) && (end === "" || time < Number(end))
  const record = isThere ? { epoch: Number(epoch), body, age: Math.max(0, time - Number(at)) } : undefined
  return { listed: listed === "1", record }
}

/** The part of an exchange that reads records, and drops those that have ended. */
export const readRecords = `local function read(text)
  local epoch, at, ends, isListed, body = string.match(text or '', '^(%d+) (%d+) (%d*) ([01]) (.*)$')
  epoch, at = whole(epoch), whole(at)
  if not (epoch and epoch > 0 and at) then return nil end
  return { epoch = epoch, at = at, ends = ends ~= '' and tonumber(ends) or math.huge, body = body }
end
local function sweep(key)
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, 50)
  if #due == 0 then return end
  local found = redis.call('HMGET', records, unpack(due))
  for index, circuit in ipairs(due) do
    local record = read(found[index])
    if record and now < record.ends then
      redis.call('ZADD', key, score(record.ends), circuit)
    else
      kept.trimmed = math.max(kept.trimmed, whole(redis.call('ZSCORE', changed, circuit)) or 0)
      redis.call('ZREM', changed, circuit)
      redis.call('ZREM', key, circuit)
      redis.call('HDEL', records, circuit)
    end
  end
end
`

/** The part of an exchange that writes a record. */
export const writeRecord = `local isWritten = false
local function write(circuit, body, millis, isListed)
  isWritten = true
  local epoch = math.max(kept.epoch, floor < largest and floor or 0, micros) + 1
  local ends = millis == '' and math.huge or endOf(tonumber(millis))
  local bounded = ends < lastDate and full(ends) or ''
  kept.epoch = epoch
  redis.call('HSET', records, circuit, full(epoch) .. ' ' .. full(now) .. ' ' .. bounded .. ' ' .. isListed .. ' ' .. body)
  if isListed == '1' then
    redis.call('ZADD', changed, epoch, circuit)
    redis.call('ZADD', listed, score(ends), circuit)
    redis.call('ZREM', unlisted, circuit)
  else
    local shown = redis.call('ZADD', changed, 'XX', 'CH', epoch, circuit) == 1 and now + ${limits.unlistedMillis} or 0
    redis.call('ZREM', listed, circuit)
    redis.call('ZADD', unlisted, score(math.max(ends, shown)), circuit)
  end
  announce('R', full(epoch), circuit, body)
  return { epoch = epoch, at = now, ends = ends, body = body }
end
`
