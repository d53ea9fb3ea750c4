import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { Change, SharedStore } from "../SharedStore.ts"
import { exchange } from "./exchange.ts"
import { digests, load, page } from "./reads.ts"
import { emptyState } from "./records.ts"

/** A memory store, and its state, which can be replaced. */
export const memoryStore = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const announcements = yield* PubSub.sliding<Change>(4_096)
  const now = () => clock.currentTimeMillisUnsafe()
  const newLife = () => random.nextDoubleUnsafe().toString(36).slice(2)
  const announce = (change: Change) => void PubSub.publishUnsafe(announcements, change)
  const memory = { state: emptyState() }
  const store: SharedStore = {
    exchange: (request) => Effect.sync(() => exchange(memory.state, request, { time: now(), newLife, announce })),
    page: (since, limit) => Effect.sync(() => page(memory.state, since, limit, now())),
    load: (circuits) => Effect.sync(() => load(memory.state, circuits, now())),
    digests: (after) => Effect.sync(() => digests(memory.state, after, now())),
    changes: Stream.fromPubSub(announcements)
  }
  return { memory, store }
})
