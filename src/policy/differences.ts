import * as Duration from "effect/Duration"
import { plural } from "../core/plural.ts"
import { show } from "../core/printable.ts"
import type { Trip } from "../core/Trip.ts"
import type { Over } from "../core/Window.ts"
import { defaults, type Policy } from "./policy.ts"

/** A policy field has its name in code, and a value in words. */
export interface PolicyDifference {
  readonly name: string
  readonly value: string
}

const millisText = (millis: number): string => Duration.format(Duration.millis(millis))

const overText = (over: Over): string =>
  over._tag === "Calls" ? `of the last ${over.calls} calls` : `within ${millisText(over.millis)}`

const rateText = (
  what: string,
  one: { readonly threshold: number; readonly minimumCalls: number; readonly over: Over }
) =>
  `${Number((one.threshold * 100).toFixed(2))} % ${what} of at least ${plural(one.minimumCalls, "call")} ${overText(one.over)}`

const tripText = (trip: Trip): string => {
  switch (trip._tag) {
    case "Consecutive":
      return `${plural(trip.failures, "failure")} in a row`
    case "FailureRate":
      return rateText("failures", trip)
    case "SlowRate":
      return rateText("slow", trip)
    case "Failures":
      return `${plural(trip.atLeast, "failure")} ${overText(trip.over)}`
    case "Weighted":
      return `failures weighing ${trip.atLeast} ${overText(trip.over)}`
    case "Stuck":
      return `${plural(trip.calls, "call")} running for ${millisText(trip.olderThanMillis)}`
    case "Any":
    case "All":
      return trip.trips.map(tripText).join(trip._tag === "Any" ? ", or " : ", and ")
    case "Custom":
      return `the custom trip ${show(trip.name)}`
  }
}

const valueText = (name: keyof Policy, policy: Policy): string => {
  const value = policy[name]
  if (name === "trip") return tripText(policy.trip)
  if (name === "limit") return policy.limit === false ? "none" : "adaptive"
  if (name === "probe") return policy.probe === undefined ? "none" : "a health check"
  if (name === "cooldown" && typeof value === "object") return "a schedule"
  if (typeof value === "number") return /Millis$|^cooldown$/.test(name) ? millisText(value) : String(value)
  if (Array.isArray(value)) return value.join(", ")
  if (typeof value === "function" || (name === "enabled" && typeof value === "object")) return "a flag"
  return typeof value === "string" ? value : show(value)
}

const longest = 120

/** Policies never change, so a digest can use the differences of the previous digest. */
const computed = new WeakMap<Policy, ReadonlyArray<PolicyDifference>>()

const compute = (policy: Policy): ReadonlyArray<PolicyDifference> =>
  (Object.keys(defaults) as ReadonlyArray<keyof Policy>).flatMap((name) => {
    if (name === "keys") return []
    const value = valueText(name, policy)
    if (value === valueText(name, defaults)) return []
    return [
      { name: name.replace(/Millis$/, ""), value: value.length > longest ? `${value.slice(0, longest)}…` : value }
    ]
  })

export const differences = (policy: Policy): ReadonlyArray<PolicyDifference> => {
  const known = computed.get(policy)
  if (known !== undefined) return known
  const made = compute(policy)
  computed.set(policy, made)
  return made
}
