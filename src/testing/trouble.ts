import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { makeControlled } from "../store/MemoryStore.ts"
import { type Change, type SharedStore, StoreError } from "../store/SharedStore.ts"
import { type Carry, type StoreCommand, wrapped } from "../store/wrapped.ts"

/**
 * The kind of a request to a store: an exchange with swaps, with casts only, or with neither (`heartbeat`), or a read.
 *
 * @category models
 */
export type Operation = "cast" | "swap" | "heartbeat" | "page" | "load" | "digests"

const kindOf = ({ exchange, operation }: StoreCommand<unknown>): Operation => {
  if (operation !== "exchange") return operation
  const { casts = [], swaps = [] } = exchange ?? {}
  return swaps.length > 0 ? "swap" : casts.length > 0 ? "cast" : "heartbeat"
}

/**
 * The faults between a process and the store. Set a field to change them at any time.
 *
 * @category models
 */
export class StoreTrouble {
  /**
   * The fault of each operation. `lost`: the store carries it out and never answers. `twice`: the store carries it out again after 20
   * ms.
   */
  now: "none" | "hang" | "fail" | "die" | "throw" | "lost" | "twice" = "none"
  /** The operations that `now` affects. Empty: all operations. */
  only: ReadonlyArray<Operation> = []
  /** The delay of each operation in milliseconds. Half of the delay passes before the store executes the operation, and half after that. */
  slow = 0
  /** Whether announcements are lost. */
  deaf = false
  /** The delay of announcements in milliseconds. */
  late = 0
  /** All operations of the process so far, including failed ones. */
  asked: Array<Operation> = []
}

/** The store as a process sees it through these faults. */
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

/** A store in memory whose content can be deleted. */
export const wipeable = Effect.gen(function* () {
  const hub = yield* PubSub.unbounded<Change>()
  const { save, store, wipe } = yield* makeControlled
  const forward = Stream.runForEach(store.changes, (change) => PubSub.publish(hub, change))
  yield* Effect.forkScoped(forward, { startImmediately: true })
  const through: SharedStore = { ...store, changes: Stream.fromPubSub(hub) }
  return { store: through, wipe, save, announce: (change: Change) => PubSub.publish(hub, change) }
})
