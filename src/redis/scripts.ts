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
 * In addition, each circuit with ballots has a hash and a sorted set; see `ballotBoxes.ts`.
 */
export const keys = ["store", "records", "changed", "listed", "unlisted", "voters", "heard", "dead", "rolls"] as const

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
