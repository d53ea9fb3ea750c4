import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Fleet from "../core/Fleet.ts"
import {
  anyMillis,
  anything,
  at,
  count,
  expected,
  factor,
  field,
  flag,
  isCount,
  isRecord,
  listOf,
  millisWhere,
  numberWhere,
  optional,
  type Problem,
  type Problems,
  positiveMillis,
  share,
  text,
  textOrEmpty,
  word
} from "../core/fields.ts"
import { expectedDuration, toMillis } from "../core/millis.ts"
import { show } from "../core/printable.ts"
import type * as Trip from "../core/Trip.ts"
import type * as Window from "../core/Window.ts"
import { decodeAll, decodeFields, problemsIn, wrong } from "../shapes/problems.ts"
import { limitOrRamp } from "./merge.ts"
import { decodeParameters } from "./parameters.ts"
import type { KeyInput, Policy } from "./policy.ts"

/** A window over calls keeps one number for each call, so a longer one is likely a mistake. */
const maxWindowCalls = 10_000
const maxTripDepth = 8

// ---- Values -------------------------------------------------------------------------------------------------------

const slowMillis = field(
  `${expectedDuration.aboveZero}, or "Infinity"`,
  millisWhere((n) => n > 0)
)

const positive = field(
  "a finite number above 0",
  numberWhere((n) => n > 0 && n < Infinity)
)
const names = listOf(text)

const over = field<Window.Over>(
  `a number of calls from 1 to ${maxWindowCalls}, or ${expectedDuration.aboveZero}`,
  (input) => {
    if (typeof input === "number") {
      return isCount(input) && input <= maxWindowCalls ? { _tag: "Calls", calls: input } : undefined
    }
    const millis = toMillis(input)
    return millis !== undefined && millis > 0 && millis < Infinity ? { _tag: "Time", millis } : undefined
  }
)

const predicate = field<Trip.Predicate<unknown>>("a function", (input) =>
  typeof input === "function" ? (input as Trip.Predicate<unknown>) : undefined
)

const schema = field<Schema.Codec<unknown, never>>("a Schema that needs no services", (input) =>
  Schema.isSchema(input) ? (input as Schema.Codec<unknown, never>) : undefined
)

const parameters = field<Readonly<Record<string, unknown>>>("an object with the parameters of the trip", (input) =>
  isRecord(input) ? input : undefined
)

const check = field<Effect.Effect<unknown, unknown>>("an effect that needs no services", (input) =>
  Effect.isEffect(input) ? (input as Effect.Effect<unknown, unknown>) : undefined
)

const enabled = field<Policy["enabled"]>("true, false, an effect, or a function of the circuit", (input) =>
  typeof input === "boolean" || typeof input === "function" || Effect.isEffect(input)
    ? (input as Policy["enabled"])
    : undefined
)

export const interval = field<number | Schedule.Schedule<unknown>>(
  `a Schedule, or ${expectedDuration.aboveZero}`,
  (input) =>
    Schedule.isSchedule(input)
      ? (input as Schedule.Schedule<unknown>)
      : millisWhere((n) => n > 0 && n < Infinity)(input)
)

// ---- Trips --------------------------------------------------------------------------------------------------------

/** A registered custom trip, which code and configuration can use by name. */
export interface CustomTrip {
  readonly name: string
  readonly predicate: Trip.Predicate<unknown>
  readonly schema: Schema.Codec<unknown, never> | undefined
  readonly over: Window.Over
}

/** The registered custom trips by name; `later` if they are not known yet. */
export type CustomTrips = ReadonlyMap<string, CustomTrip> | "later"

const tag = textOrEmpty
const rate = { _tag: tag, threshold: share, minimumCalls: count, over }
const tripFields = {
  Consecutive: { _tag: tag, failures: count },
  FailureRate: rate,
  SlowRate: rate,
  Failures: { _tag: tag, atLeast: count, of: over },
  Weighted: { _tag: tag, atLeast: positive, over },
  Stuck: { _tag: tag, calls: count, olderThan: positiveMillis },
  Any: { _tag: tag, trips: anything },
  All: { _tag: tag, trips: anything },
  Custom: {
    _tag: tag,
    name: text,
    predicate: optional(predicate),
    schema: optional(schema),
    parameters: optional(parameters),
    over: optional(over)
  }
}

const isTripTag = (input: unknown): input is Trip.Trip["_tag"] =>
  typeof input === "string" && Object.hasOwn(tripFields, input)

const list = (words: ReadonlyArray<string>): string => (words.length === 0 ? "none is registered" : words.join(", "))

/** Checks that a window over calls can reach a threshold. */
const fits = <A extends Trip.Trip>(trip: A, name: string, value: number, over: Window.Over, path: string) =>
  over._tag === "Calls" && value > over.calls
    ? wrong(at(path, name), `expected at most the ${over.calls} calls of the window, got ${value}`)
    : Result.succeed(trip)

const last100: Window.Over = { _tag: "Calls", calls: 100 }
const never = () => false

/** Decodes a custom trip. Its predicate is its own, or that of the registered trip with its name. */
const decodeCustom = (input: unknown, path: string, custom: CustomTrips): Result.Result<Trip.Trip, Problems> =>
  Result.flatMap(decodeFields(tripFields.Custom, input, path), ({ name, over, parameters, predicate, schema }) => {
    const known = custom === "later" ? undefined : custom.get(name)
    const declared = predicate === undefined ? known : { predicate, schema, over: last100 }
    if (declared === undefined) {
      // The policy of a call is decoded again when the call runs. The registered trips are known then.
      if (custom === "later") return Result.succeed({ _tag: "Custom", name, predicate: never, over: over ?? last100 })
      return wrong(at(path, "name"), expected(`the name of a custom trip (${list([...custom.keys()])})`, name))
    }
    const trip = { _tag: "Custom", name, predicate: declared.predicate, over: over ?? declared.over } as const
    const values = at(path, "parameters")
    if (declared.schema === undefined) {
      return parameters === undefined || Object.keys(parameters).length === 0
        ? Result.succeed(trip)
        : wrong(values, expected(`none, as ${show(name)} is declared without parameters`, parameters))
    }
    return Result.map(decodeParameters(declared.schema, parameters ?? {}, values), (parameters) => ({
      ...trip,
      parameters
    }))
  })

/** Decodes a trip. `custom` has the registered custom trips. */
const decodeTrip = (
  input: unknown,
  path: string,
  custom: CustomTrips,
  depth = 0
): Result.Result<Trip.Trip, Problems> => {
  const _tag = isRecord(input) ? input["_tag"] : undefined
  if (!isTripTag(_tag)) {
    return wrong(path, expected(`a trip such as Trip.consecutive(5) (_tag: ${list(Object.keys(tripFields))})`, input))
  }
  switch (_tag) {
    case "Consecutive":
      return Result.map(decodeFields(tripFields.Consecutive, input, path), ({ failures }) => ({ _tag, failures }))
    case "FailureRate":
    case "SlowRate":
      return Result.flatMap(decodeFields(tripFields[_tag], input, path), ({ minimumCalls, over, threshold }) =>
        fits({ _tag, threshold, minimumCalls, over }, "minimumCalls", minimumCalls, over, path)
      )
    case "Failures":
      return Result.flatMap(decodeFields(tripFields.Failures, input, path), ({ atLeast, of }) =>
        fits({ _tag, atLeast, over: of }, "atLeast", atLeast, of, path)
      )
    case "Weighted":
      return Result.map(decodeFields(tripFields.Weighted, input, path), ({ atLeast, over }) => ({
        _tag,
        atLeast,
        over
      }))
    case "Stuck":
      return Result.map(decodeFields(tripFields.Stuck, input, path), ({ calls, olderThan }) => ({
        _tag,
        calls,
        olderThanMillis: olderThan
      }))
    case "Any":
    case "All":
      return Result.flatMap(decodeFields(tripFields[_tag], input, path), ({ trips }) => {
        const inside = at(path, "trips")
        if (!Array.isArray(trips) || trips.length === 0) {
          return wrong(inside, expected("a list of one trip or more", trips))
        }
        if (depth >= maxTripDepth) return wrong(inside, `expected trips nested at most ${maxTripDepth} deep`)
        return Result.map(
          decodeAll(trips, (trip, index) => decodeTrip(trip, at(inside, index), custom, depth + 1)),
          (trips) => ({ _tag, trips })
        )
      })
    case "Custom":
      return decodeCustom(input, path, custom)
  }
}

/** Decodes the declarations of custom trips. */
export const decodeCustomTrips = (
  input: unknown,
  path: string
): Result.Result<ReadonlyMap<string, CustomTrip>, Problems> => {
  if (!Array.isArray(input)) return wrong(path, expected("a list of custom trips", input))
  const found = new Map<string, CustomTrip>()
  const declare = (trip: unknown, path: string): Result.Result<CustomTrip, Problems> => {
    const _tag = isRecord(trip) ? trip["_tag"] : undefined
    if (_tag !== "Custom") return wrong(path, expected("a custom trip", _tag ?? trip))
    return Result.flatMap(
      decodeFields(tripFields.Custom, trip, path),
      ({ name, over, parameters, predicate, schema }) => {
        if (predicate === undefined) return wrong(at(path, "predicate"), "expected a function, got nothing")
        if (parameters !== undefined) {
          return wrong(
            at(path, "parameters"),
            "expected none: a declaration has the schema, and each use has the parameters"
          )
        }
        if (found.has(name)) return wrong(at(path, "name"), expected("a name that is not taken", name))
        const declared = { name, predicate, schema, over: over ?? last100 }
        found.set(name, declared)
        return Result.succeed(declared)
      }
    )
  }
  return Result.map(
    decodeAll(input, (trip, index) => declare(trip, at(path, index))),
    () => found
  )
}

// ---- Policies -----------------------------------------------------------------------------------------------------

const cooldownFields = { exponential: positiveMillis, factor: optional(factor), jittered: optional(flag) }

const decodeCooldown = (input: unknown, path: string): Result.Result<Policy["cooldown"], Problems> => {
  if (Schedule.isSchedule(input)) return Result.succeed(input as Schedule.Schedule<unknown, number>)
  const millis = toMillis(input)
  if (millis !== undefined && millis >= 0 && millis < Infinity) return Result.succeed(millis)
  if (isRecord(input) && "exponential" in input) {
    return Result.map(decodeFields(cooldownFields, input, path), ({ exponential, factor, jittered }) => ({
      exponential,
      factor: factor ?? 2,
      jittered: jittered ?? false
    }))
  }
  const what = `${expectedDuration.zeroOrMore}, a Schedule, or { exponential: "1 second", factor: 2, jittered: true }`
  return wrong(path, expected(what, input))
}

const quorum = field(
  "a number of 0 or more and below 1",
  numberWhere((n) => n >= 0 && n < 1)
)
const fleetFields = {
  suspectAfter: optional(count),
  quorum: optional(quorum),
  hold: optional(anyMillis),
  observation: optional(positiveMillis)
}

const decodeFleet = (input: unknown, path: string): Result.Result<Policy["fleet"], Problems> => {
  if (input === false) return Result.succeed(false)
  if (!isRecord(input)) return wrong(path, expected("false, or an object", input))
  return Result.map(decodeFields(fleetFields, input, path), ({ hold, observation, quorum, suspectAfter }) => ({
    suspectAfter: suspectAfter ?? Fleet.defaults.suspectAfter,
    quorum: quorum ?? Fleet.defaults.quorum,
    holdMillis: hold ?? Fleet.defaults.holdMillis,
    observationMillis: observation ?? Fleet.defaults.observationMillis
  }))
}

const limitFields = { objective: optional(positiveMillis), max: optional(count) }

const decodeLimit = (input: unknown, path: string): Result.Result<Policy["limit"], Problems> => {
  if (input === false) return Result.succeed(false)
  const given = input === true ? {} : input
  if (!isRecord(given)) {
    return wrong(path, expected('true, false, or an object such as { objective: "200 millis", max: 100 }', input))
  }
  return Result.map(decodeFields(limitFields, given, path), ({ max, objective }) => ({
    objectiveMillis: objective ?? 0,
    max: max ?? Infinity
  }))
}

/** `true` is 1 failed check. */
export const opens = field<boolean | number>("true, false, or a whole number of 1 or more", (input) =>
  typeof input === "boolean" || (typeof input === "number" && isCount(input)) ? input : undefined
)
const probeFields = { check, schedule: interval, opens: optional(opens) }

const policyFields = {
  trip: optional(anything),
  slowCall: optional(slowMillis),
  cooldown: optional(anything),
  maxCooldown: optional(positiveMillis),
  probes: optional(count),
  successesToClose: optional(count),
  failuresToReopen: optional(count),
  probeTimeout: optional(positiveMillis),
  ramp: optional(anyMillis),
  limit: optional(anything),
  probe: optional(anything),
  dependsOn: optional(names),
  mode: optional(word("enforce", "observe")),
  enabled: optional(enabled),
  tenants: optional(word("separate", "shared", "counted")),
  fleet: optional(anything),
  span: optional(flag),
  keys: optional(anything)
}

const { dependsOn: _1, fleet: _2, keys: _3, tenants: _4, span: _5, ...keyFields } = policyFields

const decodeKeys = (input: unknown, path: string, custom: CustomTrips): Result.Result<Policy["keys"], Problems> => {
  if (typeof input === "function") return Result.succeed(input as (key: string) => KeyInput | undefined)
  if (!isRecord(input)) {
    return wrong(path, expected("an object of policies by key, or a function of the key", input))
  }
  const entries = decodeAll(Object.entries(input), (entry) => {
    const [key, policy] = entry as [string, unknown]
    return Result.map(decodeKeyPolicy(policy, at(path, key), custom), (decoded) => [key, decoded] as const)
  })
  return Result.map(entries, (entries) => new Map(entries))
}

/** Decodes the fields that differ for one key. */
export const decodeKeyPolicy = (
  input: unknown,
  path: string,
  custom: CustomTrips
): Result.Result<Partial<Policy>, Problems> => decodePolicyFields(keyFields, input, path, custom)

/** Decodes the fields of a policy that are given. */
export const decodePolicy = (
  input: unknown,
  path: string,
  custom: CustomTrips
): Result.Result<Partial<Policy>, Problems> => decodePolicyFields(policyFields, input, path, custom)

const decodePolicyFields = (
  fields: Partial<typeof policyFields>,
  input: unknown,
  path: string,
  custom: CustomTrips
): Result.Result<Partial<Policy>, Problems> => {
  const flat = decodeFields(fields as typeof policyFields, input, path)
  const given = isRecord(input) ? input : {}
  const part = <A>(name: string, decode: (input: unknown, path: string) => Result.Result<A, Problems>) =>
    given[name] === undefined ? undefined : decode(given[name], at(path, name))
  const trip = part("trip", (input, path) => decodeTrip(input, path, custom))
  const cooldown = part("cooldown", decodeCooldown)
  const probe = part("probe", (input, path) =>
    Result.map(decodeFields(probeFields, input, path), ({ opens, ...rest }) => ({ ...rest, opens: Number(opens ?? 0) }))
  )
  const limit = part("limit", decodeLimit)
  const fleet = part("fleet", decodeFleet)
  const keys = part("keys", (input, path) => decodeKeys(input, path, custom))
  const problems = [flat, trip, cooldown, probe, limit, fleet, keys].flatMap(problemsIn)
  if (Result.isFailure(flat) || problems.length > 0) return Result.fail(problems)
  const { slowCall, maxCooldown, probeTimeout, ramp, ...rest } = flat.success
  const all = {
    ...rest,
    trip: trip && Result.getOrUndefined(trip),
    cooldown: cooldown && Result.getOrUndefined(cooldown),
    probe: probe && Result.getOrUndefined(probe),
    limit: limit && Result.getOrUndefined(limit),
    fleet: fleet && Result.getOrUndefined(fleet),
    keys: keys && Result.getOrUndefined(keys),
    slowCallMillis: slowCall,
    maxCooldownMillis: maxCooldown,
    probeTimeoutMillis: probeTimeout,
    rampMillis: ramp
  }
  // A field with the value `undefined` must not hide the default.
  const found: Partial<Policy> = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
  const both = limitOrRamp(found, path)
  return both.length > 0 ? Result.fail(both) : Result.succeed(found)
}

// ---- Settings -----------------------------------------------------------------------------------------------------

const settingsFields = {
  default: optional(anything),
  breakers: optional(anything),
  trips: optional(anything),
  names: optional(names)
}

/** Decodes settings, but not the policies in them. Returns all valid parts, even if there are problems. */
export const decodeSettingsShape = (input: unknown) => {
  const flat = decodeFields(settingsFields, input, "")
  const given = isRecord(input) ? input : {}
  const problems: Array<Problem> = [...problemsIn(flat)]
  let breakers: Readonly<Record<string, unknown>> = {}
  if (isRecord(given["breakers"])) breakers = given["breakers"]
  else if (given["breakers"] !== undefined) {
    problems.push({
      path: "breakers",
      message: expected("an object of policies by name", given["breakers"])
    })
  }
  const known = Result.isSuccess(flat) ? flat.success.names : undefined
  const { default: base = {}, trips = [] } = given
  return { default: base, breakers, trips, names: known, problems }
}
