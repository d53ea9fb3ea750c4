import { setTimeout as later } from "node:timers/promises"

/** The q-th quantile, by nearest rank. */
export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN
}

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)

/** The distribution of a figure. Default unit: milliseconds. */
export interface Spread {
  readonly n: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

export const spread = (values: ReadonlyArray<number>): Spread => ({
  n: values.length,
  p50: quantile(values, 0.5),
  p99: quantile(values, 0.99),
  max: quantile(values, 1)
})

/** Milliseconds of CLOCK_MONOTONIC, which all processes of one boot of Linux have in common. */
export const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6

export const sleep = (millis: number): Promise<void> => later(millis)

/** A number with three significant digits, or four from 1,000 to 9,999. */
export const short = (value: number): string => {
  if (!Number.isFinite(value)) return "-"
  const size = Math.abs(value)
  if (size >= 10_000) return Number(value.toPrecision(3)).toLocaleString("en-US")
  if (size >= 100 || size === 0) return Math.round(value).toLocaleString("en-US")
  return value.toFixed(size >= 10 ? 1 : 2)
}

/** A time in a suitable unit. */
export const time = (millis: number): string => {
  if (!Number.isFinite(millis)) return "-"
  const size = Math.abs(millis)
  if (size < 0.001) return `${Math.round(millis * 1e6)} ns`
  if (size < 1) return `${short(millis * 1e3)} µs`
  if (size < 1000) return `${short(millis)} ms`
  return `${short(millis / 1000)} s`
}
