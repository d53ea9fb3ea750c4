import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { type Bench, equal, expect, long, short, type Trial, trial, written } from "./bench.ts"

const many = { concurrency: "unbounded" } as const

/** Returns pseudo-random whole numbers below `sides`. The same seed gives the same numbers. */
const dice = (seed: number) => {
  let state = seed
  return (sides: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * sides)
  }
}

/** A new circuit with a record, and the epoch of the record. */
const recorded = (bench: Bench) => {
  const circuit = bench.name("circuit")
  return Effect.map(bench.write(circuit), ({ epoch }) => ({ circuit, epoch }))
}

export const ballots: ReadonlyArray<Trial> = [
  trial("a tally is the sum of the ballots of all voters, position by position", function* (bench) {
    const { circuit, epoch } = yield* recorded(bench)
    const given = [
      [1, 0, 7],
      [0, 0, 5],
      [3, 0, 1_000],
      [0, 0, 0]
    ]
    for (let voters = 1; voters <= given.length; voters++) {
      const tally = yield* bench.vote(circuit, { epoch, voter: `voter-${voters}`, ballot: given[voters - 1] })
      yield* bench.holds(tally, given.slice(0, voters), `with ${voters} voters`)
    }
  }),

  trial("a voter's ballot replaces its last one, and a repeated cast counts once", function* (bench) {
    const { circuit, epoch } = yield* recorded(bench)
    yield* bench.vote(circuit, { epoch, voter: "other", ballot: [10, 10] })
    for (const ballot of [
      [1, 5],
      [1, 5],
      [1, 5],
      [4, 0],
      [0, 0],
      [2, 9],
      [2, 9]
    ]) {
      const tally = yield* bench.vote(circuit, { epoch, voter: "voter", ballot })
      yield* bench.holds(tally, [[10, 10], ballot], "after a ballot that replaced another")
    }
  }),

  trial(
    "a withdrawn ballot no longer counts, and withdrawing a ballot that does not exist does nothing",
    function* (bench) {
      const { circuit, epoch } = yield* recorded(bench)
      const back = (voter: string) => bench.vote(circuit, { epoch, voter, ballot: undefined })
      yield* bench.holds(yield* back("a"), [], "in a box without ballots")
      yield* bench.vote(circuit, { epoch, voter: "a", ballot: [1, 2] })
      yield* bench.vote(circuit, { epoch, voter: "b", ballot: [10, 20] })
      yield* bench.holds(
        yield* back("c"),
        [
          [1, 2],
          [10, 20]
        ],
        "after a voter without a ballot withdrew it"
      )
      yield* bench.holds(yield* back("a"), [[10, 20]], "after one of two voters withdrew its ballot")
      yield* bench.holds(yield* back("a"), [[10, 20]], "after the same voter withdrew again")
      yield* bench.holds(yield* back("b"), [], "after all voters withdrew")
      yield* bench.holds(
        yield* bench.vote(circuit, { epoch, voter: "a", ballot: [3, 4] }),
        [[3, 4]],
        "after one voter cast again"
      )
    }
  ),

  trial("a ballot no longer counts once its ttl is over, even if others are cast in its box", function* (bench) {
    const { circuit, epoch } = yield* recorded(bench)
    yield* bench.vote(circuit, { epoch, voter: "brief", ballot: [1, 2], ttl: short })
    const cast = bench.vote(circuit, { epoch, voter: "other", ballot: [10, 20] })
    yield* bench.until(cast, ({ voters }) => voters === 1, `1 voter after the other's ttl of ${short} ms`)
    yield* bench.holds(yield* cast, [[10, 20]], "after the ttl of another")
    yield* bench.vote(circuit, { epoch, voter: "brief", ballot: [5, 6], ttl: short })
    const read = bench.tally(circuit, epoch)
    yield* bench.until(read, ({ voters }) => voters === 1, "1 voter, also when the tally is only read,")
    yield* bench.holds(yield* read, [[10, 20]], "after the ttl of another, when the tally is only read")
    yield* bench.vote(circuit, { epoch, voter: "other", ballot: [7], ttl: short })
    yield* bench.until(read, ({ voters }) => voters === 0, "no voter after the ttl of all")
    yield* bench.holds(yield* read, [], "after the ttl of all")
  }),

  trial("a ballot counts for its ttl, and each cast sets the ttl again", function* (bench) {
    const { circuit, epoch } = yield* recorded(bench)
    yield* bench.vote(circuit, { epoch, voter: "lasting", ballot: [1] })
    yield* bench.vote(circuit, { epoch, voter: "renewed", ballot: [10], ttl: 200 })
    yield* bench.vote(circuit, { epoch, voter: "renewed", ballot: [10] })
    yield* Effect.sleep(350)
    yield* bench.holds(yield* bench.tally(circuit, epoch), [[1], [10]], "after 350 ms, with ttls of a minute")
    yield* bench.vote(circuit, { epoch, voter: "renewed", ballot: [10], ttl: short })
    const read = bench.tally(circuit, epoch)
    yield* bench.until(read, ({ voters }) => voters === 1, "1 voter after a shortened ttl")
    yield* bench.holds(yield* read, [[1]], "after a shortened ttl")
  }),

  trial("a cast of another epoch changes nothing, and returns the record and no tally", function* (bench) {
    const { circuit, epoch: old } = yield* recorded(bench)
    const now = yield* bench.write(circuit, { expectedEpoch: old, body: "now" })
    yield* bench.vote(circuit, { epoch: now.epoch, voter: "a", ballot: [1, 2] })
    for (const epoch of [0, old, now.epoch + 1, now.epoch + 1_000, 2 ** 53 - 1]) {
      for (const ballot of [[100, 100], undefined]) {
        const { record, tally } = yield* bench.cast(circuit, { epoch, voter: "a", ballot, inquire: 1 })
        yield* equal(tally, undefined, `the tally for epoch ${epoch}, when the circuit is in epoch ${now.epoch}`)
        yield* equal(written(record), written(now), "the record in the same answer")
      }
    }
    const tally = yield* bench.tally(circuit, now.epoch)
    yield* bench.holds(tally, [[1, 2]], "after casts of other epochs")
    yield* equal(tally.asked, undefined, "the age of the inquiry, after casts of other epochs")
    const nowhere = bench.name("circuit")
    const answer = yield* bench.cast(nowhere, { epoch: 7 })
    yield* equal(
      [answer.record, answer.tally],
      [undefined, undefined],
      "record and tally for epoch 7 of a circuit without a record"
    )
    yield* bench.holds(yield* bench.tally(nowhere), [], "of epoch 0, after a cast of epoch 7")
    yield* equal(yield* bench.load(nowhere), undefined, "the record of a circuit that has only ballots")
  }),

  trial("epoch 0 is the box of a circuit that has no record", function* (bench) {
    const circuit = bench.name("circuit")
    yield* bench.vote(circuit, { voter: "a", ballot: [1, 2] })
    const { record, tally } = yield* bench.cast(circuit, { voter: "b", ballot: [10, 20] })
    yield* equal(record, undefined, "the record in the answer")
    if (tally !== undefined)
      yield* bench.holds(
        tally,
        [
          [1, 2],
          [10, 20]
        ],
        "of epoch 0"
      )
    yield* expect(tally !== undefined, "a tally of epoch 0", tally)
    yield* equal(yield* bench.listed(circuit), [], "what the pages have of a circuit that has only ballots")
  }),

  trial(
    "a swap empties every box of the circuit and ends its inquiries; one of another epoch empties none",
    function* (bench) {
      const circuit = bench.name("circuit")
      let epoch = 0
      for (const round of ["first", "second", "third"]) {
        for (const box of ["x", "y"]) yield* bench.vote(circuit, { epoch, box, ballot: [1, 2], inquire: long })
        yield* bench.swap(circuit, { expectedEpoch: epoch + 1 })
        for (const box of ["x", "y"]) {
          yield* bench.holds(yield* bench.tally(circuit, epoch, box), [[1, 2]], "after a swap of another epoch")
        }
        epoch = (yield* bench.write(circuit, { expectedEpoch: epoch })).epoch
        for (const box of ["x", "y"]) {
          const tally = yield* bench.vote(circuit, { epoch, box, voter: "other", ballot: [5, 5] })
          yield* bench.holds(tally, [[5, 5]], `after the ${round} swap`)
          yield* equal(tally.asked, undefined, `the age of the inquiry, after the ${round} swap`)
          yield* bench.vote(circuit, { epoch, box, voter: "other", ballot: undefined })
        }
      }
    }
  ),

  trial("after a record expired, neither its ballots nor those from before it count again", function* (bench) {
    const circuit = bench.name("circuit")
    // No voter casts in the quiet box while the record exists.
    const boxes = ["box", "quiet"]
    for (const box of boxes) yield* bench.vote(circuit, { box, voter: "before", ballot: [1] })
    const { epoch } = yield* bench.write(circuit, { ttl: 300 })
    yield* bench.vote(circuit, { epoch, voter: "during", ballot: [10] })
    yield* bench.forgotten(circuit)
    for (const box of boxes) {
      yield* bench.holds(yield* bench.tally(circuit, 0, box), [], "of epoch 0, after the record expired")
      const tally = yield* bench.vote(circuit, { box, voter: "after", ballot: [100] })
      yield* bench.holds(tally, [[100]], "of epoch 0 after that")
    }
    const again = yield* bench.write(circuit)
    yield* bench.holds(yield* bench.tally(circuit, again.epoch), [], "of the next epoch")
  }),

  trial("boxes are independent, and so are circuits", function* (bench) {
    const [one, two] = [yield* recorded(bench), yield* recorded(bench)]
    const boxes = [one, two].flatMap((of) => ["x", "y"].map((box) => ({ ...of, box })))
    const ballots = [[1], [10, 0, 3], [100, 7], [0, 0, 0, 9]]
    for (const [index, target] of boxes.entries()) {
      yield* bench.vote(target.circuit, { ...target, ballot: ballots[index], inquire: index === 0 ? long : 0 })
    }
    for (const [index, { box, circuit, epoch }] of boxes.entries()) {
      const tally = yield* bench.tally(circuit, epoch, box)
      yield* bench.holds(tally, [ballots[index] ?? []], `in box ${box} of circuit ${index < 2 ? 1 : 2}`)
      yield* equal(tally.asked !== undefined, index === 0, "whether there was an inquiry, which only the first box had")
    }
    yield* bench.vote(one.circuit, { epoch: one.epoch, box: "x", ballot: undefined })
    yield* bench.holds(yield* bench.tally(one.circuit, one.epoch, "y"), [[10, 0, 3]], "after a ballot left another box")
  }),

  trial("casts join an inquiry that is younger than their `inquire`, and otherwise begin a new one", function* (bench) {
    const { circuit, epoch } = yield* recorded(bench)
    const first = yield* bench.vote(circuit, { epoch, voter: "a" })
    yield* equal(first.asked, undefined, "the age of the inquiry, before any voter inquired")
    const start = yield* Clock.currentTimeMillis
    yield* bench.aged((yield* bench.vote(circuit, { epoch, voter: "a", inquire: long })).asked, start, 0, "asked")
    yield* Effect.sleep(120)
    const joined = yield* bench.vote(circuit, { epoch, voter: "b", inquire: long })
    yield* bench.aged(joined.asked, start, 120, "after a voter joined an inquiry of 120 ms ago: asked")
    yield* bench.aged(
      (yield* bench.vote(circuit, { epoch, voter: "c" })).asked,
      start,
      120,
      "when another voter reads it: asked"
    )
    const again = yield* Clock.currentTimeMillis
    const anew = yield* bench.vote(circuit, { epoch, voter: "b", inquire: 50 })
    yield* bench.aged(anew.asked, again, 0, "after a new inquiry replaced one of more than 50 ms ago: asked")
  }),

  trial("the sums of two hundred ballots with forty large numbers each are exact", function* (bench) {
    const { circuit, epoch } = yield* recorded(bench)
    const roll = dice(1)
    const given = Array.from({ length: 200 }, () =>
      Array.from({ length: 40 }, (_, n) => 2 ** 31 - roll(n < 20 ? 9 : 2 ** 31))
    )
    yield* Effect.forEach(given, (ballot, n) => bench.vote(circuit, { epoch, voter: `voter-${n}`, ballot }), {
      concurrency: 20
    })
    yield* bench.holds(yield* bench.tally(circuit, epoch), given, "of 200 voters")
    const half = given.filter((_, n) => n % 2 === 1)
    yield* Effect.forEach(
      given.filter((_, n) => n % 2 === 0),
      (_, n) => bench.vote(circuit, { epoch, voter: `voter-${n * 2}`, ballot: undefined }),
      { concurrency: 20 }
    )
    yield* bench.holds(yield* bench.tally(circuit, epoch), half, "after half of the voters withdrew")
  }),

  trial("concurrent casts are all counted, and no tally has part of a ballot", function* (bench) {
    const { circuit, epoch } = yield* recorded(bench)
    const numbers = Array.from({ length: 50 }, (_, n) => n)
    const tallies = yield* Effect.forEach(
      numbers,
      (n) => bench.vote(circuit, { epoch, voter: `voter-${n}`, ballot: [1, 2, 3] }),
      many
    )
    for (const tally of tallies)
      yield* bench.holds(tally, Array(tally.voters).fill([1, 2, 3]), "while others were cast")
    yield* bench.holds(
      yield* bench.tally(circuit, epoch),
      numbers.map(() => [1, 2, 3]),
      "of 50 casts at once"
    )
    yield* Effect.forEach(numbers, (n) => bench.vote(circuit, { epoch, voter: "voter-0", ballot: [n, n, 0] }), many)
    const { sums, voters } = yield* bench.tally(circuit, epoch)
    yield* equal(
      [voters, (sums[0] ?? 0) - 49, sums[2]],
      [50, (sums[1] ?? 0) - 98, 147],
      "after 50 casts of one voter at once"
    )
  }),

  trial("concurrent casts and a swap leave no ballot of the old epoch in the new epoch", function* (bench) {
    for (let round = 0; round < 5; round++) {
      const { circuit, epoch } = yield* recorded(bench)
      const casts = Array.from({ length: 20 }, (_, n) =>
        Effect.asVoid(bench.cast(circuit, { epoch, voter: `voter-${n}` }))
      )
      const swap = Effect.asVoid(bench.write(circuit, { expectedEpoch: epoch }))
      yield* Effect.all([...casts.slice(0, 10), swap, ...casts.slice(10)], { ...many, discard: true })
      const now = (yield* bench.load(circuit))?.epoch ?? 0
      yield* bench.holds(yield* bench.tally(circuit, now), [], "of the new epoch, in which no voter cast")
      const { tally } = yield* bench.cast(circuit, { epoch })
      yield* equal(tally, undefined, "the tally of the old epoch")
    }
  }),

  trial("random casts and withdrawals of five voters give the expected sums", function* (bench) {
    const circuit = bench.name("circuit")
    const roll = dice(7)
    const model = new Map<string, Map<string, ReadonlyArray<number>>>()
    let epoch = 0
    for (let step = 0; step < 150; step++) {
      const [box, voter] = [`box-${roll(2)}`, `voter-${roll(5)}`]
      if (roll(25) === 0) {
        epoch = (yield* bench.write(circuit, { expectedEpoch: epoch })).epoch
        model.clear()
      }
      if (roll(10) === 0) yield* bench.cast(circuit, { epoch: epoch + 1, box, voter, ballot: [9, 9, 9] })
      const ballot = roll(4) === 0 ? undefined : [roll(3), roll(1_000), roll(2)]
      const inBox = model.get(box) ?? new Map<string, ReadonlyArray<number>>()
      if (ballot === undefined) inBox.delete(voter)
      else inBox.set(voter, ballot)
      model.set(box, inBox)
      const tally = yield* bench.vote(circuit, { epoch, box, voter, ballot })
      yield* bench.holds(tally, [...inBox.values()], `after step ${step}`)
    }
  })
]
