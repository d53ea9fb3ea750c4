import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { guardOrElse, locate, registryOf, type Subject } from "../breaker/protect.ts"
import { answer, enforced } from "../engine/answer.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import type { Registry } from "../engine/registry.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"

export type Choose = "roundRobin" | "inOrder" | "leastBusy"

/** The state of a pool. Members are identified by their index. */
export interface PoolState {
  /** The member of the last call; -1 before the first. */
  last: number
  /** Calls in flight for each member, including calls that its circuit does not count. */
  readonly busy: Array<number>
}

/**
 * The indices of the members in the order in which to try them. First, by `choose`, the members whose circuits let calls through. Then
 * those that only observe, and would reject if they were enforced. If all members reject, only the one with the shortest wait.
 *
 * All circuits are read synchronously, so that none changes in between.
 */
const inOrder = (
  registry: Registry,
  circuits: ReadonlyArray<LiveCircuit>,
  choose: Choose,
  { busy, last }: PoolState
): ReadonlyArray<number> => {
  const now = registry.runtime.time.now()
  const start = choose === "inOrder" ? 0 : last + 1
  const members = circuits.map((_, i) => (start + i) % circuits.length)
  const at = (member: number) => circuits[member] as LiveCircuit
  const load = (member: number) => busy[member] ?? 0
  const sound = members.filter((member) => enforced(registry, at(member), now)._tag !== "Reject")
  if (choose === "leastBusy") sound.sort((a, b) => load(a) - load(b))
  const wait = (member: number) => {
    const answered = answer(registry, at(member), now)
    return answered._tag === "Reject" ? answered.wait : 0
  }
  const others = members.filter((member) => !sound.includes(member) && wait(member) === 0)
  if (sound.length + others.length > 0) return [...sound, ...others]
  return [members.reduce((best, one) => (wait(one) < wait(best) ? one : best))]
}

const sooner = (a: CircuitOpen | undefined, b: CircuitOpen): CircuitOpen =>
  a !== undefined && Duration.toMillis(a.retryAfter) <= Duration.toMillis(b.retryAfter) ? a : b

/** Calls one member. If a circuit rejects the call before it begins, the next member gets it. */
export const callOne = (
  subjects: ReadonlyArray<Subject>,
  choose: Choose,
  state: PoolState,
  f: (member: number) => Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const circuits = subjects.map((subject) => locate(fiber, subject))
    const order = inOrder(registry, circuits, choose, state)
    const from = (i: number, rejected: CircuitOpen | undefined): Effect.Effect<unknown, unknown> => {
      const member = order[i]
      if (member === undefined) return Effect.fail(rejected)
      let began = false
      const called = Effect.suspend(() => {
        began = true
        state.last = member
        state.busy[member] = (state.busy[member] ?? 0) + 1
        return f(member)
      })
      const call = Effect.onExitPrimitive(called, () => {
        if (began) state.busy[member] = (state.busy[member] ?? 1) - 1
        return undefined
      })
      return guardOrElse(call, subjects[member] as Subject, (open) => from(i + 1, sooner(rejected, open)))
    }
    return from(0, undefined)
  })
