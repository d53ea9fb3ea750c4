import type { Known, Unreadable } from "../store/known.ts"
import { bounded, whyText } from "./texts.ts"
import { hourMillis, type TransitionView } from "./view.ts"

/** Guesses the previous state of a circuit, if the page did not see the previous record. */
const beforeOf = ({ outage, state, why }: Known): Known["state"] => {
  if (state === "HalfOpen") return "Open"
  if (state === "Open") return outage !== undefined && outage.openings > 1 ? "HalfOpen" : "Closed"
  if (state !== "Closed") return "Closed"
  return why === "Released" || why === "Expired" ? "Isolated" : why === "ClosedByHand" ? "Open" : "HalfOpen"
}

/**
 * Returns when the state of a record began. After an override, the circuit returns to its Closed state. The `since` of that state is older
 * than the override. The override ended when it expired, or when the record was written.
 */
const beganAt = (before: Known | Unreadable | undefined, { since, state, why }: Known, writtenAt: number): number => {
  if (state !== "Closed") return since
  const expiredAt = why === "Expired" && before?._tag === "Known" ? before.until : undefined
  return Math.max(since, expiredAt ?? writtenAt)
}

/**
 * Derives transitions from a new record. The page reads the records once a second, so it misses shorter states. `isFirst`: this is the first
 * read, so the record may be old. `writtenAt`: the time at which the record was written.
 */
export const transitionOf = (
  before: Known | Unreadable | undefined,
  known: Known | Unreadable,
  now: number,
  isFirst: boolean,
  writtenAt: number
): ReadonlyArray<TransitionView> => {
  if (known._tag === "Unreadable") return []
  const { key, name, outage, since, state } = known
  const from = before?._tag === "Known" ? before.state : isFirst ? beforeOf(known) : "Closed"
  const began = beganAt(before, known, writtenAt)
  const at = isFirst ? began : Math.min(now, Math.max(began, now - 10_000))
  const found: Array<TransitionView> = []
  const base = { name, key, actor: bounded(known.actor, 100) }
  if (isFirst && outage !== undefined && outage.since < since && state !== "Closed") {
    found.push({ ...base, at: outage.since, from: "Closed", to: "Open", why: undefined, actor: undefined })
  }
  if (from !== state || (before !== undefined && !isFirst && state !== "Closed")) {
    found.push({ ...base, at, from, to: state, why: whyText(known) })
  }
  return found.filter(({ at }) => at > now - hourMillis)
}
