import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { Redis } from "effect/persistence"
import { BreakerPolicy, type BreakerStore, CircuitBreaker, type SharedStore } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { client, redisServer } from "./redisServer.ts"

/** Waits for a fact, long enough for the slowest machine. */
export const until = <E, R>(fact: string, holds: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    for (let i = 0; i < 2_000; i++) {
      if (yield* holds) return
      yield* Effect.sleep(20)
    }
    return yield* Effect.die(new Error(`waited for 40 seconds, in vain: ${fact}`))
  })

export type Connection = Context.Context<Redis.Redis>

/** Effect's Redis service, for as long as the test lasts. */
export const connection = (
  url: string,
  options?: Parameters<typeof client>[1]
): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.gen(function* () {
    const redis = yield* Effect.orDie(Layer.build(client(url, options)))
    const { client: node } = Context.get(redis, NodeRedis.NodeRedis)
    // It would wait for answers, also for those that a test holds back.
    yield* Effect.addFinalizer(() => Effect.sync(() => node.isOpen && node.destroy()))
    return redis
  })

/** A command that a test sends by itself: words, and further arguments with any text. */
export const send = <A = unknown>(
  redis: Connection,
  command: string,
  ...more: ReadonlyArray<string>
): Effect.Effect<A> =>
  Effect.suspend(() => {
    const [name = "", ...args] = command.split(" ")
    return Effect.orDie(Context.get(redis, Redis.Redis).send<A>(name, ...args, ...more))
  })

/** Circuits as another process would have them. */
export interface Replica {
  readonly run: <A, E>(effect: Effect.Effect<A, E, BreakerStore.BreakerStore>) => Effect.Effect<A, E>
  /** Ends it in good order. */
  readonly end: Effect.Effect<void>
}

/** A replica, built on a connection. `policy` holds for all of its circuits. */
export const replica = (
  redis: Connection,
  { policy = {}, ...options }: RedisStore.Options & { readonly policy?: BreakerPolicy.Input } = {}
): Effect.Effect<Replica, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const end = Scope.close(scope, Exit.void)
    yield* Effect.addFinalizer(() => end)
    const policies = BreakerPolicy.layer({ default: policy })
    const store = RedisStore.layer({ syncInterval: 200, ...options }).pipe(Layer.provide(Layer.succeedContext(redis)))
    const context = yield* Effect.orDie(Layer.buildWithScope(Layer.provideMerge(store, policies), scope))
    return { run: (effect) => Effect.provideContext(effect, context), end }
  })

/** What a caller gets, in short: its value, its error, or why it was rejected. */
export const outcome = <A, E>(self: Effect.Effect<A, E, BreakerStore.BreakerStore>) =>
  Effect.map(Effect.exit(self), (exit) => {
    if (Exit.isSuccess(exit)) return String(exit.value)
    const error = Exit.findErrorOption(exit)
    if (error._tag === "None") return "died"
    const { value } = error
    const tagged = value as { readonly _tag?: string; readonly reason?: string; readonly scope?: string }
    return tagged._tag === "CircuitOpen" ? `${tagged.reason} (${tagged.scope})` : (tagged._tag ?? String(value))
  })

export interface Call {
  readonly circuit?: string
  readonly key?: string | undefined
}

const protect = <A, E>(self: Effect.Effect<A, E>, { circuit = "api", key }: Call) =>
  outcome(CircuitBreaker.protect(self, circuit, { key }))

/** A call whose dependency works: `ok`, or why it was rejected. */
export const works = (on: Replica, call: Call = {}): Effect.Effect<string> =>
  on.run(protect(Effect.succeed("ok"), call))

/** A call whose dependency is down: `down`, or why it was rejected. */
export const fails = (on: Replica, call: Call = {}): Effect.Effect<string> => on.run(protect(Effect.fail("down"), call))

/** A call that ends when it is interrupted. */
export const hangs = (on: Replica, call: Call = {}): Effect.Effect<string> => on.run(protect(Effect.never, call))

/** Fails in all of them, in turn, until none of them lets a call through. */
export const trip = (replicas: ReadonlyArray<Replica>, call: Call = {}): Effect.Effect<void> =>
  until(
    "all of them are open, by the fleet's word",
    Effect.gen(function* () {
      for (const one of replicas) yield* fails(one, call)
      const seen = yield* Effect.forEach(replicas, (one) => standing(one, call))
      return seen.every((one) => one === "Open (fleet)")
    })
  )

/** State and scope. */
export const standing = (on: Replica, { circuit = "api", key }: Call = {}): Effect.Effect<string> =>
  Effect.map(on.run(CircuitBreaker.inspect(circuit, { key })), ({ scope, state }) => `${state} (${scope})`)

export const standsAt = (replicas: ReadonlyArray<Replica>, expected: string, call: Call = {}): Effect.Effect<void> =>
  until(
    `${replicas.length} replicas are ${expected}`,
    Effect.map(
      Effect.forEach(replicas, (one) => standing(one, call)),
      (seen) => seen.every((one) => one === expected)
    )
  )

/** How many processes the store takes for living. */
export const living = (redis: Connection, prefix = "effect-fuse"): Effect.Effect<number> =>
  Effect.map(send<number>(redis, `ZCARD {${prefix}}:voters`), Number)

/** The store itself, as the engine uses it. */
export const sharedStore = (
  redis: Connection,
  options: RedisStore.RedisOptions = {}
): Effect.Effect<SharedStore.SharedStore> => Effect.orDie(Effect.provideContext(RedisStore.make(options), redis))

/** A connection to a Redis server of the test's own. */
export const started = Effect.flatMap(redisServer, (server) => connection(server.url))
