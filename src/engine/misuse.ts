import * as Duration from "effect/Duration"
import { printable } from "../core/printable.ts"

/**
 * What looks like a mistake in the program, and how to correct it. Each is logged once. Nothing here is looked at by a call that is
 * answered or rejected.
 */

/** Calls of a circuit that were interrupted after about the same time, one after the other. */
export interface Interruptions {
  /** How long the first of them ran. */
  readonly millis: number
  /** When the first of them ended, and how many calls had ended before it. */
  readonly since: number
  readonly before: number
  count: number
}

/** The number of such calls, and their share of all calls that ended meanwhile, from which on a timeout is the likely reason. */
const enough = { calls: 20, share: 0.75 }

/** Durations that differ by less are about the same. */
const tolerance = (millis: number): number => Math.max(10, millis / 20)

/** The run of interruptions to which a call belongs that was interrupted now. `ended` is how many calls of its circuit have ended. */
export const after = (found: Interruptions | undefined, ended: number, millis: number, now: number): Interruptions => {
  const isAlike = found !== undefined && Math.abs(millis - found.millis) <= tolerance(found.millis)
  // A long run that is no longer most of the calls has ended.
  const isOld = found !== undefined && ended - found.before > 10 * enough.calls && !isMost(found, ended)
  if (!isAlike || isOld) return { millis, since: now, before: ended - 1, count: 1 }
  found.count++
  return found
}

const isMost = ({ before, count }: Interruptions, ended: number): boolean => count >= enough.share * (ended - before)

/**
 * Whether a timeout around the circuit is the likely reason. If calls end together (a scope closes, a race is decided), it is not: a
 * timeout ends calls for longer than it lasts.
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

/** When stores were closed soon after they were built, the latest last. */
const shortLived: Array<number> = []
const many = { stores: 100, withinMillis: 60_000 }
let reported = false

/**
 * Notes that a store was closed. Returns, once, whether the program seems to build a store for each call: many were closed soon after
 * they were built.
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
