/**
 * Three processes share one circuit. They open and close it together, and each continues alone while Redis is away.
 *
 *     npm run demo:fleet            starts a redis-server of its own
 *     REDIS_URL=redis://... npm run demo:fleet
 *
 * The first part of `fleet/worker.ts` is all that a process needs for this; the other files are the demonstration. The exit code is 0 if
 * all checks passed.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Logger, pipe } from "effect"
import { acts, type Result, type Stage } from "./fleet/acts.ts"
import { startFleet } from "./fleet/fleet.ts"
import { servePage } from "./fleet/page.ts"
import { server as startServer } from "./fleet/redis.ts"
import { openShop } from "./fleet/shop.ts"
import { legend, paint, row, title, told, wrap } from "./fleet/timeline.ts"

const names = ["ann", "bob", "cid"] as const

/** Prints a row for each second. */
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
      lines.push(
        `${paint("yellow", "skipped")}  ${wrap(`${act.title}: the demonstration does not kill the server of REDIS_URL`)}`
      )
      continue
    }
    yield* Console.log(title(act.title))
    const result = yield* Effect.orDie(act.play(stage))
    yield* Console.log(`         ${paint("bold", wrap(result.says))}`)
    const failed = failedChecks(result)
    held &&= failed.length === 0
    lines.push(verdict(act.title, result, failed))
    // The page reads the store, and the first act counts the scripts that the processes run there.
    if (lines.length > 1) continue
    const address = yield* servePage(server.url, prefix)
    if (address !== undefined) yield* Console.log(`\nOpen ${address} in a browser to see this fleet live.`)
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

/** Prints a message if Redis is missing. Any other error is a bug, and is printed with its stack. */
const show = Effect.catchTag(Effect.scoped(program), "NoRedis", ({ message }) =>
  Effect.as(Console.error(message), false)
)

// Closing the terminal ends the program as Ctrl-C does.
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
