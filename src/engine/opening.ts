import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import { foreignText } from "../core/foreign.ts"
import { printableCircuit } from "../core/printable.ts"
import { openFor } from "./cooldown.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { quietly } from "./logEvent.ts"
import { type Moved, move } from "./move.ts"
import type { Runtime } from "./runtime.ts"

export interface Opening {
  readonly openFor: number
  readonly cause: Circuit.Cause
  readonly at: number
}

/** Opens a circuit for the cooldown of its policy, or until `hintUntil` if that is later. */
export const open = (
  runtime: Runtime,
  circuit: LiveCircuit,
  {
    cause,
    epoch,
    hintUntil,
    next,
    process
  }: {
    /** The circuit opens only if it is still in this epoch. */
    readonly epoch: number
    readonly cause: Circuit.Cause
    /** The end of the `retryAfter` of the dependency; 0 if there is none. */
    readonly hintUntil: number
    readonly next: (current: Circuit.Circuit, now: number, opening: Opening) => Circuit.Circuit
    /** For an opening of the fleet: the process that made it. */
    readonly process?: string | undefined
  }
): Effect.Effect<Moved | undefined> =>
  Effect.flatMap(nextCooldown(runtime, circuit, circuit.control.value, hintUntil), (millis) =>
    move(
      runtime,
      circuit,
      cause.why,
      (current, now) =>
        current.epoch === epoch ? next(current, now, { openFor: millis, cause, at: runtime.time.wall() }) : current,
      { ...cause, process }
    )
  )

/** Opens a Closed circuit on the evidence of this process. */
export const openTripped = (
  runtime: Runtime,
  circuit: LiveCircuit,
  epoch: number,
  now: number,
  detail: string
): Effect.Effect<Moved | undefined> => {
  runtime.peers?.opening(circuit, now)
  const cause: Circuit.Cause = { why: "Tripped", detail, actor: undefined }
  const { hintUntil } = circuit.seen()
  const next = (current: Circuit.Circuit, now: number, opening: Opening) =>
    current._tag === "Closed" ? Circuit.open(current, now, opening) : current
  return open(runtime, circuit, { epoch, cause, hintUntil, next })
}

/** How many milliseconds the next opening of a circuit lasts. A schedule that fails must not fail the call of the caller. */
export const nextCooldown = (
  runtime: Runtime,
  { group, key, policy }: LiveCircuit,
  current: Circuit.Circuit,
  hintUntil: number
): Effect.Effect<number> => {
  const now = runtime.time.now()
  const opening = Circuit.nextOpening(current, now)
  return Effect.catchCause(openFor(policy, opening, Math.max(0, hintUntil - now)), (cause) =>
    Effect.as(
      quietly(
        Effect.logError(
          `The cooldown schedule of the circuit ${printableCircuit(group.name, key)} failed; maxCooldown is used: ${foreignText(cause)}`
        )
      ),
      policy.maxCooldownMillis
    )
  )
}
