import { assert, describe } from "@effect/vitest"
import { Deferred, Effect, Fiber, Logger, Scope, Stream } from "effect"
import { CircuitBreaker, type SharedStore } from "effect-fuse"
import { fails, type Replica, send, standing, standsAt, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { say, transaction } from "./support/sqlFleet.ts"
import {
  allStand,
  areKnown,
  bodyOf,
  connecting,
  copyOf,
  copyOfTable,
  counted,
  dumpOf,
  onDatabase,
  onDynamo,
  onRedis,
  onServer,
  openMany,
  type Place,
  replicaOn,
  replicasOn,
  type WiredPlace
} from "./support/storeFleets.ts"

type Scoped<A> = Effect.Effect<A, never, Scope.Scope>
type Places<P extends Place = Place> = Readonly<Record<string, () => Scoped<P>>>

const postgres = onServer("PostgreSQL")
const databases = { MariaDB: onDatabase("MariaDB"), SQLite: onDatabase("SQLite") }

/** Calls a circuit again and again, in the background. Counts what callers get. */
const calling = (one: Replica, isUp: () => boolean, every = 10) =>
  Effect.gen(function* () {
    const got = new Map<string, number>()
    const call = Effect.gen(function* () {
      const what = yield* isUp() ? works(one) : fails(one)
      got.set(what, (got.get(what) ?? 0) + 1)
      yield* Effect.sleep(every)
    })
    yield* Effect.forkScoped(Effect.forever(call))
    return got
  })

const openingsOf = (one: Replica) => Effect.map(one.run(CircuitBreaker.inspect("api")), ({ openings }) => openings)

describe("silence is no consent: 2 of 10 processes fail, and the calls of the others are never rejected", () => {
  const places: Places = {
    Redis: () => onRedis(),
    "Redis without announcements": () => onRedis({ subscribe: false }),
    "Redis for a user that may not subscribe": () => onRedis({ user: "~* &* +@all -subscribe" }),
    "Redis 40 ms away": () => onRedis({ delay: 20 }),
    "Redis 100 ms away": () => onRedis({ delay: 50 }),
    "Redis 200 ms away, which is almost too slow": () => onRedis({ delay: 100 }),
    "Redis 300 ms away, which is too slow": () => onRedis({ delay: 150 }),
    PostgreSQL: postgres,
    "PostgreSQL 4 ms away": onServer("PostgreSQL", 2),
    "PostgreSQL 60 ms away, which is too slow": onServer("PostgreSQL", 30),
    DynamoDB: () => onDynamo(),
    "DynamoDB 40 ms away": () => onDynamo({ delay: 20 }),
    "DynamoDB 600 ms away, which is too slow": () => onDynamo({ delay: 300 }),
    ...databases
  }
  for (const [name, place] of Object.entries(places)) {
    live(
      name,
      Effect.gen(function* () {
        const made = yield* place()
        const replicas = yield* replicasOn(made, 10, { policy: { cooldown: 400 } })
        const isFar = /too slow/.test(name)
        if (!isFar) yield* areKnown(made, 10)
        let isDown = false
        const calls = yield* Effect.forEach(replicas, (one, i) => calling(one, () => i >= 2 || !isDown))
        yield* until(
          "all have called",
          Effect.sync(() => calls.every((got) => (got.get("ok") ?? 0) > 5))
        )
        isDown = true
        yield* until(
          "both that fail have opened by themselves several times",
          Effect.map(Effect.forEach(replicas.slice(0, 2), openingsOf), (all) => all.every((n) => n >= 4))
        )
        for (const got of calls.slice(2)) assert.deepStrictEqual([...got.keys()], ["ok"])
        assert.isUndefined(yield* bodyOf(made, "api"))
      })
    )
  }
})

describe("an opening on its way while the store freezes is not carried out when it thaws", () => {
  /** Until `thaw`, nothing that processes send is carried out. */
  interface Frozen {
    readonly thaw: Effect.Effect<unknown>
  }
  type Freezing = readonly [name: string, () => Scoped<readonly [Place, Scoped<Frozen>]>]
  const hung = <P extends WiredPlace>(place: P) =>
    [place, Effect.as(place.wire.hang, { thaw: place.wire.mend })] as const
  const ways: ReadonlyArray<Freezing> = [
    ["Redis behind a network that delays all packets", () => Effect.map(onRedis(), hung)],
    [
      "Redis that was stopped",
      () =>
        Effect.map(onRedis(), (place) => [place, Effect.as(place.server.pause, { thaw: place.server.resume })] as const)
    ],
    ["PostgreSQL behind a network that delays all packets", () => Effect.map(postgres(), hung)],
    ["DynamoDB behind a network that delays all packets", () => Effect.map(onDynamo(), hung)],
    [
      "DynamoDB that was stopped",
      () =>
        Effect.map(
          onDynamo(),
          (place) => [place, Effect.as(place.server.pause, { thaw: place.server.resume })] as const
        )
    ],
    [
      "PostgreSQL with a lock on the store",
      () =>
        Effect.map(postgres(), (place) => {
          const freeze = Effect.gen(function* () {
            const began = yield* Deferred.make<void>()
            const hold = Effect.andThen(Deferred.succeed(began, undefined), Effect.never)
            const lock = say(place.sql, "UPDATE circuit_breaker_store SET epoch = epoch WHERE id = 1")
            const fiber = yield* Effect.forkScoped(transaction(place.sql, Effect.andThen(lock, hold)))
            yield* Deferred.await(began)
            return { thaw: Fiber.interrupt(fiber) }
          })
          return [place, freeze] as const
        })
    ]
  ]
  for (const [name, make] of ways) {
    live(
      name,
      Effect.gen(function* () {
        const [place, freeze] = yield* make()
        let frozen: Frozen | undefined
        // The first exchange with an opening freezes the store. Each exchange with an opening waits for this freeze.
        const freezeOnce = yield* Effect.cached(
          Effect.map(Effect.provideService(freeze, Scope.Scope, yield* Effect.scope), (it) => {
            frozen = it
          })
        )
        const freezing = (store: SharedStore.SharedStore): SharedStore.SharedStore => ({
          ...store,
          exchange: (exchange) => {
            const opens = exchange.swaps.some(({ circuit }) => circuit === "api")
            return opens ? Effect.andThen(freezeOnce, store.exchange(exchange)) : store.exchange(exchange)
          }
        })
        const replicas = yield* Effect.forEach(Array.from({ length: 3 }), () =>
          Effect.flatMap(place.store, (store) => replicaOn(freezing(store), { policy: { cooldown: 500 } }))
        )
        yield* areKnown(place, 3)
        let isDown = false
        const calls = yield* Effect.forEach(replicas, (one) => calling(one, () => !isDown))
        yield* until(
          "all have called",
          Effect.sync(() => calls.every((got) => (got.get("ok") ?? 0) > 5))
        )
        isDown = true
        yield* until(
          "the store is frozen",
          Effect.sync(() => frozen !== undefined)
        )
        isDown = false
        yield* Effect.sleep("1 second")
        yield* standsAt(replicas, "Closed (local)")
        // From now on, all commands come from healthy processes. Earlier commands arrive late.
        yield* Effect.sleep("500 millis")
        yield* (frozen as Frozen | undefined)?.thaw ?? Effect.void
        yield* (replicas[0] as Replica).run(CircuitBreaker.isolate("other"))
        yield* standsAt(replicas, "Isolated (fleet)", { circuit: "other" })
        assert.isUndefined(yield* bodyOf(place, "api"))
        for (const one of replicas) assert.strictEqual(yield* standing(one), "Closed (local)")
        for (const got of calls) assert.isUndefined(got.get("Cooldown (fleet)"))
      })
    )
  }
})

describe("many circuits that fail at once open for all processes, and no process loses the store", () => {
  const places: ReadonlyArray<readonly [string, number, () => Scoped<Place>]> = [
    ["Redis", 1_000, () => onRedis()],
    ["PostgreSQL", 300, postgres],
    ["MariaDB", 300, databases.MariaDB],
    ["DynamoDB", 50, () => onDynamo()]
  ]
  for (const [name, count, place] of places) {
    live(
      `${name}: ${count} keys in 4 processes`,
      Effect.gen(function* () {
        const server = yield* place()
        // A busy machine may need longer than the usual deadline for one command. A store with too many commands needs much longer.
        const store = Effect.map(server.store, (one): SharedStore.SharedStore => ({ ...one, deadline: 1_000 }))
        const made = { ...server, store }
        const said: Array<string> = []
        const logger = Logger.make(({ message }) => {
          const line = String(message)
          if (/store/.test(line)) said.push(line)
        })
        const replicas = yield* Effect.provide(
          replicasOn(made, 4, { syncInterval: 1_000, policy: { cooldown: "10 minutes" } }),
          Logger.layer([logger])
        )
        yield* areKnown(made, 4)
        yield* Effect.sleep("500 millis")
        const keys = Array.from({ length: count }, (_, i) => `k${i}`)
        for (const one of replicas) for (const key of keys) yield* works(one, { key })
        let reached = 0
        const round = (one: Replica) =>
          Effect.forEach(
            keys,
            (key, i) =>
              Effect.gen(function* () {
                if ((yield* fails(one, { key })) === "down") reached++
                if (i % 50 === 0) yield* Effect.sleep(5)
              }),
            { discard: true }
          )
        yield* until(
          "all keys are open for all",
          Effect.gen(function* () {
            yield* Effect.forEach(replicas, round, { concurrency: "unbounded" })
            const open = yield* Effect.forEach(replicas, (one) => counted(one, "Open (fleet)"))
            return open.every((n) => n === count)
          })
        )
        assert.deepStrictEqual(said, [])
        // A fleet never lets more through than 4 processes on their own: 5 each. How many less depends on the speed of the machine.
        assert.isAtMost(reached / count, 20)
      }),
      60_000
    )
  }
})

describe("a process that starts while thousands of circuits are open knows all of them, and then reads only what changes", () => {
  const places: Places = { Redis: () => onRedis(), PostgreSQL: postgres, ...databases, DynamoDB: () => onDynamo() }
  for (const [name, place] of Object.entries(places)) {
    live(
      name,
      Effect.gen(function* () {
        const made = yield* place()
        const count = name === "DynamoDB" ? 700 : 2_500
        const [writer] = yield* replicasOn(made, 1)
        yield* openMany(
          made,
          writer as Replica,
          Array.from({ length: count }, (_, i) => `tenant/k${i}`)
        )
        const pages: Array<number> = []
        const others: Array<string> = []
        const watched = (store: SharedStore.SharedStore): SharedStore.SharedStore => ({
          ...store,
          page: (since, limit) =>
            Effect.tap(store.page(since, limit), ({ changes }) => Effect.sync(() => pages.push(changes.length))),
          load: (circuits) => {
            if (circuits.length > 0) others.push("load")
            return store.load(circuits)
          },
          exchange: (exchange) => {
            if (exchange.casts.length + exchange.swaps.length > 0) others.push("exchange")
            return store.exchange(exchange)
          }
        })
        const late = yield* replicaOn(watched(yield* made.store))
        yield* until(
          "it knows all",
          Effect.map(counted(late, "Open (fleet)"), (n) => n === count + 1)
        )
        yield* until(
          "it has read to the end",
          Effect.sync(() => pages.at(-1) === 0)
        )
        const [read, before] = [pages.reduce((sum, n) => sum + n, 0), pages.length]
        assert.isAtMost(read, 2 * (count + 1))
        yield* until(
          "it has synchronised five times more",
          Effect.sync(() => pages.length >= before + 5)
        )
        assert.deepStrictEqual(pages.slice(before), Array(pages.length - before).fill(0))
        assert.deepStrictEqual(others, [])
      })
    )
  }
})

describe("a store that lost its latest writes is given them back, and no process believes it meanwhile", () => {
  type Lossy = readonly [name: string, () => Scoped<readonly [Place, Effect.Effect<Effect.Effect<void>>]>]
  const ways: ReadonlyArray<Lossy> = [
    ["Redis, from an older dump", () => Effect.map(onRedis(), (place) => [place, dumpOf(place.redis)] as const)],
    ["DynamoDB, from an older copy", () => Effect.map(onDynamo(), (place) => [place, copyOfTable(place)] as const)],
    ["PostgreSQL, from an older copy", () => Effect.map(postgres(), (place) => [place, copyOf(place.sql)] as const)],
    ...Object.entries(databases).map(
      ([name, place]): Lossy => [
        `${name}, from an older copy`,
        () => Effect.map(place(), (made) => [made, copyOf(made.sql)] as const)
      ]
    )
  ]
  for (const [name, make] of ways) {
    live(
      name,
      Effect.gen(function* () {
        const [place, save] = yield* make()
        const replicas = yield* replicasOn(place, 3)
        const [a, b] = [replicas[0] as Replica, replicas[1] as Replica]
        yield* areKnown(place, 3)
        yield* a.run(CircuitBreaker.isolate("forced before"))
        yield* a.run(CircuitBreaker.release("forced before"))
        yield* a.run(CircuitBreaker.open("opened before", { for: "1 minute" }))
        yield* a.run(CircuitBreaker.close("opened before"))
        yield* allStand(replicas, [["opened before", "Closed (local)"]])
        const lose = yield* save
        yield* a.run(CircuitBreaker.isolate("forced before", { reason: "incident" }))
        yield* b.run(CircuitBreaker.isolate("forced fresh", { reason: "incident" }))
        yield* a.run(CircuitBreaker.open("opened before", { for: "1 minute" }))
        yield* b.run(CircuitBreaker.open("opened fresh", { for: "1 minute" }))
        const expected = [
          ["forced before", "Isolated (fleet)"],
          ["forced fresh", "Isolated (fleet)"],
          ["opened before", "Open (fleet)"],
          ["opened fresh", "Open (fleet)"]
        ] as const
        yield* allStand(replicas, expected)
        const moves: Array<string> = []
        for (const one of replicas) {
          const listen = Stream.runForEach(CircuitBreaker.events, (event) =>
            Effect.sync(() => {
              if (event._tag === "Transition") moves.push(`${event.circuit}: ${event.from} to ${event.to}`)
            })
          )
          yield* Effect.forkScoped(one.run(listen), { startImmediately: true })
        }
        yield* lose
        yield* until(
          "the store has all of it again",
          Effect.gen(function* () {
            const late = yield* Effect.flatMap(place.store, (store) => replicaOn(store))
            const seen = yield* Effect.forEach(expected, ([circuit]) => standing(late, { circuit }))
            return seen.every((one, i) => one === expected[i]?.[1])
          }).pipe(Effect.scoped)
        )
        for (const one of replicas) {
          for (const [circuit, state] of expected) assert.strictEqual(yield* standing(one, { circuit }), state)
        }
        assert.deepStrictEqual(moves, [])
      })
    )
  }
})

describe("a starting process learns which circuits are open when it connects, even if the connection takes long", () => {
  const places: Places<WiredPlace> = {
    Redis: () => Effect.map(onRedis(), (made) => ({ ...made, store: connecting(made) })),
    PostgreSQL: postgres
  }
  for (const [name, place] of Object.entries(places)) {
    live(
      name,
      Effect.gen(function* () {
        const made = yield* place()
        const [writer] = yield* replicasOn({ ...made, store: Effect.succeed(made.admin) }, 1)
        yield* (writer as Replica).run(CircuitBreaker.open("api", { for: "1 hour" }))
        yield* until(
          "the store has the opening",
          Effect.map(bodyOf(made, "api"), (body) => body !== undefined)
        )
        // A starting process waits 200 milliseconds for the open circuits. This connection takes longer.
        yield* made.wire.hang
        const store = yield* Effect.forkScoped(made.store)
        const connected = Fiber.join(store)
        const starting = yield* Effect.forkScoped(
          Effect.flatMap(connected, (one) => replicaOn(one, { connectTimeout: "1 minute" }))
        )
        yield* Effect.sleep("600 millis")
        yield* made.wire.mend
        const late = yield* Fiber.join(starting)
        assert.strictEqual(yield* works(late), "Cooldown (fleet)")
      })
    )
  }
})

describe("a process that starts while the store is read-only sees overrides and open circuits", () => {
  type ReadOnly = readonly [name: string, () => Scoped<readonly [Place, Effect.Effect<unknown>]>]
  const ways: ReadonlyArray<ReadOnly> = [
    [
      "Redis that is full",
      () => Effect.map(onRedis(), (place) => [place, send(place.redis, "CONFIG SET maxmemory 1")] as const)
    ],
    [
      "Redis that became a replica",
      () => Effect.map(onRedis(), (place) => [place, send(place.redis, "REPLICAOF 127.0.0.1 1")] as const)
    ],
    [
      "PostgreSQL that takes no writes",
      () =>
        Effect.map(postgres(), (place) => {
          const setting = `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only TO on', current_database()); END $$`
          return [place, say(place.sql, setting)] as const
        })
    ]
  ]
  for (const [name, make] of ways) {
    live(
      name,
      Effect.gen(function* () {
        const [place, makeReadOnly] = yield* make()
        const [writer] = yield* replicasOn(place, 1)
        yield* (writer as Replica).run(CircuitBreaker.isolate("forced"))
        yield* (writer as Replica).run(CircuitBreaker.open("opened", { for: "1 hour" }))
        for (const circuit of ["forced", "opened"]) {
          yield* until(
            `the store has ${circuit}`,
            Effect.map(bodyOf(place, circuit), (body) => body !== undefined)
          )
        }
        yield* makeReadOnly
        const late = yield* Effect.flatMap(place.store, (store) => replicaOn(store))
        assert.strictEqual(yield* works(late, { circuit: "forced" }), "Isolated (fleet)")
        assert.strictEqual(yield* works(late, { circuit: "opened" }), "Cooldown (fleet)")
        assert.strictEqual(yield* works(late, { circuit: "other" }), "ok")
      })
    )
  }
})

describe("the lease of a prober that crashed", () => {
  const places: Places = { Redis: () => onRedis(), PostgreSQL: postgres }
  for (const [name, place] of Object.entries(places)) {
    live(
      `does not end for all processes at the same moment: few ask for the next one: ${name}`,
      Effect.gen(function* () {
        const made = yield* place()
        const count = 20
        let asked = 0
        let isCrashed = false
        const watched = (store: SharedStore.SharedStore, isProber: boolean): SharedStore.SharedStore => ({
          ...store,
          exchange: (exchange) => {
            if (isProber && isCrashed) return Effect.never
            if (isCrashed) asked += exchange.swaps.filter(({ circuit }) => circuit === "api").length
            return store.exchange(exchange)
          }
        })
        const policy = { probeTimeout: "4 seconds" } as const
        const replicas = yield* Effect.forEach(Array.from({ length: count }), (_, i) =>
          Effect.flatMap(made.store, (store) => replicaOn(watched(store, i === 0), { policy, syncInterval: 1_000 }))
        )
        const [prober, ...others] = replicas as [Replica, ...Array<Replica>]
        yield* prober.run(CircuitBreaker.open("api", { for: 100 }))
        yield* standsAt(replicas, "Open (fleet)")
        yield* until(
          "one process probes, and its probe does not end",
          Effect.gen(function* () {
            yield* Effect.forkScoped(prober.run(Effect.exit(CircuitBreaker.protect(Effect.never, "api"))))
            return (yield* standing(others[0] as Replica)) === "HalfOpen (fleet)"
          })
        )
        isCrashed = true
        yield* standsAt(others, "HalfOpen (fleet)")
        yield* Effect.forEach(others, (one) => calling(one, () => true, 2))
        yield* standsAt(others, "Closed (local)")
        assert.isAtLeast(asked, 1)
        // One to take the lease and one to say what the probe found; and a few more of processes that asked meanwhile.
        assert.isBelow(asked, count / 2)
      })
    )
  }
})
