import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import { awaitClosed } from "../breaker/control.ts"
import { isInside, locate, registryOf, type Subject } from "../breaker/protect.ts"
import { answer, passesAll, switchedOn } from "../engine/answer.ts"
import type { Registry } from "../engine/registry.ts"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import { CurrentTenant } from "../shapes/currentTenant.ts"
import { isRaisedByUser } from "../shapes/rejections.ts"
import { type Line, lineOf, longestWaitMillis, shortestWaitMillis } from "./line.ts"

/** The circuit that rejected a call. */
type Rejecting = Pick<CircuitOpen.CircuitOpen, "circuit" | "key">

/** Until the circuit that rejected may let calls through: until its time is over, or it closes before. */
export const untilItMayPass = (open: Rejecting, millis: number): Effect.Effect<unknown> =>
  Effect.withFiber((fiber) => {
    const store = Context.getOption(fiber.context, BreakerStore)
    const rest = millis - shortestWaitMillis
    const slept = rest > 0 ? Effect.sleep(rest) : Effect.void
    // The rejection may come from another store or another process, of whose circuits nothing is known here.
    const wait =
      store._tag === "None" || !rejectsIn(store.value, open)
        ? slept
        : Effect.raceFirst(slept, closes(store.value, open.circuit, open.key))
    return Effect.andThen(Effect.sleep(shortestWaitMillis), wait)
  })

/** Waits for the close of a circuit. */
const closes = (registry: Registry, name: string, key: string | undefined): Effect.Effect<void> =>
  awaitClosed(name, { key }).pipe(
    Effect.provideService(BreakerStore, registry),
    // The key already contains the tenant.
    Effect.provideService(CurrentTenant, undefined)
  )

const rejectsIn = (registry: BreakerStore["Service"], open: Rejecting): boolean => {
  const circuit = registry.peek(open.circuit, open.key)
  return circuit !== undefined && !passesAll(registry, circuit, registry.runtime.time.now())
}

/** The line of the circuit that rejected the call. `undefined` if the circuit is not in this process, or its state does not reject. */
const lineFor = (registry: BreakerStore["Service"], open: Rejecting): Line | undefined => {
  const circuit = rejectsIn(registry, open) ? registry.peek(open.circuit, open.key) : undefined
  // A flag can let calls through in any state. The line cannot ask it, because only a call does.
  if (circuit === undefined || typeof circuit.policy.enabled !== "boolean") return undefined
  return lineOf(registry, circuit, (registry, { group, key }) => closes(registry, group.name, key))
}

/** Waits until the circuit that rejected may let the caller through, in the order in which callers came. */
export const inLine = (open: Rejecting, millis: number, patience: Patience): Effect.Effect<unknown> =>
  Effect.withFiber((fiber) => {
    const store = Context.getOption(fiber.context, BreakerStore)
    const line = store._tag === "None" ? undefined : lineFor(store.value, open)
    if (line === undefined) return untilItMayPass(open, millis)
    // If another circuit has rejected the call, the call joins the line of that circuit at its end.
    const place = patience.place?.line === line ? patience.place : { line, ticket: line.nextTicket() }
    patience.place = place
    return line.turn(place.ticket, patience.millis)
  })

/** Waits in line until the circuit of a call may let it through, for as long as it takes. */
export const untilPasses = (subject: Subject, patience: Patience): Effect.Effect<void, never, BreakerStore> =>
  Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const circuit = locate(fiber, registry, subject)
    if (isInside(fiber, registry, circuit)) return Effect.void
    const told = answer(registry, circuit, registry.runtime.time.now())
    if (told._tag !== "Reject") return Effect.void
    const rejecting = { circuit: circuit.group.name, key: circuit.key }
    const wait = Effect.andThen(inLine(rejecting, bounded(told.wait), patience), untilPasses(subject, patience))
    const { enabled } = circuit.policy
    // A flag that is off lets calls through whatever the state; who waits asks it each time he looks.
    return typeof enabled === "boolean" ? wait : Effect.flatMap(switchedOn(circuit), (on) => (on ? wait : Effect.void))
  })

/** How long to wait after a rejection before the circuit is asked again. */
export const waitMillis = (open: CircuitOpen.CircuitOpen): number => bounded(Duration.toMillis(open.retryAfter))

const bounded = (millis: number): number => Math.max(shortestWaitMillis, Math.min(longestWaitMillis, millis))

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

/** How much longer a call may wait for circuits, over all its attempts. */
export interface Patience {
  millis: number
  /** Whether a call that had been started is made again: a probe that took too long. */
  readonly again?: boolean
  /** The call's ticket in a line. The call keeps it if it is rejected again. */
  place?: { readonly line: Line; readonly ticket: number }
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
        inLine(error, wait, patience),
        Effect.flatMap(now, (ended) => {
          patience.millis -= ended - began
          return whileRejected(self, patience)
        })
      )
    )
  })
