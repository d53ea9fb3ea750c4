import * as Effect from "effect/Effect"
import * as TxRef from "effect/TxRef"
import * as Circuit from "../core/Circuit.ts"
import { decodeOptions } from "../core/fields.ts"
import { type ActionName, type Given, type Taken, take } from "../core/operatorActions.ts"
import { passesAll } from "../engine/answer.ts"
import { dependencies } from "../engine/dependencies.ts"
import { type Inspection, inspect } from "../engine/inspection.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { expire } from "../engine/move.ts"
import { nextCooldown } from "../engine/opening.ts"
import { steer } from "../engine/operate.ts"
import type { Caller, Registry } from "../engine/registry.ts"
import type { Runtime } from "../engine/runtime.ts"
import { effective, scopeOf } from "../engine/standing.ts"
import type { Override } from "../shapes/BreakerEvent.ts"
import type { ByHand, Target } from "../shapes/byHand.ts"
import { endedBy, type Released } from "../shapes/overrides.ts"
import { BreakerStore } from "./BreakerStore.ts"
import { byHandFields, circuitName, fieldsOf, targetFields } from "./options.ts"
import { isInside, registryOf } from "./protect.ts"

interface FoundCircuit {
  readonly registry: Registry
  readonly runtime: Runtime
  readonly circuit: LiveCircuit
}

type Find = (registry: Registry, name: string, key: string | undefined, caller: Caller) => LiveCircuit

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

/** Finds the circuit, or creates it. */
const reach: Find = (registry, ...which) => registry.reach(...which)

/** Finds the circuit without creating it. A name without a circuit reads as Closed, without counts. */
const view: Find = (registry, ...which) => registry.view(...which)

/** Takes an operator action on several circuits in one transaction. Returns the overrides that it ended. */
const act = (
  runtime: Runtime,
  circuits: ReadonlyArray<LiveCircuit>,
  action: ActionName,
  given: Given
): Effect.Effect<ReadonlyArray<Override>> => {
  const taken = take(action, given)
  const ended = new Map<string, Override>()
  const next: Taken["next"] = (current, now, context) => {
    // `next` also runs on the fleet's record, which may contain an override that this process does not know yet.
    for (const one of endedBy(taken.why, current, now, context.at)) {
      const id = `${one.state} ${one.actor ?? ""}`
      if (!ended.has(id)) ended.set(id, one)
    }
    return taken.next(current, now, context)
  }
  // An expired override ends before the action, as a separate transition.
  return Effect.forEach(circuits, (circuit) => expire(runtime, circuit), { discard: true }).pipe(
    Effect.flatMap(() => steer(runtime, circuits, { ...taken, next })),
    Effect.map(() => [...ended.values()])
  )
}

/** Takes an operator action on one circuit. Returns the state after it, and the overrides that it ended. */
export const byHand = (
  action: ActionName,
  name: string,
  options: (ByHand & { readonly for?: unknown }) | undefined
): Effect.Effect<Released, never, BreakerStore> => {
  const operation = `CircuitBreaker.${action}`
  const { for: millis, key, ...by } = decodeOptions(operation, fieldsOf(action), options)
  const given: Given = { ...by, millis }
  return on(circuitName(operation, name), key, reach, ({ circuit, runtime }) => {
    const cooldown =
      action === "open" && given.millis === undefined
        ? nextCooldown(runtime, circuit, circuit.control.value, circuit.seen().hintUntil)
        : Effect.succeed(given.millis)
    return Effect.map(
      Effect.flatMap(cooldown, (millis) => act(runtime, [circuit], action, { ...given, millis })),
      (ended) => ({ state: effective(circuit, runtime.time.now())._tag, ended })
    )
  })
}

/** Resets several circuits of a name, in one transaction. */
export const resetAll = (
  operation: string,
  name: string,
  keys: ReadonlyArray<string>,
  options: Omit<ByHand, "key"> | undefined
): Effect.Effect<void, never, BreakerStore> => {
  const given = decodeOptions(operation, byHandFields, options)
  return Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const caller = registry.callerOf(fiber.context)
    const circuits = keys.map((key) => registry.reach(name, key, caller))
    return Effect.asVoid(act(registry.runtime, circuits, "reset", given))
  })
}

const read = <A>(
  operation: string,
  name: string,
  options: Target | undefined,
  f: (found: FoundCircuit) => Effect.Effect<A>
): Effect.Effect<A, never, BreakerStore> => {
  const { key } = decodeOptions(operation, targetFields, options)
  return on(circuitName(operation, name), key, view, f)
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

/** Waits until the circuit lets calls through. */
export const awaitClosed = (name: string, target: Target | undefined): Effect.Effect<void, never, BreakerStore> => {
  // The lookup repeats on every iteration, as circuits may have been created meanwhile.
  const wait: Effect.Effect<void, never, BreakerStore> = Effect.flatMap(
    read("CircuitBreaker.awaitClosed", name, target, ({ circuit, registry }) =>
      Effect.withFiber((fiber) =>
        // A probe that waited for its own circuit would never end.
        isInside(fiber, registry, circuit) ? Effect.succeed(true) : awaitChange(registry, circuit)
      )
    ),
    (passes) => (passes ? Effect.void : wait)
  )
  return wait
}

/**
 * Waits for one relevant change. `true` if the circuit then lets calls through, `false` if the caller must look again. A change of state
 * wakes the transaction. An override or a cooldown can be over without a change of state, so a sleep waits for that.
 */
const awaitChange = (registry: Registry, circuit: LiveCircuit): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const { time } = registry.runtime
    const watched = [circuit, circuit.group.single, ...dependencies(registry, circuit)].filter(
      (one) => one !== undefined
    )
    const now = time.now()
    /** When the first override or cooldown of the watched circuits ends. */
    const firstEnd = Math.min(...watched.map((one) => endOf(one, circuit, now)))
    // After a change, the caller starts over, as the set of relevant circuits may be different.
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
    if (firstEnd === Infinity) return passes
    return Effect.raceFirst(passes, Effect.as(Effect.sleep(firstEnd - now), false))
  })

/** When an override, or the cooldown of a blocking dependency, ends by itself. `Infinity` if nothing does. */
const endOf = (one: LiveCircuit, waiting: LiveCircuit, now: number): number => {
  const control = one.control.value
  const until =
    Circuit.isForced(control) || (control._tag === "Open" && one.group !== waiting.group) ? control.until : 0
  return now < until ? until : Infinity
}
