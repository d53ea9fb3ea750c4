import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { RequestError, wholeOf } from "../src/dynamo/client.ts"
import { exchanged, swap, swapOf } from "./support/exchanges.ts"
import { until } from "./support/redisFleet.ts"
import { Table, tableStore } from "./support/simulation/dynamo.ts"

interface Sent {
  readonly kind: string
  readonly sk: string
  readonly input: string
}

/** Makes stores on a table in memory. The test sets their clock, and can hold back a request. */
const made = () => {
  const table = new Table()
  const time = { now: 1_700_000_000_000 }
  let which: (sent: Sent) => boolean = () => false
  let lost: RequestError | undefined
  let gate = Deferred.makeUnsafe<void>()
  let held = 0
  const send = (kind: string, input: { readonly Key?: Key; readonly Item?: Key }) => {
    const carriedOut = table.send(kind, input)
    return Effect.suspend(() => {
      const sk = (input.Key ?? input.Item)?.sk?.S ?? ""
      if (held > 0 || !which({ kind, sk, input: JSON.stringify(input) })) return carriedOut
      held++
      const gone = Deferred.await(gate)
      return lost === undefined
        ? Effect.andThen(gone, carriedOut)
        : Effect.andThen(carriedOut, Effect.andThen(gone, Effect.fail(lost)))
    })
  }
  /** Opens the store of another process. The clock of this process is `ahead` milliseconds fast. */
  const open = (ahead = 0) => tableStore(send, () => time.now + ahead)
  /** Holds back the next request of a kind. */
  const holdNext = (next: (sent: Sent) => boolean) => {
    which = next
    gate = Deferred.makeUnsafe<void>()
    held = 0
    const arrived = until(
      "a request is held back",
      Effect.sync(() => held > 0)
    )
    return { arrived, release: Deferred.succeed(gate, undefined) }
  }
  /** Executes the next request of a kind. Holds back the answer, and replaces the answer with an error. */
  const loseNext = (next: (sent: Sent) => boolean, error: RequestError) => {
    lost = error
    return holdNext(next)
  }
  return { table, time, open, holdNext, loseNext }
}

type Key = { readonly sk?: { readonly S?: string } }

const isCommit = ({ input, kind }: Sent) => kind === "UpdateItem" && input.includes(":was")
const isOfCircuit = ({ kind, sk }: Sent) => kind === "PutItem" && sk.startsWith("c#")

describe("a commit of a process that was frozen", () => {
  it.live.each([1_100, 9_000, 10_500, 12_000, 3_600_000])(
    "has no effect after a freeze of %d milliseconds if another process has sent a heartbeat",
    (frozen) =>
      Effect.gen(function* () {
        const { holdNext, open, time } = made()
        const [one, other] = [open(), open()]
        const { life } = yield* exchanged(one, { voter: "one", ttl: 10_000_000 })
        const { arrived, release } = holdNext(isCommit)
        const fiber = yield* Effect.forkChild(
          one.exchange({
            ...{ voter: "one", ttl: 10_000_000, notAfter: time.now + 1_000, heard: 0, life, floor: 0, casts: [] },
            swaps: [swap({ ttl: undefined })]
          })
        )
        yield* arrived
        time.now += frozen
        yield* exchanged(other, { voter: "other", ttl: 10_000_000 })
        yield* release
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Late")
        assert.deepStrictEqual((yield* other.load(["api"])).records, [undefined])
      })
  )
})

describe("an exchange that reads the circuits until its deadline passes", () => {
  it.live("is late and has no effect, even if no other process writes", () =>
    Effect.gen(function* () {
      const { holdNext, open, time } = made()
      const store = open()
      const { life } = yield* exchanged(store, { voter: "v", ttl: 10_000_000 })
      const { arrived, release } = holdNext(({ kind }) => kind === "BatchGetItem")
      const fiber = yield* Effect.forkChild(
        store.exchange({
          ...{ voter: "v", ttl: 10_000_000, notAfter: time.now + 1_000, heard: 0, life, floor: 0, casts: [] },
          swaps: [swap({ ttl: undefined })]
        })
      )
      yield* arrived
      time.now += 1_001
      yield* release
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Late")
      assert.deepStrictEqual((yield* store.load(["api"])).records, [undefined])
    })
  )
})

describe("a process whose clock is two seconds behind that of another", () => {
  it.live("sets the time of the hub back by at most half a second", () =>
    Effect.gen(function* () {
      const { open, table, time } = made()
      const [right, behind] = [open(), open(-2_000)]
      const { life } = yield* exchanged(right, { voter: "right" })
      for (const swaps of [[], [swap()], []]) {
        for (const notAfter of [undefined, time.now + 1_000]) {
          yield* exchanged(right, { voter: "right", life })
          assert.strictEqual(wholeOf(table.items.get("hub")?.["t"]), time.now)
          const before = { voter: "behind", ttl: 60_000, notAfter, heard: 0, life, floor: 0, casts: [] }
          assert.strictEqual((yield* behind.exchange({ ...before, swaps }))._tag, "Done")
          assert.isAtLeast(wholeOf(table.items.get("hub")?.["t"]) ?? 0, time.now - 500)
        }
      }
    })
  )
})

describe("a hub whose time is an hour ahead", () => {
  it.live("does not stop heartbeats or turns with a deadline", () =>
    Effect.gen(function* () {
      for (const swaps of [[], [swap()]]) {
        for (const ahead of [3_600_000, Number.MAX_SAFE_INTEGER / 2_000]) {
          const { open, table, time } = made()
          const store = open()
          const { life } = yield* exchanged(store, { voter: "v" })
          const hub = table.items.get("hub")
          table.items.set("hub", { ...hub, t: { N: String(Math.floor(time.now + ahead)) } })
          const request = { voter: "v", ttl: 60_000, notAfter: time.now + 1_000, heard: 0, life, floor: 0, casts: [] }
          assert.strictEqual((yield* store.exchange({ ...request, swaps }))._tag, "Done")
          assert.deepStrictEqual(table.items.get("hub")?.["t"], { N: String(time.now) })
        }
      }
    })
  )
})

/** Makes the error that the AWS client reports for a false condition after this number of attempts. */
const refusedAfter = (attempts: number) =>
  new RequestError({ cause: { name: "ConditionalCheckFailedException", $metadata: { attempts } } })

describe("a commit that the AWS client repeats because it has lost the answer", () => {
  it.live("counts as successful, even after a later turn of another process", () =>
    Effect.gen(function* () {
      for (const next of [false, true]) {
        const { loseNext, open, table } = made()
        const [store, other] = [open(), open()]
        const { arrived, release } = loseNext(isCommit, refusedAfter(2))
        const fiber = yield* Effect.forkChild(swapOf(store, swap(), { voter: "v" }))
        yield* arrived
        if (next) assert.isTrue((yield* swapOf(other, swap({ circuit: "next" }), { voter: "w" })).swapped)
        yield* release
        const answer = yield* Fiber.join(fiber)
        assert.deepStrictEqual([answer.swapped, answer.record?.body], [true, "body"])
        assert.strictEqual((yield* other.load(["api"])).records[0]?.epoch, answer.record?.epoch)
        yield* until(
          "the turn is carried out",
          Effect.sync(() => table.items.has("c#api") && table.items.get("hub")?.["p"] === undefined)
        )
      }
    })
  )

  it.live("is retried as a new turn if DynamoDB refused it each time", () =>
    Effect.gen(function* () {
      const { holdNext, open } = made()
      const [store, other] = [open(), open()]
      const { arrived, release } = holdNext(isCommit)
      const fiber = yield* Effect.forkChild(swapOf(store, swap(), { voter: "v" }))
      yield* arrived
      yield* swapOf(other, swap({ body: "first" }), { voter: "w" })
      yield* release
      const answer = yield* Fiber.join(fiber)
      assert.deepStrictEqual([answer.swapped, answer.record?.body], [false, "first"])
    })
  )
})

describe("the digest of a process that ended", () => {
  it.live("expires an hour after its write, or at the end of a longer life", () =>
    Effect.gen(function* () {
      for (const [ttl, hours] of [
        [10_000, 1],
        [7_200_000, 2]
      ] as const) {
        const { open, table, time } = made()
        yield* exchanged(open(), { voter: "v", ttl, digest: "text" })
        const end = wholeOf(table.items.get("d#v")?.["x"]) ?? 0
        const millis = end * 1_000 - time.now
        assert.isAtLeast(millis, hours * 3_600_000)
        assert.isAtMost(millis, hours * 3_600_000 + 120_000)
      }
    })
  )
})

describe("a register that fills the hub with dead processes", () => {
  it.live("makes room when the next process starts", () =>
    Effect.gen(function* () {
      const { open, table, time } = made()
      const store = open()
      yield* exchanged(store, { voter: "old", ttl: 1_000 })
      const dead = Array.from({ length: 5_000 }, (_, i) => [`old-${i}`, { S: `${time.now} life 0` }])
      table.items.set("hub", { ...table.items.get("hub"), r: { M: Object.fromEntries(dead) } })
      table.mostBytes = JSON.stringify(table.items.get("hub")).length
      time.now += 3_600_000
      const { live } = yield* exchanged(open(), { voter: "new" })
      assert.strictEqual(live, 1)
    })
  )
})

describe("a value in the register that another program wrote", () => {
  it.live("does not prevent the removal of dead processes", () =>
    Effect.gen(function* () {
      const { open, table, time } = made()
      const store = open()
      const { life } = yield* exchanged(store, { voter: "v", ttl: 10_000_000 })
      const hub = table.items.get("hub")
      const { r } = hub as { readonly r: { readonly M: object } }
      const register = { foreign: { N: "1" }, old: { S: `${time.now} life 0` }, ...r.M }
      table.items.set("hub", { ...hub, r: { M: register } } as never)
      time.now += 3_600_000
      yield* exchanged(store, { voter: "v", ttl: 10_000_000, life })
      const after = table.items.get("hub") as unknown as { readonly r: { readonly M: object } }
      assert.deepStrictEqual(Object.keys(after.r.M), ["foreign", "v"])
    })
  )
})

describe("a read of changes without an answer", () => {
  it.live(
    "fails the stream after about a second",
    () =>
      Effect.gen(function* () {
        const { holdNext, open } = made()
        const store = open()
        yield* exchanged(store)
        const { arrived } = holdNext(({ kind }) => kind === "GetItem")
        const fiber = yield* Effect.forkChild(Effect.flip(Stream.runDrain(store.changes)))
        yield* arrived
        const error = yield* Effect.timeout(Fiber.join(fiber), "20 seconds")
        assert.match(error.message, /DynamoDB has not answered/)
      }),
    30_000
  )
})

describe("a write of a circuit item without an answer", () => {
  it.live(
    "delays the next exchange of its process by about a second",
    () =>
      Effect.gen(function* () {
        const { holdNext, open, table } = made()
        const store = open()
        const { arrived } = holdNext(isOfCircuit)
        yield* exchanged(store, { voter: "v", swaps: [swap()] })
        yield* arrived
        yield* Effect.timeout(exchanged(store, { voter: "v" }), "20 seconds")
        assert.isTrue((yield* swapOf(store, swap({ circuit: "next" }), { voter: "v" })).swapped)
        assert.isTrue(table.items.has("c#api"))
        assert.strictEqual((yield* store.load(["api"])).records[0]?.body, "body")
      }),
    30_000
  )
})
