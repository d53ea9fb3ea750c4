import { hostname, userInfo } from "node:os"
import * as Option from "effect/Option"

/** The user who is logged in. */
const me = (): string | undefined => {
  try {
    return userInfo().username
  } catch {
    // A user that the machine has no name for.
    return undefined
  }
}

/** The name of this program in the fleet's events. */
export const processName = `effect-fuse@${hostname()}`

/** The actor and the process of an operator action. */
export const by = (actor: Option.Option<string>) => ({
  actor: Option.getOrElse(actor, me),
  process: processName
})
