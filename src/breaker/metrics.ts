import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as Circuit from "../core/Circuit.ts"
import type { Durations } from "../engine/durations.ts"
import type { NamedGroup } from "../engine/group.ts"
import type { LiveCircuit, Totals } from "../engine/liveCircuit.ts"
import type { Registry } from "../engine/registry.ts"
import { effective } from "../engine/standing.ts"

/** What is shown of circuits, checked. */
export interface MetricsOptions {
  readonly prefix: string
  readonly keys: boolean
  readonly maxSeries: number
}

const states: ReadonlyArray<Circuit.State> = ["Closed", "Open", "HalfOpen", "Isolated", "Disabled"]

/** So many circuits are looked at for each series by itself. */
const manyCircuits = 100

/** Those for which there is no room are shown together. */
export const others = "(others)"

/** By what a series is known: no name reads like another with a key, whatever is in them. */
const idOf = (name: string, key?: string): string =>
  key !== undefined ? `key ${name.length} ${name}${key}` : name === others ? others : `name ${name}`

/** What one label stands for: the circuits of some names, or a single one. */
interface MetricsSubject {
  readonly groups: () => ReadonlyArray<NamedGroup>
  readonly circuits: () => ReadonlyArray<LiveCircuit>
  readonly totals: () => Totals
}

/** What was read of a subject. */
interface MetricsReading {
  readonly totals: Totals
  readonly inFlight: number
  /** How long the longest outage of its circuits has lasted so far, in milliseconds. 0 if no circuit is down. */
  readonly downMillis: number
  readonly states: Readonly<Record<Circuit.State, number>>
}

const nothing: Totals = { calls: 0, successes: 0, failures: 0, ignored: 0, slow: 0, rejected: 0, passed: 0 }

const each =
  (f: (a: number, b: number) => number) =>
  (a: Totals, b: Totals): Totals => ({
    calls: f(a.calls, b.calls),
    successes: f(a.successes, b.successes),
    failures: f(a.failures, b.failures),
    ignored: f(a.ignored, b.ignored),
    slow: f(a.slow, b.slow),
    rejected: f(a.rejected, b.rejected),
    passed: f(a.passed, b.passed)
  })

const plus = each((a, b) => a + b)
const minus = each((a, b) => a - b)
const most = each(Math.max)

const sumOf = (all: ReadonlyArray<Totals>): Totals => all.reduce((sum, one) => plus(sum, one), nothing)

const noHooks = { update: () => {}, modify: () => {} }

type Labels = Readonly<Record<string, string>>

/** Effect's metrics of the circuits of a store: each is read when somebody looks, and calls know nothing of it. */
export class Series {
  private readonly registry: Registry
  private readonly context: Context.Context<never>
  private readonly shown: MetricsOptions
  /** What takes each subject's series away again. */
  private readonly subjects = new Map<string, ReadonlyArray<Metric.Registration>>()
  private readonly own: Array<Metric.Registration> = []
  /** What the others have been said to have counted. */
  private most = nothing

  constructor(registry: Registry, context: Context.Context<never>, shown: MetricsOptions) {
    this.registry = registry
    this.context = context
    this.shown = shown
    this.ofStore()
    this.discover()
    registry.meeting.add(this.meet)
  }

  private readonly meet = (group: NamedGroup): void => this.add(idOf(group.name), () => this.ofGroup(group))

  /** Series for what is there since it was last looked, and none for what is there no longer. Names are met when they come. */
  discover(): void {
    const there = new Set<string>()
    for (const group of this.registry.named()) {
      there.add(idOf(group.name))
      this.meet(group)
      if (!this.shown.keys) continue
      for (const circuit of group.circuits()) {
        const key = circuit.key ?? ""
        const id = idOf(group.name, key)
        there.add(id)
        this.add(id, () => this.ofKey(group, key))
      }
    }
    for (const [id, series] of this.subjects) {
      if (there.has(id) || id === others) continue
      for (const one of series) one.remove()
      this.subjects.delete(id)
    }
  }

  remove(): void {
    this.registry.meeting.delete(this.meet)
    for (const one of [...this.own, ...[...this.subjects.values()].flat()]) one.remove()
    this.subjects.clear()
  }

  private add(id: string, make: () => ReadonlyArray<Metric.Registration>): void {
    if (this.subjects.has(id)) return
    const hasOthers = this.subjects.has(others)
    if (this.subjects.size - (hasOthers ? 1 : 0) < this.shown.maxSeries) this.subjects.set(id, make())
    else if (!hasOthers) this.subjects.set(others, this.ofOthers())
  }

  private ofGroup(group: NamedGroup): ReadonlyArray<Metric.Registration> {
    const labels = { name: group.name }
    const subject: MetricsSubject = {
      groups: () => [group],
      circuits: () => group.circuits(),
      totals: () => group.totals()
    }
    const counted = this.shown.keys ? [] : this.counted(labels, subject)
    return [...counted, ...this.named(labels, subject)]
  }

  /** A label that is empty is none, where metrics are read: the circuit of the name and that of the empty key are one there. */
  private ofKey(group: NamedGroup, key: string): ReadonlyArray<Metric.Registration> {
    const circuits = () => group.at(key)
    return this.counted({ name: group.name, key }, { groups: () => [], circuits, totals: () => sumOf(circuits()) })
  }

  private ofOthers(): ReadonlyArray<Metric.Registration> {
    const groups = () => [...this.registry.named()].filter(({ name }) => !this.subjects.has(idOf(name)))
    const subject: MetricsSubject = this.shown.keys
      ? { groups, circuits: () => this.keyed(false), totals: () => this.othersByKey() }
      : {
          groups,
          circuits: () => groups().flatMap((group) => group.circuits()),
          totals: () => sumOf(groups().map((group) => group.totals()))
        }
    const labels = { name: others }
    return [...this.counted(labels, subject), ...this.named(labels, subject)]
  }

  /** The circuits that have, or have not, series of their own key. */
  private keyed(own: boolean): ReadonlyArray<LiveCircuit> {
    return [...this.registry.named()].flatMap((group) =>
      group.circuits().filter(({ key = "" }) => this.subjects.has(idOf(group.name, key)) === own)
    )
  }

  /**
   * All that was counted but for what is shown by its key: circuits that are forgotten take nothing from it. Nor does one that
   * gets series of its own, as a counter that became less would be taken for one that began anew.
   */
  private othersByKey(): Totals {
    const all = sumOf([...this.registry.named()].map((group) => group.totals()))
    this.most = most(this.most, minus(all, sumOf(this.keyed(true))))
    return this.most
  }

  /** What is known of each circuit. */
  private counted(labels: Labels, subject: MetricsSubject): ReadonlyArray<Metric.Registration> {
    let last: MetricsReading | undefined
    const read = (): MetricsReading => {
      if (last !== undefined) return last
      const circuits = subject.circuits()
      const reading = this.read(circuits, subject.totals())
      if (circuits.length > manyCircuits) {
        // To look at many takes its time: good for what is read in the same breath, and no longer.
        last = reading
        queueMicrotask(() => {
          last = undefined
        })
      }
      return reading
    }
    const outcome = (name: string, of: (totals: Totals) => number) =>
      this.counter(
        "calls_total",
        "Calls that were admitted and have ended, by outcome",
        { ...labels, outcome: name },
        () => of(read().totals)
      )
    return [
      outcome("success", ({ successes }) => successes),
      outcome("failure", ({ failures }) => failures),
      outcome("ignored", ({ ignored }) => ignored),
      this.counter("slow_calls_total", "Calls that took as long as slowCall", labels, () => read().totals.slow),
      this.counter("rejections_total", "Calls that were not made", labels, () => read().totals.rejected),
      this.counter("passed_total", "Calls that ran uncounted", labels, () => read().totals.passed),
      this.gauge("in_flight", "Calls that run now", labels, () => read().inFlight),
      this.gauge(
        "down_seconds",
        "How long the longest outage of these circuits has lasted, from its first opening; 0 while none is down",
        labels,
        () => read().downMillis / 1_000
      ),
      ...states.map((state) =>
        this.gauge(
          "circuits",
          "Circuits by the state that counts now",
          { ...labels, state },
          () => read().states[state]
        )
      )
    ]
  }

  /** What is known of each name. */
  private named(labels: Labels, subject: MetricsSubject): ReadonlyArray<Metric.Registration> {
    const moves = (state: Circuit.State) => () => subject.groups().reduce((sum, group) => sum + group.moves[state], 0)
    const measured = subject.groups()[0]?.durations
    return [
      ...states.map((to) =>
        this.counter("transitions_total", "Transitions, by the state that was entered", { ...labels, to }, moves(to))
      ),
      this.counter(
        "outages_total",
        "Outages that have begun: an outage lasts from its first opening until the circuit closes again",
        labels,
        () => subject.groups().reduce((sum, { outages }) => sum + outages, 0)
      ),
      this.counter("openings_total", "How often circuits have opened, also after failed probes", labels, moves("Open")),
      ...(measured === undefined
        ? []
        : [
            this.histogram(labels, measured.bounds, () =>
              subject
                .groups()
                .map((group) => group.durations)
                .filter((one) => one !== undefined)
            )
          ])
    ]
  }

  private ofStore(): void {
    const { registry } = this
    this.own.push(
      this.gauge("known", "Circuits in memory", {}, () => {
        // Whoever reads finds at the next reading which keys are new, and for which names there is room.
        this.discover()
        return registry.count()
      }),
      this.counter("evictions_total", "Idle circuits forgotten to make room", {}, () => registry.evicted),
      this.counter("overflows_total", "Calls whose key found no room", {}, () => registry.overflowed)
    )
    const { peers } = registry.runtime
    if (peers === undefined) return
    this.own.push(
      this.gauge(
        "store_up",
        "1 while the shared store answers, 0 before its first answer and while it does not",
        {},
        () => (peers.isCutOff() ? 0 : 1)
      )
    )
  }

  private read(circuits: ReadonlyArray<LiveCircuit>, totals: Totals): MetricsReading {
    const now = this.registry.runtime.time.now()
    const found: Record<Circuit.State, number> = { Closed: 0, Open: 0, HalfOpen: 0, Isolated: 0, Disabled: 0 }
    let inFlight = 0
    let downMillis = 0
    for (const circuit of circuits) {
      circuit.lapse(now)
      found[effective(circuit, now)._tag]++
      inFlight += circuit.inFlight
      const outage = Circuit.outage(circuit.control.value)
      if (outage !== undefined) downMillis = Math.max(downMillis, now - outage.since)
    }
    return { totals, inFlight, downMillis, states: found }
  }

  private counter(name: string, description: string, attributes: Labels, count: () => number): Metric.Registration {
    const metric = Metric.counter(`${this.shown.prefix}_${name}`, { description, attributes, incremental: true })
    return Metric.registerUnsafe(metric, this.context, {
      ...noHooks,
      get: () => ({ count: count(), incremental: true })
    })
  }

  private gauge(name: string, description: string, attributes: Labels, value: () => number): Metric.Registration {
    const metric = Metric.gauge(`${this.shown.prefix}_${name}`, { description, attributes })
    return Metric.registerUnsafe(metric, this.context, { ...noHooks, get: () => ({ value: value() }) })
  }

  private histogram(
    attributes: Labels,
    bounds: ReadonlyArray<number>,
    read: () => ReadonlyArray<Durations>
  ): Metric.Registration {
    const boundaries = bounds.map((millis) => millis / 1_000)
    const metric = Metric.histogram(`${this.shown.prefix}_call_duration_seconds`, {
      description: "How long calls took that told something",
      attributes,
      boundaries
    })
    const get = (): Metric.HistogramState => {
      const all = read()
      let count = 0
      const buckets = boundaries.map((boundary, index): [number, number] => {
        count += all.reduce((sum, one) => sum + (one.counts[index] ?? 0), 0)
        return [boundary, count]
      })
      count += all.reduce((sum, one) => sum + (one.counts[boundaries.length] ?? 0), 0)
      return {
        buckets,
        count,
        min: count === 0 ? 0 : Math.min(...all.map((one) => one.min)) / 1_000,
        max: Math.max(0, ...all.map((one) => one.max)) / 1_000,
        sum: all.reduce((sum, one) => sum + one.sum, 0) / 1_000
      }
    }
    return Metric.registerUnsafe(metric, this.context, { ...noHooks, get })
  }
}
