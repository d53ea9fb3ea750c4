import { printable } from "./printable.ts"

/**
 * Foreign text is text that this library did not write, such as the message of an error that a call threw. It may contain a URL
 * with a key, a connection string, a header, a response body or a password, and it ends up in logs, events, stores and HTTP
 * responses. This file turns every such text into one line of bounded length, without secrets.
 */

const maxText = 300
/** Maximum length of the first error's message. The rest is room for the codes of its causes. */
const maxMessage = 200
/** Maximum length of what one nested error adds. */
const maxNested = 80
const maxErrors = 16
/** Maximum number of characters of a message that are read. */
const maxRead = 2_000

// ---- Secrets --------------------------------------------------------------------------------------------------------

const hidden = "***"

/**
 * The name of a field whose value is a secret: `password`, `apiKey`, `client_secret`, `AccountKey`. Its end is bounded, so that
 * a search takes linear time.
 */
const secretName =
  "(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token|(?:api|access|account|private|shared|signing|encryption|auth)[-_ ]?key|x-[\\w-]{0,30}key|credentials?|signature|session[-_]?id|jwt)[\\w-]{0,40}"

/** A whole quoted value, or an unquoted one up to a delimiter. In MySQL's `(using password: YES)` it is not a secret. */
const secretValue = String.raw`(?!\s*(?:YES|NO)\))(\s*)(?:\\"[\s\S]*?(?:\\"|$)|"(?:[^"\\]|\\[\s\S])*(?:"|$)|'(?:[^'\\]|\\[\s\S])*(?:'|$)|[^\s"'][^\n,;&)}\]"']*)`

type Rule = readonly [pattern: RegExp, replacement: string | ((...found: Array<string>) => string)]

const rules: ReadonlyArray<Rule> = [
  // Parsers quote the text that they could not read, which is a response body or a secret.
  [/,? ?(?:\.\.\.)?"[\s\S]{0,200}?"(?:\.\.\.)? is not valid JSON/g, " is not valid JSON"],
  [/-----BEGIN [\s\S]*/g, hidden],
  // The arguments of a command and the parameters of a query.
  [/\b(Command failed[^:\n]*: *\S+)[^\n]*/g, "$1"],
  [/\b(params?|parameters|args|arguments|args beginning with|bindings) ?[:=][^\n]*/gi, `$1: ${hidden}`],
  // A URL whose password contains a space ends after the host that follows the password.
  [
    /\b([a-z][a-z0-9+.-]{0,20}):\/\/[^\s/@:[]*:(?!\d{1,5}(?:[/?#\s"'<>)\],;.:]|$))[^\s@]*\s[^@\n]*@\S*/gi,
    `$1://${hidden}`
  ],
  [/\b([a-z][a-z0-9+.-]{0,20}):\/\/([^\s"'<>)]*)/gi, (_, scheme = "", rest = "") => origin(scheme, rest)],
  // A user and a password without a scheme.
  [/(?<![\w.%+-])[\w.%+-]{1,64}:(?!\/\/)[^\s@"'<>]{1,100}@(?=[\w[])/g, `${hidden}@`],
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

const isHost = (text: string): boolean =>
  /^(?:[\w.*-]+|\[[\da-f:.]+\])?(?::\d{0,5})?(?:,[\w.-]+(?::\d{1,5})?)*$/i.test(text)

/** The scheme and the host of a URL. The user, the path, the query and the fragment may be secrets. */
const origin = (scheme: string, rest: string): string => {
  if (/^file$/i.test(scheme)) return `${scheme}://${rest}`
  const [authority = ""] = rest.split(/[/?#\\]/, 1)
  const host = authority.slice(authority.lastIndexOf("@") + 1)
  const [end = ""] = /[.,;:\]]*$/.exec(host) ?? []
  const bare = end.startsWith("]") ? host : host.slice(0, host.length - end.length)
  // If the password contains a slash, the text before that slash is not the host.
  const later = rest.slice(authority.length).includes("@")
  const sound = isHost(bare) && (!later || (/^https?$/i.test(scheme) && !/[@:]/.test(authority)))
  return `${scheme}://${sound ? bare : hidden}${authority.length === rest.length && !end.startsWith("]") ? end : ""}`
}

const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0

/** Whether a run of characters is a key, a hash or an identifier, and not a word, a host or a code such as `ERR_HTTP2_STREAM_ERROR`. */
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

/** Matches every text that one of the rules could change. Most messages do not match, and no rule is tried on them. */
const suspicious = new RegExp(
  String.raw`:\/\/|\?|@|-----|[\w+/=~-]{16}|${secretName}|authorization|cookie|bearer|basic|digest|negotiate|command failed|param|arg|bindings|is not valid JSON|\beyJ|\b(?:AKIA|ASIA)|\b(?:sk|pk|rk|gh.|github_pat|glpat|xox.|npm|shpat|hf|SG)[-_.]`,
  "i"
)

/** The beginning of a long text, without the word that the end cuts: no rule would recognize a secret of which a part is missing. */
const beginning = (text: string): string => {
  let end = maxRead
  while (end > 0 && /\S/.test(text.charAt(end - 1))) end--
  return `${text.slice(0, end)}...`
}

/** The same text, of any number of lines, with `***` in place of what looks like a secret. */
export const withoutSecrets = (text: string): string => {
  let left = text.length > maxRead ? beginning(text) : text
  if (!suspicious.test(left)) return left
  for (const [pattern, replacement] of rules) {
    left = typeof replacement === "string" ? left.replace(pattern, replacement) : left.replace(pattern, replacement)
  }
  return left
}

/** The beginning of a text that is longer than `length`. It does not end within a surrogate pair. */
export const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 3).replace(/[\ud800-\udbff]$/, "")}...`

/** A text as one line that can be printed and stored. */
const line = (text: string, length: number): string => {
  const left = withoutSecrets(text).slice(0, maxRead)
  const one = plain.test(left) ? left : left.replaceAll(/\p{Cs}/gu, "\ufffd").replaceAll(/\s+/g, " ")
  return cut(printable(one.trim()), length)
}

/** Matches a text in which no character has to be replaced. */
const plain = /^[ -~]*$/

// ---- Errors ---------------------------------------------------------------------------------------------------------

/** The value of a property, or `undefined` if reading it throws. */
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

/** The last part of a name such as `~effect/persistence/Redis/RedisError`. Any other text stays as it is. */
const shortName = (value: unknown): string =>
  word(
    typeof value === "string" && /^[~@]?[\w.-]+(?:\/[\w.-]+)+$/.test(value)
      ? value.slice(value.lastIndexOf("/") + 1)
      : value
  )

/** The kind of a value: the name of an error, or the tag of any other object. */
const kindOf = (value: object): string => {
  const [tag, name] = [shortName(read(value, "_tag")), shortName(read(value, "name"))]
  return isError(value) ? name || tag || "Error" : tag || (typeof value === "function" ? "" : name)
}

/** The codes of an error, such as `ECONNREFUSED`, `42P01` or `503`. Numbers below 100 identify nothing and are left out. */
const codesOf = (value: object): ReadonlyArray<string> =>
  ["code", "status", "statusCode"].flatMap((field) => {
    const code = read(value, field)
    if (typeof code === "number") return Number.isInteger(code) && code >= 100 ? [String(code)] : []
    const text = word(code)
    return text === "" ? [] : [text]
  })

/** The errors in Effect's `Cause`, the most important one first. `undefined` if the value is not a `Cause`. */
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
    return Array.isArray(value) ? Array.from({ length: Math.min(value.length, maxErrors) }, (_, i) => value[i]) : []
  } catch {
    return []
  }
}

const within = (value: object): ReadonlyArray<unknown> => [
  ...["reason", "cause", "originalError"].map((field) => read(value, field)),
  ...list(read(value, "errors"))
]

const scalar = (value: unknown): string => {
  if (typeof value === "string") return line(value, maxText)
  return typeof value === "bigint" ? `${value}n` : String(value)
}

/** Codes of the operating system, such as `ECONNREFUSED`. The message beside such a code adds nothing. */
const systemCode = /^E[A-Z\d]+$/

/** The text of a nested error: its message and its codes, or its kind if it has neither. */
const nestedText = (value: unknown): ReadonlyArray<string> => {
  if (value === undefined || value === null) return []
  if (!isObject(value)) return [cut(scalar(value), maxNested)]
  const codes = codesOf(value)
  if (codes.some((code) => systemCode.test(code))) return codes
  const message = word(read(value, "message"))
  return message === "" && codes.length === 0 ? [kindOf(value)] : [message, ...codes]
}

/** The texts of the errors that `value` contains, breadth first, each text once. */
const chainOf = (value: object, others: ReadonlyArray<unknown>, head: string): ReadonlyArray<string> => {
  const seen = new Set<unknown>([value])
  const texts: Array<string> = []
  const addNew = (more: ReadonlyArray<string>) => {
    for (const text of more) {
      // A message may repeat another message. If the repetition is cut, it ends with dots.
      if (text !== "" && ![head, ...texts].some((other) => other.includes(text.replace(/\.\.\.$/, ""))))
        texts.push(text)
    }
  }
  addNew(codesOf(value))
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
    addNew(nestedText(one))
    if (isObject(one)) queue.push(...within(one))
  }
  return texts
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
 * Describes any value that was thrown: the kind of the error, its message, and the codes of its causes, as in
 * `TypeError: fetch failed (ECONNREFUSED)`. It understands an error's `cause`, `errors` and `reason`, Effect's `Cause`,
 * objects with a `_tag`, and values that are not errors. It never throws, and it calls no method of the value.
 */
export const foreignText = (value: unknown): string => safely(value, true)

/** The same without the kind of the error, if it has a message. It is for a sentence that already says that something failed. */
export const foreignMessage = (value: unknown): string => safely(value, false)

const safely = (value: unknown, named: boolean): string => {
  try {
    return cut(describe(value, [], named), maxText)
  } catch {
    return "an error that cannot be printed"
  }
}
