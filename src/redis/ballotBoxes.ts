import { limits } from "../store/SharedStore.ts"

/**
 * The part of the exchange script that handles ballots.
 *
 * A box is one field of the circuit's hash: how many voters have a ballot in it, when the latest inquiry began, the number and the
 * time of the latest roll call, the last burial that the box knows, the end of the roll call's term, and the sums. Each ballot is a
 * field of its own, and begins with the number of the last burial before it. The circuit's sorted set orders the ballots by their
 * end.
 *
 * A ballot is subtracted from the sums when it is replaced, withdrawn or over, or when its voter has been buried. So the time of a
 * cast does not depend on the number of voters. If very many ballots are over at once, an exchange subtracts some of them, and the
 * next exchanges subtract the rest. Until then a tally counts only the ballot of the asking voter, and no abstentions: it counts too
 * little, which cannot open a circuit.
 *
 * If a box or a ballot cannot be read or does not add up, all boxes of its circuit and their roll calls are dropped.
 */
export const boxes = `-- Ballots, and boxes: a box is { voters, asked, seq, at, burial, termEnd, sums... }.
local function numbers(text)
  if not text then return nil end
  local isText, found = pcall(cjson.decode, '[' .. text .. ']')
  if not isText or #found > 1000 then return nil end
  for index = 1, #found do
    local n = found[index]
    if type(n) ~= 'number' or n % 1 ~= 0 or n < 0 or n > largest then return nil end
  end
  return found
end
local formats = {}
local function text(list)
  local n = #list
  formats[n] = formats[n] or string.sub(string.rep('%.0f,', n), 1, -2)
  return string.format(formats[n], unpack(list))
end
local function boxOf(found)
  local box = numbers(found)
  if box and #box >= 6 and box[5] <= kept.burial then return box end
end
local function add(box, ballot, sign)
  box[1] = box[1] + sign
  if box[1] < 0 then return false end
  for index = 2, #ballot do
    local sum = (box[5 + index] or 0) + sign * ballot[index]
    if sum < 0 then return false end
    box[5 + index] = sum
  end
  return true
end

-- Takes ballots out of their boxes, and answers whether the boxes could be read. If all ballots of a box go, its sums are 0.
local function takeOut(ballots, untils, boxes, members)
  if #members == 0 then return true end
  local found, going = redis.call('HMGET', ballots, unpack(members)), {}
  for _, member in ipairs(members) do
    local name = string.match(member, '^[^|]*|') or ''
    if boxes[name] == nil then boxes[name] = boxOf(redis.call('HGET', ballots, name)) or false end
    if not boxes[name] then return false end
    going[name] = (going[name] or 0) + 1
  end
  for name, many in pairs(going) do
    if many == boxes[name][1] then boxes[name] = { 0, unpack(boxes[name], 2, 6) } else going[name] = nil end
    boxes[name].changed = true
  end
  for index, member in ipairs(members) do
    local name = string.match(member, '^[^|]*|')
    if not going[name] then
      local ballot = numbers(found[index])
      if not ballot or not add(boxes[name], ballot, -1) then return false end
    end
  end
  redis.call('HDEL', ballots, unpack(members))
  redis.call('ZREM', untils, unpack(members))
  return true
end
-- How much this exchange may still do for ballots that are over: 1 to look whether one is, 20 to subtract one. The unit is
-- about a microsecond or less; a burial has taken 3.
local work = 2000 - 3 * burials
-- Takes out the ballots that are over, in all boxes of the circuit; answers whether there are no more, or nil if a box cannot
-- be read.
local function takeOver(ballots, untils, boxes, box)
  local first = redis.pcall('ZRANGE', untils, 0, 0, 'WITHSCORES')
  if first.err or (not first[1] and box and box[1] > 0) then return nil end
  if not first[1] or tonumber(first[2]) > now then return true end
  local many = math.floor(work / 20)
  local due = redis.call('ZRANGEBYSCORE', untils, '-inf', now, 'LIMIT', 0, many + 1)
  local isAll = #due <= many
  if not isAll then due[#due] = nil end
  work = work - 20 * #due
  if not takeOut(ballots, untils, boxes, due) then return nil end
  return isAll
end
-- The same for the ballots of voters that have been buried since the box was last used. They are looked for among the
-- burials or, if fewer, among the ballots.
local function takeDead(ballots, untils, boxes, field)
  local box = boxes[field]
  if not box or box[5] == kept.burial then return true end
  local since, last, isAll, suspects = '(' .. full(box[5]), kept.burial, true, {}
  local buried = box[1] > 0 and redis.call('ZCOUNT', dead, since, '+inf') or 0
  local cast = buried > 0 and redis.call('ZCARD', untils) or 0
  if cast < buried and cast <= work then
    work = work - cast
    for _, member in ipairs(redis.call('ZRANGE', untils, 0, -1)) do
      if string.sub(member, 1, #field) == field then
        local number = redis.call('ZSCORE', dead, string.sub(member, #field + 1))
        if number then suspects[#suspects + 1] = { member, tonumber(number) } end
      end
    end
  elseif buried > 0 then
    local many = math.min(buried, work, 1000)
    local gone = many > 0 and redis.call('ZRANGEBYSCORE', dead, since, '+inf', 'WITHSCORES', 'LIMIT', 0, many) or {}
    work = work - many
    isAll = many == buried
    if not isAll then last = tonumber(gone[#gone]) or box[5] end
    for index = 1, #gone, 2 do suspects[#suspects + 1] = { field .. gone[index], tonumber(gone[index + 1]) } end
  end
  local members, asked = {}, {}
  for index, suspect in ipairs(suspects) do asked[index] = suspect[1] end
  local found = #asked > 0 and redis.call('HMGET', ballots, unpack(asked)) or {}
  for index, suspect in ipairs(suspects) do
    local before = found[index] and tonumber(string.match(found[index], '^%d+'))
    if before and before < suspect[2] then
      if work < 20 then
        -- The next exchange continues from this burial, or repeats the search among the ballots.
        isAll, last = false, cast < buried and box[5] or math.max(box[5], suspect[2] - 1)
        break
      end
      work = work - 20
      members[#members + 1] = suspect[1]
    end
  end
  box[5], box.changed = last, true
  if not takeOut(ballots, untils, boxes, members) then return nil end
  boxes[field][5] = last
  return isAll
end

local function keep(ballots, boxes)
  for name, box in pairs(boxes) do
    if box and box.changed then redis.call('HSET', ballots, name, text(box)) end
  end
end

local function castIn(ballots, untils, epoch, circuit, name, csv, millis, inquire, roll)
  local field = name .. '|'
  local mine, new = field .. voter, full(kept.burial) .. (csv == '' and '' or ',' .. csv)
  local given = csv ~= '-' and ttl > 0 and numbers(new) or nil
  local found, boxes = redis.pcall('HMGET', ballots, 'epoch', field, mine), {}
  boxes[field] = boxOf(found[2])
  local noneOver, noneDead
  if found[1] == epoch and (boxes[field] or not found[2]) then
    noneOver = takeOver(ballots, untils, boxes, boxes[field])
    if noneOver ~= nil then noneDead = takeDead(ballots, untils, boxes, field) end
  end
  local old = found[3]
  if noneDead == nil then
    redis.call('UNLINK', ballots, untils)
    boxes, old, noneOver, noneDead = {}, nil, true, true
  elseif old and boxes[field] and boxes[field].changed then
    old = redis.call('HGET', ballots, mine)
  end
  local ends, isSound = endOf(millis), true
  if old and given and old == new and boxes[field] then
    redis.call('ZADD', untils, ends, mine)
  elseif old and not given then
    isSound = takeOut(ballots, untils, boxes, { mine })
  elseif given then
    local before = old and numbers(old)
    isSound = not old or (boxes[field] and before and add(boxes[field], before, -1))
  end
  if not isSound then
    redis.call('UNLINK', ballots, untils)
    boxes = {}
  end
  if given and not (old == new and boxes[field]) then
    local box = boxes[field] or { 0, 0, 0, 0, kept.burial, 0 }
    add(box, given, 1)
    box.changed, boxes[field] = true, box
    redis.call('HSET', ballots, 'epoch', epoch, mine, new)
    redis.call('ZADD', untils, ends, mine)
  end
  local box = boxes[field]
  if not box then
    keep(ballots, boxes)
    return { 0, -1, -1, 0, {} }
  end
  -- A roll call that lies in the future is of a clock that went back: it does not count.
  local function isCounting() return now >= box[4] and now < box[6] end
  if given then
    if inquire > 0 and (box[2] == 0 or now - box[2] >= inquire or now < box[2]) then
      box[2], box.changed = now, true
      announce('I', epoch, circuit, name)
    end
    if roll > 0 and (not isCounting() or now - box[4] >= roll) then
      local seq, prev = math.max(kept.head + 1, micros), full(kept.head)
      local term = math.min(math.ceil(roll), ${limits.rollCallMillis})
      kept.head, box[3], box[4], box[6], box.changed = seq, seq, now, now + term, true
      longestTerm = math.max(longestTerm, term)
      -- The log keeps the text of the announcement.
      called[#called + 1] = seq
      called[#called + 1] = announce('C', epoch, circuit, full(seq), prev, full(term), name)
    end
    lasting, kept.longest = math.max(lasting, ends), math.max(kept.longest, ends - now)
    local last = math.max(ends, box[6])
    -- Both keys end at the same time, or ballots would stay in a sum without an end.
    local one, other = now + redis.call('PTTL', ballots), now + redis.call('PTTL', untils)
    last = math.max(last, one, other)
    if one < last then redis.call('PEXPIREAT', ballots, last) end
    if other < last then redis.call('PEXPIREAT', untils, last) end
  end
  keep(ballots, boxes)
  local counted = noneOver and noneDead and unburied == 0
  local abstained = 0
  if counted and isCounting() then
    abstained = math.max(0, redis.call('ZCOUNT', hearers, box[3], '+inf') - box[1])
  end
  local sums = {}
  if counted and box[1] > 0 then sums = { unpack(box, 7) } elseif given then sums = { unpack(given, 2) } end
  return {
    counted and box[1] or given and 1 or 0,
    box[2] > 0 and math.max(0, now - box[2]) or -1,
    isCounting() and now - box[4] or -1,
    abstained,
    sums
  }
end
`
