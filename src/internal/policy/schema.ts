import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Fleet from "../../Fleet.ts"
import type * as Trip from "../../Trip.ts"
import type * as Window from "../../Window.ts"
import { show } from "../printable.ts"
import type { Policy } from "./policy.ts"

/** One thing that is wrong with a policy, an option or a variable. */
export interface Problem {
  readonly path: string
  readonly message: string
}

type Problems = ReadonlyArray<Problem>

/** A window over calls keeps one number a call; more than this is a mistake. */
const maxWindowCalls = 10_000
const maxTripDepth = 8

// ---- Values -------------------------------------------------------------------------------------------------------

const durationFields = ["weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"]

/** Milliseconds of anything that is a duration, or nothing. `Duration.fromInput` takes any object for one of zero. */
export const toMillis = (input: unknown): number | undefined => {
  if (typeof input === "object" && input !== null && !Duration.isDuration(input)) {
    const fields = Object.entries(input)
    const sound = Array.isArray(input)
      ? fields.length === 2
      : fields.length > 0 && fields.every(([name]) => durationFields.includes(name))
    if (!sound || !fields.every(([, value]) => typeof value === "number")) return undefined
  }
  if (Number.isNaN(input)) return undefined
  const duration = Duration.fromInput(input as Duration.Input)
  if (duration._tag === "None") return undefined
  const millis = Duration.toMillis(duration.value)
  return Number.isNaN(millis) ? undefined : millis
}

/** A field whose decoding is a plain function: a value, or what was expected. */
const field = <A>(expected: string, decode: (input: unknown) => A | undefined) =>
  Schema.Unknown.pipe(
    Schema.decodeTo(
      Schema.declare((_: unknown): _ is A => true),
      SchemaTransformation.transformEffect<A, unknown>({
        decode: (input) => {
          const value = decode(input)
          return value === undefined
            ? Effect.fail(new SchemaIssue.InvalidValue({ message: `expected ${expected}, got ${show(input)}` }))
            : Effect.succeed(value)
        },
        encode: Effect.succeed
      })
    )
  )

const millisWhere = (ok: (millis: number) => boolean) => (input: unknown) => {
  const millis = toMillis(input)
  return millis !== undefined && ok(millis) ? millis : undefined
}

const example = `such as "30 seconds"`
export const positiveMillis = field(
  `a duration above 0 ${example}`,
  millisWhere((n) => n > 0 && n < Infinity)
)
const anyMillis = field(
  `a duration of 0 or more ${example}`,
  millisWhere((n) => n >= 0 && n < Infinity)
)
const slowMillis = field(
  `a duration above 0 ${example}, or "Infinity"`,
  millisWhere((n) => n > 0)
)

const numberWhere = (ok: (n: number) => boolean) => (input: unknown) =>
  typeof input === "number" && ok(input) ? input : undefined
const isCount = (n: number) => Number.isSafeInteger(n) && n >= 1
export const count = field("a whole number of 1 or more", numberWhere(isCount))
const share = field(
  "a number above 0 and at most 1",
  numberWhere((n) => n > 0 && n <= 1)
)
const positive = field(
  "a finite number above 0",
  numberWhere((n) => n > 0 && n < Infinity)
)
const factor = field(
  "a finite number of 1 or more",
  numberWhere((n) => n >= 1 && n < Infinity)
)
export const flag = field("true or false", (input) => (typeof input === "boolean" ? input : undefined))
const text = field("a text that is not empty", (input) =>
  typeof input === "string" && input !== "" ? input : undefined
)
/** A text of a certain form. */
export const textLike = (expected: string, form: RegExp) =>
  field(expected, (input) => (typeof input === "string" && form.test(input) ? input : undefined))
const names = Schema.Array(text)

/** One of some words. */
const word = <const Words extends ReadonlyArray<string>>(...words: Words) =>
  field<Words[number]>(
    words
      .map((one) => `"${one}"`)
      .join(", ")
      .replace(/, ([^,]*)$/, " or $1"),
    (input) => words.find((one) => one === input)
  )

const over = field<Window.Over>(
  `a number of calls from 1 to ${maxWindowCalls}, or a duration above 0 such as "10 seconds"`,
  (input) => {
    if (typeof input === "number") {
      return isCount(input) && input <= maxWindowCalls ? { _tag: "Calls", calls: input } : undefined
    }
    const millis = toMillis(input)
    return millis !== undefined && millis > 0 && millis < Infinity ? { _tag: "Time", millis } : undefined
  }
)

const predicate = field<Trip.Predicate>("a function", (input) =>
  typeof input === "function" ? (input as Trip.Predicate) : undefined
)

const check = field<Effect.Effect<unknown, unknown>>("an effect that needs no services", (input) =>
  Effect.isEffect(input) ? (input as Effect.Effect<unknown, unknown>) : undefined
)

const enabled = field<Policy["enabled"]>("true, false, or an effect of one", (input) =>
  typeof input === "boolean" ? input : Effect.isEffect(input) ? (input as Effect.Effect<boolean>) : undefined
)

const interval = field<number | Schedule.Schedule<unknown>>(`a Schedule, or a duration above 0 ${example}`, (input) =>
  Schedule.isSchedule(input) ? (input as Schedule.Schedule<unknown>) : millisWhere((n) => n > 0 && n < Infinity)(input)
)

// ---- Structures ---------------------------------------------------------------------------------------------------

const isRecord = (input: unknown): input is Readonly<Record<string, unknown>> =>
  typeof input === "object" && input !== null && !Array.isArray(input)

const at = (path: string, name: string | number): string => (path === "" ? String(name) : `${path}.${name}`)

const wrong = (path: string, message: string): Result.Result<never, Problems> => Result.fail([{ path, message }])

/** Decodes an object with these fields and no others; everything that is wrong with it is said at once. */
export const decodeFields = <Fields extends Schema.Struct.Fields>(
  fields: Fields,
  input: unknown,
  path: string
): Result.Result<Schema.Struct<Fields>["Type"], Problems> => {
  const known = Object.keys(fields)
  if (!isRecord(input)) return wrong(path, `expected an object with ${known.join(", ")}, got ${show(input)}`)
  const unknown = Object.keys(input)
    .filter((name) => !known.includes(name))
    .map((name) => ({ path: at(path, name), message: `unknown field; expected one of ${known.join(", ")}` }))
  // These fields have neither services nor an encoding that matters here.
  const schema = Schema.Struct(fields) as unknown as Schema.Codec<Schema.Struct<Fields>["Type"], unknown>
  const decoded = Schema.decodeUnknownResult(schema, { errors: "all", reportInput: true })(input)
  const problems = [...unknown, ...(Result.isFailure(decoded) ? problemsOf(decoded.failure.issue, path) : [])]
  return Result.isSuccess(decoded) && problems.length === 0 ? Result.succeed(decoded.success) : Result.fail(problems)
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const problemsOf = (issue: SchemaIssue.Issue, path: string): Problems =>
  format(issue).issues.map((one) => ({
    path: (one.path ?? []).reduce<string>(
      (above, part) => at(above, String(typeof part === "object" ? part.key : part)),
      path
    ),
    message: one.message === "Missing key" ? "expected a value, got nothing" : one.message
  }))

const problemsIn = (result: Result.Result<unknown, Problems> | undefined): Problems =>
  result !== undefined && Result.isFailure(result) ? result.failure : []

/** Decodes each of a list; everything that is wrong with any is said at once. */
const decodeAll = <A>(
  inputs: ReadonlyArray<unknown>,
  decode: (input: unknown, index: number) => Result.Result<A, Problems>
): Result.Result<ReadonlyArray<A>, Problems> => {
  const results = inputs.map(decode)
  const problems = results.flatMap(problemsIn)
  return problems.length > 0
    ? Result.fail(problems)
    : Result.succeed(results.flatMap((result) => (Result.isSuccess(result) ? [result.success] : [])))
}

// ---- Trips --------------------------------------------------------------------------------------------------------

export type CustomTrip = Trip.Trip & { readonly _tag: "Custom" }

const tag = Schema.String
const rate = { _tag: tag, threshold: share, minimumCalls: count, over }
const tripFields = {
  Consecutive: { _tag: tag, failures: count },
  FailureRate: rate,
  SlowRate: rate,
  Failures: { _tag: tag, atLeast: count, of: over },
  Weighted: { _tag: tag, atLeast: positive, over },
  Stuck: { _tag: tag, calls: count, olderThan: positiveMillis },
  Any: { _tag: tag, trips: Schema.Unknown },
  All: { _tag: tag, trips: Schema.Unknown },
  Custom: { _tag: tag, name: text, predicate: Schema.optionalKey(predicate), over: Schema.optionalKey(over) }
}

const isTripTag = (input: unknown): input is Trip.Trip["_tag"] =>
  typeof input === "string" && Object.hasOwn(tripFields, input)

const list = (words: ReadonlyArray<string>): string => (words.length === 0 ? "none is registered" : words.join(", "))

/** A window over calls never holds more than its length. */
const fits = <A extends Trip.Trip>(trip: A, name: string, value: number, over: Window.Over, path: string) =>
  over._tag === "Calls" && value > over.calls
    ? wrong(at(path, name), `expected at most the ${over.calls} calls of the window, got ${value}`)
    : Result.succeed(trip)

/** Decodes a trip. `custom` has the predicates of those that are only named. */
const decodeTrip = (
  input: unknown,
  path: string,
  custom: ReadonlyMap<string, CustomTrip>,
  depth = 0
): Result.Result<Trip.Trip, Problems> => {
  const _tag = isRecord(input) ? input["_tag"] : undefined
  if (!isTripTag(_tag)) {
    return wrong(
      path,
      `expected a trip such as Trip.consecutive(5) (_tag: ${list(Object.keys(tripFields))}), got ${show(input)}`
    )
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
          return wrong(inside, `expected a list of one trip or more, got ${show(trips)}`)
        }
        if (depth >= maxTripDepth) return wrong(inside, `expected trips nested at most ${maxTripDepth} deep`)
        return Result.map(
          decodeAll(trips, (trip, index) => decodeTrip(trip, at(inside, index), custom, depth + 1)),
          (trips) => ({ _tag, trips })
        )
      })
    case "Custom":
      return Result.flatMap(decodeFields(tripFields.Custom, input, path), ({ name, over, predicate }) => {
        const known = custom.get(name)
        const decides = predicate ?? known?.predicate
        return decides === undefined
          ? wrong(
              at(path, "name"),
              `expected the name of a custom trip (${list([...custom.keys()])}), got ${show(name)}`
            )
          : Result.succeed({
              _tag,
              name,
              predicate: decides,
              over: over ?? known?.over ?? { _tag: "Calls", calls: 100 }
            })
      })
  }
}

/** Decodes the custom trips that configuration may name. */
export const decodeCustomTrips = (
  input: unknown,
  path: string
): Result.Result<ReadonlyMap<string, CustomTrip>, Problems> => {
  if (!Array.isArray(input)) return wrong(path, `expected a list of custom trips, got ${show(input)}`)
  const found = new Map<string, CustomTrip>()
  return Result.map(
    decodeAll(input, (trip, index) =>
      Result.flatMap(decodeTrip(trip, at(path, index), found), (trip) => {
        if (trip._tag !== "Custom") return wrong(at(path, index), `expected a custom trip, got ${trip._tag}`)
        if (found.has(trip.name)) {
          return wrong(at(at(path, index), "name"), `expected a name that is not taken, got ${show(trip.name)}`)
        }
        found.set(trip.name, trip)
        return Result.succeed(trip)
      })
    ),
    () => found
  )
}

// ---- Policies -----------------------------------------------------------------------------------------------------

const cooldownFields = { exponential: positiveMillis, factor: Schema.optional(factor), jittered: Schema.optional(flag) }

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
  const expected = `a duration of 0 or more ${example}, a Schedule, or { exponential: "1 second", factor: 2, jittered: true }`
  return wrong(path, `expected ${expected}, got ${show(input)}`)
}

const quorum = field(
  "a number of 0 or more and below 1",
  numberWhere((n) => n >= 0 && n < 1)
)
const fleetFields = {
  suspectAfter: Schema.optional(count),
  quorum: Schema.optional(quorum),
  hold: Schema.optional(anyMillis),
  observation: Schema.optional(positiveMillis)
}

const decodeFleet = (input: unknown, path: string): Result.Result<Policy["fleet"], Problems> => {
  if (input === false) return Result.succeed(false)
  if (!isRecord(input)) return wrong(path, `expected false, or an object, got ${show(input)}`)
  return Result.map(decodeFields(fleetFields, input, path), ({ hold, observation, quorum, suspectAfter }) => ({
    suspectAfter: suspectAfter ?? Fleet.defaults.suspectAfter,
    quorum: quorum ?? Fleet.defaults.quorum,
    holdMillis: hold ?? Fleet.defaults.holdMillis,
    observationMillis: observation ?? Fleet.defaults.observationMillis
  }))
}

const policyFields = {
  trip: Schema.optional(Schema.Unknown),
  slowCall: Schema.optional(slowMillis),
  cooldown: Schema.optional(Schema.Unknown),
  maxCooldown: Schema.optional(positiveMillis),
  probes: Schema.optional(count),
  successesToClose: Schema.optional(count),
  probeTimeout: Schema.optional(positiveMillis),
  ramp: Schema.optional(anyMillis),
  probe: Schema.optional(Schema.Unknown),
  dependsOn: Schema.optional(names),
  mode: Schema.optional(word("enforce", "observe")),
  enabled: Schema.optional(enabled),
  tenants: Schema.optional(word("separate", "shared", "counted")),
  fleet: Schema.optional(Schema.Unknown)
}

/** Decodes the fields of a policy that are given, or says what is wrong with each. */
export const decodePolicy = (
  input: unknown,
  path: string,
  custom: ReadonlyMap<string, CustomTrip>
): Result.Result<Partial<Policy>, Problems> => {
  const flat = decodeFields(policyFields, input, path)
  const given = isRecord(input) ? input : {}
  const part = <A>(name: string, decode: (input: unknown, path: string) => Result.Result<A, Problems>) =>
    given[name] === undefined ? undefined : decode(given[name], at(path, name))
  const trip = part("trip", (input, path) => decodeTrip(input, path, custom))
  const cooldown = part("cooldown", decodeCooldown)
  const probe = part("probe", (input, path) => decodeFields({ check, schedule: interval }, input, path))
  const fleet = part("fleet", decodeFleet)
  const problems = [flat, trip, cooldown, probe, fleet].flatMap(problemsIn)
  if (Result.isFailure(flat) || problems.length > 0) return Result.fail(problems)
  const { slowCall, maxCooldown, probeTimeout, ramp, ...rest } = flat.success
  const all = {
    ...rest,
    trip: trip && Result.getOrUndefined(trip),
    cooldown: cooldown && Result.getOrUndefined(cooldown),
    probe: probe && Result.getOrUndefined(probe),
    fleet: fleet && Result.getOrUndefined(fleet),
    slowCallMillis: slowCall,
    maxCooldownMillis: maxCooldown,
    probeTimeoutMillis: probeTimeout,
    rampMillis: ramp
  }
  // A field that is given as undefined is a field that is not given: it must not hide the default beneath.
  return Result.succeed(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))
}

// ---- Settings -----------------------------------------------------------------------------------------------------

const settingsFields = {
  default: Schema.optional(Schema.Unknown),
  breakers: Schema.optional(Schema.Unknown),
  trips: Schema.optional(Schema.Unknown),
  names: Schema.optional(names)
}

/** Settings whose policies are not decoded yet. What is sound of them is there even where something else is wrong. */
export const decodeSettingsShape = (input: unknown) => {
  const flat = decodeFields(settingsFields, input, "")
  const given = isRecord(input) ? input : {}
  const problems: Array<Problem> = [...problemsIn(flat)]
  let breakers: Readonly<Record<string, unknown>> = {}
  if (isRecord(given["breakers"])) breakers = given["breakers"]
  else if (given["breakers"] !== undefined) {
    problems.push({
      path: "breakers",
      message: `expected an object of policies by name, got ${show(given["breakers"])}`
    })
  }
  const known = Result.isSuccess(flat) ? flat.success.names : undefined
  const { default: base = {}, trips = [] } = given
  return { default: base, breakers, trips, names: known, problems }
}
