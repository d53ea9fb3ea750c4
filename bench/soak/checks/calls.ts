/** The promises to callers: a breaker does not change their results, and no call waits for the store. */
import { lags, meets } from "../history.ts"
import type { CallLine } from "../lines.ts"
import { callTimeoutMillis } from "../policies.ts"
import { at, type Check } from "./check.ts"

const show = (voice: string, call: CallLine) => `${voice} ${JSON.stringify(call)}`

/** Whether a call ended as its effect did, or with `CircuitOpen` if the effect did not run, or was a probe that took too long. */
const isOwn = ({ admitted, inner, outer, patience, rejection }: CallLine): boolean => {
  if (outer === "interrupted") return patience > 0
  if (admitted === undefined) return rejection !== undefined && rejection.reason !== "ProbeTimedOut"
  return outer === inner || (rejection?.reason === "ProbeTimedOut" && inner === "interrupted")
}

export const results: Check = {
  name: "no result or error is changed; CircuitOpen is the only one added",
  find: ({ lives }) =>
    lives.flatMap(({ life, of }) => {
      const ending = life.to - 6_000 // a process that shuts down interrupts its own calls
      return of("call")
        .filter((call) => !isOwn(call) && !(call.outer === "interrupted" && (call.done ?? 0) > ending))
        .map((call) => show(life.voice, call))
    })
}

/** A call waits up to 50 ms for a lease. The bound allows for a busy machine. */
const leaseMillis = 50
const bound = 150

export const promptness: Check = {
  name: `no call takes ${leaseMillis + bound} ms more than its own time, or outlives its caller's patience`,
  find: ({ lives }) =>
    lives.flatMap((told) => {
      const slow = lags(told)
      const late = (call: CallLine): boolean => {
        const own = call.admitted === undefined ? 0 : (call.ended ?? call.admitted) - call.admitted
        const over = (call.done ?? Infinity) - call.began - own
        const impatient = call.patience > 0 && (call.done ?? Infinity) - call.began > call.patience + bound
        return (over > leaseMillis + bound || impatient) && !meets(slow, call.began, call.done ?? call.began)
      }
      return told
        .of("call")
        .filter(late)
        .map((call) => show(told.life.voice, call))
    })
}

export const ends: Check = {
  name: "every call ends",
  find: ({ lives }) =>
    lives.flatMap((told) =>
      told
        .of("stuck")
        .filter(({ call, t }) => t - call.began > callTimeoutMillis + 3_000 && !meets(lags(told), t - 3_000, t))
        .map(({ call, t }) => `at ${at(t)} ${show(told.life.voice, call)}`)
    )
}

export const defects: Check = {
  name: "no process dies, and none reports an error",
  find: ({ lives }) =>
    lives.flatMap(({ life, of }) => [
      ...of("trouble").map(({ t, text }) => `${life.voice} at ${at(t)}: ${text}`),
      ...(life.unexpected ? [`${life.voice} ended at ${at(life.to)}`] : [])
    ])
}
