import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, PubSub, Stream } from "effect"
import { SharedStore } from "effect-fuse"
import { SharedStoreContract } from "effect-fuse/testing"

/** What a store may get wrong, and the case that says so. */
const faults = [
  ["each handle has a store of its own", "handles are of one store"],
  ["a swap of any era writes where nothing is", "a circuit that nobody wrote"],
  ["a swap answers the record before it", "a swap writes the record"],
  ["a swap writes the body once", "a swap writes the record"],
  ["eras are answered as texts", "a swap writes the record"],
  ["answers never come", "a swap writes the record"],
  ["every operation fails", "a swap writes the record"],
  ["every operation dies", "a swap writes the record"],
  ["a swap keeps the era", "each swap gets a new era"],
  ["eras begin anew where nothing is", "each swap gets a new era"],
  ["eras are drawn at random", "each swap gets a new era"],
  ["a denied swap answers no record", "a swap of another era answers"],
  ["a denied swap writes its body", "a swap of another era answers"],
  ["a denied swap makes the record young", "a swap of another era answers"],
  ["a swap of a later era is done", "a swap of another era answers"],
  ["a swap of the same body is done again", "a swap said twice"],
  ["records never expire", "a record is forgotten"],
  ["list has what has expired", "a record is forgotten"],
  ["cast finds what has expired", "a record is forgotten"],
  ["ttls are seconds", "a record is forgotten"],
  ["ttls are microseconds", "a record is kept"],
  ["a record keeps its first ttl", "a record is kept"],
  ["a denied swap renews the ttl", "makes a record last neither longer"],
  ["a denied swap shortens the ttl", "makes a record last neither longer"],
  ["ages are seconds", "the age of a record"],
  ["a record is as old as its circuit", "the age of a record"],
  ["cast answers a record of no age", "the age of a record"],
  ["everything is listed", "list has what was last written"],
  ["a record is listed as its first was", "list has what was last written"],
  ["a denied swap changes the listing", "list has what was last written"],
  ["list has a page of 64", "list has all of a hundred"],
  ["list has some twice", "list has all of a hundred"],
  ["bodies are trimmed", "any text may be a body"],
  ["bodies are cut at 65,535", "any text may be a body"],
  ["names ignore case", "names of letters"],
  ["names are cut at 255", "names of letters"],
  ["a swap reads and then writes", "of many swaps of one era"],
  ["a swap reads and then writes", "no swap is lost"],
  ["a voice lives once for each list", "a voice lives, once"],
  ["a list with 0 changes nothing", "a voice lives, once"],
  ["casting is living", "a voice lives, once"],
  ["nobody lives for a cast of another era", "a voice lives, once"],
  ["voices live for good", "a voice that is not heard of"],
  ["a voice keeps its first ttl", "each list of a voice says anew"],
  ["lists at once lose each other", "of many voices that list"],
  ["sums have two places", "a tally adds up"],
  ["a ballot of zeros is none", "a tally adds up"],
  ["a ballot said twice counts twice", "a voice's ballot takes the place"],
  ["a voice keeps its first ballot", "a voice's ballot takes the place"],
  ["ballots cannot be taken back", "a ballot that is taken back"],
  ["a ballot taken back counts as one of none", "a ballot that is taken back"],
  ["ballots never expire", "a ballot no longer counts"],
  ["only a cast with a ballot sweeps", "a ballot no longer counts"],
  ["a ballot keeps its first ttl", "a ballot counts for its ttl"],
  ["ballots count for microseconds", "a ballot counts for its ttl"],
  ["casts of any era count", "a cast of another era changes nothing"],
  ["a cast of another era takes back", "a cast of another era changes nothing"],
  ["a cast of another era answers no record", "a cast of another era changes nothing"],
  ["a cast of another era begins an inquiry", "a cast of another era changes nothing"],
  ["without a record there is no box", "era 0 is the box"],
  ["a cast writes a record", "era 0 is the box"],
  ["a swap leaves the ballots", "a swap empties every box"],
  ["a swap empties one box", "a swap empties every box"],
  ["a swap leaves the inquiry", "a swap empties every box"],
  ["a denied swap empties the boxes", "a swap empties every box"],
  ["the ballots of era 0 come back", "the ballots of a record that was forgotten"],
  ["a circuit has one box", "boxes are apart"],
  ["circuits share their boxes", "boxes are apart"],
  ["a circuit has one inquiry", "boxes are apart"],
  ["every inquiry begins anew", "an inquiry is joined"],
  ["an inquiry never ends", "an inquiry is joined"],
  ["only who inquires hears of the inquiry", "an inquiry is joined"],
  ["sums are of 32 bits", "two hundred voices"],
  ["sums are rounded", "two hundred voices"],
  ["a box has a hundred voices", "two hundred voices"],
  ["a cast reads and then writes", "casts at once"],
  ["a cast answers half of a ballot", "casts at once"],
  ["a cast looks at the era and counts later", "casts and a swap"],
  ["the fifth voice takes the place of the first", "what five voices say"],
  ["announces nothing", "a swap is announced"],
  ["announces to one listener", "a swap is announced"],
  ["announces no era", "a swap is announced"],
  ["announced bodies are cut at 8,000", "an announced body"],
  ["announces no inquiry", "an inquiry is announced"],
  ["announces who joins", "an inquiry is announced"],
  ["announces no box", "an inquiry is announced"],
  ["announces denied swaps", "what changes nothing"],
  ["announces every cast", "what changes nothing"],
  ["announces inquiries of another era", "what changes nothing"]
] as const

type Fault = (typeof faults)[number][0]

interface Row {
  readonly era: number
  body: string
  readonly first: number
  at: number
  until: number
  listed: boolean
}

interface Box {
  readonly era: number
  asked: number | undefined
  readonly ballots: Map<string, { readonly numbers: ReadonlyArray<number>; readonly until: number }>
}

/** A store that is written in another way than the library's own, and has one fault, or none. */
const storeWith = (fault?: Fault): SharedStore.SharedStore => {
  const has = (...any: ReadonlyArray<Fault>): boolean => any.some((one) => one === fault)
  const rows = new Map<string, Row>()
  const boxes = new Map<string, Box>()
  const voices = new Map<string, number>()
  const announcements = Effect.runSync(PubSub.unbounded<SharedStore.Change>())
  let eras = 0
  let listeners = 0
  const now = () => Date.now()
  const announce = (change: SharedStore.Change): void => {
    if (!has("announces nothing")) PubSub.publishUnsafe(announcements, change)
  }
  const nameOf = (name: string): string => {
    if (has("names ignore case")) return name.toLowerCase()
    return has("names are cut at 255") ? name.slice(0, 255) : name
  }
  const until = (ttl: number | undefined): number => {
    const unit = has("ttls are seconds") ? 1000 : has("ttls are microseconds") ? 0.001 : 1
    return now() + (ttl ?? Infinity) * unit
  }
  const rowOf = (circuit: string): Row | undefined => {
    const row = rows.get(circuit)
    return row !== undefined && (now() < row.until || has("records never expire")) ? row : undefined
  }
  const answer = (row: Row | undefined): SharedStore.Stored | undefined => {
    if (row === undefined) return undefined
    const age = now() - (has("a record is as old as its circuit") ? row.first : row.at)
    const era = has("eras are answered as texts") ? (String(row.era) as unknown as number) : row.era
    return { era, body: row.body, age: has("ages are seconds") ? Math.floor(age / 1000) : age }
  }
  const pause = (...when: ReadonlyArray<Fault>) => (has(...when) ? Effect.sleep(5) : Effect.void)
  const boxKey = (circuit: string, box: string): string => {
    if (has("circuits share their boxes")) return box
    return `${circuit} ${has("a circuit has one box") ? "" : box}`
  }

  const swap = Effect.fnUntraced(function* (request: SharedStore.Swap) {
    const { expectedEra, listed, ttl } = request
    const circuit = nameOf(request.circuit)
    const row = rowOf(circuit)
    yield* pause("a swap reads and then writes")
    const era = row?.era ?? 0
    const fits =
      era === expectedEra ||
      (has("a swap of any era writes where nothing is") && row === undefined) ||
      (has("a swap of a later era is done") && expectedEra > era) ||
      (has("a swap of the same body is done again") && row?.body === request.body)
    if (!fits) {
      if (row !== undefined) {
        if (has("a denied swap writes its body")) row.body = request.body
        if (has("a denied swap makes the record young")) row.at = now()
        if (has("a denied swap renews the ttl")) row.until = Math.max(row.until, until(ttl))
        if (has("a denied swap shortens the ttl")) row.until = Math.min(row.until, until(ttl))
        if (has("a denied swap changes the listing")) row.listed = listed
      }
      if (has("a denied swap empties the boxes")) boxes.clear()
      if (has("announces denied swaps")) announce({ _tag: "Record", circuit, era, body: request.body })
      return { swapped: false, record: has("a denied swap answers no record") ? undefined : answer(row) }
    }
    eras = has("eras are drawn at random") ? 1 + Math.floor(Math.random() * 2 ** 40) : eras + 1
    const next = has("eras begin anew where nothing is") ? era + 1 : has("a swap keeps the era") && era > 0 ? era : eras
    const fresh = has("bodies are trimmed") ? request.body.trim() : request.body
    const body = has("a swap writes the body once") && row !== undefined ? row.body : fresh
    const made: Row = {
      era: next,
      body: has("bodies are cut at 65,535") ? body.slice(0, 65_535) : body,
      first: row?.first ?? now(),
      at: now(),
      until: has("a record keeps its first ttl") && row !== undefined ? row.until : until(ttl),
      listed: has("a record is listed as its first was") && row !== undefined ? row.listed : listed
    }
    rows.set(circuit, made)
    for (const [key, box] of boxes) {
      if (!key.startsWith(`${circuit} `)) continue
      if (has("a swap leaves the ballots")) boxes.set(key, { ...box, era: next, asked: undefined })
      else if (has("a swap leaves the inquiry")) boxes.set(key, { era: next, asked: box.asked, ballots: new Map() })
      else if (has("the ballots of era 0 come back") && box.era === 0) continue
      else if (has("a swap empties one box") && key.endsWith("y")) boxes.set(key, { ...box, era: next })
      else boxes.delete(key)
    }
    const announced = has("announced bodies are cut at 8,000") ? made.body.slice(0, 8_000) : made.body
    announce({ _tag: "Record", circuit, era: has("announces no era") ? 0 : next, body: announced })
    return { swapped: true, record: answer(has("a swap answers the record before it") ? (row ?? made) : made) }
  })

  const castIn = Effect.fnUntraced(function* (request: SharedStore.Cast, era: number) {
    const { ballot, box, circuit, inquire, ttl, voice } = request
    const key = boxKey(circuit, box)
    const known = boxes.get(key)
    const found: Box = known?.era === era ? known : { era, asked: undefined, ballots: new Map() }
    if (!(has("the ballots of era 0 come back") && known?.era === 0)) boxes.set(key, found)
    const { ballots } = found
    const before = ballots.get(voice)
    const others = new Map(ballots)
    yield* pause("a cast reads and then writes")
    if (has("a cast reads and then writes")) {
      ballots.clear()
      for (const [other, said] of others) ballots.set(other, said)
    }
    if (!has("ballots never expire") && !(has("only a cast with a ballot sweeps") && ballot === undefined)) {
      for (const [other, said] of ballots) if (now() >= said.until) ballots.delete(other)
    }
    if (ballot === undefined || (has("a ballot of zeros is none") && ballot.every((n) => n === 0))) {
      if (has("a ballot taken back counts as one of none") && before !== undefined) {
        ballots.set(voice, { numbers: [], until: Infinity })
      } else if (!has("ballots cannot be taken back")) ballots.delete(voice)
    } else {
      const twice =
        has("a ballot said twice counts twice") && before !== undefined && `${before.numbers}` === `${ballot}`
      const numbers = twice ? ballot.map((n) => n * 2) : ballot
      if (has("the fifth voice takes the place of the first") && before === undefined && ballots.size === 4) {
        ballots.delete([...ballots.keys()][0] ?? "")
      }
      if (has("a box has a hundred voices") && ballots.size >= 100) ballots.delete([...ballots.keys()][0] ?? "")
      ballots.set(voice, {
        numbers: has("a voice keeps its first ballot") && before !== undefined ? before.numbers : numbers,
        until:
          has("a ballot keeps its first ttl") && before !== undefined
            ? before.until
            : until(has("ballots count for microseconds") ? ttl / 1000 : ttl)
      })
    }
    if (has("a circuit has one inquiry")) {
      for (const [one, { asked }] of boxes) if (one.startsWith(`${circuit} `)) found.asked ??= asked
    }
    const age = now() - (found.asked ?? -Infinity)
    const anew = inquire > 0 && (found.asked === undefined || has("every inquiry begins anew") || age >= inquire)
    const begins = has("an inquiry never ends") && found.asked !== undefined ? false : anew
    if (begins) found.asked = now()
    if (has("announces every cast") || (inquire > 0 && (begins || has("announces who joins")))) {
      if (!has("announces no inquiry")) {
        announce({ _tag: "Inquiry", circuit, era, box: has("announces no box") ? "" : box })
      }
    }
    const sums: Array<number> = []
    for (const { numbers } of ballots.values()) {
      numbers.forEach((n, place) => {
        sums[place] = (sums[place] ?? 0) + n
      })
    }
    const short = has("sums have two places") ? sums.slice(0, 2) : sums
    const rounded = has("sums are rounded") ? short.map(Math.fround) : short
    const told = has("sums are of 32 bits") ? rounded.map((n) => n | 0) : rounded
    const half = has("a cast answers half of a ballot") && ballots.size > 1 ? told.map((n) => Math.floor(n / 2)) : told
    const asked = found.asked === undefined ? undefined : now() - found.asked
    const hears = !has("only who inquires hears of the inquiry") || inquire > 0
    return { voices: ballots.size, sums: half, asked: hears ? asked : undefined }
  })

  const cast = Effect.fnUntraced(function* (asked: SharedStore.Cast) {
    const request = { ...asked, circuit: nameOf(asked.circuit), box: nameOf(asked.box), voice: nameOf(asked.voice) }
    const { circuit, era, inquire, ttl, voice } = request
    const row = has("cast finds what has expired") ? rows.get(circuit) : rowOf(circuit)
    const record = answer(row)
    if (has("casting is living")) voices.set(voice, now() + ttl)
    if (has("a cast writes a record") && row === undefined)
      yield* swap({ circuit, expectedEra: 0, body: "", ttl, listed: true })
    if ((row?.era ?? 0) !== era && !has("casts of any era count")) {
      if (has("a cast of another era takes back")) boxes.get(boxKey(circuit, request.box))?.ballots.delete(voice)
      const box = boxes.get(boxKey(circuit, request.box))
      if (has("a cast of another era begins an inquiry") && box !== undefined && inquire > 0) box.asked = now()
      if (has("announces inquiries of another era")) announce({ _tag: "Inquiry", circuit, era, box: request.box })
      const live = has("nobody lives for a cast of another era") ? 0 : alive()
      return { record: has("a cast of another era answers no record") ? undefined : record, tally: undefined, live }
    }
    if (row === undefined && has("without a record there is no box")) return { record, tally: undefined, live: alive() }
    yield* pause("a cast looks at the era and counts later")
    const late = has("a cast looks at the era and counts later") ? (rowOf(circuit)?.era ?? 0) : (row?.era ?? 0)
    const tally = yield* castIn(request, late)
    const told = has("cast answers a record of no age") && record !== undefined ? { ...record, age: 0 } : record
    return { record: told, tally, live: alive() }
  })

  const alive = (): number => [...voices.values()].filter((end) => now() < end || has("voices live for good")).length

  const list = Effect.fnUntraced(function* (name: string, ttl: number) {
    const voice = has("a voice lives once for each list") ? `${name} ${listeners++}` : name
    const others = new Map(voices)
    yield* pause("lists at once lose each other")
    if (has("lists at once lose each other")) {
      voices.clear()
      for (const [other, end] of others) voices.set(other, end)
    }
    const known = voices.get(voice)
    if (ttl > 0) voices.set(voice, has("a voice keeps its first ttl") && known !== undefined ? known : now() + ttl)
    else if (!has("a list with 0 changes nothing")) voices.delete(voice)
    const records: Array<SharedStore.Listed> = []
    for (const [circuit, row] of rows) {
      const record = answer(has("list has what has expired") ? row : rowOf(circuit))
      if (record === undefined || !(row.listed || has("everything is listed"))) continue
      records.push({ circuit, ...record })
      if (has("list has some twice") && records.length % 10 === 0) records.push({ circuit, ...record })
    }
    return { records: has("list has a page of 64") ? records.slice(0, 64) : records, live: alive() }
  })

  const load = (circuit: string) => Effect.sync(() => answer(rowOf(nameOf(circuit))))

  const through = <A>(
    operation: SharedStore.StoreError["operation"],
    effect: Effect.Effect<A>
  ): Effect.Effect<A, SharedStore.StoreError> => {
    if (has("answers never come")) return Effect.never
    if (has("every operation dies")) return Effect.die("a bug")
    if (has("every operation fails")) return Effect.fail(new SharedStore.StoreError({ operation, cause: "no route" }))
    return effect
  }

  return {
    cast: (request) => through("cast", cast(request)),
    swap: (request) => through("swap", swap(request)),
    load: (circuit) => through("load", load(circuit)),
    list: (voice, ttl) => through("list", list(voice, ttl)),
    changes: Stream.suspend(() =>
      has("announces to one listener") && listeners++ > 0 ? Stream.never : Stream.fromPubSub(announcements)
    )
  }
}

const handleOf = (fault?: Fault) => {
  if (fault === "each handle has a store of its own") return Effect.sync(() => storeWith())
  const store = storeWith(fault)
  return Effect.sync(() => store)
}

const names = SharedStoreContract.cases(handleOf()).map(({ name }) => name)

describe("SharedStore.makeMemory", () => {
  const memory = Effect.runSync(SharedStore.makeMemory)
  for (const { name, test } of SharedStoreContract.cases(Effect.succeed(memory))) it.live(name, () => test)
})

describe.concurrent("the contract", () => {
  it.live("is kept by a store that is written in another way", () =>
    Effect.catch(SharedStoreContract.run(handleOf(), { patience: 1_000 }), (violations) =>
      Effect.sync(() => assert.fail(violations.map(({ message }) => message).join("\n")))
    )
  )

  for (const [fault, caughtBy] of faults) {
    it.live(`is broken where ${fault}: ${caughtBy} ...`, () =>
      Effect.gen(function* () {
        const found = SharedStoreContract.cases(handleOf(fault), { patience: 300 }).filter(({ name }) =>
          name.includes(caughtBy)
        )
        assert.strictEqual(found.length, 1, "the row names one case")
        for (const { name, test } of found) {
          const violation = yield* Effect.flip(Effect.scoped(test))
          assert.instanceOf(violation, SharedStoreContract.ContractViolation)
          assert.strictEqual(violation.case, name)
          assert.strictEqual(
            violation.message,
            `${name}\n  expected ${violation.expected}\n  but found ${violation.actual}`
          )
          assert.isAbove(violation.expected.length, 5)
          assert.isAbove(violation.actual.length, 0)
        }
      })
    )
  }

  it("has no case that no store fails", () => {
    const caught = faults.map(([, caughtBy]) => names.find((name) => name.includes(caughtBy)))
    assert.deepStrictEqual(
      names.filter((name) => !caught.includes(name)),
      []
    )
  })

  it("has a name of its own for each case", () => {
    assert.strictEqual(new Set(names).size, names.length)
  })

  it.live("is run to its end, and all that is broken is told", () =>
    Effect.gen(function* () {
      const violations = yield* Effect.flip(SharedStoreContract.run(handleOf("every operation fails")))
      assert.deepStrictEqual(
        violations.map((violation) => violation.case),
        names
      )
      for (const { actual } of violations) assert.include(actual, "no route")
    })
  )

  it.live("is broken by a store that cannot be made", () =>
    Effect.gen(function* () {
      for (const make of [Effect.fail("no server"), Effect.die("no server")]) {
        const [first] = yield* Effect.flip(SharedStoreContract.run(make))
        assert.include(first?.actual, "no server")
        assert.strictEqual(first?.expected, "a handle on the store")
      }
    })
  )

  it.live("asks for no announcements of a store that makes none", () =>
    Effect.gen(function* () {
      const cases = SharedStoreContract.cases(handleOf("announces nothing"), { announces: false })
      assert.isBelow(cases.length, names.length)
      yield* SharedStoreContract.run(handleOf("announces nothing"), { announces: false })
    })
  )

  it.live("leaves no voice behind", () =>
    Effect.gen(function* () {
      const store = storeWith()
      const handle = Effect.succeed(store)
      yield* Effect.exit(SharedStoreContract.run(handle))
      assert.strictEqual((yield* store.list("nobody", 0)).live, 0)
    })
  )

  it.live("is interrupted as any effect", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Effect.timeout(SharedStoreContract.run(handleOf("answers never come")), "50 millis")
      )
      assert.isTrue(exit._tag === "Failure" && Cause.hasFails(exit.cause))
    })
  )
})
