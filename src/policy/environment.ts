import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { at, expected as expectedMessage, type Problem } from "../core/fields.ts"
import { expectedDuration, toMillis } from "../core/millis.ts"
import { show } from "../core/printable.ts"
import * as Trip from "../core/Trip.ts"
import type { Input } from "./policy.ts"

const prefix = ["CIRCUIT", "BREAKER"]

/** This variable selects the store. It has the prefix of the policy variables, but is not a part of a policy. */
export const storeVariable = "CIRCUIT_BREAKER_STORE"

class Wrong {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

const wrong = (message: string): never => {
  throw new Wrong(message)
}

const expected = (what: string, text: string): never => wrong(expectedMessage(what, text))

const toMillisOf = (text: string): number =>
  toMillis(text.trim() !== "" && !Number.isNaN(Number(text)) ? Number(text) * 1000 : text) ?? Number.NaN

/** Each parser returns the value or throws a `Wrong`. */
const parsers = {
  count: (text: string) =>
    /^\d+$/.test(text) && Number(text) >= 1 && Number.isSafeInteger(Number(text))
      ? Number(text)
      : expected("a whole number of 1 or more", text),
  share: (text: string) =>
    text.trim() !== "" && Number(text) > 0 && Number(text) <= 1
      ? Number(text)
      : expected("a number above 0 and at most 1", text),
  duration: (text: string) => {
    const millis = toMillisOf(text)
    return millis >= 0 && millis < Infinity
      ? millis
      : expected(`${expectedDuration.zeroOrMore}, or a number of seconds`, text)
  },
  positiveDuration: (text: string) => {
    const millis = toMillisOf(text)
    return millis > 0 && millis < Infinity
      ? millis
      : expected(`${expectedDuration.aboveZero}, or a number of seconds`, text)
  },
  mode: (text: string) => (text === "enforce" || text === "observe" ? text : expected(`"enforce" or "observe"`, text)),
  flag: (text: string) => (text === "true" ? true : text === "false" ? false : expected(`"true" or "false"`, text))
}

const fields = {
  THRESHOLD: parsers.count,
  FAILURE_RATE: parsers.share,
  MINIMUM_CALLS: parsers.count,
  WINDOW: parsers.positiveDuration,
  COOLDOWN: parsers.duration,
  MAX_COOLDOWN: parsers.positiveDuration,
  PROBE_TIMEOUT: parsers.positiveDuration,
  SLOW_CALL: parsers.positiveDuration,
  RAMP: parsers.duration,
  LIMIT: parsers.flag,
  LIMIT_OBJECTIVE: parsers.positiveDuration,
  LIMIT_MAX: parsers.count,
  PROBES: parsers.count,
  SUCCESSES_TO_CLOSE: parsers.count,
  FAILURES_TO_REOPEN: parsers.count,
  MODE: parsers.mode,
  ENABLED: parsers.flag,
  SPAN: parsers.flag
}

type EnvironmentField = keyof typeof fields
type Values = { -readonly [K in EnvironmentField]?: ReturnType<(typeof fields)[K]> }

/** Longest first, so that MAX_COOLDOWN is not read as the COOLDOWN of a circuit called max. */
const fieldNames = (Object.keys(fields) as Array<EnvironmentField>).sort((a, b) => b.length - a.length)

/** The name of a circuit as variables contain it. */
export const variableName = (name: string): string => name.toUpperCase().replaceAll(/[^A-Z0-9]+/g, "_")

/** The policies from the environment, and the variables that are invalid. */
export interface Environment {
  readonly default: Input
  /** By the name of the circuit, if the settings contain it. */
  readonly byName: ReadonlyMap<string, Input>
  /** All others, by the name as the variable contains it. */
  readonly byVariable: ReadonlyMap<string, Input>
  /** Maps the position of a limit in the policies, such as `environment.api.limit`, to the variable that sets the limit or its ramp. */
  readonly variables: ReadonlyMap<string, string>
  readonly problems: ReadonlyArray<Problem>
}

/** The part of the settings that has names. It is not checked yet. */
interface Names {
  readonly names?: unknown
  readonly breakers?: unknown
}

interface KnownNames {
  /** All allowed names: those in `names`, or else in `breakers`. `undefined` if the settings have neither. */
  readonly known: ReadonlyArray<string> | undefined
  /** The names in `names` and in `breakers`. */
  readonly all: ReadonlyArray<string>
}

const namesIn = (settings: Names | null | undefined): KnownNames => {
  const { breakers, names } = settings ?? {}
  const declared = typeof breakers === "object" && breakers !== null ? Object.keys(breakers) : undefined
  const known = Array.isArray(names) ? names.filter((name) => typeof name === "string") : declared
  return { known, all: [...new Set([...(known ?? []), ...(declared ?? [])])] }
}

/** Reads every variable that begins with the prefix. */
export const environment = (settings: Names | null | undefined): Effect.Effect<Environment> =>
  Effect.map(
    Effect.flatMap(ConfigProvider.ConfigProvider, (provider) => walk(provider, prefix)),
    (variables) => gather(variables, namesIn(settings))
  )

type Variable = readonly [name: string, text: string]

const gather = (variables: ReadonlyArray<Variable>, names: KnownNames): Environment => {
  const problems: Array<Problem> = []
  const base: Values = {}
  const byName = new Map<string, Values>()
  const byVariable = new Map<string, Values>()
  const limits = new Map<string, string>()
  for (const [variable, text] of variables) {
    if (variable === storeVariable) continue
    try {
      const { field, name, suffix } = parseName(variable, names)
      const given = { [field]: fields[field](text) }
      const position = suffix === undefined ? "environment" : `environment.${name ?? suffix}`
      if (field.startsWith("LIMIT") || (field === "RAMP" && !limits.has(at(position, "limit")))) {
        limits.set(at(position, "limit"), variable)
      }
      if (suffix === undefined) Object.assign(base, given)
      else if (name === undefined) byVariable.set(suffix, { ...byVariable.get(suffix), ...given })
      else byName.set(name, { ...byName.get(name), ...given })
    } catch (error) {
      if (!(error instanceof Wrong)) throw error
      problems.push({ path: variable, message: error.message })
    }
  }
  const inputs = (values: ReadonlyMap<string, Values>) =>
    new Map([...values].map(([name, given]) => [name, toInput(given, base)] as const))
  return {
    default: toInput(base),
    byName: inputs(byName),
    byVariable: inputs(byVariable),
    variables: limits,
    problems
  }
}

/** The field that a variable sets, and the circuit: `suffix` as the variable contains it, and its `name` if the settings contain it. */
const parseName = (variable: string, { all, known }: KnownNames) => {
  const rest = variable.slice(prefix.join("_").length + 1)
  const field =
    fieldNames.find((field) => rest === field || rest.endsWith(`_${field}`)) ??
    wrong(`unknown setting; expected one of ${Object.keys(fields).join(", ")}`)
  if (rest === field) return { field, suffix: undefined, name: undefined }
  const suffix = rest.slice(0, -field.length - 1)
  if (variableName(suffix) !== suffix) wrong(`expected the name in capitals, as ${variableName(suffix)}`)
  const matches = all.filter((one) => variableName(one) === suffix)
  if (matches.length === 0 && known !== undefined) {
    const names = known.length === 0 ? "code names none" : `expected one of ${known.map(variableName).join(", ")}`
    wrong(`unknown breaker ${show(suffix)}; ${names}`)
  }
  if (matches.length > 1)
    wrong(`ambiguous; ${matches.map((one) => `"${one}"`).join(" and ")} are all written ${suffix}`)
  return { field, suffix, name: matches[0] }
}

/**
 * Makes a policy of variables. If a circuit sets a part of the trip or of the limit, the other part comes from the variables for every
 * circuit.
 */
const toInput = (given: Values, base: Values = {}): Input => {
  const setsTrip = given.THRESHOLD ?? given.FAILURE_RATE ?? given.MINIMUM_CALLS ?? given.WINDOW
  const setsLimit = given.LIMIT ?? given.LIMIT_OBJECTIVE ?? given.LIMIT_MAX
  const { FAILURE_RATE, LIMIT, LIMIT_MAX, LIMIT_OBJECTIVE, MINIMUM_CALLS, THRESHOLD, WINDOW } = { ...base, ...given }
  const rules: Array<Trip.Input> = []
  if (THRESHOLD !== undefined) rules.push(Trip.consecutive(THRESHOLD))
  if (FAILURE_RATE !== undefined || MINIMUM_CALLS !== undefined || WINDOW !== undefined) {
    const over = Duration.millis(WINDOW ?? 10_000)
    rules.push(Trip.failureRate({ threshold: FAILURE_RATE ?? 0.5, minimumCalls: MINIMUM_CALLS ?? 20, over }))
  }
  const input: { -readonly [K in keyof Input]: Input[K] } = {}
  if (setsTrip !== undefined) input.trip = Trip.any(...rules)
  if (given.COOLDOWN !== undefined) input.cooldown = given.COOLDOWN
  if (given.MAX_COOLDOWN !== undefined) input.maxCooldown = given.MAX_COOLDOWN
  if (given.PROBE_TIMEOUT !== undefined) input.probeTimeout = given.PROBE_TIMEOUT
  if (given.SLOW_CALL !== undefined) input.slowCall = given.SLOW_CALL
  if (given.RAMP !== undefined) input.ramp = given.RAMP
  if (setsLimit !== undefined) input.limit = LIMIT === false ? false : { objective: LIMIT_OBJECTIVE, max: LIMIT_MAX }
  if (given.PROBES !== undefined) input.probes = given.PROBES
  if (given.SUCCESSES_TO_CLOSE !== undefined) input.successesToClose = given.SUCCESSES_TO_CLOSE
  if (given.FAILURES_TO_REOPEN !== undefined) input.failuresToReopen = given.FAILURES_TO_REOPEN
  if (given.MODE !== undefined) input.mode = given.MODE
  if (given.ENABLED !== undefined) input.enabled = given.ENABLED
  if (given.SPAN !== undefined) input.span = given.SPAN
  return input
}

/** The highest number in the name of a variable. For numbered children, a provider returns only how many there are. */
const maxNumber = 65_535

/** All variables below a path, by their whole names. A provider that cannot be read is a defect. */
const walk = (
  provider: ConfigProvider.ConfigProvider,
  path: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Variable>> =>
  Effect.flatMap(Effect.orDie(provider.load(path)), (node) => {
    if (node === undefined) return Effect.succeed([])
    const own = node.value === undefined || path.length === prefix.length ? [] : [[path.join("_"), node.value] as const]
    if (node._tag === "Array" && node.length > maxNumber + 1) {
      return Effect.succeed([...own, [[...path, "<number>"].join("_"), ""] as const])
    }
    const children =
      node._tag === "Record"
        ? [...node.keys]
        : node._tag === "Array"
          ? Array.from({ length: node.length }, (_, index) => String(index))
          : []
    return Effect.map(
      Effect.forEach(children, (child) => walk(provider, [...path, child])),
      (found) => [...own, ...found.flat()]
    )
  })
