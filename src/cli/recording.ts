import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { writeActions } from "../audit/trail.ts"
import type { Transition } from "../shapes/BreakerEvent.ts"
import * as migrations from "../sql/migrations.ts"
import type { CommandFailure } from "./messages.ts"
import { type OnSql, type OpenedServer, whereTrail, withDatabase } from "./server.ts"
import type { CommandSettings } from "./settings.ts"

const write = (actions: ReadonlyArray<Transition>) => (opened: OpenedServer<OnSql>) => {
  const { database } = opened.server
  return opened.ask(database.apart(writeActions(database, actions, () => null)))
}

/**
 * Writes operator actions to the trail: the processes of the fleet do so, too, if any is alive. The trail is in the database that has
 * the circuits, or in the one that was named beside a Redis. What is done is done: if the trail cannot be written, this says so and does
 * not fail.
 */
export const record = (
  settings: CommandSettings,
  { failed, ask, server }: OpenedServer,
  actions: ReadonlyArray<Transition | undefined>
): Effect.Effect<void> => {
  const done = actions.filter((one) => one !== undefined)
  if (done.length === 0) return Effect.void
  const inTrail =
    server.kind === "Redis"
      ? Effect.flatMap(whereTrail(settings), (where) => {
          if (where === undefined) return Effect.void
          return withDatabase(settings, (opened) => {
            const tables = migrations.check(opened.server.database, migrations.ofTrail)
            // A database that is only around need not have a trail.
            const isTrail = Option.isSome(settings.database)
              ? Effect.as(opened.ask(tables), true)
              : Effect.match(tables, { onFailure: () => false, onSuccess: () => true })
            return Effect.flatMap(isTrail, (is) => (is ? write(done)(opened) : Effect.void))
          })
        })
      : write(done)({ failed, ask, server })
  return Effect.catch(inTrail, (failure: CommandFailure) =>
    Console.error(`It is done, and the trail does not have it. ${failure.message}`)
  )
}
