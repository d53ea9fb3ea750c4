import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Stream } from "effect"
import type { SharedStore } from "effect-fuse"
import { exchanged } from "./support/exchanges.ts"
import { alteredText, edited, either, oneOf, runs, text, word } from "./support/garbage.ts"
import { madeBefore, ofFile } from "./support/ofFile.ts"
import { connection, send, sharedStore, until } from "./support/redisFleet.ts"
import { redisServer } from "./support/redisServer.ts"

// The content of Redis may come from an unknown version, from another program or from an operator.

const server = madeBefore(ofFile(redisServer))
const connected = ofFile(Effect.flatMap(server, ({ url }) => connection(url)))

const isWhole = (n: number) => Number.isSafeInteger(n) && n >= 0

const isStored = (stored: SharedStore.Stored | undefined): boolean =>
  stored === undefined ||
  (isWhole(stored.epoch) && stored.epoch >= 1 && typeof stored.body === "string" && isWhole(stored.age))

const isTally = (tally: SharedStore.StoredTally | undefined): boolean =>
  tally === undefined ||
  (isWhole(tally.voters) &&
    isWhole(tally.abstained) &&
    tally.sums.every(isWhole) &&
    (tally.asked === undefined || isWhole(tally.asked)) &&
    (tally.rolled === undefined || isWhole(tally.rolled)))

/** The answer to one exchange, which has to be as the contract says. */
const sound = (answer: SharedStore.ExchangeDone) => {
  const { casts, head, live, liveFor, rollCalls, swaps, time } = answer
  assert.isTrue([head, live, liveFor, time].every(isWhole), JSON.stringify(answer))
  for (const { record, tally } of casts) assert.isTrue(isStored(record) && isTally(tally), JSON.stringify(casts))
  for (const { record } of swaps) assert.isTrue(isStored(record), JSON.stringify(swaps))
  for (const [i, { epoch, prev, seq }] of rollCalls.entries()) {
    assert.isTrue([epoch, prev, seq].every(isWhole) && seq <= head && seq > (rollCalls[i - 1]?.seq ?? 0))
  }
  return answer
}

const cast = { circuit: "api", epoch: 0, box: "b", ballot: [1_000, 1, 0, 3], ttl: 60_000, inquire: 1, roll: 1 }
const swap = { circuit: "api", expectedEpoch: 0, body: "{}", ttl: 60_000, listed: true }

const questions = (store: SharedStore.SharedStore) =>
  Effect.gen(function* () {
    const reads = Effect.gen(function* () {
      const { records } = yield* store.load(["api", "other"])
      assert.isTrue(records.length === 2 && records.every(isStored), JSON.stringify(records))
      for (const [since, limit] of [
        [0, 1],
        [0, 1_000],
        [7, 2]
      ] as const) {
        const page = yield* store.page(since, limit)
        assert.isTrue([page.time, page.live, page.epoch, page.trimmed, page.listed].every(isWhole))
        for (const [i, { circuit, epoch, record }] of page.changes.entries()) {
          assert.isTrue(isWhole(epoch) && epoch > (page.changes[i - 1]?.epoch ?? since), JSON.stringify(page))
          assert.isTrue(isStored(record) && (record === undefined || record.epoch === epoch), JSON.stringify(page))
          assert.match(circuit, /^\S+$/)
        }
      }
    })
    yield* reads
    for (const voter of ["v", "w"]) {
      for (const epoch of [0, 5]) {
        for (const ballot of [cast.ballot, undefined]) {
          sound(yield* exchanged(store, { voter, heard: 7, casts: [{ ...cast, epoch, ballot }] }))
        }
      }
    }
    for (const expectedEpoch of [0, 5]) {
      for (const listed of [true, false]) {
        sound(yield* exchanged(store, { ttl: 0, swaps: [{ ...swap, expectedEpoch, listed }] }))
      }
    }
    yield* reads
  })

const state = {
  _tag: "Open",
  since: -5,
  until: 60_000,
  openings: 1,
  cause: { why: "Tripped", detail: "d", actor: null }
}
const body = alteredText([{ v: 1, state, why: "Tripped", detail: "d", actor: null, policy: null, process: "p" }])
const csv = either(word, edited(oneOf(["0,1000,1,0,3,5,5,0,5000", "1,,2", ",", "1000", "[1]", "1],[2", '"x"', "null"])))

describe("What another program put into Redis", () => {
  const key = (name: string) => `{effect-fuse}:${name}`
  const circuit = either(oneOf(["api", "api", "other"]), text)
  const record = Arbitrary.map(Arbitrary.all([circuit, word, word, word, oneOf(["0", "1", "x"]), body]), (parts) => {
    const [circuit, ...fields] = parts
    return ["HSET", key("records"), circuit, fields.join(" ")]
  })
  const wellFormed = Arbitrary.map(Arbitrary.all([word, word, body]), ([at, end, body]) => [
    ...["HSET", key("records"), "api"],
    `5 ${at} ${end} 1 ${body}`
  ])
  const ballots = Arbitrary.map(
    Arbitrary.all([
      oneOf(["0", "5", "x"]),
      Arbitrary.array(Arbitrary.all([oneOf(["b|", "b|v", "b|w", "|", "b", "x|"]), csv]), { minLength: 1, maxLength: 4 })
    ]),
    ([epoch, fields]) => ["HSET", key("ballots:api"), "epoch", epoch, ...fields.flat()]
  )
  const ends = Arbitrary.map(
    Arbitrary.all([oneOf(["-inf", "0", "1", "1.5", "+inf"]), oneOf(["b|v", "b|w", "|", "x", "x|v"])]),
    ([score, member]) => ["ZADD", key("until:api"), score, member]
  )
  const sets = ["changed", "listed", "unlisted", "voters", "heard", "dead", "rolls"]
  const member = Arbitrary.map(
    Arbitrary.all([
      oneOf(sets),
      oneOf(["-inf", "-1", "0.5", "1", "7", "1e15", "1e300", "+inf"]),
      either(
        text,
        oneOf(["api", "other", "v", "w", "C 0 api 7 0 9 b", "C 0 api 8 9 9 b", `C 0 api ${"9".repeat(20)} 1 9 b`])
      )
    ]),
    ([name, score, member]) => ["ZADD", key(name), score, member]
  )
  const counter = Arbitrary.map(
    Arbitrary.all([oneOf(["epoch", "trimmed", "born", "head", "burial", "longest", "lasting", "x"]), word]),
    ([field, one]) => ["HSET", key("store"), field, one]
  )
  const ofKind = oneOf([
    ["SET", "x"],
    ["HSET", "x", "y"],
    ["SADD", "x"],
    ["RPUSH", "x"],
    ["ZADD", "1", "x"]
  ])
  const other = Arbitrary.map(
    Arbitrary.all([oneOf([...sets, "records", "store", "ballots:api", "until:api"]), ofKind]),
    ([name, [verb = "", ...args]]) => [verb, key(name), ...args]
  )
  const command = either(
    either(either(record, wellFormed), either(ballots, ends)),
    either(either(member, counter), either(other, member))
  )

  it.live.prop(
    "is a record, a ballot or a roll call, or it is passed over; the store and other circuits are as they were",
    [Arbitrary.array(command, { minLength: 1, maxLength: 5 })],
    ([commands]) =>
      Effect.gen(function* () {
        const redis = yield* connected
        yield* send(redis, "FLUSHALL")
        for (const [verb = "", ...args] of commands) yield* Effect.exit(send(redis, verb, ...args))
        const store = yield* sharedStore(redis)
        yield* questions(store)
        const ofOther = { ...swap, circuit: "another", body: "mine" }
        const { swaps } = yield* exchanged(store, { swaps: [ofOther] })
        assert.isTrue(swaps[0]?.swapped === true && isStored(swaps[0].record))
        const epoch = swaps[0]?.record?.epoch ?? 0
        assert.strictEqual((yield* store.load(["another"])).records[0]?.body, "mine")
        const { casts } = yield* exchanged(store, { casts: [{ ...cast, circuit: "another", epoch }] })
        assert.deepStrictEqual([casts[0]?.tally?.voters, casts[0]?.tally?.sums], [1, cast.ballot])
      }).pipe(Effect.scoped),
    runs("redis", 150)
  )

  const message = either(
    edited(
      oneOf([
        '["R 5 api {}"]',
        '["I 5 api b","R 1 a/b two words\\n{}"]',
        `["R ${"9".repeat(400)} api {}"]`,
        '["C 0 a%0020b 7 3 1000 b"]',
        '["C 0 api 9007199254740993 1 1000 b","I 7 api b"]',
        '["R 9007199254740993 api {}",null,[],["R 5 api {}"],{"length":4}]'
      ])
    ),
    text
  )
  it.live.prop(
    "that is announced is a valid change, or is ignored",
    [Arbitrary.array(message, { minLength: 50, maxLength: 50 })],
    ([messages]) =>
      Effect.gen(function* () {
        const redis = yield* connected
        const store = yield* sharedStore(yield* connection((yield* server).url))
        const heard: Array<SharedStore.Change> = []
        yield* Effect.forkScoped(Stream.runForEach(store.changes, (change) => Effect.sync(() => heard.push(change))))
        yield* until(
          "it listens",
          Effect.map(send(redis, "CLIENT LIST TYPE pubsub"), (text) => text !== "")
        )
        for (const one of [...messages, '["I 7 the-end b"]']) yield* send(redis, "PUBLISH", key("changes"), one)
        yield* until(
          "all announcements have arrived",
          Effect.sync(() => heard.at(-1)?.circuit === "the-end")
        )
        for (const change of heard) {
          assert.isTrue(isWhole(change.epoch), JSON.stringify(change))
          assert.match(change.circuit, /^\S+$/)
          if (change._tag === "RollCall") assert.isTrue(isWhole(change.prev) && change.seq > change.prev)
          if (change._tag === "Record") assert.isString(change.body)
        }
      }).pipe(Effect.scoped),
    runs("announced", 10)
  )
})
