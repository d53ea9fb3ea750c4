/**
 * What a store must do so that the circuits of many processes become one.
 *
 * **When to use**
 *
 * To keep a fleet's circuits in a store of your own: implement {@link SharedStore}, hand it to `BreakerStore.layerShared`,
 * and run the suite of `effect-fuse/testing` on it. {@link makeMemory} is the shortest example, and the store for tests.
 *
 * **What it keeps**
 *
 * For each circuit a *record* and a *ballot box*, and for all of them who is *live*. A record is a text that the store
 * never reads, with an `era`: a number that it gives anew at each swap, greater than any that it gave this circuit before,
 * even if it has forgotten it meanwhile. With a record go its ballots. A box has one ballot of each voice; ballots are lists of whole numbers, which the store adds
 * up place by place. It needs one clock, its own: answers say how long ago something was, never when.
 *
 * **What it may rely on**
 *
 * Nothing that waits for a caller's result waits for a store. Each operation has a deadline, after which its answer is no
 * longer wanted; it may be carried out all the same, late, twice or never. So all of them must be idempotent, as described.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { foreignMessage } from "./internal/foreign.ts"

/**
 * A store could not do what it was asked. Callers never see it: the engine goes on with what it knows.
 *
 * @category errors
 * @since 0.1.0
 */
export class StoreError extends Data.TaggedError("StoreError")<{
  readonly operation: "cast" | "swap" | "load" | "list" | "changes"
  readonly cause: unknown
}> {
  override get message(): string {
    return `The store failed to ${this.operation}: ${foreignMessage(this.cause)}`
  }
}

/**
 * A record as a store answers it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored {
  /** At least 1, and below 2^53. */
  readonly era: number
  readonly body: string
  /** How many milliseconds ago it was written, by the store's clock. */
  readonly age: number
}

/**
 * What the ballots in a box add up to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tally {
  readonly voices: number
  readonly sums: ReadonlyArray<number>
  /** Milliseconds since the latest inquiry of this box began; `undefined` if there was none. */
  readonly asked: number | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Cast {
  readonly circuit: string
  /** The era of the record that the ballot is about; 0 where there is none. */
  readonly era: number
  /** Which box of the circuit: voices under another policy have another. */
  readonly box: string
  readonly voice: string
  /** Whole numbers, always as many for the same box; `undefined` takes the voice's ballot back. */
  readonly ballot: ReadonlyArray<number> | undefined
  /** Milliseconds after which the ballot no longer counts. Not 0. */
  readonly ttl: number
  /**
   * Asks the others for their ballots: begins an inquiry and announces it, unless one began less than so many milliseconds
   * ago. 0 asks nobody.
   */
  readonly inquire: number
}

/**
 * @category models
 * @since 0.1.0
 */
export interface CastAnswer {
  readonly record: Stored | undefined
  /** `undefined` where the era was another: then nothing was changed. */
  readonly tally: Tally | undefined
  /** How many voices live. */
  readonly live: number
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Swap {
  readonly circuit: string
  /** 0 to write a record where there is none. */
  readonly expectedEra: number
  readonly body: string
  /** Milliseconds after which the record is forgotten; `undefined` never. */
  readonly ttl: number | undefined
  /** Whether {@link SharedStore.list} has it. */
  readonly listed: boolean
}

/**
 * @category models
 * @since 0.1.0
 */
export interface SwapAnswer {
  readonly swapped: boolean
  /** What is there now, whoever wrote it. */
  readonly record: Stored | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Listed extends Stored {
  readonly circuit: string
}

/**
 * @category models
 * @since 0.1.0
 */
export interface ListAnswer {
  readonly records: ReadonlyArray<Listed>
  readonly live: number
}

/**
 * What is announced: a record that was swapped in, or an inquiry that began.
 *
 * @category models
 * @since 0.1.0
 */
export type Change =
  | { readonly _tag: "Record"; readonly circuit: string; readonly era: number; readonly body: string }
  | { readonly _tag: "Inquiry"; readonly circuit: string; readonly era: number; readonly box: string }

/**
 * The contract. Circuits, boxes and voices are texts of letters, digits and `.`, `_`, `-`, `~`, `%`, `/`; boxes and voices have at
 * most 200 of them.
 *
 * @category models
 * @since 0.1.0
 */
export interface SharedStore {
  /** How long the text of a circuit may be, where that has a limit: one that is longer is not shared, and each process's own. */
  readonly longestCircuit?: number | undefined
  /**
   * Puts, renews or takes back one voice's ballot, if the circuit's record is of this era, and answers what the box then
   * adds up to. The ballots of another era are gone. Takes no longer with many voices than with few.
   */
  readonly cast: (cast: Cast) => Effect.Effect<CastAnswer, StoreError>
  /**
   * Writes a record where the expected one is, gives it a new era and announces it; else changes nothing. Said twice, the
   * second finds another era.
   */
  readonly swap: (swap: Swap) => Effect.Effect<SwapAnswer, StoreError>
  readonly load: (circuit: string) => Effect.Effect<Stored | undefined, StoreError>
  /**
   * All listed records; also says that this voice lives, for `ttl` more milliseconds. With 0 it no longer does.
   */
  readonly list: (voice: string, ttl: number) => Effect.Effect<ListAnswer, StoreError>
  /**
   * Announcements, from when it is run. A hint and never the truth: they may be lost, late, doubled or out of turn. A store
   * that cannot announce gives `Stream.never`, and is heard of at the next `list`. One that fails is run again.
   */
  readonly changes: Stream.Stream<Change, StoreError>
}

interface Entry {
  readonly era: number
  readonly body: string
  readonly at: number
  readonly until: number
  readonly listed: boolean
}

interface Box {
  readonly era: number
  readonly ballots: Map<string, { readonly numbers: ReadonlyArray<number>; readonly until: number }>
  readonly sums: Array<number>
  asked: number | undefined
}

/**
 * A shared store in memory: for tests, and for several breaker stores of one process.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeMemory: Effect.Effect<SharedStore> = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const announcements = yield* PubSub.sliding<Change>(4_096)
  const records = new Map<string, Entry>()
  const boxes = new Map<string, Map<string, Box>>()
  const voices = new Map<string, number>()
  let lastEra = 0
  const now = () => clock.currentTimeMillisUnsafe()

  const find = (circuit: string): Entry | undefined => {
    const found = records.get(circuit)
    if (found === undefined || now() < found.until) return found
    records.delete(circuit)
    return undefined
  }
  const answer = (entry: Entry): Stored => ({ era: entry.era, body: entry.body, age: Math.max(0, now() - entry.at) })
  const load = (circuit: string): Stored | undefined => {
    const found = find(circuit)
    return found === undefined ? undefined : answer(found)
  }
  const live = (): number => {
    for (const [voice, until] of voices) if (now() >= until) voices.delete(voice)
    return voices.size
  }
  const boxOf = ({ ballot, box, circuit, era }: Cast): Box | undefined => {
    const ofCircuit = boxes.get(circuit) ?? new Map<string, Box>()
    const known = ofCircuit.get(box)
    if (known?.era === era) return known
    ofCircuit.delete(box)
    if (ballot === undefined) return undefined
    const made: Box = { era, ballots: new Map(), sums: [], asked: undefined }
    boxes.set(circuit, ofCircuit.set(box, made))
    return made
  }
  const add = (box: Box, numbers: ReadonlyArray<number>, sign: 1 | -1): void =>
    numbers.forEach((n, place) => {
      box.sums[place] = (box.sums[place] ?? 0) + sign * n
    })
  const takeBack = (box: Box, voice: string): void => {
    const ballot = box.ballots.get(voice)
    if (ballot === undefined) return
    add(box, ballot.numbers, -1)
    box.ballots.delete(voice)
  }
  const nothing: Tally = { voices: 0, sums: [], asked: undefined }

  const cast = (request: Cast): CastAnswer => {
    const { ballot, circuit, era, inquire, ttl, voice } = request
    const record = load(circuit)
    if ((record?.era ?? 0) !== era) return { record, tally: undefined, live: live() }
    const box = boxOf(request)
    if (box === undefined) return { record, tally: nothing, live: live() }
    takeBack(box, voice)
    for (const [other, { until }] of box.ballots) if (now() >= until) takeBack(box, other)
    if (ballot !== undefined) {
      box.ballots.set(voice, { numbers: ballot, until: now() + ttl })
      add(box, ballot, 1)
    }
    if (inquire > 0 && (box.asked === undefined || now() - box.asked >= inquire)) {
      box.asked = now()
      PubSub.publishUnsafe(announcements, { _tag: "Inquiry", circuit, era, box: request.box })
    }
    const asked = box.asked === undefined ? undefined : now() - box.asked
    if (box.ballots.size === 0) boxes.get(circuit)?.delete(request.box)
    if (boxes.get(circuit)?.size === 0) boxes.delete(circuit)
    return { record, tally: { voices: box.ballots.size, sums: [...box.sums], asked }, live: live() }
  }

  const swap = ({ body, circuit, expectedEra, listed, ttl }: Swap): SwapAnswer => {
    const current = find(circuit)
    if ((current?.era ?? 0) !== expectedEra) return { swapped: false, record: load(circuit) }
    lastEra++
    const entry = { era: lastEra, body, at: now(), until: now() + (ttl ?? Infinity), listed }
    records.set(circuit, entry)
    boxes.delete(circuit)
    PubSub.publishUnsafe(announcements, { _tag: "Record", circuit, era: entry.era, body })
    return { swapped: true, record: answer(entry) }
  }

  const list = (voice: string, ttl: number): ListAnswer => {
    if (ttl > 0) voices.set(voice, now() + ttl)
    else voices.delete(voice)
    for (const [circuit, ofCircuit] of boxes) {
      for (const [name, box] of ofCircuit) {
        if ([...box.ballots.values()].every(({ until }) => now() >= until)) ofCircuit.delete(name)
      }
      if (ofCircuit.size === 0) boxes.delete(circuit)
    }
    const found: Array<Listed> = []
    for (const circuit of [...records.keys()]) {
      const entry = find(circuit)
      if (entry?.listed === true) found.push({ circuit, ...answer(entry) })
    }
    return { records: found, live: live() }
  }

  return {
    cast: (request) => Effect.sync(() => cast(request)),
    swap: (request) => Effect.sync(() => swap(request)),
    load: (circuit) => Effect.sync(() => load(circuit)),
    list: (voice, ttl) => Effect.sync(() => list(voice, ttl)),
    changes: Stream.fromPubSub(announcements)
  }
})
