import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { limits } from "../../store/SharedStore.ts"
import { castOf, equal, expect, long, short, slack, swapOf, type Trial, trial, written } from "./bench.ts"

/** A ballot that begins an inquiry and calls the roll. */
const askOf = (circuit: string) => castOf(circuit, { inquire: long, roll: long })

export const exchanges: ReadonlyArray<Trial> = [
  trial("an exchange after its deadline changes nothing and returns the time of the store", function* (bench) {
    const { head, live, time } = yield* bench.done()
    const before = yield* bench.page()
    const [cast, swap] = [bench.name("circuit"), bench.name("circuit")]
    const request = { voter: bench.voter("late"), ttl: long, casts: [askOf(cast)], swaps: [swapOf(swap)] }
    for (const notAfter of [0, time - 1]) {
      const late = yield* bench.exchange({ ...request, notAfter })
      yield* equal(late._tag, "Late", `the answer to an exchange whose deadline was ${time - notAfter} ms ago`)
      yield* expect(late.time >= time, `a time of ${time} or later`, late.time)
    }
    const after = yield* bench.done()
    yield* equal([after.live, after.head], [live, head], "the number of live voters, and the head of the log")
    yield* equal((yield* bench.page()).epoch, before.epoch, "the last epoch")
    yield* equal(yield* bench.loadAll([cast, swap]), [undefined, undefined], "the records")
    yield* bench.holds(yield* bench.tally(cast), [], "after a cast that came too late")
    const done = yield* bench.exchange({ ...request, notAfter: after.time + long })
    yield* equal(done._tag, "Done", "the answer to the same exchange before its deadline")
    yield* equal((yield* bench.live) - live, 1, "how many more voters are live after it")
  }),

  trial("the returned time advances in milliseconds, for exchanges and for reads", function* (bench) {
    const start = yield* Clock.currentTimeMillis
    const { time } = yield* bench.done()
    yield* Effect.sleep(100)
    const times = [
      (yield* bench.done()).time,
      (yield* bench.page()).time,
      (yield* bench.exchange({ notAfter: 0 })).time
    ]
    const passed = (yield* Clock.currentTimeMillis) - start
    for (const one of times) {
      const since = one - time
      yield* expect(since >= 100 - slack && since <= passed + slack, `100 to ${passed} ms later`, since)
    }
  }),

  trial("a store returns for how long it has been in use, counted from one fixed start", function* (bench) {
    const first = yield* bench.done()
    yield* Effect.sleep(120)
    const later = yield* bench.done()
    const [passed, more] = [later.time - first.time, later.liveFor - first.liveFor]
    yield* expect(Math.abs(passed - more) <= 1, `${passed} ms more`, more)
  }),

  trial("a store returns the same life from every operation", function* (bench) {
    const { life } = yield* bench.done()
    for (let turn = 0; turn < 4; turn++) {
      yield* equal([(yield* bench.done()).life], [life], "the life in the answer of another exchange")
      yield* equal([(yield* bench.page()).life], [life], "the life in a page")
    }
  }),

  trial("an exchange does many casts and swaps, and returns their answers in the same order", function* (bench) {
    const circuits = Array.from({ length: limits.casts }, () => bench.name("circuit"))
    const others = Array.from({ length: limits.swaps }, () => bench.name("other"))
    const taken = others.filter((_, index) => index % 3 === 0)
    for (const circuit of taken) yield* bench.write(circuit, { body: "taken" })
    const { casts, swaps } = yield* bench.done({
      voter: bench.voter("voter"),
      ttl: long,
      casts: circuits.map((circuit, index) => ({ ...askOf(circuit), epoch: index % 2, ballot: [index] })),
      swaps: others.map((circuit) => swapOf(circuit, { body: circuit }))
    })
    for (const [index, { record, tally }] of casts.entries()) {
      const expected = index % 2 === 0 ? [index] : undefined
      yield* equal([record, tally?.sums], [undefined, expected], `the answer to cast ${index}`)
    }
    const records = yield* bench.loadAll(others)
    const epochs: Array<number> = []
    for (const [index, { record, swapped }] of swaps.entries()) {
      yield* equal([swapped, record?.body], index % 3 === 0 ? [false, "taken"] : [true, others[index]], `swap ${index}`)
      yield* equal(written(records[index]), written(record), `the record of swap ${index} in the answer of load`)
      if (swapped) epochs.push(record?.epoch ?? 0)
    }
    const ascending = epochs.every((epoch, index) => epoch > (epochs[index - 1] ?? 0))
    yield* expect(ascending, "epochs in the order of the swaps", epochs)
  }),

  trial("an exchange runs casts before swaps, and two for one circuit in their order", function* (bench) {
    const circuit = bench.name("circuit")
    const voter = bench.voter("voter")
    const twice = [askOf(circuit), { ...askOf(circuit), ballot: [7] }]
    const swaps = [swapOf(circuit, { body: "first" }), swapOf(circuit, { body: "second" })]
    const answer = yield* bench.done({ voter, ttl: long, casts: twice, swaps })
    yield* equal(
      answer.casts.map(({ tally }) => tally?.sums),
      [[1], [7]],
      "the sums in the answers to the casts"
    )
    yield* equal(
      answer.swaps.map(({ record, swapped }) => [swapped, record?.body]),
      [
        [true, "first"],
        [false, "first"]
      ],
      "the answers to the swaps"
    )
    const epoch = answer.swaps[0]?.record?.epoch ?? 0
    yield* bench.holds(yield* bench.tally(circuit, epoch), [], "after the casts and the swaps")
  }),

  trial("a repeated exchange has no further effect", function* (bench) {
    const [cast, swap] = [bench.name("circuit"), bench.name("circuit")]
    const request = { voter: bench.voter("voter"), ttl: long, casts: [askOf(cast)], swaps: [swapOf(swap)] }
    const first = yield* bench.done(request)
    const second = yield* bench.done(request)
    yield* equal(second.live, first.live, "the number of live voters after the second exchange")
    yield* equal(second.head, first.head, "the head of the log after the second")
    yield* equal(second.swaps[0]?.swapped, false, "whether the second swapped")
    yield* equal(written(second.swaps[0]?.record), written(first.swaps[0]?.record), "the record after the second")
    yield* bench.holds(yield* bench.tally(cast), [[1]], "after the second")
  }),

  trial("a new epoch is above the floor, and so are all after it", function* (bench) {
    const circuits = [bench.name("circuit"), bench.name("circuit")]
    const { epoch } = yield* bench.page()
    // Only a little higher, because the epochs of all later trials must be above this one.
    const floor = Math.max(epoch, (yield* bench.write(bench.name("circuit"))).epoch) + 1_000_000
    const one = yield* bench.write(circuits[0] ?? "", {}, floor)
    yield* expect(one.epoch > floor, `an epoch above the floor of ${floor}`, one.epoch)
    const two = yield* bench.write(circuits[1] ?? "")
    yield* expect(two.epoch > one.epoch, `an epoch above ${one.epoch}, the last`, two.epoch)
    const low = yield* bench.write(circuits[0] ?? "", { expectedEpoch: one.epoch }, 1)
    yield* expect(low.epoch > two.epoch, `an epoch above ${two.epoch}, with a floor of 1`, low.epoch)
  }),

  trial("load returns the records of a hundred circuits in the requested order", function* (bench) {
    const circuits = Array.from({ length: limits.load }, () => bench.name("circuit"))
    const kept = circuits.filter((_, index) => index % 2 === 0)
    yield* Effect.forEach(kept, (circuit) => bench.write(circuit, { body: circuit, listed: false }), { concurrency: 8 })
    const bodies = (yield* bench.loadAll(circuits)).map((record) => record?.body)
    yield* equal(
      bodies,
      circuits.map((circuit, index) => (index % 2 === 0 ? circuit : undefined)),
      "the bodies"
    )
    yield* equal(yield* bench.loadAll([]), [], "the answer for no circuits")
    const [one = ""] = circuits
    yield* equal(
      (yield* bench.loadAll([one, one])).map((record) => record?.body),
      [one, one],
      "the same circuit twice"
    )
  }),

  trial("the pages have all changes after an epoch, once each, in the order of their epochs", function* (bench) {
    const circuits = Array.from({ length: 100 }, () => bench.name("circuit"))
    const { epoch: since } = yield* bench.page()
    const first = yield* Effect.forEach(circuits, (circuit) => bench.write(circuit, { ttl: 20_000 }))
    // Some circuits change again while the pages are read.
    const read: Array<string> = []
    for (let from = since, turn = 0; ; turn++) {
      const { changes } = yield* bench.page(from, 7)
      read.push(...changes.filter(({ listed, record }) => listed && record !== undefined).map(({ circuit }) => circuit))
      from = changes.at(-1)?.epoch ?? from
      if (changes.length < 7) break
      const [again, before] = [circuits[99 - turn], first[99 - turn]]
      if (turn < 10 && again !== undefined && before !== undefined) {
        yield* bench.write(again, { expectedEpoch: before.epoch, ttl: 20_000 })
      }
    }
    const found = read.filter((circuit) => circuits.includes(circuit))
    yield* equal([...new Set(found)].sort(), [...circuits].sort(), "the circuits in the pages")
    const later = yield* bench.page(yield* Effect.map(bench.page(), ({ epoch }) => epoch))
    yield* equal(later.changes, [], "the changes after the last epoch")
  }),

  trial("a page shows that a circuit is no longer listed", function* (bench) {
    const circuit = bench.name("circuit")
    const { epoch: listed } = yield* bench.write(circuit)
    const { epoch } = yield* bench.write(circuit, { expectedEpoch: listed, listed: false, body: "over" })
    const found = (yield* bench.pages(listed - 1)).filter((one) => one.circuit === circuit)
    yield* equal(
      found.map(({ epoch, listed, record }) => ({ epoch, listed, body: record?.body })),
      [{ epoch, listed: false, body: "over" }],
      "the changes of the circuit in the pages"
    )
  }),

  trial("a page counts the records that are listed, and not those that expired", function* (bench) {
    const { listed } = yield* bench.page()
    const more = Effect.map(bench.page(), (page) => page.listed - listed)
    const [one, two] = [bench.name("circuit"), bench.name("circuit")]
    const { epoch } = yield* bench.write(one)
    yield* bench.write(bench.name("circuit"), { listed: false })
    yield* bench.write(two, { ttl: 20_000 })
    yield* expect((yield* more) <= 2, "at most two more listed circuits", yield* more)
    const before = yield* more
    yield* bench.write(one, { expectedEpoch: epoch, ttl: short })
    yield* bench.forgotten(one)
    const after = yield* more
    yield* expect(after < before, `fewer than ${before} more listed circuits after one expired`, after)
  }),

  trial("reads write nothing: they keep no voter alive and assign no epoch", function* (bench) {
    const circuit = bench.name("circuit")
    const { epoch } = yield* bench.write(circuit)
    const { live } = yield* bench.done()
    const before = yield* bench.page()
    for (let turn = 0; turn < 5; turn++) {
      yield* bench.page(epoch - 1, 1)
      yield* bench.loadAll([circuit, bench.name("circuit")])
    }
    const after = yield* bench.page()
    yield* equal([after.epoch, after.trimmed], [before.epoch, before.trimmed], "the last epoch and what was trimmed")
    yield* equal((yield* bench.done()).live, live, "the number of live voters")
  })
]
