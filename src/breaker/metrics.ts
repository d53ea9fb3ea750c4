import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as Circuit from "../core/Circuit.ts"
import type { Durations } from "../engine/durations.ts"
import type { NamedGroup } from "../engine/group.ts"
import { type LiveCircuit, noTotals, type Totals } from "../engine/liveCircuit.ts"
import type { Registry } from "../engine/registry.ts"
import { effective } from "../engine/standing.ts"
import { states } from "../shapes/states.ts"

/** The decoded options of `BreakerMetrics.layer`. */
export interface MetricsOptions {
  readonly prefix: string
  readonly keys: boolean
  readonly maxSeries: number
}

/** Above this number of circuits, all metrics of one snapshot share a reading. */
const manyCircuits = 100

/** The name under which names and keys beyond `maxSeries` share a series. */
const others = "(others)"

/** An id that is unique whatever characters a name or key contains. */
const idOf = (name: string, key?: string): string =>
  key !== undefined ? `key ${name.length} ${name}${key}` : name === others ? others : `name ${name}`

/** What one series shows: the circuits of some names, or a single circuit. */
interface MetricsSubject {
  readonly groups: () => ReadonlyArray<NamedGroup>
  readonly circuits: () => ReadonlyArray<LiveCircuit>
  readonly totals: () => Totals
}

interface MetricsReading {
  readonly totals: Totals
  readonly inFlight: number
  /** The sum of the limits of the circuits that are limited now. */
  readonly limit: number
  /** Milliseconds since the start of the longest current outage; 0 if no circuit is down. */
  readonly downMillis: number
  readonly states: Readonly<Record<Circuit.State, number>>
}

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

const sumOf = (all: ReadonlyArray<Totals>): Totals => all.reduce((sum, one) => plus(sum, one), noTotals)

const noHooks = { update: () => {}, modify: () => {} }

type Labels = Readonly<Record<string, string>>

/** The Effect metrics of a store's circuits. A snapshot of the metrics reads them; calls do no work for them. */
export class Series {
  private readonly registry: Registry
  private readonly context: Context.Context<never>
  private readonly shown: MetricsOptions
  /** The registrations of each subject, to remove its series. */
  private readonly subjects = new Map<string, ReadonlyArray<Metric.Registration>>()
  private readonly own: Array<Metric.Registration> = []
  /** The highest totals that the series of the others has reported. */
  private most: Totals = noTotals

  constructor(registry: Registry, context: Context.Context<never>, shown: MetricsOptions) {
    this.registry = registry
    this.context = context
    this.shown = shown
    this.ofStore()
    this.discover()
    registry.meeting.add(this.meet)
  }

  private readonly meet = (group: NamedGroup): void => this.add(idOf(group.name), () => this.ofGroup(group))

  /** Adds series for new names and keys, and removes those of names and keys that no longer exist. New names also arrive through `meet`. */
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

  /** Metric systems drop empty labels. The circuit without a key and the circuit of the empty key therefore share a series. */
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

  /** The circuits whose keys have their own series, or those whose keys do not. */
  private keyed(own: boolean): ReadonlyArray<LiveCircuit> {
    return [...this.registry.named()].flatMap((group) =>
      group.circuits().filter(({ key = "" }) => this.subjects.has(idOf(group.name, key)) === own)
    )
  }

  /**
   * The totals of all names, minus those of keys with their own series: evicted circuits still count. When a key gets its own series, the
   * result would decrease, which a metric system takes for a restart of the counter. So the series keeps its maximum.
   */
  private othersByKey(): Totals {
    const all = sumOf([...this.registry.named()].map((group) => group.totals()))
    this.most = most(this.most, minus(all, sumOf(this.keyed(true))))
    return this.most
  }

  /** The metrics that exist per circuit. */
  private counted(labels: Labels, subject: MetricsSubject): ReadonlyArray<Metric.Registration> {
    let last: MetricsReading | undefined
    const read = (): MetricsReading => {
      if (last !== undefined) return last
      const circuits = subject.circuits()
      const reading = this.read(circuits, subject.totals())
      if (circuits.length > manyCircuits) {
        // The synchronous snapshot ends before this microtask runs.
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
      this.counter("slow_calls_total", "Calls that took at least slowCall", labels, () => read().totals.slow),
      this.counter("rejections_total", "Rejected calls", labels, () => read().totals.rejected),
      this.counter("passed_total", "Calls that ran uncounted", labels, () => read().totals.passed),
      this.gauge("in_flight", "Calls in flight", labels, () => read().inFlight),
      this.gauge(
        "limit",
        "The sum of the limits of the circuits that are limited now; 0 if no circuit is",
        labels,
        () => read().limit
      ),
      this.gauge(
        "down_seconds",
        "How long the longest outage of these circuits has lasted, from its first opening; 0 while none is down",
        labels,
        () => read().downMillis / 1_000
      ),
      ...states.map((state) =>
        this.gauge("circuits", "Circuits by their current state", { ...labels, state }, () => read().states[state])
      )
    ]
  }

  /** The metrics that exist per name only. */
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
      this.counter(
        "openings_total",
        "Transitions to Open: the first of an outage, and another one for each failed probe",
        labels,
        moves("Open")
      ),
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
        // A snapshot also discovers new keys. They are visible in the next one.
        this.discover()
        return registry.count()
      }),
      this.counter("evictions_total", "Idle circuits evicted to make room", {}, () => registry.evicted),
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
    let limit = 0
    let downMillis = 0
    for (const circuit of circuits) {
      circuit.lapse(now)
      found[effective(circuit, now)._tag]++
      inFlight += circuit.inFlight
      limit += circuit.limitNow ?? 0
      const outage = Circuit.outage(circuit.control.value)
      if (outage !== undefined) downMillis = Math.max(downMillis, now - outage.since)
    }
    return { totals, inFlight, limit, downMillis, states: found }
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
      description: "Duration of the calls that ended as Success or Failure",
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
