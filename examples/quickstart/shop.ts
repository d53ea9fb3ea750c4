import * as Http from "node:http"
import { Effect, type Scope } from "effect"

/** How the shop behaves: it answers, returns 503, never answers, or answers again. */
export type Mood = "works" | "fails" | "hangs" | "recovered"

export interface Shop {
  readonly url: string
  readonly mood: () => Mood
  readonly setMood: (mood: Mood) => void
  /** The number of requests that reached the shop, by its mood. */
  readonly requests: Record<Mood, number>
}

/** Starts a real HTTP server on a free port. The scope stops it. */
export const openShop: Effect.Effect<Shop, Error, Scope.Scope> = Effect.gen(function* () {
  let mood: Mood = "works"
  const requests: Record<Mood, number> = { works: 0, fails: 0, hangs: 0, recovered: 0 }
  const server = Http.createServer((_, response) => {
    requests[mood]++
    if (mood === "hangs") return
    response.writeHead(mood === "fails" ? 503 : 200).end()
  })
  const port = yield* Effect.acquireRelease(
    Effect.callback<number, Error>((resume) => {
      server.once("error", (error) => resume(Effect.fail(error)))
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(
          typeof address === "object" && address !== null
            ? Effect.succeed(address.port)
            : Effect.fail(new Error("no port"))
        )
      })
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  return {
    url: `http://127.0.0.1:${port}`,
    mood: () => mood,
    setMood: (next) => {
      mood = next
    },
    requests
  }
})
