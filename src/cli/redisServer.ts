import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redis from "effect/persistence/Redis"
import type * as Scope from "effect/Scope"
import { connect, load } from "../redis/client.ts"
import { databaseProblem } from "../redis/environment.ts"
import { defaultPrefix, redisStore } from "../redis/store.ts"
import { redisFields } from "../store/options.ts"
import { type Finding, noAdvice, ok, orElse, versionCheck, warn } from "./findings.ts"
import { CommandFailure } from "./messages.ts"
import { type AskServer, asking, checkedFlags, leadOf, optional, type StoreServer } from "./server.ts"
import type { CommandSettings } from "./settings.ts"
import type { GivenUrl } from "./urls.ts"

type RedisService = Redis.Redis["Service"]

export const redisServer = (
  where: GivenUrl,
  settings: CommandSettings
): Effect.Effect<StoreServer, CommandFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const wrong = databaseProblem(where.url)
    if (wrong !== undefined) return yield* new CommandFailure({ code: 1, message: `${where.from}: ${wrong}` })
    const found = yield* optional("redis", load)
    // `asking` times out before this timeout.
    const connecting = connect(found, where.text, { connectTimeoutMillis: settings.timeout + 1_000 })
    const { redis } = yield* asking(where, settings)(Effect.mapError(connecting, ({ cause }) => cause))
    const options = Option.match(settings.prefix, { onNone: () => ({}), onSome: (prefix) => ({ prefix }) })
    return {
      kind: "Redis",
      label: where.label,
      explain: where.explain,
      store: () => Effect.flatMap(checkedFlags(redisFields, options), (options) => redisStore(redis, options)),
      circuits: (most) =>
        circuitsIn(
          redis,
          Option.getOrElse(settings.prefix, () => defaultPrefix),
          most
        ),
      clockLead: leadOf(
        Effect.map(
          redis.send<ReadonlyArray<string>>("TIME"),
          ([seconds, micros]) => Number(seconds) * 1_000 + Number(micros) / 1_000
        )
      ),
      clockAdvice:
        "Circuits work: the store uses only its own clock. Times in logs and in the trail differ: set up time synchronization.",
      checks: (ask) => Effect.all([version(redis, ask), memory(redis, ask)]),
      announces: true,
      rights:
        "The user needs EVAL, EVALSHA, SCRIPT and TIME, the keys that begin with the prefix, and SUBSCRIBE and PUBLISH on the channel that begins with it."
    }
  })

// ---- Circuits -------------------------------------------------------------------------------------------------------

/** A scan reads about this many keys in each step, and stops after this many steps. */
const scanned = 1_000
const mostScans = 100

/** Collects what a scan finds, up to `most` elements. */
const scan = (
  redis: RedisService,
  most: number,
  command: readonly [name: string, ...args: ReadonlyArray<string>],
  found: (items: ReadonlyArray<string>) => ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, unknown> =>
  Effect.gen(function* () {
    const all: Array<string> = []
    const [name, ...before] = command
    let cursor = "0"
    for (let step = 0; step < mostScans && all.length < most; step++) {
      const args = name === "SCAN" ? [cursor, ...before] : [...before, cursor]
      const reply = redis.send<readonly [string, ReadonlyArray<string>]>(name, ...args, "COUNT", String(scanned))
      const [next, items] = yield* reply
      all.push(...found(items))
      cursor = String(next)
      if (cursor === "0") break
    }
    return all
  })

/** Finds the circuits of all records and ballots with a prefix. The result includes unlisted records. */
const circuitsIn = (
  redis: RedisService,
  prefix: string,
  most: number
): Effect.Effect<ReadonlyArray<string>, unknown> => {
  const begin = `{${prefix}}:ballots:`
  const pattern = `${begin.replaceAll(/[*?[\]\\]/g, "\\$&")}*`
  const every = (_: unknown, index: number): boolean => index % 2 === 0
  const records = scan(redis, most, ["HSCAN", `{${prefix}}:records`], (items) => items.filter(every))
  const ballots = scan(redis, most, ["SCAN", "MATCH", pattern], (keys) => keys.map((key) => key.slice(begin.length)))
  return Effect.map(Effect.all([records, ballots]), (ids) => ids.flat())
}

// ---- Checks ---------------------------------------------------------------------------------------------------------

const infoOf = (text: string, field: string): string | undefined =>
  new RegExp(`^${field}:(.*)$`, "m").exec(text)?.[1]?.trim()

const version = (redis: RedisService, ask: AskServer): Effect.Effect<Finding> =>
  versionCheck(
    "Redis",
    5,
    Effect.map(ask(redis.send<string>("INFO", "server")), (info) => {
      const valkey = infoOf(info, "valkey_version")
      return valkey === undefined ? (infoOf(info, "redis_version") ?? "") : `${valkey} (Valkey)`
    })
  )

/** Checks that Redis does not evict records when its memory is full. */
const memory = (redis: RedisService, ask: AskServer): Effect.Effect<Finding> => {
  const found = Effect.map(ask(redis.send<string>("INFO", "memory")), (info) => {
    const policy = infoOf(info, "maxmemory_policy") ?? "unknown"
    const limited = infoOf(info, "maxmemory") !== "0"
    return limited && policy.startsWith("allkeys")
      ? warn(
          "memory",
          `${policy} of ${infoOf(info, "maxmemory_human") ?? "?"}`,
          "A full Redis evicts circuits. Use noeviction, or a separate Redis."
        )
      : ok("memory", limited ? policy : "no limit")
  })
  return orElse(found, ({ message }) => warn("memory", message, noAdvice))
}
