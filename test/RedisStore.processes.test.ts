import { assert, describe } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { type Process, startProcess, startProcesses } from "./support/processes.ts"
import type { Move } from "./support/processWorker.ts"
import { type Connection, connection, living, replica, send, sharedStore, until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisServer } from "./support/redisServer.ts"

const prefix = "{effect-fuse}"

const started = Effect.gen(function* () {
  const { url } = yield* redisServer
  return { url, redis: yield* connection(url) }
})

interface Written {
  readonly epoch: number
  readonly _tag: string
  readonly openings: number
  readonly leases?: ReadonlyArray<unknown>
  readonly cause?: { readonly why: string; readonly detail: string }
}

const written = (epoch: number, body: string): Written => ({ epoch, ...JSON.parse(body).state })

/** The fleet's record of a circuit. */
const recordOf = (redis: Connection, circuit = "api"): Effect.Effect<Written | undefined> =>
  Effect.gen(function* () {
    const { records } = yield* Effect.orDie((yield* sharedStore(redis)).load([circuit]))
    const [record] = records
    return record === undefined ? undefined : written(record.epoch, record.body)
  })

/** All that is announced from now on. */
const announcements = (redis: Connection) =>
  Effect.gen(function* () {
    const { changes } = yield* sharedStore(redis)
    const heard: Array<Written & { readonly circuit: string }> = []
    yield* Effect.forkScoped(
      Stream.runForEach(changes, (change) =>
        Effect.sync(() => {
          if (change._tag === "Record") heard.push({ circuit: change.circuit, ...written(change.epoch, change.body) })
        })
      )
    )
    const before = yield* listeners(redis)
    yield* until(
      "it is listened to",
      Effect.map(listeners(redis), (n) => n > before)
    )
    return heard
  })

/** A store that is young opens nothing, because it may not know all processes yet. */
const usedForLong = (redis: Connection) => send(redis, `HSET ${prefix}:store born 1 life one`)

const listeners = (redis: Connection) =>
  Effect.map(send<ReadonlyArray<unknown>>(redis, `PUBSUB NUMSUB ${prefix}:changes`), (reply) => Number(reply[1]))

const areLive = (redis: Connection, count: number) =>
  until(
    `${count} live and listen`,
    Effect.map(Effect.all([living(redis), listeners(redis)]), ([a, b]) => a === count && b >= count)
  )

const allStand = (processes: ReadonlyArray<Process>, expected: string, circuit = "api") =>
  until(
    `all are ${expected}`,
    Effect.map(
      Effect.forEach(processes, (one) => one.ask("standing", { circuit })),
      (all) => all.flat().every(({ scope, state }) => `${state} (${scope})` === expected)
    )
  )

const call = (one: Process, finds: "up" | "down", circuit = "api") =>
  Effect.map(one.ask("call", { circuit, finds }), ([seen]) => seen ?? "")

/** The voters whose ballots count. A ballot of a voter that no longer lives is removed when its box is next used. */
const voices = (redis: Connection) =>
  Effect.gen(function* () {
    const living = yield* alive(redis)
    const keys = yield* send<ReadonlyArray<string>>(redis, `KEYS ${prefix}:until:*`)
    const members = yield* Effect.forEach(keys, (key) => send<ReadonlyArray<string>>(redis, `ZRANGE ${key} 0 -1`))
    return members
      .flatMap((all) => all.map((member) => member.replace(/^.*\|/, "")))
      .filter((one) => living.includes(one))
  })

const alive = (redis: Connection) => send<ReadonlyArray<string>>(redis, `ZRANGE ${prefix}:voters 0 -1`)

const isFrom = (name: string) => (voice: string) => voice.startsWith(`${name}~`)

describe("a process", () => {
  live(
    "that is killed while it probes leaves its place to another, when its time is over",
    Effect.gen(function* () {
      const { redis, url } = yield* started
      const policy = { cooldown: 300, probeTimeout: "3 seconds" } as const
      const [a, b] = yield* startProcesses(2, () => ({ url, policy, syncInterval: 60_000 }))
      assert(a !== undefined && b !== undefined)
      yield* areLive(redis, 2)
      yield* (yield* replica(redis)).run(CircuitBreaker.open("api", { for: 300 }))
      yield* allStand([a, b], "Open (fleet)")
      yield* until(
        "one probes",
        Effect.gen(function* () {
          yield* a.ask("hang", { circuit: "api" })
          return (yield* recordOf(redis))?._tag === "HalfOpen"
        })
      )
      yield* allStand([b], "HalfOpen (fleet)")
      assert.strictEqual(yield* call(b, "up"), "ProbesBusy (fleet)")
      yield* a.kill
      assert.strictEqual((yield* recordOf(redis))?.leases?.length, 1)
      const seen: Array<string> = []
      yield* until(
        "the other probes",
        Effect.map(call(b, "up"), (one) => seen.push(one) > 0 && one === "ok")
      )
      assert.deepStrictEqual([...new Set(seen)], seen.length === 1 ? ["ok"] : ["ProbesBusy (fleet)", "ok"])
      yield* until(
        "all are told",
        Effect.map(recordOf(redis), (record) => record?._tag === "Closed")
      )
    })
  )

  live(
    "that starts while a circuit is open admits nothing",
    Effect.gen(function* () {
      const { redis, url } = yield* started
      yield* (yield* replica(redis)).run(CircuitBreaker.open("api", { for: "1 minute", reason: "down" }))
      const fresh = yield* startProcess({ url, callsAtOnce: 5 })
      const { atOnce, reached } = yield* fresh.ask("report", {})
      assert.deepStrictEqual(atOnce, Array(5).fill("Cooldown (fleet)"))
      assert.strictEqual(reached, 0)
    })
  )

  live(
    "that isolates a circuit isolates it in all of them, and in those that come after all are gone",
    Effect.gen(function* () {
      const { redis, url } = yield* started
      const first = yield* startProcesses(2, () => ({ url }))
      yield* areLive(redis, 2)
      yield* first[0]?.ask("isolate", { circuit: "api" }) ?? Effect.die("no process")
      yield* allStand(first, "Isolated (fleet)")
      yield* Effect.all(
        first.map((one) => one.end),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* living(redis), 0)
      const later = yield* startProcess({ url, callsAtOnce: 1 })
      assert.deepStrictEqual((yield* later.ask("report", {})).atOnce, ["Isolated (fleet)"])
      const [{ detail } = { detail: "" }] = yield* later.ask("standing", { circuit: "api" })
      assert.strictEqual(detail, "drill")
    })
  )

  live(
    "alone among three that finds a dependency down opens only itself",
    Effect.gen(function* () {
      const { redis, url } = yield* started
      const heard = yield* announcements(redis)
      const processes = yield* startProcesses(3, () => ({ url, policy: { cooldown: 200 } }))
      const [bad, ...good] = processes
      assert(bad !== undefined)
      yield* areLive(redis, 3)
      for (const one of processes) yield* call(one, "up")
      let spoke = 0
      yield* until(
        "it has opened three times, and all have spoken",
        Effect.gen(function* () {
          yield* call(bad, "down")
          for (const one of good) assert.strictEqual(yield* call(one, "up"), "ok")
          spoke = Math.max(spoke, new Set(yield* voices(redis)).size)
          const [seen] = yield* bad.ask("standing", { circuit: "api" })
          assert.strictEqual(seen?.scope, "local")
          return spoke === 3 && (seen?.openings ?? 0) >= 3
        })
      )
      yield* allStand(good, "Closed (local)")
      assert.isUndefined(yield* recordOf(redis))
      assert.deepStrictEqual(heard, [])
    })
  )

  live(
    "that shuts down withdraws its ballots, releases its lease, and is no longer counted",
    Effect.gen(function* () {
      const { redis, url } = yield* started
      const policy = { probeTimeout: "10 minutes" } as const
      const [a, b] = yield* startProcesses(2, (i) => ({ url, policy, name: i === 0 ? "a" : "b", syncInterval: 60_000 }))
      assert(a !== undefined && b !== undefined)
      yield* areLive(redis, 2)
      yield* call(b, "up", "suspected")
      for (let i = 0; i < 3; i++) yield* call(a, "down", "suspected")
      yield* until(
        "both have spoken",
        Effect.map(voices(redis), (all) => new Set(all).size === 2)
      )
      yield* (yield* replica(redis)).run(CircuitBreaker.open("probed", { for: 200 }))
      yield* allStand([a, b], "Open (fleet)", "probed")
      yield* until(
        "one probes",
        Effect.gen(function* () {
          yield* a.ask("hang", { circuit: "probed" })
          return (yield* recordOf(redis, "probed"))?._tag === "HalfOpen"
        })
      )
      yield* allStand([a, b], "HalfOpen (fleet)", "probed")
      assert.strictEqual(yield* call(b, "up", "probed"), "ProbesBusy (fleet)")
      assert.isTrue((yield* alive(redis)).some(isFrom("a")))
      yield* a.end
      assert.isFalse((yield* alive(redis)).some(isFrom("a")))
      assert.isFalse((yield* voices(redis)).some(isFrom("a")))
      assert.isTrue((yield* voices(redis)).some(isFrom("b")))
      assert.deepStrictEqual((yield* recordOf(redis, "probed"))?.leases, [])
      yield* until(
        "the other probes",
        Effect.map(call(b, "up", "probed"), (seen) => seen === "ok")
      )
    })
  )
})

describe("processes", () => {
  live(
    "that find a dependency down at the same time open it once, and report the same",
    Effect.gen(function* () {
      const { redis, url } = yield* started
      const heard = yield* announcements(redis)
      yield* usedForLong(redis)
      const processes = yield* startProcesses(2, () => ({ url, syncInterval: 60_000 }))
      yield* areLive(redis, 2)
      for (let round = 0; round < 10; round++) {
        const key = `k${round}`
        const at = Date.now() + 60
        const ends = yield* Effect.all(
          processes.map((one) => one.ask("fail", { at, key, times: 6 })),
          { concurrency: "unbounded" }
        )
        for (const end of ends) assert.strictEqual(end[0], "down")
        yield* until(
          "both are open",
          Effect.map(
            Effect.forEach(processes, (one) => one.ask("standing", { circuit: "api", key })),
            (all) => all.flat().every(({ scope, state }) => state === "Open" && scope === "fleet")
          )
        )
        const all = (yield* Effect.forEach(processes, (one) => one.ask("standing", { circuit: "api", key }))).flat()
        assert.strictEqual(new Set(all.map(({ detail }) => detail)).size, 1)
        assert.deepStrictEqual(
          all.map(({ openings }) => openings),
          [1, 1]
        )
      }
      const moves = yield* Effect.forEach(processes, (one) => one.ask("report", {}))
      for (let round = 0; round < 10; round++) {
        const records = heard.filter(({ circuit }) => circuit === `api/k${round}`)
        assert.deepStrictEqual(
          records.map(({ _tag, openings }) => [_tag, openings]),
          [["Open", 1]]
        )
        const ofFleet = (all: ReadonlyArray<Move>) =>
          all.filter(({ key, scope }) => key === `k${round}` && scope === "fleet")
        const [a, b] = moves.map(({ moves }) => ofFleet(moves))
        assert.strictEqual(a?.length, 1)
        assert.deepStrictEqual(a, b)
        assert.strictEqual(a?.[0]?.detail, records[0]?.cause?.detail)
      }
    })
  )

  live(
    "with fifty replicas hear of one trip",
    Effect.gen(function* () {
      const { redis, url } = yield* started
      const heard = yield* announcements(redis)
      yield* usedForLong(redis)
      const [a, b] = yield* startProcesses(2, () => ({ url, replicas: 25, syncInterval: 60_000 }))
      assert(a !== undefined && b !== undefined)
      yield* areLive(redis, 50)
      for (let i = 0; i < 3; i++) yield* a.ask("call", { circuit: "api", finds: "down" })
      yield* allStand([a, b], "Open (fleet)")
      assert.deepStrictEqual(
        heard.map(({ _tag, openings }) => [_tag, openings]),
        [["Open", 1]]
      )
      const { moves } = yield* b.ask("report", {})
      assert.strictEqual(moves.length, 25)
      assert.strictEqual(new Set(moves.map(({ detail, process }) => `${process} ${detail}`)).size, 1)
    })
  )

  live(
    "that are replaced one by one while a dependency is down leave its circuit open",
    Effect.gen(function* () {
      const { redis, url } = yield* started
      const heard = yield* announcements(redis)
      const setup = { url, callEvery: 10, dependency: "down", policy: { cooldown: 700 } } as const
      const old = yield* startProcesses(4, (i) => ({ ...setup, name: `old${i}` }))
      yield* areLive(redis, 4)
      yield* until(
        "it is open",
        Effect.map(recordOf(redis), (record) => record !== undefined)
      )
      const fresh: Array<Process> = []
      for (const [i, one] of old.entries()) {
        const [next] = yield* Effect.all([startProcess({ ...setup, name: `new${i}`, callsAtOnce: 3 }), one.end], {
          concurrency: "unbounded"
        })
        fresh.push(next)
      }
      const probes = heard.filter(({ _tag }) => _tag === "HalfOpen").length
      yield* until(
        "it was probed again",
        Effect.sync(() => heard.filter(({ _tag }) => _tag === "HalfOpen").length > probes)
      )
      assert.deepStrictEqual(
        heard.filter(({ _tag }) => _tag !== "Open" && _tag !== "HalfOpen"),
        []
      )
      for (const [i, one] of fresh.entries()) {
        const { moves, reached } = yield* one.ask("report", {})
        const own = moves.filter(
          ({ process, to }) => to === "HalfOpen" && (process === undefined || isFrom(`new${i}`)(process))
        )
        assert.isAtMost(reached, own.length)
        assert.isFalse(moves.some(({ to }) => to === "Closed"))
      }
      // Who is gone has no say: neither is it counted, nor is what it said.
      assert.isFalse((yield* alive(redis)).some(isFrom("old")))
      assert.isFalse((yield* voices(redis)).some(isFrom("old")))
      yield* Effect.all(
        fresh.map((one) => one.end),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* living(redis), 0)
    })
  )
})
