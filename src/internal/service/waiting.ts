import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { BreakerStore } from "../../BreakerStore.ts"
import * as CircuitOpen from "../../CircuitOpen.ts"
import { CurrentTenant } from "../currentTenant.ts"
import { blocking } from "../engine/dependencies.ts"
import { passes, switchedOn } from "../engine/passing.ts"
import { rejection } from "../engine/rejection.ts"
import { effective } from "../engine/standing.ts"
import { isRaisedByUser } from "../rejections.ts"
import { awaitClosed } from "./control.ts"
import { isInside, locate, registryOf, type Subject } from "./protect.ts"

/** Who is told to come back at once does not: others are probing, or a ramp lets only some through. */
const shortestWaitMillis = 50

/** Who waits for ever looks again this often: he may have been told of a circuit of which nothing is heard here. */
const longestWaitMillis = 60_000

/** Until the circuit that rejected may let calls through: until its time is over, or it closes before. */
export const untilItMayPass = (open: CircuitOpen.CircuitOpen, millis: number): Effect.Effect<unknown> =>
  Effect.withFiber((fiber) => {
    const store = Context.getOption(fiber.context, BreakerStore)
    const rest = millis - shortestWaitMillis
    const slept = rest > 0 ? Effect.sleep(rest) : Effect.void
    // The rejection may come from another store or another process, of whose circuits nothing is known here.
    const wait =
      store._tag === "None" || !rejectsIn(store.value, open)
        ? slept
        : Effect.raceFirst(slept, closes(store.value, open))
    return Effect.andThen(Effect.sleep(shortestWaitMillis), wait)
  })

const closes = (registry: BreakerStore["Service"], open: CircuitOpen.CircuitOpen): Effect.Effect<void> =>
  awaitClosed(open.circuit, { key: open.key }).pipe(
    Effect.provideService(BreakerStore, registry),
    // The error has the whole key, tenant and all.
    Effect.provideService(CurrentTenant, undefined)
  )

const rejectsIn = (registry: BreakerStore["Service"], open: CircuitOpen.CircuitOpen): boolean => {
  const circuit = registry.peek(open.circuit, open.key)
  if (circuit === undefined) return false
  const now = registry.runtime.time.now()
  const { _tag } = effective(circuit, now)
  return (_tag !== "Closed" && _tag !== "Disabled") || blocking(registry, circuit, now) !== undefined
}

/** Until the circuit of a call may let it through, for as long as it takes. */
export const untilPasses = (subject: Subject): Effect.Effect<void, never, BreakerStore> =>
  Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const circuit = locate(fiber, registry, subject)
    const now = registry.runtime.time.now()
    if (isInside(fiber, registry, circuit) || passes(registry, circuit, now)) return Effect.void
    const open = rejection(registry, circuit, now, "Cooldown", blocking(registry, circuit, now))
    const wait = Effect.andThen(untilItMayPass(open, waitMillis(open)), untilPasses(subject))
    const { enabled } = circuit.policy
    // A flag that is off lets calls through whatever the state; who waits asks it each time he looks.
    return typeof enabled === "boolean" ? wait : Effect.flatMap(switchedOn(enabled), (on) => (on ? wait : Effect.void))
  })

/** How long to wait after a rejection before the circuit is asked again. */
export const waitMillis = (open: CircuitOpen.CircuitOpen): number =>
  Math.max(shortestWaitMillis, Math.min(longestWaitMillis, Duration.toMillis(open.retryAfter)))

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

/** How much longer a call may wait for circuits, over all its attempts. */
export interface Patience {
  millis: number
  /** Whether a call that had been started is made again: a probe that took too long. */
  readonly again?: boolean
}

/**
 * While a circuit rejects the call, waits and calls again, as long as there is patience: what would take longer fails with
 * the rejection at once.
 */
export const whileRejected = <A, E, R>(self: Effect.Effect<A, E, R>, patience: Patience): Effect.Effect<A, E, R> =>
  Effect.catch(self, (error) => {
    if (!CircuitOpen.isCircuitOpen(error) || isRaisedByUser(error)) return Effect.fail(error)
    if (error.reason === "ProbeTimedOut" && patience.again !== true) return Effect.fail(error)
    const wait =
      patience.millis === Infinity
        ? waitMillis(error)
        : Math.max(shortestWaitMillis, Duration.toMillis(error.retryAfter))
    if (wait > patience.millis) return Effect.fail(error)
    return Effect.flatMap(now, (began) =>
      Effect.andThen(
        untilItMayPass(error, wait),
        Effect.flatMap(now, (ended) => {
          patience.millis -= ended - began
          return whileRejected(self, patience)
        })
      )
    )
  })
