import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { NodeRedis } from "@effect/platform-node"
import { assert, describe } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope, Stream } from "effect"
import { Redis } from "effect/persistence"
import { BreakerPolicy, CircuitBreaker } from "effect-fuse"
import { createManager } from "effect-fuse/promise"
import * as RedisStore from "effect-fuse/RedisStore"
import { redisStore } from "../src/redis/store.ts"
import { run } from "./support/commandLine.ts"
import { listener } from "./support/listener.ts"
import { type Connection, connection, type Replica, send, until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { type RedisProxy, redisProxy } from "./support/redisProxy.ts"
import { client, freePort, inMemory, redisServer, startRedis } from "./support/redisServer.ts"
import { root } from "./support/root.ts"
import { capture, type Line } from "./support/verbs.ts"

/** A process, by one of the faces that connect by themselves, and what it warns of. */
interface Process {
  readonly isolate: Effect.Effect<unknown>
  readonly release: Effect.Effect<unknown>
  readonly state: Effect.Effect<string>
  readonly end: Effect.Effect<void>
  readonly warnings: () => ReadonlyArray<string>
}

const withEffect = (url: string): Effect.Effect<Process, never, Scope.Scope> =>
  Effect.gen(function* () {
    const lines: Array<Line> = []
    const scope = yield* Scope.make()
    const end = Scope.close(scope, Exit.void)
    yield* Effect.addFinalizer(() => end)
    const store = Layer.provideMerge(
      RedisStore.layerConnect(client(url), { syncInterval: 200 }),
      BreakerPolicy.layer({})
    )
    const context = yield* Effect.orDie(capture(lines, Layer.buildWithScope(store, scope)))
    const run: Replica["run"] = (effect) => capture(lines, Effect.provideContext(effect, context))
    return {
      isolate: run(CircuitBreaker.isolate("api")),
      release: run(CircuitBreaker.release("api")),
      state: run(CircuitBreaker.state("api")),
      end,
      warnings: () => lines.filter(({ level }) => level === "Warn").map(({ message }) => message)
    }
  })

const withPromises = (url: string): Effect.Effect<Process, never, Scope.Scope> =>
  Effect.gen(function* () {
    const lines: Array<readonly [level: string, message: string]> = []
    const manager = createManager({ redis: url, log: (level, message) => void lines.push([level, message]) })
    const end = Effect.promise(() => manager.shutdown())
    yield* Effect.addFinalizer(() => end)
    const breaker = manager.register("api", async () => "ok")
    yield* Effect.promise(() => manager.ready())
    return {
      isolate: Effect.promise(() => breaker.isolate()),
      release: Effect.promise(() => breaker.release()),
      state: Effect.sync(() => breaker.state),
      end,
      warnings: () => lines.filter(([level]) => level === "warn").map(([, message]) => message)
    }
  })

const faces = [
  ["Effect", withEffect],
  ["promises", withPromises]
] as const

const isolated = (process: Process) =>
  until(
    "isolated",
    Effect.map(process.state, (state) => state === "Isolated")
  )
const closed = (process: Process) =>
  until(
    "closed",
    Effect.map(process.state, (state) => state === "Closed")
  )

/** What one process does reaches the other. */
const together = ([a, b]: readonly [Process, Process]) =>
  Effect.gen(function* () {
    yield* a.isolate
    yield* isolated(b)
    yield* a.release
    yield* closed(b)
  })

const clients = (redis: Connection) =>
  Effect.map(send<string>(redis, "CLIENT LIST TYPE normal"), (text) => text.trim().split("\n").length)

/** A server becomes a replica of another one, as at a failover behind one address. */
const demote = (wire: RedisProxy, old: Connection, port: number) =>
  Effect.gen(function* () {
    yield* send(old, `REPLICAOF 127.0.0.1 ${port}`)
    yield* wire.moveTo(port)
    yield* until(
      "it is a replica",
      Effect.map(send<string>(old, "INFO replication"), (text) => /master_link_status:up/.test(text))
    )
  })

/** The server is a replica whose primary is away, and it serves no stale data. */
const orphan = (old: Connection) =>
  Effect.gen(function* () {
    const away = yield* freePort
    yield* send(old, "CONFIG SET replica-serve-stale-data no")
    yield* send(old, `REPLICAOF 127.0.0.1 ${away}`)
  })

/** The server loads its data for about ten seconds, as after a start with a large file. */
const load = (old: Connection) =>
  Effect.gen(function* () {
    yield* send(old, "EVAL", "for i = 1, 2000 do redis.call('SET', 'key' .. i, string.rep('x', 1000)) end", "0")
    yield* send(old, "CONFIG SET key-load-delay 5000")
    yield* send(old, "CONFIG SET loading-process-events-interval-bytes 1024")
    yield* Effect.forkScoped(Effect.ignoreCause(send(old, "DEBUG RELOAD")))
  })

/** What a server answers to every command after a failover, and how it comes to that. */
const replies = [
  ["MASTERDOWN", orphan],
  ["LOADING", load]
] as const

const ofClient = (warnings: ReadonlyArray<string>) => warnings.filter((line) => line.startsWith("Redis"))

describe.each(faces)("a process with %s", (_, start) => {
  live(
    "gets a new client when its server has become a replica, logs it once, and closes the old client",
    Effect.gen(function* () {
      const [old, next] = [yield* redisServer, yield* redisServer]
      const wire = yield* redisProxy(old.port)
      const admin = yield* connection(old.url)
      const pair = [yield* start(wire.url), yield* start(wire.url)] as const
      yield* together(pair)
      yield* demote(wire, admin, next.port)
      yield* together(pair)
      for (const { warnings } of pair) {
        assert.lengthOf(ofClient(warnings()), 1)
        assert.match(ofClient(warnings())[0] ?? "", /^Redis: the connection does not work \(.*READONLY/)
      }
      yield* until(
        "only the test is connected with the old server",
        Effect.map(clients(admin), (n) => n === 1)
      )
      for (const { end } of pair) yield* end
      yield* until(
        "nothing is open",
        Effect.sync(() => wire.open() === 0)
      )
    }),
    120_000
  )

  for (const [reply, trouble] of replies) {
    live(
      `gets a new client when its server answers ${reply}, and says it once`,
      Effect.gen(function* () {
        const options = [...inMemory, "--enable-debug-command", "yes"]
        const [old, next] = [yield* startRedis({ options }), yield* redisServer]
        const wire = yield* redisProxy(old.port)
        const admin = yield* connection(old.url)
        const pair = [yield* start(wire.url), yield* start(wire.url)] as const
        yield* together(pair)
        yield* wire.moveTo(next.port)
        yield* trouble(admin)
        yield* together(pair)
        for (const { warnings } of pair) {
          assert.lengthOf(ofClient(warnings()), 1)
          assert.match(ofClient(warnings())[0] ?? "", new RegExp(`^Redis: the connection does not work \\(.*${reply}`))
        }
      }),
      120_000
    )
  }

  live(
    "gets a new client when its connections are silent, logs it once, and closes the old client",
    Effect.gen(function* () {
      const wire = yield* redisProxy((yield* redisServer).port)
      const pair = [yield* start(wire.url), yield* start(wire.url)] as const
      yield* together(pair)
      const before = wire.accepted()
      yield* wire.silence()
      yield* pair[0].isolate
      yield* isolated(pair[1])
      for (const { warnings } of pair) {
        const provenance = ofClient(warnings())
        assert.lengthOf(provenance, 1)
        assert.match(provenance[0] ?? "", /^Redis: the connection does not work \(no answer for \d+ ms\)/)
      }
      yield* until(
        "each has two new connections, and no other is open",
        Effect.sync(() => wire.accepted() === before + 4 && wire.open() === 4)
      )
    }),
    120_000
  )

  live(
    "does not get new clients in a tight loop while the server stays a replica",
    Effect.gen(function* () {
      const [old, primary] = [yield* redisServer, yield* redisServer]
      const wire = yield* redisProxy(old.port)
      const one = yield* start(wire.url)
      yield* one.isolate
      const admin = yield* connection(old.url)
      yield* send(admin, `REPLICAOF 127.0.0.1 ${primary.port}`)
      const before = wire.accepted()
      yield* one.release
      yield* until(
        "it is replaced",
        Effect.sync(() => wire.accepted() > before)
      )
      yield* Effect.sleep("5 seconds")
      assert.isAtMost(wire.accepted() - before, 2 * 7)
      assert.isAtMost(wire.open(), 4)
      assert.lengthOf(ofClient(one.warnings()), 1)
      yield* send(admin, "REPLICAOF NO ONE")
    }),
    120_000
  )
})

describe("a program without Effect", () => {
  live(
    "ends by itself after its client was replaced, also while the old connection is silent",
    Effect.gen(function* () {
      const wire = yield* redisProxy((yield* redisServer).port)
      const code = `
        import { createBreaker } from "effect-fuse/promise"
        const breaker = createBreaker(async () => "ok", {
          name: "api", redis: ${JSON.stringify(wire.url)},
          log: (level, message) => message.startsWith("Redis") && console.log(level, message)
        })
        await breaker.execute()
        await breaker.isolate()
        await new Promise((resolve) => setTimeout(resolve, 500))
        console.log("ready")
        process.stdin.ref?.()
        process.stdin.once("data", () => { process.stdin.destroy() })`
      const args = ["--conditions=@effect-fuse/source", "--disable-warning=ExperimentalWarning", "--input-type=module"]
      const child = spawn(process.execPath, [...args, "--eval", code], {
        cwd: root,
        stdio: ["pipe", "pipe", "inherit"]
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => void child.kill("SIGKILL")))
      const lines: Array<string> = []
      createInterface({ input: child.stdout }).on("line", (line) => lines.push(line))
      const ended = new Promise<number | null>((resolve) => child.once("close", resolve))
      yield* until(
        "ready",
        Effect.sync(() => lines.includes("ready"))
      )
      yield* wire.silence()
      yield* until(
        "replaced",
        Effect.sync(() => lines.some((line) => line.startsWith("warn Redis: the connection does not work")))
      )
      child.stdin.write("\n")
      assert.strictEqual(yield* Effect.promise(() => ended), 0)
      assert.lengthOf(lines, 2)
    }),
    120_000
  )
})

/** Gives the user `app` a new password, and ends its connections. */
const rotate = (admin: Connection, password: string) =>
  Effect.andThen(
    send(admin, "ACL", "SETUSER", "app", "on", "resetpass", `>${password}`, "~*", "&*", "+@all"),
    Effect.ignoreCause(send(admin, "CLIENT KILL USER app"))
  )

describe("a password that is rotated", () => {
  live(
    "is read again for the next client, if the layer reads it",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const admin = yield* connection(url)
      let password = "first"
      yield* rotate(admin, password)
      const redis = Layer.unwrap(
        Effect.sync(() =>
          NodeRedis.layer({ url: `redis://127.0.0.1:${port}`, username: "app", password, disableOfflineQueue: true })
        )
      )
      const store = yield* RedisStore.connect(redis)
      yield* store.page(0, 1)
      yield* rotate(admin, "second")
      password = "second"
      yield* until("it answers again", Effect.map(Effect.exit(Effect.timeout(store.page(0, 1), 250)), Exit.isSuccess))
    }),
    120_000
  )
})

describe("the URL of a program without Effect", () => {
  live(
    "is asked for each client if it is a function, and a wrong one is reported without its text",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const admin = yield* connection(url)
      const lines: Array<string> = []
      let password = "first"
      yield* rotate(admin, password)
      const urls: Array<string | undefined> = ["s3cret-text"]
      const manager = createManager({
        redis: { url: async () => urls.pop() ?? `redis://app:${password}@127.0.0.1:${port}` },
        log: (_, message) => void lines.push(message)
      })
      yield* Effect.addFinalizer(() => Effect.promise(() => manager.shutdown()))
      const breaker = manager.register("api", async () => "ok")
      const isShared = Effect.map(
        send<ReadonlyArray<string>>(admin, "ZRANGE {effect-fuse}:voters 0 -1"),
        (voters) => voters.length === 1
      )
      yield* Effect.promise(() => breaker.execute())
      yield* until("it is one of the fleet", isShared)
      assert.match(lines.join(), /expected a URL such as redis:\/\/localhost:6379 from the function/)
      assert.notInclude(lines.join(), "s3cret")
      yield* rotate(admin, "second")
      password = "second"
      yield* send(admin, "DEL {effect-fuse}:voters")
      yield* until("it is one of the fleet again", isShared)
    }),
    120_000
  )
})

describe("a subscription beside a healthy connection", () => {
  live(
    "is replaced when it is silent",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const wire = yield* redisProxy(port)
      const redis = Context.get(yield* connection(wire.url), Redis.Redis)
      const admin = yield* connection(url)
      const store = yield* redisStore(redis, {}, { quietMillis: 200, answerMillis: 300 })
      const announce = send(admin, "PUBLISH", "{effect-fuse}:changes", '["I 1 api box"]')
      const hearsMore = yield* listener(store, announce)
      yield* hearsMore
      // While it hears itself it stays.
      yield* Effect.sleep("2 seconds")
      assert.strictEqual(wire.accepted(), 2)
      yield* wire.silence("subscribers")
      yield* hearsMore
      assert.strictEqual(wire.accepted(), 3)
      yield* until(
        "the silent one is closed",
        Effect.sync(() => wire.open() === 2)
      )
    }),
    120_000
  )

  live(
    "stays where the user may not publish",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const admin = yield* connection(url)
      yield* send(admin, "ACL SETUSER listener on >secret ~* &* +@all -publish")
      const wire = yield* redisProxy(port)
      const redis = yield* connection(wire.url.replace("redis://", "redis://listener:secret@"))
      const store = yield* redisStore(Context.get(redis, Redis.Redis), {}, { quietMillis: 20, answerMillis: 20 })
      yield* Effect.forkScoped(Stream.runDrain(store.changes))
      yield* until(
        "it listens",
        Effect.map(
          send<ReadonlyArray<unknown>>(admin, "PUBSUB NUMSUB {effect-fuse}:changes"),
          ([, n]) => Number(n) === 1
        )
      )
      yield* Effect.sleep("1 second")
      assert.strictEqual(wire.accepted(), 2)
    }),
    120_000
  )
})

describe("a client that the program made", () => {
  live(
    "is reported once when its server has become a replica",
    Effect.gen(function* () {
      const [old, next] = [yield* redisServer, yield* redisServer]
      const redis = yield* connection(old.url)
      const lines: Array<Line> = []
      const store = RedisStore.layer({ syncInterval: 200 }).pipe(Layer.provide(Layer.succeedContext(redis)))
      const program = Effect.gen(function* () {
        yield* CircuitBreaker.isolate("api")
        yield* send(redis, `REPLICAOF 127.0.0.1 ${next.port}`)
        yield* until(
          "reported",
          Effect.sync(() => lines.some(({ message }) => message.includes("so it is not replaced")))
        )
        yield* Effect.sleep("3 seconds")
      })
      yield* capture(lines, Effect.provide(program, Layer.provideMerge(store, BreakerPolicy.layer({}))))
      const warnings = lines.filter(({ message }) => message.includes("so it is not replaced"))
      assert.lengthOf(warnings, 1)
      assert.match(warnings[0]?.message ?? "", /READONLY.*layerConnect/)
    }),
    120_000
  )
})

describe("the command line", () => {
  live(
    "reports that the server is a replica, and what to do",
    Effect.gen(function* () {
      const [old, next] = [yield* redisServer, yield* redisServer]
      const admin = yield* connection(old.url)
      yield* send(admin, `REPLICAOF 127.0.0.1 ${next.port}`)
      const { code, error } = yield* run(["isolate", "api", "--new", "--yes", "--reason", "drill", "--redis", old.url])
      assert.strictEqual(code, 2)
      assert.match(error, /READONLY/)
      assert.include(error, "This server is a replica, which takes no writes. Use the URL of the primary.")
    }),
    60_000
  )

  live(
    "reports that a password is missing, and what to do",
    Effect.gen(function* () {
      const { url } = yield* redisServer
      yield* send(yield* connection(url), "CONFIG SET requirepass secret")
      const { code, error } = yield* run(["list", "--redis", url])
      assert.strictEqual(code, 2)
      assert.include(error, "Check the user and the password in the URL.")
    }),
    60_000
  )
})
