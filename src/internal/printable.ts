/** Keys and reasons come from outside: none of them may end a log line, hide in one or colour a terminal. */
export const printable = (text: string): string =>
  text.replaceAll(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`
  )

/** Any value, on one line and not too long, for the message of an error. */
export const show = (value: unknown): string => {
  if (typeof value === "number") return String(value)
  if (typeof value === "bigint") return `${value}n`
  if (typeof value === "function") return "a function"
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch {
    // Circular, or with a bigint inside.
  }
  const line = printable(text ?? String(value))
  return line.length > 120 ? `${line.slice(0, 120)}...` : line
}
