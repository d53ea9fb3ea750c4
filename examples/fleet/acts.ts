/** The six acts of the demonstration. Each causes an event, waits for its effects, and returns a summary and checks. */

import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Effect } from "effect"
import type { BreakerEvent } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import type { Heard, Worker } from "./fleet.ts"
import { ask, type Server } from "./redis.ts"
import type { Shop } from "./shop.ts"
import { authorOf } from "./timeline.ts"

export interface Stage {
  readonly server: Server
  readonly prefix: string
  readonly shop: Shop
  readonly workers: readonly [Worker, Worker, Worker]
  readonly heard: Heard
  /** Tells the timeline whether the server is up. */
  readonly setRedisUp: (up: boolean) => void
}

/** A summary for the reader, and checks that must hold. */
export interface Result {
  readonly says: string
  readonly checks: Readonly<Record<string, boolean>>
}

export interface Act {
  readonly title: string
  readonly needsPower: boolean
  readonly play: (stage: Stage) => Effect.Effect<Result, unknown>
}

type Transition = BreakerEvent.Transition

/** The reports from now on, and the latest transition of each worker. */
const since = ({ heard, workers }: Stage) => {
  const [calls, moves] = [heard.calls.length, heard.moves.length]
  const movesOf = (worker: Worker): ReadonlyArray<Transition> =>
    heard.moves.slice(moves).flatMap((move) => (move.worker === worker.name ? [move.event] : []))
  return {
    calls: () => heard.calls.slice(calls),
    movesOf,
    moves: () => workers.flatMap(movesOf),
    all: (holds: (last: Transition) => boolean) =>
      workers.every((worker) => {
        const last = movesOf(worker).at(-1)
        return last !== undefined && holds(last)
      })
  }
}

/** Waits until a condition holds, for at most ten seconds. If it does not, a check fails later. */
const until = (holds: () => boolean): Effect.Effect<unknown> =>
  Effect.timeoutOption(
    Effect.suspend(() => Effect.sleep("5 millis")).pipe(Effect.repeat({ until: () => Effect.sync(holds) })),
    "10 seconds"
  )

const isOpen = (scope: Transition["scope"]) => (last: Transition) => last.to === "Open" && last.scope === scope
const isClosed = (last: Transition) => last.to === "Closed"

const tellAll = ({ workers }: Stage, says: (worker: Worker) => string) => workers.map(says).join(", ")

/** How many times the server ran each command, by its own statistics. Each record that is written is published. */
const commandStats = ({ server }: Stage) =>
  Effect.map(ask(server.url, "INFO", "commandstats"), (info) => {
    const of = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(info)?.[1] ?? 0)
    return { scripts: of("evalsha") + of("eval"), lists: of("zcard"), writes: of("publish") + of("set") }
  })

const healthy: Act = {
  title: "1. All is well",
  needsPower: false,
  play: (stage) =>
    Effect.gen(function* () {
      yield* Effect.sleep("500 millis") // until every process has sent a heartbeat
      const before = yield* commandStats(stage)
      const seen = since(stage)
      yield* Effect.sleep("2500 millis")
      const after = yield* commandStats(stage)
      const calls = seen.calls().length
      const [scripts, lists] = [after.scripts - before.scripts, after.lists - before.lists]
      // The statistics of a shared server include the commands of its other clients.
      const mine = stage.server.power !== undefined
      return {
        says:
          `${calls} calls, and 0 commands for them: Redis ran ${scripts} scripts, in ${lists} of which ` +
          "each process sent its heartbeat and read the open circuits, once per second.",
        checks: {
          "all calls were answered": calls > 0 && seen.calls().every(({ end }) => end === "ok"),
          "no script ran for a call": !mine || scripts === lists,
          "no circuit was written": !mine || after.writes === before.writes,
          "no circuit changed its state": seen.moves().length === 0
        }
      }
    })
}

/** Lets the shop fail until all processes have opened the circuit. Returns the number of failed calls. */
const openTogether = (stage: Stage) =>
  Effect.gen(function* () {
    const seen = since(stage)
    stage.shop.setMood("fails")
    yield* until(() => seen.all(isOpen("fleet")))
    const failed = seen.calls().filter(({ end }) => end === "error")
    const openings = seen.moves().filter(isOpen("fleet"))
    const author = openings[0] === undefined ? undefined : authorOf(openings[0])
    const count = tellAll(stage, ({ name }) => `${failed.filter(({ worker }) => worker === name).length} by ${name}`)
    return {
      says: `All three opened together after ${failed.length} failed calls (${count}); ${author} wrote the opening.`,
      checks: {
        "all three opened": seen.all(isOpen("fleet")),
        "one process opened it, once": openings.length === 3 && openings.every((one) => authorOf(one) === author),
        "all give the same reason": new Set(openings.map(({ detail }) => detail)).size === 1
      }
    }
  })

/** Lets the shop answer again, slowly, until all processes have closed the circuit. */
const closeTogether = (stage: Stage) =>
  Effect.gen(function* () {
    yield* Effect.sleep("500 millis")
    const rejected = since(stage)
    yield* Effect.sleep("500 millis")
    const calls = rejected.calls()
    const seen = since(stage)
    stage.shop.setMood("slow")
    yield* until(() => seen.all(isClosed))
    const { beforeAnswer } = stage.shop.seen()
    stage.shop.setMood("works")
    const probes = seen.moves().filter(({ to }) => to === "HalfOpen")
    const [first] = probes
    return {
      says: `${first === undefined ? "No process" : authorOf(first)} sent the only probe, which closed the circuit for all.`,
      checks: {
        "all calls were rejected meanwhile": calls.length > 0 && calls.every(({ end }) => end === "rejected"),
        "one probe reached the shop": beforeAnswer === 1,
        "all learned of the same probe": new Set(probes.map(authorOf)).size === 1,
        "all three closed": seen.all(isClosed)
      }
    }
  })

const together = (stage: Stage) =>
  Effect.map(
    Effect.all([openTogether(stage), closeTogether(stage)]),
    ([opened, closed]): Result => ({
      says: `${opened.says} ${closed.says}`,
      checks: { ...opened.checks, ...closed.checks }
    })
  )

const outage: Act = { title: "2. The shop fails", needsPower: false, play: together }

const badNode: Act = {
  title: "3. One process has a broken network",
  needsPower: false,
  play: (stage) =>
    Effect.gen(function* () {
      const [healthy, bad, other] = stage.workers
      yield* Effect.sleep("1 second")
      const seen = since(stage)
      const last = () => seen.movesOf(bad).at(-1)
      yield* bad.tell("break network")
      yield* until(() => last()?.to === "Open")
      yield* Effect.sleep("1 second")
      const opened = last()
      const others = seen.calls().filter(({ worker }) => worker !== bad.name)
      yield* bad.tell("mend network")
      yield* until(() => last()?.to === "Closed")
      return {
        says: `${bad.name} opened alone; ${healthy.name} and ${other.name} continued with ${others.length} calls.`,
        checks: {
          "it opened by itself": opened?.to === "Open" && opened.scope === "local",
          "the others did not change their state": seen.movesOf(healthy).length + seen.movesOf(other).length === 0,
          "their calls were answered": others.length > 0 && others.every(({ end }) => end === "ok"),
          "it closed again": last()?.to === "Closed"
        }
      }
    })
}

const byHand: Act = {
  title: "4. Olga isolates the shop in one process, and releases it in another",
  needsPower: false,
  play: (stage) =>
    Effect.gen(function* () {
      const [first, second] = stage.workers
      const seen = since(stage)
      yield* first.tell("isolate")
      yield* until(() => seen.all(({ to }) => to === "Isolated"))
      const isolated = seen.all(
        ({ actor, detail, to }) => to === "Isolated" && actor === "olga" && detail !== undefined
      )
      yield* Effect.sleep("200 millis") // for calls in flight
      const during = since(stage)
      yield* Effect.sleep("1 second")
      const calls = during.calls()
      yield* second.tell("release")
      yield* until(() => seen.all(isClosed))
      return {
        says: `She isolated it in ${first.name} and released it in ${second.name}. Both applied to all three.`,
        checks: {
          "all three know who and why": isolated,
          "no call reached the shop": calls.length > 0 && calls.every(({ end }) => end === "rejected"),
          "all were released": seen.all(isClosed)
        }
      }
    })
}

const withoutRedis: Act = {
  title: "5. Redis is killed, and then the shop fails",
  needsPower: true,
  play: (stage) =>
    Effect.gen(function* () {
      yield* stage.server.power?.kill ?? Effect.void
      stage.setRedisUp(false)
      const seen = since(stage)
      yield* Effect.sleep("1 second")
      const before = seen.calls()
      stage.shop.setMood("fails")
      yield* until(() => seen.all(isOpen("local")))
      const opened = seen.all(isOpen("local"))
      yield* Effect.sleep("500 millis")
      const slowest = Math.max(...seen.calls().map(({ millis }) => millis))
      stage.shop.setMood("works")
      yield* until(() => seen.all(isClosed))
      return {
        says: `Each opened by itself, and closed again; the slowest of all calls took ${Math.ceil(slowest)} ms.`,
        checks: {
          "calls were answered without Redis": before.length > 0 && before.every(({ end }) => end === "ok"),
          "each opened by itself": opened,
          "no call waited for Redis": slowest < 1_000,
          "each closed by itself": seen.all(isClosed)
        }
      }
    })
}

/** Reads the number of live processes, without being one of them, until it includes all workers. */
const countLive = ({ prefix, server, workers }: Stage) =>
  Effect.gen(function* () {
    const store = yield* RedisStore.make({ prefix, subscribe: false })
    const { live } = yield* Effect.repeat(Effect.delay(store.page(0, 1), "100 millis"), {
      until: ({ live }) => live === workers.length,
      times: 100
    })
    return live
  }).pipe(Effect.provide(NodeRedis.layer({ url: server.url })))

const reunited: Act = {
  title: "6. Redis is back, empty; and the shop fails once more",
  needsPower: true,
  play: (stage) =>
    Effect.gen(function* () {
      yield* stage.server.power?.start ?? Effect.void
      stage.setRedisUp(true)
      const live = yield* countLive(stage)
      yield* Effect.sleep("1 second")
      const { checks, says } = yield* together(stage)
      return {
        says: `All processes are in the fleet again. ${says}`,
        checks: { "all three are there": live === stage.workers.length, ...checks }
      }
    })
}

export const acts: ReadonlyArray<Act> = [healthy, outage, badNode, byHand, withoutRedis, reunited]
