import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { type Change, type Exchange, makeControlled, type SharedStore, StoreError } from "../store/SharedStore.ts"

/** The kind of a request to a store: an exchange with swaps, with casts only, or with neither (`heartbeat`), or a read. */
export type Operation = "cast" | "swap" | "heartbeat" | "page" | "load"

const kindOf = ({ casts, swaps }: Exchange): Operation =>
  swaps.length > 0 ? "swap" : casts.length > 0 ? "cast" : "heartbeat"

/** What is wrong with a process's way to the store: set a field, and from then on it is. */
export class StoreTrouble {
  /** What becomes of operations; `lost`: carried out, and never answered; `twice`: carried out a second time later. */
  now: "none" | "hang" | "fail" | "die" | "throw" | "lost" | "twice" = "none"
  /** Which operations it is about; all if none is named. */
  only: ReadonlyArray<Operation> = []
  /** Milliseconds that each operation takes, half of them on the way there. */
  slow = 0
  /** Whether announcements are dropped. */
  deaf = false
  /** Milliseconds by which announcements are late. */
  late = 0
  /** What was asked of the store, however that ended. */
  asked: Array<Operation> = []
}

const inContract = (operation: Operation): StoreError["operation"] =>
  operation === "page" || operation === "load" ? operation : "exchange"

/** A store as it looks from behind some trouble. */
export const troubled = (store: SharedStore, trouble: StoreTrouble): SharedStore => {
  const operate = <A>(operation: Operation, run: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> => {
    trouble.asked.push(operation)
    const { only } = trouble
    const now = only.length > 0 && !only.includes(operation) ? "none" : trouble.now
    if (now === "throw") throw new Error("thrown")
    const wait = Effect.sleep(trouble.slow / 2)
    const slow = trouble.slow > 0 ? Effect.andThen(wait, Effect.ensuring(run, wait)) : run
    switch (now) {
      case "hang":
        return Effect.never
      case "fail":
        return Effect.fail(new StoreError({ operation: inContract(operation), cause: new Error("refused") }))
      case "die":
        return Effect.die(new Error("died"))
      case "lost":
        return Effect.andThen(slow, Effect.never)
      case "twice":
        return Effect.tap(slow, () => Effect.forkDetach(Effect.delay(Effect.ignore(run), 20)))
      default:
        return slow
    }
  }
  return {
    longestCircuit: store.longestCircuit,
    deadline: store.deadline,
    connected: store.connected,
    exchange: (exchange) => operate(kindOf(exchange), store.exchange(exchange)),
    page: (since, limit) => operate("page", store.page(since, limit)),
    load: (circuits) => operate("load", store.load(circuits)),
    changes: store.changes.pipe(
      Stream.filter(() => !trouble.deaf),
      Stream.mapEffect(
        (change) => (trouble.late > 0 ? Effect.delay(Effect.succeed(change), trouble.late) : Effect.succeed(change)),
        { concurrency: "unbounded", unordered: true }
      )
    )
  }
}

/** A store in memory that may lose all it has. */
export const wipeable = Effect.gen(function* () {
  const hub = yield* PubSub.unbounded<Change>()
  const { save, store, wipe } = yield* makeControlled
  const forward = Stream.runForEach(store.changes, (change) => PubSub.publish(hub, change))
  yield* Effect.forkScoped(forward, { startImmediately: true })
  const through: SharedStore = { ...store, changes: Stream.fromPubSub(hub) }
  return { store: through, wipe, save, announce: (change: Change) => PubSub.publish(hub, change) }
})
