import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import { cut } from "../core/foreign.ts"
import { printable, printableCircuit } from "../core/printable.ts"
import type { BreakerEvent, Transition } from "../shapes/BreakerEvent.ts"

const verbs = {
  Closed: "closed",
  Open: "opened",
  HalfOpen: "is probing",
  Isolated: "was isolated",
  Disabled: "was disabled"
} as const

/** Transitions whose log line names the reason instead of the new state. */
const actions: { readonly [Why in Transition["why"]]?: string } = {
  Released: "was released",
  Expired: "is no longer overridden: the override has expired",
  Reset: "was reset"
}

const levels = { Closed: "Info", Open: "Warn", HalfOpen: "Debug", Isolated: "Warn", Disabled: "Warn" } as const

export interface EventContext {
  readonly own: string | undefined
  /** Whether this process found the state when it started. */
  readonly found: boolean
  /** The text of the last failure, if the circuit tripped because calls failed. */
  readonly last?: string | undefined
}

/** Maximum length of a reason in a log line. An operator may have given a reason of any length. */
const longestReason = 500

/** Whether an open circuit got another end: the fleet opened it, too, or an operator opened it again. */
const staysOpen = ({ from, to }: Transition): boolean => from === "Open" && to === "Open"

const levelOf = (event: Transition, { found }: EventContext) => (found || staysOpen(event) ? "Info" : levels[event.to])

const sentence = (event: Transition, { found, last, own }: EventContext): string => {
  const stays = staysOpen(event)
  const all = event.scope === "fleet" && (found || stays || event.process !== own) ? " for all processes" : ""
  const verb = found ? `is ${event.to} already` : stays ? "stays open" : (actions[event.why] ?? verbs[event.to])
  const observing = event.mode === "observe" && event.to === "Open" ? " (observing: nothing is rejected)" : ""
  const why = event.detail === undefined ? "" : `: ${printable(cut(event.detail, longestReason))}`
  const failed = last === undefined || found || stays ? "" : `; last failure: ${last}`
  return `Circuit ${printableCircuit(event.circuit, event.key)} ${verb}${all}${observing}${why}${failed}`
}

type Note = Exclude<BreakerEvent, Transition>

const levelOfNote = (event: Note) =>
  event._tag === "ProbesIgnored" || (event._tag === "LimitBegan" && event.why === "Overload") ? "Warn" : "Info"

/** The line of an event that is not a transition. */
const note = (event: Note): string => {
  const named = `Circuit ${printableCircuit(event.circuit, event.key)}`
  switch (event._tag) {
    case "ProbesIgnored":
      return `${named}: ${event.probes} probes in a row were ignored; it stays HalfOpen until a probe succeeds or fails`
    case "LimitBegan": {
      const observing = event.mode === "observe" ? " (observing: nothing is rejected)" : ""
      return `${named} limits its calls${observing}: at most ${event.limit} at once for now`
    }
    case "LimitEnded":
      return `${named} no longer limits its calls, after ${Duration.format(Duration.seconds(Math.round(event.lastedMillis / 1000)))}`
  }
}

/** Logs an event. Its text is made only if the fiber logs it: most programs do not log probes. */
export const logEvent = (event: BreakerEvent, context: EventContext): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const level = event._tag === "Transition" ? levelOf(event, context) : levelOfNote(event)
    return LogLevel.isLessThan(level, fiber.cache.minimumLogLevel) || fiber.getRef(References.CurrentLoggers).size === 0
      ? Effect.void
      : quietly(lineOf(event, context, level))
  })

const lineOf = (event: BreakerEvent, context: EventContext, level: LogLevel.Severity): Effect.Effect<void> => {
  const log = Effect.logWithLevel(level)
  const subject = {
    circuit: printable(event.circuit),
    ...(event.key === undefined ? {} : { key: printable(event.key) })
  }
  if (event._tag !== "Transition") return Effect.annotateLogs(log(note(event)), subject)
  return Effect.annotateLogs(log(sentence(event, context)), {
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
}

/** Ignores the failure of a logger, which would replace the result of the caller in a finalizer. */
export const quietly = (log: Effect.Effect<void>): Effect.Effect<void> => Effect.catchCause(log, () => Effect.void)
