import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { decodeArgument } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import { printable } from "../core/printable.ts"
import { quietly } from "../engine/logEvent.ts"
import { type Declaration, discoveredField, weightField } from "./declaration.ts"
import { type Declared, PoolMembers } from "./members.ts"

export type Source = Effect.Effect<unknown, unknown> | Stream.Stream<unknown, unknown>

/** Follows the members that an effect or a stream finds, until the scope closes. Fails if the source fails before it has found a list. */
export const discovering = (
  operation: string,
  pool: string,
  source: Source,
  everyMillis: number,
  weightOf: ((name: string, value: unknown) => unknown) | undefined
): Effect.Effect<PoolMembers, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const first = yield* Deferred.make<PoolMembers, unknown>()
    let members: PoolMembers | undefined
    const kept = (why: string) =>
      quietly(
        Effect.logWarning(
          `The pool "${printable(pool)}" ${members ? "keeps its members" : "has no members yet"}: ${why}`
        )
      )

    const declared = (found: Declaration): ReadonlyArray<Declared> =>
      found.map(([name, value]) => ({
        name,
        value,
        weight: weightOf ? decodeArgument(operation, `weights of ${name}`, weightField, weightOf(name, value)) : 1
      }))

    const take = (found: unknown) =>
      Effect.suspend(() => {
        const list = declared(decodeArgument(operation, "members", discoveredField, found))
        if (list.length === 0) return kept("the list that was found is empty")
        if (members !== undefined) {
          members.declared = list
          return Effect.void
        }
        members = new PoolMembers(list)
        return Deferred.succeed(first, members)
      })
    const round = Effect.isEffect(source) ? Effect.flatMap(source, take) : Stream.runForEach(source, take)
    const failed = (cause: Cause.Cause<unknown>) =>
      members === undefined
        ? Effect.andThen(Deferred.failCause(first, cause), Effect.failCause(cause))
        : kept(foreignText(Cause.squash(cause)))
    const lookUp = Effect.catchCause(round, failed)
    const lookUps = Effect.forever(Effect.andThen(lookUp, Effect.sleep(Duration.millis(everyMillis))))
    const fiber = yield* Effect.forkScoped(Effect.ignoreCause(lookUps))
    return yield* Effect.onInterrupt(Deferred.await(first), () => Fiber.interrupt(fiber))
  })
