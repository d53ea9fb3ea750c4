import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger } from "effect"
import { CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import {
  type Connection,
  connection,
  fails,
  hangs,
  living,
  replica,
  send,
  sharedStore,
  standing,
  standsAt,
  trip,
  until,
  works
} from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisProxy } from "./support/redisProxy.ts"
import { client, redisServer } from "./support/redisServer.ts"
import { areTogether, isUnharmed } from "./support/unharmed.ts"

const both = (redis: Connection) =>
  until(
    "both are heard of",
    Effect.map(living(redis), (n) => n === 2)
  )

const ofOpening = (redis: Connection, circuit = "api") =>
  Effect.gen(function* () {
    const [record] = (yield* (yield* sharedStore(redis)).load([circuit])).records
    return record === undefined ? undefined : JSON.parse(record.body).state
  })

describe("Redis that", () => {
  live(
    "crashes takes nothing from callers, and comes back empty to a fleet that goes on",
    Effect.gen(function* () {
      const server = yield* redisServer
      const redis = yield* connection(server.url)
      const lines: Array<string> = []
      const logger = Logger.make(({ message }) => void lines.push(String(message)))
      const logged = Effect.provide(replica(redis), Logger.layer([logger]))
      const [a, b] = [yield* logged, yield* logged]
      yield* both(redis)
      yield* a.run(CircuitBreaker.open("before", { for: "1 minute" }))
      yield* a.run(CircuitBreaker.isolate("forced", { reason: "drill" }))
      yield* standsAt([b], "Open (fleet)", { circuit: "before" })
      yield* standsAt([b], "Isolated (fleet)", { circuit: "forced" })
      yield* server.kill
      yield* isUnharmed(a, b, "meanwhile")
      yield* b.run(CircuitBreaker.isolate("forced meanwhile"))
      // A store that is away for less than half a second is not down.
      yield* until(
        "both do without the store",
        Effect.sync(() => lines.filter((line) => line.includes("does not answer")).length === 2)
      )
      yield* server.start
      yield* until(
        "both are back",
        Effect.catchCause(
          Effect.map(living(redis), (n) => n === 2),
          () => Effect.succeed(false)
        )
      )
      yield* areTogether([a, b], "afterwards")
      // What was open is open, what was forced is forced, also for who comes new.
      const fresh = yield* replica(redis)
      for (const one of [a, b]) assert.strictEqual(yield* works(one, { circuit: "before" }), "Cooldown (fleet)")
      yield* standsAt([a, b, fresh], "Isolated (fleet)", { circuit: "forced" })
      yield* standsAt([a, b, fresh], "Isolated (fleet)", { circuit: "forced meanwhile" })
      // What one saw while it was alone, it keeps to itself.
      assert.strictEqual(yield* standing(a, { circuit: "meanwhile" }), "Open (local)")
      assert.strictEqual(yield* works(b, { circuit: "meanwhile" }), "ok")
      assert.strictEqual(yield* works(fresh, { circuit: "meanwhile" }), "ok")
      assert.deepStrictEqual(yield* send(redis, "KEYS *until:meanwhile*"), [])
    })
  )

  live(
    "stops and goes on takes nothing from callers",
    Effect.gen(function* () {
      const server = yield* redisServer
      const redis = yield* connection(server.url)
      const [a, b] = [yield* replica(redis), yield* replica(redis)]
      yield* both(redis)
      yield* areTogether([a, b], "before")
      yield* server.pause
      // All of these end while Redis does not answer.
      yield* isUnharmed(a, b, "meanwhile")
      yield* isUnharmed(b, a, "at the same time")
      assert.strictEqual(yield* works(a, { circuit: "before" }), "Cooldown (fleet)")
      yield* a.run(CircuitBreaker.isolate("forced"))
      assert.strictEqual(yield* works(a, { circuit: "forced" }), "Isolated (local)")
      yield* server.resume
      yield* standsAt([b], "Isolated (fleet)", { circuit: "forced" })
      yield* areTogether([a, b], "afterwards")
      assert.strictEqual(yield* works(a, { circuit: "before" }), "Cooldown (fleet)")
      assert.strictEqual(yield* standing(a, { circuit: "meanwhile" }), "Open (local)")
      assert.strictEqual(yield* works(b, { circuit: "meanwhile" }), "ok")
    })
  )

  live(
    "is too slow to be asked is as good as away, and is asked again when it is faster",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const admin = yield* connection(url)
      const wire = yield* redisProxy(port)
      const redis = yield* connection(wire.url)
      const [a, b] = [yield* replica(redis), yield* replica(redis)]
      yield* both(admin)
      yield* wire.delay(500)
      yield* isUnharmed(a, b, "meanwhile")
      yield* isUnharmed(b, a, "at the same time")
      yield* wire.delay(0)
      yield* areTogether([a, b], "afterwards")
      assert.strictEqual(yield* works(b, { circuit: "meanwhile" }), "ok")
    })
  )

  live(
    "is slow, but not too slow, still makes one of many",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const admin = yield* connection(url)
      const wire = yield* redisProxy(port)
      const redis = yield* connection(wire.url)
      const [a, b] = [yield* replica(redis), yield* replica(redis)]
      yield* both(admin)
      yield* wire.delay(30)
      yield* areTogether([a, b], "api")
    })
  )

  live(
    "loses its memory closes nothing and frees nothing that people forced",
    Effect.gen(function* () {
      const server = yield* redisServer
      const redis = yield* connection(server.url)
      const policy = { cooldown: 2_000 }
      const [a, b] = [yield* replica(redis, { policy }), yield* replica(redis, { policy })]
      yield* both(redis)
      yield* a.run(CircuitBreaker.isolate("forced", { reason: "drill", actor: "ann" }))
      yield* a.run(CircuitBreaker.disable("let through", { for: "1 hour" }))
      yield* standsAt([b], "Isolated (fleet)", { circuit: "forced" })
      yield* standsAt([b], "Disabled (fleet)", { circuit: "let through" })
      yield* works(a)
      yield* works(b)
      yield* trip([a, b])
      const { since } = yield* a.run(CircuitBreaker.inspect("api"))
      yield* send(redis, "FLUSHALL")
      let rejected = 0
      yield* until(
        "a probe passes",
        Effect.gen(function* () {
          const seen = [yield* works(b), yield* works(a)]
          for (const one of seen) if (one !== "ok") rejected++
          return seen.includes("ok")
        })
      )
      assert.isAtLeast(Date.now() - since, 2_000)
      assert.isAtLeast(rejected, 2)
      yield* standsAt([a, b], "Closed (local)")
      const fresh = yield* replica(redis)
      yield* standsAt([a, b, fresh], "Isolated (fleet)", { circuit: "forced" })
      yield* standsAt([a, b, fresh], "Disabled (fleet)", { circuit: "let through" })
      const { cause } = yield* fresh.run(CircuitBreaker.inspect("forced"))
      assert.deepStrictEqual([cause?.detail, cause?.actor], ["drill", "ann"])
      assert.match(String(yield* send(redis, "HGET {effect-fuse}:records forced")), /^\d+ \d+ {2}1 /)
    })
  )

  live(
    "cuts a subscription is asked at the next interval for the changes since then",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const redis = yield* connection(url)
      const wire = yield* redisProxy(port)
      const a = yield* replica(redis)
      const b = yield* replica(yield* connection(wire.url))
      yield* both(redis)
      const listeners = Effect.map(
        send<ReadonlyArray<unknown>>(redis, "PUBSUB NUMSUB {effect-fuse}:changes"),
        (reply) => Number(reply[1])
      )
      yield* until(
        "both listen",
        Effect.map(listeners, (n) => n === 2)
      )
      yield* wire.refuse
      yield* send(redis, "CLIENT KILL TYPE pubsub")
      yield* until(
        "only one does",
        Effect.map(listeners, (n) => n === 1)
      )
      yield* a.run(CircuitBreaker.open("api", { for: "1 minute" }))
      yield* standsAt([b], "Open (fleet)")
      assert.strictEqual(yield* listeners, 1)
      yield* wire.mend
      yield* until(
        "both listen again",
        Effect.map(listeners, (n) => n === 2)
      )
    })
  )

  live(
    "is away when the program starts is an error of the client's layer, and of nothing else",
    Effect.gen(function* () {
      const server = yield* redisServer
      yield* server.kill
      const built = Layer.build(Layer.provide(RedisStore.layer(), client(server.url)))
      assert.strictEqual((yield* Effect.flip(built))._tag, "RedisError")
    })
  )

  live(
    "hangs when the program starts keeps it from nothing, and hears of it when it answers",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const admin = yield* connection(url)
      const wire = yield* redisProxy(port)
      const redis = yield* connection(wire.url)
      yield* (yield* replica(admin)).run(CircuitBreaker.isolate("forced"))
      yield* wire.hang
      const [a, b] = [yield* replica(redis), yield* replica(redis)]
      yield* isUnharmed(a, b, "api")
      assert.strictEqual(yield* works(a, { circuit: "forced" }), "ok")
      yield* wire.mend
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
      yield* areTogether([a, b], "afterwards")
    })
  )

  live(
    "hangs when the program ends lets it end",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const admin = yield* connection(url)
      const wire = yield* redisProxy(port)
      const redis = yield* connection(wire.url)
      const a = yield* replica(redis)
      yield* until(
        "it is heard of",
        Effect.map(living(admin), (n) => n === 1)
      )
      yield* fails(a)
      yield* fails(a)
      yield* wire.hang
      // One that was heard of, and one that never was.
      const b = yield* replica(redis)
      yield* a.end
      yield* b.end
      yield* wire.mend
    })
  )

  live(
    "falls silent on connections that never end is heard again on new ones",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const admin = yield* connection(url)
      const wire = yield* redisProxy(port)
      const redis = yield* connection(wire.url)
      const [a, b] = [yield* replica(redis), yield* replica(redis)]
      yield* both(admin)
      yield* wire.hang
      yield* isUnharmed(a, b, "meanwhile")
      yield* wire.cut
      yield* isUnharmed(b, a, "still")
      yield* wire.mend
      yield* areTogether([a, b], "afterwards")
    })
  )
})

describe("a place for a probe", () => {
  /** Two replicas, the second behind a wire, whose circuit is open and about to be probed. */
  const due = Effect.gen(function* () {
    const { port, url } = yield* redisServer
    const admin = yield* connection(url)
    const wire = yield* redisProxy(port)
    const policy = { cooldown: 300, probeTimeout: "10 minutes" } as const
    const a = yield* replica(admin, { policy, syncInterval: "1 minute" })
    const b = yield* replica(yield* connection(wire.url), { policy, syncInterval: "1 minute" })
    // They listen, and so hear of the opening.
    yield* until(
      "both listen",
      Effect.map(
        send<ReadonlyArray<unknown>>(admin, "PUBSUB NUMSUB {effect-fuse}:changes"),
        (reply) => Number(reply[1]) === 2
      )
    )
    // The script that gives a place is known to the second then.
    yield* b.run(CircuitBreaker.open("another"))
    yield* a.run(CircuitBreaker.open("api"))
    yield* standsAt([b], "Open (fleet)")
    yield* until(
      "the cooldown is over",
      Effect.map(b.run(CircuitBreaker.inspect("api")), ({ retryAfter }) => String(retryAfter) === "0 millis")
    )
    return { a, b, admin, wire }
  })

  live(
    "is waited for no longer than a caller waits, and then done without",
    Effect.gen(function* () {
      const { b, wire } = yield* due
      yield* wire.hang
      const impatient = b.run(
        Effect.exit(Effect.timeout(CircuitBreaker.protect(Effect.succeed("ok"), "api"), "5 millis"))
      )
      assert.isTrue(Exit.isFailure(yield* impatient))
      // A caller without a timeout is rejected; once Redis is known not to answer, a call probes for this process alone.
      const seen: Array<string> = []
      yield* until(
        "it probes alone",
        Effect.map(works(b), (one) => seen.push(one) > 0 && one === "ok")
      )
      for (const one of seen.slice(0, -1)) assert.strictEqual(one, "ProbesBusy (fleet)")
      assert.strictEqual(yield* standing(b), "Closed (local)")
      yield* wire.mend
    })
  )

  live(
    "is given back if the caller that asked for it was interrupted before the store answered",
    Effect.gen(function* () {
      const { a, admin, b } = yield* due
      // The caller has asked when it is forked, and is gone before anything that the store sends can be read.
      const calling = yield* Effect.forkChild(hangs(b), { startImmediately: true })
      yield* Fiber.interrupt(calling)
      // Only a lease makes the record HalfOpen: it was granted, and then given back.
      yield* until(
        "it was granted and is free",
        Effect.map(ofOpening(admin), (state) => state._tag === "HalfOpen" && state.leases.length === 0)
      )
      yield* until(
        "another probes",
        Effect.map(works(a), (seen) => seen === "ok")
      )
      yield* standsAt([b], "Closed (local)")
    })
  )

  live(
    "is released when the store granted it but answered too late",
    Effect.gen(function* () {
      const { a, admin, b, wire } = yield* due
      yield* wire.mute
      yield* until(
        "it probes alone",
        Effect.map(works(b), (seen) => seen === "ok")
      )
      yield* standsAt([a], "HalfOpen (fleet)")
      assert.strictEqual((yield* ofOpening(admin)).leases.length, 1)
      assert.strictEqual(yield* works(a), "ProbesBusy (fleet)")
      yield* wire.mend
      yield* until(
        "another probes",
        Effect.map(works(a), (seen) => seen === "ok")
      )
      yield* standsAt([a, b], "Closed (local)")
    })
  )

  live(
    "is given back by a probe that is interrupted",
    Effect.gen(function* () {
      const { a, admin, b } = yield* due
      const calling = yield* Effect.forkChild(hangs(b))
      yield* until(
        "it probes",
        Effect.map(b.run(CircuitBreaker.inspect("api")), ({ inFlight }) => inFlight === 1)
      )
      assert.strictEqual((yield* ofOpening(admin)).leases.length, 1)
      yield* standsAt([a], "HalfOpen (fleet)")
      assert.strictEqual(yield* works(a), "ProbesBusy (fleet)")
      yield* Fiber.interrupt(calling)
      yield* until(
        "another probes",
        Effect.map(works(a), (seen) => seen === "ok")
      )
      yield* standsAt([b], "Closed (local)")
    })
  )
})
