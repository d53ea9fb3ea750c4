import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Option, Schedule, type Scope } from "effect"
import { ClusterWorkflowEngine } from "effect/cluster"
import { type BreakerPolicy, Trip } from "effect-fuse"
import { upTo } from "./support/batches.ts"
import { type Called, Customer, calledServer, clusterLayer, type Runner, startRunner } from "./support/cluster.ts"
import { on } from "./support/databases.ts"
import { Order } from "./support/workflows.ts"

// The runners of a cluster are processes. They share messages and circuits in one PostgreSQL, and call one server.

const postgres = on("PostgreSQL")
const syncInterval = 500
const customers = upTo(60).map((id) => `customer-${id}`)
const names = ["runner-1", "runner-2", "runner-3"]

/** The circuit stays open during a test, unless the test opens it again with a short cooldown. */
const policy: BreakerPolicy.Input = { trip: Trip.consecutive(4), cooldown: "20 minutes" }

/** Waits for a fact, long enough for the slowest machine. A round of messages can take seconds, so the limit is a time. */
const until = <E, R>(fact: string, holds: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(holds, { until: (it) => it, schedule: Schedule.spaced("20 millis") }).pipe(
    Effect.timeoutOrElse({
      duration: "50 seconds",
      orElse: () => Effect.die(new Error(`waited for 50 seconds, in vain: ${fact}`))
    })
  )

interface Cluster {
  readonly server: Called
  readonly runners: ReadonlyArray<Runner>
  readonly start: (name: string) => Effect.Effect<Runner, never, Scope.Scope>
  /** Sends a message to each customer. The answers, by customer. */
  readonly notifyAll: Effect.Effect<ReadonlyArray<{ readonly runner: string; readonly result: string }>>
}

const cluster = Effect.gen(function* () {
  const place = yield* postgres.place
  const server = yield* calledServer
  const start = (name: string) => startRunner({ ...{ name, syncInterval, policy }, url: place.url, server: server.url })
  const runners = yield* Effect.all(names.map(start), { concurrency: "unbounded" })
  const context = yield* Layer.build(
    Layer.provideMerge(ClusterWorkflowEngine.layer, Layer.fresh(clusterLayer(place.url)))
  )
  const customer = yield* Effect.provideContext(Customer.client, context)
  const notifyAll = Effect.forEach(
    customers,
    (id) =>
      Effect.catch(customer(id).notify(), ({ _tag }) => Effect.succeed({ runner: "none", result: _tag as string })),
    { concurrency: 20 }
  )
  const all: Cluster = { server, runners, start, notifyAll }
  return { ...all, context }
})

const answersBy = (answers: Effect.Success<Cluster["notifyAll"]>) => [...new Set(answers.map(({ runner }) => runner))]
const results = (answers: Effect.Success<Cluster["notifyAll"]>) => [...new Set(answers.map(({ result }) => result))]

/** Sends messages until all of them have this result, and all of these runners have some of the customers. */
const untilAll = ({ notifyAll }: Cluster, result: string, runners: ReadonlyArray<string> = names) =>
  until(
    `all customers are answered "${result}", by ${runners.join(", ")}`,
    Effect.map(
      notifyAll,
      (answers) => results(answers).join() === result && answersBy(answers).sort().join() === runners.join()
    )
  )

const standings = (runners: ReadonlyArray<Runner>) =>
  Effect.map(
    Effect.forEach(runners, ({ seen }) => seen),
    (all) => all.map(({ standing }) => standing)
  )

const live = (name: string, body: Effect.Effect<unknown, unknown, Scope.Scope>) =>
  it.live(name, () => Effect.provide(body, Logger.layer([])), 180_000)

describe("three runners of a cluster, whose circuits are in the database of the cluster,", { tags: ["long"] }, () => {
  live(
    "reject all calls together while the server is down, also the calls of entities that move from a killed runner",
    Effect.gen(function* () {
      const all = yield* cluster
      const { runners, server, start } = all
      yield* untilAll(all, "sent")

      server.down = true
      yield* untilAll(all, "rejected (fleet)")
      assert.deepStrictEqual(yield* standings(runners), Array(3).fill("Open (fleet)"))

      // Another runner replaces a killed one.
      const [killed, ...rest] = runners
      yield* killed?.kill ?? Effect.void
      const before = server.requests.length
      const later = yield* start("runner-4")
      yield* untilAll(all, "rejected (fleet)", ["runner-2", "runner-3", "runner-4"])
      assert.deepStrictEqual(server.requests.slice(before), [])
      assert.deepStrictEqual(yield* standings([...rest, later]), Array(3).fill("Open (fleet)"))

      server.down = false
      yield* later.reopen
      yield* untilAll(all, "sent", ["runner-2", "runner-3", "runner-4"])
      assert.deepStrictEqual(yield* standings([...rest, later]), Array(3).fill("Closed (local)"))
    })
  )

  live(
    "let one runner whose network is broken reject alone",
    Effect.gen(function* () {
      const all = yield* cluster
      const { notifyAll, runners, server } = all
      const [bad, ...rest] = runners
      yield* untilAll(all, "sent")
      server.cut.add("runner-1")
      const of = (isBad: boolean) =>
        Effect.map(notifyAll, (answers) => results(answers.filter(({ runner }) => (runner === "runner-1") === isBad)))
      yield* until(
        "runner-1 rejects its calls",
        Effect.map(of(true), (some) => some.join() === "rejected (local)")
      )
      // Longer than the fleet needs for an opening.
      for (let i = 0; i < 40; i++) {
        assert.deepStrictEqual(yield* of(false), ["sent"])
        yield* Effect.sleep(100)
      }
      assert.deepStrictEqual(yield* standings(bad === undefined ? [] : [bad]), ["Open (local)"])
      for (const { seen } of rest) assert.strictEqual((yield* seen).openings, 0)
    })
  )

  live(
    "move the entities of a frozen runner, which opens no circuit after it is thawed",
    Effect.gen(function* () {
      const all = yield* cluster
      const { notifyAll, runners, server } = all
      const [frozen] = runners
      if (frozen === undefined) return
      yield* untilAll(all, "sent")

      // Calls of the runner are in flight while it is frozen. Their answers arrive, but their timeout is over when it is thawed.
      server.held = "runner-1"
      const sent = yield* Effect.forkChild(notifyAll)
      yield* until(
        "more calls are in flight than the trip counts",
        Effect.sync(() => server.heldCount() > 5)
      )
      yield* frozen.freeze
      server.answer()
      yield* Fiber.join(sent)
      yield* untilAll(all, "sent", ["runner-2", "runner-3"])
      yield* Effect.sleep("4 seconds")
      yield* frozen.thaw

      const { failures, openings } = yield* frozen.seen
      assert.deepStrictEqual({ failures, openings }, { failures: 0, openings: 0 })
      yield* untilAll(all, "sent")
      for (let i = 0; i < 20; i++) {
        assert.deepStrictEqual(results(yield* notifyAll), ["sent"])
        yield* Effect.sleep(100)
      }
      for (const { seen } of runners) assert.strictEqual((yield* seen).openings, 0)
    })
  )
})

describe("a workflow of a cluster that waits for a circuit", { tags: ["long"] }, () => {
  live(
    "moves from a killed runner to another, and continues there when the circuit closes",
    Effect.gen(function* () {
      const all = yield* cluster
      const { context, runners, server } = all
      const [killed, ...rest] = runners
      yield* untilAll(all, "sent")
      server.down = true
      yield* untilAll(all, "rejected (fleet)")
      const before = server.requests.length

      const ids = upTo(30).map(String)
      const execute = Effect.forEach(ids, (id) => Order.execute({ id }, { discard: true }), { discard: true })
      yield* Effect.provideContext(execute, context)
      const ranOn = (runner: string) =>
        new Set(
          server.requests
            .slice(before)
            .filter((request) => request.runner === runner && request.path.startsWith("run/"))
            .map(({ path }) => path)
        )
      yield* until(
        "all workflows have run, some on each runner",
        Effect.sync(() => {
          const counts = names.map((name) => ranOn(name).size)
          return counts.every((count) => count > 0) && counts.reduce((a, b) => a + b) >= ids.length
        })
      )
      const charges = () => server.requests.slice(before).filter(({ path }) => path.startsWith("charge/"))
      assert.deepStrictEqual(charges(), [])
      const moved = ranOn("runner-1")
      yield* killed?.kill ?? Effect.void
      yield* until(
        "the workflows of the killed runner have run on the others",
        Effect.sync(() => {
          const elsewhere = new Set([...ranOn("runner-2"), ...ranOn("runner-3")])
          return [...moved].every((path) => elsewhere.has(path))
        })
      )
      assert.deepStrictEqual(charges(), [])

      server.down = false
      yield* rest[0]?.reopen ?? Effect.void
      const poll = (id: string) => Effect.flatMap(Order.executionId({ id }), (execution) => Order.poll(execution))
      const ended = Effect.map(Effect.provideContext(Effect.forEach(ids, poll), context), (all) =>
        all.flatMap((one) => (Option.isSome(one) && one.value._tag === "Complete" ? [one.value.exit] : []))
      )
      yield* until(
        "all workflows are complete",
        Effect.map(ended, (exits) => exits.length === ids.length)
      )
      assert.deepStrictEqual((yield* ended).filter(Exit.isFailure), [])
      // Each activity ran once, as its first attempt.
      assert.deepStrictEqual(
        charges()
          .map(({ path }) => path)
          .sort(),
        ids.map((id) => `charge/${id}/1`).sort()
      )
      assert.notInclude(
        charges().map(({ runner }) => runner),
        "runner-1"
      )
    })
  )
})
