import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { type Decoded, decodeOptions, endlessMillis, type FieldsOf, optional } from "../core/fields.ts"
import * as Outcome from "../core/Outcome.ts"
import { cooldownWait, rejectsAt } from "../engine/answer.ts"
import { Call } from "../engine/call.ts"
import type { Classify } from "../engine/classify.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { encloses } from "../engine/nesting.ts"
import type { Caller, Registry } from "../engine/registry.ts"
import { rejection } from "../engine/rejection.ts"
import { noteRejection } from "../engine/spans.ts"
import { settleUnderDeadline } from "../engine/underDeadline.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import type { Policy } from "../policy/policy.ts"
import { decodeInline } from "../policy/settings.ts"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import { nested } from "../shapes/problems.ts"
import { BreakerStore } from "./BreakerStore.ts"
import { type ReadingOptions, readingFields, toClassify } from "./classifyOptions.ts"
import { circuitName, targetFields } from "./options.ts"

/** The name, the key and the policy of a circuit. */
export interface CircuitRef {
  readonly name: string
  readonly key: string | undefined
  readonly inline: Partial<Policy> | undefined
  /** The store and the circuit of the latest call. */
  registry: Registry | undefined
  circuit: LiveCircuit | undefined
}

/** The decoded options of a protected call. */
export interface Subject extends CircuitRef {
  readonly classify: Classify | undefined
  /** Whether `classify` may return an effect, for which the caller waits. */
  readonly waits: boolean
}

export interface SubjectOptions extends ReadingOptions {
  readonly key?: string | undefined
  readonly policy?: BreakerPolicy.Input | undefined
}

export const inlinePolicy = optional(nested(decodeInline))

export const subjectFields = {
  ...targetFields,
  policy: inlinePolicy,
  ...readingFields
} satisfies FieldsOf<SubjectOptions>

/** Decodes the options. `path` is the position of the options inside larger ones. */
export const subject = (operation: string, name: string, options: SubjectOptions | undefined, path = ""): Subject =>
  options === undefined
    ? {
        name: circuitName(operation, name),
        key: undefined,
        classify: undefined,
        waits: false,
        inline: undefined,
        registry: undefined,
        circuit: undefined
      }
    : toSubject(operation, name, decodeOptions(operation, subjectFields, options, path), path)

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
  inline: options.policy,
  registry: undefined,
  circuit: undefined
})

/**
 * The circuit of a subject. The subject caches the circuit of its previous call: with many keys, a lookup by name and key costs more than the
 * rest of the call.
 */
export const find = (subject: CircuitRef, caller: Caller): LiveCircuit => {
  const { circuit } = subject
  const { registry } = caller
  return circuit !== undefined &&
    subject.registry === registry &&
    // Subjects for several keys are copies of one.
    circuit.key === subject.key &&
    caller.tenant === undefined &&
    registry.isStill(circuit, caller, subject.inline)
    ? circuit
    : search(subject, caller)
}

const search = (subject: CircuitRef, caller: Caller): LiveCircuit => {
  const { registry } = caller
  const circuit = registry.find(subject.name, subject.key, caller, subject.inline)
  subject.registry = registry
  subject.circuit = circuit
  return circuit
}

let latestContext: Context.Context<never> | undefined
let latestCaller: Caller | undefined

/** The caller of a fiber. The caller of the latest context is cached, because all calls of a fiber have the same context. */
export const callerOf = (fiber: Fiber.Fiber<unknown, unknown>): Caller => {
  const { context } = fiber
  if (context === latestContext) return latestCaller as Caller
  const caller = Context.getUnsafe(context, BreakerStore).callerOf(context)
  // The context inside a call is new for each call, so caching it would not help.
  if (caller.inside === undefined) {
    latestContext = context
    latestCaller = caller
  }
  return caller
}

export const registryOf = ({ context }: Fiber.Fiber<unknown, unknown>): Registry =>
  context === latestContext ? (latestCaller as Caller).registry : Context.getUnsafe(context, BreakerStore)

/** The circuit of a subject, found with the policies and the tenant of the fiber. */
export const locate = (fiber: Fiber.Fiber<unknown, unknown>, subject: Subject): LiveCircuit =>
  find(subject, callerOf(fiber))

/** Whether the fiber runs inside a call of this circuit. If so, a nested call would be part of that call. */
export const isInside = (fiber: Fiber.Fiber<unknown, unknown>, registry: Registry, circuit: LiveCircuit): boolean =>
  encloses(registry.callerOf(fiber.context).inside, circuit)

/**
 * Runs `self` under a circuit, or as part of the enclosing call if the fiber is already inside a call of the same circuit.
 *
 * This is the hot path: no generator, span or transaction while the circuit is Closed or Open.
 */
export const guard = (
  self: Effect.Effect<unknown, unknown, unknown>,
  subject: Subject
): Effect.Effect<unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const caller = callerOf(fiber)
    return guardAt(fiber, caller, find(subject, caller), self, subject)
  })

/**
 * {@link guard} for a circuit that has been found, inside `Effect.withFiber`. `ended` runs when the call has ended, after the circuit
 * has counted the outcome. It also runs for a call that is part of an enclosing call. It does not run if a cooldown rejects the call.
 */
export const guardAt = (
  fiber: Fiber.Fiber<unknown, unknown>,
  caller: Caller,
  circuit: LiveCircuit,
  self: Effect.Effect<unknown, unknown, unknown>,
  how: Pick<Subject, "classify" | "waits">,
  ended?: (exit: Exit.Exit<unknown, unknown>) => void
): Effect.Effect<unknown, unknown> => {
  // `self` runs on this fiber, which has its services.
  const effect = self as Effect.Effect<unknown, unknown>
  const { inside, registry } = caller
  if (encloses(inside, circuit)) {
    if (ended === undefined) return effect
    return Effect.onExitPrimitive(effect, (exit) => {
      ended(exit)
      return undefined
    })
  }
  const now = rejectsAt(circuit, registry.runtime.time)
  if (now !== undefined) {
    circuit.rejected++
    const open = rejection(circuit, now, "Cooldown", cooldownWait(circuit, now))
    noteRejection(fiber, registry.runtime.time, open)
    return Effect.fail(open)
  }
  const tenant = tenantOf(circuit, caller)
  const call = new Call(registry, circuit, effect, how.classify, tenant, 0)
  const { deadline } = caller
  if (deadline !== undefined) {
    return Effect.uninterruptibleMask((restore) =>
      Effect.onExitPrimitive(restore(call), (exit) => {
        call.leave(fiber)
        const settled = settleUnderDeadline(registry, call, deadline, exit, restore)
        ended?.(exit)
        return settled
      })
    )
  }
  if (how.waits) {
    return Effect.uninterruptibleMask((restore) =>
      Effect.onExitPrimitive(restore(call), (exit) => {
        call.leave(fiber)
        const settled = call.settle(exit, restore)
        ended?.(exit)
        return settled
      })
    )
  }
  return Effect.onExitPrimitive(call, (exit) => {
    call.leave(fiber)
    const settled = call.settle(exit)
    ended?.(exit)
    return settled
  })
}

/** {@link guard}, with `orElse` if this circuit rejects the call. A `CircuitOpen` that the call itself fails with is an ordinary error. */
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
 * {@link guard} for a call that may outlive its effect, such as a response whose body is still to be read. `takeOver` receives the answer
 * and the permit. If it returns a replacement for the answer, the replacement must settle the permit, or the permit lapses. If it returns
 * `undefined`, the call has ended.
 */
export const guardBeyond = <A>(
  self: Effect.Effect<A, unknown>,
  subject: Subject,
  leaseMillis: number,
  takeOver: (answer: A, permit: Call) => A | undefined
): Effect.Effect<A, unknown> =>
  Effect.withFiber((fiber) => {
    const caller = callerOf(fiber)
    const { inside, registry } = caller
    const circuit = find(subject, caller)
    if (encloses(inside, circuit)) return self
    let takenOver = false
    const watched = Effect.map(self, (answer) => {
      const given = takeOver(answer, call)
      takenOver = given !== undefined
      return given ?? answer
    })
    const tenant = tenantOf(circuit, caller)
    const call = new Call(registry, circuit, watched, subject.classify, tenant, leaseMillis)
    return Effect.uninterruptibleMask((restore) =>
      Effect.onExitPrimitive(restore(call as Effect.Effect<A, unknown>), (exit) => {
        call.leave(fiber)
        if (takenOver && exit._tag === "Success") return undefined
        return caller.deadline === undefined
          ? call.settle(exit, restore)
          : settleUnderDeadline(registry, call, caller.deadline, exit, restore)
      })
    )
  })

const tenantOf = (circuit: LiveCircuit, caller: Caller): string | undefined =>
  circuit.policy.tenants === "counted" ? caller.tenant : undefined

/** How long a permit lasts unless it is settled, in milliseconds. */
export const defaultLease = 600_000

const admitFields = { ...subjectFields, lease: optional(endlessMillis) }

/** Admits a call without running it. The caller must settle the permit. */
export const admit = (
  name: string,
  options: (SubjectOptions & { readonly lease?: unknown }) | undefined
): Effect.Effect<Call, CircuitOpen.CircuitOpen, BreakerStore> => {
  const operation = "CircuitBreaker.admit"
  const { lease = defaultLease, ...given } = decodeOptions(operation, admitFields, options)
  return admitAs(toSubject(operation, name, given), lease)
}

/** {@link admit} for decoded options. */
export const admitAs = (target: Subject, lease: number): Effect.Effect<Call, CircuitOpen.CircuitOpen, BreakerStore> =>
  Effect.withFiber((fiber) => {
    const caller = callerOf(fiber)
    const { registry } = caller
    const circuit = find(target, caller)
    const call = new Call(registry, circuit, Effect.void, target.classify, tenantOf(circuit, caller), lease)
    // This call is part of the enclosing one: its permit holds no lease, and settling it changes nothing.
    if (encloses(caller.inside, circuit)) return Effect.succeed(call)
    const admitted = call as Effect.Effect<unknown, CircuitOpen.CircuitOpen>
    // An interruption during admission returns the permit. An interruption after it leaves the permit to lapse.
    return Effect.as(
      Effect.onExitPrimitive(admitted, (exit) => (exit._tag === "Failure" ? call.settle(exit) : undefined)),
      call
    )
  })

/**
 * Settles a permit of {@link admitAs} if the caller stops before the dependency has answered. If the caller's deadline interrupts the call,
 * the call may be a Failure, as in {@link guard}. Otherwise, the circuit ignores the call.
 */
export const settleUnanswered = (permit: Call, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const { deadline, registry } = callerOf(fiber)
    const isCut = deadline !== undefined && exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause)
    const settled = isCut ? settleUnderDeadline(registry, permit, deadline, exit) : permit.settleAs(Outcome.ignored)
    return settled ?? Effect.void
  })
