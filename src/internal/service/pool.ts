import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { CircuitOpen } from "../../CircuitOpen.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { passes } from "../engine/passing.ts"
import type { Registry } from "../engine/registry.ts"
import { waitOf } from "../engine/standing.ts"
import { guardOrElse, locate, registryOf, type Subject } from "./protect.ts"

export type Choose = "roundRobin" | "inOrder" | "leastBusy"

/** Whose turn it is, of members that are all as good. */
export interface Turn {
  next: number
}

interface Candidate {
  readonly place: number
  readonly circuit: LiveCircuit
}

/**
 * The places of all members in the order in which they are to be tried: those whose circuits let calls through as `choose`
 * says, and of the others, in case none does, the one that will first. All are looked at in one breath, so that none can
 * change in between.
 */
const inOrder = (
  registry: Registry,
  circuits: ReadonlyArray<LiveCircuit>,
  choose: Choose,
  turn: Turn
): ReadonlyArray<number> => {
  const now = registry.runtime.time.now()
  const start = choose === "inOrder" ? 0 : turn.next++ % circuits.length
  const rotated = circuits.map((_, i): Candidate => {
    const place = (start + i) % circuits.length
    return { place, circuit: circuits[place] as LiveCircuit }
  })
  const open = rotated.filter(({ circuit }) => passes(registry, circuit, now))
  if (choose === "leastBusy") open.sort((a, b) => a.circuit.inFlight - b.circuit.inFlight)
  if (open.length > 0) return open.map(({ place }) => place)
  const soonest = rotated.reduce((best, one) => (waitOf(one.circuit, now) < waitOf(best.circuit, now) ? one : best))
  return [soonest.place]
}

const sooner = (a: CircuitOpen | undefined, b: CircuitOpen): CircuitOpen =>
  a !== undefined && Duration.toMillis(a.retryAfter) <= Duration.toMillis(b.retryAfter) ? a : b

/** Calls one member; one whose circuit does not let the call begin, after all, costs it nothing: the next is asked. */
export const callOne = (
  subjects: ReadonlyArray<Subject>,
  choose: Choose,
  turn: Turn,
  f: (place: number) => Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const registry = registryOf(fiber)
    const circuits = subjects.map((subject) => locate(fiber, registry, subject))
    const places = inOrder(registry, circuits, choose, turn)
    const from = (i: number, rejected: CircuitOpen | undefined): Effect.Effect<unknown, unknown> => {
      const place = places[i]
      if (place === undefined) return Effect.fail(rejected)
      return guardOrElse(
        Effect.suspend(() => f(place)),
        subjects[place] as Subject,
        (open) => from(i + 1, sooner(rejected, open))
      )
    }
    return from(0, undefined)
  })
