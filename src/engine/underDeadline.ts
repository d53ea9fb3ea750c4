import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Outcome from "../core/Outcome.ts"
import { type CallDeadline, DeadlineExceeded, endedAtDeadline } from "../shapes/currentDeadline.ts"
import type { Restore } from "./classify.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import type { Permit } from "./permit.ts"
import { RecentDurations } from "./recentDurations.ts"
import type { Registry } from "./registry.ts"

/*
 * The outcome of a call whose caller has a deadline.
 *
 * If the call ends at the deadline or later, the dependency may only have had too little time. But if all callers have deadlines, a hung
 * dependency must still open its circuit. So the call is a Failure if it had clearly more time than calls usually take, and Ignored
 * otherwise.
 */

/** A call is a Failure if it had this many times the median duration. */
const times = 2
/** Before a median is known, a call needs this share of `slowCall`, or of {@link usualSlowMillis} if that is shorter. */
const share = 1 / 4
const usualSlowMillis = 2_000

const hadTime = ({ durations, policy }: LiveCircuit, millis: number): boolean => {
  const median = durations?.median
  return millis >= (median === undefined ? share * Math.min(policy.slowCallMillis, usualSlowMillis) : times * median)
}

/** Timers may fire a little early. */
const earlyMillis = 2

const detail = "no answer before the deadline of the caller"

/** Settles a call of a caller with a deadline. Run it uninterruptibly. */
export const settleUnderDeadline = (
  registry: Registry,
  permit: Permit,
  { until }: CallDeadline,
  exit: Exit.Exit<unknown, unknown>,
  restore?: Restore
): Effect.Effect<void> | undefined => {
  const { circuit, isAdmitted } = permit
  if (!isAdmitted) return permit.settle(exit, restore)
  const now = registry.runtime.time.now()
  const millis = permit.timeAt(now)
  // After the deadline, the caller may have turned the deadline's error into another error, or into a response.
  const isLate = now >= until - earlyMillis
  if (exit._tag === "Success") {
    if (isLate && !hadTime(circuit, millis)) return permit.settleWithoutFailure(exit, restore)
    const { successes } = circuit
    const settled = permit.settle(exit, restore)
    // A response with status 500 is an answer, too, but a fast one.
    if (circuit.successes > successes) {
      circuit.durations ??= new RecentDurations()
      circuit.durations.record(millis)
    }
    return settled
  }
  const interrupted = Cause.hasInterruptsOnly(exit.cause)
  const cut = interrupted ? isLate : endedAtDeadline(exit.cause)
  if ((cut || isLate) && !hadTime(circuit, millis)) {
    return cut ? permit.settleAs(Outcome.ignored) : permit.settleWithoutFailure(exit, restore)
  }
  return cut && interrupted
    ? permit.settleAs(Outcome.failure({ detail }), Exit.fail(new DeadlineExceeded(detail)))
    : permit.settle(exit, restore)
}
