import * as Effect from "effect/Effect"
import * as TxRef from "effect/TxRef"
import * as Circuit from "../core/Circuit.ts"
import { onlyFields } from "../core/fields.ts"
import { printable } from "../core/printable.ts"
import { passesAll } from "../engine/answer.ts"
import { dependencies } from "../engine/dependencies.ts"
import { type Inspection, inspect } from "../engine/inspection.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { expire, type Next, nextCooldown } from "../engine/move.ts"
import { steer } from "../engine/operate.ts"
import type { Caller, Registry } from "../engine/registry.ts"
import type { Runtime } from "../engine/runtime.ts"
import { effective, scopeOf } from "../engine/standing.ts"
import type { Override } from "../shapes/BreakerEvent.ts"
import { overridesOf } from "../shapes/overrides.ts"
import { BreakerStore } from "./BreakerStore.ts"
import { circuitName, keyByHand, optionalMillis, optionalText } from "./options.ts"
import { isInside, registryOf } from "./protect.ts"

/** Which circuit of a name. */
export interface Target {
  readonly key?: string | undefined
}

/** What somebody says who steers a circuit by hand. */
export interface ByHand extends Target {
  readonly reason?: string | undefined
  readonly actor?: string | undefined
}

/** What each verb may be told; nobody means for ever who says `form: "1 minute"`. */
const forAll = ["reason", "actor"]
const forOne = ["key", ...forAll]
const forAWhile = [...forOne, "for"]

const decodeByHand = (operation: string, fields: ReadonlyArray<string>, options: ByHand | undefined): ByHand => {
  const { actor, reason } = onlyFields(operation, fields, options ?? {})
  return { actor: optionalText(operation, "actor", actor), reason: optionalText(operation, "reason", reason) }
}

interface FoundCircuit {
  readonly registry: Registry
  readonly runtime: Runtime
  readonly circuit: LiveCircuit
}

type Find = (registry: Registry, name: string, key: string | undefined, caller: Caller) => LiveCircuit

/** Runs `f` on the circuit that the fiber means, as `find` finds it. */
const on = <A>(
  name: string,
  key: string | undefined,
  find: Find,
  f: (found: FoundCircuit) => Effect.Effect<A>
): Effect.Effect<A, never, BreakerStore> =>
  Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    return f({
      registry,
      runtime: registry.runtime,
      circuit: find(registry, name, key, registry.callerOf(fiber.context))
    })
  })

/** For who steers: makes the circuit if it is not there yet. */
const reach: Find = (registry, ...which) => registry.reach(...which)

/** For who looks: makes none. A name that was never used is Closed and has counted nothing. */
const view: Find = (registry, ...which) => registry.view(...which)

/** Moves the circuit and answers the state that then holds, and what moved it. */
const acting = <N extends Next>(
  operation: string,
  name: string,
  options: ByHand | undefined,
  why: Circuit.Why,
  next: (found: FoundCircuit) => N | Effect.Effect<N>,
  fields: ReadonlyArray<string> = forOne
): Effect.Effect<{ readonly state: Circuit.State; readonly next: N }, never, BreakerStore> => {
  const { actor, reason: detail } = decodeByHand(operation, fields, options)
  return on(circuitName(operation, name), keyByHand(operation, options?.key), reach, (found) => {
    const { circuit, runtime } = found
    const change = next(found)
    // What has run out is over before anything else begins.
    return Effect.andThen(
      expire(runtime, circuit),
      Effect.flatMap(Effect.isEffect(change) ? change : Effect.succeed(change), (change) =>
        Effect.map(steer(runtime, [circuit], { next: change, why, detail, actor }), () => ({
          state: effective(circuit, runtime.time.now())._tag,
          next: change
        }))
      )
    )
  })
}

/** Moves the circuit and answers the state that then holds. */
const act = (...how: Parameters<typeof acting>): Effect.Effect<Circuit.State, never, BreakerStore> =>
  Effect.map(acting(...how), ({ state }) => state)

const reasonOf = (operation: string, options: ByHand | undefined, otherwise: string): string =>
  printable(optionalText(operation, "reason", options?.reason) ?? otherwise)

export const force = (
  verb: "isolate" | "disable",
  name: string,
  options: (ByHand & { readonly for?: unknown }) | undefined
): Effect.Effect<Circuit.State, never, BreakerStore> => {
  const operation = `CircuitBreaker.${verb}`
  const tag = verb === "isolate" ? "Isolated" : "Disabled"
  const millis = optionalMillis(operation, "for", options?.for) ?? Infinity
  const reason = reasonOf(operation, options, `${tag} by hand`)
  return act(
    operation,
    name,
    options,
    tag,
    () => (current, now) => Circuit.force(current, tag, now, { until: now + millis, reason, actor: options?.actor }),
    forAWhile
  )
}

/** The result of {@link release}. */
export interface Released {
  /** The state after the release. */
  readonly state: Circuit.State
  /** The overrides that the release ended. The override that decided the state comes first. */
  readonly ended: ReadonlyArray<Override>
}

export const release = (name: string, options: ByHand | undefined): Effect.Effect<Released, never, BreakerStore> =>
  Effect.map(
    acting("CircuitBreaker.release", name, options, "Released", ({ runtime: { time } }) => {
      const ended = new Map<string, Override>()
      const next: Next = (current) => {
        // `next` also runs on the fleet's record, which may contain an override that this process does not know yet.
        for (const one of overridesOf(current, time.now(), time.wall())) {
          const id = `${one.state} ${one.actor ?? ""}`
          if (!ended.has(id)) ended.set(id, one)
        }
        return Circuit.release(current)
      }
      return Object.assign(next, { ended })
    }),
    ({ next, state }) => ({ state, ended: [...next.ended.values()] })
  )

export const reset = (name: string, options: ByHand | undefined): Effect.Effect<Circuit.State, never, BreakerStore> =>
  act("CircuitBreaker.reset", name, options, "Reset", () => Circuit.reset)

/** {@link reset} of several circuits of a name, all in one transaction. */
export const resetAll = (
  operation: string,
  name: string,
  keys: ReadonlyArray<string>,
  by: Omit<ByHand, "key"> | undefined
): Effect.Effect<void, never, BreakerStore> => {
  const { actor, reason: detail } = decodeByHand(operation, forAll, by)
  return Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const caller = registry.callerOf(fiber.context)
    const circuits = keys.map((key) => registry.reach(name, key, caller))
    // What has run out is over before anything else begins.
    const reset = Effect.andThen(
      Effect.forEach(circuits, (circuit) => expire(registry.runtime, circuit), { discard: true }),
      Effect.suspend(() => steer(registry.runtime, circuits, { next: Circuit.reset, why: "Reset", detail, actor }))
    )
    return Effect.asVoid(reset)
  })
}

export const close = (name: string, options: ByHand | undefined): Effect.Effect<Circuit.State, never, BreakerStore> =>
  act(
    "CircuitBreaker.close",
    name,
    options,
    "ClosedByHand",
    ({ circuit }) =>
      (current, now) =>
        Circuit.moveUnder(current, (under) => Circuit.close(under, now, circuit.policy))
  )

export const open = (
  name: string,
  options: (ByHand & { readonly for?: unknown }) | undefined
): Effect.Effect<Circuit.State, never, BreakerStore> => {
  const millis = optionalMillis("CircuitBreaker.open", "for", options?.for)
  const detail = reasonOf("CircuitBreaker.open", options, "opened by hand")
  const cause: Circuit.Cause = { why: "OpenedByHand", detail, actor: options?.actor }
  return act(
    "CircuitBreaker.open",
    name,
    options,
    "OpenedByHand",
    ({ circuit, runtime }) =>
      Effect.map(
        millis === undefined
          ? nextCooldown(runtime, circuit, circuit.control.value, circuit.seen().hintUntil)
          : Effect.succeed(millis),
        (openFor): Next =>
          (current, now) =>
            Circuit.moveUnder(current, (under) => Circuit.open(under, now, { openFor, cause, at: runtime.time.wall() }))
      ),
    forAWhile
  )
}

const read = <A>(
  operation: string,
  name: string,
  options: Target | undefined,
  f: (found: FoundCircuit) => Effect.Effect<A>
): Effect.Effect<A, never, BreakerStore> => {
  const { key } = onlyFields(operation, ["key"], options ?? {})
  return on(circuitName(operation, name), optionalText(operation, "key", key), view, f)
}

export const state = (name: string, target: Target | undefined): Effect.Effect<Circuit.State, never, BreakerStore> =>
  read("CircuitBreaker.state", name, target, ({ circuit, runtime }) =>
    Effect.succeed(effective(circuit, runtime.time.now())._tag)
  )

export const scope = (
  name: string,
  target: Target | undefined
): Effect.Effect<"local" | "fleet", never, BreakerStore> =>
  read("CircuitBreaker.scope", name, target, ({ circuit, runtime }) =>
    Effect.succeed(scopeOf(circuit, runtime.time.now()))
  )

export const inspection = (name: string, target: Target | undefined): Effect.Effect<Inspection, never, BreakerStore> =>
  read("CircuitBreaker.inspect", name, target, ({ circuit, registry }) => Effect.succeed(inspect(registry, circuit)))

export const list: Effect.Effect<ReadonlyArray<Inspection>, never, BreakerStore> = BreakerStore.useSync((registry) =>
  registry.all().map((circuit) => inspect(registry, circuit))
)

/** Waits, in a transaction, until calls pass; what ends by itself (an override, a cooldown) is waited for with the clock. */
export const awaitClosed = (name: string, target: Target | undefined): Effect.Effect<void, never, BreakerStore> => {
  // Looked up again each time: the circuits that matter may have been made meanwhile.
  const wait: Effect.Effect<void, never, BreakerStore> = Effect.flatMap(
    read("CircuitBreaker.awaitClosed", name, target, ({ circuit, registry }) =>
      Effect.withFiber((fiber) =>
        // A probe that waits for its own circuit to close would wait for itself.
        isInside(fiber, registry, circuit) ? Effect.succeed(true) : mayHavePassed(registry, circuit)
      )
    ),
    (passes) => (passes ? Effect.void : wait)
  )
  return wait
}

/** Waits until the circuit lets calls through, or until what there is to wait for is no longer the same. */
const mayHavePassed = (registry: Registry, circuit: LiveCircuit): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const { time } = registry.runtime
    const circuits = () =>
      [circuit, circuit.group.single, ...dependencies(registry, circuit)].filter((one) => one !== undefined)
    const watched = circuits()
    /** When the first of what ends by itself does so. */
    const nextEnd = () => Math.min(...watched.map((one) => endOf(one, circuit, time.now())))
    const armed = nextEnd()
    // What was seen after a wait is looked at again from the beginning, with the circuits that there are then.
    let waited = false
    const passes = Effect.tx(
      Effect.flatMap(
        Effect.forEach(watched, (one) => TxRef.get(one.control)),
        () => {
          if (waited || passesAll(registry, circuit, time.now())) return Effect.succeed(!waited)
          waited = true
          return Effect.txRetry
        }
      )
    )
    if (armed === Infinity) return passes
    return Effect.raceFirst(passes, Effect.as(Effect.sleep(armed - time.now()), false))
  })

/** An override ends at its expiry; that a dependency blocks ends with its cooldown. */
const endOf = (one: LiveCircuit, waiting: LiveCircuit, now: number): number => {
  const control = one.control.value
  const until =
    Circuit.isForced(control) || (control._tag === "Open" && one.group !== waiting.group) ? control.until : 0
  return now < until ? until : Infinity
}
