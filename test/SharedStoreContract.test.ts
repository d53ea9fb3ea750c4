import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, PubSub, Stream } from "effect"
import { MemoryStore, SharedStore } from "effect-fuse"
import { SharedStoreContract } from "effect-fuse/testing"

/** Faults of a store, each with part of the name of the test that finds it. */
const faults = [
  ["each handle has a store of its own", "handles are of one store"],
  ["a swap of any epoch writes where nothing is", "a circuit that was"],
  ["a swap answers the record before it", "a swap writes the record"],
  ["a swap writes the body once", "a swap writes the record"],
  ["epochs are answered as texts", "a swap writes the record"],
  ["answers never come", "a swap writes the record"],
  ["every operation fails", "a swap writes the record"],
  ["every operation dies", "a swap writes the record"],
  ["a swap keeps the epoch", "each swap gets a new epoch"],
  ["epochs start again without a record", "each swap gets a new epoch"],
  ["epochs are drawn at random", "each swap gets a new epoch"],
  ["a denied swap answers no record", "a swap of another epoch returns"],
  ["a denied swap writes its body", "a swap of another epoch returns"],
  ["a denied swap makes the record young", "a swap of another epoch returns"],
  ["a swap of a later epoch is done", "a swap of another epoch returns"],
  ["a repeated swap is done again", "a repeated swap is"],
  ["records never expire", "a record expires when"],
  ["a page has what has expired", "a record expires when"],
  ["cast finds what has expired", "a record expires when"],
  ["ttls are seconds", "a record expires when"],
  ["ttls are microseconds", "a record lasts for"],
  ["a record keeps its first ttl", "a record lasts for"],
  ["a denied swap renews the ttl", "a swap of another epoch does"],
  ["a denied swap shortens the ttl", "a swap of another epoch does"],
  ["ages are seconds", "the age of a record"],
  ["a record is as old as its circuit", "the age of a record"],
  ["cast answers a record of no age", "the age of a record"],
  ["everything is listed", "the pages have each"],
  ["a record is listed as its first was", "the pages have each"],
  ["a denied swap changes the listing", "the pages have each"],
  ["bodies are trimmed", "any text may be a body"],
  ["bodies are cut at 65,535", "any text may be a body"],
  ["names ignore case", "names of letters"],
  ["names are cut at 255", "names of letters"],
  ["a swap reads and then writes", "one of many concurrent swaps"],
  ["a swap reads and then writes", "no swap is lost"],
  ["a voter lives once for each exchange", "a voter counts as"],
  ["an exchange with 0 changes nothing", "a voter counts as"],
  ["voters live for good", "a voter without an"],
  ["a voter keeps its first ttl", "each exchange of a"],
  ["heartbeats at once lose each other", "of many voters with"],
  ["sums have two places", "a tally is the"],
  ["a ballot of zeros is none", "a tally is the"],
  ["a repeated ballot counts twice", "a voter's ballot replaces"],
  ["a voter keeps its first ballot", "a voter's ballot replaces"],
  ["ballots cannot be withdrawn", "a withdrawn ballot no"],
  ["a withdrawn ballot counts as a ballot of zeros", "a withdrawn ballot no"],
  ["ballots never expire", "a ballot no longer counts"],
  ["only a cast with a ballot sweeps", "a ballot no longer counts"],
  ["a ballot keeps its first ttl", "a ballot counts for its ttl"],
  ["ballots count for microseconds", "a ballot counts for its ttl"],
  ["casts of any epoch count", "a cast of another epoch changes nothing"],
  ["a cast of another epoch withdraws", "a cast of another epoch changes nothing"],
  ["a cast of another epoch answers no record", "a cast of another epoch changes nothing"],
  ["a cast of another epoch begins an inquiry", "a cast of another epoch changes nothing"],
  ["without a record there is no box", "epoch 0 is the box"],
  ["a cast writes a record", "epoch 0 is the box"],
  ["a swap leaves the ballots", "a swap empties every box"],
  ["a swap empties one box", "a swap empties every box"],
  ["a swap leaves the inquiry", "a swap empties every box"],
  ["a denied swap empties the boxes", "a swap empties every box"],
  ["the ballots of epoch 0 come back", "after a record expired"],
  ["a circuit has one box", "boxes are independent, and"],
  ["circuits share their boxes", "boxes are independent, and"],
  ["a circuit has one inquiry", "boxes are independent, and"],
  ["every cast begins a new inquiry", "casts join an inquiry"],
  ["an inquiry never ends", "casts join an inquiry"],
  ["only the voter that inquires hears of the inquiry", "casts join an inquiry"],
  ["sums are of 32 bits", "the sums of two"],
  ["sums are rounded", "the sums of two"],
  ["a box has a hundred voters", "the sums of two"],
  ["a cast reads and then writes", "concurrent casts are all"],
  ["a cast answers half of a ballot", "concurrent casts are all"],
  ["a cast looks at the epoch and counts later", "casts and a swap"],
  ["the fifth voter takes the place of the first", "random casts and withdrawals"],
  ["a late exchange is done", "an exchange after its deadline"],
  ["a late exchange is a heartbeat", "an exchange after its deadline"],
  ["a deadline is ignored by swaps", "an exchange after its deadline"],
  ["times are seconds", "the returned time advances"],
  ["a store is young again with each exchange", "a store returns for"],
  ["swaps are answered backwards", "an exchange does many casts and swaps"],
  ["an exchange does sixteen casts", "an exchange does many casts and swaps"],
  ["swaps come before casts", "an exchange runs casts"],
  ["a repeated exchange begins a second roll call", "a repeated exchange has"],
  ["the floor is ignored", "a new epoch is above the floor"],
  ["the floor is no more than once an epoch", "a new epoch is above the floor"],
  ["load leaves out what is not there", "load returns the records"],
  ["pages are ordered by name", "the pages have all changes"],
  ["a page has some twice", "the pages have all changes"],
  ["a page has only what is listed", "a page shows that"],
  ["a page counts what has ended", "a page counts the records that are listed"],
  ["reading is living", "reads write nothing"],
  ["abstentions are those that heard", "a live voter that"],
  ["silence abstains", "a live voter that"],
  ["hearing comes before the casts", "`heard` counts from the exchange after"],
  ["the dead have heard", "a voter that no"],
  ["the ballots of the dead count", "a voter that no"],
  ["a ballot ends with the first ttl of its voter", "a ballot ends with"],
  ["every cast begins a new roll call", "casts join a roll"],
  ["the roll is called once", "casts join a roll"],
  ["a roll call has the same term as all", "a roll call counts for its term"],
  ["a roll call never ends", "a roll call counts for its term"],
  ["a roll call is as long as it is said to be", "a roll call counts for its term"],
  ["hearing in another life counts", "a `heard` of another"],
  ["every answer has a life of its own", "a store returns the"],
  ["a page has no life", "a store returns the"],
  ["a roll call names none before it", "an exchange returns the"],
  ["all roll calls are answered", "an exchange returns the"],
  ["hearing beyond the head counts", "a `heard` beyond the"],
  ["a swap leaves the roll call", "a swap ends the roll call"],
  ["a thousand roll calls are answered", "an answer has a"],
  ["a voter keeps its first digest", "the digest of a live"],
  ["a heartbeat without a digest removes it", "the digest of a live"],
  ["only heartbeats carry digests", "an exchange with casts and swaps carries"],
  ["a late exchange changes the digest", "a digest that comes after"],
  ["digests outlive their voters", "a digest ends with"],
  ["a voter that lives again has its digest again", "a digest ends with"],
  ["digests are cut at 4,000", "a digest may have"],
  ["digests are trimmed", "a digest may have"],
  ["the first digests are all", "the answers together"],
  ["all digests are in one answer", "the answers together"],
  ["announces nothing", "a swap is announced"],
  ["announces no roll call", "a roll call is announced"],
  ["announces to one listener", "a swap is announced"],
  ["announces no epoch", "a swap is announced"],
  ["announced bodies are cut at 8,000", "an announced body"],
  ["announces no inquiry", "an inquiry is announced"],
  ["announces each voter that joins", "an inquiry is announced"],
  ["announces no box", "an inquiry is announced"],
  ["announces denied swaps", "an exchange that changes"],
  ["announces every cast", "an exchange that changes"],
  ["announces inquiries of another epoch", "an exchange that changes"]
] as const

type Fault = (typeof faults)[number][0]

interface Row {
  readonly epoch: number
  body: string
  readonly first: number
  at: number
  until: number
  listed: boolean
}

interface Box {
  readonly epoch: number
  asked: number | undefined
  roll?: { readonly seq: number; readonly at: number; readonly term: number } | undefined
  readonly ballots: Map<string, Ballot>
}

interface Ballot {
  readonly numbers: ReadonlyArray<number>
  readonly until: number
}

interface Voter {
  until: number
  heard: number
}

/** A store that is written in another way than the library's own, and has one fault, or none. */
const storeWith = (fault?: Fault): SharedStore.SharedStore => {
  const has = (...any: ReadonlyArray<Fault>): boolean => any.some((one) => one === fault)
  const rows = new Map<string, Row>()
  const boxes = new Map<string, Box>()
  const voters = new Map<string, Voter>()
  const digests = new Map<string, string>()
  const log: Array<SharedStore.RollCall> = []
  let bornAt: number | undefined
  const life = globalThis.crypto.randomUUID()
  let head = 0
  const announcements = Effect.runSync(PubSub.unbounded<SharedStore.Change>())
  let epochs = 0
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
    const epoch = has("epochs are answered as texts") ? (String(row.epoch) as unknown as number) : row.epoch
    return { epoch, body: row.body, age: has("ages are seconds") ? Math.floor(age / 1000) : age }
  }
  const pause = (...when: ReadonlyArray<Fault>) => (has(...when) ? Effect.sleep(5) : Effect.void)
  const boxKey = (circuit: string, box: string): string => {
    if (has("circuits share their boxes")) return box
    return `${circuit} ${has("a circuit has one box") ? "" : box}`
  }

  const swap = Effect.fnUntraced(function* (request: SharedStore.Swap, floor = 0) {
    const { expectedEpoch, listed, ttl } = request
    const circuit = nameOf(request.circuit)
    const row = rowOf(circuit)
    yield* pause("a swap reads and then writes")
    const epoch = row?.epoch ?? 0
    const fits =
      epoch === expectedEpoch ||
      (has("a swap of any epoch writes where nothing is") && row === undefined) ||
      (has("a swap of a later epoch is done") && expectedEpoch > epoch) ||
      (has("a repeated swap is done again") && row?.body === request.body)
    if (!fits) {
      if (row !== undefined) {
        if (has("a denied swap writes its body")) row.body = request.body
        if (has("a denied swap makes the record young")) row.at = now()
        if (has("a denied swap renews the ttl")) row.until = Math.max(row.until, until(ttl))
        if (has("a denied swap shortens the ttl")) row.until = Math.min(row.until, until(ttl))
        if (has("a denied swap changes the listing")) row.listed = listed
      }
      if (has("a denied swap empties the boxes")) boxes.clear()
      if (has("announces denied swaps")) announce({ _tag: "Record", circuit, epoch, body: request.body })
      return { swapped: false, record: has("a denied swap answers no record") ? undefined : answer(row) }
    }
    epochs = has("epochs are drawn at random")
      ? 1 + Math.floor(Math.random() * 2 ** 40)
      : Math.max(epochs, has("the floor is ignored") ? 0 : floor) + 1
    const next = has("epochs start again without a record")
      ? epoch + 1
      : has("a swap keeps the epoch") && epoch > 0
        ? epoch
        : epochs
    const fresh = has("bodies are trimmed") ? request.body.trim() : request.body
    const body = has("a swap writes the body once") && row !== undefined ? row.body : fresh
    const made: Row = {
      epoch: next,
      body: has("bodies are cut at 65,535") ? body.slice(0, 65_535) : body,
      first: row?.first ?? now(),
      at: now(),
      until: has("a record keeps its first ttl") && row !== undefined ? row.until : until(ttl),
      listed: has("a record is listed as its first was") && row !== undefined ? row.listed : listed
    }
    if (has("the floor is no more than once an epoch") && floor > 0) epochs -= floor
    rows.delete(circuit)
    rows.set(circuit, made)
    for (const [key, box] of boxes) {
      if (!key.startsWith(`${circuit} `)) continue
      if (has("a swap leaves the roll call"))
        boxes.set(key, { epoch: next, asked: undefined, roll: box.roll, ballots: new Map() })
      else if (has("a swap leaves the ballots")) boxes.set(key, { ...box, epoch: next, asked: undefined })
      else if (has("a swap leaves the inquiry")) boxes.set(key, { epoch: next, asked: box.asked, ballots: new Map() })
      else if (has("the ballots of epoch 0 come back") && box.epoch === 0) continue
      else if (has("a swap empties one box") && key.endsWith("y")) boxes.set(key, { ...box, epoch: next })
      else boxes.delete(key)
    }
    const announced = has("announced bodies are cut at 8,000") ? made.body.slice(0, 8_000) : made.body
    announce({ _tag: "Record", circuit, epoch: has("announces no epoch") ? 0 : next, body: announced })
    return { swapped: true, record: answer(has("a swap answers the record before it") ? (row ?? made) : made) }
  })

  const castIn = Effect.fnUntraced(function* (request: SharedStore.Cast, voter: string, epoch: number) {
    const { ballot, box, circuit, inquire, roll, ttl } = request
    const key = boxKey(circuit, box)
    const known = boxes.get(key)
    const found: Box = known?.epoch === epoch ? known : { epoch, asked: undefined, ballots: new Map() }
    if (!(has("the ballots of epoch 0 come back") && known?.epoch === 0)) boxes.set(key, found)
    const { ballots } = found
    const before = ballots.get(voter)
    const others = new Map(ballots)
    yield* pause("a cast reads and then writes")
    if (has("a cast reads and then writes")) {
      ballots.clear()
      for (const [other, said] of others) ballots.set(other, said)
    }
    for (const other of ballots.keys())
      if (!has("the ballots of the dead count") && !lives(other)) ballots.delete(other)
    if (!has("ballots never expire") && !(has("only a cast with a ballot sweeps") && ballot === undefined)) {
      for (const [other, said] of ballots) if (now() >= said.until) ballots.delete(other)
    }
    if (ballot === undefined || (has("a ballot of zeros is none") && ballot.every((n) => n === 0))) {
      if (has("a withdrawn ballot counts as a ballot of zeros") && before !== undefined) {
        ballots.set(voter, { numbers: [], until: Infinity })
      } else if (!has("ballots cannot be withdrawn")) ballots.delete(voter)
    } else if (lives(voter)) {
      const twice = has("a repeated ballot counts twice") && before !== undefined && `${before.numbers}` === `${ballot}`
      const numbers = twice ? ballot.map((n) => n * 2) : ballot
      if (has("the fifth voter takes the place of the first") && before === undefined && ballots.size === 4) {
        ballots.delete([...ballots.keys()][0] ?? "")
      }
      if (has("a box has a hundred voters") && ballots.size >= 100) ballots.delete([...ballots.keys()][0] ?? "")
      ballots.set(voter, {
        numbers: has("a voter keeps its first ballot") && before !== undefined ? before.numbers : numbers,
        until:
          has("a ballot keeps its first ttl") && before !== undefined
            ? before.until
            : Math.min(
                until(has("ballots count for microseconds") ? ttl / 1000 : ttl),
                has("a ballot ends with the first ttl of its voter") ? (firstUntil.get(voter) ?? 0) : Infinity
              )
      })
    }
    if (has("a circuit has one inquiry")) {
      for (const [one, { asked }] of boxes) if (one.startsWith(`${circuit} `)) found.asked ??= asked
    }
    const age = now() - (found.asked ?? -Infinity)
    const anew =
      ballot !== undefined &&
      inquire > 0 &&
      (found.asked === undefined || has("every cast begins a new inquiry") || age >= inquire)
    const begins = has("an inquiry never ends") && found.asked !== undefined ? false : anew
    if (begins) found.asked = now()
    if (
      has("announces every cast") ||
      (ballot !== undefined && inquire > 0 && (begins || has("announces each voter that joins")))
    ) {
      if (!has("announces no inquiry")) {
        announce({ _tag: "Inquiry", circuit, epoch, box: has("announces no box") ? "" : box })
      }
    }
    const calling = () =>
      found.roll !== undefined && (has("a roll call never ends") || now() - found.roll.at < found.roll.term)
        ? found.roll
        : undefined
    const young = has("the roll is called once") ? found.roll !== undefined : now() - (calling()?.at ?? 0) < roll
    if (
      ballot !== undefined &&
      roll > 0 &&
      (!young || has("every cast begins a new roll call", "a repeated exchange begins a second roll call"))
    ) {
      const most = has("a roll call is as long as it is said to be") ? Infinity : SharedStore.limits.rollCallMillis
      const term = has("a roll call has the same term as all") ? 60_000 : Math.min(roll, most)
      const prev = has("a roll call names none before it") ? 0 : head
      const called = { seq: head + 1, prev, circuit, epoch, box, term }
      head = called.seq
      found.roll = { seq: called.seq, at: now(), term }
      log.push(called)
      if (!has("announces no roll call")) announce({ _tag: "RollCall", ...called })
    }
    const counting = calling()
    const seq = counting?.seq ?? Infinity
    const heard = [...voters].filter(([name, one]) => {
      if (!lives(name) && !has("the dead have heard")) return false
      return one.heard >= seq || (has("silence abstains") && counting !== undefined)
    }).length
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
    const hears = !has("only the voter that inquires hears of the inquiry") || inquire > 0
    const rolled = counting === undefined ? undefined : now() - counting.at
    const abstained = has("abstentions are those that heard") ? heard : Math.max(0, heard - ballots.size)
    return { voters: ballots.size, sums: half, asked: hears ? asked : undefined, rolled, abstained }
  })

  const cast = Effect.fnUntraced(function* (asked: SharedStore.Cast, name: string) {
    const request = { ...asked, circuit: nameOf(asked.circuit), box: nameOf(asked.box) }
    const voter = nameOf(name)
    const { circuit, epoch, inquire, ttl } = request
    const row = has("cast finds what has expired") ? rows.get(circuit) : rowOf(circuit)
    const record = answer(row)
    if (has("a cast writes a record") && row === undefined)
      yield* swap({ circuit, expectedEpoch: 0, body: "", ttl, listed: true })
    if ((row?.epoch ?? 0) !== epoch && !has("casts of any epoch count")) {
      if (has("a cast of another epoch withdraws")) boxes.get(boxKey(circuit, request.box))?.ballots.delete(voter)
      const box = boxes.get(boxKey(circuit, request.box))
      if (has("a cast of another epoch begins an inquiry") && box !== undefined && inquire > 0) box.asked = now()
      if (has("announces inquiries of another epoch")) announce({ _tag: "Inquiry", circuit, epoch, box: request.box })
      return { record: has("a cast of another epoch answers no record") ? undefined : record, tally: undefined }
    }
    if (row === undefined && has("without a record there is no box")) return { record, tally: undefined }
    yield* pause("a cast looks at the epoch and counts later")
    const late = has("a cast looks at the epoch and counts later") ? (rowOf(circuit)?.epoch ?? 0) : (row?.epoch ?? 0)
    const tally = yield* castIn(request, voter, late)
    const told = has("cast answers a record of no age") && record !== undefined ? { ...record, age: 0 } : record
    return { record: told, tally }
  })

  const firstUntil = new Map<string, number>()
  const lives = (voter: string): boolean => now() < (voters.get(voter)?.until ?? 0) || has("voters live for good")
  const alive = (): number => [...voters.keys()].filter(lives).length
  const time = (): number => (has("times are seconds") ? Math.floor(now() / 1000) : now())

  const renew = Effect.fnUntraced(function* (name: string, ttl: number) {
    const voter = has("a voter lives once for each exchange") ? `${name} ${listeners++}` : name
    const others = new Map(voters)
    yield* pause("heartbeats at once lose each other")
    if (has("heartbeats at once lose each other")) {
      voters.clear()
      for (const [other, one] of others) voters.set(other, one)
    }
    const known = voters.get(voter)
    const until = has("a voter keeps its first ttl") && known !== undefined ? known.until : now() + ttl
    if (ttl > 0) voters.set(voter, { until, heard: known?.heard ?? 0 })
    else if (!has("an exchange with 0 changes nothing")) voters.delete(voter)
    if (!firstUntil.has(voter)) firstUntil.set(voter, until)
  })

  const exchange = Effect.fnUntraced(function* (request: SharedStore.Exchange) {
    const { casts, digest, floor, heard, notAfter, swaps, ttl } = request
    const voter = nameOf(request.voter)
    if (has("a late exchange changes the digest") && digest !== undefined) digests.set(voter, digest)
    if (notAfter !== undefined && now() > notAfter && !has("a late exchange is done")) {
      if (has("a late exchange is a heartbeat")) yield* renew(voter, ttl)
      if (has("a deadline is ignored by swaps")) for (const one of swaps) yield* swap(one, floor)
      return { _tag: "Late" as const, time: time() }
    }
    if (bornAt === undefined || has("a store is young again with each exchange")) bornAt = now()
    const lived = lives(voter)
    yield* renew(voter, ttl)
    if (ttl <= 0 || !lived) {
      const stays = has("a voter that lives again has its digest again", "digests outlive their voters")
      if (!stays) digests.delete(voter)
    }
    if (has("a heartbeat without a digest removes it") && digest === undefined) digests.delete(voter)
    const carries = digest !== undefined && !(has("only heartbeats carry digests") && casts.length > 0)
    if (carries && !(has("a voter keeps its first digest") && digests.has(voter))) {
      const trimmed = has("digests are trimmed") ? digest.trim() : digest
      digests.set(voter, has("digests are cut at 4,000") ? trimmed.slice(0, 4_000) : trimmed)
    }
    const hears = (): number => {
      const isOther = request.life !== life && !has("hearing in another life counts")
      const valid = isOther || (heard > head && !has("hearing beyond the head counts")) ? 0 : heard
      const known = voters.get(voter)
      if (known !== undefined) known.heard = valid
      return valid
    }
    if (has("hearing comes before the casts")) hears()
    const swapAll = Effect.forEach(swaps, (one) => swap(one, floor))
    const early = has("swaps come before casts") ? yield* swapAll : []
    const castAnswers: Array<SharedStore.CastAnswer> = []
    for (const one of has("an exchange does sixteen casts") ? casts.slice(0, 16) : casts) {
      castAnswers.push(yield* cast(one, voter))
    }
    const swapAnswers = has("swaps come before casts") ? early : yield* swapAll
    const valid = hears()
    const most = has("a thousand roll calls are answered") ? 1_000 : SharedStore.limits.rollCalls
    const rollCalls = log.filter(({ seq }) => seq > valid || has("all roll calls are answered")).slice(0, most)
    return {
      _tag: "Done" as const,
      time: time(),
      live: alive(),
      liveFor: now() - bornAt,
      life: has("every answer has a life of its own") ? globalThis.crypto.randomUUID() : life,
      head,
      rollCalls,
      casts: castAnswers,
      swaps: has("swaps are answered backwards") ? [...swapAnswers].reverse() : swapAnswers
    }
  })

  const page = Effect.fnUntraced(function* (since: number, limit: number) {
    if (has("reading is living")) yield* renew(`reader ${listeners++}`, 1_000)
    const changes: Array<SharedStore.Changed> = []
    let listed = 0
    for (const [circuit, row] of rows) {
      const record = answer(has("a page has what has expired") ? row : rowOf(circuit))
      const shown = row.listed || has("everything is listed")
      if (shown && (record !== undefined || has("a page counts what has ended"))) listed++
      if (row.epoch <= since || (has("a page has only what is listed") && !shown)) continue
      changes.push({ circuit, epoch: row.epoch, listed: shown, record })
      if (has("a page has some twice") && changes.length % 5 === 0) {
        changes.push({ circuit, epoch: row.epoch, listed: shown, record })
      }
    }
    if (has("pages are ordered by name")) changes.sort((a, b) => (a.circuit < b.circuit ? -1 : 1))
    else changes.sort((a, b) => a.epoch - b.epoch)
    return {
      time: time(),
      live: alive(),
      life: has("a page has no life") ? "" : life,
      epoch: epochs,
      trimmed: 0,
      listed,
      changes: changes.slice(0, limit)
    }
  })

  const load = (circuits: ReadonlyArray<string>) =>
    Effect.sync(() => {
      const records = circuits.map((circuit) => answer(rowOf(nameOf(circuit))))
      return {
        time: time(),
        records: has("load leaves out what is not there") ? records.filter((one) => one !== undefined) : records
      }
    })

  const digestsAfter = (after: string) =>
    Effect.sync((): SharedStore.DigestsAnswer => {
      const most = has("all digests are in one answer") ? Infinity : SharedStore.limits.digests
      const all = [...digests]
        .filter(([voter]) => voter > after && (has("digests outlive their voters") || lives(voter)))
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([voter, digest]) => ({ voter, digest }))
      const some = all.slice(0, most)
      const isLast = some.length === all.length || has("the first digests are all")
      return { time: time(), digests: some, next: isLast ? undefined : some.at(-1)?.voter }
    })

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
    exchange: (request) => through("exchange", exchange(request)),
    page: (since, limit) => through("page", page(since, limit)),
    load: (circuits) => through("load", load(circuits)),
    digests: (after) => through("digests", digestsAfter(after)),
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

describe("MemoryStore.make", () => {
  const memory = Effect.runSync(MemoryStore.make)
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

  it.live("is run to its end, and all violations are reported", () =>
    Effect.gen(function* () {
      const violations = yield* Effect.flip(SharedStoreContract.run(handleOf("every operation fails")))
      assert.deepStrictEqual(
        violations.map((violation) => violation.case),
        names
      )
      for (const { actual } of violations) assert.include(actual, "no route")
    })
  )

  // A store in JavaScript, or a store with a wrong cast, may do this.
  const malformed: ReadonlyArray<readonly [what: string, fault: object, problem: RegExp]> = [
    ["a page that is undefined", { page: () => Effect.undefined }, /an object as answer/],
    ["a page without changes", { page: () => Effect.succeed({ time: 1 }) }, /undefined/],
    [
      "an exchange that is undefined",
      { exchange: () => Effect.undefined },
      /an object as answer\n {2}but found nothing/
    ],
    [
      "an exchange that does not answer its casts and swaps",
      { exchange: () => Effect.succeed({ _tag: "Done" }) },
      /a time of 0 or more/
    ],
    ["an exchange in a promise", { exchange: () => Promise.resolve({}) }, /not an Effect: \[object Promise\]/],
    ["no operation page", { page: undefined }, /page is not a function/],
    ["records that are undefined", { load: () => Effect.succeed({ time: 1 }) }, /undefined/],
    ["digests that are undefined", { digests: () => Effect.undefined }, /an object as answer/]
  ]
  for (const [what, fault, problem] of malformed) {
    it.live(`reports a violation for ${what}, and runs to its end`, () =>
      Effect.gen(function* () {
        const store = { ...storeWith(), ...fault } as SharedStore.SharedStore
        const violations = yield* Effect.flip(SharedStoreContract.run(Effect.succeed(store), { patience: 60 }))
        assert.isTrue(
          violations.some(({ message }) => problem.test(message)),
          violations.map(String).join()
        )
      })
    )
  }

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

  it.live("leaves no voter behind", () =>
    Effect.gen(function* () {
      const store = storeWith()
      const handle = Effect.succeed(store)
      yield* Effect.exit(SharedStoreContract.run(handle))
      assert.strictEqual((yield* store.page(0, 1)).live, 0)
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
