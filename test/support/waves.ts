/** The number of calls that began in each period of 100 milliseconds after `from`. */
export const perWave = (began: ReadonlyArray<{ readonly at: number }>, from: number): ReadonlyArray<number> => {
  const counts: Array<number> = []
  for (const { at } of began) {
    const wave = Math.floor((at - from) / 100)
    counts[wave] = (counts[wave] ?? 0) + 1
  }
  return Array.from(counts, (count = 0) => count)
}
