/** What must hold of a fleet at every moment, whatever goes wrong; and in the end, once nothing does any more. */
import { Duration } from "effect"
import type { CircuitBreaker } from "effect-fuse"
import { Circuit } from "effect-fuse/core"
import type { Entry } from "./history.ts"
import type { Scenario } from "./scenario.ts"
import type { Simulation } from "./simulation.ts"
import type { Record } from "./store.ts"

/** A promise that was broken, and how to see it again. */
export class Broken extends Error {
  readonly promise: string

  constructor(promise: string, seed: number, at: number, detail: string) {
    super(`"${promise}" does not hold with seed ${seed} at ${at.toFixed(1)} ms: ${detail}`)
    this.promise = promise
  }
}

type Swapped = Extract<Entry, { readonly _tag: "Swapped" }>
/** A process may wait this much longer than the fleet before it probes, and be told in time. */
const jitterMillis = 350

type Fail = (promise: string, detail: string) => void

/** Reasons with which people, and only they, change what people forced. */
const byPeople: ReadonlyArray<Circuit.Why> = [
  "Isolated",
  "Disabled",
  "Released",
  "Reset",
  "OpenedByHand",
  "ClosedByHand",
  "Imported"
]

/** The chain of records: each follows from the one that it replaced. */
const records = (probes: number, fail: Fail) => {
  const replaced = new Set<number>()
  const written = new Set<number>()
  const lost = new Set<"time" | "records">()
  /** The epochs from before the store lost both, which it may give again. */
  const given = new Set<number>()
  let last: Swapped | undefined
  return {
    /**
     * What is next follows from nothing that is known here: the store was wiped, or lives in another time. If both happened it cannot
     * know which epochs it has given.
     */
    forget: (what: "time" | "records") => {
      last = undefined
      lost.add(what)
      if (lost.size < 2) return
      for (const epoch of written) given.add(epoch)
      replaced.clear()
      written.clear()
    },
    swapped: (entry: Swapped) => {
      const { provenance, at, before, epoch, state } = entry
      if (before !== 0 && replaced.has(before)) fail("one transition per epoch", `epoch ${before} was replaced twice`)
      if (written.has(epoch)) fail("no epoch is given twice", `epoch ${epoch}`)
      replaced.add(before)
      written.add(epoch)
      if (last !== undefined && before === last.epoch && !given.has(before)) follows(last, entry)
      if (state._tag === "HalfOpen" && state.leases.filter(({ until }) => until > at).length > probes) {
        fail("at most so many valid leases as there may be probes", JSON.stringify(state.leases))
      }
      if (provenance.why === "Tripped" && provenance.policy === undefined)
        fail("a trip says under which policy", `epoch ${epoch}`)
      last = entry
    }
  }

  function follows(previous: Swapped, { provenance, at, state }: Swapped): void {
    // A record that the store had lost, and was given back, follows what the store had before.
    if (provenance.origin !== undefined) return
    const from = Circuit.expire(previous.state, at)
    const isProbing = from._tag === "HalfOpen" && state._tag === "HalfOpen"
    const again = from._tag === "Open" && state._tag === "Open" && provenance.why === "Tripped" && at >= from.until
    // What people did one after the other may be told at once.
    if (
      !isProbing &&
      !again &&
      !byPeople.includes(provenance.why) &&
      !Circuit.isLegal(from._tag, state._tag, provenance.why)
    ) {
      fail("only legal moves", `${from._tag} to ${state._tag} (${provenance.why})`)
    }
    if (Circuit.isForced(from) && !byPeople.includes(provenance.why)) {
      fail("forced states are changed only by people", `${from._tag} to ${state._tag} (${provenance.why})`)
    }
    const opens = provenance.why === "Tripped" || provenance.why === "ProbeFailed" || provenance.why === "ProbeTimedOut"
    if (opens && state._tag === "Open") {
      // One more, if those before still count; more if a process had openings of its own. One that opens again is still the same.
      const before = Circuit.openings(from, at + 1_000)
      if (state.openings < before + (from._tag === "Open" ? 0 : 1)) {
        fail("each opening is counted once", `${state.openings} after ${before}`)
      }
    }
    if (provenance.why === "CooldownOver" && from._tag === "Open" && at < from.until - 1_000) {
      fail("no probe before the opening is over", `${from.until - at} ms too early`)
    }
  }
}

/** The end of the record that holds: nothing but a new one, or the store's own clock, moves it. */
const deadlines = (fail: Fail) => {
  let last: { readonly epoch: number; readonly until: number } | undefined
  let excused = -1
  return {
    /** The store's clock may have stepped back: what it keeps then gets older more slowly, by as much. */
    jumped: (record: Record | undefined) => {
      excused = record?.epoch ?? -1
    },
    look: (record: Record | undefined) => {
      const until = record === undefined || !("until" in record.state) ? undefined : record.state.until
      if (
        record !== undefined &&
        until !== undefined &&
        last?.epoch === record.epoch &&
        until > last.until + 2 &&
        last.epoch !== excused
      ) {
        fail("a denied request extends nothing", `epoch ${record.epoch} ends ${until - last.until} ms later`)
      }
      last = record === undefined || until === undefined ? undefined : { epoch: record.epoch, until }
    }
  }
}

/** What one process knew, and when. */
interface Knew {
  readonly at: number
  readonly turns: number
  readonly state: CircuitBreaker.Inspection | undefined
}

/** What each process does: by what it knew just before. */
const callers = (fail: Fail, simulation: Simulation) => {
  const before: Array<Knew> = []
  let excusedUntil = 0
  return {
    /** Who writes just then may write what it knew before: a place may be given twice. */
    wiped: (at: number) => {
      excusedUntil = at + 1_000
    },
    /** An operator ended what the process knew. A call that waited for a lease is admitted at the same moment. */
    steered: ({ event, process }: Extract<Entry, { readonly _tag: "Event" }>) => {
      const known = before[process]
      if (known === undefined || event._tag !== "Transition" || !byPeople.includes(event.why)) return
      before[process] = { ...known, state: undefined }
    },
    /** Looks at the processes in which something has run. */
    look: () => {
      for (const process of simulation.processes) {
        const { index, turns } = process
        if (before[index]?.turns !== turns) before[index] = { at: simulation.now, turns, state: process.look() }
      }
    },
    admitted: (entry: Extract<Entry, { readonly _tag: "Admitted" }>) => {
      const { at = 0, state: known } = before[entry.process] ?? {}
      if (known === undefined || entry.at < excusedUntil) return
      const left = Duration.toMillis(known.retryAfter)
      if (known.state === "Open" && at + left > entry.at + jitterMillis) {
        fail("nothing is admitted before the end of an opening that a process knows of", `${left} ms were left`)
      }
      if (known.state === "Isolated") fail("nothing is admitted while isolated", `by process ${entry.process}`)
    }
  }
}

/** Plays a scenario and checks at every step; throws the first promise that is broken. */
export const check = (seed: number, { calmAt, endsAt, probes, simulation }: Scenario): void => {
  const fail: Fail = (promise, detail) => {
    throw new Broken(promise, seed, simulation.now, detail)
  }
  const ofRecords = records(probes, fail)
  const ofDeadlines = deadlines(fail)
  const ofCallers = callers(fail, simulation)
  let broken: unknown
  let stored = -1
  simulation.history.onEntry((entry) => {
    // What throws here would end in a fiber of the engine.
    try {
      if (entry._tag === "Swapped") ofRecords.swapped(entry)
      else if (entry._tag === "Admitted") ofCallers.admitted(entry)
      else if (entry._tag === "Event") ofCallers.steered(entry)
      else if (entry._tag === "Defect") fail("no call dies of the engine", String(entry.cause))
      else if (entry._tag === "Wiped") {
        ofRecords.forget("records")
        ofCallers.wiped(entry.at)
      } else if (entry._tag === "Jumped") {
        ofRecords.forget("time")
        ofDeadlines.jumped(simulation.record)
      }
    } catch (error) {
      broken ??= error
    }
  })
  simulation.onStep(() => {
    if (broken !== undefined) throw broken
    if (simulation.store.turns !== stored) {
      stored = simulation.store.turns
      ofDeadlines.look(simulation.record)
    }
    ofCallers.look()
  })
  simulation.runUntil(endsAt)
  if (broken !== undefined) throw broken

  const { processes, record } = simulation.look()
  processes.forEach((process, index) => {
    if (process?.state !== "Closed") {
      const since = simulation.now - calmAt
      fail("all recovers", `process ${index} is ${process?.state} (${process?.scope}) ${since} ms after the last fault`)
    }
  })
  if (record !== undefined && record.state._tag !== "Closed") fail("all recovers", `the record is ${record.state._tag}`)
}
