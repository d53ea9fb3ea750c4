import * as Effect from "effect/Effect"
import type { Exchange, ExchangeAnswer, RollCall } from "../store/SharedStore.ts"
import { expression, keyOf, n, type RequestError, s } from "./client.ts"
import { writeDigest } from "./digests.ts"
import {
  behindMillis,
  buriable,
  type Hub,
  hubKey,
  liveAt,
  liveVoter,
  timeOf,
  type UnreadableHub,
  voterText
} from "./hub.ts"
import { existingHub, type HubSession, inTime, isOwn, type Lost, late, updateHub } from "./hubRequests.ts"
import { unheard } from "./rollCalls.ts"
import { heardOf } from "./turn.ts"

/** If a process's life lasts at least this much longer, a heartbeat renews the life, and does not read the hub first. */
const safeMillis = 1_000

export const remember = (session: HubSession, { ttl, voter }: Exchange, hub: Hub): void => {
  const written = hub.voters.get(voter)
  if (ttl <= 0 || written === undefined) session.voters.delete(voter)
  else session.voters.set(voter, { storeLife: hub.life, ...written })
}

/** Completes a heartbeat. `hub` is the hub after the write. */
const answered = (session: HubSession, request: Exchange, hub: Hub, time: number) => {
  const { table } = session
  remember(session, request, hub)
  const { born, head, life } = hub
  const written = Effect.andThen(bury(session, request, hub, time), writeDigest(table, request, hub, time))
  const answer = (rollCalls: ReadonlyArray<RollCall>): ExchangeAnswer => ({
    ...{ _tag: "Done", time, live: liveAt(hub, time), liveFor: Math.max(0, time - born), life, head, rollCalls },
    ...{ casts: [], swaps: [] }
  })
  return Effect.andThen(written, Effect.map(unheard(table, hub, heardOf(request, hub), time), answer))
}

type HeartbeatFailure = RequestError | UnreadableHub

/** Renews the life of a voter in one request. Returns `undefined` if the process must read the hub first. */
export const renewed = (
  session: HubSession,
  request: Exchange
): Effect.Effect<ExchangeAnswer | undefined, HeartbeatFailure> =>
  Effect.suspend(() => {
    const { notAfter = Infinity, ttl, voter } = request
    const { table } = session
    const known = session.voters.get(voter)
    const time = table.clock.now()
    const isSafe = known !== undefined && known.until > time + safeMillis && known.storeLife === request.life
    if (!isSafe || ttl <= 0) return Effect.undefined
    if (time > notAfter) return Effect.succeed(late(time))
    const text = voterText({ life: known.life, until: Math.ceil(time + ttl), heard: request.heard })
    // If this clock is further behind the latest write, DynamoDB refuses the write, and `joined` takes the time from the hub.
    const fence = inTime(undefined, time, Math.min(notAfter, time + behindMillis))
    const own = isOwn(known.text)
    return updateHub(table, voter, {
      set: "SET #r.#voter = :text, #t = :time",
      condition: `${fence.condition} AND ${own.condition} AND #life = :life AND #head >= :heard`,
      values: {
        ...fence.values,
        ...own.values,
        ":text": s(text),
        ":time": n(time),
        ":life": s(known.storeLife),
        ":heard": n(request.heard)
      }
    }).pipe(
      Effect.flatMap((hub) => answered(session, request, hub, timeOf(hub, time))),
      Effect.catchTag("Lost", () => {
        session.voters.delete(voter)
        return Effect.undefined
      })
    )
  })

/** Reads the hub, and then sends a heartbeat. A voter does this when it joins or leaves, or when its life ends soon or has ended. */
export const joined = (
  session: HubSession,
  request: Exchange
): Effect.Effect<ExchangeAnswer, HeartbeatFailure | Lost> =>
  Effect.gen(function* () {
    const { notAfter = Infinity, ttl, voter } = request
    const { table } = session
    const hub = yield* existingHub(session)
    const time = timeOf(hub, table.clock.now())
    if (time > notAfter) return late(time)
    const was = hub.voters.get(voter)
    if (ttl <= 0 && was === undefined) return yield* answered(session, request, hub, time)
    // If dead voters fill the hub, this removes them to make room for this voter.
    yield* bury(session, request, hub, time)
    const fence = inTime(hub, time, notAfter)
    const own = isOwn(was?.text)
    const life = liveVoter(hub, voter, time)?.life ?? session.newLife()
    const text = voterText({ life, until: Math.ceil(time + ttl), heard: heardOf(request, hub) })
    const after = yield* updateHub(table, voter, {
      set: ttl > 0 ? "SET #r.#voter = :text, #t = :time" : "SET #t = :time REMOVE #r.#voter",
      condition: `${fence.condition} AND ${own.condition} AND #life = :life`,
      values: {
        ...fence.values,
        ...own.values,
        ...(ttl > 0 ? { ":text": s(text) } : {}),
        ":time": n(time),
        ":life": s(hub.life)
      }
    })
    return yield* answered(session, request, after, time)
  })

/** Removes some dead voters from the register. If this fails, a later heartbeat tries again. */
const bury = ({ table }: HubSession, { voter }: Exchange, hub: Hub, time: number): Effect.Effect<void> => {
  const dead = buriable(hub, time, voter)
  if (dead.length === 0) return Effect.void
  const set = `REMOVE ${dead.map((_, i) => `#r.#dead${i}`).join(", ")}`
  const condition = dead.map((_, i) => `#r.#dead${i} = :dead${i}`).join(" AND ")
  const names = Object.fromEntries(dead.map(([name], i) => [`#dead${i}`, name]))
  return Effect.ignore(
    table.send("UpdateItem", {
      TableName: table.name,
      Key: keyOf(table, hubKey),
      UpdateExpression: set,
      ConditionExpression: condition,
      ExpressionAttributeNames: expression(set, names),
      ExpressionAttributeValues: Object.fromEntries(dead.map(([, text], i) => [`:dead${i}`, s(text)]))
    })
  )
}
