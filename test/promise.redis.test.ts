import { spawn } from "node:child_process"
import { type AddressInfo, createServer, type Server } from "node:net"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import {
  type Breaker,
  createManager,
  type Manager,
  type Metrics,
  StoreUnavailableError,
  trip
} from "effect-fuse/promise"
import { connection, send } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisServer } from "./support/redisServer.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

type Pair = Readonly<Record<"own" | "shared", { readonly state: string; readonly isolate: () => Promise<void> }>>

/** A separate program that can be told to continue, and that ends by itself. */
const program = (code: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const script = `
        import { createInterface } from "node:readline"
        import { createBreaker, createManager, trip } from "effect-fuse/promise"
        const say = (line) => console.log(line)
        const goOn = () => new Promise((resolve) => {
          process.stdin.ref?.()
          const lines = createInterface({ input: process.stdin })
          lines.once("line", () => { lines.close(); process.stdin.unref?.(); resolve() })
        })
        ${code}`
      const args = ["--conditions=@effect-fuse/source", "--disable-warning=ExperimentalWarning", "--input-type=module"]
      const child = spawn(process.execPath, [...args, "--eval", script], { cwd: root, stdio: ["pipe", "pipe", "pipe"] })
      const lines: Array<string> = []
      let errors = ""
      createInterface({ input: child.stdout }).on("line", (line) => lines.push(line))
      child.stderr.on("data", (data) => {
        errors += data
      })
      const exited = new Promise<number | string>((resolve) =>
        child.once("close", (code, signal) => resolve(code ?? signal ?? "?"))
      )
      return {
        child,
        lines,
        said: (line: string) =>
          Effect.promise(async () => {
            for (let i = 0; i < 2_000 && !lines.includes(line); i++)
              await new Promise((resolve) => setTimeout(resolve, 10))
            assert.include(lines, line, errors)
          }),
        goOn: Effect.sync(() => void child.stdin.write("\n")),
        ends: Effect.promise(async () => {
          const code = await Promise.race([
            exited,
            new Promise<string>((resolve) => setTimeout(() => resolve("still alive"), 20_000))
          ])
          assert.strictEqual(code, 0, errors)
        })
      }
    }),
    ({ child }) => Effect.sync(() => void child.kill("SIGKILL"))
  )

const redisBreaker = (url: string) => `
  const breaker = createBreaker(async () => "ok", {
    name: "api", redis: ${JSON.stringify(url)}, cooldown: "1 hour", trip: trip.consecutive(1)
  })
  await breaker.ready()`

describe("a program that ends", () => {
  live(
    "is not kept alive by circuits in memory, open ones and health checks included",
    Effect.gen(function* () {
      const { ends, lines } = yield* program(`
        const breaker = createBreaker(async () => { throw new Error("down") }, {
          trip: trip.consecutive(1), cooldown: "1 hour",
          probe: { check: () => false, every: "10 millis" }
        })
        breaker.on("open", () => say("open"))
        await breaker.execute().catch(() => {})
        say(breaker.state)`)
      yield* ends
      assert.sameMembers(lines, ["open", "Open"])
    }),
    60_000
  )

  live(
    "waits for its calls: their timers are not those of the background",
    Effect.gen(function* () {
      const { ends, lines } = yield* program(`
        let calls = 0
        const breaker = createBreaker(async () => { if (++calls < 3) throw new Error("down"); return calls }, {
          retry: { times: 2, minDelay: 200, jitter: 0 }
        })
        say(await breaker.execute())
        const slow = createBreaker(() => new Promise(() => {}), { timeout: 300 })
        say(await slow.execute().catch((error) => error.code))`)
      yield* ends
      assert.deepStrictEqual(lines, ["3", "TIMEOUT"])
    }),
    60_000
  )

  for (const [what, away] of [
    ["that is there", "stays"],
    ["that was killed", "kill"],
    ["that hangs", "pause"]
  ] as const) {
    live(
      `is not kept alive by a Redis ${what}`,
      Effect.gen(function* () {
        const server = yield* redisServer
        const { ends, goOn, lines, said } = yield* program(`${redisBreaker(server.url)}
          say(await breaker.execute())
          await goOn()
          say(await breaker.execute())
          say(breaker.state)`)
        yield* said("ok")
        if (away === "kill") yield* server.kill
        if (away === "pause") yield* server.pause
        yield* goOn
        yield* ends
        assert.deepStrictEqual(lines, ["ok", "ok", "Closed"])
        if (away === "pause") yield* server.resume
      }),
      60_000
    )
  }

  live(
    "is not kept alive by a Redis that never was there, and is protected all the same",
    Effect.gen(function* () {
      const { ends, lines } = yield* program(`
        const logged = []
        const breaker = createBreaker(async () => { throw new Error("down") }, {
          redis: "redis://127.0.0.1:1", trip: trip.consecutive(1), log: (level, message) => logged.push([level, message])
        })
        await breaker.ready()
        await breaker.execute().catch((error) => say(error.message))
        await breaker.execute().catch((error) => say(error.code))
        const isTold = () => logged.some(([level, message]) => level === "warn" && message.includes("Redis cannot be used yet"))
        for (let i = 0; i < 3_000 && !isTold(); i++) await new Promise((resolve) => setTimeout(resolve, 10))
        say(isTold())`)
      yield* ends
      assert.deepStrictEqual(lines, ["down", "CIRCUIT_OPEN", "true"])
    }),
    60_000
  )

  live(
    "keeps a circuit with fleet: false to itself, also if it is isolated before its first call",
    Effect.gen(function* () {
      const server = yield* redisServer
      const managers = [createManager({ redis: server.url }), createManager({ redis: server.url })] as const
      yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all(managers.map((one) => one.shutdown()))))
      const [mine, theirs] = managers.map((one) => ({
        own: one.register("own", async () => "ok", { fleet: false }),
        shared: one.register("shared", async () => "ok")
      })) as unknown as [Pair, Pair]
      yield* Effect.promise(async () => {
        await mine.own.isolate()
        await mine.shared.isolate()
        // What was told later has arrived.
        for (let i = 0; i < 2_000 && theirs.shared.state !== "Isolated"; i++)
          await new Promise((go) => setTimeout(go, 5))
      })
      const states = [mine.own, mine.shared, theirs.shared, theirs.own].map(({ state }) => state)
      assert.deepStrictEqual(states, ["Isolated", "Isolated", "Isolated", "Closed"])
    }),
    60_000
  )

  for (const shutdown of [false, true]) {
    live(
      `is not kept alive by a server that takes connections and never answers${shutdown ? ", nor after a shutdown" : ""}`,
      Effect.gen(function* () {
        const silent = yield* Effect.acquireRelease(
          Effect.promise(
            () =>
              new Promise<Server>((resolve) => {
                const server = createServer(() => {})
                server.listen(0, "127.0.0.1", () => resolve(server))
              })
          ),
          (server) => Effect.sync(() => void server.close())
        )
        const { port } = silent.address() as AddressInfo
        const { ends, lines } = yield* program(`
          const breaker = createBreaker(async () => "ok", { name: "api", redis: "redis://127.0.0.1:${port}" })
          say(await breaker.execute())
          ${shutdown ? "await breaker.shutdown()" : ""}`)
        yield* ends
        assert.deepStrictEqual(lines, ["ok"])
      }),
      60_000
    )
  }

  live(
    "waits until operator actions are written to Redis",
    Effect.gen(function* () {
      const server = yield* redisServer
      const { ends, lines } = yield* program(`
        const breaker = createBreaker(async () => "ok", { name: "api", redis: ${JSON.stringify(server.url)}, timeout: false })
        await breaker.execute()
        await new Promise((resolve) => setTimeout(resolve, 500))
        await breaker.open({ for: 300 })
        // The slot of a probe is asked for, and may be granted late.
        const later = () => new Promise((resolve) => setTimeout(resolve, 50))
        const recovered = () => breaker.execute().catch(() => later().then(recovered))
        say(await recovered())
        await breaker.isolate()
        say(breaker.state)`)
      yield* ends
      assert.deepStrictEqual(lines, ["ok", "Isolated"])
    }),
    60_000
  )

  live(
    "after a shutdown holds no connection",
    Effect.gen(function* () {
      const server = yield* redisServer
      const redis = yield* connection(server.url)
      const clients = Effect.map(send<string>(redis, "CLIENT", "LIST"), (text) => text.trim().split("\n").length)
      const before = yield* clients
      const { ends, goOn, said } = yield* program(`${redisBreaker(server.url)}
        await breaker.execute()
        await new Promise((resolve) => setTimeout(resolve, 300))
        say("connected")
        await goOn()
        await breaker.shutdown()
        say("shut down")
        await goOn()`)
      yield* said("connected")
      assert.isAbove(yield* clients, before)
      yield* goOn
      yield* said("shut down")
      assert.strictEqual(yield* clients, before)
      yield* goOn
      yield* ends
    }),
    60_000
  )
})

const until = (what: string, fact: () => boolean) =>
  Effect.promise(async () => {
    for (let i = 0; i < 3_000 && !fact(); i++) await new Promise((resolve) => setTimeout(resolve, 10))
    assert.isTrue(fact(), what)
  })

const managers = (url: string, n: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const all = Array.from({ length: n }, (_, i) =>
        createManager({ redis: { url, prefix: "shop", process: `p${i}` } })
      )
      await Promise.all(all.map((one) => one.ready()))
      return all
    }),
    (all: ReadonlyArray<Manager>) => Effect.promise(() => Promise.all(all.map((one) => one.shutdown())))
  )

describe("managers with one Redis", () => {
  live(
    "share overrides, openings of the fleet, and their ends",
    Effect.gen(function* () {
      const { url } = yield* redisServer
      const all = yield* managers(url, 3)
      let down = false
      const breakers = all.map((manager) =>
        manager.register(
          "api",
          async () => {
            if (down) throw new Error("down")
            return "ok"
          },
          { trip: trip.consecutive(2), cooldown: "1 second" }
        )
      )
      const states = () => breakers.map(({ state }) => state)
      const all3 = (state: Metrics["state"]) => () => states().every((one) => one === state)
      const [first] = breakers
      assert(first !== undefined)
      yield* Effect.promise(() => Promise.all(breakers.map((one) => one.execute())))
      yield* Effect.promise(() => first.isolate({ reason: "migration" }))
      yield* until("isolated everywhere", all3("Isolated"))
      yield* Effect.promise(() => first.release())
      yield* until("released everywhere", all3("Closed"))
      // All three see it fail: it opens for the fleet.
      down = true
      yield* Effect.promise(() =>
        Promise.all(breakers.flatMap((one) => [one, one, one].map((each) => each.execute().catch(() => {}))))
      )
      yield* until("open everywhere", () => breakers.every((one) => one.metrics.scope === "fleet"))
      down = false
      yield* Effect.promise(async () => {
        for (let i = 0; i < 100 && !all3("Closed")(); i++) {
          await Promise.all(breakers.map((one) => one.execute().catch(() => {})))
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
      })
      assert.deepStrictEqual(states(), ["Closed", "Closed", "Closed"])
    }),
    60_000
  )

  live(
    "share again when Redis is back",
    Effect.gen(function* () {
      const server = yield* redisServer
      const all = yield* managers(server.url, 2)
      const [a, b] = all.map((manager) => manager.register("api", async () => "ok"))
      assert(a !== undefined && b !== undefined)
      yield* Effect.promise(() => a.isolate())
      yield* until("isolated in both", () => b.state === "Isolated")
      yield* server.kill
      assert.strictEqual(yield* Effect.promise(() => a.execute().catch((error) => error.code)), "CIRCUIT_OPEN")
      yield* Effect.sleep("1 second")
      yield* server.start
      yield* Effect.promise(() => a.release())
      yield* until("released in both", () => a.state === "Closed" && b.state === "Closed")
      yield* Effect.promise(() => b.isolate())
      yield* until("isolated in both, again", () => a.state === "Isolated")
    }),
    60_000
  )
})

describe("the fleet's state", () => {
  live(
    "is what the processes have agreed on, and not what one of them decided alone",
    Effect.gen(function* () {
      const server = yield* redisServer
      const managers = [createManager({ redis: server.url }), createManager({ redis: server.url })] as const
      yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all(managers.map((one) => one.shutdown()))))
      const [one, other] = managers.map((manager) =>
        manager.register("api", async () => "ok", { cooldown: "1 hour", trip: trip.consecutive(1) })
      ) as unknown as readonly [Breaker<[], string>, Breaker<[], string>]
      const own = managers[0].register("own", async () => "ok", { fleet: false })
      yield* Effect.promise(() => Promise.all(managers.map((manager) => manager.ready())))
      const stateOf = (breaker: Breaker<[], string>, key?: string) =>
        Effect.promise(() => breaker.distributedState(key))
      assert.deepInclude(yield* stateOf(one), { name: "api", key: undefined, state: "Closed", since: undefined })
      yield* Effect.promise(() => one.isolate({ reason: "migration", actor: "ann", for: "1h" }))
      for (const breaker of [one, other]) {
        const found = yield* stateOf(breaker)
        assert.deepInclude(found, { state: "Isolated", detail: "migration", actor: "ann", why: "Isolated" })
        assert.closeTo((found?.until ?? 0) - (found?.since ?? 0), 3_600_000, 1_000)
      }
      assert.deepInclude(yield* stateOf(other, "eu"), { key: "eu", state: "Closed" })
      assert.isUndefined(yield* stateOf(own))
      yield* server.kill
      const error = yield* Effect.flip(
        Effect.tryPromise({ try: () => one.distributedState(), catch: (error) => error })
      )
      assert.instanceOf(error, StoreUnavailableError)
      assert.match(String(error), /The state of "api" could not be read from the store: /)
      assert.strictEqual(yield* Effect.promise(() => one.execute().catch(() => "rejected")), "rejected")
    }),
    60_000
  )
})
