import type * as EffectCause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Schedule from "effect/Schedule"
import * as Circuit from "../core/Circuit.ts"
import { foreignText } from "../core/foreign.ts"
import { printableCircuit } from "../core/printable.ts"
import type { Policy } from "../policy/policy.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { quietly } from "./logEvent.ts"
import { move } from "./move.ts"
import { openTripped } from "./opening.ts"
import type { Runtime } from "./runtime.ts"
import { timeout } from "./timeout.ts"

/**
 * Starts or stops the health check of a circuit. It runs while the circuit is Open or HalfOpen, and also while it is Closed if the check
 * may open it. The schedule starts again when the circuit opens and when it closes.
 */
export const checkHealth = (runtime: Runtime, circuit: LiveCircuit): void => {
  const { policy, watching: running } = circuit
  const down = isDown(circuit.control.value)
  const wanted = down || mayOpen(circuit) ? policy.probe : undefined
  if (sameProbe(running?.probe, wanted) && (running === undefined || running.down === down)) return
  circuit.unwatch()
  if (wanted === undefined) return
  let failures = 0
  const check = Effect.suspend(() => {
    const { epoch } = circuit.control.value
    return Effect.flatMap(
      Effect.exit(timeout(wanted.check, policy.probeTimeoutMillis)),
      (exit): Effect.Effect<unknown> => {
        failures = exit._tag === "Failure" ? failures + 1 : 0
        if (down) return failures > 0 ? Effect.void : passed(runtime, circuit, epoch)
        return exit._tag === "Failure" && failures >= wanted.opens
          ? failed(runtime, circuit, epoch, exit.cause)
          : Effect.void
      }
    )
  })
  const schedule = typeof wanted.schedule === "number" ? Schedule.spaced(wanted.schedule) : wanted.schedule
  // After the schedule has ended, the next opening starts it again.
  const ended = Effect.sync(() => {
    if (circuit.watching === watching) circuit.watching = undefined
  })
  const named = printableCircuit(circuit.group.name, circuit.key)
  const checks = Effect.catchCause(Effect.schedule(check, schedule), (cause) =>
    quietly(
      Effect.logError(
        `The schedule of the health check of the circuit ${named} failed; the check does not run again in this opening: ${foreignText(cause)}`
      )
    )
  )
  const fiber = runtime.background(Effect.ensuring(checks, ended))
  const watching = { probe: wanted, down, stop: () => fiber.interruptUnsafe() }
  circuit.watching = watching
}

const passed = (runtime: Runtime, circuit: LiveCircuit, epoch: number): Effect.Effect<unknown> =>
  move(runtime, circuit, "HealthCheckPassed", (current, now) =>
    current.epoch === epoch && isDown(current) ? Circuit.close(current, now, circuit.policy) : current
  )

const failed = (
  runtime: Runtime,
  circuit: LiveCircuit,
  epoch: number,
  why: EffectCause.Cause<unknown>
): Effect.Effect<unknown> => {
  // If the circuit has changed since the check began, the result no longer counts.
  if (circuit.control.value.epoch !== epoch || !mayOpen(circuit)) return Effect.void
  return openTripped(runtime, circuit, epoch, runtime.time.now(), `the health check failed: ${foreignText(why)}`)
}

const mayOpen = ({ control, policy }: LiveCircuit): boolean =>
  control.value._tag === "Closed" && policy.enabled !== false && policy.probe !== undefined && policy.probe.opens > 0

const sameProbe = (a: Policy["probe"], b: Policy["probe"]): boolean =>
  a === b ||
  (a !== undefined &&
    b !== undefined &&
    a.check === b.check &&
    a.opens === b.opens &&
    Equal.equals(a.schedule, b.schedule))

const isDown = (control: Circuit.Circuit): control is Circuit.Open | Circuit.HalfOpen =>
  control._tag === "Open" || control._tag === "HalfOpen"
