/** Adds an entry to a map as the newest entry. If the map then has more than `most` entries, drops the oldest entry. */
export const remember = <K, V>(map: Map<K, V>, key: K, value: V, most: number): void => {
  // A map keeps the order of insertion.
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > most && oldest !== undefined) map.delete(oldest)
}
