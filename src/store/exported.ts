import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import { isRecord } from "../core/fields.ts"
import { withoutSecrets } from "../core/foreign.ts"
import { Written, within } from "./codec.ts"

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

/** A circuit that is exported from one store to be imported into another. */
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

/** Whether a state is worth exporting. A Closed circuit that has counted no openings is like a new one. */
export const isWorthMoving = (circuit: Circuit.Circuit, now: number): boolean =>
  circuit._tag !== "Closed" || Circuit.openings(circuit, now) > 0

/** Encodes circuits as text. `now` and `at` are the present time by the clock of the states and by the wall clock. */
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

/** The complaint about a text of another version; `undefined` for any other text. */
const newer = (text: unknown): string | undefined => {
  const parsed = Result.try((): unknown => JSON.parse(String(text)))
  const version = Result.isSuccess(parsed) && isRecord(parsed.success) ? parsed.success["version"] : undefined
  return typeof version === "number" && version !== 1 ? `version: expected 1, got ${version}` : undefined
}

/** Decodes a text that {@link write} made. Fails with what is wrong with the text. */
export const read = (text: unknown, now: number, at: number): Result.Result<ReadonlyArray<ExportedCircuit>, string> =>
  Result.mapBoth(Schema.decodeUnknownResult(Exported)(text), {
    onFailure: (error) => newer(text) ?? withoutSecrets(String(error)),
    onSuccess: (exported) => {
      // Time has passed since the export.
      const written = within(now - Math.max(0, at - exported.at))
      return exported.circuits.map(({ circuit: name, key, state }) => ({
        name,
        key,
        state: Fleet.shift(state, written)
      }))
    }
  })

/** The reason for a state and the operator who gave it. An import keeps both. */
export const originOf = (state: Circuit.Circuit): { readonly detail?: string; readonly actor: string | undefined } => {
  if (Circuit.isForced(state)) return { detail: state.reason, actor: state.actor }
  return state._tag === "Closed" ? { actor: undefined } : state.cause
}

/** The transition of a circuit to an imported state. */
export const takeOn =
  (state: Circuit.Circuit) =>
  (from: Circuit.Circuit): Circuit.Circuit => ({ ...state, epoch: from.epoch + 1 })
