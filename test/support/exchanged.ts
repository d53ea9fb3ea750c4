import { Effect } from "effect"
import type { SharedStore } from "effect-fuse"

const lives = new WeakMap<SharedStore.SharedStore, string>()

/**
 * An exchange that is carried out. By default it is a heartbeat of a voter "v" that lives for a minute, in the life that the store
 * answered last.
 */
export const exchanged = (store: SharedStore.SharedStore, request: Partial<SharedStore.Exchange> = {}) =>
  Effect.flatMap(
    store.exchange({
      voter: "v",
      ttl: 60_000,
      notAfter: undefined,
      heard: 0,
      life: lives.get(store),
      floor: 0,
      casts: [],
      swaps: [],
      ...request
    }),
    (answer) => {
      if (answer._tag !== "Done") return Effect.die(new Error("the exchange was late"))
      lives.set(store, answer.life)
      return Effect.succeed(answer)
    }
  )
