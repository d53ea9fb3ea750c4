/** A Redis as the store of a soak. */
import { setTimeout as sleep } from "node:timers/promises"
import { NodeRedis } from "@effect/platform-node"
import { Effect, Layer, Logger } from "effect"
import { Redis } from "effect/persistence"
import * as RedisStore from "effect-fuse/RedisStore"
import { redisServer } from "../../test/support/redisServer.ts"
import { listening } from "./observer.ts"
import type { MakeServer } from "./server.ts"

const run = <A>(effect: Effect.Effect<A>): Promise<A> => Effect.runPromise(effect)

/** The name of the observer's connections, so that faults can spare them. */
const observerName = "observer"

type Send = (command: string, ...args: ReadonlyArray<string>) => Effect.Effect<unknown>

/** Runs commands on a separate connection. */
const commanding = <A>(url: string, f: (send: Send) => Effect.Effect<A>): Effect.Effect<A> =>
  Effect.flatMap(Redis.Redis, (redis) => f((...command) => Effect.orDie(redis.send(...command)))).pipe(
    Effect.provide(Layer.orDie(NodeRedis.layer({ url }))),
    Effect.provide(Logger.layer([]))
  )

/** Kills only the subscriptions of the workers, so that the observer misses nothing. */
const killPubsub = (send: Send) =>
  Effect.gen(function* () {
    const clients = String(yield* send("CLIENT", "LIST", "TYPE", "pubsub"))
    const ids = Array.from(clients.matchAll(/^id=(\d+) .*?name=(\S*)/gm), ([, id = "", name]) =>
      name === observerName ? [] : [id]
    ).flat()
    for (const id of ids) yield* send("CLIENT", "KILL", "ID", id)
  })

export const redis: MakeServer = (prefix) =>
  Effect.map(redisServer, ({ kill, pause, port, resume, start, url }) => {
    const say = (f: (send: Send) => Effect.Effect<unknown>) => () => run(Effect.asVoid(commanding(url, f)))
    return {
      port,
      urlBy: (port) => `redis://127.0.0.1:${port}`,
      faults: {
        "redis stopped": async (lasts) => {
          await run(pause)
          await sleep(lasts)
          return run(resume)
        },
        "redis killed": async (lasts, running) => {
          await run(kill)
          await sleep(lasts)
          return running() ? run(start) : undefined
        },
        flushall: say((send) => send("FLUSHALL")),
        "script flush": say((send) => send("SCRIPT", "FLUSH")),
        "kill pubsub": say(killPubsub)
      },
      observe: (records) =>
        listening(
          Effect.flatMap(Layer.build(NodeRedis.layer({ url, name: observerName })), (redis) =>
            Effect.map(Effect.provideContext(RedisStore.make({ prefix }), redis), ({ changes }) => changes)
          ),
          records
        ),
      voters: commanding(url, (send) =>
        Effect.gen(function* () {
          const [seconds] = (yield* send("TIME")) as ReadonlyArray<string>
          const after = `(${Number(seconds) * 1_000}`
          const members = (key: string) =>
            Effect.map(send("ZRANGEBYSCORE", key, after, "+inf"), (found) => found as ReadonlyArray<string>)
          const live = yield* members(`{${prefix}}:voters`)
          const circuits = (yield* send("KEYS", `{${prefix}}:until:*`)) as ReadonlyArray<string>
          const ballots: Array<readonly [string, string]> = []
          // A member consists of a box and a voter.
          for (const circuit of circuits) {
            for (const member of yield* members(circuit)) {
              const [box = "", voter = ""] = member.split("|")
              ballots.push([voter, `${circuit} ${box}`])
            }
          }
          return { live, ballots }
        })
      )
    }
  })
