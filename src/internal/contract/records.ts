import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { equal, expect, long, short, show, type Trial, trial, written } from "./bench.ts"

/** What a swap of another era may ask for, to see whether any of it is done. */
const loser = { body: "loser", ttl: long, listed: true }

/** Texts that some store or script takes for something else. */
export const bodies: ReadonlyArray<readonly [kind: string, body: string]> = [
  ["empty", ""],
  ["a space at each end", " body "],
  ["what looks like a number", "007"],
  ["what looks like nothing", "null"],
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
  trial("handles are of one store: what one writes, the others read", function* (bench) {
    const circuit = bench.name("circuit")
    const { era } = yield* bench.write(circuit, { body: "shared" })
    for (const _ of bench.handles) {
      const found = written(yield* bench.load(circuit))
      yield* equal(found, { era, body: "shared" }, "the record that another handle wrote")
    }
  }),

  trial("a circuit that nobody wrote has no record", function* (bench) {
    const circuit = bench.name("circuit")
    yield* equal(yield* bench.load(circuit), undefined, "what load answers")
    yield* equal(yield* bench.listed(circuit), [], "what list has of it")
    const { record, swapped } = yield* bench.swap(circuit, { expectedEra: 7 })
    yield* equal([swapped, record], [false, undefined], "what a swap of era 7 answers")
    yield* equal(yield* bench.load(circuit), undefined, "what load answers after a swap of era 7")
  }),

  trial("a swap writes the record, and answers it as load and list do", function* (bench) {
    const circuit = bench.name("circuit")
    let era = 0
    for (const body of ["first", "second", "third"]) {
      const { record, swapped } = yield* bench.swap(circuit, { expectedEra: era, body })
      yield* equal([swapped, record?.body], [true, body], "whether it swapped, and the body that is there now")
      era = record?.era ?? 0
      yield* equal(written(yield* bench.load(circuit)), { era, body }, "what load answers")
      yield* equal((yield* bench.listed(circuit)).map(written), [{ era, body }], "what list has of the circuit")
    }
  }),

  trial("each swap gets a new era, above those before, also after the record was forgotten", function* (bench) {
    const circuit = bench.name("circuit")
    const eras: Array<number> = []
    for (let round = 0; round < 3; round++) {
      for (let swap = 0; swap < 5; swap++) {
        const expectedEra = swap === 0 ? 0 : (eras.at(-1) ?? 0)
        eras.push((yield* bench.write(circuit, { expectedEra, ttl: swap === 4 ? short : long })).era)
      }
      yield* bench.forgotten(circuit)
    }
    const grow = eras.every((era, index) => index === 0 || era > (eras[index - 1] ?? 0))
    yield* expect(grow, "15 eras, each greater than the one before", eras)
    for (const expectedEra of eras) {
      const { record, swapped } = yield* bench.swap(circuit, { expectedEra })
      yield* equal([swapped, record], [false, undefined], "what a swap of an era that is over answers")
    }
  }),

  trial("a swap of another era answers what is there and changes neither body, era nor age", function* (bench) {
    const circuit = bench.name("circuit")
    const start = yield* Clock.currentTimeMillis
    const old = yield* bench.write(circuit, { body: "old" })
    const { era } = yield* bench.write(circuit, { expectedEra: old.era, body: "winner" })
    yield* Effect.sleep(100)
    for (const expectedEra of [0, old.era, era + 1, era + 1_000, 2 ** 53 - 1]) {
      const { record, swapped } = yield* bench.swap(circuit, { ...loser, expectedEra })
      const what = `what a swap of era ${expectedEra} answers, where ${era} is`
      yield* equal([swapped, written(record)], [false, { era, body: "winner" }], what)
      yield* bench.aged(record?.age, start, 100, "an answer with the winner's age: written")
    }
    const found = yield* bench.load(circuit)
    yield* equal(written(found), { era, body: "winner" }, "what load answers afterwards")
    yield* bench.aged(found?.age, start, 100, "an age that no such swap changed: written")
  }),

  trial("a swap said twice is done once", function* (bench) {
    const circuit = bench.name("circuit")
    const { era } = yield* bench.write(circuit)
    const next = yield* bench.write(circuit, { expectedEra: era, body: "next" })
    const { record, swapped } = yield* bench.swap(circuit, { expectedEra: era, body: "next" })
    yield* equal([swapped, written(record)], [false, written(next)], "what the second answers")
  }),

  trial("a record is forgotten once its ttl is over: by load, list, swap and cast", function* (bench) {
    for (const how of ["load", "list", "swap", "cast"]) {
      const circuit = bench.name("circuit")
      const { era } = yield* bench.write(circuit, { ttl: short })
      const look = Effect.gen(function* () {
        if (how === "load") return (yield* bench.load(circuit)) === undefined
        if (how === "list") return (yield* bench.listed(circuit)).length === 0
        if (how === "cast") return (yield* bench.cast(circuit, { era: 0 })).tally !== undefined
        return (yield* bench.swap(circuit, { expectedEra: 0, ttl: long })).swapped
      })
      yield* bench.until(look, (gone) => gone, `that ${how} finds no record after its ttl of ${short} ms, but true`)
      const { record, swapped } = yield* bench.swap(circuit, { expectedEra: era })
      yield* equal([swapped, record?.era === era], [false, false], "whether its era still swaps, and is still there")
    }
  }),

  trial("a record is kept for its ttl, and without one for good", function* (bench) {
    const lasting = bench.name("circuit")
    const forGood = bench.name("circuit")
    const { era } = yield* bench.write(lasting, { ttl: long })
    const { era: first } = yield* bench.write(forGood, { ttl: 1_000 })
    const kept = yield* bench.write(forGood, { expectedEra: first, ttl: undefined })
    yield* Effect.sleep(1_100)
    yield* equal((yield* bench.load(lasting))?.era, era, `the era of a record with a ttl of ${long} ms after 1.1 s`)
    const found = (yield* bench.load(forGood))?.era
    yield* equal(found, kept.era, "the era of a record without a ttl after 1.1 s, whose forerunner had one of 1 s")
    yield* bench.write(forGood, { expectedEra: kept.era, ttl: short })
    yield* bench.forgotten(forGood)
  }),

  trial("a swap of another era makes a record last neither longer nor shorter", function* (bench) {
    const brief = bench.name("circuit")
    const lasting = bench.name("circuit")
    yield* bench.write(brief, { ttl: 500 })
    const { era } = yield* bench.write(lasting)
    for (const ttl of [long, undefined]) yield* bench.swap(brief, { ...loser, expectedEra: 2 ** 53 - 1, ttl })
    yield* bench.swap(lasting, { ...loser, expectedEra: 2 ** 53 - 1, ttl: short })
    yield* Effect.sleep(500)
    yield* bench.forgotten(brief)
    yield* equal(
      (yield* bench.load(lasting))?.era,
      era,
      "the era of a record that lasts, after one with a ttl of 60 ms"
    )
  }),

  trial("the age of a record is how long ago it was written, wherever it is answered", function* (bench) {
    const circuit = bench.name("circuit")
    const start = yield* Clock.currentTimeMillis
    const { age, era } = yield* bench.write(circuit)
    yield* bench.aged(age, start, 0, "the swap's answer: written")
    yield* Effect.sleep(150)
    yield* bench.aged((yield* bench.load(circuit))?.age, start, 150, "load's answer: written")
    yield* bench.aged((yield* bench.listed(circuit))[0]?.age, start, 150, "list's answer: written")
    yield* bench.aged((yield* bench.cast(circuit, { era })).record?.age, start, 150, "cast's answer: written")
    const again = yield* Clock.currentTimeMillis
    yield* bench.write(circuit, { expectedEra: era })
    yield* bench.aged((yield* bench.load(circuit))?.age, again, 0, "load's answer after another swap: written")
  }),

  trial("list has what was last written as listed, once, and nothing else", function* (bench) {
    const circuit = bench.name("circuit")
    let era = 0
    for (const listed of [true, false, true, true, false, false, true]) {
      const record = yield* bench.write(circuit, { expectedEra: era, listed })
      era = record.era
      yield* bench.swap(circuit, { expectedEra: era + 1, listed: !listed })
      const expected = listed ? [written(record)] : []
      const why = listed ? "a record written as listed" : "a record written as not listed"
      yield* equal((yield* bench.listed(circuit)).map(written), expected, `what list has of ${why}`)
    }
  }),

  trial("list has all of a hundred circuits", function* (bench) {
    const circuits = Array.from({ length: 100 }, () => bench.name("circuit")).sort()
    yield* Effect.forEach(circuits, (circuit) => bench.write(circuit, { ttl: 20_000 }), { concurrency: 10 })
    const { records } = yield* bench.list()
    const found = records.map(({ circuit }) => circuit).filter((circuit) => circuits.includes(circuit))
    yield* equal(found.length, 100, "how many of them it has")
    yield* equal(found.sort(), circuits, "those it has, each once")
  }),

  trial("any text may be a body", function* (bench) {
    for (const [kind, body] of bodies) {
      const circuit = bench.name("circuit")
      const { era } = yield* bench.write(circuit, { body, ttl: 20_000 })
      yield* equal((yield* bench.load(circuit))?.body, body, `the body that load answers, of ${kind}`)
      yield* equal((yield* bench.listed(circuit))[0]?.body, body, `the body that list answers, of ${kind}`)
      const { record } = yield* bench.swap(circuit, { ...loser, expectedEra: era + 1 })
      yield* equal(record?.body, body, `the body that a swap of another era answers, of ${kind}`)
      yield* equal((yield* bench.cast(circuit)).record?.body, body, `the body that a cast answers, of ${kind}`)
    }
  }),

  trial("names of letters, digits and . _ - ~ % / are each their own, by case too", function* (bench) {
    const own = bench.name("own")
    const short = [...names.map(([, name]) => `${own}${name}`), own, `${own}.`, `${own}A`, `${own}a`, `${own}%`]
    const all = [...short, own.padEnd(Math.min(bench.longestCircuit, 3_000), "long")]
    for (const circuit of all) yield* bench.write(circuit, { body: circuit, ttl: 20_000 })
    for (const circuit of all) {
      yield* equal((yield* bench.load(circuit))?.body, circuit, `the body of the circuit ${show(circuit)}`)
      yield* equal(
        (yield* bench.listed(circuit)).map(({ body }) => body),
        [circuit],
        `what list has of ${show(circuit)}`
      )
    }
    const circuit = bench.name("circuit")
    for (const box of short) yield* bench.vote(circuit, { box, voice: "a", ballot: [1] })
    for (const voice of short) yield* bench.vote(circuit, { box: "voices", voice, ballot: [1] })
    for (const box of short) yield* bench.holds(yield* bench.tally(circuit, 0, box), [[1]], `in the box ${show(box)}`)
    yield* bench.holds(
      yield* bench.tally(circuit, 0, "voices"),
      short.map(() => [1]),
      "of voices with such names"
    )
  }),

  trial("of many swaps of one era at once one wins, and the others are answered its record", function* (bench) {
    const circuit = bench.name("circuit")
    let era = 0
    for (let round = 0; round < 5; round++) {
      const racers = Array.from({ length: 20 }, (_, racer) => `${round}-${racer}`)
      const expectedEra = era
      const answers = yield* Effect.forEach(racers, (body) => bench.swap(circuit, { expectedEra, body }), {
        concurrency: "unbounded"
      })
      const winners = racers.filter((_, racer) => answers[racer]?.swapped === true)
      yield* equal(winners.length, 1, "how many of 20 swaps of the same era won")
      const found = written(yield* bench.load(circuit))
      yield* equal(found?.body, winners[0], "the body that is there afterwards, of the winner")
      for (const { record } of answers) yield* equal(written(record), found, "what each of the 20 swaps answers")
      era = found?.era ?? 0
    }
  }),

  trial("no swap is lost where many read, add one and swap at once", function* (bench) {
    const circuit = bench.name("circuit")
    const addOne = Effect.gen(function* () {
      let read = yield* bench.load(circuit)
      while (true) {
        const body = String(Number(read?.body ?? 0) + 1)
        const { record, swapped } = yield* bench.swap(circuit, { expectedEra: read?.era ?? 0, body })
        if (swapped) return
        read = record
      }
    })
    yield* Effect.forEach(Array(25), () => addOne, { concurrency: 8, discard: true })
    yield* equal((yield* bench.load(circuit))?.body, "25", "the count after 25 additions")
  })
]

export const live: ReadonlyArray<Trial> = [
  trial("a voice lives, once, from its list with a ttl until its list with 0", function* (bench) {
    const circuit = bench.name("circuit")
    const [a, b] = [bench.name("voice"), bench.name("voice")]
    const { live } = yield* bench.list()
    const cast = Effect.map(bench.cast(circuit, { voice: bench.name("voice") }), (answer) => answer.live)
    const stale = Effect.map(bench.cast(circuit, { era: 7 }), (answer) => answer.live)
    const read = Effect.map(bench.list(), (answer) => answer.live)
    const steps = [
      ["one lists", bench.join(a), 1],
      ["the same lists again", bench.join(a), 1],
      ["a second lists", bench.join(b), 2],
      ["the first lists with 0", bench.list(a, 0), 1],
      ["the first lists with 0 again", bench.list(a, 0), 1],
      ["the second lists with 0", bench.list(b, 0), 0]
    ] as const
    for (const [what, step, more] of steps) {
      yield* equal((yield* step).live - live, more, `how many more live after ${what}, by its own answer`)
      yield* equal((yield* read) - live, more, `how many more live after ${what}, by another's list`)
      yield* equal((yield* cast) - live, more, `how many more live after ${what}, by a cast (which is no sign of life)`)
      yield* equal((yield* stale) - live, more, `how many more live after ${what}, by a cast of another era`)
    }
  }),

  trial("a voice that is not heard of for its ttl no longer lives", function* (bench) {
    const circuit = bench.name("circuit")
    const { live } = yield* bench.list()
    for (const how of ["list", "cast"]) {
      const voice = bench.name("voice")
      yield* bench.join(voice, short)
      const look = Effect.gen(function* () {
        const answer = how === "list" ? yield* bench.list() : yield* bench.cast(circuit)
        return answer.live - live
      })
      yield* bench.until(look, (more) => more === 0, `that ${how} counts 0 more voices after a ttl of ${short} ms`)
    }
  }),

  trial("each list of a voice says anew how long it lives", function* (bench) {
    const { live } = yield* bench.list()
    const more = Effect.map(bench.list(), (answer) => answer.live - live)
    const voice = bench.name("voice")
    yield* bench.join(voice, 200)
    yield* bench.join(voice, long)
    yield* Effect.sleep(300)
    yield* equal(yield* more, 1, "how many more live 300 ms after lists with ttls of 200 ms and a minute")
    yield* bench.join(voice, short)
    yield* bench.until(more, (found) => found === 0, `that 0 more live after a list with a ttl of ${short} ms`)
  }),

  trial("of many voices that list at once each is counted", function* (bench) {
    const { live } = yield* bench.list()
    const voices = Array.from({ length: 50 }, () => bench.name("voice"))
    yield* Effect.forEach(voices, (voice) => bench.join(voice), { concurrency: "unbounded" })
    yield* equal((yield* bench.list()).live - live, 50, "how many more live")
    yield* Effect.forEach(voices, (voice) => bench.list(voice, 0), { concurrency: "unbounded" })
    yield* equal((yield* bench.list()).live - live, 0, "how many more live after they left")
  })
]
