/**
 * Three processes, one circuit: they open together, close together, and get on without Redis when they have to.
 *
 *     npm run demo:fleet            starts a redis-server of its own
 *     REDIS_URL=redis://... npm run demo:fleet
 *
 * What a process has to do for this is the first part of `fleet/worker.ts`; all else is the show. It ends with 0 if
 * everything that it checks has held.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Logger, pipe } from "effect"
import { acts, type Result, type Stage } from "./fleet/acts.ts"
import { startFleet } from "./fleet/fleet.ts"
import { server as startServer } from "./fleet/redis.ts"
import { openShop } from "./fleet/shop.ts"
import { legend, paint, row, title, told, wrap } from "./fleet/timeline.ts"

const names = ["ann", "bob", "cid"] as const

/** A row for each second. */
const watch = ({ heard, shop }: Stage, redisUp: () => boolean) => {
  let shown = 0
  const next = Effect.suspend(() => {
    const calls = heard.calls.slice(shown)
    shown = heard.calls.length
    return Console.log(row({ mood: shop.mood(), redisUp: redisUp(), names, calls, moves: heard.moves }))
  })
  return Effect.forever(Effect.delay(next, "1 second"))
}

const program = Effect.gen(function* () {
  let redisUp = true
  yield* Console.log(`Starting Redis and three processes that share one circuit: ${names.join(", ")}`)
  const server = yield* startServer
  const shop = yield* openShop
  const prefix = `demo-${process.pid}`
  const { heard, workers } = yield* startFleet(names, [shop.url, server.url, prefix], (move) => {
    const line = told(move)
    if (line !== undefined) console.log(line)
  }).pipe(Effect.orDie)
  const [ann, bob, cid] = workers
  if (ann === undefined || bob === undefined || cid === undefined) return false
  const setRedisUp = (up: boolean) => {
    redisUp = up
  }
  const stage: Stage = { server, prefix, shop, workers: [ann, bob, cid], heard, setRedisUp }

  yield* Console.log(legend(names))
  yield* Effect.forkScoped(watch(stage, () => redisUp))
  const lines: Array<string> = []
  let held = true
  for (const act of acts) {
    if (act.needsPower && server.power === undefined) {
      lines.push(`${paint("yellow", "skipped")}  ${wrap(`${act.title}: the server of REDIS_URL is not mine to kill`)}`)
      continue
    }
    yield* Console.log(title(act.title))
    const result = yield* Effect.orDie(act.play(stage))
    yield* Console.log(`         ${paint("bold", wrap(result.says))}`)
    const failed = failedChecks(result)
    held &&= failed.length === 0
    lines.push(verdict(act.title, result, failed))
  }
  yield* Console.log(`${title("What was checked")}\n${lines.join("\n")}`)
  return held
})

const failedChecks = ({ checks }: Result): ReadonlyArray<string> =>
  Object.keys(checks).filter((check) => checks[check] !== true)

const verdict = (title: string, { checks }: Result, failed: ReadonlyArray<string>): string =>
  failed.length === 0
    ? `${paint("green", "ok")}       ${wrap(`${title}: ${Object.keys(checks).join(", ")}`)}`
    : `${paint("red", "FAILED")}   ${wrap(`${title}: not so: ${failed.join(", ")}`)}`

/** What is missing is said in words; anything else is a bug, and shown as one. */
const show = Effect.catchTag(Effect.scoped(program), "NoRedis", ({ message }) =>
  Effect.as(Console.error(message), false)
)

// A terminal that is closed ends it as Ctrl-C does.
process.once("SIGHUP", () => process.kill(process.pid, "SIGTERM"))

pipe(
  show,
  Effect.tap((held) =>
    Effect.sync(() => {
      process.exitCode = held ? 0 : 1
    })
  ),
  Effect.provide(Logger.layer([])),
  NodeRuntime.runMain
)
