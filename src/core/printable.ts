/** Most texts, which are found out in half the time that a search for what has to be escaped takes. */
const printableAscii = /^[ -~]*$/

/** Keys and reasons come from outside: none of them may end a log line, hide in one or colour a terminal. */
export const printable = (text: string): string =>
  printableAscii.test(text)
    ? text
    : text.replaceAll(
        /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
        (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`
      )

/** The same for a text of several lines, which keeps them. */
export const printableLines = (text: string): string => text.split("\n").map(printable).join("\n")

/** The same for JSON, which says the same afterwards: what it does not escape by itself. */
export const printableJson = (json: string): string =>
  json.replaceAll(/[\u007f-\u009f\p{Cf}\u2028\u2029]/gu, (char) =>
    Array.from({ length: char.length }, (_, i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")
  )

/** Any value, on one line and not too long, for the message of an error. */
export const show = (value: unknown): string => {
  if (typeof value === "number") return String(value)
  if (typeof value === "bigint") return `${value}n`
  if (typeof value === "function") return "a function"
  const line = printable(toText(value))
  return line.length > 120 ? `${line.slice(0, 120)}...` : line
}

/** Some values can be turned into text in no way but this last one. */
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
