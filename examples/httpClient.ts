/** An HttpClient with a circuit for each origin. One server fails, and calls to the other continue. */
import { createServer } from "node:http"
import { Duration, Effect, Layer, Logger } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { BreakerPolicy, BreakerStore, Trip } from "effect-fuse"
import { HttpClientBreaker } from "effect-fuse/http"

const serve = (status: number) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly origin: string; readonly stop: () => void }>((resume) => {
      const server = createServer((_, response) => response.writeHead(status, { "retry-after": "120" }).end("hello"))
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" ? address?.port : undefined
        const stop = () => {
          server.close()
          server.closeAllConnections()
        }
        resume(Effect.succeed({ origin: `http://127.0.0.1:${port}`, stop }))
      })
    }),
    ({ stop }) => Effect.sync(stop)
  )

const program = Effect.gen(function* () {
  const good = yield* serve(200)
  const bad = yield* serve(503)
  const client = HttpClientBreaker.protect(yield* HttpClient.HttpClient, "http")

  for (let i = 0; i < 3; i++) {
    const said = yield* client.get(bad.origin).pipe(
      Effect.map(({ status }) => `answered ${status}`),
      Effect.catchTag("CircuitOpen", ({ retryAfter }) =>
        Effect.succeed(`not asked, for ${Math.round(Duration.toMinutes(retryAfter))} minutes`)
      )
    )
    console.log("the bad one:", said)
  }
  console.log("the good one:", yield* Effect.flatMap(client.get(good.origin), ({ text }) => text))
})

const services = Layer.mergeAll(
  BreakerStore.layerMemory,
  BreakerPolicy.layer({ breakers: { http: { trip: Trip.consecutive(2) } } }),
  FetchHttpClient.layer,
  Logger.layer([])
)
await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(services)))
