/** What the workers call: it answers, fails, takes long or hangs as its mood says. */
import { Data, Effect } from "effect"
import type { Mood } from "./lines.ts"
import { callTimeoutMillis } from "./policies.ts"

export class Down extends Data.TaggedError("Down")<{ readonly id: number }> {}

const flapMillis = 700

/** Answers the number of the call, or fails with it. */
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
