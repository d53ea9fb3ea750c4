/** Matches texts that need no escaping. Testing this first takes half the time of a search for characters to escape. */
const printableAscii = /^[ -~]*$/

/** Escapes control and invisible characters. Keys and reasons are foreign: they must not break a log line or control a terminal. */
export const printable = (text: string): string =>
  printableAscii.test(text)
    ? text
    : text.replaceAll(
        /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
        (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`
      )

/** A circuit as messages name it: `"api" ["tenant"]`, without brackets if it has no key. */
export const printableCircuit = (name: string, key: string | undefined): string =>
  `"${printable(name)}"${key === undefined ? "" : ` ["${printable(key)}"]`}`

/** {@link printable} for each line of a text. */
export const printableLines = (text: string): string => text.split("\n").map(printable).join("\n")

/** {@link printable} for JSON: escapes the characters that `JSON.stringify` leaves, without changing the value. */
export const printableJson = (json: string): string =>
  json.replaceAll(/[\u007f-\u009f\p{Cf}\u2028\u2029]/gu, (char) =>
    Array.from({ length: char.length }, (_, i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")
  )

/** Any value as one line of at most 123 characters, for an error message. */
export const show = (value: unknown): string => {
  if (typeof value === "number") return String(value)
  if (typeof value === "bigint") return `${value}n`
  if (typeof value === "function") return "a function"
  const line = printable(toText(value))
  return line.length > 120 ? `${line.slice(0, 120)}...` : line
}

/** `Object.prototype.toString` works for every value, also if the other two fail. */
const toText = (value: unknown): string => {
  for (const write of [JSON.stringify, String]) {
    try {
      const text: string | undefined = write(value)
      if (text !== undefined) return text
    } catch {
      // Circular, with a bigint inside, without a prototype, or with a method that throws.
    }
  }
  return Object.prototype.toString.call(value)
}
