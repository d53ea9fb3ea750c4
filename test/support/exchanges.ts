import { Effect } from "effect"
import { SharedStore } from "effect-fuse"
import { exchanged } from "./exchanged.ts"
import { type Connection, send } from "./redisFleet.ts"

export { exchanged }

/** An exchange with one swap. */
export const swapOf = (
  store: SharedStore.SharedStore,
  swap: SharedStore.Swap,
  request: Partial<SharedStore.Exchange> = {}
) =>
  Effect.flatMap(exchanged(store, { ...request, swaps: [swap] }), ({ swaps: [answer] }) =>
    answer === undefined ? Effect.die(new Error("the swap has no answer")) : Effect.succeed(answer)
  )

/** An exchange with one cast. */
export const castOf = (
  store: SharedStore.SharedStore,
  cast: SharedStore.Cast,
  request: Partial<SharedStore.Exchange> = {}
) =>
  Effect.flatMap(exchanged(store, { ...request, casts: [cast] }), ({ casts: [answer] }) =>
    answer === undefined ? Effect.die(new Error("the cast has no answer")) : Effect.succeed(answer)
  )

/** A lasting ballot where there is no record. */
export const cast = (more: Partial<SharedStore.Cast> = {}): SharedStore.Cast => ({
  circuit: "api",
  epoch: 0,
  box: "b",
  ballot: [1000, 1, 0, 2],
  ttl: 60_000,
  inquire: 0,
  roll: 0,
  ...more
})

/** A listed record where there is none. */
export const swap = (more: Partial<SharedStore.Swap> = {}): SharedStore.Swap => ({
  circuit: "api",
  expectedEpoch: 0,
  body: "body",
  ttl: 60_000,
  listed: true,
  ...more
})

/** How often each command ran while this did, those that scripts run included. */
export const counted = <A, E, R>(redis: Connection, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    yield* send(redis, "CONFIG RESETSTAT")
    yield* effect
    const text = yield* send<string>(redis, "INFO commandstats")
    const all = new Map(
      Array.from(text.matchAll(/cmdstat_(\S+):calls=(\d+)/g), ([, name = "", n]) => [name, Number(n)])
    )
    all.delete("info")
    all.delete("config|resetstat")
    return all
  })

/** As many circuits as one exchange may have. */
export const circuits = Array.from({ length: SharedStore.limits.casts }, (_, i) => `c${i}`)
