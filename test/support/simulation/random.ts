/** Chance with a seed: everything that a simulation leaves to chance comes from here, so that a seed says all. */
import type { Random as EffectRandom } from "effect"

/** A source of chance (mulberry32). */
export class Chance {
  private state: number

  constructor(seed: number) {
    this.state = seed >>> 0
    // Seeds that are close to one another begin far apart.
    for (let i = 0; i < 4; i++) this.next()
  }

  /** From 0, and below 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** Whether something of this probability happens. Asks nothing for what is certain. */
  happens(probability: number): boolean {
    return probability > 0 && (probability >= 1 || this.next() < probability)
  }

  /** A whole number from 0, and below n. */
  below(n: number): number {
    return Math.floor(this.next() * n)
  }

  pick<A>(choices: readonly [A, ...ReadonlyArray<A>]): A {
    return choices[this.below(choices.length)] ?? choices[0]
  }

  /** The same values in another order. */
  shuffle<A>(values: ReadonlyArray<A>): ReadonlyArray<A> {
    const keyed = values.map((value) => ({ value, key: this.next() }))
    return keyed.sort((a, b) => a.key - b.key).map(({ value }) => value)
  }

  /** Another source, which what is drawn from this one later does not change. */
  fork(): Chance {
    return new Chance(Math.floor(this.next() * 2 ** 32))
  }

  /** Effect's `Random` service. */
  get service(): (typeof EffectRandom.Random)["Service"] {
    return {
      nextDoubleUnsafe: () => this.next(),
      nextIntUnsafe: () => Math.floor(this.next() * (2 * Number.MAX_SAFE_INTEGER + 1)) + Number.MIN_SAFE_INTEGER
    }
  }
}

/** A number by chance: mostly milliseconds. */
export type Distribution = (chance: Chance) => number

export const always =
  (value: number): Distribution =>
  () =>
    value

export const uniform =
  (from: number, to: number): Distribution =>
  (chance) =>
    from + (to - from) * chance.next()

/** Waiting times of what happens independently, `mean` apart. */
export const exponential =
  (mean: number): Distribution =>
  (chance) =>
    -Math.log(1 - chance.next()) * mean

/** Mostly the one, sometimes (with this probability) the other: a tail. */
export const sometimes =
  (probability: number, other: Distribution, mostly: Distribution): Distribution =>
  (chance) =>
    chance.happens(probability) ? other(chance) : mostly(chance)
