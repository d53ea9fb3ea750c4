import { stripVTControlCharacters } from "node:util"
import { DeleteItemCommand } from "@aws-sdk/client-dynamodb"
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { Snapshots } from "effect-fuse/audit"
import * as Operator from "effect-fuse/Operator"
import stringWidth from "string-width"
import { type Kind, kinds, type Place, startServers } from "./support/cliPlaces.ts"
import { parsed, run, runs, start } from "./support/commandLine.ts"
import { circuitsTable, dynamoClient } from "./support/dynamoServer.ts"
import { cast, castOf } from "./support/exchanges.ts"
import { listed, load } from "./support/fleet.ts"
import { connection, send, until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { say } from "./support/sqlFleet.ts"

const { all, ready } = startServers()

const few = { concurrency: 3 }

/** Deletes the record of a circuit from its store. */
const forget = (kind: Kind, { prefix, trail }: Place, circuit: string) =>
  Effect.gen(function* () {
    if (kind === "Redis") {
      const redis = yield* connection(all.redis.url)
      yield* send(redis, "HDEL", `{${prefix}}:records`, circuit)
    } else if (kind === "DynamoDB") {
      const client = yield* dynamoClient(all.dynamo.url)
      const Key = { pk: { S: prefix }, sk: { S: `c#${circuit}` } }
      yield* Effect.promise(() => client.send(new DeleteItemCommand({ TableName: circuitsTable, Key })))
    } else {
      yield* say(trail, `DELETE FROM ${prefix}s WHERE circuit = '${circuit}'`)
    }
  })

describe.each(kinds)("A name on %s", (kind) => {
  live(
    "that neither the store nor the trail knows is refused by every command that steers; the error suggests the nearest name",
    Effect.gen(function* () {
      const { flags, outside } = yield* ready(kind)
      yield* Operator.isolate(outside, "payments")
      const verbs = [
        ["isolate", "--yes"],
        ["disable", "--yes"],
        ["open", "--yes"],
        ["reset", "--yes"],
        ["release"],
        ["close"]
      ] as const
      const refused = yield* Effect.forEach(
        verbs,
        ([verb, ...more]) => runs(3, [verb, "paymnet", "--key", "eu", ...more, ...flags]),
        few
      )
      for (const { error, out } of refused) {
        assert.strictEqual(out, "")
        assert.match(error, /^The store knows no circuit named "paymnet"\. Did you mean "payments"\?\n.*add --new\.\n$/)
      }
      const json = yield* runs(3, ["close", "nothing", "--json", ...flags])
      assert.strictEqual(parsed(json.error).error.message, `The store knows no circuit named "nothing".`)
      assert.strictEqual((yield* listed(outside)).length, 1)
      const opened = yield* runs(0, ["open", "paymnet", "--new", "--yes", ...flags])
      assert.match(opened.out, /^"paymnet" is Open/)
    }),
    120_000
  )

  live(
    "is known by the record of any key, also of a closed one, by ballots, and by the trail",
    Effect.gen(function* () {
      const at = yield* ready(kind)
      const { flags, join, outside } = at
      yield* Operator.isolate(outside, "forced", { key: "eu" })
      yield* Operator.isolate(outside, "closed", { key: "eu" })
      yield* Operator.release(outside, "closed", { key: "eu" })
      yield* castOf(outside, cast({ circuit: "suspect", ttl: 600_000 }), { ttl: 600_000 })
      const one = yield* join
      yield* one.run(CircuitBreaker.isolate("trailed"))
      yield* until(
        "the trail has it",
        Effect.map(run(["history", "trailed", "--json", ...flags]), ({ code, out }) => {
          return code === 0 && parsed(out).entries.length > 0
        })
      )
      yield* one.end
      yield* forget(kind, at, "trailed")
      assert.isUndefined(yield* load(outside, "trailed"))
      const names = ["forced", "closed", "suspect", "trailed"]
      yield* Effect.forEach(names, (name) => runs(0, ["release", name, "--yes", ...flags]), few)
    }),
    120_000
  )

  live(
    "serve shows earlier transitions if the trail has them",
    Effect.gen(function* () {
      const { flags, join } = yield* ready(kind)
      const one = yield* join
      yield* one.run(CircuitBreaker.isolate("payments", { reason: "drill", actor: "ann" }))
      yield* one.run(CircuitBreaker.release("payments", { actor: "bob" }))
      yield* until(
        "the trail has it",
        Effect.map(run(["history", "payments", "--json", ...flags]), ({ code, out }) => {
          return code === 0 && parsed(out).entries.length === 2
        })
      )
      const served = yield* start(["serve", "--port", "0", ...flags])
      let transitions: ReadonlyArray<Record<string, unknown>> = []
      yield* until(
        "the page has both",
        Effect.promise(async () => {
          const url = /http:\/\/\S+/.exec(served.out())?.[0]
          const answer = url === undefined ? undefined : await fetch(`${url}api/circuit?id=payments`)
          if (answer?.status !== 200) return false
          transitions = (await answer.json()).transitions
          return transitions.length === 2
        })
      )
      assert.deepStrictEqual(
        transitions.map(({ actor, from, to }) => [from, to, actor]),
        [
          ["Closed", "Isolated", "ann"],
          ["Isolated", "Closed", "bob"]
        ]
      )
      assert.include(transitions[0]?.["why"], "drill")
    }),
    120_000
  )

  live(
    "that show or history do not find gets the nearest known name as a suggestion",
    Effect.gen(function* () {
      const { flags, join } = yield* ready(kind)
      const one = yield* join
      yield* one.run(CircuitBreaker.isolate("payments"))
      yield* until(
        "the trail has it",
        Effect.map(run(["history", "payments", "--json", ...flags]), ({ code, out }) => {
          return code === 0 && parsed(out).entries.length > 0
        })
      )
      const [shown, trail, right] = yield* Effect.all(
        [
          runs(0, ["show", "paymnts", ...flags]),
          runs(0, ["history", "paymnts", ...flags]),
          runs(0, ["history", "payments", "--before", "2020-01-01T00:00:00Z", ...flags])
        ],
        few
      )
      assert.match(shown.out, /^The store has no record of "paymnts": .* Did you mean "payments"\?\n$/)
      assert.strictEqual(trail.out, `The trail has no matching transition. Did you mean "payments"?\n`)
      assert.strictEqual(right.out, "The trail has no matching transition.\n")
    }),
    120_000
  )

  live(
    "is shown with the number of rejected calls, if the trail has snapshots",
    Effect.gen(function* () {
      const { flags, join } = yield* ready(kind)
      const one = yield* join
      const call = Effect.ignore(CircuitBreaker.protect(Effect.void, "api"))
      // The type of a process does not include the trail.
      const take = Snapshots.take({ process: "a" }) as Effect.Effect<void>
      yield* one.run(Effect.andThen(call, take))
      yield* one.run(CircuitBreaker.isolate("api", { reason: "drill" }))
      const none = yield* runs(0, ["show", "api", "--json", ...flags])
      assert.isNull(parsed(none.out).rejected)
      yield* one.run(Effect.andThen(Effect.replicateEffect(call, 3), take))
      const [json, text] = yield* Effect.all(
        [runs(0, ["show", "api", "--json", ...flags]), runs(0, ["show", "api", ...flags])],
        few
      )
      assert.deepStrictEqual(parsed(json.out).rejected, { calls: 3, processes: 1 })
      assert.match(text.out, /^rejected +at least 3 calls \(all keys; snapshots of 1 process\)$/m)
    }),
    120_000
  )
})

describe("The output of list and watch", () => {
  const reason = "the dependency is being moved to another data center, which takes until tomorrow"
  /** 30 circuits of 20 names. */
  const filled = Effect.tap(ready("Redis"), ({ outside }) =>
    Effect.forEach(
      Array.from({ length: 30 }, (_, i) => i),
      (i) =>
        Operator.isolate(outside, i < 19 ? `日本語のサービス-${i}` : "payments", {
          reason,
          actor: "ann",
          ...(i < 19 ? {} : { key: `tenant-${i}` })
        }),
      { concurrency: 8, discard: true }
    )
  )
  const linesOf = (out: string) => stripVTControlCharacters(out).trimEnd().split(/\r?\n/)

  live(
    "fits the width of a terminal and has colors; --wide prints whole lines",
    Effect.gen(function* () {
      const { flags } = yield* filled
      const [narrow, wide, plain] = yield* Effect.all(
        [
          runs(0, ["list", ...flags], { size: [80, 24] }),
          runs(0, ["list", "--wide", ...flags], { size: [80, 24] }),
          runs(0, ["list", ...flags], { size: [80, 24], env: { NO_COLOR: "1" } })
        ],
        few
      )
      for (const line of linesOf(narrow.out)) assert.isAtMost(stringWidth(line), 80, line)
      assert.strictEqual(linesOf(narrow.out).length, 1 + 20 + 2)
      assert.include(narrow.out, "\u001b[31mIsolated\u001b[39m")
      assert.include(narrow.out, "…")
      assert.include(linesOf(wide.out)[1] ?? "", reason)
      assert.notInclude(plain.out, "\u001b")
    }),
    60_000
  )

  live(
    "has whole lines and no colors in a pipe; FORCE_COLOR adds colors, but not to JSON",
    Effect.gen(function* () {
      const { flags } = yield* filled
      const [file, forced, json] = yield* Effect.all(
        [
          runs(0, ["list", ...flags]),
          runs(0, ["list", ...flags], { env: { FORCE_COLOR: "1" } }),
          runs(0, ["list", "--json", ...flags], { env: { FORCE_COLOR: "1" } })
        ],
        few
      )
      assert.notInclude(file.out, "\u001b")
      assert.include(linesOf(file.out)[1] ?? "", reason)
      assert.include(forced.out, "\u001b[31m")
      // How wide columns are depends on the times in them.
      const titles = (out: string) => linesOf(out)[0]?.split(/ {2,}/)
      assert.deepStrictEqual(titles(forced.out), titles(file.out))
      assert.notInclude(json.out, "\u001b")
    }),
    60_000
  )

  live(
    "has no more rows than the terminal, if it is watched",
    Effect.gen(function* () {
      const { flags } = yield* filled
      const running = yield* start(["watch", "--every", "100ms", ...flags], { size: [80, 20] })
      const screens = () => running.out().split("\u001b[2J\u001b[H").slice(1)
      yield* until(
        "it drew twice",
        Effect.sync(() => screens().length >= 3)
      )
      const lines = linesOf(screens()[1] ?? "")
      assert.isAtMost(lines.length, 19)
      assert.include(lines.join("\n"), "and 7 more")
      yield* running.say("\u0003")
      yield* running.ended
    }),
    60_000
  )

  live(
    "has only the circuits that the flags select, as a table and as JSON",
    Effect.gen(function* () {
      const { flags, outside } = yield* filled
      yield* Operator.open(outside, "search", { for: "1 hour" })
      const [named, keys, state, json, calm] = yield* Effect.all(
        [
          runs(0, ["list", "--name", "pay*", ...flags]),
          runs(0, ["list", "--name", "payments", "--keys", "--limit", "3", ...flags]),
          runs(3, ["list", "--state", "half-open", "--state", "open", "--exit-code", ...flags]),
          runs(0, ["list", "--json", "--name", "payments", "--limit", "2", ...flags]),
          runs(0, ["list", "--state", "disabled", "--exit-code", ...flags])
        ],
        few
      )
      assert.match(
        named.out,
        /^CIRCUIT .*\npayments +11 +Isolated .*\n\n11 of 31 circuits not closed; 0 processes alive\n$/
      )
      assert.match(keys.out, /^CIRCUIT +KEY .*\n(payments +tenant-\d+ .*\n){3}and 8 more\n/)
      assert.match(state.out, /^CIRCUIT .*\nsearch +Open .*\n\n1 of 31 circuits not closed/)
      const { circuits, total } = parsed(json.out)
      assert.deepStrictEqual([total, circuits.length], [11, 2])
      assert.strictEqual(calm.out, "0 of 31 circuits not closed; 0 processes alive\n")
      const wrong = yield* runs(1, ["list", "--state", "broken", ...flags])
      assert.match(wrong.error, /Invalid value for flag --state: "broken".*one of Open, HalfOpen/)
    }),
    60_000
  )
})
