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
 * Writes operator actions to the trail. Live processes of the fleet write them, too. The trail is in the database of the circuits, or
 * in the database that is configured in addition to Redis.
 *
 * The action has already happened, so a trail that cannot be written is reported, but does not fail the command.
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
            // A database that only a variable names need not have a trail.
            const isTrail = Option.isSome(settings.database)
              ? Effect.as(opened.ask(tables), true)
              : Effect.match(tables, { onFailure: () => false, onSuccess: () => true })
            return Effect.flatMap(isTrail, (is) => (is ? write(done)(opened) : Effect.void))
          })
        })
      : write(done)({ failed, ask, server })
  return Effect.catch(inTrail, (failure: CommandFailure) =>
    Console.error(`The action was carried out, but the trail could not be written. ${failure.message}`)
  )
}
