import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as TxRef from "effect/TxRef"
import * as BreakerPolicy from "../BreakerPolicy.ts"
import { BreakerStore } from "../BreakerStore.ts"
import * as Circuit from "../Circuit.ts"
import { CurrentTenant } from "./currentTenant.ts"
import { effective, type Inspection, inspect } from "./inspection.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { circuitName, optionalMillis, optionalText } from "./options.ts"
import { registryOf } from "./protect.ts"
import type { Registry } from "./registry.ts"

/** What somebody says who steers a circuit by hand. */
export interface ByHand {
  readonly key?: string | undefined
  readonly reason?: string | undefined
  readonly actor?: string | undefined
}

interface Found {
  readonly registry: Registry
  readonly circuit: LiveCircuit
}

/** Runs `f` on the circuit that the fiber means, which is made if it is not there yet. */
const on = <A>(
  operation: string,
  name: string,
  key: string | undefined,
  f: (found: Found) => Effect.Effect<A>
): Effect.Effect<A, never, BreakerStore> => {
  const circuit = circuitName(operation, name)
  const known = optionalText(operation, "key", key)
  return Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    return f({
      registry,
      circuit: registry.reach(
        circuit,
        known,
        Context.get(fiber.context, CurrentTenant),
        Context.get(fiber.context, BreakerPolicy.Policies)
      )
    })
  })
}

/** Moves the circuit and answers the state that then holds. */
const act = (
  operation: string,
  name: string,
  options: ByHand | undefined,
  why: Circuit.Why,
  next: (found: Found) => Effect.Effect<(current: Circuit.Circuit) => Circuit.Circuit>
): Effect.Effect<Circuit.State, never, BreakerStore> => {
  const detail = optionalText(operation, "reason", options?.reason)
  const actor = optionalText(operation, "actor", options?.actor)
  return on(operation, name, options?.key, (found) => {
    const { circuit, registry } = found
    return Effect.flatMap(next(found), (change) =>
      Effect.map(
        registry.move(circuit, why, change, { detail, actor }),
        () => effective(circuit, registry.time.now())._tag
      )
    )
  })
}

export const force = (
  operation: "isolate" | "disable",
  name: string,
  options: (ByHand & { readonly for?: unknown }) | undefined
): Effect.Effect<Circuit.State, never, BreakerStore> => {
  const tag = operation === "isolate" ? "Isolated" : "Disabled"
  const millis = optionalMillis(operation, "for", options?.for) ?? Infinity
  return act(operation, name, options, tag, ({ registry }) =>
    Effect.succeed((current) => {
      const now = registry.time.now()
      return Circuit.force(current, tag, now, {
        until: now + millis,
        reason: options?.reason ?? `${tag} by hand`,
        actor: options?.actor
      })
    })
  )
}

export const release = (name: string, options: ByHand | undefined): Effect.Effect<Circuit.State, never, BreakerStore> =>
  act("release", name, options, "Released", () => Effect.succeed(Circuit.release))

export const reset = (name: string, options: ByHand | undefined): Effect.Effect<Circuit.State, never, BreakerStore> =>
  act("reset", name, options, "Reset", ({ registry }) =>
    Effect.succeed((current) => Circuit.reset(current, registry.time.now()))
  )

export const close = (name: string, options: ByHand | undefined): Effect.Effect<Circuit.State, never, BreakerStore> =>
  act("close", name, options, "ClosedByHand", ({ circuit, registry }) =>
    Effect.succeed((current) =>
      Circuit.moveUnder(current, (under) => Circuit.close(under, registry.time.now(), circuit.policy))
    )
  )

export const open = (
  name: string,
  options: (ByHand & { readonly for?: unknown }) | undefined
): Effect.Effect<Circuit.State, never, BreakerStore> => {
  const millis = optionalMillis("open", "for", options?.for)
  const cause: Circuit.Cause = {
    why: "OpenedByHand",
    detail: options?.reason ?? "opened by hand",
    actor: options?.actor
  }
  return act("open", name, options, "OpenedByHand", ({ circuit, registry }) =>
    Effect.map(
      millis === undefined ? registry.cooldown(circuit) : Effect.succeed(millis),
      (openFor) => (current: Circuit.Circuit) =>
        Circuit.moveUnder(current, (under) => Circuit.open(under, registry.time.now(), { openFor, cause }))
    )
  )
}

/** Reads a circuit without making one: a name that was never used is Closed and has counted nothing. */
const read = <A>(
  operation: string,
  name: string,
  key: string | undefined,
  f: (registry: Registry, circuit: LiveCircuit) => A
) => {
  const circuit = circuitName(operation, name)
  const known = optionalText(operation, "key", key)
  return Effect.withFiber<A, never, BreakerStore>((fiber) => {
    const registry = registryOf(fiber)
    const policies = Context.get(fiber.context, BreakerPolicy.Policies)
    const own = registry.keyOf(circuit, known, Context.get(fiber.context, CurrentTenant), policies)
    return Effect.succeed(f(registry, registry.peek(circuit, own) ?? registry.blank(circuit, own, policies)))
  })
}

export const state = (name: string, key: string | undefined): Effect.Effect<Circuit.State, never, BreakerStore> =>
  read("state", name, key, (registry, circuit) => effective(circuit, registry.time.now())._tag)

export const inspection = (name: string, key: string | undefined): Effect.Effect<Inspection, never, BreakerStore> =>
  read("inspect", name, key, inspect)

export const list: Effect.Effect<ReadonlyArray<Inspection>, never, BreakerStore> = BreakerStore.useSync((registry) =>
  Array.from(registry.all(), (circuit) => inspect(registry, circuit))
)

/** Waits, in a transaction, until calls pass; an override that will run out is waited for with the clock. */
export const awaitClosed = (name: string, key: string | undefined): Effect.Effect<void, never, BreakerStore> =>
  on("awaitClosed", name, key, ({ circuit, registry }) => waitFor(registry, circuit))

const waitFor = (registry: Registry, circuit: LiveCircuit): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { single } = circuit.group
    const refs = single === undefined || single === circuit ? [circuit.control] : [circuit.control, single.control]
    const passes = Effect.tx(
      Effect.flatMap(Effect.forEach(refs, TxRef.get), () => {
        const now = effective(circuit, registry.time.now())
        return now._tag === "Closed" || now._tag === "Disabled" ? Effect.succeed(true) : Effect.txRetry
      })
    )
    const now = registry.time.now()
    const expiry = Math.min(...refs.map((ref) => (Circuit.isForced(ref.value) ? ref.value.until : Infinity)))
    const again =
      expiry === Infinity ? passes : Effect.raceFirst(passes, Effect.as(Effect.sleep(Math.max(0, expiry - now)), false))
    return Effect.flatMap(again, (passed) => (passed ? Effect.void : waitFor(registry, circuit)))
  })
