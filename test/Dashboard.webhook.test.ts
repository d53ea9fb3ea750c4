import { createServer } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { Change, TransitionView } from "../src/dashboard/view.ts"
import { makeNews, makeWebhook } from "../src/dashboard/webhook.ts"
import { circuitId } from "../src/store/codec.ts"
import { until } from "./support/redisFleet.ts"

const move = (at: number, name: string, from: TransitionView["from"], to: TransitionView["to"]): TransitionView => ({
  ...{ at, name, key: undefined, from, to, why: undefined, actor: undefined }
})

const change = (transitions: ReadonlyArray<TransitionView>): Change => ({
  ...{ at: 0, source: { kind: "fleet", label: "", problem: undefined }, processes: 1, reporting: 1, leftOut: 0 },
  ...{ circuits: [], gone: [], transitions, sample: undefined }
})

describe("the news of transitions", () => {
  it.each<readonly [string, ReadonlyArray<TransitionView>, ReadonlyArray<string>]>([
    [
      "the beginning and the end of an outage are news",
      [
        move(10_000, "api", "Closed", "Open"),
        move(20_000, "api", "Open", "HalfOpen"),
        move(20_100, "api", "HalfOpen", "Open"),
        move(80_000, "api", "HalfOpen", "Closed")
      ],
      ["api is open", "api is closed again after 1 min 10 s"]
    ],
    [
      "an override is news once, with its operator and reason",
      [
        { ...move(10, "api", "Closed", "Isolated"), actor: "ann", why: "drill" },
        { ...move(11, "api", "Isolated", "Isolated"), actor: "bob", why: "drill" },
        { ...move(12, "api", "Isolated", "Closed"), actor: "ann" }
      ],
      ["api was isolated by ann: drill", "api was released by ann"]
    ],
    [
      "the end of an earlier outage is news, but its beginning is not",
      [move(-5_000, "api", "Closed", "Open"), move(5_000, "api", "Open", "Closed")],
      ["api is closed again after 10 s"]
    ],
    [
      "an outage is news even if the end of the previous one was not seen",
      [
        move(10_000, "api", "Closed", "Open"),
        move(90_000, "api", "Closed", "Open"),
        move(95_000, "api", "Open", "Closed")
      ],
      ["api is open", "api is open", "api is closed again after 5 s"]
    ],
    [
      "each key has outages of its own",
      [
        { ...move(10, "api", "Closed", "Open"), key: "a" },
        { ...move(10, "api", "Closed", "Open"), key: "b" }
      ],
      ["api [a] is open", "api [b] is open"]
    ],
    [
      "foreign text is escaped and bounded",
      [{ ...move(10, "<!channel>", "Closed", "Open"), why: `<https://evil.test|click> & ${"x".repeat(5_000)}` }],
      [`&lt;!channel&gt; is open: &lt;https://evil.test|click&gt; &amp; ${"x".repeat(172)}…`]
    ]
  ])("%s", (_, transitions, lines) => {
    assert.deepStrictEqual(makeNews(0).of(transitions), lines)
  })
})

describe("the memory of the news", () => {
  const keyed = (i: number, from: TransitionView["from"], to: TransitionView["to"]): TransitionView => ({
    ...move(10 + i, "api", from, to),
    key: `k${i}`
  })
  const thousands = Array.from({ length: 15_000 }, (_, i) => i)

  it("forgets circuits whose record ended without a transition", () => {
    const news = makeNews(0)
    news.of(thousands.slice(0, 4_000).map((i) => keyed(i, "Closed", "Open")))
    news.of(thousands.slice(4_000, 6_000).map((i) => keyed(i, "Closed", "Isolated")))
    assert.strictEqual(news.size(), 6_000)
    const left = new Set([circuitId("api", "k1"), circuitId("api", "k4001")])
    news.keep(left)
    assert.strictEqual(news.size(), 2)
    // One outage is still in memory. Its end is reported.
    assert.deepStrictEqual(news.of([keyed(1, "HalfOpen", "Open"), keyed(1, "HalfOpen", "Closed")]), [
      "api [k1] is closed again after 0 s"
    ])
  })

  it("is limited, and forgets the oldest first", () => {
    const news = makeNews(0)
    for (const i of thousands) news.of([keyed(i, "Closed", "Open")])
    assert.strictEqual(news.size(), 10_000)
    assert.deepStrictEqual(news.of([keyed(0, "HalfOpen", "Closed"), keyed(14_999, "HalfOpen", "Closed")]), [
      "api [k14999] is closed again after 0 s"
    ])
  })

  it.live("is cleaned with each sample", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* receiver([])
      const hear = yield* makeWebhook(url)
      const at = Date.now() + 1
      yield* hear({ ...change([move(at, "api", "Closed", "Open")]), sample: [] }, [])
      // The circuit has no record, so the end of its outage is not news.
      yield* hear(change([move(at + 1, "api", "HalfOpen", "Closed"), move(at + 2, "mail", "Closed", "Open")]), [])
      yield* until(
        "the webhook has received a message",
        Effect.sync(() => heard.length > 0)
      )
      assert.deepStrictEqual(heard, ["api is open\nmail is open"])
    })
  )
})

/** A webhook that answers these statuses, and then 200. */
const receiver = (statuses: Array<number>) =>
  Effect.gen(function* () {
    const heard: Array<string> = []
    const server = createServer((request, response) => {
      let body = ""
      request.on("data", (data) => {
        body += data
      })
      request.on("end", () => {
        heard.push(JSON.parse(body).text)
        response.writeHead(statuses.shift() ?? 200).end()
      })
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () => Effect.sync(() => server.close())
    )
    const address = server.address()
    const port = typeof address === "object" ? address?.port : 0
    return { heard, url: Redacted.make(`http://127.0.0.1:${port}/secret-path`) }
  })

describe("the webhook", () => {
  it.live("receives simultaneous changes in one message", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* receiver([])
      const hear = yield* makeWebhook(url)
      const at = Date.now() + 1
      yield* hear(change(Array.from({ length: 40 }, (_, i) => move(at, `c${i}`, "Closed", "Open"))), [])
      yield* until(
        "the webhook has received a message",
        Effect.sync(() => heard.length > 0)
      )
      assert.match(heard[0] ?? "", /^c0 is open\nc1 is open\n[\s\S]*\nand 30 more changes$/)
      assert.strictEqual(heard.length, 1)
    })
  )

  it.live("receives a message a second time if it refuses the first request", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* receiver([500])
      const hear = yield* makeWebhook(url)
      yield* hear(change([move(Date.now() + 1, "api", "Closed", "Open")]), [])
      yield* until(
        "the webhook has received two messages",
        Effect.sync(() => heard.length === 2)
      )
      assert.deepStrictEqual(heard, ["api is open", "api is open"])
    })
  )
})
