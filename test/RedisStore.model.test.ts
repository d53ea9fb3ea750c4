import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import { MemoryStore, type SharedStore } from "effect-fuse"
import { exchanged } from "./support/exchanges.ts"
import { oneOf, runs } from "./support/garbage.ts"
import { madeBefore, ofFile } from "./support/ofFile.ts"
import { connection, send, sharedStore } from "./support/redisFleet.ts"
import { redisServer } from "./support/redisServer.ts"

// Redis and the memory store answer the same to the same exchanges, whatever these are. What depends on the clock is left out:
// times, and the numbers themselves of epochs and roll calls, of which only the order counts.

const server = madeBefore(ofFile(redisServer))

const circuits = ["a", "b", "c"]
const long = 60_000

const cast = Arbitrary.all({
  circuit: oneOf(circuits),
  isCurrent: oneOf([true, true, true, true, false]),
  box: oneOf(["x", "y"]),
  ballot: oneOf<ReadonlyArray<number> | undefined>([undefined, [0, 0], [1, 5], [1, 5], [2 ** 40, 3], []]),
  ttl: oneOf([long, long, long, 1]),
  inquire: oneOf([0, long]),
  roll: oneOf([0, 0, long])
})
const swap = Arbitrary.all({
  circuit: oneOf(circuits),
  isCurrent: oneOf([true, true, false]),
  listed: oneOf([true, false])
})
const step = Arbitrary.all({
  voter: oneOf(["v", "w", "x", "y", "z"]),
  ttl: oneOf([long, long, long, long, long, long, 0, 1]),
  // How many of the roll calls it has heard.
  heard: oneOf([0, 0.5, 1, 1, 2]),
  casts: Arbitrary.array(cast, { maxLength: 4 }),
  swaps: Arbitrary.array(swap, { maxLength: 1 }),
  isLate: oneOf([false, false, false, false, false, false, false, true])
})

type Step = typeof step extends Arbitrary.Arbitrary<infer A> ? A : never

/** Ballots of other lengths leave zeros at the end, or none. */
const withoutZeros = (sums: ReadonlyArray<number> = []) => sums.slice(0, sums.findLastIndex((n) => n !== 0) + 1)

/** What a store answers to the steps, without what depends on the clock. */
const played = (store: SharedStore.SharedStore, steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const epochs = new Map<string, number>()
    const seqs: Array<number> = []
    const seen: Array<unknown> = []
    for (const { casts, heard, isLate, swaps, ttl, voter } of steps) {
      const epochOf = (circuit: string, isCurrent: boolean) => (isCurrent ? (epochs.get(circuit) ?? 0) : 7)
      const request = {
        voter,
        ttl,
        heard: heard > 1 ? Number.MAX_SAFE_INTEGER : (seqs[Math.ceil(seqs.length * heard) - 1] ?? 0),
        casts: casts.map(({ isCurrent, ...cast }) => ({ ...cast, epoch: epochOf(cast.circuit, isCurrent) })),
        swaps: swaps.map(({ circuit, isCurrent, listed }) => ({
          ...{ circuit, expectedEpoch: epochOf(circuit, isCurrent), body: `${seen.length}`, ttl: long, listed }
        }))
      }
      if (isLate) {
        const { _tag } = yield* store.exchange({ ...request, floor: 0, notAfter: 0 })
        seen.push(_tag)
        continue
      }
      const answer = yield* exchanged(store, request)
      const order = (seq: number) => (seq === 0 ? -1 : seqs.indexOf(seq))
      if (ttl === 1 || casts.some(({ ttl }) => ttl === 1)) {
        // Waits until entries that last for a millisecond have ended. The exchange then lets the store remove them.
        yield* Effect.sleep(5)
        yield* exchanged(store, { voter: "absent", ttl: 0 })
      }
      for (const { seq } of answer.rollCalls) if (!seqs.includes(seq)) seqs.push(seq)
      seqs.sort((one, other) => one - other)
      for (const [i, { swapped, record }] of answer.swaps.entries()) {
        if (swapped) epochs.set(swaps[i]?.circuit ?? "", record?.epoch ?? 0)
      }
      const page = yield* store.page(0, 10)
      const { records } = yield* store.load(circuits)
      seen.push([
        answer.live,
        order(answer.head),
        answer.rollCalls.map(({ box, circuit, prev, seq }) => [order(seq), order(prev), circuit, box]),
        answer.casts.map(({ record, tally }) => [
          record?.body,
          ...[tally?.voters, withoutZeros(tally?.sums), tally?.abstained, tally?.rolled !== undefined]
        ]),
        answer.swaps.map(({ swapped, record }) => [swapped, record?.body]),
        [page.live, page.listed, page.changes.map(({ circuit, listed, record }) => [circuit, listed, record?.body])],
        records.map((record) => record?.body)
      ])
    }
    return seen
  })

describe("Redis and the memory store", () => {
  it.live.prop(
    "answer the same to the same exchanges",
    [Arbitrary.array(step, { minLength: 10, maxLength: 40 })],
    ([steps]) =>
      Effect.gen(function* () {
        const redis = yield* connection((yield* server).url)
        yield* send(redis, "FLUSHALL")
        const [memory, store] = [yield* MemoryStore.make, yield* sharedStore(redis, { subscribe: false })]
        const [expected, found] = [yield* played(memory, steps), yield* played(store, steps)]
        for (const [i, one] of expected.entries()) assert.deepStrictEqual(found[i], one, `step ${i}`)
      }).pipe(Effect.scoped),
    runs("same", 100)
  )
})
