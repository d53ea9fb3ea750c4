import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import { isRecord } from "../core/fields.ts"
import { withoutSecrets } from "../core/foreign.ts"
import { Written, within } from "./codec.ts"

/** The circuits of a store, as text. */
const Exported = Schema.fromJsonString(
  Schema.Struct({
    /** The version of this format. */
    version: Schema.Literal(1),
    /** Wall clock, milliseconds since 1970. */
    at: Schema.Finite,
    circuits: Schema.Array(
      Schema.Struct({ circuit: Schema.NonEmptyString, key: Schema.optionalKey(Schema.String), state: Written })
    )
  })
)

/** A circuit on its way from a store to another. */
export interface ExportedCircuit {
  readonly name: string
  readonly key: string | undefined
  readonly state: Circuit.Circuit
}

/** A lease cannot be moved: a HalfOpen circuit is exported as an opening whose cooldown is over. */
const portable = (circuit: Circuit.Circuit, now: number): Circuit.Circuit =>
  circuit._tag === "HalfOpen"
    ? Circuit.force(circuit, "Isolated", now, { until: now, reason: "", actor: undefined }).under
    : circuit

/** What has no memory is as good as nothing. */
export const isWorthMoving = (circuit: Circuit.Circuit, now: number): boolean =>
  circuit._tag !== "Closed" || Circuit.openings(circuit, now) > 0

/** The text of circuits, whose times are those of a clock that says `now` when the wall clock says `at`. */
export const write = (circuits: ReadonlyArray<ExportedCircuit>, now: number, at: number): string =>
  Schema.encodeSync(Exported)({
    version: 1,
    at,
    circuits: circuits.map(({ key, name, state }) => ({
      circuit: name,
      ...(key === undefined ? {} : { key }),
      state: Fleet.shift(portable(state, now), -now)
    }))
  })

/** What is to be said of a text that is of another version. */
const newer = (text: unknown): string | undefined => {
  const parsed = Result.try((): unknown => JSON.parse(String(text)))
  const version = Result.isSuccess(parsed) && isRecord(parsed.success) ? parsed.success["version"] : undefined
  return typeof version === "number" && version !== 1
    ? `version: it is of version ${version}, and this can read version 1`
    : undefined
}

/** The circuits of a text, by a clock that says `now` when the wall clock says `at`; or what is wrong with the text. */
export const read = (text: unknown, now: number, at: number): Result.Result<ReadonlyArray<ExportedCircuit>, string> =>
  Result.mapBoth(Schema.decodeUnknownResult(Exported)(text), {
    onFailure: (error) => newer(text) ?? withoutSecrets(String(error)),
    onSuccess: (exported) => {
      // On the way time went on.
      const written = within(now - Math.max(0, at - exported.at))
      return exported.circuits.map(({ circuit: name, key, state }) => ({
        name,
        key,
        state: Fleet.shift(state, written)
      }))
    }
  })

/** The reason for a state and the operator who gave it, which it keeps wherever it is brought. */
export const originOf = (state: Circuit.Circuit): { readonly detail?: string; readonly actor: string | undefined } => {
  if (Circuit.isForced(state)) return { detail: state.reason, actor: state.actor }
  return state._tag === "Closed" ? { actor: undefined } : state.cause
}

/** What a circuit becomes that takes a state on. */
export const takeOn =
  (state: Circuit.Circuit) =>
  (from: Circuit.Circuit): Circuit.Circuit => ({ ...state, epoch: from.epoch + 1 })
