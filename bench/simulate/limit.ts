/** Compares the adaptive limit with no protection and with a breaker with a ramp, on a server with workers and a queue. */
import * as Effect from "effect/Effect"
import { isNear } from "../../src/simulator/figures.ts"
import * as Simulator from "../../src/simulator/Simulator.ts"
import { type Case, type Experiment, type Figures, type Scale, some, sum } from "./experiment.ts"

const second = 1_000
const headroom = 1.6
const meanService = 40
const during = { at: 20 * second, for: 60 * second }

/** A case of the table: a server and its callers, for a rate and a number of processes. */
type Setting = Pick<Simulator.PlayOptions, "server" | "callers" | "for" | "window">

/** A server that can answer 1.6 times the calls, at least one call in 40 ms. */
const sized = (rate: number, replicas = 1): Simulator.Server => {
  const workers = Math.max(2, Math.round((headroom * rate * meanService) / second / replicas))
  const perSecond = Math.max((headroom * rate) / replicas, second / meanService)
  return { workers, service: (second * workers) / perSecond, replicas }
}

interface Described {
  readonly server?: Partial<Simulator.Server>
  readonly callers?: Partial<Simulator.Callers>
  readonly for?: number
  readonly window?: { readonly at: number; readonly for: number }
}

const setting =
  (describe: (rate: number) => Described, replicas = 1) =>
  (rate: number, processes: number): Setting => {
    const { callers, server, ...rest } = describe(rate)
    return {
      server: { ...sized(rate, replicas), ...server },
      callers: { rate, processes, ...callers },
      for: 120 * second,
      window: during,
      ...rest
    }
  }

const fault = (what: Partial<Simulator.Fault>): Described => ({ server: { faults: [{ ...during, ...what }] } })
const outage = { at: 20 * second, for: 20 * second, failing: 1, how: "hang" } as const
const afterOutage = { at: 40 * second, for: 30 * second }

const settings = {
  healthy: setting(() => ({})),
  errors5: setting(() => ({ server: { errors: 0.05 } })),
  heavytail: setting(() => ({ server: { spread: 1.288 } })),
  gc: setting(() => ({
    server: {
      faults: Array.from({ length: 24 }, (_, i) => ({ at: i * 5 * second, for: 300, frozen: true }))
    }
  })),
  burstRoomy: setting((rate) => ({
    server: { workers: 10 * Math.max(2, Math.round((headroom * rate * meanService) / second)) },
    callers: { changes: Array.from({ length: 12 }, (_, i) => ({ at: i * 10 * second, for: second, times: 10 })) }
  })),
  growth: setting(() => ({ callers: { changes: [{ ...during, times: [1, 4] }] } })),
  brown50: setting(() => fault({ capacity: 0.5 / headroom })),
  brown20: setting(() => fault({ capacity: 0.2 / headroom })),
  brown8: setting(() => fault({ capacity: 0.08 / headroom })),
  slow50: setting(() => fault({ speed: 0.5 / headroom })),
  gradual: setting(() => fault({ capacity: [1, 0.1] })),
  oscillate: setting(() => ({
    server: { faults: [20, 30, 40, 50, 60, 70].map((at) => ({ at: at * second, for: 5 * second, capacity: 0.25 })) }
  })),
  metastable: setting(() => ({
    server: { faults: [{ at: 20 * second, for: 8 * second, frozen: true }] },
    callers: { attempts: 3 },
    window: { at: 30 * second, for: 50 * second }
  })),
  outage: setting(() => ({ server: { faults: [outage] }, window: afterOutage })),
  coldcache: setting((rate) => ({
    server: { faults: [{ ...outage, cold: 0.2, warmUp: 10 * rate }] },
    window: afterOutage
  })),
  latency10: setting(() => fault({ latency: 400 })),
  latency20: setting(() => fault({ latency: 750 })),
  limping: setting(() => fault({ replicas: [0], speed: 0.1 }), 3),
  fast503: setting(() => fault({ failing: 0.3, how: "unavailable" })),
  quota50: setting((rate) => fault({ quota: Math.max(1, Math.round(rate * 0.5)) })),
  quota8: setting((rate) => fault({ quota: Math.max(1, Math.round(rate * 0.08)) }))
} satisfies Readonly<Record<string, (rate: number, processes: number) => Setting>>

export type SettingName = keyof typeof settings

const play = (options: Simulator.PlayOptions): Simulator.PlayReport => Effect.runSync(Simulator.play(options))

const answered = ({ millis, seconds, window }: Simulator.PlayReport, whole: boolean): number => {
  const [from, until] = whole ? [0, millis / second] : [window.from / second, window.until / second]
  return sum(seconds.slice(from, until).map((one) => one.answered))
}

/** Answered calls as a share of the possible calls, in the last 30 seconds of the window. */
const settled = ({ seconds, window }: Simulator.PlayReport): number => {
  const last = seconds.slice(window.until / second - 30, window.until / second)
  return sum(last.map((one) => one.answered)) / sum(last.map((one) => one.possible))
}

/**
 * Counts the seconds until the server answers 95 % of the possible calls for three seconds. The count starts when the last circuit closes.
 * If the circuits stay closed, the count starts with the window.
 */
const afterClose = ({ moves, seconds, window }: Simulator.PlayReport): number => {
  const close = moves.findLast((move) => move.to === "Closed" && move.at >= window.from && move.at < window.until)
  const from = Math.ceil((close?.at ?? window.from) / second)
  for (let i = from; i + 3 <= seconds.length; i++) {
    if (isNear(seconds.slice(i, i + 3), 0.95)) return i - from
  }
  return Infinity
}

interface Options {
  readonly rate?: number
  readonly objective?: number
  /** Compares the case with calls without protection, or with a breaker with a ramp. Default: no comparison. */
  readonly against?: "none" | "ramp"
  /** Compare the figures of the whole run instead of the window. */
  readonly whole?: boolean
}

const worst = (found: ReadonlyArray<Figures>): Figures => {
  const names = Object.keys(found[0] ?? {})
  const lowest = new Set(["share", "settled", "of none", "of ramp", "fairness"])
  return Object.fromEntries(
    names.map((name) => {
      const values = found.map((figures) => figures[name] ?? Number.NaN)
      return [name, lowest.has(name) ? Math.min(...values) : Math.max(...values)]
    })
  )
}

export const labelOf = (name: SettingName, processes: number, { objective, rate = 200 }: Options = {}): string =>
  `${name}, ${rate}/s x${processes}${objective === undefined ? "" : `, objective ${objective} ms`}`

const one = (name: SettingName, processes: number, options: Options = {}): Case => {
  const { against, objective, rate = 200, whole = false } = options
  const run = (seed: number): Figures => {
    const base = { ...settings[name](rate, processes), seed }
    // With many calls per second, a shorter run is enough.
    const shared = rate >= 1_000 ? { ...base, for: 40 * second } : base
    const limited = play({ ...shared, policy: { limit: objective === undefined ? true : { objective } } })
    const other =
      against === undefined
        ? undefined
        : play({ ...shared, ...(against === "none" ? {} : { policy: { cooldown: "5 seconds", ramp: "10 seconds" } }) })
    return {
      share: limited.share,
      settled: settled(limited),
      "false rejections": limited.falseRejections,
      wasted: limited.wasted,
      "recovery s": (limited.recovery ?? 0) / second,
      sent: limited.sent,
      fairness: limited.fairness,
      "after close s": afterClose(limited),
      ...(other === undefined ? {} : { [`of ${against}`]: answered(limited, whole) / answered(other, whole) }),
      ...(against === "none" && other !== undefined ? { "none share": other.share } : {})
    }
  }
  return {
    label: labelOf(name, processes, options),
    run: (scale: Scale) => worst(some(scale, 3, 1).map((i) => run(scale.seed + i)))
  }
}

const sizes = [1, 3, 20]
const calm = ["healthy", "errors5", "gc", "burstRoomy"] as const

const cases: ReadonlyArray<Case> = [
  ...calm.flatMap((name) =>
    [20, 200, 2_000].flatMap((rate) => sizes.map((n) => one(name, n, { rate, against: "none", whole: true })))
  ),
  ...[20, 200].flatMap((rate) => sizes.map((n) => one("heavytail", n, { rate, against: "none", whole: true }))),
  ...(["brown50", "slow50"] as const).flatMap((name) => sizes.map((n) => one(name, n, { against: "ramp" }))),
  ...(["brown20", "brown8"] as const).flatMap((name) => sizes.map((n) => one(name, n))),
  ...(["oscillate", "gradual", "growth", "coldcache", "outage", "fast503", "quota50", "quota8"] as const).map((name) =>
    one(name, 3)
  ),
  ...(["metastable", "latency10", "latency20"] as const).map((name) => one(name, 3, { against: "none" })),
  one("latency10", 3, { objective: 200 }),
  ...sizes.map((n) => one("limping", n, { against: "none" }))
]

export const limit: Experiment = {
  name: "limit",
  title: "The limit on a server with a queue, worst of three seeds (shares; seconds; multiples of what is possible)",
  cases
}
