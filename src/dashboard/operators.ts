/** Checks and carries out operator actions from the page. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import { byHand } from "../breaker/control.ts"
import { operatorKey } from "../breaker/options.ts"
import { decodeOptions, field, optional, text, word } from "../core/fields.ts"
import { operatorActions } from "../core/operatorActions.ts"
import * as Operator from "../operator/Operator.ts"
import type { Transition } from "../shapes/BreakerEvent.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { bounded } from "./texts.ts"
import type { ActionName, CircuitView } from "./view.ts"

/** An action was not carried out. The message can be shown. */
export class NotDone extends Data.TaggedError("NotDone")<{ readonly message: string }> {}

const names = Object.keys(operatorActions) as ReadonlyArray<ActionName>

/** The longest duration of an action, in milliseconds: a year. */
const longest = 31_536_000_000

const short = (most: number) =>
  optional(
    field(`a text of at most ${most} characters`, (input) =>
      typeof input === "string" && input.length <= most ? input.trim() : undefined
    )
  )

const fields = {
  action: word(...names),
  name: text,
  key: operatorKey,
  reason: short(500),
  actor: short(100),
  forMillis: optional(
    field("milliseconds above 0, of at most a year", (input) =>
      typeof input === "number" && input > 0 && input <= longest ? input : undefined
    )
  )
}

export interface CheckedAction {
  readonly action: ActionName
  readonly name: string
  readonly key: string | undefined
  readonly reason: string | undefined
  readonly actor: string | undefined
  readonly forMillis: number | undefined
}

/** Checks the body of a request. */
export const checkedAction = (body: string): Effect.Effect<CheckedAction, NotDone> =>
  Effect.try({
    try: () => {
      const { action, actor, forMillis, key, name, reason } = decodeOptions("The request", fields, JSON.parse(body))
      const lasts = operatorActions[action].defaultMillis !== undefined
      return {
        action,
        name,
        key,
        reason: reason || undefined,
        actor: actor || undefined,
        forMillis: lasts ? forMillis : undefined
      }
    },
    catch: (error) =>
      new NotDone({ message: (error instanceof RangeError && bounded(error.message)) || "The request is not JSON." })
  })

/** Carries out an action, and returns the state after it. */
export type Act = (action: CheckedAction) => Effect.Effect<CircuitView["state"], NotDone>

const optionsOf = ({ actor, forMillis, key, reason }: CheckedAction) => ({
  ...(key === undefined ? {} : { key }),
  ...(reason === undefined ? {} : { reason }),
  ...(actor === undefined ? {} : { actor }),
  ...(forMillis === undefined ? {} : { for: forMillis })
})

/** How long to wait for the answer of the store. */
const actMillis = 10_000

const operations = {
  isolate: Operator.isolate,
  disable: Operator.disable,
  release: Operator.release,
  open: Operator.open,
  close: Operator.close,
  reset: Operator.reset
} satisfies Record<ActionName, unknown>

/** Carries out actions on a fleet's store. `record` can write the transition to a trail. */
export const onStore =
  (store: SharedStore, process: string, record: (transition: Transition) => Effect.Effect<void>): Act =>
  (action) =>
    Effect.suspend(() => operations[action.action](store, action.name, { ...optionsOf(action), process })).pipe(
      Effect.tap(({ transition }) => (transition === undefined ? Effect.void : record(transition))),
      Effect.map(({ state }) => state),
      Effect.mapError(({ message }) => new NotDone({ message: bounded(message) ?? "The store failed." })),
      Effect.timeoutOrElse({
        duration: actMillis,
        orElse: () =>
          Effect.fail(new NotDone({ message: "The store did not answer. Check whether the action was carried out." }))
      }),
      Effect.catchDefect(refusedBy)
    )

/** Carries out actions in this process. */
export const inProcess =
  (store: BreakerStore["Service"]): Act =>
  (action) =>
    Effect.suspend(() => byHand(action.action, action.name, optionsOf(action))).pipe(
      Effect.map(({ state }) => state),
      Effect.provideService(BreakerStore, store),
      Effect.catchDefect(refusedBy)
    )

/** The store refuses an invalid name or key with a `RangeError`. */
const refusedBy = (defect: unknown): Effect.Effect<never, NotDone> =>
  defect instanceof RangeError
    ? Effect.fail(new NotDone({ message: bounded(defect.message) ?? "The action was refused." }))
    : Effect.die(defect)
