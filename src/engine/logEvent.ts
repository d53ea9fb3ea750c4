import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { printable } from "../core/printable.ts"
import type { BreakerEvent, Transition } from "../shapes/BreakerEvent.ts"

const verbs = {
  Closed: "closed",
  Open: "opened",
  HalfOpen: "is probing",
  Isolated: "was isolated",
  Disabled: "was disabled"
} as const

/** Moves that are better told by what happened than by the state they lead to. */
const actions: { readonly [Why in Transition["why"]]?: string } = {
  Released: "was released",
  Expired: "is no longer forced: the time is over",
  Reset: "was reset"
}

const levels = { Closed: "Info", Open: "Warn", HalfOpen: "Debug", Isolated: "Warn", Disabled: "Warn" } as const

/** Who is told: of what this process did itself the others hear later, of what it did before it started long ago. */
export interface Told {
  /** How this process is called. */
  readonly own: string | undefined
  /** Whether it is what this process found when it started. */
  readonly found: boolean
  /** The text of the last failure, if the circuit tripped because calls failed. */
  readonly last?: string | undefined
}

/** It was Open before: others agree, or somebody gave it another end. */
const staysOpen = ({ from, to }: Transition): boolean => from === "Open" && to === "Open"

const levelOf = (event: Transition, { found }: Told) => (found || staysOpen(event) ? "Info" : levels[event.to])

const sentence = (event: Transition, { found, last, own }: Told): string => {
  const stays = staysOpen(event)
  const all = event.scope === "fleet" && (found || stays || event.process !== own) ? " for all processes" : ""
  const verb = found ? `is ${event.to} already` : stays ? "stays open" : (actions[event.why] ?? verbs[event.to])
  const observing = event.mode === "observe" && event.to === "Open" ? " (observing: nothing is rejected)" : ""
  const why = event.detail === undefined ? "" : `: ${printable(event.detail)}`
  const failed = last === undefined || found || stays ? "" : `; last failure: ${last}`
  const key = event.key === undefined ? "" : ` ["${printable(event.key)}"]`
  return `Circuit "${printable(event.circuit)}"${key} ${verb}${all}${observing}${why}${failed}`
}

/** One line for one event, with its fields as annotations. */
export const logEvent = (event: BreakerEvent, told: Told): Effect.Effect<void> => {
  const subject = {
    circuit: printable(event.circuit),
    ...(event.key === undefined ? {} : { key: printable(event.key) })
  }
  const line =
    event._tag === "Transition"
      ? Effect.annotateLogs(Effect.logWithLevel(levelOf(event, told))(sentence(event, told)), {
          ...subject,
          from: event.from,
          to: event.to,
          why: event.why,
          openings: event.openings,
          ...(event.retryAfterMillis === null || event.retryAfterMillis === 0
            ? {}
            : { retryAfter: Duration.format(Duration.millis(Math.round(event.retryAfterMillis))) }),
          ...(event.actor === undefined ? {} : { actor: printable(event.actor) }),
          ...(event.process === undefined ? {} : { process: printable(event.process) })
        })
      : Effect.annotateLogs(
          Effect.logWarning(
            `Circuit "${subject.circuit}": ${event.probes} probes in a row told nothing; it stays HalfOpen until one succeeds or fails`
          ),
          subject
        )
  return quietly(line)
}

/** Logs in a finalizer: a logger that fails there would take the caller's result with it. */
export const quietly = (log: Effect.Effect<void>): Effect.Effect<void> => Effect.catchCause(log, () => Effect.void)
