/** Reads the data of the page from a shared store, or from this process. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import { listedHere, overviewFrom } from "../engine/overview.ts"
import type { Registry } from "../engine/registry.ts"
import type { Transition } from "../shapes/BreakerEvent.ts"
import { circuitId } from "../store/codec.ts"
import { type Known, read, type Unreadable } from "../store/known.ts"
import { digestsOf, type Overview, overviewOf } from "../store/overview.ts"
import { limits, type SharedStore, type Stored, StoreError } from "../store/SharedStore.ts"
import type { Digests } from "./processes.ts"
import { bounded } from "./texts.ts"
import { transitionOf } from "./transitions.ts"
import type { TransitionView } from "./view.ts"

/** The circuits that have a record, and the transitions since the previous read. */
export interface CircuitsRead {
  readonly circuits: ReadonlyArray<Known | Unreadable>
  readonly transitions: ReadonlyArray<TransitionView>
  readonly processes: number
  /** Whether anything has changed since the previous read. */
  readonly changed: boolean
}

export type NamesRead = Pick<Overview, "names" | "digests">

export interface Reader {
  readonly kind: "fleet" | "process"
  readonly label: string
  /** The circuits that have a record. Costs little if nothing has changed. */
  readonly circuits: Effect.Effect<CircuitsRead, StoreError>
  readonly names: Effect.Effect<NamesRead, StoreError>
  /** The latest read of `names` found these digests. A reader of one process finds no digests. */
  readonly digests: () => Digests
}

const noAnswer = (operation: "page" | "digests", millis: number) =>
  new StoreError({ operation, cause: new Error(`no answer within ${millis / 1_000} seconds`) })

const within = <A>(reading: Effect.Effect<A, StoreError>, operation: "page" | "digests", millis: number) =>
  Effect.timeoutOrElse(reading, { duration: millis, orElse: () => Effect.fail(noAnswer(operation, millis)) })

// ---- A shared store -------------------------------------------------------------------------------------------------

/** A record that the store lists, or listed within the last hour. */
interface KeptRecord {
  readonly stored: Stored
  readonly readAt: number
  readonly listed: boolean
  known: Known | Unreadable
}

/** The store does not report the end of a record. After this many reads, the reader therefore reads all records again. */
const readsBetweenWhole = 30

/** Whether an override has expired. The store reports no change when it expires. */
const hasEnded = ({ known }: KeptRecord, now: number): boolean =>
  known._tag === "Known" &&
  known.until !== undefined &&
  known.until <= now &&
  (known.state === "Isolated" || known.state === "Disabled")

export const fleetReader = (store: SharedStore, label: string): Reader => {
  let kept = new Map<string, KeptRecord>()
  let since = 0
  let life = ""
  let processes = 0
  let reads = 0
  let isFirst = true
  let digests: Digests = new Map()

  const circuits = () => [...kept.values()].flatMap(({ known, listed }) => (listed ? [known] : []))

  const pages = (
    from: number,
    into: Map<string, KeptRecord>,
    now: number
  ): Effect.Effect<{ readonly epoch: number; readonly life: string; readonly live: number }, StoreError> =>
    Effect.flatMap(store.page(from, limits.page), ({ changes, epoch, life, live }) => {
      for (const { circuit, listed, record } of changes) {
        if (record === undefined) into.delete(circuit)
        else into.set(circuit, { stored: record, readAt: now, listed, known: read(circuit, record, now) })
      }
      const last = changes.at(-1)?.epoch
      return changes.length < limits.page || last === undefined
        ? Effect.succeed({ epoch: Math.max(epoch, last ?? 0), life, live })
        : pages(last, into, now)
    })

  const reading = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const whole = reads++ % readsBetweenWhole === 0
    let next = new Map(whole ? [] : kept)
    let answer = yield* pages(whole ? 0 : since, next, now)
    if (!whole && (answer.life !== life || answer.epoch < since)) {
      // The store has lost its data, or another store has taken its place.
      next = new Map()
      answer = yield* pages(0, next, now)
    }
    const transitions: Array<TransitionView> = []
    let changed = answer.live !== processes
    for (const [circuit, one] of next) {
      if (hasEnded(one, now)) {
        const stored = { ...one.stored, age: one.stored.age + (now - one.readAt) }
        next.set(circuit, { ...one, known: read(circuit, stored, now) })
      }
    }
    for (const [circuit, { known, readAt, stored }] of next) {
      const before = kept.get(circuit)?.known
      if (before === known) continue
      if (before?.epoch === known.epoch && stateIn(before) === stateIn(known)) continue
      changed = true
      transitions.push(...transitionOf(before, known, now, isFirst, readAt - stored.age))
    }
    for (const circuit of kept.keys()) if (!next.has(circuit)) changed = true
    kept = next
    since = answer.epoch
    life = answer.life
    processes = answer.live
    isFirst = false
    return { circuits: circuits(), transitions: transitions.sort((a, b) => a.at - b.at), processes, changed }
  })

  return {
    kind: "fleet",
    label,
    circuits: within(reading, "page", 3_000),
    names: Effect.map(within(digestsOf(store), "digests", 5_000), (read) => {
      digests = read
      return overviewOf(circuits(), [...read.values()], { at: 0, processes })
    }),
    digests: () => digests
  }
}

const stateIn = (one: Known | Unreadable): string => (one._tag === "Unreadable" ? one.body : one.state)

// ---- This process ---------------------------------------------------------------------------------------------------

const keptTransitions = 1_000

const fromEvent = (event: Transition): TransitionView => ({
  at: event.at,
  name: event.circuit,
  key: event.key,
  from: event.from,
  to: event.to,
  why: bounded(event.detail),
  actor: bounded(event.actor, 100)
})

/** Derives transitions from before the page began to listen, from the present states of the circuits. */
const untold = (circuits: ReadonlyArray<Known>, heard: ReadonlyArray<TransitionView>, now: number) => {
  const told = new Set(heard.map(({ key, name }) => circuitId(name, key)))
  return circuits
    .filter(({ key, name }) => !told.has(circuitId(name, key)))
    .flatMap((one) => transitionOf(undefined, one, now, true, one.since))
    .sort((a, b) => a.at - b.at)
}

/** Reads the circuits of this process, and listens to its transitions from now on. */
export const processReader = (registry: Registry, label: string): Effect.Effect<Reader, never, Scope> =>
  Effect.gen(function* () {
    let heard: Array<TransitionView> = []
    let last = ""
    let isFirst = true
    const events = Stream.unwrap(Effect.map(registry.runtime.events.subscribable, Stream.fromPubSubTake))
    yield* Effect.forkScoped(
      Stream.runForEach(events, (event) =>
        Effect.sync(() => {
          if (event._tag !== "Transition") return
          heard.push(fromEvent(event))
          if (heard.length > 2 * keptTransitions) heard = heard.slice(-keptTransitions)
        })
      )
    )
    const overview = overviewFrom(registry)
    return {
      kind: "process",
      label,
      circuits: Effect.sync(() => {
        const circuits = listedHere(registry)
        const gist = JSON.stringify(circuits.map(({ epoch, key, name, state }) => [name, key, epoch, state]))
        const transitions = isFirst ? [...untold(circuits, heard, registry.runtime.time.wall()), ...heard] : heard
        heard = []
        isFirst = false
        const changed = gist !== last || transitions.length > 0
        last = gist
        return { circuits, transitions, processes: 1, changed }
      }),
      names: overview,
      digests: () => new Map()
    }
  })
