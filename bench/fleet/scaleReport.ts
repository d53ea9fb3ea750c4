import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { short } from "./figures.ts"
import {
  type Blocking,
  blocking,
  type ColdStart,
  coldStart,
  type MassOutage,
  massOutage,
  type Newcomer,
  newcomer,
  type Steady,
  steady
} from "./scale.ts"

/** The experiments with many circuits, in the order in which they run. */
export const experiments = { mass: massOutage, blocking, newcomer, steady, cold: coldStart } as const
export type ScaleExperiment = keyof typeof experiments

export interface Scale {
  readonly mass?: MassOutage
  readonly blocking?: Blocking
  readonly newcomer?: Newcomer
  readonly steady?: Steady
  readonly cold?: ColdStart
}

interface File {
  readonly machine: { readonly cpu: string; readonly cores: number; readonly node: string }
  readonly experiments: Scale
}

const pathOf = (protocol: "v1" | "v2") => new URL(`../results/scale.${protocol}.json`, import.meta.url)

const read = (protocol: "v1" | "v2"): Scale =>
  existsSync(pathOf(protocol)) ? (JSON.parse(readFileSync(pathOf(protocol), "utf8")) as File).experiments : {}

export interface ScaleBar {
  readonly bar: string
  readonly most: number
  /** The figures of the first protocol, if it is known, and of this one. */
  readonly v1: number | undefined
  readonly v2: number
  readonly met: boolean
}

type Figure = readonly [bar: string, most: number, figure: (scale: Scale) => number | undefined]

const keys = ({ mass }: Scale) => mass?.keys.toLocaleString("en-US") ?? "?"

/** The figures with their maximum values. */
const figures = (measured: Scale): ReadonlyArray<Figure> => [
  [`${keys(measured)} keys down at once: seconds until all are open for all`, 15, ({ mass }) => mass?.seconds],
  ["keys that are not open then", 0, ({ mass }) => mass && mass.keys - mass.open],
  ["processes that found the store down", 0, ({ mass }) => mass?.down],
  ["commands a second and process", 200, ({ mass }) => mass?.commands],
  ["commands a second and process, in the busiest second", 200, ({ mass }) => mass?.busiest],
  ["calls that reached each key", 20, ({ mass }) => mass?.leakedAKey],
  [
    `${measured.blocking?.exchanges ?? "?"} exchanges with ${measured.blocking?.items ?? "?"} items: the longest blocks Redis for, ms`,
    3,
    ({ blocking }) => blocking?.longestMillis
  ],
  [
    `a process starts while ${measured.newcomer?.circuits.toLocaleString("en-US") ?? "?"} circuits are open: knows all after, ms`,
    5_000,
    ({ newcomer }) => newcomer?.allMillis
  ],
  ["longest page on the server, ms", 50, ({ newcomer }) => newcomer?.longestPage],
  [
    "circuits of the first page that were not known before its first call",
    0,
    ({ newcomer }) => newcomer && Math.max(0, Math.min(1_000, newcomer.circuits) - newcomer.knownAtOnce)
  ],
  [
    `${measured.steady?.circuits.toLocaleString("en-US") ?? "?"} circuits stay open: commands per interval and process`,
    2.2,
    ({ steady }) => steady?.commands
  ],
  ["mean time of one of them on the server, ms", 1, ({ steady }) => steady?.meanMillis],
  [
    `${measured.cold?.processes ?? "?"} processes start at once while a circuit is open: calls let through`,
    0,
    ({ cold }) => cold?.reached
  ]
]

export const judgeScale = (measured: Scale): ReadonlyArray<ScaleBar> => {
  const before = read("v1")
  return figures(measured).flatMap(([bar, most, figure]) => {
    const v2 = figure(measured)
    return v2 === undefined ? [] : [{ bar, most, v1: figure(before), v2, met: v2 <= most }]
  })
}

export const printScale = (measured: Scale): void => {
  const bars = judgeScale(measured)
  const cells = bars.map(({ bar, met, most, v1, v2 }) => [
    met ? "ok" : "MISSED",
    short(most),
    v1 === undefined ? "" : short(v1),
    short(v2),
    bar
  ])
  const rows = [["", "at most", "v1", "v2", ""], ...cells]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  console.log("\nmany circuits on one Redis, with the figures of the first protocol (v1) and of this one (v2)")
  for (const row of rows)
    console.log(`  ${row.map((cell, column) => (column === 4 ? cell : cell.padStart(widths[column] ?? 0))).join("  ")}`)
}

/** Experiments that were not run keep their earlier figures. */
export const writeScale = (machine: File["machine"], measured: Scale): void => {
  mkdirSync(new URL(".", pathOf("v2")), { recursive: true })
  const file: File = { machine, experiments: { ...read("v2"), ...measured } }
  const rounded = (_: string, value: unknown) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
  writeFileSync(pathOf("v2"), `${JSON.stringify(file, rounded, 2)}\n`)
}
