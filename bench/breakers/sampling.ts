/** A case to measure. */
export interface Case {
  readonly name: string
  /** Makes n calls. */
  readonly run: (n: number) => Promise<void>
  /** Runs before each sample, outside of the measured time. */
  readonly prepare?: (() => Promise<void>) | undefined
  /** How many calls a sample makes. Default: as many as take `sampleMillis`. */
  readonly calls?: number | undefined
  /** Throws if the case does not measure what its name says, for example because a circuit is in another state. */
  readonly check?: (() => Promise<void> | void) | undefined
}

/** Nanoseconds per call. */
export interface Sample {
  readonly wall: number
  /** Of all threads of the process, so that it includes the work of the garbage collector. */
  readonly cpu: number
}

const collectGarbage = (): void => {
  if (globalThis.gc === undefined) throw new Error("run node with --expose-gc")
  globalThis.gc({ type: "minor", execution: "sync" })
}

/** Measures a case once. The garbage of earlier samples is collected first. */
export const sample = async (one: Case, calls: number): Promise<Sample> => {
  await one.prepare?.()
  collectGarbage()
  const cpuStart = process.cpuUsage()
  const start = process.hrtime.bigint()
  await one.run(calls)
  const wall = Number(process.hrtime.bigint() - start)
  const { system, user } = process.cpuUsage(cpuStart)
  return { wall: wall / calls, cpu: ((system + user) * 1_000) / calls }
}

/** Runs a case until it is compiled, and returns how many calls a sample makes. */
export const warmUp = async (one: Case, warmUpMillis: number, sampleMillis: number): Promise<number> => {
  let calls = one.calls ?? 100
  let spent = 0
  let last = Infinity
  while (spent < warmUpMillis) {
    const { wall } = await sample(one, calls)
    spent += (wall * calls) / 1e6
    last = wall
    if (one.calls === undefined && wall * calls < sampleMillis * 1e6) calls = Math.min(calls * 2, 1_000_000)
  }
  await one.check?.()
  return one.calls ?? Math.max(100, Math.round((sampleMillis * 1e6) / last))
}

/** The middle value, and the quartiles around it. */
export interface Spread {
  readonly median: number
  /** A quarter of the values are below it. */
  readonly low: number
  /** A quarter of the values are above it. */
  readonly high: number
}

export const spreadOf = (values: ReadonlyArray<number>): Spread => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN
  return { median: at(0.5), low: at(0.25), high: at(0.75) }
}
