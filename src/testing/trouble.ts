import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { makeControlled } from "../store/MemoryStore.ts"
import { type Change, type SharedStore, StoreError } from "../store/SharedStore.ts"
import { type Carry, type StoreCommand, wrapped } from "../store/wrapped.ts"

/** The kind of a request to a store: an exchange with swaps, with casts only, or with neither (`heartbeat`), or a read. */
export type Operation = "cast" | "swap" | "heartbeat" | "page" | "load"

const kindOf = ({ exchange, operation }: StoreCommand<unknown>): Operation => {
  if (operation !== "exchange") return operation
  const { casts = [], swaps = [] } = exchange ?? {}
  return swaps.length > 0 ? "swap" : casts.length > 0 ? "cast" : "heartbeat"
}

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

/** A store as it looks from behind some trouble. */
export const troubled = (store: SharedStore, trouble: StoreTrouble): SharedStore => {
  const carry: Carry = (command) => {
    const { operation, send } = command
    const kind = kindOf(command)
    trouble.asked.push(kind)
    const { only } = trouble
    const now = only.length > 0 && !only.includes(kind) ? "none" : trouble.now
    const run = send(store)
    if (now === "throw") throw new Error("thrown")
    const wait = Effect.sleep(trouble.slow / 2)
    const slow = trouble.slow > 0 ? Effect.andThen(wait, Effect.ensuring(run, wait)) : run
    switch (now) {
      case "hang":
        return Effect.never
      case "fail":
        return Effect.fail(new StoreError({ operation, cause: new Error("refused") }))
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
    ...wrapped(store, carry),
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
