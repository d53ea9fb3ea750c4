/** Pseudo-random numbers. The same seed gives the same numbers. */
export interface Random {
  /** A number from 0 to below 1. */
  readonly next: () => number
  readonly between: (low: number, high: number) => number
  readonly pick: <A>(of: readonly [A, ...Array<A>]) => A
}

export const fromSeed = (seed: number): Random => {
  let state = seed >>> 0
  // mulberry32
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    next,
    between: (low, high) => low + (high - low) * next(),
    pick: (of) => of[Math.floor(next() * of.length)] ?? of[0]
  }
}
