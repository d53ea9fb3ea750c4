import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { type Exchange, type ExchangeAnswer, limits, type RollCall } from "../store/SharedStore.ts"
import {
  type DynamoTable,
  expression,
  get,
  getAll,
  type Item,
  keyOf,
  n,
  queryAll,
  RequestError,
  s,
  textOf
} from "./client.ts"
import { writeDigest } from "./digests.ts"
import {
  applied,
  buriable,
  type Hub,
  hubFrom,
  hubKey,
  liveAt,
  liveVoter,
  newHub,
  overlaid,
  type Pending,
  pendingText,
  rollCallFrom,
  timeOf,
  UnreadableHub,
  voterText
} from "./hub.ts"
import { type CircuitItem, circuitKey, deletedAt, itemFrom, noItem, toItem } from "./records.ts"
import { farMillis } from "./serverClock.ts"
import { circuitsOf, heardOf, turn } from "./turn.ts"

export type ExchangeFailure = RequestError | UnreadableHub | TooMuch

/** An item would be larger than DynamoDB allows: the exchange changes nothing. */
export class TooMuch extends Data.TaggedError("TooMuch")<{ readonly item: string; readonly bytes: number }> {
  override get message(): string {
    return `the item "${this.item}" would have ${this.bytes} bytes, and DynamoDB allows 409,600`
  }
}

/** Another process changed the hub after it was read. */
class Lost extends Data.TaggedError("Lost") {}

/** What one process remembers of its voters: their latest values in the register. */
export interface Remembered {
  readonly storeLife: string
  readonly life: string
  readonly until: number
  readonly text: string
}

export interface Voting {
  readonly table: DynamoTable
  readonly voters: Map<string, Remembered>
  readonly newLife: () => string
}

/** A live process renews its life without reading the hub first, if it lives for at least this much longer. */
const safeMillis = 1_000

/** How often an exchange begins again if another process was faster, and the longest pause before that. The pauses are random. */
const mostTurns = 20
const pauseMillis = 10
const longestPauseMillis = 100

/** How many circuits are written at once. */
const concurrency = 16

const mostBytes = 380_000

const late = (time: number): ExchangeAnswer => ({ _tag: "Late", time })

export const readHub = (table: DynamoTable): Effect.Effect<Hub | undefined, RequestError | UnreadableHub> =>
  Effect.flatMap(get(table, hubKey), (item) => (item === undefined ? Effect.succeed(undefined) : decoded(item)))

const decoded = (item: Item): Effect.Effect<Hub, UnreadableHub> => {
  const hub = hubFrom(item)
  return hub instanceof UnreadableHub ? Effect.fail(hub) : Effect.succeed(hub)
}

/** Carries out an exchange. */
export const exchange = (session: Voting, request: Exchange): Effect.Effect<ExchangeAnswer, ExchangeFailure> => {
  const isHeartbeat = request.casts.length === 0 && request.swaps.length === 0
  const once = isHeartbeat ? joined(session, request) : taken(session, request)
  const attempt = (times: number): Effect.Effect<ExchangeAnswer, ExchangeFailure> =>
    Effect.catchTag(once, "Lost", () =>
      times === 0
        ? Effect.fail(new RequestError({ cause: new Error("other processes write to the store all the time") }))
        : Effect.andThen(pause(mostTurns - times), attempt(times - 1))
    )
  if (!isHeartbeat) return attempt(mostTurns)
  return Effect.flatMap(renewed(session, request), (answer) =>
    answer === undefined ? attempt(mostTurns) : Effect.succeed(answer)
  )
}

const pause = (times: number): Effect.Effect<void> =>
  Effect.flatMap(Random.next, (random) => Effect.sleep(random * Math.min(pauseMillis * 2 ** times, longestPauseMillis)))

const refusedAsLost = (error: RequestError): RequestError | Lost => (error.isRefused ? new Lost() : error)

/** That the time of the store, which each heartbeat of the fleet moves on, is not after the deadline. */
const inTime = (time: number, notAfter: number) =>
  notAfter === Infinity
    ? { condition: "#f = :f", values: {} }
    : {
        condition: "#f = :f AND (#t <= :notAfter OR #t > :far)",
        values: { ":notAfter": n(Math.floor(notAfter)), ":far": n(time + farMillis) }
      }

/** That the voter's value is the one that was read. */
const isOwn = (text: string | undefined) =>
  text === undefined
    ? { condition: "attribute_not_exists(#r.#voter)", values: {} }
    : { condition: "#r.#voter = :own", values: { ":own": s(text) } }

/** Writes the hub, and returns it. Fails with `Lost` if a condition does not hold. */
const updateHub = (
  table: DynamoTable,
  voter: string,
  of: { readonly set: string; readonly condition: string; readonly values: Item }
): Effect.Effect<Hub, RequestError | UnreadableHub | Lost> =>
  table
    .send("UpdateItem", {
      TableName: table.name,
      Key: keyOf(table, hubKey),
      UpdateExpression: of.set,
      ConditionExpression: of.condition,
      ExpressionAttributeNames: expression(`${of.set} ${of.condition}`, { "#voter": voter }),
      ExpressionAttributeValues: { ":f": n(1), ...of.values },
      ReturnValues: "ALL_NEW"
    })
    .pipe(
      Effect.mapError(refusedAsLost),
      Effect.flatMap(({ Attributes = {} }) => decoded(Attributes))
    )

// ---- Heartbeats ---------------------------------------------------------------------------------------------------

const remember = (session: Voting, { ttl, voter }: Exchange, hub: Hub): void => {
  const written = hub.voters.get(voter)
  if (ttl <= 0 || written === undefined) session.voters.delete(voter)
  else session.voters.set(voter, { storeLife: hub.life, ...written })
}

/** The answer to a heartbeat, from the hub after it. */
const answered = (session: Voting, request: Exchange, hub: Hub, time: number) => {
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

/** Renews the life of a voter in one request; `undefined` if it must read the hub first. */
const renewed = (session: Voting, request: Exchange): Effect.Effect<ExchangeAnswer | undefined, ExchangeFailure> =>
  Effect.suspend(() => {
    const { notAfter = Infinity, ttl, voter } = request
    const { table } = session
    const known = session.voters.get(voter)
    const time = table.clock.now()
    const isSafe = known !== undefined && known.until > time + safeMillis && known.storeLife === request.life
    if (!isSafe || ttl <= 0) return Effect.undefined
    if (time > notAfter) return Effect.succeed(late(time))
    const text = voterText({ life: known.life, until: Math.ceil(time + ttl), heard: request.heard })
    const fence = inTime(time, notAfter)
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

/** A heartbeat that reads the hub first: of a voter that joins, leaves, or was counted as dead. */
const joined = (session: Voting, request: Exchange): Effect.Effect<ExchangeAnswer, ExchangeFailure | Lost> =>
  Effect.gen(function* () {
    const { notAfter = Infinity, ttl, voter } = request
    const { table } = session
    const hub = yield* existingHub(session)
    const time = timeOf(hub, table.clock.now())
    if (time > notAfter) return late(time)
    const was = hub.voters.get(voter)
    if (ttl <= 0 && was === undefined) return yield* answered(session, request, hub, time)
    const fence = inTime(time, notAfter)
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

/** The hub. The first process of a store creates it. */
const existingHub = ({ newLife, table }: Voting): Effect.Effect<Hub, RequestError | UnreadableHub | Lost> =>
  Effect.flatMap(readHub(table), (hub) => {
    if (hub !== undefined) return Effect.succeed(hub)
    const create = table.send("PutItem", {
      TableName: table.name,
      Item: { ...keyOf(table, hubKey), ...newHub(table.clock.now(), newLife()) },
      ConditionExpression: "attribute_not_exists(#pk)",
      ExpressionAttributeNames: expression("#pk")
    })
    return Effect.flatMap(Effect.mapError(create, refusedAsLost), () => Effect.fail(new Lost()))
  })

/** Removes voters from the register that are dead for a while. If it fails, a later heartbeat does it. */
const bury = ({ table }: Voting, { voter }: Exchange, hub: Hub, time: number): Effect.Effect<void> => {
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

// ---- Roll calls ---------------------------------------------------------------------------------------------------

/** The sort key of a roll call. Keys are ordered as their numbers are. */
export const rollCallKey = (seq: number): string => `l#${String(seq).padStart(16, "0")}`

const rollCallItem = (table: DynamoTable, rollCall: RollCall, time: number): Item => {
  const { box, circuit, epoch, prev, seq, term } = rollCall
  const end = time + term + limits.logMillis
  return {
    ...keyOf(table, rollCallKey(seq)),
    l: s(JSON.stringify([seq, prev, circuit, epoch, box, term])),
    end: n(Math.ceil(end)),
    x: deletedAt(end)
  }
}

/** The roll calls after `heard` that the log still has, ascending. */
export const unheard = (
  table: DynamoTable,
  hub: Hub,
  heard: number,
  time: number
): Effect.Effect<ReadonlyArray<RollCall>, RequestError> => {
  if (hub.head <= heard) return Effect.succeed([])
  const items = queryAll(
    table,
    {
      KeyConditionExpression: "#pk = :pk AND #sk BETWEEN :from AND :to",
      FilterExpression: "#end > :time",
      ExpressionAttributeNames: expression("#pk #sk #end"),
      ExpressionAttributeValues: {
        ":pk": s(table.prefix),
        ":from": s(rollCallKey(heard + 1)),
        ":to": s(rollCallKey(hub.head)),
        ":time": n(time)
      }
    },
    limits.rollCalls
  )
  return Effect.map(items, (found) => {
    const calls = new Map<number, RollCall>()
    for (const item of found) {
      const one = rollCallFrom(parsedOf(item))
      if (one !== undefined && one.seq <= hub.head) calls.set(one.seq, one)
    }
    // While their turn is not carried out, roll calls may not be in the log yet.
    for (const one of hub.pending?.rollCalls ?? []) if (one.seq > heard) calls.set(one.seq, one)
    return [...calls.values()].sort((a, b) => a.seq - b.seq).slice(0, limits.rollCalls)
  })
}

const parsedOf = (item: Item): unknown => {
  try {
    return JSON.parse(textOf(item["l"]) ?? "")
  } catch {
    return undefined
  }
}

// ---- Turns --------------------------------------------------------------------------------------------------------

/**
 * A turn: an exchange with casts or swaps. It reads the hub and the circuits, and commits with one conditional write of the hub, which contains
 * the changes. Then it carries them out in the items of the circuits. If the process ends in between, the next turn does that first, and
 * until then all reads add the changes of the hub to the items.
 */
const taken = (session: Voting, request: Exchange): Effect.Effect<ExchangeAnswer, ExchangeFailure | Lost> =>
  Effect.gen(function* () {
    const { notAfter = Infinity, voter } = request
    const { newLife, table } = session
    const hub = yield* existingHub(session)
    const time = timeOf(hub, table.clock.now())
    if (time > notAfter) return late(time)
    const { pending } = hub
    const own = circuitsOf(request)
    const names = [...new Set([...own, ...(pending?.circuits.keys() ?? [])])]
    const [items, rollCalls] = yield* Effect.all(
      [getAll(table, names.map(circuitKey)), unheard(table, hub, heardOf(request, hub), time)],
      { concurrency: 2 }
    )
    const found = new Map(names.map((circuit) => [circuit, itemFrom(items.get(circuitKey(circuit)))]))
    // The commit replaces the changes in the hub.
    if (pending !== undefined) yield* carriedOut(table, found, pending)
    const circuits = new Map(own.map((circuit) => [circuit, overlaid(circuit, found.get(circuit) ?? noItem, pending)]))
    const done = turn(request, { hub, time, circuits, rollCalls, newLife })
    const changes = done.pending.circuits.size > 0
    const was = hub.voters.get(voter)
    if (!changes && done.voter === undefined && was === undefined) return done.answer
    yield* bounded(table, circuits, done.pending)
    const now = timeOf(hub, table.clock.now())
    if (now > notAfter) return late(now)
    const after = yield* updateHub(table, voter, commitOf(hub, time, notAfter, was?.text, done))
    remember(session, request, after)
    // From here on the exchange has happened, whatever becomes of these requests.
    const follow = [
      writeDigest(table, request, after, time),
      changes ? Effect.ignore(settled(table, circuits, done.pending)) : Effect.void
    ]
    yield* Effect.all(follow, { concurrency: 2, discard: true })
    return done.answer
  })

const commitOf = (
  hub: Hub,
  time: number,
  notAfter: number,
  ownText: string | undefined,
  { answer, epoch, pending, voter }: ReturnType<typeof turn>
) => {
  const fence = inTime(time, notAfter)
  const own = isOwn(ownText)
  const values = {
    ...{ ...fence.values, ...own.values },
    ...{
      ":was": n(hub.version),
      ":v": n(pending.version),
      ":epoch": n(epoch),
      ":head": n(answer.head),
      ":time": n(time)
    }
  }
  const removed = [
    ...(pending.circuits.size > 0 || hub.pending === undefined ? [] : ["#p"]),
    ...(voter === undefined && ownText !== undefined ? ["#r.#voter"] : [])
  ]
  const set = [
    ...["#v = :v", "#epoch = :epoch", "#head = :head", "#t = :time"],
    ...(pending.circuits.size > 0 ? ["#p = :p"] : []),
    ...(voter === undefined ? [] : ["#r.#voter = :text"])
  ]
  return {
    set: `SET ${set.join(", ")}${removed.length === 0 ? "" : ` REMOVE ${removed.join(", ")}`}`,
    condition: `#v = :was AND ${fence.condition} AND ${own.condition}`,
    values: {
      ...values,
      ...(pending.circuits.size > 0 ? { ":p": s(pendingText(pending)) } : {}),
      ...(voter === undefined ? {} : { ":text": s(voter.text) })
    }
  }
}

const bytesOf = (item: unknown): number => new TextEncoder().encode(JSON.stringify(item)).length

/** Fails before the commit if an item would be too large: a change that cannot be carried out would stop the store. */
const bounded = (
  table: DynamoTable,
  circuits: ReadonlyMap<string, CircuitItem>,
  pending: Pending
): Effect.Effect<void, TooMuch> =>
  Effect.suspend(() => {
    const sizes = [
      [hubKey, bytesOf(pendingText(pending))] as const,
      ...Array.from(pending.circuits, ([circuit, change]) => {
        const item = toItem(table, circuit, applied(circuits.get(circuit) ?? noItem, change, pending))
        return [circuit, bytesOf(item)] as const
      })
    ]
    const over = sizes.find(([, bytes]) => bytes > mostBytes)
    return over === undefined ? Effect.void : Effect.fail(new TooMuch({ item: over[0], bytes: over[1] }))
  })

/** Writes the items of the circuits that a turn changed, and the roll calls. An item that a later turn has written stays as it is. */
const carriedOut = (
  table: DynamoTable,
  circuits: ReadonlyMap<string, CircuitItem>,
  pending: Pending
): Effect.Effect<void, RequestError> => {
  const items = Array.from(pending.circuits).flatMap(([circuit, change]) => {
    const item = circuits.get(circuit) ?? noItem
    return item.version >= pending.version ? [] : [toItem(table, circuit, applied(item, change, pending))]
  })
  const condition = "attribute_not_exists(#v) OR #v < :v OR NOT attribute_type(#v, :number)"
  const putCircuit = (item: Item) =>
    Effect.catch(
      table.send("PutItem", {
        TableName: table.name,
        Item: item,
        ConditionExpression: condition,
        ExpressionAttributeNames: expression(condition),
        ExpressionAttributeValues: { ":v": n(pending.version), ":number": s("N") }
      }),
      (error) => (error.isRefused ? Effect.succeed({}) : Effect.fail(error))
    )
  const putRollCall = (one: RollCall) =>
    table.send("PutItem", { TableName: table.name, Item: rollCallItem(table, one, pending.time) })
  return Effect.forEach([...items.map(putCircuit), ...pending.rollCalls.map(putRollCall)], (write) => write, {
    concurrency,
    discard: true
  })
}

/** Carries out a turn, and removes its changes from the hub. */
const settled = (
  table: DynamoTable,
  circuits: ReadonlyMap<string, CircuitItem>,
  pending: Pending
): Effect.Effect<void, RequestError> =>
  Effect.andThen(
    carriedOut(table, circuits, pending),
    table.send("UpdateItem", {
      TableName: table.name,
      Key: keyOf(table, hubKey),
      UpdateExpression: "REMOVE #p",
      ConditionExpression: "#v = :v",
      ExpressionAttributeNames: expression("#p #v"),
      ExpressionAttributeValues: { ":v": n(pending.version) }
    })
  )
