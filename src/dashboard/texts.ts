import { printable } from "../core/printable.ts"
import type { Known } from "../store/known.ts"

const longest = 300

/** Makes a foreign text safe to show: limits its length, and escapes control and invisible characters. */
export const bounded = (text: string | undefined, most = longest): string | undefined => {
  if (text === undefined || text === "") return undefined
  const shown = printable(text.length > most ? `${text.slice(0, most)}…` : text)
  return shown.length > 2 * most ? `${shown.slice(0, 2 * most)}…` : shown
}

/** The name of a process, without the random text that the library adds to it. */
export const processName = (voter: string): string | undefined => bounded(voter.replace(/~[^~]*$/, ""), 100)

const words: { readonly [Why in Known["why"]]?: string } = {
  OpenedByHand: "opened by an operator",
  ClosedByHand: "closed by an operator",
  ProbeFailed: "a probe failed",
  ProbeTimedOut: "a probe timed out",
  CooldownOver: "the cooldown is over",
  Recovered: "probes succeeded",
  HealthCheckPassed: "the health check passed",
  Reset: "reset by an operator",
  Released: "the override was released",
  Expired: "the override ended",
  Imported: "imported"
}

/** Why a circuit is in its state, in words. */
export const whyText = ({ reason, why }: Pick<Known, "reason" | "why">): string | undefined => {
  const detail = bounded(reason)
  const said = words[why]
  if (said === undefined || said === detail?.toLowerCase()) return detail
  return detail === undefined ? said : `${said}: ${detail}`
}
