/** The records that an observer of the store receives. */
import { Effect, Logger, Schedule, type Scope, Stream } from "effect"
import type { SharedStore } from "effect-fuse"
import type { Circuit } from "effect-fuse/core"
import { type Name, now } from "./lines.ts"

/** A record of the fleet. Times in its state are milliseconds from when it was written. */
export interface Record {
  readonly c: Name
  readonly epoch: number
  /** The time by the clock of the server, from the epoch. */
  readonly at: number
  readonly why: Circuit.Why
  readonly process: string
  readonly state: {
    readonly _tag: Circuit.State
    readonly since?: number
    readonly openFor?: number
    readonly until?: number | null
    readonly openings?: number
    readonly leases?: ReadonlyArray<unknown>
    readonly outage?: { readonly openings: number }
    readonly under?: { readonly openings: number }
  }
}

const wallToMonotonic = now() - Date.now()

const read = ({ body, circuit, epoch }: SharedStore.Change & { readonly _tag: "Record" }): Record => {
  const { process, state, why } = JSON.parse(body)
  return { c: circuit as Name, epoch, at: epoch / 1_000 + wallToMonotonic, why, process, state }
}

/** Adds each announced record to the list. Subscribes again whenever the stream ends. */
export const listening = <E, E2>(
  open: Effect.Effect<Stream.Stream<SharedStore.Change, E>, E2, Scope.Scope>,
  records: Array<Record>
): Effect.Effect<void> =>
  Effect.flatMap(open, (changes) =>
    Stream.runForEach(changes, (change) =>
      Effect.sync(() => {
        if (change._tag === "Record") records.push(read(change))
      })
    )
  ).pipe(
    Effect.scoped,
    Effect.ignoreCause,
    Effect.repeat(Schedule.spaced("20 millis")),
    Effect.provide(Logger.layer([])),
    Effect.asVoid
  )
