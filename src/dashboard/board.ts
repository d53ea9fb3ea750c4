/** What is on the page now, and what changes with each read. Pure: time is an argument. */

import { circuitId } from "../store/codec.ts"
import type { NameOverview } from "../store/overview.ts"
import { circuitsOf, type Facts, trafficOf } from "./circuits.ts"
import type { CircuitsRead, NamesRead } from "./reader.ts"
import { hourMillis } from "./transitions.ts"
import type {
  Change,
  CircuitView,
  HistoryView,
  PageView,
  Sample,
  SourceView,
  TrafficView,
  TransitionView
} from "./view.ts"

/** How many samples the page shows, and how often the server takes one, in milliseconds. */
export const samples = 60
export const sampleMillis = 5_000

/** At most this many transitions are kept: an outage of many circuits has thousands. */
const mostTransitions = 2_000

/** After a change of the fleet's record, the digests of the processes may be this old. */
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
  /** When the fleet's record of a name last changed, and which names some processes had opened for themselves at the last sample. */
  private readonly changedAt = new Map<string, number>()
  private aloneBefore = new Set<string>()
  private alone = new Set<string>()
  private sampledAt = -Infinity
  /** Whether the last sample began the histories again, so that viewers need the whole view. */
  restarted = false
  at = 0
  source: SourceView

  constructor(kind: SourceView["kind"], label: string) {
    this.scope = kind === "fleet" ? "fleet" : "local"
    this.source = { kind, label, problem: undefined }
  }

  /** Takes in what was read: the circuits, and with `names` also a sample. Returns what changed. */
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

  /** The data cannot be read. */
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

  view(): Omit<PageView, "rights"> {
    return {
      at: this.at,
      every: sampleMillis,
      leftOut: this.leftOut,
      source: this.source,
      processes: this.processes,
      reporting: this.reporting,
      circuits: [...this.entries.values()].map(({ facts, history, traffic }) => ({ ...facts, traffic, history })),
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
   * Whether some processes have opened a name for themselves: two samples in a row say so, and the fleet's record has not just changed. A
   * digest is up to one interval older than the record.
   */
  private isAlone(at: number, name: string): boolean {
    return (
      this.scope === "fleet" &&
      this.alone.has(name) &&
      this.aloneBefore.has(name) &&
      at - (this.changedAt.get(name) ?? -Infinity) > digestLagMillis
    )
  }

  /** Compares what there is with what is on the page. */
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

  /** Adds a sample to the history of each name. Returns those that differ from the sample before. */
  private sample(at: number): ReadonlyArray<Sample> {
    // There was no viewer, or no store, for a while: the samples before do not join those after.
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
