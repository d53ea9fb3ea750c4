import { hostname, userInfo } from "node:os"
import * as Option from "effect/Option"

/** The name of the user who is logged in. */
const me = (): string | undefined => {
  try {
    return userInfo().username
  } catch {
    // The machine has no name for this user.
    return undefined
  }
}

/** The name of this program in the fleet's events. */
export const processName = `effect-fuse@${hostname()}`

export const by = (actor: Option.Option<string>) => ({
  actor: Option.getOrElse(actor, me),
  process: processName
})
