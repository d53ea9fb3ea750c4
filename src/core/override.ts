/**
 * What one operator has set over a circuit: every call is rejected (`Isolated`), or every call passes uncounted (`Disabled`).
 * `until` is `Infinity` if the override does not expire.
 *
 * @category models
 */
export interface Override {
  readonly _tag: "Isolated" | "Disabled"
  readonly since: number
  readonly until: number
  readonly reason: string
  readonly actor: string | undefined
}

/** The override that decides, and the others that stand beside it. */
export type Overrides = readonly [Override, ...Array<Override>]

/** How many overrides of one circuit are kept. Above this, one that ends no later than another of its kind is dropped. */
export const maxOverrides = 16

/** The override that decides comes first: one that rejects, and of several the one that ends last. */
const order = (a: Override, b: Override): number => {
  if (a._tag !== b._tag) return a._tag === "Isolated" ? -1 : 1
  // A difference would be no number for two overrides without an end.
  return a.until === b.until ? a.since - b.since : b.until - a.until
}

export const isStanding = ({ until }: Override, now: number): boolean => now < until

const isSame = (a: Override, b: Override): boolean => a._tag === b._tag && a.actor === b.actor

/** The overrides that remain of two of the same kind by the same operator: one, from the earlier start to the later end. */
const merge = (before: Override, { reason, since, until, ...next }: Override): Override => ({
  ...next,
  since: Math.min(before.since, since),
  until: Math.max(before.until, until),
  reason
})

/** Drops the override whose loss changes nothing: it ends first, and another of its kind ends no earlier. */
const dropOne = (sorted: ReadonlyArray<Override>): ReadonlyArray<Override> => {
  let dropped = -1
  sorted.forEach(({ _tag, until }, i) => {
    if (sorted[i - 1]?._tag === _tag && (dropped < 0 || until <= (sorted[dropped] as Override).until)) dropped = i
  })
  return sorted.filter((_, i) => i !== dropped)
}

/**
 * The overrides after another one is set. None ends earlier than before. One that the same operator set already is extended:
 * it keeps its start and the later end, and gets the new reason.
 */
export const add = (standing: ReadonlyArray<Override>, next: Override): Overrides => {
  const before = standing.find((one) => isSame(one, next))
  const others = standing.filter((one) => one !== before)
  const sorted = [...others, before === undefined ? next : merge(before, next)].sort(order)
  return (sorted.length > maxOverrides ? dropOne(sorted) : sorted) as unknown as Overrides
}
