import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import { awaitClosed } from "../breaker/control.ts"
import { isInside, locate, registryOf, type Subject } from "../breaker/protect.ts"
import { answer, passesAll, subjectOf, switchedOn } from "../engine/answer.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import type { Registry } from "../engine/registry.ts"
import { nowOf } from "../engine/time.ts"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import { CurrentTenant } from "../shapes/currentTenant.ts"
import { isRaisedByUser } from "../shapes/rejections.ts"
import { type Line, lineOf, longestWaitMillis, shortestWaitMillis } from "./waitingLine.ts"

type Rejecting = Pick<CircuitOpen.CircuitOpen, "circuit" | "key">

/** Waits `millis`, or until the circuit that rejected closes, if that is earlier. */
export const untilItMayPass = (open: Rejecting, millis: number): Effect.Effect<unknown> =>
  Effect.withFiber((fiber) => {
    const store = Context.getOption(fiber.context, BreakerStore)
    const rest = millis - shortestWaitMillis
    const slept = rest > 0 ? Effect.sleep(rest) : Effect.void
    // A rejection may come from another store or process, whose circuits this store does not know.
    const wait =
      store._tag === "None" || !rejectsIn(store.value, open)
        ? slept
        : Effect.raceFirst(slept, closes(store.value, open.circuit, open.key))
    return Effect.andThen(Effect.sleep(shortestWaitMillis), wait)
  })

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

/** The line of the circuit that rejected the call. `undefined` if this process does not have the circuit, or if the circuit lets calls through now. */
const lineFor = (registry: BreakerStore["Service"], open: Rejecting): Line | undefined => {
  const circuit = registry.peek(open.circuit, open.key)
  if (circuit === undefined) return undefined
  const now = registry.runtime.time.now()
  if (passesAll(registry, circuit, now) && answer(registry, circuit, now)._tag !== "Reject") return undefined
  return lineAt(registry, circuit)
}

/**
 * Finds the line of a circuit. If `enabled` is a flag, there is no line: only calls evaluate the flag, and it may let calls through in any
 * state.
 */
const lineAt = (registry: BreakerStore["Service"], circuit: LiveCircuit): Line | undefined =>
  typeof circuit.policy.enabled === "boolean"
    ? lineOf(registry, circuit, (registry, { group, key }) => closes(registry, group.name, key))
    : undefined

/** Waits for this caller's turn, in the order of arrival. */
export const inLine = (open: Rejecting, millis: number, patience: Patience): Effect.Effect<unknown> =>
  Effect.withFiber((fiber) => {
    const store = Context.getOption(fiber.context, BreakerStore)
    const line = store._tag === "None" ? undefined : lineFor(store.value, open)
    if (line === undefined) return untilItMayPass(open, millis)
    // If another circuit rejected the call this time, the call joins that circuit's line at its end.
    const position = patience.position?.line === line ? patience.position : { line, ticket: line.nextTicket() }
    patience.position = position
    return line.turn(position.ticket, patience.millis)
  })

/** Whether this store has the circuit that rejected the call. A rejection may come from another store or process. */
export const isKnown = ({ circuit, key }: Rejecting): Effect.Effect<boolean> =>
  Effect.withFiber((fiber) => {
    const store = Context.getOption(fiber.context, BreakerStore)
    return Effect.succeed(store._tag === "Some" && store.value.peek(circuit, key) !== undefined)
  })

/**
 * Waits for a turn in the line of a circuit even if the circuit lets calls through now, so that callers that return at the same time
 * continue in waves. Returns at once if the circuit rejects calls for longer than `patience` lasts, or if the circuit does not exist. After
 * a restart, the store does not have the circuit yet. With `wasKnown`, this effect creates the circuit.
 */
export const inTurn = (
  { circuit: name, key, wasKnown = false }: Rejecting & { readonly wasKnown?: boolean | undefined },
  patience: Patience
): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const store = Context.getOption(fiber.context, BreakerStore)
    if (store._tag === "None") return Effect.void
    const registry = store.value
    const circuit = wasKnown
      ? registry.own(name, key, registry.callerOf(fiber.context).policies)
      : registry.peek(name, key)
    if (circuit === undefined) return Effect.void
    const answered = answer(registry, circuit, registry.runtime.time.now())
    if (answered._tag === "Pass" || (answered._tag === "Reject" && answered.wait > patience.millis)) return Effect.void
    const line = lineAt(registry, circuit)
    if (line === undefined) return Effect.void
    const position = { line, ticket: line.nextTicket() }
    patience.position = position
    return spending(patience, line.turn(position.ticket, patience.millis))
  })

/** Waits in line, without limit, until the circuit of a call may let it through. */
export const untilPasses = (subject: Subject, patience: Patience): Effect.Effect<void, never, BreakerStore> =>
  Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const circuit = locate(fiber, subject)
    if (isInside(fiber, registry, circuit)) return Effect.void
    const answered = answer(registry, circuit, registry.runtime.time.now())
    if (answered._tag !== "Reject") return Effect.void
    const { group, key } = subjectOf(circuit, answered)
    const rejecting = { circuit: group.name, key }
    const wait = Effect.andThen(inLine(rejecting, bounded(answered.wait), patience), untilPasses(subject, patience))
    const { enabled } = circuit.policy
    // A flag that is off lets calls through in any state, so each iteration evaluates it.
    return typeof enabled === "boolean" ? wait : Effect.flatMap(switchedOn(circuit), (on) => (on ? wait : Effect.void))
  })

export const waitMillis = (open: CircuitOpen.CircuitOpen): number => bounded(Duration.toMillis(open.retryAfter))

/** Whether the rejected call never started. A probe that timed out had started. */
export const wasNotMade = (error: unknown): error is CircuitOpen.CircuitOpen =>
  CircuitOpen.isCircuitOpen(error) && error.reason !== "ProbeTimedOut"

const bounded = (millis: number): number => Math.max(shortestWaitMillis, Math.min(longestWaitMillis, millis))

const now = Clock.clockWith((clock) => Effect.sync(nowOf(clock)))

/** The state of one call that waits for circuits. `millis` is the remaining wait over all attempts. */
export interface Patience {
  millis: number
  /** Whether to repeat a call that has started: a probe that timed out. */
  readonly again?: boolean
  /** The call's ticket in a line. A call that is rejected again keeps it. */
  position?: { readonly line: Line; readonly ticket: number }
}

/** Runs a wait, and subtracts its duration from `patience`. */
const spending = (patience: Patience, wait: Effect.Effect<unknown>): Effect.Effect<void> =>
  Effect.flatMap(now, (began) =>
    Effect.andThen(
      wait,
      Effect.map(now, (ended) => {
        patience.millis -= ended - began
      })
    )
  )

/**
 * Repeats the call while circuits reject it, as long as `patience` lasts. If the next wait would exceed it, the call fails with the
 * rejection at once.
 */
export const whileRejected = <A, E, R>(self: Effect.Effect<A, E, R>, patience: Patience): Effect.Effect<A, E, R> =>
  Effect.catch(self, (error) => {
    if (!CircuitOpen.isCircuitOpen(error) || isRaisedByUser(error)) return Effect.fail(error)
    if (!wasNotMade(error) && patience.again !== true) return Effect.fail(error)
    const wait =
      patience.millis === Infinity
        ? waitMillis(error)
        : Math.max(shortestWaitMillis, Duration.toMillis(error.retryAfter))
    if (wait > patience.millis) return Effect.fail(error)
    return Effect.andThen(spending(patience, inLine(error, wait, patience)), whileRejected(self, patience))
  })
