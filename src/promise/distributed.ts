import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import { foreignText } from "../core/foreign.ts"
import { printable } from "../core/printable.ts"
import { circuitId } from "../store/codec.ts"
import { read } from "../store/known.ts"
import { StoreUnavailableError } from "./errors.ts"
import type { DistributedState } from "./types.ts"

/** How long to wait for the answer of the store. */
const answerMillis = 1_000

const closed = (name: string, key: string | undefined): DistributedState => ({
  name,
  key,
  state: "Closed",
  since: undefined,
  until: undefined,
  openings: 0,
  outage: undefined,
  why: undefined,
  detail: undefined,
  actor: undefined,
  process: undefined
})

/** The state of a circuit in the store; `undefined` if processes do not share the circuit. */
export const distributedState = (
  name: string,
  key: string | undefined
): Effect.Effect<DistributedState | undefined, StoreUnavailableError, BreakerStore> =>
  Effect.flatMap(BreakerStore, ({ runtime: { peers } }) => {
    const id = circuitId(name, key)
    if (peers === undefined || id.length > (peers.store.longestCircuit ?? Infinity)) return Effect.undefined
    const unavailable = (why: string) =>
      new StoreUnavailableError(printable(`The state of "${name}" could not be read from the store: ${why}`))
    const loaded = Effect.timeoutOrElse(
      Effect.catchCause(peers.store.load([id]), (cause) => Effect.fail(unavailable(foreignText(cause)))),
      { duration: answerMillis, orElse: () => Effect.fail(unavailable(`no answer within ${answerMillis} ms`)) }
    )
    return Effect.flatMap(Effect.all([loaded, Clock.currentTimeMillis]), ([{ records }, now]) => {
      const [stored] = records
      if (stored === undefined) return Effect.succeed(closed(name, key))
      const found = read(id, stored, now)
      if (found._tag === "Unreadable") return Effect.fail(unavailable("another version wrote its record"))
      const { actor, openings, outage, process, reason, since, state, until, why } = found
      return Effect.succeed({
        name,
        key,
        state,
        since,
        until,
        openings,
        outage,
        why,
        detail: reason,
        actor,
        process
      })
    })
  })
