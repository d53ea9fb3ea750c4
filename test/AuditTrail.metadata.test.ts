import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { BreakerStore, CircuitBreaker } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import { audited } from "./support/audited.ts"
import { databases, on } from "./support/databases.ts"
import { live } from "./support/redisLive.ts"
import { sqlite } from "./support/sqlite.ts"
import { capture, type Line, play } from "./support/verbs.ts"
import { wild } from "./support/wild.ts"

describe.each(databases)("metadata in %s", (database) => {
  const { place } = on(database)

  live(
    "is what a function returns for each event, with text unchanged",
    Effect.gen(function* () {
      const { open } = yield* place
      const metadata: AuditTrail.Options["metadata"] = ({ at, circuit, from, to, why }) => ({
        move: `${circuit}: ${from} to ${to}`,
        why,
        isLate: at > Date.now(),
        words: wild
      })
      const program = Effect.gen(function* () {
        yield* play("FF")
        yield* CircuitBreaker.isolate("mail")
        yield* AuditTrail.flush
        const [opened] = yield* AuditTrail.history("api")
        const [isolated] = yield* AuditTrail.history("mail")
        const more = { isLate: false, words: JSON.parse(JSON.stringify(wild)) }
        assert.deepStrictEqual(opened?.metadata, { move: "api: Closed to Open", why: "Tripped", ...more })
        assert.deepStrictEqual(isolated?.metadata, { move: "mail: Closed to Isolated", why: "Isolated", ...more })
      })
      yield* Effect.provideContext(program, yield* audited(yield* open, { metadata }))
    })
  )
})

const cyclic: Record<string, unknown> = {}
cyclic["self"] = cyclic

const fails = (): never => {
  throw new Error("no metadata")
}

/** What a function may do instead of answering what JSON can hold. */
const wrong: ReadonlyArray<readonly [what: string, metadata: () => unknown]> = [
  ["throws", fails],
  [
    "throws nothing",
    () => {
      throw undefined
    }
  ],
  ["answers a bigint", () => ({ id: 1n })],
  ["answers a cycle", () => cyclic],
  ["answers a function", () => fails],
  ["answers a symbol", () => Symbol("x")],
  ["answers what cannot be converted", () => ({ toJSON: fails })],
  [
    "answers an accessor that throws",
    () => ({
      get region() {
        return fails()
      }
    })
  ]
]

describe("A function for metadata that", () => {
  const lines: Array<Line> = []
  const warnings = () => lines.filter(({ message }) => /metadata/.test(message))

  for (const [what, metadata] of wrong) {
    it.live(`${what} loses no event, and is named in the log once`, () => {
      lines.length = 0
      const trail = AuditTrail.layer({ flushInterval: 0, metadata: () => metadata() })
      const program = Effect.gen(function* () {
        yield* play("FFFFF", { name: "a" })
        for (let i = 0; i < 3; i++) {
          yield* CircuitBreaker.isolate("b")
          yield* CircuitBreaker.release("b")
        }
        yield* AuditTrail.flush
        const all = yield* AuditTrail.latest()
        assert.strictEqual(all.length, 7)
        assert.deepStrictEqual(
          all.map((line) => line.metadata),
          all.map(() => undefined)
        )
        assert.deepInclude(yield* AuditTrail.stats, { written: 7, dropped: 0 })
        yield* Effect.sleep(1)
        assert.deepStrictEqual(
          warnings().map(({ level }) => level),
          ["Warn"]
        )
      })
      return capture(
        lines,
        Effect.provide(program, Layer.provideMerge(trail, Layer.merge(BreakerStore.layerMemory, sqlite(":memory:"))))
      )
    })
  }

  it.live("returns nothing for an event leaves that entry without metadata, and logs nothing", () => {
    lines.length = 0
    const metadata = ({ to }: { readonly to: string }) => (to === "Isolated" ? { by: "hand" } : undefined)
    const program = Effect.gen(function* () {
      yield* CircuitBreaker.isolate("a")
      yield* CircuitBreaker.release("a")
      yield* AuditTrail.flush
      const all = yield* AuditTrail.latest()
      assert.deepStrictEqual(
        all.map((line) => line.metadata),
        [undefined, { by: "hand" }]
      )
      assert.deepStrictEqual(warnings(), [])
    })
    const trail = AuditTrail.layer({ flushInterval: 0, metadata })
    return capture(
      lines,
      Effect.provide(program, Layer.provideMerge(trail, Layer.merge(BreakerStore.layerMemory, sqlite(":memory:"))))
    )
  })
})
