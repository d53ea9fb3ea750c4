import * as Effect from "effect/Effect"
import * as Redis from "effect/persistence/Redis"
import * as Stream from "effect/Stream"
import { detached } from "../connection/detached.ts"
import { listening, type Times } from "../connection/listening.ts"
import { limits, type SharedStore, StoreError } from "../store/SharedStore.ts"
import { exchangeArgs, toChanges, toExchangeAnswer, toLoadAnswer, toPage } from "./answers.ts"
import { evaluate } from "./evaluate.ts"
import { exchange } from "./exchange.ts"
import { type ExchangeReply, keys, type LoadReply, load, type PageReply, page, pageKeys } from "./scripts.ts"

interface RedisOptions {
  readonly prefix?: string | undefined
  readonly subscribe?: boolean | undefined
}

type Service = Redis.Redis["Service"]

/** Circuits with a longer text are not shared, because several keys and each roll call contain the text. */
export const longestCircuit = 4_096

/** A store on any Redis client. Only the subscription is judged here; `watched` judges the commands. */
export const fromRedis = (
  redis: Service,
  { prefix = "effect-fuse", subscribe = true }: RedisOptions,
  times?: Times
): Effect.Effect<SharedStore> =>
  Effect.gen(function* () {
    const key = (name: string): string => `{${prefix}}:${name}`
    const channel = key("changes")
    const fixed = keys.map(key)
    const ofPage = pageKeys.map(key)
    const ofLoad = [key("records")]
    const ofBallots = ({ circuit }: { readonly circuit: string }) => [
      key(`ballots:${circuit}`),
      key(`until:${circuit}`)
    ]
    const evalExchange = yield* evaluate<ExchangeReply>(redis, exchange)
    const evalPage = yield* evaluate<PageReply>(redis, page)
    const evalLoad = yield* evaluate<LoadReply>(redis, load)
    const run = <Reply, A>(
      operation: StoreError["operation"],
      effect: Effect.Effect<Reply, Redis.RedisError>,
      answer: (reply: Reply) => A
    ) => Effect.mapError(Effect.map(effect, answer), ({ cause }) => new StoreError({ operation, cause }))

    const announce = Effect.match(Effect.timeout(redis.send("PUBLISH", channel, "[]"), "5 seconds"), {
      // Without the right to publish, or while commands fail, the subscription cannot be tried.
      onFailure: () => false,
      onSuccess: () => true
    })
    const silent = () => new Redis.RedisError({ cause: new Error("nothing is heard, not even own announcements") })
    const audible = listening<Redis.RedisMessage, Redis.RedisError>("Redis", announce, silent, times)

    const store: SharedStore = {
      longestCircuit,
      exchange: (request) =>
        run(
          "exchange",
          evalExchange(
            [...fixed, ...request.casts.flatMap(ofBallots), ...request.swaps.flatMap(ofBallots)],
            exchangeArgs(channel, request)
          ),
          toExchangeAnswer
        ),
      page: (since, limit) => run("page", evalPage(ofPage, [since, Math.min(limit, limits.page)]), toPage),
      load: (circuits) => run("load", evalLoad(ofLoad, circuits), (reply) => toLoadAnswer(circuits, reply)),
      changes: subscribe
        ? Stream.unwrap(
            Effect.map(detached(redis.subscribe(channel)), (messages) => audible(Stream.fromQueue(messages)))
          ).pipe(
            Stream.mapError(({ cause }) => new StoreError({ operation: "changes", cause })),
            Stream.flatMap(({ message }) => Stream.fromIterable(toChanges(message)))
          )
        : Stream.never
    }
    return store
  })
