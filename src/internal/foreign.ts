import { printable } from "./printable.ts"

/**
 * Text that this library did not write: error messages, and whatever a call threw. It may contain a URL with a key, a
 * connection string, a header, a response body or a password, and it ends up in logs, events, stores and HTTP responses.
 * Every such text is made here, on one line, without secrets and of bounded length.
 */

/** Maximum length of a text made here. */
const maxText = 300
/** Maximum length of the first error's message, so that there is room for the codes of what caused it. */
const maxMessage = 200
/** Maximum length of what one nested error adds. */
const maxNested = 80
/** Maximum number of nested errors that are read. */
const maxErrors = 16
/** No message is read beyond this. */
const maxRead = 2_000

// ---- Secrets --------------------------------------------------------------------------------------------------------

const hidden = "***"

/** What the names of fields contain whose value is a secret: `password`, `apiKey`, `client_secret`, `AccountKey`. */
const secretName =
  "(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token|(?:api|access|account|private|shared|signing|encryption|auth)[-_ ]?key|x-[\\w-]{0,30}key|credentials?|signature|session[-_]?id|jwt)[\\w-]*"

/** A quoted value with everything in it, or all up to what ends an unquoted one. MySQL's `password: YES` is none. */
const secretValue = String.raw`(?!\s*(?:YES|NO)\b)(\s*)(?:\\"[\s\S]*?(?:\\"|$)|"(?:[^"\\]|\\.)*(?:"|$)|'(?:[^'\\]|\\.)*(?:'|$)|[^\n,;&)}\]"']+)`

type Rule = readonly [pattern: RegExp, replacement: string | ((...found: Array<string>) => string)]

const rules: ReadonlyArray<Rule> = [
  // Parsers quote the text that they could not read, which is a response body or a secret.
  [/,? ?(?:\.\.\.)?"[\s\S]{0,200}?"(?:\.\.\.)? is not valid JSON/g, " is not valid JSON"],
  [/-----BEGIN [\s\S]*/g, hidden],
  // The arguments of a command and the parameters of a query.
  [/\b(Command failed[^:\n]*: *\S+)[^\n]*/g, "$1"],
  [/\b(params?|parameters|args|arguments|args beginning with|bindings) ?[:=][^\n]*/gi, `$1: ${hidden}`],
  // A URL whose password has a space in it goes on to the host.
  [
    /\b([a-z][a-z0-9+.-]{0,20}):\/\/[^\s/@:[]*:(?!\d{1,5}(?:[/?#\s"'<>)\],;.:]|$))[^\s@]*\s[^@\n]*@\S*/gi,
    `$1://${hidden}`
  ],
  [/\b([a-z][a-z0-9+.-]{0,20}):\/\/([^\s"'<>)]*)/gi, (_, scheme = "", rest = "") => origin(scheme, rest)],
  [/\?[^\s"'<>)?]*=[^\s"'<>)]*/g, ""],
  [/\b((?:proxy-)?authorization|(?:set-)?cookie)["'\\]*\s*[:=]\s*[^\n]*/gi, `$1: ${hidden}`],
  [/\b(Bearer|Basic|Digest|Negotiate)\s+[\w.~+/=-]{3,}[^\n,;)]*/g, `$1 ${hidden}`],
  [new RegExp(`(^|\\s)(--?[\\w-]{0,30}${secretName})[ =]+\\S+`, "gi"), `$1$2 ${hidden}`],
  [new RegExp(`(${secretName}["'\\\\]*\\s*(?:=>|[:=]))${secretValue}`, "gi"), `$1$2${hidden}`],
  [new RegExp(`(${secretName} )(?:"[^"\n]{4,}"?|'[^'\n]{4,}'?)`, "gi"), `$1${hidden}`],
  [/\beyJ[\w-]+(?:\.[\w-]*)*/g, hidden],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{8,}/g, hidden],
  [/\b(?:sk|pk|rk|ghp|gho|ghs|ghu|github_pat|glpat|xox[a-z]|npm|shpat|hf|SG)[-_.][\w.-]{8,}/g, hidden],
  [/[\w+/=~-]{16,}/g, (run = "", at = "", whole = "") => (looksRandom(run, Number(at), whole) ? hidden : run)]
]

/** `localhost:3000`, `db-1.internal`, `[::1]:5432`; a list of hosts, too. */
const isHost = (text: string): boolean =>
  /^(?:[\w.*-]+|\[[\da-f:.]+\])?(?::\d{0,5})?(?:,[\w.-]+(?::\d{1,5})?)*$/i.test(text)

/** Of a URL the scheme and the host: a user, a path, a query or a fragment may be a secret. */
const origin = (scheme: string, rest: string): string => {
  if (/^file$/i.test(scheme)) return `${scheme}://${rest}`
  const [authority = ""] = rest.split(/[/?#\\]/, 1)
  const host = authority.slice(authority.lastIndexOf("@") + 1)
  const [end = ""] = /[.,;:\]]*$/.exec(host) ?? []
  const bare = end.startsWith("]") ? host : host.slice(0, host.length - end.length)
  // What has a slash in its password ends too early: what comes first is not the host.
  const later = rest.slice(authority.length).includes("@")
  const sound = isHost(bare) && (!later || (/^https?$/i.test(scheme) && !/[@:]/.test(authority)))
  return `${scheme}://${sound ? bare : hidden}${authority.length === rest.length && !end.startsWith("]") ? end : ""}`
}

const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0

/** Keys, hashes, identifiers. Words, codes such as `ERR_HTTP2_STREAM_ERROR` and names of hosts are not. */
const looksRandom = (run: string, at: number, whole: string): boolean => {
  const digits = count(run, /\d/g)
  if (digits === 0 || digits === run.length) return digits > 0 && run.length >= 20
  const lower = /[a-z]/.test(run)
  const upper = /[A-Z]/.test(run)
  if (lower && upper) return digits >= 2 || run.length >= 32
  if (!lower && upper && run.includes("_")) return false
  if (digits < 3) return false
  const inHost = whole[at - 1] === "." || /^\.[a-z]/.test(whole.slice(at + run.length, at + run.length + 2))
  return !inHost && (upper || run.length >= 20)
}

/** Something of every rule. Most messages have none of it and need not be searched. */
const suspicious = new RegExp(
  String.raw`:\/\/|\?|-----|[\w+/=~-]{16}|${secretName}|authorization|cookie|bearer|basic|digest|negotiate|command failed|param|arg|bindings|is not valid JSON|\beyJ|\b(?:AKIA|ASIA)|\b(?:sk|pk|rk|gh.|github_pat|glpat|xox.|npm|shpat|hf|SG)[-_.]`,
  "i"
)

/** The same text, of any number of lines, with `***` in place of what looks like a secret. */
export const withoutSecrets = (text: string): string => {
  if (!suspicious.test(text)) return text
  // One that was cut is not recognised any more: its beginning goes with it.
  let left = text.length > maxRead ? text.slice(0, maxRead).replace(/\S*$/, "...") : text
  for (const [pattern, replacement] of rules) {
    left = typeof replacement === "string" ? left.replace(pattern, replacement) : left.replace(pattern, replacement)
  }
  return left
}

/** At most so many characters, and no half of one. */
const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 3).replace(/[\ud800-\udbff]$/, "")}...`

/** One line that can be printed and stored. */
const line = (text: string, length: number): string => {
  const left = withoutSecrets(text).slice(0, maxRead)
  const one = plain.test(left) ? left : left.replaceAll(/\p{Cs}/gu, "\ufffd").replaceAll(/\s+/g, " ")
  return cut(printable(one.trim()), length)
}

/** Nothing that would have to be replaced. */
const plain = /^[ -~]*$/

// ---- Errors ---------------------------------------------------------------------------------------------------------

/** What an error's property is; nothing if reading it throws. */
const read = (of: object, field: string): unknown => {
  try {
    return Reflect.get(of, field)
  } catch {
    return undefined
  }
}

const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function"

const isError = (value: object): boolean => {
  try {
    return value instanceof Error
  } catch {
    return false
  }
}

const word = (value: unknown): string => (typeof value === "string" ? line(value, maxNested) : "")

/** The last part of a name such as `~effect/persistence/Redis/RedisError`. Anything else with a slash is a foreign text. */
const shortName = (value: unknown): string =>
  word(
    typeof value === "string" && /^[~@]?[\w.-]+(?:\/[\w.-]+)+$/.test(value)
      ? value.slice(value.lastIndexOf("/") + 1)
      : value
  )

/** What a value is called: the name of an error, the tag of anything else. */
const kindOf = (value: object): string => {
  const [tag, name] = [shortName(read(value, "_tag")), shortName(read(value, "name"))]
  return isError(value) ? name || tag || "Error" : tag || (typeof value === "function" ? "" : name)
}

/** Codes that name what happened: `ECONNREFUSED`, `42P01`, `503`. Small numbers name nothing. */
const codesOf = (value: object): ReadonlyArray<string> =>
  ["code", "status", "statusCode"].flatMap((field) => {
    const code = read(value, field)
    if (typeof code === "number") return Number.isInteger(code) && code >= 100 ? [String(code)] : []
    const text = word(code)
    return text === "" ? [] : [text]
  })

/** The parts of Effect's `Cause`, the first of which is what it is taken for; or nothing. */
const reasonsOf = (value: object): ReadonlyArray<unknown> | undefined => {
  const reasons = list(read(value, "reasons"))
  if (reasons.length === 0) return undefined
  const of = (tag: string, field: string) =>
    reasons.flatMap((one) => (isObject(one) && read(one, "_tag") === tag ? [read(one, field)] : []))
  const found = [...of("Fail", "error"), ...of("Die", "defect")]
  if (found.length > 0) return found
  return of("Interrupt", "_tag").length > 0 ? ["interrupted"] : undefined
}

const list = (value: unknown): ReadonlyArray<unknown> => {
  try {
    return Array.isArray(value) ? value.slice(0, maxErrors) : []
  } catch {
    return []
  }
}

/** What an error was made from, the nearest first. */
const within = (value: object): ReadonlyArray<unknown> => [
  ...["reason", "cause", "originalError"].map((field) => read(value, field)),
  ...list(read(value, "errors"))
]

const scalar = (value: unknown): string => {
  if (typeof value === "string") return line(value, maxText)
  return typeof value === "bigint" ? `${value}n` : String(value)
}

/** Codes of the operating system, such as `ECONNREFUSED`, of which the message says no more. */
const saysAll = /^E[A-Z\d]+$/

/** What a nested error adds: its message and its codes, or what it is called if it has neither. */
const nestedText = (value: unknown): ReadonlyArray<string> => {
  if (value === undefined || value === null) return []
  if (!isObject(value)) return [cut(scalar(value), maxNested)]
  const codes = codesOf(value)
  if (codes.some((code) => saysAll.test(code))) return codes
  const message = word(read(value, "message"))
  return message === "" && codes.length === 0 ? [kindOf(value)] : [message, ...codes]
}

/** What `value` and what it was made from are called, breadth first, each once. */
const chainOf = (value: object, others: ReadonlyArray<unknown>, head: string): ReadonlyArray<string> => {
  const seen = new Set<unknown>([value])
  const said: Array<string> = []
  const say = (texts: ReadonlyArray<string>) => {
    for (const text of texts) {
      if (text !== "" && ![head, ...said].some((other) => other.includes(text))) said.push(text)
    }
  }
  say(codesOf(value))
  const queue = [...within(value), ...others]
  for (let i = 0; i < queue.length && i < maxErrors; i++) {
    const one = queue[i]
    if (seen.has(one)) continue
    seen.add(one)
    const reasons = isObject(one) ? reasonsOf(one) : undefined
    if (reasons !== undefined) {
      queue.push(...reasons)
      continue
    }
    say(nestedText(one))
    if (isObject(one)) queue.push(...within(one))
  }
  return said
}

const describe = (value: unknown, others: ReadonlyArray<unknown>, named: boolean): string => {
  if (!isObject(value)) return scalar(value)
  const reasons = reasonsOf(value)
  if (reasons !== undefined) return describe(reasons[0], [...reasons.slice(1), ...others], named)
  const kind = kindOf(value)
  const message = read(value, "message")
  const text = typeof message === "string" ? line(message, maxMessage) : ""
  const head = kind === "" || (text !== "" && !named) ? text : text === "" ? kind : `${kind}: ${text}`
  const chain = chainOf(value, others, head)
  if (head === "" && chain.length === 0) return typeof value === "function" ? "a function" : "an object"
  if (head === "") return chain.join(", ")
  return chain.length === 0 ? head : `${head} (${chain.join(", ")})`
}

/**
 * What a foreign error says, whatever it is: its kind, its message, and the codes of what caused it, as in
 * `TypeError: fetch failed (ECONNREFUSED)`. It understands an error's `cause`, `errors` and `reason`, Effect's `Cause`,
 * objects with a `_tag`, and values that are no errors. It never throws and never calls a method of the value.
 */
export const foreignText = (value: unknown): string => safely(value, true)

/** The same without what the error is called, if it has a message: for a sentence that says itself that something failed. */
export const foreignMessage = (value: unknown): string => safely(value, false)

const safely = (value: unknown, named: boolean): string => {
  try {
    return cut(describe(value, [], named), maxText)
  } catch {
    return "an error that cannot be printed"
  }
}
