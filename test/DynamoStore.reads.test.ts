import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Stream } from "effect"
import { SharedStore } from "effect-fuse"
import { boxesFrom } from "../src/dynamo/ballotBoxes.ts"
import { type Item, RequestError } from "../src/dynamo/client.ts"
import { type Hub, hubFrom, UnreadableHub } from "../src/dynamo/hub.ts"
import { upTo } from "./support/batches.ts"
import { cast, exchanged, swap } from "./support/exchanges.ts"
import { alteredText, runs } from "./support/garbage.ts"
import { until } from "./support/redisFleet.ts"
import { Table, tableStore } from "./support/simulation/dynamo.ts"

/** Makes stores on a table in memory. The test sets their clock. */
const made = () => {
  const table = new Table()
  const sent: Array<string> = []
  const time = { now: 1_700_000_000_000 }
  const send = (kind: string, input: object) =>
    Effect.suspend(() => {
      sent.push(kind)
      return table.send(kind, input)
    })
  const open = () => tableStore(send, () => time.now)
  /** Runs an effect. Returns the kinds of its requests. */
  const during = (effect: Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      sent.length = 0
      yield* effect
      return [...sent]
    })
  /** Runs an exchange, and waits until its items are written. */
  const exchange = (store: SharedStore.SharedStore, request: Partial<SharedStore.Exchange>) =>
    Effect.tap(exchanged(store, request), () =>
      until(
        "the turn is carried out",
        Effect.sync(() => table.items.get("hub")?.["p"] === undefined)
      )
    )
  return { table, time, open, during, exchange }
}

interface Indexed {
  readonly e: { readonly N: string }
}

interface Query {
  readonly ExclusiveStartKey?: Indexed
}

const names = (store: SharedStore.SharedStore) =>
  Effect.map(store.page(0, 500), ({ changes, listed }) => [listed, ...changes.map(({ circuit }) => circuit)])

describe("the changes", () => {
  it.live("contain the first change of an empty table", () =>
    Effect.gen(function* () {
      const { exchange, open } = made()
      const reader = open()
      const heard = yield* Effect.forkChild(Stream.runHead(reader.changes))
      // The reader polls the empty table before the first change.
      yield* Effect.sleep(100)
      yield* exchange(open(), { swaps: [swap({ circuit: "a" })] })
      const change = yield* Effect.timeout(Fiber.join(heard), "20 seconds")
      assert.deepInclude(Option.getOrThrow(change), { _tag: "Record", circuit: "a" })
    })
  )
})

describe("a page", () => {
  it.live("reads only new changes from the index", () =>
    Effect.gen(function* () {
      const { during, exchange, open } = made()
      const [writer, reader] = [open(), open()]
      yield* exchange(writer, { swaps: [swap({ circuit: "a" }), swap({ circuit: "b" })] })
      assert.deepStrictEqual(yield* during(names(reader)), ["GetItem", "Query"])
      assert.deepStrictEqual(yield* during(names(reader)), ["GetItem"])
      yield* exchange(writer, { swaps: [swap({ circuit: "c" })] })
      assert.deepStrictEqual(yield* during(names(reader)), ["GetItem", "Query"])
      assert.deepStrictEqual(yield* names(reader), [3, "a", "b", "c"])
    })
  )

  it.live("omits an expired record, even if DynamoDB has not deleted its item", () =>
    Effect.gen(function* () {
      const { exchange, open, table, time } = made()
      const [writer, reader] = [open(), open()]
      yield* exchange(writer, { swaps: [swap({ circuit: "a", ttl: 1_000 }), swap({ circuit: "b", ttl: undefined })] })
      assert.deepStrictEqual(yield* names(reader), [2, "a", "b"])
      time.now += 1_000
      assert.isTrue(table.items.has("c#a"))
      for (const store of [reader, open()]) assert.deepStrictEqual(yield* names(store), [1, "b"])
      assert.deepStrictEqual((yield* open().load(["a"])).records, [undefined])
    })
  )

  it.live("shows for an hour that a circuit is no longer listed", () =>
    Effect.gen(function* () {
      const { exchange, open, time } = made()
      const [writer, reader] = [open(), open()]
      const { swaps } = yield* exchange(writer, { swaps: [swap({ circuit: "a" })] })
      const expectedEpoch = swaps[0]?.record?.epoch ?? 0
      const { swaps: next } = yield* exchange(writer, {
        swaps: [swap({ circuit: "a", expectedEpoch, listed: false })]
      })
      const since = next[0]?.record?.epoch ?? 0
      time.now += SharedStore.limits.unlistedMillis - 1
      for (const store of [reader, open()]) assert.deepStrictEqual(yield* names(store), [0, "a"])
      time.now += 1
      for (const store of [reader, open()]) assert.deepStrictEqual(yield* names(store), [0])
      assert.strictEqual((yield* reader.page(0, 10)).trimmed, since)
    })
  )

  it.live("omits a deleted item after at most five minutes", () =>
    Effect.gen(function* () {
      const { exchange, open, table, time } = made()
      const [writer, reader] = [open(), open()]
      yield* exchange(writer, { swaps: [swap({ circuit: "a", ttl: undefined })] })
      assert.deepStrictEqual(yield* names(reader), [1, "a"])
      table.items.delete("c#a")
      time.now += 300_000
      assert.deepStrictEqual(yield* names(reader), [0])
    })
  )

  it.live("continues after the last successful request if a read of many changes fails", () =>
    Effect.gen(function* () {
      const { exchange, open, table, time } = made()
      const circuits = upTo(10).map((i) => `c${i}`)
      yield* exchange(open(), { swaps: circuits.map((circuit) => swap({ circuit })) })
      let queries = 0
      /** Each query returns at most two items. Every second query fails. */
      const send = (kind: string, input: Query) =>
        Effect.suspend((): Effect.Effect<object, RequestError> => {
          if (kind !== "Query") return table.send(kind, input)
          if (++queries % 2 === 0) return Effect.fail(new RequestError({ cause: new Error("throttled") }))
          const after = Number(input.ExclusiveStartKey?.e.N ?? -1)
          const { Items } = table.carryOut(kind, input) as { readonly Items: ReadonlyArray<Indexed> }
          const all = Items.filter(({ e }) => Number(e.N) > after)
          const [last] = all.slice(1, 2)
          return Effect.succeed({ Items: all.slice(0, 2), LastEvaluatedKey: all.length > 2 ? last : undefined })
        })
      const reader = tableStore(send, () => time.now)
      const found = yield* Effect.retry(names(reader), { times: 10 })
      assert.deepStrictEqual(found, [10, ...circuits])
    })
  )

  it.live("of a new table contains no change of the previous table", () =>
    Effect.gen(function* () {
      const { exchange, open, table, time } = made()
      const [writer, reader] = [open(), open()]
      yield* exchange(writer, { swaps: [swap({ circuit: "a" })] })
      assert.deepStrictEqual(yield* names(reader), [1, "a"])
      table.items.clear()
      time.now += 10
      yield* exchange(open(), { voter: "w", swaps: [swap({ circuit: "b" })] })
      assert.deepStrictEqual(yield* names(reader), [1, "b"])
    })
  )
})

describe("the log of roll calls", () => {
  it.live("is read from the oldest entry that may still be valid", () =>
    Effect.gen(function* () {
      const { exchange, open, table, time } = made()
      const store = open()
      const call = (circuit: string) => exchange(store, { casts: [cast({ circuit, roll: 3_600_000 })] })
      yield* call("old")
      time.now += 3_700_000
      yield* call("new")
      const { rollCalls } = yield* exchange(store, { heard: 0 })
      assert.deepStrictEqual(
        rollCalls.map(({ circuit }) => circuit),
        ["new"]
      )
      assert.strictEqual([...table.items.keys()].filter((sk) => sk.startsWith("l#")).length, 2)
    })
  )
})

describe("items of any content", () => {
  const pending = [
    1_700_000_000_000_001,
    1_700_000_000_000,
    [["api", [7, "body", 1, null, true, true], [["b", 0, "v", ["life", 1, 2, 3], 4, [5, 6, 7]]]]],
    [[9, 8, "api", 7, "b", 6]]
  ]
  const hub: Item = {
    ...{ f: { N: "1" }, life: { S: "life" }, born: { N: "1" }, v: { N: "2" }, epoch: { N: "3" }, head: { N: "4" } },
    ...{ t: { N: "5" }, r: { M: { v: { S: "6 life 0" } } } }
  }
  const isWhole = (one: number) => Number.isSafeInteger(one) && one >= 0

  const isSound = ({ pending, voters }: Hub) =>
    [...voters.values()].every(({ heard, until }) => isWhole(heard) && isWhole(until)) &&
    [...(pending?.circuits.values() ?? [])].every(
      ({ boxes, record }) =>
        (record === undefined || (isWhole(record.epoch) && isWhole(record.at))) &&
        [...boxes.values()].every(({ ballot, epoch }) => isWhole(epoch) && (ballot?.numbers ?? []).every(isWhole))
    )

  it("are read without loss", () => {
    const read = hubFrom({ ...hub, p: { S: JSON.stringify(pending) } })
    assert(!(read instanceof UnreadableHub))
    assert.deepStrictEqual(read.pending?.circuits.get("api")?.record?.body, "body")
    assert.deepStrictEqual(read.pending?.rollCalls, [{ seq: 9, prev: 8, circuit: "api", epoch: 7, box: "b", term: 6 }])
    assert.deepStrictEqual(read.voters.get("v"), { until: 6, life: "life", heard: 0, text: "6 life 0" })
  })

  it.prop(
    "in the changes of a hub are either read as sound values, or make the hub unreadable",
    [alteredText([pending])],
    ([text]) => {
      const read = hubFrom({ ...hub, p: { S: text } })
      if (!(read instanceof UnreadableHub)) assert.isTrue(isSound(read), text)
    },
    runs("changes of a hub", 500)
  )

  it.prop(
    "in the boxes of a circuit are either read as sound values, or ignored",
    [alteredText([[["b", 0, 1, [2, 3, 4], [["v", "life", 5, 6, 7]]]]])],
    ([text]) => {
      for (const { ballots, epoch } of boxesFrom(text).values()) {
        assert.isTrue(isWhole(epoch))
        for (const { numbers, until } of ballots.values()) assert.isTrue([until, ...numbers].every(isWhole), text)
      }
    },
    runs("boxes of a circuit", 500)
  )

  it.prop(
    "in the register are read as sound values",
    [alteredText(["6 life 0"])],
    ([text]) => {
      const read = hubFrom({ ...hub, r: { M: { v: { S: text }, w: { N: "1" } } } })
      assert(!(read instanceof UnreadableHub))
      assert.isTrue(isSound(read))
    },
    runs("voters of a hub", 300)
  )
})

describe("an exchange whose answer is lost", () => {
  it.live("takes effect once if the client sends it twice", () =>
    Effect.gen(function* () {
      const { open, time } = made()
      const store = open()
      const request = { voter: "v", casts: [cast({ ballot: [1] })], swaps: [swap({ circuit: "other" })] }
      const first = yield* exchanged(store, request)
      time.now += 5
      const again = yield* exchanged(open(), request)
      assert.deepStrictEqual([first.casts[0]?.tally?.sums, again.casts[0]?.tally?.sums], [[1], [1]])
      assert.deepStrictEqual([first.swaps[0]?.swapped, again.swaps[0]?.swapped], [true, false])
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(store.load(["other"]))))
    })
  )
})
