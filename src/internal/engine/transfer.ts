import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Circuit from "../../Circuit.ts"
import * as Fleet from "../../Fleet.ts"
import { Written } from "../codec.ts"
import type { Policies } from "../policy/settings.ts"
import type { Registry } from "./registry.ts"
import { steer } from "./steer.ts"

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

/** A place for a probe cannot be moved: an opening whose cooldown is over stands for it. */
const portable = (circuit: Circuit.Circuit, now: number): Circuit.Circuit =>
  circuit._tag === "HalfOpen"
    ? Circuit.force(circuit, "Isolated", now, { until: now, reason: "", actor: undefined }).under
    : circuit

export const exportAll = (registry: Registry): string => {
  const { time } = registry.runtime
  const now = time.now()
  const circuits = registry.all().flatMap(({ control, group, key }) => {
    const state = Circuit.expire(control.value, now)
    if (state._tag === "Closed" && Circuit.openings(state, now) === 0) return []
    const written = Fleet.shift(portable(state, now), -now)
    return [{ circuit: group.name, ...(key === undefined ? {} : { key }), state: written }]
  })
  return Schema.encodeSync(Exported)({ version: 1, at: time.wall(), circuits })
}

/** Takes the circuits on; how many. Or says what is wrong with the text. */
export const importAll = (
  registry: Registry,
  policies: Policies,
  text: unknown
): Result.Result<Effect.Effect<number>, string> =>
  Result.map(
    Result.mapError(Schema.decodeUnknownResult(Exported)(text), (error) => String(error)),
    ({ at, circuits }) => {
      const { runtime } = registry
      // On the way time went on.
      const written = runtime.time.now() - Math.max(0, runtime.time.wall() - at)
      const brought = Effect.forEach(circuits, ({ circuit: name, key, state }) => {
        const circuit = registry.own(name, key, policies)
        if (circuit === undefined) return Effect.succeed(0)
        const next = (from: Circuit.Circuit): Circuit.Circuit => ({ ...Fleet.shift(state, written), era: from.era + 1 })
        return Effect.as(steer(runtime, [circuit], { next, why: "Imported", detail: "imported", actor: undefined }), 1)
      })
      return Effect.map(brought, (counts) => counts.reduce((sum, one) => sum + one, 0))
    }
  )
