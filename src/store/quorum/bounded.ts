/** How many circuits are remembered, by the epoch of their latest record in each store. */
export const maxRemembered = 10_000

/** Forgets the oldest if there are too many. */
export const bounded = <K, V>(map: Map<K, V>, most = maxRemembered): Map<K, V> => {
  const [first] = map.keys()
  if (map.size > most && first !== undefined) map.delete(first)
  return map
}
