/** The most circuits that are remembered for each store. */
export const maxRemembered = 10_000

/** Drops the oldest entry of a map that is full. */
export const bounded = <K, V>(map: Map<K, V>, most = maxRemembered): Map<K, V> => {
  const [first] = map.keys()
  if (map.size > most && first !== undefined) map.delete(first)
  return map
}
