/** The bars of the fleet's protocol that a simulation can judge: the highest value that each figure may have. */
import type { Figures, Results } from "./experiment.ts"

/** The results of the experiments, by their names. */
export type AllResults = Readonly<Record<string, Results>>

export interface Bar {
  readonly bar: string
  /** The names of the experiments that the bar needs. */
  readonly of: ReadonlyArray<string>
  /** The figures to compare, in the order of `most`. */
  readonly figures: (results: AllResults) => ReadonlyArray<number>
  readonly most: ReadonlyArray<number>
  readonly unit?: string
}

export interface Judged {
  readonly bar: string
  readonly most: ReadonlyArray<number>
  /** The figures of the first protocol, if they are known, and those of this one. */
  readonly v1: ReadonlyArray<number> | undefined
  readonly v2: ReadonlyArray<number>
  readonly met: boolean
}

const one = (results: AllResults, experiment: string, label: string): Figures => results[experiment]?.[label] ?? {}

const figure = (results: AllResults, experiment: string, label: string, name: string): number =>
  one(results, experiment, label)[name] ?? Number.NaN

const total = (results: AllResults, experiment: string, name: string, is: (label: string) => boolean): number => {
  const cases = Object.entries(results[experiment] ?? {}).filter(([label]) => is(label))
  return cases.length === 0 ? Number.NaN : cases.reduce((all, [, figures]) => all + (figures[name] ?? Number.NaN), 0)
}

const minority = (title: string, experiment: string, start: string): Bar => ({
  bar: `${title}, in nine networks: fleet openings, healthy calls rejected`,
  of: [experiment],
  figures: (results) =>
    ["fleet trips", "rejected on healthy"].map((name) =>
      total(results, experiment, name, (label) => label.startsWith(start))
    ),
  most: [0, 0]
})

const leaked = (size: string, p50: number, p95?: number): Bar => ({
  bar: `calls that reach a dependency after it is down, ${size}: p50${p95 === undefined ? "" : ", p95"}`,
  of: ["leaked"],
  figures: (results) =>
    (p95 === undefined ? ["p50"] : ["p50", "p95"]).map((name) => figure(results, "leaked", `${size}, fleet`, name)),
  most: p95 === undefined ? [p50] : [p50, p95]
})

const few = (network: string, most: number): Bar => ({
  bar: `5 of 50 processes call and all fail, announcements ${network}: opens after, p95`,
  of: ["few"],
  figures: (results) => [figure(results, "few", `announcements: ${network}`, "opens ms p95")],
  most: [most],
  unit: "ms"
})

const mass = (label: string, names: ReadonlyArray<readonly [name: string, most: number]>): Bar => ({
  bar: `${label} down at once: keys that are not open, ${names.map(([name]) => name).join(", ")}`,
  of: ["many"],
  figures: (results) => {
    const of = (name: string) => figure(results, "many", label, name)
    return [of("keys") - of("open for all"), ...names.map(([name]) => of(name))]
  },
  most: [0, ...names.map(([, most]) => most)]
})

const sizes = ["3 at 50/s", "20 at 50/s", "200 at 5/s"]

export const bars: ReadonlyArray<Bar> = [
  minority("1 of 3 failing", "minority", "1 of 3:"),
  minority("2 of 10 failing", "minority", "2 of 10:"),
  minority("3 of 20 failing", "minority", "3 of 20:"),
  minority("3 of 100 failing", "minority", "3 of 100:"),
  minority("2 of 6 and 4 of 10 callers failing, 50 processes", "callers", ""),
  leaked("3 at 50/s", 7, 10),
  leaked("20 at 50/s", 27, 32),
  leaked("20 at 5/s", 25, 30),
  leaked("200 at 5/s", 235),
  leaked("1000 at 1/s", 1170),
  few("1 ms", 60),
  few("100 ms", 200),
  few("300 ms", 400),
  few("polled", 1600),
  few("none", 5600),
  {
    bar: "false fleet openings an hour: 1 % errors, 5 % errors, all sizes together",
    of: ["trips"],
    figures: (results) =>
      [1, 5].map((share) =>
        total(
          results,
          "trips",
          "fleet/h",
          (label) => label.endsWith(`at 50/s, ${share} % errors`) || label.endsWith(`at 5/s, ${share} % errors`)
        )
      ),
    most: [0, 0]
  },
  {
    bar: "the same at 20 % errors, 20 processes at 50/s: announcements 100 ms late, 300 ms, polled, none",
    of: ["false"],
    figures: (results) =>
      ["100 ms", "300 ms", "polled", "none"].map((network) =>
        figure(results, "false", `20 at 50/s, announcements: ${network}`, "fleet/h")
      ),
    most: [0, 0, 0, 0]
  },
  {
    bar: `items a second at 5 % errors: ${sizes.join(", ")}`,
    of: ["commands"],
    figures: (results) => sizes.map((size) => figure(results, "commands", size, "5 % errors: items")),
    most: [0.15, 5, 24]
  },
  {
    bar: `items a second while healthy, beyond heartbeats: ${sizes.join(", ")}`,
    of: ["commands"],
    figures: (results) => sizes.map((size) => figure(results, "commands", size, "healthy: items")),
    most: [0, 0, 0]
  },
  mass("10,000 keys, 4 processes", [
    ["after s", 5],
    ["leaked a key", 14]
  ]),
  mass("1,000 keys, 4 of 200 processes each", [
    ["after s", 3],
    ["items a key", 20]
  ]),
  {
    bar: "the store freezes on an opening: openings carried out afterwards",
    of: ["freeze"],
    figures: (results) => [figure(results, "freeze", "6 at 50/s, 11 seeds", "carried out")],
    most: [0]
  },
  {
    bar: "the store is wiped beside new failing processes: fleet openings",
    of: ["wipe"],
    figures: (results) => [figure(results, "wipe", "12 at 50/s, 11 seeds", "trips")],
    most: [0]
  },
  {
    bar: "12 of 20 processes crash before an outage: opens after, p95, at 50/s, 10/s, 5/s",
    of: ["ghosts"],
    figures: (results) => [50, 10, 5].map((rate) => figure(results, "ghosts", `20 at ${rate}/s`, "opens ms p95")),
    most: [9_600, 9_600, 9_600],
    unit: "ms"
  }
]

/** Judges the bars whose experiments have results. A bar with a missing figure is missed. */
export const judge = (v1: AllResults | undefined, v2: AllResults): ReadonlyArray<Judged> =>
  bars
    .filter(({ of }) => of.every((name) => name in v2))
    .map(({ bar, figures, most, unit }) => {
      const found = figures(v2)
      return {
        bar: unit === undefined ? bar : `${bar} (${unit})`,
        most,
        v1: v1 === undefined ? undefined : figures(v1),
        v2: found,
        met: most.every((highest, i) => (found[i] ?? Number.NaN) <= highest)
      }
    })

const shown = (values: ReadonlyArray<number> | undefined): string =>
  values === undefined
    ? "-"
    : values.map((value) => (Number.isNaN(value) ? "-" : Number(value.toPrecision(4)))).join(", ")

/** The bars as lines of a table. */
export const lines = (judged: ReadonlyArray<Judged>): ReadonlyArray<string> => {
  const cells = judged.map(({ bar, met, most, v1, v2 }) => [
    met ? "ok" : "MISSED",
    shown(most),
    shown(v1),
    shown(v2),
    bar
  ])
  const rows = [["", "at most", "v1", "v2", ""], ...cells]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd()
  )
}
