/** A case to measure. `run` makes n calls. */
export interface Case {
  readonly name: string
  readonly run: (n: number) => Promise<void>
  /** How many calls a round makes. Slow cases make fewer. */
  readonly calls: number
}

export interface Figure {
  readonly name: string
  readonly nanos: number
  readonly lowest: number
  readonly highest: number
}

/**
 * Measures nanoseconds per call: the median of the rounds. The cases take turns in every round, so that other work of the machine
 * affects all of them alike.
 */
export const measure = async (cases: ReadonlyArray<Case>, rounds: number): Promise<ReadonlyArray<Figure>> => {
  const times = new Map<string, Array<number>>(cases.map(({ name }) => [name, []]))
  for (const one of cases) await one.run(Math.ceil(one.calls / 2))
  for (let round = 0; round < rounds; round++) {
    for (const one of cases) {
      const start = process.hrtime.bigint()
      await one.run(one.calls)
      times.get(one.name)?.push(Number(process.hrtime.bigint() - start) / one.calls)
    }
  }
  return cases.map(({ name }) => {
    const sorted = (times.get(name) ?? []).sort((a, b) => a - b)
    return {
      name,
      nanos: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN,
      lowest: sorted[0] ?? Number.NaN,
      highest: sorted.at(-1) ?? Number.NaN
    }
  })
}

/** The bytes of heap for each of the `n` things that `make` creates and keeps alive. */
export const bytesEach = async (n: number, make: () => Promise<unknown>): Promise<number> => {
  const collect = globalThis.gc
  if (collect === undefined) throw new Error("run node with --expose-gc to measure memory")
  const settle = async () => {
    for (let i = 0; i < 4; i++) {
      collect()
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return process.memoryUsage().heapUsed
  }
  const before = await settle()
  const kept = await make()
  const after = await settle()
  if (kept === undefined) throw new Error("nothing was kept")
  return (after - before) / n
}
