import { assert, describe } from "@effect/vitest"
import { Effect, Fiber, type Scope } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { Fleet } from "effect-fuse/core"
import { circuitsTable } from "./support/dynamoServer.ts"
import { exchange } from "./support/fleet.ts"
import { fails, standing, standsAt, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { startInstance } from "./support/serverless.ts"
import { areKnown, onDynamo, onRedis, type Place, replicasOn, type WiredPlace } from "./support/storeFleets.ts"

// A platform freezes an instance of a function between invocations, and ends the instance without notice.

const syncInterval = 1_000
const policy = { cooldown: 300_000 }

/** This time is longer than the life of a process without heartbeats. */
const frozenMillis = Fleet.livesFor(syncInterval) + 1_000

type Kind = "Redis" | "DynamoDB"
const kinds: Readonly<Record<Kind, Effect.Effect<WiredPlace, never, Scope.Scope>>> = {
  Redis: onRedis(),
  DynamoDB: onDynamo()
}

const living = ({ admin }: Place) => Effect.map(Effect.orDie(exchange(admin)), ({ live }) => live)

describe.each(Object.keys(kinds) as ReadonlyArray<Kind>)("an instance of a function, with %s", (kind) => {
  const given = (others = 2) =>
    Effect.gen(function* () {
      const place = yield* kinds[kind]
      const instance = yield* startInstance({
        ...{ store: kind, url: kind === "Redis" ? place.wire.url : place.wire.url.replace("redis:", "http:") },
        ...{ table: circuitsTable, syncInterval, policy }
      })
      const replicas = yield* replicasOn(place, others, { syncInterval, policy })
      return { place, instance, replicas }
    })

  /** Makes failing calls in `replicas` until the fleet opens the circuit. */
  const opened = (replicas: ReadonlyArray<Parameters<typeof fails>[0]>, circuit = "api") =>
    until(
      "the fleet has opened the circuit",
      Effect.gen(function* () {
        for (const one of replicas) yield* fails(one, { circuit })
        const seen = yield* Effect.forEach(replicas, (one) => standing(one, { circuit }))
        return seen.every((one) => one === "Open (fleet)")
      })
    )

  live(
    "that starts knows which circuits are open before its first call",
    Effect.gen(function* () {
      const { instance, replicas } = yield* given()
      for (const one of replicas) yield* works(one)
      yield* opened(replicas)
      yield* replicas[0]?.run(CircuitBreaker.isolate("forced")) ?? Effect.void
      yield* Effect.sleep(200)
      const first = yield* instance.invoke({})
      assert.deepStrictEqual(first.got, ["Cooldown (fleet)"])
      assert.deepStrictEqual((yield* instance.invoke({ circuit: "forced" })).got, ["Isolated (fleet)"])
    }),
    60_000
  )

  live(
    "that is frozen delays an opening at most for its life, and learns of the opening after the thaw",
    Effect.gen(function* () {
      const { instance, place, replicas } = yield* given()
      assert.deepStrictEqual((yield* instance.invoke({ calls: 10 })).got, Array(10).fill("ok"))
      for (const one of replicas) yield* works(one)
      yield* areKnown(place, 3)
      yield* instance.freeze
      yield* opened(replicas)
      // From here on, the instance stays frozen for longer than its life, even on a busy machine.
      yield* Effect.sleep(frozenMillis)
      assert.strictEqual(yield* living(place), 2)
      yield* instance.thaw
      // Calls do not wait for the store. Some calls may pass before the store answers.
      const got: Array<string> = []
      yield* until(
        "the instance knows of the opening",
        Effect.gen(function* () {
          const { got: some, standing } = yield* instance.invoke({})
          got.push(...some)
          return standing === "Open (fleet)"
        })
      )
      assert.isAtMost(got.filter((one) => one === "ok").length, 50, got.join())
      yield* until(
        "all three processes are live",
        Effect.map(living(place), (n) => n === 3)
      )
    }),
    60_000
  )

  const ways = {
    "after it had sent its ballot": false,
    "while it sent its ballot": true
  }
  for (const [when, isHeld] of Object.entries(ways))
    live(
      `that failed and was frozen ${when} does not open the circuit with its old failures`,
      Effect.gen(function* () {
        const { instance, place, replicas } = yield* given(1)
        yield* instance.invoke({ calls: 20 })
        for (const one of replicas) yield* works(one)
        yield* areKnown(place, 2)
        if (isHeld) yield* place.wire.hang
        const before = yield* instance.invoke({ finds: "down", calls: 4 })
        if (!isHeld) yield* Effect.sleep(200)
        assert.deepStrictEqual(before, { got: Array(4).fill("down"), standing: "Closed (local)", openings: 0 })
        yield* instance.freeze
        yield* place.wire.mend
        yield* Effect.sleep(frozenMillis)
        // The other processes fail while the instance is frozen. Two failures are too few to open the circuit.
        for (const one of replicas) for (let i = 0; i < 2; i++) assert.strictEqual(yield* fails(one), "down")
        // A platform thaws an instance for an invocation. The instance makes its calls first.
        const invocation = yield* Effect.forkChild(instance.invoke({ calls: 20 }), { startImmediately: true })
        yield* instance.thaw
        const after = yield* Fiber.join(invocation)
        assert.deepStrictEqual(after.got, Array(20).fill("ok"))
        yield* Effect.sleep(2 * syncInterval)
        for (const one of replicas) assert.strictEqual(yield* standing(one), "Closed (local)")
        assert.strictEqual((yield* instance.invoke({})).standing, "Closed (local)")
      }),
      60_000
    )

  live(
    "that opened the circuit alone and was frozen does not open it for other processes after the thaw",
    Effect.gen(function* () {
      const { instance, place, replicas } = yield* given()
      yield* instance.invoke({ calls: 20 })
      for (const one of replicas) for (let i = 0; i < 20; i++) yield* works(one)
      yield* areKnown(place, 3)
      const before = yield* instance.invoke({ finds: "down", calls: 8 })
      assert.strictEqual(before.standing, "Open (local)")
      yield* instance.freeze
      yield* Effect.sleep(frozenMillis)
      yield* instance.thaw
      yield* instance.invoke({})
      for (let i = 0; i < 20; i++) {
        for (const one of replicas) assert.strictEqual(yield* works(one), "ok")
        yield* Effect.sleep(100)
      }
      for (const one of replicas) assert.strictEqual(yield* standing(one), "Closed (local)")
    }),
    60_000
  )

  live(
    "that is frozen repeatedly for less than its life takes part in the votes of the fleet",
    Effect.gen(function* () {
      const { instance, place, replicas } = yield* given(1)
      yield* instance.invoke({ calls: 20 })
      for (const one of replicas) yield* works(one)
      yield* areKnown(place, 2)
      yield* until(
        "the instance and the other process have opened the circuit together",
        Effect.gen(function* () {
          yield* instance.freeze
          yield* Effect.sleep(300)
          yield* instance.thaw
          const { standing: own } = yield* instance.invoke({ finds: "down" })
          for (const one of replicas) yield* fails(one)
          yield* Effect.sleep(100)
          const others = yield* Effect.forEach(replicas, (one) => standing(one))
          return [own, ...others].every((one) => one === "Open (fleet)")
        })
      )
    }),
    60_000
  )

  live(
    "that ends without notice leaves the fleet after its life, and its opened circuit stays open",
    Effect.gen(function* () {
      const { instance, place, replicas } = yield* given(1)
      yield* instance.invoke({ calls: 5 })
      for (const one of replicas) yield* works(one)
      yield* areKnown(place, 2)
      yield* until(
        "the instance and the other process have opened the circuit together",
        Effect.gen(function* () {
          const { standing: own } = yield* instance.invoke({ finds: "down" })
          for (const one of replicas) yield* fails(one)
          return own === "Open (fleet)"
        })
      )
      yield* instance.kill
      yield* until(
        "one process is live",
        Effect.map(living(place), (n) => n === 1)
      )
      yield* standsAt(replicas, "Open (fleet)")
      for (const one of replicas) assert.strictEqual(yield* works(one), "Cooldown (fleet)")
    }),
    60_000
  )
})
