import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { databases, on, onOwn } from "./support/databases.ts"
import { fails, standing, standsAt } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { replica, say } from "./support/sqlFleet.ts"

describe("Circuits in PostgreSQL", () => {
  const { place } = onOwn("PostgreSQL")
  const unicode = (from: number) =>
    Array.from({ length: 500 }, (_, i) => String.fromCharCode(from + ((i * 7919) % 20_000))).join("")

  live(
    "whose names are too long for an index stay local, and the other circuits are shared",
    Effect.gen(function* () {
      const { open } = yield* place
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      const call = { circuit: unicode(0x4e00), key: unicode(0x4f00) }
      yield* a.run(CircuitBreaker.isolate(call.circuit, { key: call.key }))
      assert.strictEqual(yield* standing(a, call), "Isolated (local)")
      for (let i = 0; i < 3; i++) yield* fails(b, call)
      yield* a.run(CircuitBreaker.isolate("short"))
      yield* standsAt([b], "Isolated (fleet)", { circuit: "short" })
      assert.strictEqual(yield* standing(b, call), "Closed (local)")
    })
  )

  live(
    "can have a long name and a long reason",
    Effect.gen(function* () {
      const { open } = yield* place
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      const circuit = "é".repeat(400)
      yield* a.run(CircuitBreaker.isolate(circuit, { reason: "x".repeat(6_500) }))
      yield* standsAt([b], "Isolated (fleet)", { circuit })
    })
  )
})

describe("A database with the encoding LATIN1", () => {
  const { connect, place } = onOwn("PostgreSQL")

  live(
    "stores records with any reason, and the other records of the same exchange",
    Effect.gen(function* () {
      const { open, url } = yield* place
      const name = `${url.replace(/.*\//, "")}_latin`
      const admin = yield* open
      yield* Effect.acquireRelease(
        say(admin, `CREATE DATABASE ${name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`),
        () => Effect.ignoreCause(say(admin, `DROP DATABASE ${name} WITH (FORCE)`))
      )
      const latin = connect(url.replace(/[^/]*$/, name))
      const [a, b] = [yield* replica(yield* latin), yield* replica(yield* latin)]
      const reasons = { plain: "plain", greek: "σφάλμα", smile: "down \u{1f622}", half: "\ud83d", zero: "a\u0000b" }
      yield* Effect.forEach(
        Object.entries(reasons),
        ([circuit, reason]) => a.run(CircuitBreaker.isolate(circuit, { reason })),
        { concurrency: "unbounded" }
      )
      for (const circuit of Object.keys(reasons)) yield* standsAt([b], "Isolated (fleet)", { circuit })
      const { cause } = yield* b.run(CircuitBreaker.inspect("greek"))
      assert.strictEqual(cause?.detail, reasons.greek)
    })
  )
})

describe.each(databases)("A record in %s", (database) => {
  const { place } = on(database)

  live(
    "with an actor that is far too long is truncated, and does not block other records",
    Effect.gen(function* () {
      const { open } = yield* place
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      const much = "x".repeat(20_000_000)
      const circuits = ["one", "two", "three"]
      yield* Effect.forEach(
        circuits,
        (circuit) => a.run(CircuitBreaker.isolate(circuit, circuit === "two" ? { actor: much, reason: "drill" } : {})),
        { concurrency: "unbounded" }
      )
      for (const circuit of circuits) yield* standsAt([b], "Isolated (fleet)", { circuit })
      const { cause } = yield* b.run(CircuitBreaker.inspect("two"))
      assert.deepStrictEqual([cause?.detail, cause?.actor?.length], ["drill", 10_000])
    })
  )
})
