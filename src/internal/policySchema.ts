import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type * as Trip from "../Trip.ts"
import type * as Window from "../Window.ts"
import type { Policy } from "./policy.ts"

/** One thing that is wrong with a policy, an option or a variable. */
export interface Problem {
  readonly path: string
  readonly message: string
}

/** A window over calls keeps one number a call; more than this is a mistake. */
const maxWindowCalls = 10_000
const maxTripDepth = 8

const show = (value: unknown): string => {
  if (typeof value === "function") return "a function"
  if (typeof value === "bigint") return `${value}n`
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value)
  }
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

/** Milliseconds of anything that is a duration, or nothing. */
export const toMillis = (input: unknown): number | undefined => {
  const duration = Duration.fromInput(input as Duration.Input)
  if (duration._tag === "None") return undefined
  const millis = Duration.toMillis(duration.value)
  return Number.isNaN(millis) ? undefined : millis
}

const millisWhere = (ok: (millis: number) => boolean) => (input: unknown) => {
  const millis = toMillis(input)
  return millis !== undefined && ok(millis) ? millis : undefined
}

const example = `such as "30 seconds"`
const positiveMillis = field(
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

const isCount = (input: unknown): input is number => Number.isInteger(input) && (input as number) >= 1
const count = field("a whole number of 1 or more", (input) => (isCount(input) ? input : undefined))
const share = field("a number above 0 and at most 1", (input) =>
  typeof input === "number" && input > 0 && input <= 1 ? input : undefined
)
const positive = field("a finite number above 0", (input) =>
  typeof input === "number" && input > 0 && input < Infinity ? input : undefined
)
const text = field("a text that is not empty", (input) =>
  typeof input === "string" && input !== "" ? input : undefined
)

const over = field<Window.Over>(
  `a number of calls from 1 to ${maxWindowCalls}, or a duration above 0 such as "10 seconds"`,
  (input) => {
    if (typeof input === "number")
      return isCount(input) && input <= maxWindowCalls ? { _tag: "Calls", calls: input } : undefined
    const millis = toMillis(input)
    return millis !== undefined && millis > 0 && millis < Infinity ? { _tag: "Time", millis } : undefined
  }
)

const atMostWindow = (name: "atLeast" | "minimumCalls", value: number, over: Window.Over) =>
  over._tag === "Calls" && value > over.calls
    ? { path: [name], issue: `expected at most the ${over.calls} calls of the window, got ${value}` }
    : undefined

const rate = <Tag extends "FailureRate" | "SlowRate">(tag: Tag) =>
  Schema.TaggedStruct(tag, { threshold: share, minimumCalls: count, over }).check(
    Schema.makeFilter((self) => atMostWindow("minimumCalls", self.minimumCalls, self.over))
  )

const tripTags = ["Consecutive", "Failures", "FailureRate", "SlowRate", "Weighted", "Stuck", "Any", "All", "Custom"]

/** Decodes trips; `custom` finds the predicate of a trip that is only named. */
const tripSchema = (custom: ReadonlyMap<string, CustomTrip>) => {
  const options = { errors: "all", reportInput: true, onExcessProperty: "error" } as const
  const leaves = {
    Consecutive: Schema.TaggedStruct("Consecutive", { failures: count }),
    FailureRate: rate("FailureRate"),
    SlowRate: rate("SlowRate"),
    Failures: Schema.TaggedStruct("Failures", { atLeast: count, of: over }).check(
      Schema.makeFilter((self) => atMostWindow("atLeast", self.atLeast, self.of))
    ),
    Weighted: Schema.TaggedStruct("Weighted", { atLeast: positive, over }),
    Stuck: Schema.TaggedStruct("Stuck", { calls: count, olderThan: positiveMillis }),
    Custom: Schema.TaggedStruct("Custom", {
      name: text,
      predicate: Schema.optionalKey(
        field<Trip.Predicate>("a function", (input) =>
          typeof input === "function" ? (input as Trip.Predicate) : undefined
        )
      ),
      over: Schema.optionalKey(over)
    }).check(
      Schema.makeFilter((self) =>
        self.predicate !== undefined || custom.has(self.name)
          ? undefined
          : {
              path: ["name"],
              issue: `expected the name of a custom trip (${list([...custom.keys()])}), got ${show(self.name)}`
            }
      )
    )
  }

  const leaf = (input: { readonly _tag: string }): Result.Result<Trip.Trip, SchemaIssue.Issue> => {
    const decode = <A>(schema: Schema.Codec<A, unknown>, f: (a: A) => Trip.Trip) =>
      Schema.decodeUnknownResult(
        schema,
        options
      )(input).pipe(Result.mapBoth({ onSuccess: f, onFailure: (error) => error.issue }))
    switch (input._tag) {
      case "Consecutive":
        return decode(leaves.Consecutive, (a) => a)
      case "FailureRate":
        return decode(leaves.FailureRate, (a) => a)
      case "SlowRate":
        return decode(leaves.SlowRate, (a) => a)
      case "Failures":
        return decode(leaves.Failures, (a) => ({ _tag: "Failures", atLeast: a.atLeast, over: a.of }))
      case "Weighted":
        return decode(leaves.Weighted, (a) => a)
      case "Stuck":
        return decode(leaves.Stuck, (a) => ({ _tag: "Stuck", calls: a.calls, olderThanMillis: a.olderThan }))
      default:
        return decode(leaves.Custom, ({ name, predicate, over }) => {
          const known = custom.get(name)
          return {
            _tag: "Custom",
            name,
            predicate: predicate ?? known?.predicate ?? never,
            over: over ?? known?.over ?? { _tag: "Calls", calls: 100 }
          }
        })
    }
  }

  const fail = (message: string): Result.Result<never, SchemaIssue.Issue> =>
    Result.fail(new SchemaIssue.InvalidValue({ message }))

  const at = (path: ReadonlyArray<PropertyKey>) =>
    Result.mapError((issue: SchemaIssue.Issue) => new SchemaIssue.Pointer(path, issue))

  const decodeTrip = (input: unknown, depth: number): Result.Result<Trip.Trip, SchemaIssue.Issue> => {
    const tag = typeof input === "object" && input !== null && "_tag" in input ? input._tag : undefined
    if (typeof tag !== "string" || !tripTags.includes(tag)) {
      return fail(`expected a trip such as Trip.consecutive(5) (_tag: ${list(tripTags)}), got ${show(input)}`)
    }
    if (tag !== "Any" && tag !== "All") return leaf(input as { readonly _tag: string })
    const trips = (input as { readonly trips?: unknown }).trips
    if (!Array.isArray(trips) || trips.length === 0) {
      return at(["trips"])(fail(`expected a list of one trip or more, got ${show(trips)}`))
    }
    if (depth >= maxTripDepth) return at(["trips"])(fail(`expected trips nested at most ${maxTripDepth} deep`))
    return Result.map(
      Result.all(trips.map((trip, index) => at(["trips", index])(decodeTrip(trip, depth + 1)))),
      (trips): Trip.Trip => ({ _tag: tag, trips })
    )
  }

  return Schema.Unknown.pipe(
    Schema.decodeTo(
      Schema.declare((_: unknown): _ is Trip.Trip => true),
      SchemaTransformation.transformEffect<Trip.Trip, unknown>({
        decode: (input) => Effect.fromResult(decodeTrip(input, 0)),
        encode: Effect.succeed
      })
    )
  )
}

const never: Trip.Predicate = () => false

const list = (names: ReadonlyArray<string>): string => (names.length === 0 ? "none is registered" : names.join(", "))

export type CustomTrip = Trip.Trip & { readonly _tag: "Custom" }

/** A cooldown that grows, as data: for configuration, which cannot hold a `Schedule`. */
const exponential = Schema.Struct({
  exponential: positiveMillis,
  factor: Schema.optionalKey(
    field("a finite number of 1 or more", (n) => (typeof n === "number" && n >= 1 && n < Infinity ? n : undefined))
  ),
  jittered: Schema.optionalKey(Schema.Boolean)
})

const cooldown = field<Policy["cooldown"]>(
  `a duration of 0 or more ${example}, a Schedule, or { exponential: "1 second", factor: 2, jittered: true }`,
  (input) => {
    if (Schedule.isSchedule(input)) return input as Policy["cooldown"]
    const millis = toMillis(input)
    if (millis !== undefined) return millis >= 0 && millis < Infinity ? millis : undefined
    const data = Schema.decodeUnknownResult(exponential, { onExcessProperty: "error" })(input)
    if (Result.isFailure(data)) return undefined
    const growing = Schedule.exponential(data.success.exponential, data.success.factor)
    return data.success.jittered === true ? Schedule.jittered(growing) : growing
  }
)

const isEffect = (input: unknown): input is Effect.Effect<never> => Effect.isEffect(input)

const probe = Schema.Struct({
  check: field<Effect.Effect<unknown, unknown>>("an effect that needs no services", (input) =>
    isEffect(input) ? input : undefined
  ),
  schedule: field<Schedule.Schedule<unknown>>(`a Schedule, or a duration above 0 ${example}`, (input) => {
    if (Schedule.isSchedule(input)) return input as Schedule.Schedule<unknown>
    const millis = toMillis(input)
    return millis !== undefined && millis > 0 && millis < Infinity ? Schedule.spaced(millis) : undefined
  })
})

const partialPolicy = (custom: ReadonlyMap<string, CustomTrip>) =>
  Schema.Struct({
    trip: Schema.optional(tripSchema(custom)),
    slowCall: Schema.optional(slowMillis),
    cooldown: Schema.optional(cooldown),
    maxCooldown: Schema.optional(positiveMillis),
    probes: Schema.optional(count),
    successesToClose: Schema.optional(count),
    probeTimeout: Schema.optional(positiveMillis),
    ramp: Schema.optional(anyMillis),
    probe: Schema.optional(probe),
    dependsOn: Schema.optional(Schema.Array(text)),
    mode: Schema.optional(field('"enforce" or "observe"', (m) => (m === "enforce" || m === "observe" ? m : undefined))),
    enabled: Schema.optional(
      field<Policy["enabled"]>("true, false, or an effect of one", (input) =>
        typeof input === "boolean" ? input : isEffect(input) ? input : undefined
      )
    ),
    tenants: Schema.optional(
      field(`"separate", "shared" or "counted"`, (t) =>
        t === "separate" || t === "shared" || t === "counted" ? t : undefined
      )
    )
  })

/** Decodes the fields of a policy that are given, or says what is wrong with each. */
export const decodePartial = (
  input: unknown,
  path: string,
  custom: ReadonlyMap<string, CustomTrip>
): Result.Result<Partial<Policy>, ReadonlyArray<Problem>> => {
  const decoded = Schema.decodeUnknownResult(partialPolicy(custom), {
    errors: "all",
    reportInput: true,
    onExcessProperty: "error"
  })(input)
  if (Result.isFailure(decoded)) return Result.fail(problems(decoded.failure.issue, path))
  const { slowCall, maxCooldown, probeTimeout, ramp, ...rest } = decoded.success
  const all = {
    ...rest,
    slowCallMillis: slowCall,
    maxCooldownMillis: maxCooldown,
    probeTimeoutMillis: probeTimeout,
    rampMillis: ramp
  }
  // A field that is given as undefined is a field that is not given: it must not hide the default beneath.
  return Result.succeed(
    Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Partial<Policy>
  )
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const problems = (issue: SchemaIssue.Issue, path: string): ReadonlyArray<Problem> =>
  format(issue).issues.map((one) => ({
    path: [path, ...(one.path ?? []).map((part) => String(typeof part === "object" ? part.key : part))]
      .filter((part) => part !== "")
      .join("."),
    message: one.message
  }))

/** Decodes the custom trips that configuration may name. */
export const decodeCustomTrips = (
  trips: ReadonlyArray<Trip.Input>
): Result.Result<ReadonlyMap<string, CustomTrip>, ReadonlyArray<Problem>> => {
  const found = new Map<string, CustomTrip>()
  const wrong: Array<Problem> = []
  const schema = tripSchema(new Map())
  trips.forEach((trip, index) => {
    const decoded = Schema.decodeUnknownResult(schema)(trip)
    if (Result.isFailure(decoded)) wrong.push(...problems(decoded.failure.issue, `trips.${index}`))
    else if (decoded.success._tag !== "Custom") {
      wrong.push({ path: `trips.${index}`, message: `expected a custom trip, got ${decoded.success._tag}` })
    } else if (found.has(decoded.success.name)) {
      wrong.push({
        path: `trips.${index}.name`,
        message: `expected a name that is not taken, got ${show(decoded.success.name)}`
      })
    } else found.set(decoded.success.name, decoded.success)
  })
  return wrong.length > 0 ? Result.fail(wrong) : Result.succeed(found)
}
