let last = 0

/**
 * Returns a text that sorts after every earlier text of this process. The text encodes the given time, in milliseconds since 1970, so the
 * texts of several processes sort by time as far as their clocks agree. All texts have the same length, and every collation sorts them in
 * the same way.
 */
export const nextStamp = (millis: number): string => {
  last = Math.max(last + 1, Math.floor(millis * 1_000))
  return last.toString(36).padStart(11, "0")
}
