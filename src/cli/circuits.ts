import * as Effect from "effect/Effect"
import type { ImportError } from "../breaker/BreakerStore.ts"
import type * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import { printable } from "../core/printable.ts"
import type * as Operator from "../operator/Operator.ts"
import type { Override } from "../shapes/BreakerEvent.ts"
import type { StoreError } from "../store/SharedStore.ts"
import { CommandFailure, iso, lasting } from "./messages.ts"
import type { OpenedServer } from "./server.ts"

/** What the store has of one circuit. */
export type One = Operator.Known | Operator.Unreadable

/** How many processes agreed on the outage that the circuit is in. `undefined` if the fleet did not open it, or an override is shown. */
export const agreementOf = (one: One): Circuit.Agreement | undefined =>
  one._tag === "Unreadable" || one.overrides.length > 0 ? undefined : one.outage?.agreed

/** The reason of a state without the number of processes that agreed. */
export const reasonOf = (one: Operator.Known): string => {
  const agreed = agreementOf(one)
  if (one.reason === undefined || agreed === undefined) return one.reason ?? ""
  return Fleet.withoutAgreement(one.reason, agreed)
}

export const overrideData = ({ actor, reason, since, state, until }: Override) => ({
  state,
  since: iso(since),
  until: iso(until),
  reason,
  actor
})

export const toData = (one: One) =>
  one._tag === "Unreadable"
    ? { name: one.name, key: one.key, state: "Unreadable", epoch: one.epoch, body: one.body }
    : {
        name: one.name,
        key: one.key,
        state: one.state,
        since: iso(one.since),
        downSince: iso(one.outage?.since),
        outageOpenings: one.outage?.openings,
        until: iso(one.until),
        overrides: one.overrides.map(overrideData),
        beneath: one.beneath,
        openings: one.openings,
        why: one.why,
        reason: one.reason,
        agreed: agreementOf(one),
        actor: one.actor,
        process: one.process,
        epoch: one.epoch
      }

/** When a state ends. */
export const ending = ({ state, until }: Operator.Known, now: number): string => {
  if (until === undefined) return state === "Isolated" || state === "Disabled" ? "when released" : ""
  return until > now ? `in ${lasting(until - now)}` : "at the next call"
}

/** An override with its operator, times and reason, as text. */
export const overrideText = ({ actor, reason, since, state, until }: Override): string => {
  const by = actor === undefined ? "" : ` by ${printable(actor)}`
  const end = iso(until) ?? "it is released"
  return `${state}${by} since ${iso(since)} until ${end}: ${printable(reason)}`
}

/** Runs a function of Operator, and turns its errors into messages. An exception means that an argument is invalid. */
export const asked = <A>(
  { failed }: OpenedServer,
  ask: () => Effect.Effect<A, StoreError | Operator.UnreadableRecord | ImportError>
): Effect.Effect<A, CommandFailure> =>
  Effect.try({ try: ask, catch: wrongInput }).pipe(
    Effect.flatMap((asking) =>
      Effect.mapError(asking, (error) => {
        switch (error._tag) {
          case "StoreError":
            // A timeout of the command line has a message of its own.
            return error.cause instanceof CommandFailure ? error.cause : failed(error.cause)
          case "UnreadableRecord":
            return new CommandFailure({
              code: 3,
              message: error.message,
              advice: "Use the command line of the version that wrote it, or a newer one."
            })
          default:
            return new CommandFailure({ code: 1, message: error.message })
        }
      })
    )
  )

const wrongInput = (error: unknown): CommandFailure =>
  new CommandFailure({
    code: 1,
    message: error instanceof Error ? error.message.replace(/^Operator\./, "") : String(error)
  })
