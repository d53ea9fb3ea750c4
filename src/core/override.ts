/**
 * What one operator has set: `Isolated` rejects every call, `Disabled` lets every call run uncounted. `since` and `until` are in
 * milliseconds of the monotonic clock; `until` is `Infinity` if the override does not expire.
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

/** The overrides in force. The override that decides comes first. */
export type Overrides = readonly [Override, ...Array<Override>]

/** Maximum number of overrides of one circuit. If there are more, an override is dropped that another one outlasts. */
const maxOverrides = 16

/** `Isolated` comes before `Disabled`, and of the same kind the override that ends last comes first. */
const order = (a: Override, b: Override): number => {
  if (a._tag !== b._tag) return a._tag === "Isolated" ? -1 : 1
  // `Infinity - Infinity` is NaN.
  return a.until === b.until ? a.since - b.since : b.until - a.until
}

export const isInForce = ({ until }: Override, now: number): boolean => now < until

const isSame = (a: Override, b: Override): boolean => a._tag === b._tag && a.actor === b.actor

/** Two overrides of the same kind by the same operator become one, from the earlier start to the later end. */
const merge = (before: Override, { reason, since, until, ...next }: Override): Override => ({
  ...next,
  since: Math.min(before.since, since),
  until: Math.max(before.until, until),
  reason
})

/** Drops the override that ends first and that another one of its kind outlasts: without it, nothing changes. */
const dropOne = (sorted: ReadonlyArray<Override>): ReadonlyArray<Override> => {
  let dropped = -1
  sorted.forEach(({ _tag, until }, i) => {
    if (sorted[i - 1]?._tag === _tag && (dropped < 0 || until <= (sorted[dropped] as Override).until)) dropped = i
  })
  return sorted.filter((_, i) => i !== dropped)
}

/**
 * The overrides after `next` is set. No override ends earlier than before. If the same operator has set one of the same kind before,
 * that one gets the later end and the new reason.
 */
export const add = (inForce: ReadonlyArray<Override>, next: Override): Overrides => {
  const before = inForce.find((override) => isSame(override, next))
  const others = inForce.filter((override) => override !== before)
  const sorted = [...others, before === undefined ? next : merge(before, next)].sort(order)
  // The list contains `next`, so the list is not empty. TypeScript does not know this.
  return (sorted.length > maxOverrides ? dropOne(sorted) : sorted) as Overrides
}
