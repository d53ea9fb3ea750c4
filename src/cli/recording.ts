import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { writeActions } from "../audit/trail.ts"
import type { Transition } from "../shapes/BreakerEvent.ts"
import * as migrations from "../sql/migrations.ts"
import type { CommandFailure } from "./messages.ts"
import { withTrail } from "./opening.ts"
import type { DatabaseServer, OpenedServer } from "./server.ts"
import type { CommandSettings } from "./settings.ts"

const write = (actions: ReadonlyArray<Transition>) => (opened: OpenedServer<DatabaseServer>) => {
  const { database } = opened.server
  return opened.ask(database.apart(writeActions(database, actions, () => null)))
}

/**
 * Writes operator actions to the trail, if there is one. Live processes of the fleet also write operator actions.
 *
 * The action has already happened, so a trail that cannot be written is reported, but does not fail the command.
 */
export const record = (
  settings: CommandSettings,
  opened: OpenedServer,
  actions: ReadonlyArray<Transition | undefined>
): Effect.Effect<void> => {
  const done = actions.filter((one) => one !== undefined)
  if (done.length === 0) return Effect.void
  const inTrail = withTrail(settings, opened, (trail) => {
    if (trail.server === opened.server) return write(done)(trail)
    const tables = migrations.check(trail.server.database, migrations.ofTrail)
    // If only a variable names the database, the database may have no trail.
    const isTrail = Option.isSome(settings.database)
      ? Effect.as(trail.ask(tables), true)
      : Effect.match(tables, { onFailure: () => false, onSuccess: () => true })
    return Effect.flatMap(isTrail, (is) => (is ? write(done)(trail) : Effect.void))
  })
  return Effect.catch(Effect.asVoid(inTrail), (failure: CommandFailure) =>
    Console.error(`The action was carried out, but the trail could not be written. ${failure.message}`)
  )
}
