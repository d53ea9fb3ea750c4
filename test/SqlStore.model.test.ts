import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Clock, Effect, Layer } from "effect"
import { MemoryStore, SharedStore } from "effect-fuse"
import { oneOf, runs } from "./support/garbage.ts"
import { onSqlite, sharedStore } from "./support/sqlFleet.ts"
import { sqlite } from "./support/sqlite.ts"

const circuits = ["a", "a/k"]
const circuit = oneOf(circuits)
const nth = oneOf([0, 0, 1, 2])

/** Epochs and numbers of roll calls are chosen among those that the store has given, counted from the latest; -1 is 0. */
const cast = Arbitrary.map(
  Arbitrary.all([
    ...[circuit, oneOf(["x", "x", "x", "y"]), oneOf([undefined, [1, 0], [1, 1], [0, 5, 7]])],
    ...[oneOf([40, 500, 5_000, 60_000]), oneOf([0, 0, 300, 2_000]), oneOf([0, 0, 1_000, 30_000])]
  ] as const),
  ([circuit, box, ballot, ttl, inquire, roll]) => ({ circuit, box, ballot, ttl, inquire, roll })
)
const swap = Arbitrary.map(
  Arbitrary.all([circuit, oneOf([undefined, 60, 3_000, 60_000]), oneOf([true, true, false])] as const),
  ([circuit, ttl, listed]) => ({ circuit, ttl, listed })
)
const exchange = Arbitrary.map(
  Arbitrary.all([
    oneOf(["v", "w", "u"]),
    oneOf([0, 50, 3_000, 8_000, 60_000]),
    oneOf([undefined, undefined, undefined, -1, 0, 50]),
    oneOf([0, 1, 2, 3, -1]),
    oneOf([0, 0, 0, 1_000_000_000]),
    Arbitrary.array(cast, { maxLength: 3 }),
    Arbitrary.array(swap, { maxLength: 2 }),
    Arbitrary.array(nth, { minLength: 5, maxLength: 5 })
  ] as const),
  ([voter, ttl, late, heard, floor, casts, swaps, wrong]) => ({ voter, ttl, late, heard, floor, casts, swaps, wrong })
)
const step = Arbitrary.all([exchange, oneOf([0, 0, 1, 10, 60, 500, 4_000, 9_000, 40_000])] as const)

/** A store on SQLite, and one in memory, that have the same clock. */
const twins = Effect.gen(function* () {
  const { url } = yield* onSqlite
  const clock = yield* Clock.Clock
  const now = { time: 1_800_000_000_000 }
  const rewrite = (statement: string) =>
    statement.replaceAll("CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)", String(now.time))
  const sql = yield* Layer.build(sqlite(url, { rewrite }))
  const fixed = Object.assign(Object.create(clock), {
    currentTimeMillisUnsafe: () => now.time,
    monotonicTimeNanosUnsafe: () => 0n
  }) as Clock.Clock
  const memory = yield* Effect.provideService(MemoryStore.make, Clock.Clock, fixed)
  const tables = yield* sharedStore(sql)
  const exchange = (request: SharedStore.Exchange) =>
    Effect.provideService(tables.exchange(request), Clock.Clock, fixed)
  return { now, tables: { ...tables, exchange }, memory }
})

/**
 * What the contract leaves open: a store may forget an inquiry or a roll call with the last ballot of its box, and keep a roll
 * call in its log for longer than it must.
 */
const known = (answer: SharedStore.ExchangeAnswer, other: SharedStore.ExchangeAnswer) => {
  if (answer._tag === "Late" || other._tag === "Late") return answer
  const casts = answer.casts.map(({ record, tally }, i) => {
    const { asked, rolled } = other.casts[i]?.tally ?? {}
    if (tally === undefined) return { record, tally }
    const told = { asked: asked && tally.asked, rolled: rolled && tally.rolled }
    // Zeros at the end are nothing.
    return { record, tally: { ...tally, ...told, sums: tally.sums.join().replace(/(,0)+$|^0$/, "") } }
  })
  const { logMillis } = SharedStore.limits
  const rollCalls = answer.rollCalls.filter(({ seq, term }) => answer.time - seq / 1_000 < term + logMillis)
  // Each store has a life of its own.
  return { ...answer, life: "", rollCalls, casts }
}

const shown = ({ changes, epoch, listed, live, time }: SharedStore.PageAnswer) => ({
  ...{ time, live, epoch, listed },
  changes: changes.filter((change) => change.listed && change.record !== undefined)
})

const unlisted = ({ changes }: SharedStore.PageAnswer) => changes.filter((change) => !change.listed)

describe("A store on SQLite", () => {
  it.live.prop(
    "answers what a store in memory answers, whatever is exchanged",
    [Arbitrary.array(step, { minLength: 1, maxLength: 40 })],
    ([steps]) =>
      Effect.gen(function* () {
        const { memory, now, tables } = yield* twins
        const seqs: Array<number> = []
        const lives = { memory: "", tables: "" }
        for (const [{ casts, heard, late, swaps, wrong, ...rest }, wait] of steps) {
          now.time += wait
          const { records } = yield* memory.load(circuits)
          const epochOf = (circuit: string, i: number) =>
            (records[circuits.indexOf(circuit)]?.epoch ?? 0) + (wrong[i] === 2 ? 1 : 0)
          const request: SharedStore.Exchange = {
            ...rest,
            notAfter: late === undefined ? undefined : now.time + late,
            heard: heard < 0 ? 2 ** 52 : heard === 0 ? 0 : (seqs.at(-heard) ?? 0),
            floor: rest.floor === 0 ? 0 : now.time * 1_000 + rest.floor,
            casts: casts.map((cast, i) => ({ ...cast, epoch: epochOf(cast.circuit, i) })),
            swaps: swaps.map((swap, i) => ({ ...swap, body: `b${i}`, expectedEpoch: epochOf(swap.circuit, 3 + i) }))
          }
          const expected = yield* memory.exchange({ ...request, life: lives.memory })
          const actual = yield* tables.exchange({ ...request, life: lives.tables })
          if (expected._tag === "Done") lives.memory = expected.life
          if (actual._tag === "Done") lives.tables = actual.life
          assert.strictEqual(JSON.stringify(known(actual, expected)), JSON.stringify(known(expected, actual)))
          if (expected._tag === "Done" && expected.head > (seqs.at(-1) ?? 0)) seqs.push(expected.head)
          assert.deepStrictEqual(yield* tables.load(circuits), yield* memory.load(circuits))
          const [pages, expectedPages] = [yield* tables.page(0, 1_000), yield* memory.page(0, 1_000)]
          assert.deepStrictEqual(shown(pages), shown(expectedPages))
          assert.includeDeepMembers(unlisted(pages), unlisted(expectedPages))
        }
      }).pipe(Effect.scoped),
    runs("model", 100)
  )
})
