/** Somebody beside the fleet, on a connection that no fault is meant for: hears each record that is written. */
import { NodeRedis } from "@effect/platform-node"
import { Effect, Layer, Logger, Queue, Schedule } from "effect"
import { Redis } from "effect/persistence"
import type { Circuit } from "effect-fuse"
import { type Name, now } from "./lines.ts"

/** A record of the fleet's; times in its state are milliseconds from when it was written. */
export interface Record {
  readonly c: Name
  readonly era: number
  /** By the server's clock, which an era is made of. */
  readonly at: number
  readonly why: Circuit.Why
  readonly process: string
  readonly state: {
    readonly _tag: Circuit.State
    readonly until?: number | null
    readonly openings?: number
    readonly leases?: ReadonlyArray<unknown>
    readonly under?: { readonly openings: number }
  }
}

const read = (message: string, wallToMonotonic: number): Record | undefined => {
  const found = /^R (\d+) (\S+) (.*)$/s.exec(message)
  if (found === null) return undefined
  const [, era = "", c = "", body = ""] = found
  const { process, state, why } = JSON.parse(body)
  return { c: c as Name, era: Number(era), at: Number(era) / 1_000 + wallToMonotonic, why, process, state }
}

/** How its connections are called, so that a fault can leave them alone. */
export const observerName = "observer"

export const observe = (url: string, prefix: string, records: Array<Record>): Effect.Effect<void> => {
  const wallToMonotonic = now() - Date.now()
  const listen = Effect.gen(function* () {
    const redis = yield* Redis.Redis
    const messages = yield* redis.subscribe(`{${prefix}}:changes`)
    return yield* Effect.forever(
      Effect.map(Queue.take(messages), ({ message }) => {
        const record = read(message, wallToMonotonic)
        if (record !== undefined) records.push(record)
      })
    )
  })
  return Effect.scoped(listen).pipe(
    Effect.provide(NodeRedis.layer({ url, name: observerName })),
    Effect.ignoreCause,
    Effect.repeat(Schedule.spaced("20 millis")),
    Effect.provide(Logger.layer([])),
    Effect.asVoid
  )
}

/** Commands on a connection of their own. */
export const commanding = <A>(
  url: string,
  f: (send: (command: string, ...args: ReadonlyArray<string>) => Effect.Effect<unknown>) => Effect.Effect<A>
): Effect.Effect<A> =>
  Effect.flatMap(Redis.Redis, (redis) => f((...command) => Effect.orDie(redis.send(...command)))).pipe(
    Effect.provide(Layer.orDie(NodeRedis.layer({ url }))),
    Effect.provide(Logger.layer([]))
  )
