import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { onOwn } from "./support/databases.ts"
import { standsAt, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { ask, connect, listen, replica, say } from "./support/sqlFleet.ts"

const never = { syncInterval: "5 minutes" } as const

describe("Fleets in one PostgreSQL", () => {
  const { place } = onOwn("PostgreSQL")

  for (const [what, one, other] of [
    [
      "schemas and prefixes that are the same when joined",
      { schema: "a", prefix: "b_c" },
      { schema: "a_b", prefix: "c" }
    ],
    ["a schema and a prefix that begins with the same letter", { schema: "a", prefix: "c" }, { prefix: "a_c" }]
  ] as const) {
    live(
      `with ${what} do not share circuits`,
      Effect.gen(function* () {
        const { open } = yield* place
        const sql = yield* open
        for (const schema of ["a", "a_b"]) yield* say(sql, `CREATE SCHEMA ${schema}`)
        const a = yield* replica(yield* open, { ...never, ...one })
        const second = yield* replica(yield* open, { ...never, ...one })
        const b = yield* replica(yield* open, { ...never, ...other })
        yield* listen(sql, 3)
        yield* a.run(CircuitBreaker.isolate("api"))
        yield* standsAt([second], "Isolated (fleet)")
        yield* Effect.sleep(200)
        assert.strictEqual(yield* works(b), "ok")
      })
    )
  }

  live(
    "with two default schemas do not share circuits",
    Effect.gen(function* () {
      const { open, url } = yield* place
      const sql = yield* open
      for (const name of ["one", "two"]) {
        yield* say(sql, `CREATE SCHEMA ${name}`)
        const role = url.replace(/.*\//, `${name}_`)
        yield* Effect.acquireRelease(say(sql, `CREATE ROLE ${role} LOGIN SUPERUSER`), () =>
          Effect.andThen(say(sql, `DROP OWNED BY ${role} CASCADE`), say(sql, `DROP ROLE ${role}`))
        )
        yield* say(sql, `ALTER ROLE ${role} SET search_path TO ${name}`)
      }
      const as = (name: string) => connect(url.replace("postgres@", `${url.replace(/.*\//, `${name}_`)}@`))
      const a = yield* replica(yield* as("one"), never)
      const second = yield* replica(yield* as("one"), never)
      const b = yield* replica(yield* as("two"), never)
      yield* listen(sql, 3)
      yield* a.run(CircuitBreaker.isolate("api"))
      yield* standsAt([second], "Isolated (fleet)")
      yield* Effect.sleep(200)
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM two.circuit_breakers"), 0)
      assert.strictEqual(yield* works(b), "ok")
    })
  )

  live(
    "share circuits with the longest schema and prefix that are allowed",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const longest = { schema: "s".repeat(40), prefix: "p".repeat(40) }
      yield* say(sql, `CREATE SCHEMA ${longest.schema}`)
      const [a, b] = [yield* replica(yield* open, longest), yield* replica(yield* open, longest)]
      yield* a.run(CircuitBreaker.isolate("api"))
      yield* standsAt([b], "Isolated (fleet)")
    })
  )
})
