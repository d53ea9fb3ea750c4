/** A duration for people: `8 s`, `2 min 5 s`, `3 h 12 min`, `2 d 4 h`. */
export const duration = (millis: number): string => {
  const seconds = Math.max(0, Math.floor(millis / 1_000))
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  const days = Math.floor(hours / 24)
  if (days > 0) return `${days} d ${hours % 24} h`
  if (hours > 0) return `${hours} h ${minutes % 60} min`
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`
}
