import * as Effect from "effect/Effect"
import type * as Redis from "effect/persistence/Redis"
import * as Stream from "effect/Stream"
import type { Times } from "../connection/listening.ts"
import { limits, type SharedStore, StoreError } from "../store/SharedStore.ts"
import { announcements } from "./announcements.ts"
import { evaluate } from "./evaluate.ts"
import { type ExchangeReply, exchange, exchangeArgs, toExchangeAnswer } from "./exchange.ts"
import {
  type DigestsReply,
  digests,
  digestsKeys,
  type LoadReply,
  load,
  type PageReply,
  page,
  pageKeys,
  toDigests,
  toLoadAnswer,
  toPage
} from "./reads.ts"
import { keys } from "./scriptPrelude.ts"

/** Circuits with a longer text are not shared, because several keys and each roll call contain the text. */
export const longestCircuit = 4_096

export const defaultPrefix = "effect-fuse"

/** A store on any Redis client. Only the subscription is judged here; `watched` judges the commands. */
export const redisStore = (
  redis: Redis.Redis["Service"],
  {
    prefix = defaultPrefix,
    subscribe = true
  }: { readonly prefix?: string | undefined; readonly subscribe?: boolean | undefined },
  times?: Times
): Effect.Effect<SharedStore> =>
  Effect.gen(function* () {
    const key = (name: string): string => `{${prefix}}:${name}`
    const channel = key("changes")
    const fixed = keys.map(key)
    const ofPage = pageKeys.map(key)
    const ofLoad = [key("records")]
    const ofDigests = digestsKeys.map(key)
    const ofBallots = ({ circuit }: { readonly circuit: string }) => [
      key(`ballots:${circuit}`),
      key(`until:${circuit}`)
    ]
    const evalExchange = yield* evaluate<ExchangeReply>(redis, exchange)
    const evalPage = yield* evaluate<PageReply>(redis, page)
    const evalLoad = yield* evaluate<LoadReply>(redis, load)
    const evalDigests = yield* evaluate<DigestsReply>(redis, digests)
    const failed =
      (operation: StoreError["operation"]) =>
      ({ cause }: Redis.RedisError) =>
        new StoreError({ operation, cause })
    const run = <Reply, A>(
      operation: StoreError["operation"],
      effect: Effect.Effect<Reply, Redis.RedisError>,
      answer: (reply: Reply) => A
    ) => Effect.mapError(Effect.map(effect, answer), failed(operation))

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
      digests: (after) => run("digests", evalDigests(ofDigests, [after === "" ? "0" : after]), toDigests),
      changes: subscribe ? Stream.mapError(announcements(redis, channel, times), failed("changes")) : Stream.never
    }
    return store
  })
