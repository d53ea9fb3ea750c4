import { assert } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import type { SharedStore } from "effect-fuse"
import { upTo } from "./batches.ts"
import { cast as anyCast, exchanged, swap } from "./exchanges.ts"

const cast = (more: Partial<SharedStore.Cast> = {}) => anyCast({ ballot: [1, 0, 5], ...more })

/** Reads the tallies of circuits. The reading voter is not live. */
export const tallies = (store: SharedStore.SharedStore, circuits: ReadonlyArray<string>) =>
  Effect.map(
    exchanged(store, {
      voter: "reader",
      ttl: 0,
      casts: circuits.map((circuit) => cast({ circuit, ballot: undefined }))
    }),
    ({ casts }) => casts.map(({ tally }) => [tally?.voters, ...(tally?.sums ?? [])].join())
  )

/** All stores cast and swap concurrently, each in a different order. The tallies and the records then contain every exchange. */
export const allAreCarriedOut = (
  stores: ReadonlyArray<SharedStore.SharedStore>,
  circuits: ReadonlyArray<string>,
  rounds: number
) =>
  Effect.gen(function* () {
    const size = stores.length
    const [store] = stores
    assert(store !== undefined)
    const ofOne = (one: SharedStore.SharedStore, i: number) =>
      Effect.gen(function* () {
        for (const round of upTo(rounds)) {
          const order = (i + round) % 2 === 0 ? circuits : [...circuits].reverse()
          yield* exchanged(one, {
            voter: `v${i}`,
            casts: order.map((circuit) => cast({ circuit, ballot: [i, round, 1], inquire: 1, roll: 1 })),
            swaps: order.map((circuit) => swap({ circuit: `${circuit}/${round}`, body: `${i}` }))
          })
          yield* exchanged(one, { voter: `v${i}`, heard: Number.MAX_SAFE_INTEGER - 1 })
          // This voter joins and leaves.
          yield* exchanged(one, { voter: `w${i}`, casts: order.map((circuit) => cast({ circuit })) })
          yield* exchanged(one, { voter: `w${i}`, ttl: 0 })
        }
      })
    yield* Effect.all(stores.map(ofOne), { concurrency: "unbounded", discard: true })
    const expected = [size, (size * (size - 1)) / 2, (rounds - 1) * size, size].join()
    assert.deepStrictEqual(
      yield* tallies(store, circuits),
      circuits.map(() => expected)
    )
    const { changes, epoch } = yield* store.page(0, 1_000)
    assert.strictEqual(changes.length, rounds * circuits.length)
    assert.strictEqual(changes.at(-1)?.epoch, epoch)
  })

/** The first store reads pages. Each other store concurrently makes `rounds` exchanges of three swaps. The pages contain every change once. */
export const pagesMissNoChange = (stores: ReadonlyArray<SharedStore.SharedStore>, rounds: number) =>
  Effect.gen(function* () {
    const [reader, ...writers] = stores
    assert(reader !== undefined)
    const done = yield* Deferred.make<void>()
    const writing = Effect.forEach(
      writers,
      (store, i) =>
        Effect.forEach(
          upTo(rounds),
          (n) => exchanged(store, { voter: `v${i}`, swaps: upTo(3).map((m) => swap({ circuit: `${i}/${n}/${m}` })) }),
          { discard: true }
        ),
      { concurrency: "unbounded", discard: true }
    )
    yield* Effect.forkChild(Effect.andThen(writing, Deferred.succeed(done, undefined)))
    const seen: Array<string> = []
    for (let since = 0, over = false; ; ) {
      const { changes } = yield* reader.page(since, 10)
      seen.push(...changes.map(({ circuit }) => circuit))
      since = changes.at(-1)?.epoch ?? since
      if (changes.length === 0 && over) break
      over = yield* Deferred.isDone(done)
      yield* Effect.sleep(1)
    }
    const expected = 3 * rounds * writers.length
    assert.deepStrictEqual([new Set(seen).size, seen.length], [expected, expected])
  })
