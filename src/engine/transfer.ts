import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Circuit from "../core/Circuit.ts"
import type { Policies } from "../policy/settings.ts"
import * as exported from "../store/exported.ts"
import { steer } from "./operate.ts"
import type { Registry } from "./registry.ts"

export const exportAll = (registry: Registry): string => {
  const { time } = registry.runtime
  const now = time.now()
  const circuits = registry
    .all()
    .map(({ control, group, key }) => ({ name: group.name, key, state: Circuit.expire(control.value, now) }))
    .filter(({ state }) => exported.isWorthMoving(state, now))
  return exported.write(circuits, now, time.wall())
}

/** Imports circuits. The effect returns their number. The failure says what is wrong with the text. */
export const importAll = (
  registry: Registry,
  policies: Policies,
  text: unknown
): Result.Result<Effect.Effect<number>, string> => {
  const { runtime } = registry
  return Result.map(exported.read(text, runtime.time.now(), runtime.time.wall()), (circuits) => {
    const imports = Effect.forEach(circuits, ({ key, name, state }) => {
      const circuit = registry.own(name, key, policies)
      if (circuit === undefined) return Effect.succeed(0)
      const { actor, detail = "imported" } = exported.originOf(state)
      const since = runtime.time.wall() - (runtime.time.now() - state.since)
      const action = { next: exported.takeOn(state), why: "Imported", detail, actor, since } as const
      return Effect.as(steer(runtime, [circuit], action), 1)
    })
    return Effect.map(imports, (counts) => counts.reduce((sum, one) => sum + one, 0))
  })
}
