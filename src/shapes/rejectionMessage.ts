import * as Duration from "effect/Duration"
import { printable } from "../core/printable.ts"

export interface Rejected {
  readonly circuit: string
  readonly key?: string | undefined
  readonly reason: "Cooldown" | "ProbesBusy" | "ProbeTimedOut" | "Ramping" | "Limited" | "Dependency" | "Isolated"
  readonly retryAfter: Duration.Duration
  readonly dependency?: string | undefined
  readonly detail?: string | undefined
}

// The latest message and wait, because an open circuit rejects many calls in a row with the same ones.
let latest: Rejected | undefined
let words = ""
let latestWait: Duration.Duration | undefined
let wait = ""

const isAlike = (a: Rejected, b: Rejected): boolean =>
  a.circuit === b.circuit &&
  a.key === b.key &&
  a.reason === b.reason &&
  a.detail === b.detail &&
  a.dependency === b.dependency

const wordsOf = (rejected: Rejected): string => {
  const { circuit, dependency, detail, key, reason } = rejected
  if (latest !== undefined && isAlike(latest, rejected)) return words
  // In a message about a dependency, the detail of this circuit would be read as that of the dependency.
  const figures = detail === undefined || reason === "Dependency" ? "" : ` (${detail})`
  const name = key === undefined ? JSON.stringify(circuit) : `${JSON.stringify(circuit)} [${JSON.stringify(key)}]`
  words = printable(`Circuit ${name} ${verbOf(rejected)}${figures}`)
  latest = { circuit, key, reason, detail, dependency, retryAfter: Duration.zero }
  return words
}

const waitOf = (retryAfter: Duration.Duration): string => {
  if (latestWait !== undefined && Duration.toMillis(latestWait) === Duration.toMillis(retryAfter)) return wait
  wait = Duration.isFinite(retryAfter) ? `, retry after ${Duration.format(retryAfter)}` : ""
  latestWait = retryAfter
  return wait
}

export const rejectionMessage = (rejected: Rejected): string => `${wordsOf(rejected)}${waitOf(rejected.retryAfter)}`

const verbOf = ({ dependency, reason }: Rejected): string => {
  switch (reason) {
    case "Cooldown":
      return "is open"
    case "ProbesBusy":
      return "is being probed"
    case "ProbeTimedOut":
      return "gave up a probe"
    case "Ramping":
      return "has just closed and lets only a share of calls through"
    case "Limited":
      return "admits no more calls now because of its limit"
    case "Dependency":
      return `depends on ${JSON.stringify(dependency)}, which lets no calls through`
    case "Isolated":
      return "is isolated"
  }
}
