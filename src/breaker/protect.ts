import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { type Decoded, decodeOptions, endlessMillis, type FieldsOf, optional } from "../core/fields.ts"
import { cooldownWait, rejectsAt } from "../engine/answer.ts"
import { Call } from "../engine/call.ts"
import type { Classify } from "../engine/classify.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { encloses } from "../engine/nesting.ts"
import type { Caller, Registry } from "../engine/registry.ts"
import { rejection } from "../engine/rejection.ts"
import { noteRejection } from "../engine/spans.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import type { Policy } from "../policy/policy.ts"
import { decodeInline } from "../policy/settings.ts"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import { nested } from "../shapes/problems.ts"
import { BreakerStore } from "./BreakerStore.ts"
import { type ReadingOptions, readingFields, toClassify } from "./classifyOptions.ts"
import { circuitName, targetFields } from "./options.ts"

/** What is protected and how, its options checked once. */
export interface Subject {
  readonly name: string
  readonly key: string | undefined
  readonly classify: Classify | undefined
  /** Whether `classify` may be an effect, which the caller waits for. */
  readonly waits: boolean
  readonly inline: Partial<Policy> | undefined
}

export interface SubjectOptions extends ReadingOptions {
  readonly key?: string | undefined
  readonly policy?: BreakerPolicy.Input | undefined
}

/** A policy that is written beside a call. */
export const inlinePolicy = optional(nested(decodeInline))

/** The fields of {@link SubjectOptions}. */
export const subjectFields = {
  ...targetFields,
  policy: inlinePolicy,
  ...readingFields
} satisfies FieldsOf<SubjectOptions>

/** Checks the options before anything runs. `path` is where they are, if they are a part of others. */
export const subject = (operation: string, name: string, options: SubjectOptions | undefined, path = ""): Subject =>
  toSubject(operation, name, options === undefined ? {} : decodeOptions(operation, subjectFields, options, path), path)

/** The subject of options that are decoded, perhaps among others. */
export const toSubject = (
  operation: string,
  name: unknown,
  options: Decoded<typeof subjectFields>,
  path = ""
): Subject => ({
  name: circuitName(operation, name),
  key: options.key,
  classify: toClassify(operation, options, path),
  waits: options.classify !== undefined,
  inline: options.policy
})

/** The circuit of a subject for the caller on this fiber. */
const find = (registry: Registry, subject: Subject, caller: Caller): LiveCircuit =>
  registry.find(subject.name, subject.key, caller, subject.inline)

/** The circuit that a fiber means, found with its store, its policies and its tenant. */
export const locate = (fiber: Fiber.Fiber<unknown, unknown>, registry: Registry, subject: Subject): LiveCircuit =>
  find(registry, subject, registry.callerOf(fiber.context))

/** Whether the fiber runs inside a call of this circuit, so that another call of it would be part of that one. */
export const isInside = (fiber: Fiber.Fiber<unknown, unknown>, registry: Registry, circuit: LiveCircuit): boolean =>
  encloses(registry.callerOf(fiber.context).inside, circuit)

export const registryOf = (fiber: Fiber.Fiber<unknown, unknown>): Registry =>
  Context.getUnsafe(fiber.context, BreakerStore)

/**
 * The hot path: no generator, no span, no transaction while the circuit is Closed or Open.
 *
 * Inside a call of the same circuit it runs `self` as a part of that call.
 */
export const guard = (
  self: Effect.Effect<unknown, unknown, unknown>,
  subject: Subject
): Effect.Effect<unknown, unknown> =>
  Effect.withFiber((fiber) => {
    // The services of `self` are those of this fiber, as it runs on it.
    const effect = self as Effect.Effect<unknown, unknown>
    const registry = registryOf(fiber)
    const caller = registry.callerOf(fiber.context)
    const circuit = find(registry, subject, caller)
    const { inside } = caller
    if (encloses(inside, circuit)) return effect
    const now = rejectsAt(circuit, registry.runtime.time)
    if (now !== undefined) {
      circuit.rejected++
      const open = rejection(circuit, now, "Cooldown", cooldownWait(circuit, now))
      noteRejection(fiber, registry.runtime.time, open)
      return Effect.fail(open)
    }
    const tenant = tenantOf(circuit, caller)
    const call = new Call(registry, circuit, effect, subject.classify, tenant, 0, fiber, inside)
    if (subject.waits) {
      return Effect.uninterruptibleMask((restore) =>
        Effect.onExitPrimitive(restore(call), (exit) => {
          call.leave()
          return call.settle(exit, restore)
        })
      )
    }
    return Effect.onExitPrimitive(call, (exit) => {
      call.leave()
      return call.settle(exit)
    })
  })

/**
 * {@link guard}, with something else in place of the call where this circuit does not let it begin. The `CircuitOpen` of
 * another circuit, from within the call, is an error like others.
 */
export const guardOrElse = (
  self: Effect.Effect<unknown, unknown>,
  subject: Subject,
  orElse: (open: CircuitOpen.CircuitOpen) => Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> =>
  Effect.suspend(() => {
    let began = false
    const call = Effect.suspend(() => {
      began = true
      return self
    })
    return Effect.catch(guard(call, subject), (error) =>
      !began && CircuitOpen.isCircuitOpen(error) ? orElse(error) : Effect.fail(error)
    )
  })

/**
 * {@link guard} for a call that may go on after its effect has ended. `goesOn` looks at what it answered, and gives the
 * caller something in its place, which it has handed the permit to: that settles it then, or it lapses. Where it gives
 * nothing the call has ended.
 */
export const guardBeyond = <A>(
  self: Effect.Effect<A, unknown>,
  subject: Subject,
  leaseMillis: number,
  goesOn: (answer: A, permit: Call) => A | undefined
): Effect.Effect<A, unknown> =>
  Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const caller = registry.callerOf(fiber.context)
    const circuit = find(registry, subject, caller)
    const { inside } = caller
    if (encloses(inside, circuit)) return self
    let held = false
    const watched = Effect.map(self, (answer) => {
      const given = goesOn(answer, call)
      held = given !== undefined
      return given ?? answer
    })
    const tenant = tenantOf(circuit, caller)
    const call = new Call(registry, circuit, watched, subject.classify, tenant, leaseMillis, fiber, inside)
    return Effect.uninterruptibleMask((restore) =>
      Effect.onExitPrimitive(restore(call as Effect.Effect<A, unknown>), (exit) => {
        call.leave()
        return held && exit._tag === "Success" ? undefined : call.settle(exit, restore)
      })
    )
  })

const tenantOf = (circuit: LiveCircuit, caller: Caller): string | undefined =>
  circuit.policy.tenants === "counted" ? caller.tenant : undefined

/** How long a permit lasts that its holder settles, in milliseconds. */
export const defaultLease = 600_000

const admitFields = { ...subjectFields, lease: optional(endlessMillis) }

/** Admits without running anything; whoever gets the permit settles it. */
export const admit = (
  name: string,
  options: (SubjectOptions & { readonly lease?: unknown }) | undefined
): Effect.Effect<Call, CircuitOpen.CircuitOpen, BreakerStore> => {
  const operation = "CircuitBreaker.admit"
  const { lease = defaultLease, ...given } = decodeOptions(operation, admitFields, options)
  const target = toSubject(operation, name, given)
  return Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const caller = registry.callerOf(fiber.context)
    const circuit = find(registry, target, caller)
    const call = new Call(registry, circuit, Effect.void, target.classify, tenantOf(circuit, caller), lease)
    // This call is part of the enclosing one: its permit holds no slot, and settling it changes nothing.
    if (encloses(caller.inside, circuit)) return Effect.succeed(call)
    const admitted = call as Effect.Effect<unknown, CircuitOpen.CircuitOpen>
    // Interrupted while it is admitted, it is given back; on the way to its owner, it lapses.
    return Effect.as(
      Effect.onExitPrimitive(admitted, (exit) => (exit._tag === "Failure" ? call.settle(exit) : undefined)),
      call
    )
  })
}
