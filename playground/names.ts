/** Writes the names and captions of policies for the picture. */
import type { PlayReport } from "../src/simulator/figures.ts"
import { recoveryText } from "./figures.ts"
import { millis, type Policy, percent, presetOf, usualCooldown, usualPolicy } from "./settings.ts"

const tripText = ({ failures, threshold, trip }: Policy): string => {
  switch (trip) {
    case "consecutive":
      return `${failures} failures in a row`
    case "rate":
      return `${percent(threshold)} failures`
    case "slow":
      return `${percent(threshold)} slow calls`
    case "either":
      return failures === usualPolicy.failures && threshold === usualPolicy.threshold
        ? ""
        : `${failures} in a row or ${percent(threshold)}`
  }
}

const described = (policy: Policy): string => {
  const { bulkhead, circuits, cooldown, kind, limit, ramp } = policy
  const breaker =
    kind === "none"
      ? []
      : [
          tripText(policy),
          cooldown === usualCooldown(limit) ? "" : `open ${cooldown} s`,
          limit ? "limit" : ramp > 0 ? `ramp ${ramp} s` : "",
          circuits === "name" ? "" : circuits === "replica" ? "for each server" : "pool"
        ]
  const parts = [...breaker, bulkhead === 0 ? "" : `bulkhead ${bulkhead}`].filter((part) => part !== "")
  const what = kind === "none" ? "no breaker" : "breaker"
  return parts.length === 0 ? `${what}, changed` : `${what}: ${parts.join(", ")}`
}

export const letterOf = (index: number): string => "ABCD"[index] ?? String(index + 1)

/** A name such as `B: breaker with limit, 3 attempts`. */
export const nameOf = (policy: Policy, index: number): string => {
  const { attempts, timeout } = policy
  const calls = [
    attempts === usualPolicy.attempts ? "" : `${attempts} attempts`,
    timeout === usualPolicy.timeout ? "" : `timeout ${millis(timeout)}`
  ].filter((part) => part !== "")
  return `${letterOf(index)}: ${[presetOf(policy) ?? described(policy), ...calls].join(", ")}`
}

export const captionOf = ({ recovery, share }: PlayReport): string => {
  const answered = `answers ${Math.round(share * 100)} % of what is possible`
  if (recovery === undefined) return answered
  return `${answered}, ${recovery === Infinity ? "does not recover" : `recovers ${recoveryText(recovery)}`}`
}
