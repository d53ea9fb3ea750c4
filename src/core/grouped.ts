/** The elements of a list in groups with the same key, in the order in which each group begins. */
export const grouped = <A, K>(all: ReadonlyArray<A>, by: (one: A) => K): Map<K, [A, ...Array<A>]> => {
  const groups = new Map<K, [A, ...Array<A>]>()
  for (const one of all) {
    const key = by(one)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [one])
    else group.push(one)
  }
  return groups
}
