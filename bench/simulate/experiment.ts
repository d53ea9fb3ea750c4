/** An experiment: named cases, each of which gives figures, shown as one table. */

/** The result of one case. */
export type Figures = Readonly<Record<string, number>>

/** The size of a run. */
export interface Scale {
  /** The first seed. The other seeds are the numbers after it. */
  readonly seed: number
  /** Whether to use few seeds and little time, only to check that the experiments work. */
  readonly quick: boolean
}

export interface Case {
  readonly label: string
  readonly run: (scale: Scale) => Figures
}

export interface Experiment {
  readonly name: string
  /** The names of the figures, with their units. */
  readonly title: string
  readonly cases: ReadonlyArray<Case>
}

/** The figures of an experiment, by the labels of its cases. */
export type Results = Readonly<Record<string, Figures>>

/** `n`, or at most `few` of them in a quick run. */
export const some = ({ quick }: Scale, n: number, few = 3): ReadonlyArray<number> =>
  indices(quick ? Math.min(few, n) : n)

export const indices = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

/** The smallest value that is not exceeded by at least this share of the values. NaN if there are no values. */
export const quantile = (values: ReadonlyArray<number>, q: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN

export const sum = (values: ReadonlyArray<number>): number => values.reduce((all, one) => all + one, 0)

const shown = (value: number | undefined): string => {
  if (value === undefined || Number.isNaN(value)) return "-"
  if (value === 0 || Math.abs(value) >= 100 || Number.isInteger(value)) return value.toFixed(0)
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}

/** Runs the cases one after the other, and prints a line as soon as its case has ended. `before` are figures to compare with. */
export const play = (
  experiment: Experiment,
  scale: Scale,
  before: Results | undefined,
  say: (line: string) => void
): Results => {
  say(`\n${experiment.title}`)
  const labels = Math.max(...experiment.cases.map(({ label }) => label.length)) + 2
  const found: Record<string, Figures> = {}
  let columns: ReadonlyArray<string> = []
  for (const { label, run } of experiment.cases) {
    const figures = rounded(run(scale))
    found[label] = figures
    if (columns.join() !== Object.keys(figures).join()) {
      columns = Object.keys(figures)
      say(`${"".padEnd(labels)}${columns.map((name) => name.padStart(wide(name))).join("")}`)
    }
    const cell = (name: string): string => {
      const earlier = before?.[label]?.[name]
      const compared = before === undefined ? "" : ` [${shown(earlier)}]`
      return `${shown(figures[name])}${compared}`.padStart(wide(name))
    }
    say(`${label.padEnd(labels)}${columns.map(cell).join("")}`)
  }
  return found
}

/** Rounds each figure to four digits. */
const rounded = (figures: Figures): Figures =>
  Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, Number(value.toPrecision(4))]))

const wide = (name: string): number => Math.max(18, name.length + 2)
