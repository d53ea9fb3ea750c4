import * as Effect from "effect/Effect"
import * as Redis from "effect/persistence/Redis"
import * as Stream from "effect/Stream"
import { detached } from "../connection/detached.ts"
import { listening, type Times } from "../connection/listening.ts"
import { fromText } from "../store/announcementText.ts"
import type { Change } from "../store/SharedStore.ts"

/** The changes that a message announces. One exchange publishes all of its announcements in one message, a list of texts in JSON. */
const toChanges = (message: string): ReadonlyArray<Change> => {
  try {
    const found: unknown = JSON.parse(message)
    const texts = Array.isArray(found) ? found.filter((one) => typeof one === "string") : []
    return texts.map(fromText).filter((change) => change !== undefined)
  } catch {
    return []
  }
}

/** What other processes announce on a channel. The stream fails if its connection is silent. */
export const announcements = (
  redis: Redis.Redis["Service"],
  channel: string,
  times?: Times
): Stream.Stream<Change, Redis.RedisError> => {
  const publishNothing = redis.send("PUBLISH", channel, "[]")
  const silent = (cause: Error) => new Redis.RedisError({ cause })
  const audible = listening<Redis.RedisMessage, Redis.RedisError>("Redis", publishNothing, silent, times)
  return Stream.unwrap(
    Effect.map(detached(redis.subscribe(channel)), (messages) => audible(Stream.fromQueue(messages)))
  ).pipe(Stream.flatMap(({ message }) => Stream.fromIterable(toChanges(message))))
}
