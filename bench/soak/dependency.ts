/** The dependency of the workers. It answers, fails, is slow or hangs, according to its mood. */
import { Data, Effect } from "effect"
import type { Mood } from "./lines.ts"
import { callTimeoutMillis } from "./policies.ts"

export class Down extends Data.TaggedError("Down")<{ readonly id: number }> {}

const flapMillis = 700

/** Succeeds or fails with the number of the call. */
export const answer = (mood: Mood, id: number): Effect.Effect<number, Down | { readonly _tag: "TimeoutError" }> => {
  const fails =
    mood === "down" ||
    (mood === "flapping" && Math.floor(performance.now() / flapMillis) % 2 === 0) ||
    (mood === "partly" && Math.random() < 0.4)
  const end = fails ? Effect.fail(new Down({ id })) : Effect.succeed(id)
  if (mood === "hanging") return Effect.timeout(Effect.never, callTimeoutMillis)
  const millis = mood === "slow" ? 200 + Math.random() * 150 : 1 + Math.random() * 10
  return Effect.delay(end, millis)
}
