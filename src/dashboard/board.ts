/** The content of the page, and the changes of each read. Pure: time is an argument. */

import { circuitId } from "../store/codec.ts"
import type { NameOverview } from "../store/overview.ts"
import { circuitsOf, type Facts, trafficOf } from "./circuits.ts"
import type { CircuitsRead, NamesRead } from "./reader.ts"
import {
  type Change,
  type CircuitView,
  type HistoryView,
  hourMillis,
  type PageView,
  type Sample,
  type SourceView,
  samples,
  type TrafficView,
  type TransitionView
} from "./view.ts"

/** How often the server takes a sample of the traffic, in milliseconds. */
export const sampleMillis = 5_000

/** At most this many transitions are kept: an outage of many circuits has thousands. */
const mostTransitions = 2_000

/** How long the digests of the processes may lag behind a change of the fleet's record. */
const digestLagMillis = 12_000

interface BoardEntry {
  facts: Facts
  /** The facts as JSON, to see whether they changed. */
  text: string
  traffic: TrafficView | undefined
  history: { readonly [Name in keyof HistoryView]: Array<number> } | undefined
}

export const toSample = (id: string, one: TrafficView): Sample => [
  id,
  one.calls,
  one.failures,
  one.rejections,
  one.slow,
  one.inFlight,
  one.p50 ?? null,
  one.p95 ?? null,
  one.limit ?? null
]

const nothing: TrafficView = {
  calls: 0,
  failures: 0,
  rejections: 0,
  slow: 0,
  p50: undefined,
  p95: undefined,
  inFlight: 0,
  limit: undefined
}

export class Board {
  private readonly scope: Facts["scope"]
  private readonly entries = new Map<string, BoardEntry>()
  private names: ReadonlyArray<NameOverview> = []
  private reporting = 0
  private leftOut = 0
  private processes = 0
  private transitions: ReadonlyArray<TransitionView> = []
  /** When the fleet's record of each name last changed. */
  private readonly changedAt = new Map<string, number>()
  /**
   * Some processes had opened these names without the fleet. `aloneBefore` is from the second last sample, `alone` is from the last sample.
   */
  private aloneBefore = new Set<string>()
  private alone = new Set<string>()
  private sampledAt = -Infinity
  /** Whether the last sample restarted the histories. Viewers then need the whole view. */
  restarted = false
  at = 0
  source: SourceView

  constructor(kind: SourceView["kind"], label: string) {
    this.scope = kind === "fleet" ? "fleet" : "local"
    this.source = { kind, label, problem: undefined }
  }

  /** Updates the page with the result of a read. If `names` is given, it also adds a sample. Returns the changes. */
  take(at: number, read: CircuitsRead, names: NamesRead | undefined): Change {
    this.at = at
    this.restarted = false
    this.source = { ...this.source, problem: undefined }
    this.processes = read.processes
    for (const { at: when, name } of read.transitions) this.changedAt.set(name, Math.max(when, at - digestLagMillis))
    this.transitions = [...this.transitions, ...read.transitions]
      .filter(({ at: when }) => when > at - hourMillis)
      .slice(-mostTransitions)
    if (names !== undefined) this.meet(at, names)
    const { circuits, gone } = read.changed || names !== undefined ? this.place(at, read) : { circuits: [], gone: [] }
    return {
      ...this.change(circuits, gone, names === undefined ? undefined : this.sample(at)),
      transitions: read.transitions
    }
  }

  /** Notes that the data cannot be read. */
  fail(at: number, message: string): Change {
    this.at = at
    this.source = { ...this.source, problem: this.source.problem ?? { since: at, message } }
    return this.change([], [], undefined)
  }

  has(name: string): boolean {
    return this.entries.has(circuitId(name, undefined))
  }

  get processCount(): number {
    return this.processes
  }

  circuit(id: string): CircuitView | undefined {
    const entry = this.entries.get(id)
    return entry && { ...entry.facts, traffic: entry.traffic, history: entry.history }
  }

  transitionsOf(name: string, key: string | undefined): ReadonlyArray<TransitionView> {
    return this.transitions.filter((one) => one.name === name && (key === undefined || one.key === key))
  }

  /** The whole content. The browser receives and draws the first circuits first, so circuits that are not closed come first. */
  view(): Omit<PageView, "rights"> {
    const down: Array<BoardEntry> = []
    const others: Array<BoardEntry> = []
    for (const entry of this.entries.values()) (entry.facts.state === "Closed" ? others : down).push(entry)
    return {
      at: this.at,
      every: sampleMillis,
      leftOut: this.leftOut,
      source: this.source,
      processes: this.processes,
      reporting: this.reporting,
      circuits: [...down, ...others].map(({ facts, history, traffic }) => ({ ...facts, traffic, history })),
      transitions: this.transitions
    }
  }

  private change(
    circuits: ReadonlyArray<CircuitView>,
    gone: ReadonlyArray<string>,
    sample: ReadonlyArray<Sample> | undefined
  ): Change {
    const { at, leftOut, processes, reporting, source } = this
    return { at, source, processes, reporting, leftOut, circuits, gone, transitions: [], sample }
  }

  private meet(at: number, { digests, names }: NamesRead): void {
    this.names = names
    this.reporting = digests
    this.aloneBefore = this.alone
    this.alone = new Set(names.filter(({ notClosedIn }) => notClosedIn > 0).map(({ name }) => name))
    for (const [name, when] of this.changedAt) if (at - when > 2 * digestLagMillis) this.changedAt.delete(name)
  }

  /**
   * Whether some processes have opened a name without the fleet. Two samples in a row must show it. The fleet's record must not have
   * changed just before, because a digest may be one interval older than the record.
   */
  private isAlone(at: number, name: string): boolean {
    return (
      this.scope === "fleet" &&
      this.alone.has(name) &&
      this.aloneBefore.has(name) &&
      at - (this.changedAt.get(name) ?? -Infinity) > digestLagMillis
    )
  }

  /** Updates the circuits of the page. Returns the changes. */
  private place(at: number, { circuits }: CircuitsRead) {
    const { names } = this
    const shown = circuitsOf({ circuits, names }, this.scope, ({ name }) => this.isAlone(at, name))
    this.leftOut = shown.leftOut
    const changed: Array<CircuitView> = []
    for (const [id, facts] of shown.circuits) {
      const text = JSON.stringify(facts)
      const entry = this.entries.get(id)
      if (entry === undefined) {
        this.entries.set(id, { facts, text, traffic: undefined, history: undefined })
        changed.push({ ...facts, traffic: undefined, history: undefined })
      } else if (entry.text !== text) {
        entry.facts = facts
        entry.text = text
        changed.push({ ...facts, traffic: undefined, history: undefined })
      }
    }
    const gone = [...this.entries.keys()].filter((id) => !shown.circuits.has(id))
    for (const id of gone) this.entries.delete(id)
    return { circuits: changed, gone }
  }

  /** Adds a sample to the history of each name. Returns the samples that differ from the previous ones. */
  private sample(at: number): ReadonlyArray<Sample> {
    // After a gap without a viewer or without the store, the histories restart: their samples must be equally far apart.
    const isNew = at - this.sampledAt > 3 * sampleMillis
    this.restarted = isNew
    this.sampledAt = at
    const changed: Array<Sample> = []
    for (const { name, traffic } of this.names) {
      const id = circuitId(name, undefined)
      const entry = this.entries.get(id)
      if (entry === undefined) continue
      if (isNew) entry.history = undefined
      const before = entry.traffic
      if (traffic === undefined && before === undefined) continue
      const now = traffic === undefined ? nothing : trafficOf(traffic)
      entry.traffic = now
      entry.history ??= { calls: [], failures: [], rejections: [] }
      for (const field of ["calls", "failures", "rejections"] as const) {
        const line = entry.history[field]
        line.push(now[field])
        if (line.length > samples) line.shift()
      }
      const sample = toSample(id, now)
      if (before === undefined || JSON.stringify(sample) !== JSON.stringify(toSample(id, before))) changed.push(sample)
    }
    return changed
  }
}
