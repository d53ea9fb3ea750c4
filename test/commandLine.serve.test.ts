import { createServer } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Operator from "effect-fuse/Operator"
import * as RedisStore from "effect-fuse/RedisStore"
import { runs, start } from "./support/commandLine.ts"
import { connection, until } from "./support/redisFleet.ts"
import { redisServer } from "./support/redisServer.ts"

const secret = "hooks-secret-path"

describe("effect-fuse serve", () => {
  it.live("rejects invalid flags by name, and does not show the secret", () =>
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const refused = (code: number, says: RegExp, ...args: ReadonlyArray<string>) =>
        Effect.map(runs(code, ["serve", "--redis", url, ...args]), ({ error }) => {
          assert.match(error, says)
          assert.notInclude(error, secret)
        })
      yield* refused(1, /--token: expected at least 12/, "--token", "short")
      yield* refused(1, /--webhook: expected a URL/, "--webhook", `ftp://host/${secret}`)
      yield* refused(1, /--port/, "--port", "70000")
      yield* refused(1, /--link/, "--link", "Metrics=javascript:alert(1)")
      yield* refused(1, /--link/, "--link", "https://metrics.example/{name}")
      yield* refused(1, new RegExp(`Cannot listen on port ${port}`), "--port", String(port))
      yield* runs(2, ["serve", "--redis", "redis://127.0.0.1:1", "--timeout", "1s", "--port", "0"])
    })
  )

  it.live("sends an override to a webhook, and ends at a signal", () =>
    Effect.gen(function* () {
      const { url } = yield* redisServer
      const redis = yield* connection(url)
      const store = yield* Effect.orDie(Effect.provideContext(RedisStore.make({}), redis))
      yield* Effect.orDie(Operator.isolate(store, "before"))
      const heard: Array<string> = []
      const server = createServer((request, response) => {
        request.on("data", (data) => heard.push(JSON.parse(String(data)).text))
        request.on("end", () => response.end())
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => {
          server.listen(0, "127.0.0.1", () => resume(Effect.void))
        }),
        () => Effect.sync(() => server.close())
      )
      const address = server.address()
      const hook = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/${secret}`
      const served = yield* start(["serve", "--redis", url, "--port", "0", "--webhook", hook])
      yield* until(
        "the page is served",
        Effect.sync(() => /http:\/\/\S+/.test(served.out()))
      )
      const page = /http:\/\/\S+/.exec(served.out())?.[0] ?? ""
      // Circuits in the first read of the store are not news for the webhook.
      yield* until(
        "the store is read",
        Effect.promise(async () => {
          const response = await fetch(`${page}api/circuit?id=before`)
          return response.status === 200
        })
      )
      yield* Effect.orDie(Operator.isolate(store, "api", { reason: "maintenance", actor: "ann" }))
      yield* until(
        "the webhook received the override",
        Effect.sync(() => heard.length > 0)
      )
      assert.deepStrictEqual(heard, ["api was isolated by ann: maintenance"])
      yield* served.signal("SIGTERM")
      const { error, out } = yield* served.ended
      assert.notInclude(out + error, secret)
    })
  )
})
