import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import { Why } from "../shapes/states.ts"

// ---- Names --------------------------------------------------------------------------------------------------------

/** Any text as letters, digits, `.`, `_`, `-` and `%`. Different texts stay different. */
const escape = (text: string): string =>
  text.replaceAll(/[^A-Za-z0-9._-]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

const unescape = (text: string): string =>
  text.replaceAll(/%([0-9a-f]{4})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

/** The id of a circuit in a store. A circuit with an empty key and one without a key have different ids. */
export const circuitId = (name: string, key: string | undefined): string =>
  key === undefined ? escape(name) : `${escape(name)}/${escape(key)}`

/** The name and key in a circuit id; `undefined` for a text that is not an id. */
export const fromCircuitId = (id: string): { readonly name: string; readonly key: string | undefined } | undefined => {
  const [name = "", key] = id.split("/").map(unescape)
  return name === "" || circuitId(name, key) !== id ? undefined : { name, key }
}

// ---- States -------------------------------------------------------------------------------------------------------

/** Writes a value that JSON cannot represent as `null`. */
const orNull = <A, const B>(schema: Schema.Codec<A>, nothing: B) =>
  Schema.NullOr(schema).pipe(
    Schema.decodeTo(
      Schema.declare((_: unknown): _ is A | B => true),
      SchemaTransformation.transform<A | B, A | null>({
        decode: (value) => (value === null ? nothing : value),
        encode: (value) => (value === nothing ? null : (value as A))
      })
    )
  )

const Millis = Schema.Finite
const Count = Schema.Number.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(0))
const Until = orNull(Millis, Infinity)

/** Longer texts are truncated when written: a database that rejects a long statement would reject the whole batch. */
const longestText = 10_000
const Text = Schema.String.pipe(
  Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transform<string, string>({
      decode: (text) => text,
      encode: (text) => (text.length <= longestText ? text : `${text.slice(0, longestText - 3)}...`)
    })
  )
)
const OptionalText = orNull(Text, undefined)
const Cause = Schema.Struct({ why: Why, detail: Text, actor: OptionalText })

/** The largest time value of a `Date`. */
const lastMillis = 8.64e15

/** A wall clock, in milliseconds since 1970. */
const Wall = Schema.Finite.check(Schema.isBetween({ minimum: -lastMillis, maximum: lastMillis }))

const Outage = Schema.Struct({
  since: Millis,
  at: Wall,
  openings: Schema.Number.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(1)),
  agreed: Schema.optionalKey(Schema.Struct({ processes: Count, of: Count }))
})

const closed = { since: Millis, openings: Count, openFor: Until, rampUntil: Millis }
const open = { since: Millis, until: Until, openings: Count, outage: Outage, cause: Cause }
const under = Schema.Union([Schema.TaggedStruct("Closed", closed), Schema.TaggedStruct("Open", open)])
const override = { since: Millis, until: Until, reason: Text, actor: OptionalText }
const Override = Schema.Union([Schema.TaggedStruct("Isolated", override), Schema.TaggedStruct("Disabled", override)])
/** `others` is absent if there is no other override. */
const forced = { ...override, others: Schema.optionalKey(Schema.Array(Override)), under }

/** A written state: times are relative to the moment of writing; each process and each store counts its own epochs. */
const WrittenState = Schema.Union([
  Schema.TaggedStruct("Closed", closed),
  Schema.TaggedStruct("Open", open),
  Schema.TaggedStruct("HalfOpen", {
    since: Millis,
    openings: Count,
    openFor: Until,
    outage: Outage,
    cause: Cause,
    successes: Count,
    failures: Count,
    ignored: Count,
    leases: Schema.Array(Schema.Struct({ id: Count, until: Millis }))
  }),
  Schema.TaggedStruct("Isolated", forced),
  Schema.TaggedStruct("Disabled", forced)
])

type WrittenState = typeof WrittenState.Type

const toCircuit = (state: WrittenState): Circuit.Circuit => {
  switch (state._tag) {
    case "Closed":
    case "Open":
      return { ...state, epoch: 0 }
    case "HalfOpen":
      return { ...state, epoch: 0, nextLease: 0 }
    default:
      return { ...state, epoch: 0, others: state.others ?? [], under: { ...state.under, epoch: 0 } }
  }
}

const toState = (circuit: Circuit.Circuit): WrittenState => {
  if ((circuit._tag !== "Isolated" && circuit._tag !== "Disabled") || circuit.others.length > 0) return circuit
  const { others: _, ...alone } = circuit
  return alone
}

/** The codec of a written state. Its times are milliseconds from the moment of writing. */
export const Written: Schema.Codec<Circuit.Circuit, typeof WrittenState.Encoded> = WrittenState.pipe(
  Schema.decodeTo(
    Schema.declare((_: unknown): _ is Circuit.Circuit => true),
    SchemaTransformation.transform<Circuit.Circuit, WrittenState>({ decode: toCircuit, encode: toState })
  )
)

/**
 * Limits a time from outside to the range of dates; NaN becomes 0. Otherwise an invalid time would make the times of a state invalid,
 * and the state could not be written again.
 */
export const within = (millis: number): number =>
  Number.isNaN(millis) ? 0 : Math.min(lastMillis, Math.max(-lastMillis, millis))

// ---- Records ------------------------------------------------------------------------------------------------------

/** What a record contains in addition to the state. */
export interface Provenance {
  /** Why the state was entered, an explanation, and the operator if there was one. */
  readonly why: Circuit.Why
  readonly detail: string | undefined
  readonly actor: string | undefined
  /** The fingerprint of the policy that decided; `undefined` if an operator did. */
  readonly policy: string | undefined
  readonly process: string
  /** Wall clock of the process that wrote it, in milliseconds since 1970. */
  readonly at: number
  /** The id of an operator action from outside the fleet. */
  readonly action?: string | undefined
  /**
   * The epoch of the first write, if a process has written a lost record back. Records are compared by it, so that a record that is
   * written back does not override newer ones.
   */
  readonly origin?: number | undefined
}

const Body = Schema.fromJsonString(
  Schema.Struct({
    /** The version of this format. */
    v: Schema.Literal(1),
    state: Written,
    why: Why,
    detail: OptionalText,
    actor: OptionalText,
    policy: OptionalText,
    process: Schema.String,
    at: Wall,
    action: Schema.optional(Schema.String),
    origin: Schema.optional(Count.check(Schema.isLessThan(2 ** 53)))
  })
)

const decode = Schema.decodeUnknownOption(Body)
const encode = Schema.encodeSync(Body)

/** Escapes JSON to ASCII, which a database with any encoding can store. */
export const ascii = (json: string): string =>
  json.replaceAll(/[\u007f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** The text of a record, written at `now`. */
export const toBody = (circuit: Circuit.Circuit, now: number, provenance: Provenance): string =>
  ascii(encode({ v: 1, state: Fleet.shift(circuit, -now), ...provenance }))

/** Decodes a record that was written at `at`, by the clock of the result. `undefined` if the text is not a record. */
export const fromBody = (
  body: string,
  at: number
): { readonly circuit: Circuit.Circuit; readonly provenance: Provenance } | undefined => {
  const decoded = decode(body)
  if (decoded._tag === "None") return undefined
  const { state, v: _, ...provenance } = decoded.value
  return { circuit: Fleet.shift(state, within(at)), provenance }
}
