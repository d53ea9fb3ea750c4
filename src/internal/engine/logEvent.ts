import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { BreakerEvent, Transition } from "../../BreakerEvent.ts"
import { printable } from "../printable.ts"

const verbs = {
  Closed: "closed",
  Open: "opened",
  HalfOpen: "is probing",
  Isolated: "was isolated",
  Disabled: "was disabled"
} as const

const levels = { Closed: "Info", Open: "Warn", HalfOpen: "Debug", Isolated: "Warn", Disabled: "Warn" } as const

const sentence = (event: Transition): string => {
  const observing = event.mode === "observe" && event.to === "Open" ? " (observing: nothing is rejected)" : ""
  const why = event.detail === undefined ? "" : `: ${printable(event.detail)}`
  return `Circuit "${printable(event.circuit)}" ${verbs[event.to]}${observing}${why}`
}

/** One line for one event, with its fields as annotations. A logger that fails must not fail the call it logs for. */
export const logEvent = (event: BreakerEvent): Effect.Effect<void> => {
  const subject = {
    circuit: printable(event.circuit),
    ...(event.key === undefined ? {} : { key: printable(event.key) })
  }
  const line =
    event._tag === "Transition"
      ? Effect.annotateLogs(Effect.logWithLevel(levels[event.to])(sentence(event)), {
          ...subject,
          from: event.from,
          to: event.to,
          why: event.why,
          openings: event.openings,
          ...(event.retryAfterMillis === null || event.retryAfterMillis === 0
            ? {}
            : { retryAfter: Duration.format(Duration.millis(Math.round(event.retryAfterMillis))) }),
          ...(event.actor === undefined ? {} : { actor: printable(event.actor) })
        })
      : Effect.annotateLogs(
          Effect.logWarning(
            `Circuit "${subject.circuit}": ${event.probes} probes in a row told nothing; it stays HalfOpen until one succeeds or fails`
          ),
          subject
        )
  return Effect.catchCause(line, () => Effect.void)
}
