import * as Effect from "effect/Effect"
import type { ImportError } from "../../BreakerStore.ts"
import type * as Operator from "../../Operator.ts"
import type { StoreError } from "../../SharedStore.ts"
import { printable } from "../printable.ts"
import type { Opened } from "./place.ts"
import { Failure, iso, lasting, table } from "./words.ts"

/** A circuit as a program is told of it. */
export const toData = (one: Operator.Known | Operator.Unreadable) =>
  one._tag === "Unreadable"
    ? { name: one.name, key: one.key, state: "Unreadable", era: one.era, body: one.body }
    : {
        name: one.name,
        key: one.key,
        state: one.state,
        since: iso(one.since),
        until: iso(one.until),
        beneath: one.beneath,
        openings: one.openings,
        why: one.why,
        reason: one.reason,
        actor: one.actor,
        process: one.process,
        era: one.era
      }

/** When a state ends, in words. */
export const ending = ({ state, until }: Operator.Known, now: number): string => {
  if (until === undefined) return state === "Isolated" || state === "Disabled" ? "when released" : ""
  return until > now ? `in ${lasting(until - now)}` : "at the next call"
}

const heads = ["CIRCUIT", "KEY", "STATE", "FOR", "ENDS", "OPENINGS", "WHY", "BY"]

/** Circuits in columns. */
export const toTable = (circuits: ReadonlyArray<Operator.Known | Operator.Unreadable>, now: number): string =>
  table(
    heads,
    circuits.map((one) =>
      one._tag === "Unreadable"
        ? [one.name, one.key ?? "", "Unreadable", "", "", "", "not written by this version", ""]
        : [
            one.name,
            one.key ?? "",
            one.beneath === "Open" ? `${one.state} (Open beneath)` : one.state,
            lasting(Math.max(0, now - one.since)),
            ending(one, now),
            one.openings === 0 ? "" : String(one.openings),
            one.reason === undefined ? one.why : `${one.why}: ${one.reason}`,
            one.actor ?? one.process
          ]
    )
  )

export const which = (name: string, key: string | undefined): string =>
  `"${printable(name)}"${key === undefined ? "" : ` ["${printable(key)}"]`}`

/** What an operator's function can fail with, in words; what it throws is wrong input. */
export const asked = <A>(
  { failed }: Opened,
  ask: () => Effect.Effect<A, StoreError | Operator.UnreadableRecord | ImportError>
): Effect.Effect<A, Failure> =>
  Effect.try({ try: ask, catch: wrongInput }).pipe(
    Effect.flatMap((asking) =>
      Effect.mapError(asking, (error) => {
        switch (error._tag) {
          case "StoreError":
            // Whoever gave up waiting has said so in words.
            return error.cause instanceof Failure ? error.cause : failed(error.cause)
          case "UnreadableRecord":
            return new Failure({
              code: 3,
              message: error.message,
              advice: "Use the command line of the version that wrote it, or a newer one."
            })
          default:
            return new Failure({ code: 1, message: error.message })
        }
      })
    )
  )

const wrongInput = (error: unknown): Failure =>
  new Failure({ code: 1, message: error instanceof Error ? error.message.replace(/^Operator\./, "") : String(error) })
