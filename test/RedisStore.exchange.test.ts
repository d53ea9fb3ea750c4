import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { cast, castOf, circuits, counted, exchanged, swap, swapOf } from "./support/exchanges.ts"
import { type Connection, connection, send, sharedStore, started, until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisServer } from "./support/redisServer.ts"

const names = (many: number) => Array.from({ length: many }, (_, i) => `voter-${i}`)

/** The voters no longer live, as if they had not exchanged for their ttl. */
const die = (redis: Connection, voters: ReadonlyArray<string>) =>
  send(redis, "ZADD {effect-fuse}:voters", ...voters.flatMap((voter) => ["1", voter]))

describe("an exchange with Redis", () => {
  live(
    "is one command, also the first of a process if the server knows the script",
    Effect.gen(function* () {
      const { url } = yield* redisServer
      const redis = yield* connection(url)
      const casts = circuits.map((circuit) => cast({ circuit, inquire: 1, roll: 1 }))
      const swaps = circuits.map((circuit) => swap({ circuit: `${circuit}/x` }))
      const ofClients = (all: ReadonlyMap<string, number>) =>
        [...all].filter(([name]) => /^(eval|script)/.test(name)).map(([name, n]) => `${name} ${n}`)
      const first = yield* sharedStore(redis)
      // The server does not know the script yet.
      assert.deepStrictEqual(ofClients(yield* counted(redis, exchanged(first))).sort(), ["eval 1", "evalsha 1"])
      const other = yield* sharedStore(yield* connection(url))
      const all = yield* counted(redis, exchanged(other, { casts, swaps }))
      assert.deepStrictEqual(ofClients(all), ["evalsha 1"])
      yield* send(redis, "SCRIPT FLUSH")
      assert.deepStrictEqual(ofClients(yield* counted(redis, exchanged(other))).sort(), ["eval 1", "evalsha 1"])
    })
  )

  live(
    "runs as many commands with 300 voters as with 3",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const counts: Array<unknown> = []
      for (const many of [3, 300]) {
        yield* send(redis, "FLUSHALL")
        for (const voter of names(many)) {
          yield* exchanged(store, { voter, casts: circuits.map((circuit) => cast({ circuit })) })
        }
        const casts = circuits.map((circuit) => cast({ circuit, ballot: [5, 5, 5, 5], inquire: 1, roll: 1 }))
        const all = yield* counted(
          redis,
          Effect.gen(function* () {
            const answer = yield* exchanged(store, { voter: "voter-1", casts })
            for (const { tally } of answer.casts) assert.strictEqual(tally?.voters, many)
            yield* exchanged(store, { voter: "voter-1", heard: answer.head, casts })
          })
        )
        // A key gets a later end only if a millisecond has passed.
        all.delete("pexpireat")
        counts.push([...all].sort())
      }
      assert.deepStrictEqual(counts[1], counts[0])
    })
  )

  live(
    "counts neither ballots nor hearing of voters that died at once, and none by halves, however many died",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const [dead, alive] = [names(400).slice(0, 300), names(400).slice(300)]
      const numbers = (voter: string) => [Number(voter.slice(6)), 1]
      const casts = (voter: string) =>
        circuits.map((circuit) => cast({ circuit, ballot: numbers(voter), roll: 60_000 }))
      for (const voter of names(400)) {
        const { head } = yield* exchanged(store, { voter, casts: casts(voter) })
        yield* exchanged(store, { voter, heard: head })
      }
      yield* die(redis, dead)
      const survivors = alive.reduce((sum, voter) => sum + (numbers(voter)[0] ?? 0), 0)
      const [own = ""] = alive
      let [partial, whole] = [0, 0]
      yield* until(
        "all ballots of the dead are subtracted",
        Effect.gen(function* () {
          const answer = yield* exchanged(store, { voter: own, heard: Number.MAX_SAFE_INTEGER, casts: casts(own) })
          assert.strictEqual(answer.live, 100)
          for (const { tally } of answer.casts) {
            assert.isDefined(tally)
            assert.strictEqual(tally.abstained, 0)
            if (tally.voters === 100) {
              whole++
              assert.deepStrictEqual(tally.sums, [survivors, 100])
            } else {
              partial++
              assert.deepStrictEqual([tally.voters, ...tally.sums], [1, ...numbers(own)])
            }
          }
          return answer.casts.every(({ tally }) => tally?.voters === 100)
        })
      )
      assert.isAbove(partial, 0)
      assert.isAtLeast(whole, circuits.length)
    })
  )

  live(
    "counts no abstentions of the dead, also if more died at once than one exchange buries",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const tally = Effect.map(castOf(store, cast({ roll: 60_000 }), { voter: "caller" }), ({ tally }) => tally)
      yield* tally
      const { head } = yield* exchanged(store, { voter: "caller" })
      yield* exchanged(store, { voter: "caller", heard: head })
      for (const voter of names(1_200)) yield* exchanged(store, { voter, heard: head })
      assert.strictEqual((yield* tally)?.abstained, 1_200)
      yield* die(redis, names(1_200))
      for (let i = 0; i < 5; i++) {
        const { casts, live } = yield* exchanged(store, { voter: "caller", heard: head, casts: [cast()] })
        assert.deepStrictEqual([live, casts[0]?.tally?.voters, casts[0]?.tally?.abstained], [1, 1, 0])
      }
    })
  )

  live(
    "subtracts ballots that are over from all boxes of the circuit, whichever box is asked for",
    Effect.gen(function* () {
      const store = yield* sharedStore(yield* started)
      yield* castOf(store, cast({ box: "x", ballot: [1], ttl: 50 }), { voter: "a" })
      yield* castOf(store, cast({ box: "x", ballot: [10] }), { voter: "b" })
      yield* Effect.sleep(100)
      for (const [box, expected] of [
        ["never-used", [0, []]],
        ["x", [1, [10]]]
      ] satisfies ReadonlyArray<readonly [string, unknown]>) {
        const { tally } = yield* castOf(store, cast({ box, ballot: undefined }), { voter: "r" })
        assert.deepStrictEqual<unknown>([tally?.voters, tally?.sums], expected)
      }
    })
  )

  live(
    "empties the boxes with a swap, also for the time after the record has ended",
    Effect.gen(function* () {
      const store = yield* sharedStore(yield* started)
      yield* castOf(store, cast())
      yield* swapOf(store, swap({ ttl: 50 }))
      yield* Effect.sleep(100)
      const { tally } = yield* castOf(store, cast({ ballot: undefined }), { voter: "reader" })
      assert.strictEqual(tally?.voters, 0)
    })
  )

  live(
    "keeps a record that has not ended, even if another program wrote in the index that it has",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      yield* exchanged(store, { swaps: [swap(), swap({ circuit: "forced", ttl: undefined })] })
      yield* send(redis, "ZADD {effect-fuse}:listed 1 api 1 forced")
      yield* exchanged(store)
      const { changes, listed } = yield* store.page(0, 10)
      assert.deepStrictEqual([listed, changes.map(({ record }) => record?.body)], [2, ["body", "body"]])
    })
  )

  live(
    "has a page show that a circuit is no longer listed, also after its record expired and others were swept",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const { record } = yield* swapOf(store, swap())
      const unlisted = yield* swapOf(store, swap({ expectedEpoch: record?.epoch ?? 0, listed: false, ttl: 50 }))
      yield* Effect.sleep(100)
      yield* exchanged(store)
      const { changes, listed, trimmed } = yield* store.page(record?.epoch ?? 0, 10)
      const epoch = unlisted.record?.epoch ?? 0
      assert.deepStrictEqual([listed, trimmed], [0, 0])
      assert.deepStrictEqual(changes, [{ circuit: "api", epoch, listed: false, record: undefined }])
    })
  )

  live(
    "counts no abstentions of voters that the register has lost",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      yield* castOf(store, cast({ roll: 1 }), { voter: "caller" })
      const { head } = yield* exchanged(store, { voter: "a" })
      for (const voter of ["a", "b", "c"]) yield* exchanged(store, { voter, heard: head })
      yield* send(redis, "DEL {effect-fuse}:voters")
      const { tally } = yield* castOf(store, cast(), { voter: "caller" })
      assert.strictEqual(tally?.abstained, 0)
    })
  )

  live(
    "remembers a roll call longer than the ballot that called it",
    Effect.gen(function* () {
      const store = yield* sharedStore(yield* started)
      yield* castOf(store, cast({ ttl: 50, roll: 60_000 }), { voter: "caller" })
      const { head } = yield* exchanged(store, { voter: "listener" })
      yield* exchanged(store, { voter: "listener", heard: head })
      yield* Effect.sleep(100)
      const { tally } = yield* castOf(store, cast({ ballot: undefined }), { voter: "reader" })
      assert.deepStrictEqual([tally?.voters, tally?.abstained], [0, 1])
      assert.isAtLeast(tally?.rolled ?? 0, 50)
    })
  )

  live(
    "subtracts at most 100 ballots that are over at once, and goes on with the next",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const other = { ballot: [3], box: "x" }
      for (const voter of names(250)) yield* exchanged(store, { voter, casts: [cast({ ballot: [1], ttl: 3_000 })] })
      for (const voter of names(5)) yield* exchanged(store, { voter, casts: [cast({ ballot: [1] }), cast(other)] })
      yield* Effect.sleep(3_200)
      const seen: Array<number> = []
      for (let i = 0; i < 4; i++) {
        const { tally } = yield* castOf(store, cast({ ballot: [1] }), { voter: "voter-0" })
        seen.push(tally?.voters ?? 0)
        assert.deepStrictEqual(tally?.sums, [tally?.voters ?? 0])
      }
      assert.deepStrictEqual(seen, [1, 1, 5, 5])
      const { tally } = yield* castOf(store, cast(other), { voter: "voter-0" })
      assert.deepStrictEqual([tally?.voters, tally?.sums], [5, [15]])
    })
  )

  live(
    "keeps the new ballot of a voter that died and returned, and drops its others",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const many = names(300)
      for (const voter of many) {
        yield* exchanged(store, { voter, casts: ["a", "b"].map((circuit) => cast({ circuit, ballot: [1] })) })
      }
      yield* exchanged(store, { voter: "stays", casts: [cast({ circuit: "b", ballot: [7] })] })
      yield* die(redis, many)
      // The last to be buried returns at once, while most of the ballots of the dead are still there.
      yield* exchanged(store, { voter: "stays" })
      const returned = [...many].sort().at(-1) ?? ""
      const tally = (circuit: string, ballot: ReadonlyArray<number> | undefined, voter: string) =>
        Effect.map(castOf(store, cast({ circuit, ballot }), { voter }), ({ tally }) => tally)
      assert.deepStrictEqual((yield* tally("a", [1], returned))?.sums, [1])
      for (let i = 0; i < 6; i++) yield* tally("a", undefined, "stays")
      const [a, b] = [yield* tally("a", undefined, "stays"), yield* tally("b", [7], "stays")]
      assert.deepStrictEqual([a?.voters, a?.sums], [1, [1]])
      yield* until(
        "its old ballot no longer counts",
        Effect.map(tally("b", [7], "stays"), (b) => b?.voters === 1 && b.sums[0] === 7)
      )
      assert.notStrictEqual(b?.voters, 301)
    })
  )

  live(
    "buries a voter that expired before it returns, also if more have expired than one exchange buries",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      yield* castOf(store, cast({ ballot: [1] }), { voter: "z" })
      yield* die(redis, [...names(600), "z"])
      yield* exchanged(store, { voter: "z" })
      for (let i = 0; i < 3; i++) yield* exchanged(store, { voter: "reader" })
      const { tally } = yield* castOf(store, cast({ ballot: undefined }), { voter: "reader" })
      assert.deepStrictEqual([tally?.voters, tally?.sums], [0, []])
    })
  )

  live(
    "shows a voter that expired and returned that its ballots are gone, also if it is the first to return",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      yield* castOf(store, cast({ ballot: [1] }), { voter: "a" })
      yield* castOf(store, cast({ ballot: [10] }), { voter: "b" })
      yield* die(redis, ["a"])
      yield* exchanged(store, { voter: "a" })
      const { tally } = yield* castOf(store, cast({ ballot: undefined }), { voter: "reader" })
      assert.deepStrictEqual([tally?.voters, tally?.sums], [1, [10]])
    })
  )
})
