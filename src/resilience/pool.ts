import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { guardOrElse, locate, registryOf, type Subject } from "../breaker/protect.ts"
import { answer, enforced } from "../engine/answer.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import type { Registry } from "../engine/registry.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"

export type Choose = "roundRobin" | "inOrder" | "leastBusy"

/** What a pool knows of its members, by their places. */
export interface PoolState {
  /** Who was called last. */
  last: number
  /** How many calls are in flight with each, whether its circuit counts them or not. */
  readonly busy: Array<number>
}

/**
 * The places of all members in the order in which they are to be tried: those whose circuits let calls through as `choose`
 * says, and of the others, in case none does, the one that will first. A circuit that would reject if it were allowed to comes
 * after those that would not. All are looked at in one breath, so that none can change in between.
 */
const inOrder = (
  registry: Registry,
  circuits: ReadonlyArray<LiveCircuit>,
  choose: Choose,
  { busy, last }: PoolState
): ReadonlyArray<number> => {
  const now = registry.runtime.time.now()
  const start = choose === "inOrder" ? 0 : last + 1
  const slots = circuits.map((_, i) => (start + i) % circuits.length)
  const at = (slot: number) => circuits[slot] as LiveCircuit
  const load = (slot: number) => busy[slot] ?? 0
  const sound = slots.filter((slot) => enforced(registry, at(slot), now)._tag !== "Reject")
  if (choose === "leastBusy") sound.sort((a, b) => load(a) - load(b))
  const wait = (slot: number) => {
    const told = answer(registry, at(slot), now)
    return told._tag === "Reject" ? told.wait : 0
  }
  const others = slots.filter((slot) => !sound.includes(slot) && wait(slot) === 0)
  if (sound.length + others.length > 0) return [...sound, ...others]
  return [slots.reduce((best, one) => (wait(one) < wait(best) ? one : best))]
}

const sooner = (a: CircuitOpen | undefined, b: CircuitOpen): CircuitOpen =>
  a !== undefined && Duration.toMillis(a.retryAfter) <= Duration.toMillis(b.retryAfter) ? a : b

/** Calls one member; one whose circuit does not let the call begin, after all, costs it nothing: the next is asked. */
export const callOne = (
  subjects: ReadonlyArray<Subject>,
  choose: Choose,
  slots: PoolState,
  f: (slot: number) => Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const circuits = subjects.map((subject) => locate(fiber, registry, subject))
    const order = inOrder(registry, circuits, choose, slots)
    const from = (i: number, rejected: CircuitOpen | undefined): Effect.Effect<unknown, unknown> => {
      const slot = order[i]
      if (slot === undefined) return Effect.fail(rejected)
      let began = false
      const called = Effect.suspend(() => {
        began = true
        slots.last = slot
        slots.busy[slot] = (slots.busy[slot] ?? 0) + 1
        return f(slot)
      })
      const call = Effect.onExitPrimitive(called, () => {
        if (began) slots.busy[slot] = (slots.busy[slot] ?? 1) - 1
        return undefined
      })
      return guardOrElse(call, subjects[slot] as Subject, (open) => from(i + 1, sooner(rejected, open)))
    }
    return from(0, undefined)
  })
