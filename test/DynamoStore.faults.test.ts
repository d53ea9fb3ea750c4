import { DeleteItemCommand, DeleteTableCommand, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb"
import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Logger } from "effect"
import { CircuitBreaker, SharedStore } from "effect-fuse"
import * as DynamoStore from "effect-fuse/DynamoStore"
import { type DynamoProxy, dynamoProxy, type Fate, type Sent } from "./support/dynamoProxy.ts"
import { circuitsTable, dynamoClient, dynamoTable } from "./support/dynamoServer.ts"
import { cast, castOf, exchanged, swap, swapOf } from "./support/exchanges.ts"
import { standsAt, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { areKnown, type DynamoPlace, onDynamo, replicaOn, replicasOn } from "./support/storeFleets.ts"
import { areTogether, areTogetherInTheEnd, isUnharmed } from "./support/unharmed.ts"

const two = (place: DynamoPlace) =>
  Effect.gen(function* () {
    const [a, b] = yield* replicasOn(place, 2)
    assert(a !== undefined && b !== undefined)
    yield* areKnown(place, 2)
    return [a, b] as const
  })

describe("DynamoDB that", () => {
  live(
    "crashes does not affect callers, and the fleet continues after its restart",
    Effect.gen(function* () {
      const place = yield* onDynamo()
      const [a, b] = yield* two(place)
      yield* a.run(CircuitBreaker.isolate("forced", { reason: "drill" }))
      yield* standsAt([b], "Isolated (fleet)", { circuit: "forced" })
      yield* place.server.kill
      yield* isUnharmed(a, b, "meanwhile")
      yield* b.run(CircuitBreaker.isolate("forced meanwhile"))
      yield* place.server.start
      yield* areTogether([a, b], "afterwards")
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced meanwhile" })
      assert.strictEqual(yield* works(b, { circuit: "meanwhile" }), "ok")
    }),
    60_000
  )

  live(
    "stops and continues does not affect callers",
    Effect.gen(function* () {
      const place = yield* onDynamo()
      const [a, b] = yield* two(place)
      yield* areTogether([a, b], "before")
      yield* place.server.pause
      yield* isUnharmed(a, b, "meanwhile")
      yield* isUnharmed(b, a, "at the same time")
      assert.strictEqual(yield* works(a, { circuit: "before" }), "Cooldown (fleet)")
      yield* place.server.resume
      yield* areTogether([a, b], "afterwards")
      assert.strictEqual(yield* works(b, { circuit: "meanwhile" }), "ok")
    }),
    60_000
  )

  live(
    "is too slow counts as unavailable until it is fast",
    Effect.gen(function* () {
      const place = yield* onDynamo()
      const [a, b] = yield* two(place)
      yield* place.wire.delay(1_200)
      yield* isUnharmed(a, b, "meanwhile")
      yield* place.wire.delay(0)
      yield* areTogether([a, b], "afterwards")
    }),
    60_000
  )

  live(
    "throttles all requests does not affect callers, and the fleet continues when the throttling ends",
    Effect.gen(function* () {
      const { proxy, replicas, said } = yield* behindProxy
      const [a, b] = replicas
      proxy.decide = () => "throttle"
      yield* isUnharmed(a, b, "meanwhile")
      yield* until(
        "the log says why",
        Effect.sync(() => said.some((line) => /does not answer.*throughput/.test(line)))
      )
      proxy.decide = () => "pass"
      yield* areTogether([a, b], "afterwards")
    }),
    60_000
  )

  live(
    "throttles a client whose retries exceed the operation timeout: the error names the throttling",
    Effect.gen(function* () {
      const { proxy } = yield* behindProxy
      const client = yield* dynamoClient(proxy.url, 20)
      const store = yield* DynamoStore.make({ client, table: circuitsTable })
      yield* store.load([])
      proxy.decide = () => "throttle"
      const page: Effect.Effect<unknown, SharedStore.StoreError> = store.page(0, 10)
      for (const one of [page, store.load([]), store.digests(""), exchanged(store, {})]) {
        const error = yield* Effect.flip(one)
        assert.match(
          error.message,
          /DynamoDB has not answered in time \(The level of configured provisioned throughput/
        )
      }
      proxy.decide = () => "pass"
      yield* store.load([])
      // A slow request without retries may take longer. Only the caller knows how long it may take.
      proxy.decide = () => Effect.runPromise(Effect.sleep("1500 millis"))
      yield* store.load([])
    }),
    60_000
  )

  live(
    "throttles every tenth request still carries the transitions of the fleet",
    Effect.gen(function* () {
      const { proxy, replicas } = yield* behindProxy
      let asked = 0
      proxy.decide = () => (++asked % 10 === 0 ? "throttle" : "pass")
      yield* areTogetherInTheEnd(replicas, "api")
    }),
    60_000
  )

  live(
    "loses its table does not affect callers, and the fleet writes its overrides to the next table",
    Effect.gen(function* () {
      const place = yield* onDynamo()
      const [a, b] = yield* two(place)
      yield* a.run(CircuitBreaker.isolate("forced", { reason: "drill" }))
      yield* standsAt([b], "Isolated (fleet)", { circuit: "forced" })
      yield* Effect.promise(() => place.client.send(new DeleteTableCommand({ TableName: circuitsTable })))
      yield* isUnharmed(a, b, "meanwhile")
      yield* DynamoStore.createTable({ client: place.client, table: circuitsTable })
      yield* areTogether([a, b], "afterwards")
      const late = yield* Effect.flatMap(place.store, (store) => replicaOn(store))
      yield* standsAt([a, b, late], "Isolated (fleet)", { circuit: "forced" })
    }),
    60_000
  )
})

/** Starts two replicas behind a proxy. Collects their log messages. */
const behindProxy = Effect.gen(function* () {
  const server = yield* dynamoTable
  const proxy = yield* dynamoProxy(server.url)
  const said: Array<string> = []
  const logger = Logger.make(({ message }) => void said.push(String(message)))
  const store = Effect.flatMap(dynamoClient(proxy.url, 1), (client) =>
    DynamoStore.make({ client, table: circuitsTable, pollInterval: 200 })
  )
  const one = Effect.provide(
    Effect.flatMap(store, (made) => replicaOn(made)),
    Logger.layer([logger])
  )
  const replicas = [yield* one, yield* one] as const
  const admin = yield* store
  yield* areKnown({ admin, store }, 2)
  return { proxy, replicas, said }
})

// ---- Items that another program wrote -----------------------------------------------------------------------------

const key = (sk: string) => ({ pk: { S: "effect-fuse" }, sk: { S: sk } })

/** Runs an operation that fails. Returns its error message. */
const failure = (self: Effect.Effect<unknown, SharedStore.StoreError>) =>
  Effect.map(Effect.exit(self), (exit) => {
    assert(Exit.isFailure(exit))
    const error = Cause.squash(exit.cause)
    assert(error instanceof SharedStore.StoreError)
    return error.message
  })

const hubs: ReadonlyArray<readonly [name: string, more: Record<string, unknown>, problem: RegExp]> = [
  ["of a newer version", { f: { N: "2" } }, /expected format 1, got 2/],
  ["that another program wrote", { f: { S: "x" } }, /expected format 1, got no format/],
  ["without its life", { life: { S: "no life" } }, /the life of the store is missing/],
  ["without a number", { head: { S: "1" } }, /a number is missing/],
  ["with truncated changes", { p: { S: '[1,2,[["api"' } }, /its pending changes are invalid/]
]

describe("a hub", () => {
  for (const [name, more, problem] of hubs) {
    live(
      `${name} stays unchanged: every operation fails and says why, and processes decide alone`,
      Effect.gen(function* () {
        const place = yield* onDynamo()
        const [a, b] = yield* two(place)
        const { client } = place
        const send = (command: unknown) => Effect.promise(() => client.send(command))
        const { Item } = yield* send(new GetItemCommand({ TableName: circuitsTable, Key: key("hub") }))
        const wrong = { ...Item, ...more }
        yield* send(new PutItemCommand({ TableName: circuitsTable, Item: wrong }))
        const store = yield* place.store
        for (const one of [
          store.exchange({ voter: "v", ttl: 1_000, notAfter: undefined, heard: 0, floor: 0, casts: [], swaps: [] }),
          Effect.asVoid(exchanged(store, { swaps: [swap()] })),
          store.page(0, 10),
          store.load(["api"]),
          store.digests("")
        ]) {
          assert.match(yield* failure(one), problem)
        }
        yield* isUnharmed(a, b, "meanwhile")
        const { Item: after } = yield* send(new GetItemCommand({ TableName: circuitsTable, Key: key("hub") }))
        assert.deepStrictEqual({ ...after, r: undefined, t: undefined }, { ...wrong, r: undefined, t: undefined })
        yield* send(new DeleteItemCommand({ TableName: circuitsTable, Key: key("hub") }))
        yield* areTogether([a, b], "afterwards")
      }),
      60_000
    )
  }
})

const torn: ReadonlyArray<readonly [name: string, item: Record<string, unknown>]> = [
  [
    "text in place of numbers",
    { v: { S: "x" }, epoch: { S: "x" }, body: { N: "1" }, e: { N: "7" }, b: { S: "[[1]]" } }
  ],
  ["a record without a body", { v: { N: "1" }, epoch: { N: "7" }, at: { N: "1" }, e: { N: "7" } }],
  ["truncated boxes", { v: { N: "1" }, b: { S: '[["b",0,null,null,[["v"' } }],
  [
    "ballots of fractions and negative numbers",
    { v: { N: "1" }, b: { S: '[["b",0,null,null,[["v","l",9e15,-1,0.5]]]]' } }
  ],
  ["nothing but its key", {}]
]

describe("the item of a circuit with", () => {
  for (const [name, item] of torn) {
    live(
      `${name} is ignored, and the next turn replaces it`,
      Effect.gen(function* () {
        const { client, store: make } = yield* onDynamo()
        const store = yield* make
        yield* exchanged(store)
        yield* Effect.promise(() =>
          client.send(new PutItemCommand({ TableName: circuitsTable, Item: { ...key("c#api"), ...item } as never }))
        )
        assert.deepStrictEqual((yield* store.load(["api"])).records, [undefined])
        assert.deepStrictEqual((yield* (yield* make).page(0, 10)).changes, [])
        const { tally } = yield* castOf(store, cast())
        assert.deepStrictEqual([tally?.voters, tally?.sums], [1, [1000, 1, 0, 2]])
        assert.isTrue((yield* swapOf(store, swap())).swapped)
        assert.strictEqual((yield* (yield* make).load(["api"])).records[0]?.body, "body")
      })
    )
  }
})

// ---- Late writes, and processes that end between two writes -------------------------------------------------------

/** Only a commit compares the number of the turn before it. */
const isCommit = ({ input, kind }: Sent) => kind === "UpdateItem" && input.includes(":was")
const isOfCircuit = ({ input, kind }: Sent) => kind === "PutItem" && input.includes('"c#')

/** Holds back the first `most` requests of a kind. */
const holding = (proxy: DynamoProxy, which: (sent: Sent) => boolean, most = 1) => {
  let release = () => {}
  let held = 0
  const open = new Promise<void>((resolve) => {
    release = resolve
  })
  proxy.decide = (sent): Fate => {
    if (held >= most || !which(sent)) return "pass"
    held++
    return open
  }
  const arrived = until(
    "a request is held back",
    Effect.sync(() => held > 0)
  )
  return { arrived, release: Effect.sync(() => release()) }
}

/** Makes two stores on one table. `one` is behind a proxy. */
const twoStores = Effect.gen(function* () {
  const server = yield* dynamoTable
  const proxy = yield* dynamoProxy(server.url)
  const on = (url: string) =>
    Effect.flatMap(dynamoClient(url, 1), (client) => DynamoStore.make({ client, table: circuitsTable }))
  return { proxy, one: yield* on(proxy.url), other: yield* on(server.url) }
})

/** Makes an exchange with one swap and a deadline in `millis`. */
const swapWithin = (store: SharedStore.SharedStore, millis: number) =>
  Effect.gen(function* () {
    const { life, time } = yield* exchanged(store, { voter: "one" })
    return yield* store.exchange({
      ...{ voter: "one", ttl: 60_000, notAfter: time + millis, heard: 0, life, floor: 0, casts: [] },
      swaps: [swap({ ttl: 60_000 })]
    })
  })

const arrivedWith = (proxy: DynamoProxy, which: (sent: Sent) => boolean) =>
  Effect.gen(function* () {
    yield* until(
      "the request has arrived",
      Effect.sync(() => proxy.passed.some(which))
    )
    return proxy.passed.find(which)?.status
  })

/**
 * One process sends a swap, and a proxy holds back one of its requests. The test then interrupts the exchange. `arrive` lets the request through,
 * and returns the status of the answer.
 */
const heldBack = (which: (sent: Sent) => boolean, millis: number) =>
  Effect.gen(function* () {
    const { one, other, proxy } = yield* twoStores
    const { arrived, release } = holding(proxy, which)
    const fiber = yield* Effect.forkChild(swapWithin(one, millis))
    yield* arrived
    yield* Fiber.interrupt(fiber)
    return { one, other, arrive: Effect.andThen(release, arrivedWith(proxy, which)) }
  })

const heartbeats = [
  ["another process after its deadline", { deadline: 2_000, wait: 2_500, voter: "other" }],
  ["its own process, even before the deadline", { deadline: 60_000, wait: 0, voter: "one" }]
] as const

describe("a write that arrives late", () => {
  for (const [of, { deadline, voter, wait }] of heartbeats) {
    live(
      `has no effect after a heartbeat of ${of}`,
      Effect.gen(function* () {
        const { arrive, ...stores } = yield* heldBack(isCommit, deadline)
        yield* Effect.sleep(wait)
        yield* exchanged(stores[voter], { voter })
        assert.strictEqual(yield* arrive, 400)
        assert.deepStrictEqual((yield* stores.other.load(["api"])).records, [undefined])
      })
    )
  }

  live(
    "takes effect with its sending time if no other process wrote after that time",
    Effect.gen(function* () {
      const { arrive, other } = yield* heldBack(isCommit, 2_000)
      yield* Effect.sleep(2_500)
      assert.strictEqual(yield* arrive, 200)
      const [record] = (yield* other.load(["api"])).records
      assert.isAtLeast(record?.age ?? 0, 2_500)
    })
  )

  live(
    "to a circuit item does not replace the write of a later turn",
    Effect.gen(function* () {
      const { arrive, other } = yield* heldBack(isOfCircuit, 60_000)
      const [record] = (yield* other.load(["api"])).records
      const next = yield* swapOf(other, swap({ expectedEpoch: record?.epoch ?? 0, body: "next" }), { voter: "other" })
      assert.isTrue(next.swapped)
      assert.strictEqual(yield* arrive, 400)
      assert.strictEqual((yield* other.load(["api"])).records[0]?.body, "next")
    })
  )
})

describe("a commit whose answer is an error of the server", () => {
  live(
    "counts as successful after the AWS client has repeated it",
    Effect.gen(function* () {
      const { other, proxy } = yield* twoStores
      const client = yield* dynamoClient(proxy.url, 2)
      const store = yield* DynamoStore.make({ client, table: circuitsTable })
      let lost = 0
      proxy.decide = (sent) => (isCommit(sent) && lost++ === 0 ? "lose the answer" : "pass")
      const answer = yield* swapOf(store, swap(), { voter: "one" })
      assert.strictEqual(lost, 2)
      assert.deepStrictEqual([answer.swapped, answer.record?.body], [true, "body"])
      assert.strictEqual((yield* other.load(["api"])).records[0]?.epoch, answer.record?.epoch)
    })
  )
})

describe("a process that ends between its commit and the items of the circuits", () => {
  live(
    "has applied its exchange: all reads contain the changes, and the next turn writes the items",
    Effect.gen(function* () {
      const { one, other, proxy } = yield* twoStores
      yield* swapOf(other, swap({ circuit: "before" }), { voter: "other" })
      yield* other.page(0, 100)
      // The proxy holds back all items until the test ends.
      const { arrived } = holding(proxy, ({ input, kind }) => kind === "PutItem" && /"[cl]#/.test(input), Infinity)
      const request = {
        voter: "one",
        casts: [cast({ circuit: "asked", ballot: [3, 4], roll: 60_000 })],
        swaps: [swap({ circuit: "swapped" })]
      }
      const fiber = yield* Effect.forkChild(exchanged(one, request))
      yield* arrived
      yield* Fiber.interrupt(fiber)
      assert.strictEqual((yield* other.load(["swapped"])).records[0]?.body, "body")
      const names = Effect.map(other.page(0, 100), ({ changes }) => changes.map(({ circuit }) => circuit))
      assert.deepStrictEqual(yield* names, ["before", "swapped"])
      const heard = Effect.map(exchanged(other, { voter: "other" }), ({ rollCalls }) =>
        rollCalls.map(({ circuit, term }) => [circuit, term])
      )
      assert.deepStrictEqual(yield* heard, [["asked", 60_000]])
      const { tally } = yield* castOf(other, cast({ circuit: "asked", ballot: [10, 10] }), { voter: "other" })
      assert.deepStrictEqual([tally?.voters, tally?.sums, tally?.rolled !== undefined], [2, [13, 14], true])
      // The turn of this cast has written the items of the previous turn.
      assert.deepStrictEqual(yield* names, ["before", "swapped"])
      assert.deepStrictEqual(yield* heard, [["asked", 60_000]])
      assert.strictEqual((yield* other.load(["swapped"])).records[0]?.body, "body")
    })
  )
})

describe("an exchange that would make an item too large", () => {
  live(
    "has no effect, and later exchanges succeed",
    Effect.gen(function* () {
      const { one, other } = yield* twoStores
      const body = "x".repeat(100_000)
      const swaps = Array.from({ length: 8 }, (_, i) => swap({ circuit: `c${i}`, body }))
      const request = { voter: "one", ttl: 60_000, notAfter: undefined, heard: 0, floor: 0, casts: [], swaps }
      assert.match(yield* failure(one.exchange(request)), /the item "hub" would have 80\d{4} bytes/)
      assert.deepStrictEqual((yield* other.load(["c0"])).records, [undefined])
      assert.isTrue((yield* swapOf(one, swap())).swapped)
    })
  )
})
