import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import { foreignText } from "../core/foreign.ts"
import type { Failure } from "../core/Outcome.ts"
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

/** The longest opening that a dependency can ask for with a failure that opens the circuit by itself: 31 days. */
const longestAsked = 2_678_400_000

/** Whether a failure opens the circuit at once, with any trip. A classifier may return a failure without the field `opens`. */
export const opensAtOnce = ({ opens }: Failure, hintMillis: number): boolean => opens === true && hintMillis > 0

/** Opens a Closed circuit for `hintMillis`, after a failure that opens it by itself. */
export const openAtOnce = (
  runtime: Runtime,
  circuit: LiveCircuit,
  epoch: number,
  now: number,
  hintMillis: number
): Effect.Effect<Moved | undefined> => {
  noteAsked(circuit, epoch, now, hintMillis)
  const wait = Duration.format(Duration.millis(Math.min(longestAsked, Math.ceil(hintMillis))))
  return openTripped(runtime, circuit, epoch, now, `the dependency asks clients to wait ${wait}`)
}

/** Notes for how long the next opening of a circuit lasts, because the dependency has said when it may be called again. */
export const noteAsked = (circuit: LiveCircuit, epoch: number, now: number, hintMillis: number): void => {
  circuit.seenIn(epoch).opensUntil = now + Math.min(longestAsked, hintMillis)
}

/** How many milliseconds the next opening of a circuit lasts. A schedule that fails must not fail the call of the caller. */
export const nextCooldown = (
  runtime: Runtime,
  circuit: LiveCircuit,
  current: Circuit.Circuit,
  hintUntil: number
): Effect.Effect<number> => {
  const now = runtime.time.now()
  const { group, key, policy } = circuit
  const { opensUntil } = circuit.seen()
  if (opensUntil > now) return Effect.succeed(opensUntil - now)
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
