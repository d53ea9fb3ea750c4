import * as Effect from "effect/Effect"
import { limits } from "../../store/SharedStore.ts"
import { type Bench, castOf, equal, expect, long, short, type Trial, trial } from "./bench.ts"

/** A new circuit for which the voter "caller" has cast a ballot and called the roll, with the number of that roll call. */
const rolled = (bench: Bench) =>
  Effect.gen(function* () {
    const circuit = bench.name("circuit")
    const { epoch } = yield* bench.write(circuit)
    const tally = yield* bench.vote(circuit, { epoch, voter: "caller", roll: long })
    yield* expect(tally.rolled !== undefined, "a roll call", tally)
    return { circuit, epoch, seq: (yield* bench.done()).head }
  })

/** An exchange of a voter that has heard all roll calls up to a number. */
const hear = (bench: Bench, voter: string, heard: number, ttl = long) =>
  bench.done({ voter: bench.voter(voter), ttl, heard })

export const rollCalls: ReadonlyArray<Trial> = [
  trial("a live voter that has heard the roll call and has no ballot abstains", function* (bench) {
    const { circuit, epoch, seq } = yield* rolled(bench)
    const steps = [
      ["a first voter heard only earlier roll calls", hear(bench, "a", seq - 1), 0],
      ["the first voter heard the roll call, and the caller did not", hear(bench, "a", seq), 0],
      ["the caller heard it, too", hear(bench, "caller", seq), 1],
      ["a second voter heard it", hear(bench, "b", seq), 2],
      ["a third voter has a ballot and did not hear it", bench.vote(circuit, { epoch, voter: "c" }), 1],
      ["the third voter heard it", hear(bench, "c", seq), 2],
      ["the third voter withdrew its ballot", bench.vote(circuit, { epoch, voter: "c", ballot: undefined }, seq), 3],
      ["the second voter cast a ballot", bench.vote(circuit, { epoch, voter: "b", ballot: [0] }, seq), 2],
      ["the first voter left", bench.leave(bench.voter("a")), 1]
    ] as const
    for (const [what, step, abstained] of steps) {
      yield* step
      yield* equal((yield* bench.tally(circuit, epoch)).abstained, abstained, `how many abstain once ${what}`)
    }
  }),

  trial("`heard` counts from the exchange after its casts", function* (bench) {
    const { circuit, epoch, seq } = yield* rolled(bench)
    yield* hear(bench, "caller", seq)
    const before = yield* bench.vote(circuit, { epoch, voter: "a", ballot: undefined }, seq)
    yield* equal(before.abstained, 0, "how many abstain in the answer to the exchange that reports `heard`")
    yield* equal((yield* bench.tally(circuit, epoch)).abstained, 1, "how many abstain after that exchange")
  }),

  trial("a voter that no longer counts as live neither abstains nor has a ballot", function* (bench) {
    const { circuit, epoch, seq } = yield* rolled(bench)
    yield* hear(bench, "caller", seq)
    yield* hear(bench, "a", seq, short)
    yield* hear(bench, "b", seq)
    yield* bench.vote(circuit, { epoch, voter: "c", ballot: [10] }, seq)
    const look = bench.tally(circuit, epoch)
    yield* bench.until(look, ({ abstained }) => abstained === 1, `1 abstention after a voter's ttl of ${short} ms`)
    yield* hear(bench, "c", seq, short)
    const tally = yield* bench.until(look, ({ voters }) => voters === 1, `1 ballot after a voter's ttl of ${short} ms`)
    yield* bench.holds(tally, [[1]], "after a voter with a lasting ballot was no longer live")
    yield* equal(tally.abstained, 1, "how many abstain then")
    yield* bench.leave(bench.voter("caller"))
    yield* bench.holds(yield* look, [], "after the last voter left")
  }),

  trial("a ballot ends with its voter, even if its ttl is longer", function* (bench) {
    const circuit = bench.name("circuit")
    const voter = bench.voter("voter")
    yield* bench.done({ voter, ttl: 200, casts: [castOf(circuit)] })
    yield* bench.join(voter)
    yield* Effect.sleep(300)
    yield* bench.holds(yield* bench.tally(circuit), [[1]], "after its voter renewed its ttl")
  }),

  trial("casts join a roll call that is younger than their `roll`, and otherwise begin a new one", function* (bench) {
    const { circuit, epoch, seq } = yield* rolled(bench)
    yield* Effect.sleep(120)
    const joined = yield* bench.vote(circuit, { epoch, voter: "b", roll: long })
    yield* expect((joined.rolled ?? 0) >= 95, "a roll call of 95 ms ago or more", joined.rolled)
    yield* equal((yield* bench.done()).head, seq, "the head after a voter joined")
    const anew = yield* bench.vote(circuit, { epoch, voter: "b", roll: 50 })
    yield* expect(anew.rolled !== undefined && anew.rolled < 95, "a roll call of just now", anew.rolled)
    yield* hear(bench, "a", seq)
    yield* equal((yield* bench.tally(circuit, epoch)).abstained, 0, "how many voters that heard only the first abstain")
    const { rollCalls } = yield* hear(bench, "a", seq)
    yield* equal(
      rollCalls.filter((one) => one.circuit === circuit).map(({ box, epoch }) => ({ box, epoch })),
      [{ box: "box", epoch }],
      "the roll calls of the circuit after the first"
    )
  }),

  trial(
    "an exchange returns the roll calls after `heard`, ascending, each with the number of the one before it",
    function* (bench) {
      const { head } = yield* bench.done()
      const circuits = Array.from({ length: 5 }, () => bench.name("circuit"))
      for (const circuit of circuits) yield* bench.vote(circuit, { roll: long })
      const rollCallsAfter = (heard: number) =>
        Effect.map(bench.done({ heard }), ({ rollCalls }) => rollCalls.filter((one) => circuits.includes(one.circuit)))
      const found = yield* rollCallsAfter(head)
      yield* equal(
        found.map((one) => one.circuit),
        circuits,
        "the circuits of the roll calls"
      )
      yield* equal(found[0]?.prev, head, "the number of the roll call before the first")
      for (const [index, one] of found.entries()) {
        const before = found[index - 1]
        if (before !== undefined) yield* equal(one.prev, before.seq, `the number before roll call ${index}`)
        yield* equal(yield* rollCallsAfter(one.seq), found.slice(index + 1), `the roll calls after number ${index}`)
      }
      yield* equal((yield* bench.done()).head, found.at(-1)?.seq, "the head, of the last roll call")
      // A `heard` beyond the head counts roll calls of a log that was lost. The answer then has all roll calls.
      const { rollCalls } = yield* bench.done({ heard: Number.MAX_SAFE_INTEGER })
      yield* expect(rollCalls.length >= 5, "the roll calls that are kept, after a number beyond the head", rollCalls)
    }
  ),

  trial("a `heard` beyond the head does not count as heard", function* (bench) {
    const { circuit, epoch, seq } = yield* rolled(bench)
    yield* hear(bench, "caller", seq)
    yield* hear(bench, "a", seq + 1_000_000_000)
    yield* equal((yield* bench.tally(circuit, epoch)).abstained, 0, "how many abstain")
    yield* hear(bench, "a", seq)
    yield* equal(
      (yield* bench.tally(circuit, epoch)).abstained,
      1,
      "how many abstain after the voter heard the roll call"
    )
    // The voter is live now, and a store may handle its heartbeat in another way.
    yield* hear(bench, "a", seq + 1_000_000_000)
    yield* equal((yield* bench.tally(circuit, epoch)).abstained, 0, "how many abstain after a live voter reported it")
  }),

  trial("a `heard` of another life does not count as heard", function* (bench) {
    const { circuit, epoch, seq } = yield* rolled(bench)
    yield* hear(bench, "caller", seq)
    for (const life of ["another", undefined]) {
      const answer = yield* bench.done({ voter: bench.voter("a"), ttl: long, heard: seq, life })
      yield* equal((yield* bench.tally(circuit, epoch)).abstained, 0, "how many abstain")
      // Earlier roll calls may fill the answer.
      const first = answer.rollCalls[0]?.seq ?? Infinity
      yield* expect(
        first <= seq,
        `roll calls from number ${seq} or earlier, as for a voter that has heard none`,
        answer.rollCalls[0]
      )
    }
    yield* hear(bench, "a", seq)
    yield* equal(
      (yield* bench.tally(circuit, epoch)).abstained,
      1,
      "how many abstain after the voter heard the roll call in this life"
    )
  }),

  trial("a roll call counts for its term, and then a new one can begin", function* (bench) {
    const circuit = bench.name("circuit")
    const { epoch } = yield* bench.write(circuit)
    const { head } = yield* bench.done()
    const first = yield* bench.vote(circuit, { epoch, voter: "caller", roll: 300 })
    yield* expect(first.rolled !== undefined, "a roll call", first)
    const of = (heard: number) =>
      Effect.map(bench.done({ heard }), ({ rollCalls }) => rollCalls.filter((one) => one.circuit === circuit))
    const [called] = yield* of(head)
    yield* equal(called?.term, 300, "the term in the answer")
    const seq = called?.seq ?? 0
    yield* hear(bench, "a", seq)
    yield* hear(bench, "b", seq)
    const look = bench.tally(circuit, epoch)
    const over = yield* bench.until(look, ({ rolled }) => rolled === undefined, "no roll call after its term of 300 ms")
    yield* equal(over.abstained, 0, "how many abstain then")
    yield* bench.vote(circuit, { epoch, voter: "caller", roll: 1e12 })
    const again = yield* of(seq)
    yield* equal(
      again.map(({ term }) => term),
      [limits.rollCallMillis],
      "the term of the next roll call, which was called for 1e12 ms"
    )
  }),

  trial("a swap ends the roll call of its circuit, and other boxes have none", function* (bench) {
    const { circuit, epoch, seq } = yield* rolled(bench)
    yield* hear(bench, "a", seq)
    yield* hear(bench, "b", seq)
    const other = yield* bench.vote(circuit, { epoch, box: "other", voter: "caller" })
    yield* equal([other.rolled, other.abstained], [undefined, 0], "the roll call and the abstentions of another box")
    const next = yield* bench.write(circuit, { expectedEpoch: epoch })
    const tally = yield* bench.vote(circuit, { epoch: next.epoch, voter: "caller" })
    yield* equal([tally.rolled, tally.abstained], [undefined, 0], "the roll call and the abstentions after a swap")
    const anew = yield* bench.vote(circuit, { epoch: next.epoch, voter: "caller", roll: long })
    yield* expect(anew.rolled !== undefined, "a new roll call, although the last one was just called", anew)
  }),

  trial("an answer has a bounded number of roll calls, and the next answer has the rest", function* (bench) {
    const { head } = yield* bench.done()
    const many = limits.rollCalls + 40
    const circuits = Array.from({ length: many }, () => bench.name("circuit"))
    const voter = bench.voter("voter")
    for (let from = 0; from < many; from += limits.casts) {
      const casts = circuits.slice(from, from + limits.casts).map((circuit) => castOf(circuit, { roll: long }))
      yield* bench.done({ voter, ttl: long, heard: Number.MAX_SAFE_INTEGER, casts })
    }
    const found: Array<string> = []
    for (let heard = head; ; ) {
      const { head: last, rollCalls } = yield* bench.done({ heard })
      yield* expect(rollCalls.length <= limits.rollCalls, `at most ${limits.rollCalls} roll calls`, rollCalls.length)
      found.push(...rollCalls.map(({ circuit }) => circuit))
      heard = rollCalls.at(-1)?.seq ?? last
      if (heard >= last) break
    }
    yield* equal(found, circuits, "the circuits of all roll calls, answer by answer")
  })
]
