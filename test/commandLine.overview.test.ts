import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { CircuitBreaker } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { kinds, startServers } from "./support/cliPlaces.ts"
import { parsed, run, runs, start } from "./support/commandLine.ts"
import { exchange } from "./support/fleet.ts"
import { unprintable } from "./support/garbage.ts"
import { type Replica, until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"

// The command line reads the names and the traffic from the digests of the processes.

const { ready } = startServers()

/** Calls until the test ends. Three of four calls succeed. */
const busy = (process: Replica, name: string, key?: string) => {
  const call = (self: Effect.Effect<void, string>) => Effect.exit(CircuitBreaker.protect(self, name, { key }))
  const four = Effect.andThen(Effect.repeat(call(Effect.void), { times: 2 }), call(Effect.fail("down")))
  return Effect.forkChild(process.run(Effect.forever(Effect.andThen(four, Effect.sleep(20)))))
}

const known = (place: { readonly outside: Parameters<typeof Operator.overview>[0] }, names: ReadonlyArray<string>) =>
  until(
    "the names are known",
    Effect.map(Operator.overview(place.outside), (overview) =>
      names.every((name) => overview.names.some((one) => one.name === name && (one.traffic?.calls ?? 0) > 0))
    )
  )

const hostile = "\u001b[31mpay\nments\u202e"

describe.each(kinds)("The digests of processes on %s", (kind) => {
  live(
    "list --all and names show every name that a process uses, with its traffic",
    Effect.gen(function* () {
      const place = yield* ready(kind)
      const { flags, outside } = place
      const [one, other] = [yield* place.join, yield* place.join]
      yield* busy(one, "payments")
      yield* busy(other, "payments", "tenant-a")
      yield* busy(one, hostile)
      yield* known(place, ["payments", hostile])
      yield* Operator.isolate(outside, "mail", { reason: "maintenance" })
      const table = yield* runs(0, ["list", "--all", ...flags])
      assert.match(table.out, /^CIRCUIT +STATE +FOR +PROCS .*CALLS\/S +FAILED/)
      assert.match(table.out, /^mail +Isolated +\d/m)
      assert.match(table.out, /^payments +Closed +2 +1 +\d+ +2\d(\.\d)?%/m)
      assert.include(table.out, "\\u001b[31mpay\\u000aments\\u202e")
      for (const line of table.out.trimEnd().split("\n")) assert.notMatch(line, unprintable)
      assert.match(table.out, /^3 names, 1 not closed; 2 processes alive$/m)

      const json = parsed((yield* runs(0, ["list", "--all", "--json", "--name", "pay*", ...flags])).out)
      assert.deepStrictEqual([json.processes, json.digests, json.unreadable, json.leftOut, json.total], [2, 2, 0, 0, 1])
      const [{ keys, name, processes, state, traffic }] = json.names
      assert.deepStrictEqual([name, state, processes, keys], ["payments", "Closed", 2, 1])
      assert.isAbove(traffic.perSecond.calls, 1)
      assert.isAbove(traffic.millis, 0)
      assert.closeTo(traffic.failureShare, 0.25, 0.1)

      const isolated = yield* runs(0, ["list", "--all", "--state", "isolated", ...flags])
      assert.match(isolated.out, /^1 of 3 names/m)
      assert.include((yield* runs(3, ["list", "--all", "--exit-code", ...flags])).error, "1 not closed")
      const busiest = parsed((yield* runs(0, ["list", "--all", "--sort", "calls", "--json", ...flags])).out)
      assert.strictEqual(busiest.names[0].name, "payments")
      assert.strictEqual((yield* runs(0, ["names", "pay", ...flags])).out, "payments\n")
      assert.strictEqual((yield* runs(0, ["names", ...flags])).out.split("\n").length, 4)
    }),
    120_000
  )

  live(
    "operator actions know a healthy name, refuse a misspelt name, and say how many processes do not use it",
    Effect.gen(function* () {
      const place = yield* ready(kind)
      const { flags } = place
      const one = yield* place.join
      yield* busy(one, "payments")
      yield* known(place, ["payments"])
      const { error } = yield* runs(3, ["isolate", "paymnets", "--yes", ...flags])
      assert.strictEqual(
        error,
        'The store knows no circuit named "paymnets". Did you mean "payments"?\n' +
          "The live process does not use this name. If the name is right, add --new.\n"
      )
      const shown = yield* runs(0, ["show", "payments", ...flags])
      assert.match(shown.out, /^"payments" is closed\. 1 process uses it: \d+ calls\/s, \d+(\.\d)?% of them failed\.$/m)
      assert.match((yield* runs(0, ["show", "paymnets", ...flags])).out, /no record.*Did you mean "payments"\?/)
      assert.match((yield* runs(0, ["isolate", "payments", "--yes", ...flags])).out, /^"payments" is Isolated/)
    }),
    120_000
  )

  live(
    "a digest of another version is counted, and the refusal says that not all names are known",
    Effect.gen(function* () {
      const place = yield* ready(kind)
      const { flags, outside } = place
      const one = yield* place.join
      yield* busy(one, "payments")
      yield* known(place, ["payments"])
      yield* exchange(outside, { voter: "newer", ttl: 60_000, digest: '{"v":2}' })
      assert.match((yield* runs(0, ["list", "--all", ...flags])).out, /2 processes alive; 1 digest of another version/)
      const { error } = yield* runs(3, ["isolate", "other", "--yes", ...flags])
      assert.match(error, /The names of some processes are not known \(1 of 2 send a digest/)
    }),
    120_000
  )
})

describe("watch --all", () => {
  live(
    "prints a sample of all names per interval, as JSON for a program",
    Effect.gen(function* () {
      const place = yield* ready("Redis")
      const one = yield* place.join
      yield* busy(one, "payments")
      yield* known(place, ["payments"])
      const watching = yield* start(["watch", "--all", "--json", "--every", "100ms", ...place.flags])
      yield* until(
        "three samples",
        Effect.sync(() => watching.out().split("\n").length > 3)
      )
      yield* watching.signal("SIGINT")
      const lines = watching.out().split("\n").slice(0, 3).map(parsed)
      for (const { at, names } of lines) {
        assert.isNotNaN(Date.parse(at))
        assert.isAbove(names[0].traffic.perSecond.calls, 0)
      }
    }),
    120_000
  )

  live(
    "refuses flags that do not go together",
    Effect.gen(function* () {
      const place = yield* ready("Redis")
      const refusals: ReadonlyArray<readonly [args: ReadonlyArray<string>, message: RegExp]> = [
        [["list", "--all", "--keys"], /^--keys: list --all has a row for each name/],
        [["watch", "--all", "--keys"], /^--keys: watch --all has a row for each name/],
        [["list", "--sort", "calls"], /^--sort calls: only list --all shows traffic/],
        [["watch", "--sort", "failures"], /^--sort failures: only watch --all shows traffic/]
      ]
      for (const [args, message] of refusals) {
        const { code, error } = yield* run([...args, ...place.flags])
        assert.strictEqual(code, 1)
        assert.match(error, message)
      }
    }),
    120_000
  )
})
