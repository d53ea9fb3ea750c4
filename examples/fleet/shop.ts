/** The dependency of the fleet: a real HTTP server whose mood the demonstration sets. */
import * as Http from "node:http"
import { Effect, type Scope } from "effect"

/** The shop answers, returns 503, or answers after half a second. */
export type Mood = "works" | "fails" | "slow"

export interface Shop {
  readonly url: string
  readonly mood: () => Mood
  readonly setMood: (mood: Mood) => void
  /** The number of requests since the mood was set, and the number of them before the first answer. */
  readonly seen: () => { readonly requests: number; readonly beforeAnswer: number }
}

/** Starts the shop. The scope stops it. */
export const openShop: Effect.Effect<Shop, never, Scope.Scope> = Effect.gen(function* () {
  let mood: Mood = "works"
  let seen = { requests: 0, beforeAnswer: 0, answered: false }
  const server = Http.createServer((_, response) => {
    const now = seen
    now.requests++
    if (!now.answered) now.beforeAnswer = now.requests
    const answer = () => {
      now.answered = true
      response.end()
    }
    if (mood === "fails") response.statusCode = 503
    if (mood === "slow") setTimeout(answer, 500)
    else answer()
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    mood: () => mood,
    setMood: (next) => {
      mood = next
      seen = { requests: 0, beforeAnswer: 0, answered: false }
    },
    seen: () => seen
  }
})
