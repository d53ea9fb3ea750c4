import { chart } from "./chart.ts"
import { type CommandsAtRate, type CommandsIdle, routine } from "./commands.ts"
import { type Spread, short, time } from "./figures.ts"
import { boundsOf, type Condition, conditions, hanging, type Latency, subjects } from "./latency.ts"
import type { Leak, Propagation } from "./processes.ts"
import type { Sizes } from "./sizes.ts"
import { type Contestant, contestants, type Throughput } from "./throughput.ts"

export interface Measured {
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly node: string
    readonly redis: string
    readonly platform: string
    /** The load average of the machine over a minute, before and at the end. */
    readonly load: readonly [before: number, after: number]
  }
  readonly quick: boolean
  readonly seconds: number
  readonly throughput: ReadonlyArray<Throughput>
  readonly commands: { readonly rates: ReadonlyArray<CommandsAtRate>; readonly idle: CommandsIdle }
  readonly latency: ReadonlyArray<Latency>
  readonly propagation: Readonly<Record<"trip" | "isolate" | "bare PUBLISH", Propagation>>
  readonly leaks: ReadonlyArray<Leak>
  readonly sizes: Sizes
}

export interface Judged {
  readonly bar: string
  readonly value: string
  readonly met: boolean
}

export interface Result extends Measured {
  readonly bars: ReadonlyArray<Judged>
}

const speed = ({ throughput }: Measured, callers: number, who: Contestant): number =>
  throughput.find((one) => one.callers === callers)?.perSecond[who].median ?? Number.NaN

const under = ({ latency }: Measured, condition: Condition): Latency => {
  const found = latency.find((one) => one.condition === condition)
  if (found === undefined) throw new Error(`nothing was measured while Redis was ${condition}`)
  return found
}

const faults = conditions.filter((condition) => condition !== "healthy" && condition !== "5 ms away")

/** The tolerance for the noise of a shared machine, below which a figure of microseconds counts as unchanged. */
const unchanged = { times: 1.5, millis: 0.001 }

export const judge = (result: Measured): ReadonlyArray<Judged> => {
  const at = (callers: number, who: Contestant) => speed(result, callers, who)
  const beside = at(1, "ours, memory") / at(1, "ours, Redis")
  const besideSql = at(1, "ours, memory") / at(1, "ours, PostgreSQL")
  const extra = result.commands.rates.reduce((sum, { ours }) => sum + Math.abs(ours.sent - ours.routine), 0)
  const calls = result.commands.rates.reduce((sum, { ours }) => sum + ours.calls, 0)
  const { idle } = result.commands
  const many = at(128, "ours, Redis") / at(128, "Effect's, Redis")
  const one = at(1, "ours, Redis") / at(1, "Effect's, Redis")
  const noops = faults.map((fault) => under(result, fault).noop)
  const slower = Math.max(...noops.map((noop) => noop["ours, Redis"].p99 - noop["ours, memory"].p99))
  const times = Math.max(...noops.map((noop) => noop["ours, Redis"].p99 / noop["ours, memory"].p99))
  const hangs = faults.map((fault) => under(result, fault).timeout)
  const ends = Math.max(...hangs.map((hang) => hang["ours, Redis"].p50))
  const later = Math.max(...hangs.map((hang) => hang["ours, Redis"].p99 - hang["no breaker"].p99))
  const { fromAnswer, unheard } = result.propagation.trip
  return [
    {
      bar: "a protected call with Redis costs within 10 % of one with the memory store",
      value: `${beside.toFixed(2)} x`,
      met: beside <= 1.1
    },
    {
      bar: "the same with PostgreSQL",
      value: `${besideSql.toFixed(2)} x`,
      met: besideSql <= 1.1
    },
    {
      bar: "0 store commands per call: one heartbeat and one page per sync interval",
      value: `${extra} for ${calls.toLocaleString("en-US")} calls`,
      met: extra === 0
    },
    {
      bar: `${idle.circuits.toLocaleString("en-US")} healthy circuits: only heartbeats and pages`,
      value: `${idle.sent} commands, ${routine(idle.operations)} heartbeats and pages`,
      met: idle.sent === routine(idle.operations)
    },
    {
      bar: "128 callers: at least 30 times the calls of Effect's Redis breaker",
      value: `${short(many)} x`,
      met: many >= 30
    },
    { bar: "one caller: at least 300 times", value: `${short(one)} x`, met: one >= 300 },
    {
      bar: "a trip is seen by another process within 25 ms of the swap (p99)",
      value: `${time(fromAnswer.p99)}${unheard === 0 ? "" : `, ${unheard} unheard`}`,
      met: fromAnswer.p99 < 25 && unheard === 0
    },
    {
      bar: "Redis killed, stopped, 300 ms away: p99 of a protected no-op as with the memory store, in the same seconds",
      value: `at most ${times.toFixed(2)} x`,
      met: times <= unchanged.times || slower <= unchanged.millis
    },
    {
      bar: 'then Effect.timeout("100 millis") ends in 100 ms: p50, and how much later than without a breaker at p99',
      value: `${time(ends)}, ${time(Math.max(0, later))}`,
      met: ends <= 105 && later <= 10
    },
    {
      bar: "an idle circuit takes at most 1,024 bytes of the process",
      value: `${Math.round(result.sizes.idle.redis)} bytes`,
      met: result.sizes.idle.redis <= 1_024
    }
  ]
}

/** A table. Texts are aligned to the left, and numbers to the right. */
const table = (title: string, rows: ReadonlyArray<ReadonlyArray<string>>, notes: ReadonlyArray<string> = []) => {
  const texts = rows[0]?.[1] === "breaker" ? 2 : 1
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  console.log(`\n${title}`)
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      column < texts ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)
    )
    console.log(`  ${cells.join("  ")}`)
  }
  for (const note of notes) console.log(`  (${note})`)
}

const spreadCells = ({ max, p50, p99 }: Spread) => [time(p50), time(p99), time(max)]

/** Prints tables and bars. `earlier` is the result of the first protocol, shown in brackets. */
export const print = (result: Result, earlier?: Result): void => {
  const { commands, latency, leaks, machine, propagation, sizes } = result
  console.log(
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, Redis ${machine.redis} on loopback, ` +
      `${result.seconds} s; load ${machine.load.map((load) => load.toFixed(1)).join(" before, ")} at the end`
  )
  if (machine.load[0] > machine.cores / 2)
    console.log("THE MACHINE IS BUSY: use the ratios, and the figures that were measured at the same time")
  table(
    "calls a second of a protected no-op on one core, beside Effect's Redis breaker",
    [
      ["", ...result.throughput.map(({ callers }) => `${callers} caller${callers === 1 ? "" : "s"}`)],
      ...contestants.map((who) => [
        who,
        ...result.throughput.map(
          ({ perSecond }) =>
            `${short(perSecond[who].median)} (${short(perSecond[who].median / perSecond["Effect's, Redis"].median)} x)`
        )
      ])
    ],
    [
      "medians; the cases take turns; Redis runs on another core",
      "Effect's breaker asks the store at each call for an exact count; ours does not"
    ]
  )
  table(
    "commands sent to Redis per call",
    [
      ["rate", "ours", "heartbeats and pages", "Effect's", "run within its scripts"],
      ...commands.rates.map(({ ours, rate, theirs }) => [
        rate === undefined ? "as fast as possible" : `${rate} a second`,
        `${ours.sent} for ${ours.calls.toLocaleString("en-US")} calls`,
        String(ours.routine),
        `${(theirs.sent / theirs.calls).toFixed(2)} a call`,
        `${(theirs.inner / theirs.calls).toFixed(2)} a call`
      ])
    ],
    [
      `one heartbeat and one page per sync interval and process, here ${commands.idle.syncMillis / 1000} s, by default 5 s`,
      `${commands.idle.circuits.toLocaleString("en-US")} healthy circuits, each called several times in ` +
        `${(commands.idle.millis / 1000).toFixed(1)} s: ${commands.idle.sent} commands, of them ` +
        `${routine(commands.idle.operations)} heartbeats and pages`
    ]
  )
  const bounds = boundsOf(result.quick)
  table(
    "latency of a protected no-op",
    [
      ["Redis", "breaker", "p50", "p99", "max"],
      ...latency.flatMap(({ condition, noop }) =>
        subjects.map((who, place) => [place === 0 ? condition : "", who, ...spreadCells(noop[who])])
      )
    ],
    [
      "ours: closed loop, bursts of 98 in turns, sync every 500 ms so that the fault is met; 0.1 µs of it is timing",
      'Effect\'s: open loop, each within Effect.timeout("2 seconds"), which its admission does not hear',
      `stopped: resumed ${bounds.stoppedMillis / 1000} s after Effect's calls begin; they end only then`,
      `killed: started again when all have ended, or after ${bounds.killedMillis / 1000} s`
    ]
  )
  table('when Effect.timeout("100 millis") around a protected call that hangs ends', [
    ["Redis", "breaker", "p50", "p99", "max"],
    ...latency.flatMap(({ condition, timeout }) =>
      hanging.map((who, place) => [place === 0 ? condition : "", who, ...spreadCells(timeout[who])])
    )
  ])
  table(
    "from the swap in one process to the first rejection in each of two others",
    [
      ["", "counted from", "p50", "p99", "max", "not received"],
      ...Object.entries(propagation).flatMap(([what, { fromAnswer, fromSent, trips, unheard }]) => [
        [`${what}, ${trips} times`, "its answer", ...spreadCells(fromAnswer), String(unheard)],
        ["", "its sending", ...spreadCells(fromSent), ""]
      ])
    ],
    [
      "real processes, CLOCK_MONOTONIC; a negative time: received before the writer had its answer",
      "a bare PUBLISH to the same processes in the same seconds shows the share of the machine",
      "Effect's breaker has no such delay, because each call asks the store"
    ]
  )
  table(
    `calls that reach a dependency after it fails: ${leaks[0]?.outages ?? 0} outages each, 3 processes, 50/s each`,
    [
      ["failure latency", "breaker", "p50", "floor", "above it", "lowest to highest", "last one after"],
      ...leaks.map(({ breaker, excess, failureMillis, floor, lastAt, leaked, p50 }) => [
        `${failureMillis} ms`,
        breaker,
        String(p50),
        short(floor),
        short(excess),
        `${Math.min(...leaked)} to ${Math.max(...leaked)}`,
        time(lastAt)
      ])
    ],
    [
      "all breakers: 5 failures in a row; the same Poisson arrivals; counted at the dependency",
      "floor: rate x failure latency, the calls before the first failure is known"
    ]
  )
  table("bytes", [
    ["", "ours", "Effect's"],
    ["in Redis, a healthy circuit", short(sizes.redis.healthy), short(sizes.redis.theirsHealthy)],
    ["in Redis, an open one", short(sizes.redis.open), short(sizes.redis.theirsOpen)],
    ["in Redis, ballots of 3 voters", short(sizes.redis.ballotsOf3), "-"],
    ["in Redis, ballots of 100 voters", short(sizes.redis.ballotsOf100), "-"],
    ["in the process, an idle circuit, memory store", short(sizes.idle.memory), "-"],
    ["in the process, an idle circuit, Redis store", short(sizes.idle.redis), "-"]
  ])
  console.log("")
  if (result.quick) console.log("a quick run is too short to judge by")
  for (const [place, { bar, met, value }] of result.bars.entries()) {
    const v1 = earlier === undefined ? "" : `[v1: ${earlier.bars[place]?.value ?? "-"}]`
    console.log(`${met ? "ok    " : "MISSED"}  ${value.padStart(36)}  ${v1.padEnd(44)}  ${bar}`)
  }
}

export const toChart = (result: Result): string => {
  const { latency, machine, throughput } = result
  return chart(
    [
      {
        title: "Calls a second through a circuit breaker",
        note: "a protected call that does nothing, on one core; more is better; each line is ten times the one before",
        unit: "perSecond",
        from: 1e3,
        to: 1e7,
        groups: throughput.map(({ callers, perSecond }) => ({
          name: callers === 1 ? "1 caller" : `${callers} callers`,
          bars: [
            { label: "effect-fuse, Redis", value: perSecond["ours, Redis"].median, who: "ours" },
            { label: "effect-fuse, memory", value: perSecond["ours, memory"].median, who: "ours-too" },
            { label: "Effect's own, memory", value: perSecond["Effect's, memory"].median, who: "memory" },
            { label: "Effect's own, Redis", value: perSecond["Effect's, Redis"].median, who: "theirs" }
          ]
        }))
      },
      {
        title: "What a caller waits when Redis is in trouble",
        note: "99th percentile of the same call; less is better",
        unit: "millis",
        from: 1e-4,
        to: 1e4,
        groups: latency.map(({ condition, noop }) => ({
          name: condition === "healthy" ? "Redis healthy" : `Redis ${condition}`,
          bars: [
            { label: "effect-fuse", value: noop["ours, Redis"].p99, who: "ours" },
            { label: "Effect's own", value: noop["Effect's, Redis"].p99, who: "theirs" },
            {
              label: "the same, no offline queue",
              value: noop["Effect's, Redis, no offline queue"].p99,
              who: "theirs-too"
            }
          ]
        }))
      }
    ],
    [
      `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, Redis ${machine.redis} on the same machine. ` +
        "Effect's own: effect/persistence CircuitBreaker 4.1.",
      `Stopped: until it was resumed, ${boundsOf(result.quick).stoppedMillis / 1000} s after the calls began. ` +
        "Killed: until the client gave up on what it had queued.",
      'Each call of Effect\'s own was within Effect.timeout("2 seconds"), which its admission does not hear.'
    ]
  )
}
