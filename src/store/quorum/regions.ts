import * as Effect from "effect/Effect"
import { remember } from "../../core/remember.ts"
import type { Cast } from "../SharedStore.ts"
import { Cursors } from "./cursors.ts"
import type { Kept } from "./records.ts"
import type { Ask, Region } from "./region.ts"

/** Maximum number of circuits that a process remembers for each store. */
export const maxRemembered = 10_000

/** No record has this epoch. */
const noEpoch = -1

export const every = { concurrency: "unbounded" } as const

/** All stores, and what this process remembers of each. */
export class Regions {
  readonly all: ReadonlyArray<Region>
  readonly wall: () => number
  readonly cursors: Cursors
  /** For each store, by circuit: the record's epoch in that store (`own`), and its epoch in all stores. */
  private readonly epochs: ReadonlyArray<Map<string, { readonly own: number; readonly epoch: number }>>
  /** The clock of each store minus the clock of this process. */
  private readonly offsets: Array<number | undefined>
  /** Circuits whose records differed between the stores. The next heartbeat makes them agree. */
  private readonly disputed = new Set<string>()
  /** How far a comparison of all records has come, by epoch; `undefined` if none is necessary. */
  compared: number | undefined

  constructor(all: ReadonlyArray<Region>, wall: () => number) {
    this.all = all
    this.wall = wall
    this.cursors = new Cursors(all.length)
    this.epochs = all.map(() => new Map())
    this.offsets = all.map(() => undefined)
  }

  /** Asks all stores. Returns the results of `take`, which runs on each answer when it arrives, without unreachable stores. */
  ask<A, B>(send: Ask<A>, take: (answer: A, index: number) => B): Effect.Effect<ReadonlyArray<B>> {
    const one = (region: Region, index: number) =>
      Effect.map(region.ask(send), (reply) => (reply === undefined ? [] : [take(reply.value, index)]))
    return Effect.map(Effect.forEach(this.all, one, every), (taken) => taken.flat())
  }

  /** All records must be compared: the stores may have different ones. */
  startComparison(): void {
    this.compared ??= 0
  }

  noteLife(index: number, life: string): void {
    // A store that lost everything gets the records of the others.
    if (this.cursors.noteLife(index, life)) this.startComparison()
  }

  noteTime(index: number, time: number): void {
    this.offsets[index] = time - this.wall()
  }

  /** A time of this process, by the clock of a store; `undefined` if that is not known. */
  timeAt(index: number, time: number): number | undefined {
    const offset = this.offsets[index]
    return offset === undefined ? undefined : time + offset
  }

  /** Whether no difference between the stores is known. */
  get areAgreed(): boolean {
    return this.compared === undefined && this.disputed.size === 0
  }

  dispute(circuit: string): void {
    if (this.disputed.size < maxRemembered) this.disputed.add(circuit)
  }

  /** Removes some of the disputed circuits and returns them. */
  takeDisputed(most: number): ReadonlyArray<string> {
    const circuits = [...this.disputed].slice(0, most)
    for (const circuit of circuits) this.disputed.delete(circuit)
    return circuits
  }

  remember(index: number, circuit: string, kept: Kept | undefined): void {
    const epochs = this.epochs[index]
    if (epochs === undefined) return
    if (kept === undefined) epochs.delete(circuit)
    else remember(epochs, circuit, { own: kept.own, epoch: kept.epoch }, maxRemembered)
  }

  /** Translates a store's own epoch to the epoch in all stores. They differ only for records that were written again. */
  epochOf(index: number, circuit: string, own: number): number {
    const known = this.epochs[index]?.get(circuit)
    return known?.own === own ? known.epoch : own
  }

  ownEpoch(index: number, { circuit, epoch }: Cast): number {
    if (epoch === 0) return 0
    const known = this.epochs[index]?.get(circuit)
    if (known === undefined) return epoch
    return known.epoch === epoch ? known.own : noEpoch
  }
}
