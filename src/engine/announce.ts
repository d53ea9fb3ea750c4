import * as Effect from "effect/Effect"
import type * as Circuit from "../core/Circuit.ts"
import { foreignText } from "../core/foreign.ts"
import { printableCircuit } from "../core/printable.ts"
import type { BreakerEvent } from "../shapes/BreakerEvent.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { logEvent, quietly } from "./logEvent.ts"
import type { Runtime } from "./runtime.ts"

/** Sends an event to the observers and the event stream. Returns the effect that logs it, if the store logs events. */
export const announce = (
  runtime: Runtime,
  event: BreakerEvent,
  found = false,
  last?: string | undefined
): Effect.Effect<void> | undefined => {
  tell(runtime, event)
  if (!runtime.logsEvents) return undefined
  return logEvent(event, { found, last, own: runtime.peers?.process })
}

/** Whether anything can see an event. */
export const isHeard = ({ events, logsEvents, observers }: Runtime): boolean =>
  logsEvents || observers.size > 0 || events.isRead

/** Sends an event to the observers and the event stream, but not to the log. */
export const tell = (runtime: Runtime, event: BreakerEvent): void => {
  for (const observe of runtime.observers) observe(event)
  runtime.events.publish(event)
}

/** Logs an error of the user's code, once for each circuit. */
export const reportOnce = (
  circuit: LiveCircuit,
  part: "trip" | "classify",
  message: string,
  error: unknown
): Effect.Effect<void> | undefined => {
  if (!circuit.reportsFirst(part)) return undefined
  const named = printableCircuit(circuit.group.name, circuit.key)
  const subject = `A ${part === "trip" ? "custom trip" : "classifier"} of the circuit ${named}`
  return quietly(Effect.logError(`${subject} ${message}: ${foreignText(error)}`))
}

const ignoredProbes = 10

/** Announces every tenth Ignored probe in a row, because the circuit stays HalfOpen. */
export const reportIgnored = (
  runtime: Runtime,
  circuit: LiveCircuit,
  to: Circuit.Circuit | undefined
): Effect.Effect<void> | undefined => {
  if (to?._tag !== "HalfOpen" || to.ignored === 0 || to.ignored % ignoredProbes !== 0) return undefined
  return announce(runtime, {
    _tag: "ProbesIgnored",
    circuit: circuit.group.name,
    ...(circuit.key === undefined ? {} : { key: circuit.key }),
    at: runtime.time.wall(),
    epoch: to.epoch,
    probes: to.ignored
  })
}
