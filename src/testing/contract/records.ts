import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { equal, expect, long, short, show, swapOf, type Trial, trial, written } from "./bench.ts"

/** The content of a swap of another epoch, none of which may take effect. */
const loser = { body: "loser", ttl: long, listed: true }

/** Texts that a store or a script could misread. */
export const bodies: ReadonlyArray<readonly [kind: string, body: string]> = [
  ["empty", ""],
  ["a space at each end", " body "],
  ["a text that looks like a number", "007"],
  ["a text that looks like null", "null"],
  ["quotes and backslashes", `'"\`\\ \\n \\u0041 %s %% $1 {{}} --; ]]`],
  ["control characters", "\u0001\t\n\r\u001b\u007f\u0085\u2028"],
  ["letters of many scripts", "Ünïcode ß ﬁ 日本語 한국어 עברית \u202e  e\u0301 🧯👩‍👩‍👧 \u{10ffff}"],
  ["100 kB", "0123456789".repeat(10_000)]
]

const names: ReadonlyArray<readonly [kind: string, name: string]> = [
  ["a key", "a%0041/b~c"],
  ["an empty key", "a/"],
  ["another empty key", "/"],
  ["dots", "../.././..."],
  ["percents", "%%%25%s%n"],
  ["152 letters", "long".repeat(38)]
]

export const records: ReadonlyArray<Trial> = [
  trial("all handles are of one store: each reads what another wrote", function* (bench) {
    const circuit = bench.name("circuit")
    const { epoch } = yield* bench.write(circuit, { body: "shared" })
    for (const _ of bench.handles) {
      const found = written(yield* bench.load(circuit))
      yield* equal(found, { epoch, body: "shared" }, "the record that another handle wrote")
    }
  }),

  trial("a circuit that was never written has no record", function* (bench) {
    const circuit = bench.name("circuit")
    yield* equal(yield* bench.load(circuit), undefined, "the answer of load")
    yield* equal(yield* bench.listed(circuit), [], "the listed records in the pages")
    const { record, swapped } = yield* bench.swap(circuit, { expectedEpoch: 7 })
    yield* equal([swapped, record], [false, undefined], "the answer to a swap of epoch 7")
    yield* equal(yield* bench.load(circuit), undefined, "the answer of load after a swap of epoch 7")
  }),

  trial("a swap writes the record, and returns it as load and page do", function* (bench) {
    const circuit = bench.name("circuit")
    let epoch = 0
    for (const body of ["first", "second", "third"]) {
      const { record, swapped } = yield* bench.swap(circuit, { expectedEpoch: epoch, body })
      yield* equal([swapped, record?.body], [true, body], "whether it swapped, and the current body")
      epoch = record?.epoch ?? 0
      yield* equal(written(yield* bench.load(circuit)), { epoch, body }, "the answer of load")
      yield* equal((yield* bench.listed(circuit)).map(written), [{ epoch, body }], "the listed records in the pages")
    }
  }),

  trial("each swap gets a new epoch, above those before, also after the record expired", function* (bench) {
    const circuit = bench.name("circuit")
    const epochs: Array<number> = []
    for (let round = 0; round < 3; round++) {
      for (let swap = 0; swap < 5; swap++) {
        const expectedEpoch = swap === 0 ? 0 : (epochs.at(-1) ?? 0)
        epochs.push((yield* bench.write(circuit, { expectedEpoch, ttl: swap === 4 ? short : long })).epoch)
      }
      yield* bench.forgotten(circuit)
    }
    const grow = epochs.every((epoch, index) => index === 0 || epoch > (epochs[index - 1] ?? 0))
    yield* expect(grow, "15 epochs, each greater than the one before", epochs)
    for (const expectedEpoch of epochs) {
      const { record, swapped } = yield* bench.swap(circuit, { expectedEpoch })
      yield* equal([swapped, record], [false, undefined], "the answer to a swap of a past epoch")
    }
  }),

  trial(
    "a swap of another epoch returns the current record and changes neither its body, epoch nor age",
    function* (bench) {
      const circuit = bench.name("circuit")
      const start = yield* Clock.currentTimeMillis
      const old = yield* bench.write(circuit, { body: "old" })
      const { epoch } = yield* bench.write(circuit, { expectedEpoch: old.epoch, body: "winner" })
      yield* Effect.sleep(100)
      for (const expectedEpoch of [0, old.epoch, epoch + 1, epoch + 1_000, 2 ** 53 - 1]) {
        const { record, swapped } = yield* bench.swap(circuit, { ...loser, expectedEpoch })
        const what = `the answer to a swap of epoch ${expectedEpoch}, when the circuit is in epoch ${epoch}`
        yield* equal([swapped, written(record)], [false, { epoch, body: "winner" }], what)
        yield* bench.aged(record?.age, start, 100, "the age of the winner's record in the answer: written")
      }
      const found = yield* bench.load(circuit)
      yield* equal(written(found), { epoch, body: "winner" }, "the answer of load afterwards")
      yield* bench.aged(found?.age, start, 100, "the age of the record afterwards: written")
    }
  ),

  trial("a repeated swap is done once", function* (bench) {
    const circuit = bench.name("circuit")
    const { epoch } = yield* bench.write(circuit)
    const next = yield* bench.write(circuit, { expectedEpoch: epoch, body: "next" })
    const { record, swapped } = yield* bench.swap(circuit, { expectedEpoch: epoch, body: "next" })
    yield* equal([swapped, written(record)], [false, written(next)], "the answer to the second swap")
  }),

  trial("a record expires when its ttl is over: for load, page, swap and cast", function* (bench) {
    for (const how of ["load", "page", "swap", "cast"]) {
      const circuit = bench.name("circuit")
      const { epoch } = yield* bench.write(circuit, { ttl: short })
      const look = Effect.gen(function* () {
        if (how === "load") return (yield* bench.load(circuit)) === undefined
        if (how === "page") return (yield* bench.listed(circuit)).length === 0
        if (how === "cast") return (yield* bench.cast(circuit, { epoch: 0 })).tally !== undefined
        return (yield* bench.swap(circuit, { expectedEpoch: 0, ttl: long })).swapped
      })
      yield* bench.until(look, (gone) => gone, `that ${how} finds no record after its ttl of ${short} ms`)
      const { record, swapped } = yield* bench.swap(circuit, { expectedEpoch: epoch })
      yield* equal(
        [swapped, record?.epoch === epoch],
        [false, false],
        "whether a swap of its epoch succeeds, and whether the record still has this epoch"
      )
    }
  }),

  trial("a record lasts for its ttl, and for ever without a ttl", function* (bench) {
    const lasting = bench.name("circuit")
    const forGood = bench.name("circuit")
    const { epoch } = yield* bench.write(lasting, { ttl: long })
    const { epoch: first } = yield* bench.write(forGood, { ttl: 1_000 })
    const kept = yield* bench.write(forGood, { expectedEpoch: first, ttl: undefined })
    yield* Effect.sleep(1_100)
    yield* equal(
      (yield* bench.load(lasting))?.epoch,
      epoch,
      `the epoch of a record with a ttl of ${long} ms after 1.1 s`
    )
    const found = (yield* bench.load(forGood))?.epoch
    yield* equal(
      found,
      kept.epoch,
      "the epoch of a record without a ttl after 1.1 s, which replaced a record with a ttl of 1 s"
    )
    yield* bench.write(forGood, { expectedEpoch: kept.epoch, ttl: short })
    yield* bench.forgotten(forGood)
  }),

  trial("a swap of another epoch does not change how long a record lasts", function* (bench) {
    const brief = bench.name("circuit")
    const lasting = bench.name("circuit")
    yield* bench.write(brief, { ttl: 500 })
    const { epoch } = yield* bench.write(lasting)
    for (const ttl of [long, undefined]) yield* bench.swap(brief, { ...loser, expectedEpoch: 2 ** 53 - 1, ttl })
    yield* bench.swap(lasting, { ...loser, expectedEpoch: 2 ** 53 - 1, ttl: short })
    yield* Effect.sleep(500)
    yield* bench.forgotten(brief)
    yield* equal(
      (yield* bench.load(lasting))?.epoch,
      epoch,
      "the epoch of a lasting record, after a losing swap with a ttl of 60 ms"
    )
  }),

  trial("the age of a record is the time since it was written, in every answer", function* (bench) {
    const circuit = bench.name("circuit")
    const start = yield* Clock.currentTimeMillis
    const { age, epoch } = yield* bench.write(circuit)
    yield* bench.aged(age, start, 0, "the swap's answer: written")
    yield* Effect.sleep(150)
    yield* bench.aged((yield* bench.load(circuit))?.age, start, 150, "load's answer: written")
    yield* bench.aged((yield* bench.listed(circuit))[0]?.age, start, 150, "a page's answer: written")
    yield* bench.aged((yield* bench.cast(circuit, { epoch })).record?.age, start, 150, "cast's answer: written")
    const again = yield* Clock.currentTimeMillis
    yield* bench.write(circuit, { expectedEpoch: epoch })
    yield* bench.aged((yield* bench.load(circuit))?.age, again, 0, "load's answer after another swap: written")
  }),

  trial("the pages have each circuit whose last record is listed, once, and no other", function* (bench) {
    const circuit = bench.name("circuit")
    let epoch = 0
    for (const listed of [true, false, true, true, false, false, true]) {
      const record = yield* bench.write(circuit, { expectedEpoch: epoch, listed })
      epoch = record.epoch
      yield* bench.swap(circuit, { expectedEpoch: epoch + 1, listed: !listed })
      const expected = listed ? [written(record)] : []
      const why = listed ? "a record written as listed" : "a record written as not listed"
      yield* equal((yield* bench.listed(circuit)).map(written), expected, `the listed records in the pages, for ${why}`)
    }
  }),

  trial("any text may be a body", function* (bench) {
    for (const [kind, body] of bodies) {
      const circuit = bench.name("circuit")
      const { epoch } = yield* bench.write(circuit, { body, ttl: 20_000 })
      yield* equal((yield* bench.load(circuit))?.body, body, `the body in the answer of load, for ${kind}`)
      yield* equal((yield* bench.listed(circuit))[0]?.body, body, `the body in a page, for ${kind}`)
      const { record } = yield* bench.swap(circuit, { ...loser, expectedEpoch: epoch + 1 })
      yield* equal(record?.body, body, `the body in the answer to a swap of another epoch, for ${kind}`)
      yield* equal((yield* bench.cast(circuit)).record?.body, body, `the body in the answer to a cast, for ${kind}`)
    }
  }),

  trial("names of letters, digits and . _ - ~ % / are distinct, and case-sensitive", function* (bench) {
    const own = bench.name("own")
    const short = [...names.map(([, name]) => `${own}${name}`), own, `${own}.`, `${own}A`, `${own}a`, `${own}%`]
    const all = [...short, own.padEnd(Math.min(bench.longestCircuit, 3_000), "long")]
    for (const circuit of all) yield* bench.write(circuit, { body: circuit, ttl: 20_000 })
    for (const circuit of all) {
      yield* equal((yield* bench.load(circuit))?.body, circuit, `the body of the circuit ${show(circuit)}`)
      yield* equal(
        (yield* bench.listed(circuit)).map(({ body }) => body),
        [circuit],
        `the listed bodies in the pages, for ${show(circuit)}`
      )
    }
    const circuit = bench.name("circuit")
    for (const box of short) yield* bench.vote(circuit, { box, voter: "a", ballot: [1] })
    for (const voter of short) yield* bench.vote(circuit, { box: "voters", voter, ballot: [1] })
    for (const box of short) yield* bench.holds(yield* bench.tally(circuit, 0, box), [[1]], `in the box ${show(box)}`)
    yield* bench.holds(
      yield* bench.tally(circuit, 0, "voters"),
      short.map(() => [1]),
      "of voters with such names"
    )
  }),

  trial("one of many concurrent swaps of an epoch wins, and the others get its record", function* (bench) {
    const circuit = bench.name("circuit")
    let epoch = 0
    for (let round = 0; round < 5; round++) {
      const racers = Array.from({ length: 20 }, (_, racer) => `${round}-${racer}`)
      const expectedEpoch = epoch
      const answers = yield* Effect.forEach(racers, (body) => bench.swap(circuit, { expectedEpoch, body }), {
        concurrency: "unbounded"
      })
      const winners = racers.filter((_, racer) => answers[racer]?.swapped === true)
      yield* equal(winners.length, 1, "how many of 20 swaps of the same epoch won")
      const found = written(yield* bench.load(circuit))
      yield* equal(found?.body, winners[0], "the body afterwards, which the winner wrote")
      for (const { record } of answers) yield* equal(written(record), found, "the answer to each of the 20 swaps")
      epoch = found?.epoch ?? 0
    }
  }),

  trial("no swap is lost when many handles read, add one and swap concurrently", function* (bench) {
    const circuit = bench.name("circuit")
    const addOne = Effect.gen(function* () {
      let read = yield* bench.load(circuit)
      while (true) {
        const body = String(Number(read?.body ?? 0) + 1)
        const { record, swapped } = yield* bench.swap(circuit, { expectedEpoch: read?.epoch ?? 0, body })
        if (swapped) return
        read = record
      }
    })
    yield* Effect.forEach(Array(25), () => addOne, { concurrency: 8, discard: true })
    yield* equal((yield* bench.load(circuit))?.body, "25", "the count after 25 additions")
  })
]

export const live: ReadonlyArray<Trial> = [
  trial("a voter counts as live, once, from its exchange with a ttl until its exchange with ttl 0", function* (bench) {
    const circuit = bench.name("circuit")
    const [a, b] = [bench.name("voter"), bench.name("voter")]
    const live = yield* bench.live
    const steps = [
      ["the first voter exchanges", bench.join(a), 1],
      ["the first voter exchanges again", bench.join(a), 1],
      ["a second voter exchanges", bench.join(b), 2],
      ["the first voter leaves", bench.leave(a), 1],
      ["the first voter leaves again", bench.leave(a), 1],
      ["a voter that was never live swaps", bench.done({ swaps: [swapOf(circuit, { expectedEpoch: 7 })] }), 1],
      ["the second voter leaves", bench.leave(b), 0]
    ] as const
    for (const [what, step, more] of steps) {
      yield* equal((yield* step).live - live, more, `how many more voters are live after ${what}, in its own answer`)
      yield* equal((yield* bench.live) - live, more, `how many more voters are live after ${what}, in a page`)
      yield* equal(
        (yield* bench.done()).live - live,
        more,
        `how many more voters are live after ${what}, in another's answer`
      )
    }
  }),

  trial("a voter without an exchange for its ttl no longer counts as live", function* (bench) {
    const live = yield* bench.live
    for (const how of ["page", "exchange"]) {
      yield* bench.join(bench.name("voter"), short)
      const look = Effect.gen(function* () {
        return (how === "page" ? yield* bench.live : (yield* bench.done()).live) - live
      })
      yield* bench.until(look, (more) => more === 0, `that ${how} counts 0 more voters after a ttl of ${short} ms`)
    }
  }),

  trial("each exchange of a voter sets again how long it lives", function* (bench) {
    const live = yield* bench.live
    const more = Effect.map(bench.live, (found) => found - live)
    const voter = bench.name("voter")
    yield* bench.join(voter, 200)
    yield* bench.join(voter, long)
    yield* Effect.sleep(300)
    yield* equal(
      yield* more,
      1,
      "how many more voters are live 300 ms after exchanges with ttls of 200 ms and a minute"
    )
    yield* bench.join(voter, short)
    yield* bench.until(
      more,
      (found) => found === 0,
      `that 0 more voters are live after an exchange with a ttl of ${short} ms`
    )
  }),

  trial("each of many voters with concurrent exchanges is counted", function* (bench) {
    const live = yield* bench.live
    const voters = Array.from({ length: 50 }, () => bench.name("voter"))
    yield* Effect.forEach(voters, (voter) => bench.join(voter), { concurrency: "unbounded" })
    yield* equal((yield* bench.live) - live, 50, "how many more voters are live")
    yield* Effect.forEach(voters, (voter) => bench.leave(voter), { concurrency: "unbounded" })
    yield* equal((yield* bench.live) - live, 0, "how many more voters are live after they left")
  })
]
