import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as questions from "../audit/queries.ts"
import type { State, Why } from "../core/Circuit.ts"
import { remember } from "../core/remember.ts"
import { bounded, whyText } from "../dashboard/texts.ts"
import type { TransitionView } from "../dashboard/view.ts"
import { states } from "../shapes/states.ts"
import * as migrations from "../sql/migrations.ts"
import { circuitId } from "../store/codec.ts"
import { checkTables } from "./databaseServer.ts"
import { withTrail } from "./opening.ts"
import type { DatabaseServer, OpenedServer } from "./server.ts"
import type { CommandSettings } from "./settings.ts"

/** Maximum number of transitions in one answer. */
const most = 30

/** The server gives all viewers the same answer for this time. */
const validMillis = 15_000
const mostKept = 200

/** If the trail does not answer within this time, the circuit's page appears without the trail. */
const longestWait = "2 seconds"

const isState = (text: string): text is State => (states as ReadonlyArray<string>).includes(text)

const toView = (one: questions.Entry): ReadonlyArray<TransitionView> => {
  const { at, from, key, to } = one
  if (!isState(from) || !isState(to)) return []
  const why = whyText({ why: one.why as Why, reason: one.detail })
  return [{ at, name: one.circuit, key, from, to, why, actor: bounded(one.actor, 100) }]
}

const read = (name: string, key: string | undefined) => (opened: OpenedServer<DatabaseServer>) =>
  Effect.gen(function* () {
    yield* checkTables(opened, migrations.ofTrail)
    const entries = yield* opened.ask(
      questions.history(opened.server.database, { circuit: { name, key }, limit: most, before: undefined })
    )
    return entries.flatMap(toView).reverse()
  })

/**
 * Returns a function that reads the latest transitions of a circuit from the trail, oldest first. If the trail does not answer or does not
 * exist, the result is empty.
 */
export const servedTrail = (settings: CommandSettings, opened: () => OpenedServer) => {
  const kept = new Map<string, { readonly at: number; readonly found: ReadonlyArray<TransitionView> }>()
  const one = Semaphore.makeUnsafe(1)
  const ask = (name: string, key: string | undefined) =>
    Effect.suspend(() => withTrail(settings, opened(), read(name, key))).pipe(
      Effect.map((found = []) => found),
      Effect.orElseSucceed((): ReadonlyArray<TransitionView> => [])
    )
  return (name: string, key: string | undefined): Effect.Effect<ReadonlyArray<TransitionView>> => {
    const id = circuitId(name, key)
    const answer = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const known = kept.get(id)
      if (known !== undefined && now - known.at < validMillis) return known.found
      const found = yield* ask(name, key)
      remember(kept, id, { at: now, found }, mostKept)
      return found
    })
    return Effect.timeoutOrElse(one.withPermit(answer), { duration: longestWait, orElse: () => Effect.succeed([]) })
  }
}
