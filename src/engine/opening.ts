import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import { foreignText } from "../core/foreign.ts"
import { openFor } from "./cooldown.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { quietly } from "./logEvent.ts"
import { type Moved, move } from "./move.ts"
import type { Runtime } from "./runtime.ts"

/** An opening whose length is known, for the moves of `Circuit`. */
export interface Opening {
  readonly openFor: number
  readonly cause: Circuit.Cause
  /** Wall clock, milliseconds since 1970. */
  readonly at: number
}

/** Opens a circuit that is still in the epoch in which that was decided, for as long as its policy or a hint says. */
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
    /** The opening does not end before then. 0 if the dependency did not ask to be left alone. */
    readonly hintUntil: number
    readonly next: (current: Circuit.Circuit, now: number, opening: Opening) => Circuit.Circuit
    /** Set for an opening of the fleet: the process that made it. */
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

/** Opens a Closed circuit because of what this process has seen. */
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

/** How long the next opening of a circuit lasts. A schedule that dies costs no caller his call. */
export const nextCooldown = (
  runtime: Runtime,
  { policy }: LiveCircuit,
  current: Circuit.Circuit,
  hintUntil: number
): Effect.Effect<number> => {
  const now = runtime.time.now()
  const opening = Circuit.nextOpening(current, now)
  return Effect.catchCause(openFor(policy, opening, Math.max(0, hintUntil - now)), (cause) =>
    Effect.as(
      quietly(Effect.logError(`The cooldown schedule of a circuit failed; maxCooldown is used: ${foreignText(cause)}`)),
      policy.maxCooldownMillis
    )
  )
}
