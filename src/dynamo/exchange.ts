import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Exchange, ExchangeAnswer, RollCall } from "../store/SharedStore.ts"
import { type DynamoTable, expression, getAll, type Item, keyOf, n, putOver, RequestError, s } from "./client.ts"
import { writeDigest } from "./digests.ts"
import { joined, remember, renewed } from "./heartbeats.ts"
import {
  applied,
  type Hub,
  hubKey,
  overlaid,
  type Pending,
  pendingText,
  registerBytes,
  timeOf,
  type UnreadableHub
} from "./hub.ts"
import { existingHub, type HubSession, inTime, isOwn, type Lost, late, readHub, updateHub } from "./hubRequests.ts"
import { type CircuitItem, circuitKey, itemFrom, noItem, toItem } from "./records.ts"
import { rollCallItem, unheard } from "./rollCalls.ts"
import { circuitsOf, heardOf, type TurnDone, turn } from "./turn.ts"

export type ExchangeFailure = RequestError | UnreadableHub | TooMuch

/** The exchange would make an item larger than DynamoDB allows. The exchange changes nothing. */
export class TooMuch extends Data.TaggedError("TooMuch")<{ readonly item: string; readonly bytes: number }> {
  override get message(): string {
    return `the item "${this.item}" would have ${this.bytes} bytes, and DynamoDB allows 409,600`
  }
}

/**
 * If another process changes the hub first, the exchange retries at most this many times, each time after a random delay within these
 * bounds.
 */
const mostRetries = 20
const pauseMillis = 10
const longestPauseMillis = 100

/** A process writes at most this many items at the same time. */
const concurrency = 16

/** DynamoDB allows 409,600 bytes. Heartbeats may make an item larger after a process has read it. */
const mostBytes = 380_000

/** A committed exchange has an answer, and may leave work for later. */
export interface Answered {
  readonly answer: ExchangeAnswer
  /** Writes the items of the circuits. If this does not complete, the next turn writes them. */
  readonly follow?: Effect.Effect<void, RequestError>
}

export const exchange = (session: HubSession, request: Exchange): Effect.Effect<Answered, ExchangeFailure> => {
  const isHeartbeat = request.casts.length === 0 && request.swaps.length === 0
  const alone = (answer: ExchangeAnswer): Answered => ({ answer })
  const once = isHeartbeat ? Effect.map(joined(session, request), alone) : taken(session, request)
  const attempt = (times: number): Effect.Effect<Answered, ExchangeFailure> =>
    Effect.catchTag(once, "Lost", () =>
      times === 0
        ? Effect.fail(new RequestError({ cause: new Error("other processes write to the store all the time") }))
        : Effect.andThen(pause(mostRetries - times), attempt(times - 1))
    )
  if (!isHeartbeat) return attempt(mostRetries)
  return Effect.flatMap(renewed(session, request), (answer) =>
    answer === undefined ? attempt(mostRetries) : Effect.succeed(alone(answer))
  )
}

const pause = (times: number): Effect.Effect<void> =>
  Effect.flatMap(Random.next, (random) => Effect.sleep(random * Math.min(pauseMillis * 2 ** times, longestPauseMillis)))

/**
 * A turn: an exchange with casts or swaps. The process reads the hub and the circuits. One conditional write of the hub stores the changes and
 * commits the turn. Then the process writes the items of the circuits in the background. If the process ends before it has written them, the
 * next turn writes them first. Until then, all reads add the changes of the hub to the items.
 */
const taken = (session: HubSession, request: Exchange): Effect.Effect<Answered, ExchangeFailure | Lost> =>
  Effect.gen(function* () {
    const { notAfter = Infinity, voter } = request
    const { newLife, table } = session
    const hub = yield* existingHub(session)
    const time = timeOf(hub, table.clock.now())
    if (time > notAfter) return { answer: late(time) }
    const { pending } = hub
    const own = circuitsOf(request)
    const names = [...new Set([...own, ...(pending?.circuits.keys() ?? [])])]
    const [items, rollCalls] = yield* Effect.all(
      [getAll(table, names.map(circuitKey)), unheard(table, hub, heardOf(request, hub), time)],
      { concurrency: 2 }
    )
    const found = new Map(names.map((circuit) => [circuit, itemFrom(items.get(circuitKey(circuit)))]))
    // The commit below replaces these changes in the hub.
    if (pending !== undefined) yield* carriedOut(table, found, pending)
    const circuits = new Map(own.map((circuit) => [circuit, overlaid(circuit, found.get(circuit) ?? noItem, pending)]))
    const done = turn(request, { hub, time, circuits, rollCalls, newLife })
    const changes = done.pending.circuits.size > 0
    const was = hub.voters.get(voter)
    if (!changes && done.voter === undefined && was === undefined) return { answer: done.answer }
    const text = pendingText(done.pending)
    yield* bounded(table, hub, circuits, done.pending, text)
    const now = timeOf(hub, table.clock.now())
    if (now > notAfter) return { answer: late(now) }
    const commit = updateHub(table, voter, commitOf(hub, time, notAfter, was?.text, done, text))
    const after = yield* Effect.catchTag(commit, "Lost", (lost) =>
      lost.isRepeated ? committedBefore(session, request, was?.text, done, lost) : Effect.fail(lost)
    )
    remember(session, request, after)
    yield* writeDigest(table, request, after, time)
    return changes && after.version === done.pending.version
      ? { answer: done.answer, follow: settled(table, circuits, done.pending) }
      : { answer: done.answer }
  })

/**
 * Reads the hub after a refused repetition of a commit. Only the voter's own process writes the voter's value, and this process sends one
 * exchange at a time. If the hub has the value from the commit, the commit has succeeded and only its answer was lost. Otherwise, this
 * effect fails with `Lost`.
 */
const committedBefore = (
  { table }: HubSession,
  { voter }: Exchange,
  textBefore: string | undefined,
  done: TurnDone,
  lost: Lost
): Effect.Effect<Hub, RequestError | UnreadableHub | Lost> =>
  Effect.flatMap(readHub(table), (hub) => {
    const text = done.voter?.text
    const isCarriedOut = text !== undefined && text !== textBefore && hub?.voters.get(voter)?.text === text
    return hub !== undefined && isCarriedOut ? Effect.succeed(hub) : Effect.fail(lost)
  })

const commitOf = (
  hub: Hub,
  time: number,
  notAfter: number,
  ownText: string | undefined,
  { answer, epoch, pending, voter }: TurnDone,
  text: string
) => {
  const fence = inTime(hub, time, notAfter)
  const own = isOwn(ownText)
  const changes = pending.circuits.size > 0
  const removed = [
    ...(changes || hub.pending === undefined ? [] : ["#p"]),
    ...(voter === undefined && ownText !== undefined ? ["#r.#voter"] : [])
  ]
  const set = [
    ...["#v = :v", "#epoch = :epoch", "#head = :head", "#t = :time"],
    ...(changes ? ["#p = :p"] : []),
    ...(voter === undefined ? [] : ["#r.#voter = :text"])
  ]
  return {
    set: `SET ${set.join(", ")}${removed.length === 0 ? "" : ` REMOVE ${removed.join(", ")}`}`,
    condition: `#v = :was AND ${fence.condition} AND ${own.condition}`,
    values: {
      ...fence.values,
      ...own.values,
      ":was": n(hub.version),
      ":v": n(pending.version),
      ":epoch": n(epoch),
      ":head": n(answer.head),
      ":time": n(time),
      ...(changes ? { ":p": s(text) } : {}),
      ...(voter === undefined ? {} : { ":text": s(voter.text) })
    }
  }
}

const bytesOf = (text: string): number => new TextEncoder().encode(text).length

/** Fails before the commit if an item would be too large. A committed change that does not fit would stop all later turns. */
const bounded = (
  table: DynamoTable,
  hub: Hub,
  circuits: ReadonlyMap<string, CircuitItem>,
  pending: Pending,
  text: string
): Effect.Effect<void, TooMuch> =>
  Effect.suspend(() => {
    const sizes = [
      [hubKey, registerBytes(hub) + bytesOf(text)] as const,
      ...Array.from(pending.circuits, ([circuit, change]) => {
        const item = toItem(table, circuit, applied(circuits.get(circuit) ?? noItem, change, pending))
        return [circuit, bytesOf(JSON.stringify(item))] as const
      })
    ]
    const over = sizes.find(([, bytes]) => bytes > mostBytes)
    return over === undefined ? Effect.void : Effect.fail(new TooMuch({ item: over[0], bytes: over[1] }))
  })

/** Writes the items of the circuits that a turn changed, and its roll calls. Items from a later turn do not change. */
const carriedOut = (
  table: DynamoTable,
  circuits: ReadonlyMap<string, CircuitItem>,
  pending: Pending
): Effect.Effect<void, RequestError> => {
  const items = Array.from(pending.circuits).flatMap(([circuit, change]) => {
    const item = circuits.get(circuit) ?? noItem
    return item.version >= pending.version ? [] : [toItem(table, circuit, applied(item, change, pending))]
  })
  const putCircuit = (item: Item) =>
    Effect.catch(putOver(table, item, "v", "<", pending.version), (error) =>
      error.isRefused ? Effect.succeed({}) : Effect.fail(error)
    )
  const putRollCall = (one: RollCall) =>
    table.send("PutItem", { TableName: table.name, Item: rollCallItem(table, one, pending.time) })
  return Effect.forEach([...items.map(putCircuit), ...pending.rollCalls.map(putRollCall)], (write) => write, {
    concurrency,
    discard: true
  })
}

/** Writes the items of a turn, and removes its changes from the hub. */
const settled = (
  table: DynamoTable,
  circuits: ReadonlyMap<string, CircuitItem>,
  pending: Pending
): Effect.Effect<void, RequestError> =>
  Effect.andThen(
    carriedOut(table, circuits, pending),
    Effect.asVoid(
      table.send("UpdateItem", {
        TableName: table.name,
        Key: keyOf(table, hubKey),
        UpdateExpression: "REMOVE #p",
        ConditionExpression: "#v = :v",
        ExpressionAttributeNames: expression("#p #v"),
        ExpressionAttributeValues: { ":v": n(pending.version) }
      })
    )
  )
