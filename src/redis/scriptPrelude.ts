/**
 * The keys that every exchange has:
 *
 * - `store`: a hash with the last epoch, when the store was first used, its life, the head of the log, and the like.
 * - `records`: a hash from each circuit to the text of its record: epoch, time, end, whether it is listed, and the body.
 * - `changed`: circuits by the epoch of their latest change.
 * - `listed`: circuits whose record is listed, by the end of the record. `unlisted`: circuits with other records, by the time
 *   at which the record can be dropped.
 * - `voters`: voters by the time until which they live. `heard`: voters by how far they have heard the log of roll calls.
 * - `digests`: a hash from each live voter to its digest.
 * - `dead`: voters by the number of the burial that removed them.
 * - `rolls`: the log of roll calls.
 *
 * In addition, each circuit with ballots has a hash and a sorted set; see `ballotBoxes.ts`.
 */
export const keys = [
  "store",
  "records",
  "changed",
  "listed",
  "unlisted",
  "voters",
  "heard",
  "dead",
  "rolls",
  "digests"
] as const

// Scripts use only the clock of the server. Commands and answers keep numbers below 2^53 unchanged. Scripts write numbers into texts with
// `full`, because Lua would round them.
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
