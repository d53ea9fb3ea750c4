let last = 0

/**
 * A text that is greater than all texts that this process was given before. It begins with the given time, in milliseconds since 1970,
 * so texts of processes whose clocks agree are in the order of time, too. All have the same length and the same order in every collation.
 */
export const nextStamp = (millis: number): string => {
  last = Math.max(last + 1, Math.floor(millis * 1_000))
  return last.toString(36).padStart(11, "0")
}
