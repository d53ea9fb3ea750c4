/**
 * The contract of a store in which processes share their circuits.
 *
 * **When to use**
 *
 * To keep the circuits of a fleet in a store of your own: implement {@link SharedStore}, pass it to
 * `BreakerStore.layerShared`, and run the contract tests of `effect-fuse/testing` on it. `MemoryStore` is an example.
 *
 * **What a store keeps**
 *
 * - For each circuit a *record*: a text that the store never reads, with an *epoch*. The store gives a new epoch at each
 *   swap. Epochs are unique in the store and never go back.
 * - For each circuit *ballot boxes*. A box holds one ballot of each voter. A ballot is a list of whole numbers; the store
 *   adds them up position by position. A swap of the record empties all boxes of the circuit.
 * - One *register* of the live processes. Each of them is a *voter*, with its latest *digest*: a text that the store never
 *   reads.
 * - One *log of roll calls*. A roll call asks every live voter for its ballot in one box. For each voter the register
 *   keeps how far in the log it has *heard*. A voter that heard a roll call and has no ballot in its box abstains.
 * - One *life*: a unique text that the store chooses when it is first used, and again after it lost everything. Numbers of
 *   one life mean nothing in another.
 *
 * All times are times of the store's own clock.
 *
 * **What a store may rely on**
 *
 * No caller of a protected effect waits for a store, except a probe, for at most 50 milliseconds. The engine stops waiting
 * for an answer after a while, but the store may still carry the command out: late, twice or never. So every command is
 * idempotent, and a command that is later than its `notAfter` changes nothing.
 */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import { foreignMessage } from "../core/foreign.ts"

/**
 * An operation of a store failed. Callers of protected effects never see this error: the process then decides alone.
 *
 * @category errors
 */
export class StoreError extends Data.TaggedError("StoreError")<{
  readonly operation: "exchange" | "page" | "load" | "digests" | "changes"
  readonly cause: unknown
}> {
  override get message(): string {
    return `The store failed to ${this.operation}: ${foreignMessage(this.cause)}`
  }
}

/**
 * The bounds of the contract: numbers of items, and milliseconds.
 *
 * @category constants
 */
export const limits = {
  /** The most casts in one exchange. */
  casts: 32,
  /** The most swaps in one exchange. */
  swaps: 32,
  /** The most roll calls in the answer to one exchange. */
  rollCalls: 500,
  /** The most changes in one page. */
  page: 500,
  /** The most circuits in one load. */
  load: 100,
  /** The most characters of a digest. */
  digest: 8_192,
  /** The approximate number of digests in one answer. An answer may contain more digests if they are short. */
  digests: 50,
  /** The longest term of a roll call. */
  rollCallMillis: 3_600_000,
  /** The log keeps a roll call at least this much longer than its term. */
  logMillis: 5_000,
  /** {@link SharedStore.page} shows for this long that a circuit is no longer listed. */
  unlistedMillis: 3_600_000
} as const

/**
 * A record in an answer of a store.
 *
 * @category models
 */
export interface Stored {
  /** At least 1, and below 2^53. */
  readonly epoch: number
  readonly body: string
  /** How many milliseconds ago it was written, by the store's clock. */
  readonly age: number
}

/**
 * Puts, renews or withdraws the voter's ballot in one box.
 *
 * @category models
 */
export interface Cast {
  readonly circuit: string
  /** The epoch of the record that the ballot is about; 0 if there is no record. */
  readonly epoch: number
  /** The box. Processes with another policy, or another version of the protocol, use another box. */
  readonly box: string
  /** Whole numbers, always as many for the same box; `undefined` withdraws the voter's ballot. */
  readonly ballot: ReadonlyArray<number> | undefined
  /** Milliseconds after which the ballot no longer counts; more than 0. It never counts longer than its voter lives. */
  readonly ttl: number
  /**
   * Begins an inquiry and announces it, unless the latest inquiry of this box began less than this many milliseconds ago.
   * 0 begins none, and a cast without a ballot begins none. An inquiry asks the processes that use the circuit.
   */
  readonly inquire: number
  /**
   * Calls the roll for a term of this many milliseconds, at most `limits.rollCallMillis`, and announces it; unless the latest
   * roll call of this box still counts and is younger than this. 0 calls none, and a cast without a ballot calls none. A
   * roll call asks every live voter.
   */
  readonly roll: number
}

/**
 * The sum of the ballots in a box.
 *
 * @category models
 */
export interface StoredTally {
  /** How many ballots count. */
  readonly voters: number
  /** The sums of the ballots, position by position; empty if no ballot counts. */
  readonly sums: ReadonlyArray<number>
  /** Milliseconds since the latest inquiry of this box began; `undefined` if there was none. */
  readonly asked: number | undefined
  /** Milliseconds since the latest roll call of this box; `undefined` if there was none, or its term is over. */
  readonly rolled: number | undefined
  /**
   * At least this many live voters heard the latest roll call of this box and have no ballot in it: the number of live
   * voters whose `heard` is not below the roll call's `seq`, minus `voters`; never below 0. 0 if `rolled` is `undefined`.
   */
  readonly abstained: number
}

/**
 * The answer to one cast: the record of the circuit, and the tally of the box.
 *
 * @category models
 */
export interface CastAnswer {
  readonly record: Stored | undefined
  /** `undefined` if the epoch of the cast is not that of the circuit's record. The cast then changed nothing. */
  readonly tally: StoredTally | undefined
}

/**
 * Replaces the record of one circuit, if its epoch is the expected one.
 *
 * @category models
 */
export interface Swap {
  readonly circuit: string
  /** 0 to write a record where there is none. */
  readonly expectedEpoch: number
  readonly body: string
  /** Milliseconds after which the store drops the record; `undefined` keeps it without end. */
  readonly ttl: number | undefined
  /** Whether {@link SharedStore.page} shows the record to every process. */
  readonly listed: boolean
}

/**
 * The answer to one swap.
 *
 * @category models
 */
export interface SwapAnswer {
  readonly swapped: boolean
  /** The record after the swap: the new one, or the one that was there if the swap failed. */
  readonly record: Stored | undefined
}

/**
 * Asks every live voter for its ballot in one box.
 *
 * @category models
 */
export interface RollCall {
  /** Its number in the log: at least 1, below 2^53, and greater than all before it. */
  readonly seq: number
  /** The number of the roll call before it in the log; 0 if it is the first. */
  readonly prev: number
  readonly circuit: string
  readonly epoch: number
  readonly box: string
  /** How long it counts, in milliseconds. */
  readonly term: number
}

/**
 * Everything that one process writes, in one atomic step. An exchange without casts and swaps is a heartbeat.
 *
 * @category models
 */
export interface Exchange {
  readonly voter: string
  /** How long the voter lives from now on, in milliseconds. 0 removes it from the register. */
  readonly ttl: number
  /** By the store's clock, in milliseconds: after this time the exchange changes nothing. `undefined` sets no deadline. */
  readonly notAfter: number | undefined
  /** The `seq` of the latest roll call up to which this voter has cast all ballots that it owes; 0 if it has heard none. */
  readonly heard: number
  /** The life of the store to which `heard` belongs. Without it `heard` counts as 0. */
  readonly life?: string | undefined
  /** The highest epoch that the voter knows, or 0. The epochs that this exchange gives are greater. */
  readonly floor: number
  /** At most `limits.casts`. */
  readonly casts: ReadonlyArray<Cast>
  /** At most `limits.swaps`. */
  readonly swaps: ReadonlyArray<Swap>
  /**
   * A summary of the circuits of this process: at most `limits.digest` printable ASCII characters. It replaces the voter's digest. If it is
   * absent, the store keeps the digest that it has. A digest ends with the life of its voter.
   */
  readonly digest?: string | undefined
}

/**
 * The answer to an exchange.
 *
 * @category models
 */
export type ExchangeAnswer = ExchangeLate | ExchangeDone

/**
 * The exchange came after its `notAfter` and changed nothing.
 *
 * @category models
 */
export interface ExchangeLate {
  readonly _tag: "Late"
  /** The store's clock, in milliseconds. */
  readonly time: number
}

/**
 * The exchange was carried out.
 *
 * @category models
 */
export interface ExchangeDone {
  readonly _tag: "Done"
  /** The store's clock, in milliseconds. */
  readonly time: number
  /** How many voters live. */
  readonly live: number
  /** Milliseconds since the first exchange of this store, or the first since it lost everything. */
  readonly liveFor: number
  /** A unique text of letters, digits, `-` and `_`, chosen at that first exchange. */
  readonly life: string
  /** The `seq` of the latest roll call in the log; 0 if there was none. */
  readonly head: number
  /** The roll calls after `heard`, ascending: at most `limits.rollCalls`, and without those that the log has dropped. */
  readonly rollCalls: ReadonlyArray<RollCall>
  /** In the order of the exchange's casts. */
  readonly casts: ReadonlyArray<CastAnswer>
  /** In the order of the exchange's swaps. */
  readonly swaps: ReadonlyArray<SwapAnswer>
}

/**
 * A circuit whose record has changed.
 *
 * @category models
 */
export interface Changed {
  readonly circuit: string
  /** The epoch of the change. */
  readonly epoch: number
  /** Whether the record is listed. */
  readonly listed: boolean
  /** `undefined` if the store has forgotten the record since. */
  readonly record: Stored | undefined
}

/**
 * One page of changes.
 *
 * @category models
 */
export interface PageAnswer {
  /** The store's clock, in milliseconds. */
  readonly time: number
  /** How many voters live. */
  readonly live: number
  /** The life of the store, as in {@link ExchangeDone}; empty before the first exchange. */
  readonly life: string
  /** The last epoch that the store gave to any record; 0 if it gave none. */
  readonly epoch: number
  /** Some changes up to this epoch are no longer shown, because they ended or are too old; 0 if all are shown. */
  readonly trimmed: number
  /** How many records are listed. */
  readonly listed: number
  /** Ascending by epoch. If the page has as many changes as its limit, there may be more. */
  readonly changes: ReadonlyArray<Changed>
}

/**
 * The records that were asked for.
 *
 * @category models
 */
export interface LoadAnswer {
  /** The store's clock, in milliseconds. */
  readonly time: number
  /** In the order of the circuits that were asked for; `undefined` where there is no record. */
  readonly records: ReadonlyArray<Stored | undefined>
}

/**
 * The latest digest of a live voter.
 *
 * @category models
 */
export interface VoterDigest {
  readonly voter: string
  readonly digest: string
}

/**
 * Some of the digests.
 *
 * @category models
 */
export interface DigestsAnswer {
  /** The store's clock, in milliseconds. */
  readonly time: number
  /** In any order. */
  readonly digests: ReadonlyArray<VoterDigest>
  /** The argument for the next answer; `undefined` if this is the last one. */
  readonly next: string | undefined
}

/**
 * An announcement: a new record, an inquiry that began, or a roll call.
 *
 * @category models
 */
export type Change =
  | { readonly _tag: "Record"; readonly circuit: string; readonly epoch: number; readonly body: string }
  | { readonly _tag: "Inquiry"; readonly circuit: string; readonly epoch: number; readonly box: string }
  | ({ readonly _tag: "RollCall" } & RollCall)

/**
 * A shared store. Circuits, boxes and voters are texts of letters, digits and `.`, `_`, `-`, `~`, `%`, `/`; boxes and voters have at
 * most 200 characters.
 *
 * @category models
 */
export interface SharedStore {
  /** The most characters of a circuit. A circuit with a longer text is not shared. Default: no limit. */
  readonly longestCircuit?: number | undefined
  /**
   * How long an operation may take, in milliseconds. The default is 250. An operation that takes longer counts as failed, and a
   * command that arrives later than this changes nothing. Give a store that is far away more time; more than a fifth of
   * `syncInterval` makes processes answer roll calls late.
   */
  readonly deadline?: number | undefined
  /**
   * Completes when the store is connected; `undefined` if it is connected from the start. A process that starts waits for
   * this before it counts the time for the first page.
   */
  readonly connected?: Effect.Effect<void> | undefined
  /**
   * The one operation that writes, atomically and in this order:
   *
   * 1. If the store's clock is after `notAfter`, answers `Late` and changes nothing.
   * 2. The voter lives for `ttl` more milliseconds, and has the given digest; with 0 it does not live.
   * 3. The casts, in order. A cast whose epoch is not that of the circuit's record changes nothing. A ballot counts until
   *    its `ttl` is over or its voter no longer lives, whichever comes first. A roll call is appended to the log with
   *    `seq = max(head + 1, the time in microseconds)`.
   * 4. The swaps, in order. Each that finds the expected epoch writes its record with the epoch
   *    `max(the last epoch, floor, the time in microseconds) + 1`, empties the circuit's boxes and announces the record.
   * 5. Keeps the voter's `heard`; or 0 if `life` is not the store's or `heard` is greater than `head`: then the log was lost.
   *
   * Its time must not grow with the number of voters.
   */
  readonly exchange: (exchange: Exchange) => Effect.Effect<ExchangeAnswer, StoreError>
  /**
   * The changes after the epoch `since`, ascending, at most `limit`: only the latest change of each circuit. All listed records are
   * among them, and for `limits.unlistedMillis` those that are no longer listed. Records that have ended may be left out. Writes
   * nothing.
   */
  readonly page: (since: number, limit: number) => Effect.Effect<PageAnswer, StoreError>
  /** The records of at most `limits.load` circuits. Writes nothing. */
  readonly load: (circuits: ReadonlyArray<string>) => Effect.Effect<LoadAnswer, StoreError>
  /**
   * The digests of the live voters, about `limits.digests` at a time, or more if they are short. `after` is empty for the first answer,
   * and the `next` of the previous answer for each further answer. The digest of a voter that stays alive is in at least one answer, and
   * may be in several answers. Writes nothing.
   */
  readonly digests: (after: string) => Effect.Effect<DigestsAnswer, StoreError>
  /**
   * Announcements, from the moment the stream is run. They are hints: they may be lost, late, doubled or out of order. A store that
   * cannot announce gives `Stream.never`. The engine runs a stream that ends or fails again.
   */
  readonly changes: Stream.Stream<Change, StoreError>
}
