import { changes } from "./bars.ts"
import { atOnceText, busyText, byHandText, ownTimedText, probeText, timeoutText } from "./names.ts"
import type { Bar, Earlier, Result } from "./result.ts"

/* The figures in the documentation. They are written between comments of the form `<!-- bench:name -->` and `<!-- /bench -->`. */

/** The pages with figures of the benchmark. */
export const pages: ReadonlyArray<string> = ["README.md", "docs/performance.md", "docs/performance-figures.md"]

type Cell = string | undefined

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<Cell>>): string => {
  const line = (cells: ReadonlyArray<Cell>) => `| ${cells.map((cell) => cell ?? "-").join(" | ")} |`
  return [line(head), `| --- |${" ---: |".repeat(head.length - 1)}`, ...rows.map(line)]
    .join("\n")
    .replaceAll("|  |", "| |")
}

const whole = (value: number): string => Math.round(value).toLocaleString("en-US")

/** Reads values from a result. A value that was not measured is `undefined`. */
const reader = ({ bytesPerWaitingCall, nanosPerCall }: Result) => {
  const cpu = (name: string): number | undefined => nanosPerCall[name]?.cpu.median
  const bytes = (name: string): number | undefined => bytesPerWaitingCall[name]
  const show = (value: number | undefined, format: (value: number) => string) =>
    value === undefined ? undefined : format(value)
  return {
    cpu,
    bytes,
    nanos: (name: string) => show(cpu(name), (value) => `${whole(value)} ns`),
    micros: (name: string) => show(cpu(name), (value) => `${(value / 1_000).toFixed(2)} µs`),
    memory: (name: string) => show(bytes(name), (value) => `${whole(value)} B`)
  }
}

// ---- Rows -----------------------------------------------------------------------------------------------------------

const promiseLibraries = ["effect-fuse/promise", "opossum", "cockatiel", "mollitia", "alfred"]

/** Each row has a label and the name of a case. The name does not contain the library. */
const promiseRows: ReadonlyArray<readonly [label: string, rest: string]> = [
  ["closed, 10 s timeout", `, closed, ${timeoutText}`],
  ["closed, no timeout", ", closed"],
  ["open: rejected", ", open"],
  ["half-open: a probe that closes the circuit", `, ${probeText}`],
  ["half-open: rejected, because a probe is running", `, ${busyText}`],
  ["1,000 at once, 10 s timeout", `, ${atOnceText}, ${timeoutText}`],
  ["1,000 at once, no timeout", `, ${atOnceText}`]
]

const memoryRows: ReadonlyArray<readonly [label: string, rest: string]> = [
  ["memory of a waiting call, 10 s timeout", `, ${timeoutText}`],
  ["memory of a waiting call, no timeout", ""]
]

const effectRows: ReadonlyArray<readonly [label: string, wrapper: string]> = [
  ["nothing", "Effect.promise"],
  ["`Effect.onExit`", "Effect.onExit"],
  ["`protect`", "protect"],
  ["Effect's own breaker", "Effect's own"],
  ["`Resilience.timeout`", "Resilience.timeout"],
  ["`Effect.timeout`", "Effect.timeout"],
  ["`Resilience.standard`", "Resilience.standard"],
  ["the same by hand: `Effect.timeout`, `protect`, `Effect.retry`", byHandText],
  ["`Effect.timeout` and Effect's own breaker", ownTimedText]
]

/** Pairs of rows that do the same with this library and with Effect's own parts. */
const effectPairs: ReadonlyArray<readonly [label: string, ours: string, theirs: string]> = [
  ["`protect`, closed", "async, protect", "async, Effect's own"],
  ["`protect`, open: rejected", "effect-fuse, open", "Effect's own, open"],
  ["`protect`, half-open: a probe", `async, protect, ${probeText}`, `async, Effect's own, ${probeText}`],
  ["`protect`, half-open: rejected", `async, protect, ${busyText}`, `async, Effect's own, ${busyText}`],
  ["`protect`, 1,000 at once", `async, protect, ${atOnceText}`, `async, Effect's own, ${atOnceText}`],
  ["`Resilience.timeout`", "async, Resilience.timeout", "async, Effect.timeout"],
  ["`Bulkhead.limit`", "Bulkhead.limit", "Effect's Semaphore.withPermit"]
]

// ---- Tables ---------------------------------------------------------------------------------------------------------

const readme = (result: Result): string => {
  const { micros } = reader(result)
  const promise = (label: string, rest: string) => [
    label,
    micros(`effect-fuse/promise${rest}`),
    undefined,
    micros(`opossum${rest}`),
    micros(`cockatiel${rest}`)
  ]
  const effect = (label: string, ours: string, theirs: string) => [
    label,
    micros(ours),
    micros(theirs),
    undefined,
    undefined
  ]
  return table(
    ["one call", "effect-fuse", "Effect's own", "opossum", "cockatiel"],
    [
      effect("Effect", "async, protect", "async, Effect's own"),
      effect("Effect, 10 s timeout", "async, Resilience.standard", `async, ${ownTimedText}`),
      effect("Effect, rejected", "effect-fuse, open", "Effect's own, open"),
      promise("promise", ", closed"),
      promise("promise, 10 s timeout", `, closed, ${timeoutText}`),
      promise("promise, rejected", ", open")
    ]
  )
}

const promises = (result: Result): string => {
  const { memory, nanos } = reader(result)
  return table(
    ["", "bare function", ...promiseLibraries],
    [
      ...promiseRows.map(([label, rest]) => [
        label,
        rest === ", closed"
          ? nanos("bare async function")
          : rest === `, ${atOnceText}`
            ? nanos(`bare async function, ${atOnceText}`)
            : undefined,
        ...promiseLibraries.map((library) => nanos(`${library}${rest}`))
      ]),
      ...memoryRows.map(([label, rest]) => [
        label,
        rest === "" ? memory("bare async function") : undefined,
        ...promiseLibraries.map((library) => memory(`${library}${rest}`))
      ])
    ]
  )
}

const effects = (result: Result): string => {
  const { memory, nanos } = reader(result)
  return table(
    ["around an async function", "one caller", "1,000 at once", "memory of a waiting call"],
    effectRows.map(([label, wrapper]) => [
      label,
      nanos(`async, ${wrapper}`),
      nanos(`async, ${wrapper}, ${atOnceText}`),
      memory(`async, ${wrapper}`)
    ])
  )
}

const halfOpen = (result: Result): string => {
  const { nanos } = reader(result)
  return table(
    ["", "`protect`", "Effect's own"],
    effectPairs
      .filter(([, ours]) => ours.endsWith(probeText) || ours.endsWith(busyText) || ours.endsWith(", open"))
      .map(([label, ours, theirs]) => [label.replace("`protect`, ", ""), nanos(ours), nanos(theirs)])
  )
}

const sync = (result: Result, earlier: Earlier): string => {
  const { cpu, nanos } = reader(result)
  const base = cpu("Effect.onExit") ?? Number.NaN
  const changed = new Map(changes(result.nanosPerCall, earlier).map((change) => [change.name, change]))
  const names = Object.keys(earlier.nanosPerCall).filter((name) => !/promise|async|cockatiel|opossum/.test(name))
  return table(
    [
      "around an effect that succeeds at once",
      "CPU time",
      "CPU time, relative to `Effect.onExit`",
      "wall time, relative to `Effect.onExit`",
      "the same, earlier benchmark"
    ],
    names.map((name) => [
      name,
      nanos(name),
      ((cpu(name) ?? Number.NaN) / base).toFixed(1),
      changed.get(name)?.now.toFixed(1),
      changed.get(name)?.before.toFixed(1)
    ])
  )
}

const value = ({ limit }: Bar, number: number): string => (limit >= 100 ? whole(number) : number.toFixed(2))

const bars = ({ bars }: Result): string =>
  table(
    ["limit", "measured", "quartiles of the rounds", "result"],
    bars.map((bar) => [
      bar.bar,
      value(bar, bar.value),
      bar.low === undefined || bar.high === undefined ? undefined : `${value(bar, bar.low)} to ${value(bar, bar.high)}`,
      bar.met ? "met" : "**missed**"
    ])
  )

/** A difference of less than this share is not shown as a loss. */
const draw = 0.05

const losses = (result: Result): string => {
  const { bytes, cpu, memory, nanos } = reader(result)
  const rows: Array<ReadonlyArray<Cell>> = []
  const compare = (
    label: string,
    of: (name: string) => number | undefined,
    show: (name: string) => Cell,
    ours: string,
    theirs: string,
    library: string
  ) => {
    const [own = Number.NaN, other = Number.NaN] = [of(ours), of(theirs)]
    if (own > other * (1 + draw)) rows.push([label, show(ours), show(theirs), library])
  }
  for (const library of promiseLibraries.slice(1)) {
    for (const [label, rest] of promiseRows) {
      compare(`promise: ${label}`, cpu, nanos, `effect-fuse/promise${rest}`, `${library}${rest}`, library)
    }
    for (const [label, rest] of memoryRows) {
      compare(`promise: ${label}`, bytes, memory, `effect-fuse/promise${rest}`, `${library}${rest}`, library)
    }
  }
  for (const [label, ours, theirs] of effectPairs) compare(label, cpu, nanos, ours, theirs, "Effect's own")
  return rows.length === 0 ? "No row in this run." : table(["", "effect-fuse", "the other", "library"], rows)
}

const machine = ({ cores, cpu, load, node, rounds, versions }: Result): string => {
  const libraries = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return [
    `The machine: ${cpu} with ${cores} cores, Node ${node.slice(1)}.`,
    `The versions: ${libraries.join(", ")}.`,
    `The run had ${rounds} rounds. The load average of the machine was ${load.before.toFixed(1)} before it and ${load.after.toFixed(1)} after it.`
  ].join("\n")
}

const idle = ({ bytesPerIdleCircuit, importMillis }: Result): string =>
  table(
    ["", "measured"],
    [
      ["memory of an idle circuit that was called once", `${whole(bytesPerIdleCircuit)} B`],
      ['`import "effect-fuse"`', `${whole(importMillis.root)} ms`],
      ["import of only the Effect modules that it needs", `${whole(importMillis.needed)} ms`]
    ]
  )

const parts: Readonly<Record<string, (result: Result, earlier: Earlier) => string>> = {
  readme,
  promises,
  effects,
  "half-open": halfOpen,
  sync,
  bars,
  losses,
  machine,
  idle
}

/** Replaces the figures in the text of a page. Throws if the page asks for figures that do not exist. */
export const fill = (text: string, result: Result, earlier: Earlier): string =>
  text.replace(/<!-- bench:(.+?) -->[\s\S]*?<!-- \/bench -->/g, (_, name: string) => {
    const part = parts[name]
    if (part === undefined) throw new Error(`bench:${name}: expected one of ${Object.keys(parts).join(", ")}`)
    return `<!-- bench:${name} -->\n\n${part(result, earlier)}\n\n<!-- /bench -->`
  })

/** The names of the figures that a page shows. */
export const shownOn = (text: string): ReadonlyArray<string> =>
  Array.from(text.matchAll(/<!-- bench:(.+?) -->/g), ([, name = ""]) => name)

export const partNames: ReadonlyArray<string> = Object.keys(parts)
