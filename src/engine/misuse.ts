import * as Duration from "effect/Duration"
import { printable } from "../core/printable.ts"

/*
 * Detects likely mistakes in the program. The log names each mistake once and says how to correct it. Calls that end normally or are
 * rejected do not run this code.
 */

/** A run of calls of one circuit that were interrupted after about the same time. Other calls may end in between. */
export interface Interruptions {
  /** How long the first of them ran. */
  readonly millis: number
  /** When the first of them ended, and how many calls had ended before it. */
  readonly since: number
  readonly before: number
  count: number
}

/** A timeout is the likely reason from this number of such calls on, if they are at least this share of all calls in that time. */
const enough = { calls: 20, share: 0.75 }

/** Durations count as the same if they differ by less than this. */
const tolerance = (millis: number): number => Math.max(10, millis / 20)

/** Adds a call that was interrupted now. `ended` is the number of calls of the circuit that have ended. */
export const after = (found: Interruptions | undefined, ended: number, millis: number, now: number): Interruptions => {
  const isAlike = found !== undefined && Math.abs(millis - found.millis) <= tolerance(found.millis)
  // A run is over if many calls have ended since it began, and too few of them were interrupted.
  const isOld = found !== undefined && ended - found.before > 10 * enough.calls && !isMost(found, ended)
  if (!isAlike || isOld) return { millis, since: now, before: ended - 1, count: 1 }
  found.count++
  return found
}

const isMost = ({ before, count }: Interruptions, ended: number): boolean => count >= enough.share * (ended - before)

/**
 * Whether a timeout around the circuit is the likely reason. If all calls of a run are interrupted within less than their duration, the
 * reason is another one, such as a scope that closes.
 */
export const looksLikeTimeout = (run: Interruptions, ended: number, now: number): boolean =>
  run.count >= enough.calls && isMost(run, ended) && run.millis >= 1 && now - run.since >= run.millis

export const timeoutOutside = (name: string, millis: number): string => {
  const after = Duration.format(Duration.millis(Math.round(millis)))
  return (
    `Most calls of the circuit "${printable(name)}" are interrupted after about ${after}. An interrupted call says nothing about the ` +
    "dependency, so the circuit does not open. If a timeout is around the circuit, put it inside: " +
    'call.pipe(Effect.timeout("5 seconds"), CircuitBreaker.protect("name")). A promise breaker has the option `timeout`.'
  )
}

const maxShownNames = 10

export const unlistedName = (name: string, names: ReadonlyArray<string>): string => {
  const shown = names.slice(0, maxShownNames).map(printable).join(", ")
  const more = names.length > maxShownNames ? ` and ${names.length - maxShownNames} more` : ""
  return (
    `A call uses the circuit "${printable(name)}", which \`names\` of BreakerPolicy does not list (${shown}${more}). ` +
    "If the name is mistyped, it has the default policy and a state of its own. Correct the name, or add it to `names`."
  )
}

/** The times at which short-lived stores were closed, the latest last. */
const shortLived: Array<number> = []
const many = { stores: 100, withinMillis: 60_000 }
let reported = false

/**
 * Notes that a store was closed. Returns true, once, if many stores were closed soon after they were built: the program seems to build
 * one for each call.
 */
export const isBuiltAgain = (builtAt: number, now: number): boolean => {
  if (reported || now - builtAt > many.withinMillis) return false
  shortLived.push(now)
  if (shortLived.length < many.stores) return false
  const first = shortLived.shift() as number
  reported = now - first <= many.withinMillis
  return reported
}

export const builtAgain =
  `${many.stores} stores of circuits were built and closed within a minute. Each has circuits of its own, which see too few calls to open. ` +
  "Provide one BreakerStore layer at the top of the program, or use one ManagedRuntime, instead of a layer for each call or request. " +
  "Create a promise breaker once, instead of for each call."
