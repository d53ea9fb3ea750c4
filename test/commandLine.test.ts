import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { CircuitBreaker } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { afterAll } from "vitest"
import manifest from "../package.json" with { type: "json" }
import { command } from "../src/cli/command.ts"
import { circuitId } from "../src/store/codec.ts"
import { isDatabase, kinds, type Place, startServers } from "./support/cliPlaces.ts"
import { type Around, endsWith, inShell, parsed, run, runs, shell, start } from "./support/commandLine.ts"
import { listed, load, write } from "./support/fleet.ts"
import { standing, standsAt, until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { say } from "./support/sqlFleet.ts"

const folder = mkdtempSync(join(tmpdir(), "command-line-files-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const { all, place, ready } = startServers()

const record = ({ outside }: Place, name: string, body: string) =>
  Effect.map(write(outside, circuitId(name, undefined), { body }), ({ swapped }) => assert.isTrue(swapped))

const commands = {
  list: ["--all", "--exit-code", "--name", "--state", "--sort", "--limit", "--keys", "--wide"],
  show: ["--key", "--sort", "--limit", "--wide"],
  watch: ["--all", "--every", "--name", "--state", "--sort", "--limit", "--keys", "--wide"],
  names: [],
  history: ["--key", "--limit", "--before", "--wide"],
  doctor: [],
  isolate: ["--key", "--new", "--reason", "--actor", "--yes", "--for"],
  disable: ["--key", "--new", "--reason", "--actor", "--yes", "--for"],
  open: ["--key", "--new", "--reason", "--actor", "--yes", "--for"],
  release: ["--key", "--new", "--reason", "--actor", "--yes"],
  close: ["--key", "--new", "--reason", "--actor"],
  reset: ["--key", "--new", "--reason", "--actor", "--yes"],
  export: ["--out"],
  import: ["--actor", "--yes"],
  cleanup: ["--older-than", "--closed-for", "--batch", "--yes"],
  migrate: ["--yes"]
}
const shared = ["--redis", "--dynamo", "--database", "--prefix", "--schema", "--timeout", "--json"]

/** What `--help` says: here it needs no process, of which each takes its time to start. */
const helpOf = (name: string) =>
  Effect.gen(function* () {
    let text = ""
    const log = (line: string) => {
      text += `${line}\n`
    }
    yield* Command.runWith(command, { version: "0" })([name, "--help"]).pipe(
      Effect.provideService(Console.Console, { ...globalThis.console, log } as Console.Console),
      Effect.provide(NodeServices.layer)
    )
    return text
  })

const few = { concurrency: 3 }

describe.each(kinds)("The command line on %s", (kind) => {
  live(
    "shows that the store is empty under another prefix, and reads the prefix from the environment",
    Effect.gen(function* () {
      const { flags, join, prefix } = yield* place(kind)
      const elsewhere = flags.slice(0, -2)
      const one = yield* join
      yield* one.run(CircuitBreaker.isolate("mail"))
      yield* until(
        "told",
        Effect.map(
          run(["list", "--json", ...flags]),
          ({ code, out }) => code === 0 && parsed(out).circuits.length === 1
        )
      )
      const env = { EFFECT_FUSE_PREFIX: prefix }
      const there = parsed((yield* runs(0, ["list", "--json", ...elsewhere], { env })).out)
      assert.deepStrictEqual([there.processes, there.circuits.length], [1, 1])
      const unused = [...elsewhere, "--prefix", `${prefix}_unused`]
      if (isDatabase(kind)) yield* runs(0, ["migrate", "--yes", ...unused])
      const nobody = yield* runs(0, ["list", ...unused], { env })
      assert.match(nobody.out, /^The store is empty: .*--prefix.*\n$/)
      yield* runs(3, ["list", "--exit-code", ...unused])
    })
  )

  live(
    "steers a fleet that obeys, and whose trail has each action once, with who did it",
    Effect.gen(function* () {
      const { flags, join, prefix, trail } = yield* place(kind)
      const fleet = [yield* join, yield* join]
      const call = { circuit: "mail", key: "eu" }
      yield* until(
        "two live",
        Effect.map(run(["list", "--json", ...flags]), ({ code, out }) => code === 0 && parsed(out).processes === 2)
      )
      const calm = yield* runs(0, ["list", "--exit-code", ...flags])
      assert.strictEqual(calm.out, "All circuits are closed; 2 processes alive\n")

      const by = (who: string) => ["mail", "--key", "eu", "--actor", who, ...flags]
      const isolated = yield* runs(0, ["isolate", ...by("ann"), "--new", "--yes", "--for", "1h", "--reason", "drill"])
      assert.match(isolated.out, /^"mail" \["eu"\] is Isolated, ends in 1h: drill\n$/)
      assert.strictEqual(isolated.error, `The store had no record of "mail" ["eu"] before. Is that the right key?\n`)
      yield* standsAt(fleet, "Isolated (fleet)", call)

      const [text, json, shown] = yield* Effect.all(
        [
          runs(0, ["list", ...flags]),
          runs(3, ["list", "--exit-code", "--json", ...flags]),
          runs(0, ["show", "mail", ...flags])
        ],
        few
      )
      const [head = "", row = "", gap, summary] = text.out.split("\n")
      assert.match(head, /^CIRCUIT {2}KEYS {2}STATE +FOR +ENDS IN +WHY +BY$/)
      assert.match(row, /^mail +1 +Isolated +\S+.* (1h|59m \d+s) +Isolated: drill +ann$/)
      assert.deepStrictEqual([gap, summary], ["", "1 circuit not closed; 2 processes alive"])
      const listed = parsed(json.out)
      assert.deepStrictEqual(Object.keys(listed), ["processes", "total", "circuits"])
      const [one] = listed.circuits
      assert.deepInclude(one, {
        name: "mail",
        key: "eu",
        state: "Isolated",
        beneath: "Closed",
        openings: 0,
        why: "Isolated",
        reason: "drill",
        actor: "ann"
      })
      assert.strictEqual(Date.parse(one.until) - Date.parse(one.since), 3_600_000)
      assert.match(one.since, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
      assert.deepStrictEqual(parsed(json.error).error, {
        code: 3,
        message: "1 circuit not closed; 2 processes alive",
        advice: null
      })
      for (const word of ["mail", "eu", "Isolated", "drill", "ann"]) assert.include(shown.out, word)

      const actions = [
        ["release", "bob", "Closed", ["--yes"]],
        ["disable", "cid", "Disabled", ["--yes"]],
        ["reset", "dan", "Closed", ["--yes"]],
        ["open", "eve", "Open", ["--yes", "--for", "1h"]],
        ["close", "fay", "Closed", []]
      ] as const
      for (const [verb, who, state, more] of actions) {
        const { out } = yield* runs(0, [verb, ...by(who), ...more, "--json"])
        assert.deepInclude(parsed(out), { name: "mail", key: "eu", state, actor: who })
        yield* until(
          `${verb} is obeyed`,
          Effect.map(
            Effect.forEach(fleet, (one) => standing(one, call)),
            (seen) => seen.every((one) => one.startsWith(`${state} `))
          )
        )
      }

      const history = ["history", "mail", "--key", "eu", "--json", ...flags]
      let entries: ReadonlyArray<Record<string, unknown>> = []
      yield* until(
        "the trail has all",
        Effect.map(run(history), ({ out }) => {
          entries = parsed(out).entries
          return entries.length >= 6
        })
      )
      assert.deepStrictEqual(
        entries.map(({ actor, circuit, from, key, to }) => [circuit, key, from, to, actor]),
        [
          ["mail", "eu", "Open", "Closed", "fay"],
          ["mail", "eu", "Closed", "Open", "eve"],
          ["mail", "eu", "Disabled", "Closed", "dan"],
          ["mail", "eu", "Closed", "Disabled", "cid"],
          ["mail", "eu", "Isolated", "Closed", "bob"],
          ["mail", "eu", "Closed", "Isolated", "ann"]
        ]
      )
      assert.strictEqual(entries[5]?.["detail"], "drill")
      assert.isNull(entries[5]?.["down_ms"])
      const [lines, early] = yield* Effect.all(
        [
          runs(0, ["history", "--limit", "2", ...flags]),
          runs(0, ["history", "--before", String(entries[5]?.["at"]), ...flags])
        ],
        few
      )
      assert.strictEqual(lines.out.trimEnd().split("\n").length, 3)
      assert.match(lines.out, /^TIME +CIRCUIT +KEY +FROM +TO .*\n\S+Z +mail +eu +Open +Closed +ClosedByHand.* fay /)
      assert.strictEqual(early.out, "The trail has no matching transition.\n")

      yield* say(trail, `UPDATE ${prefix}_events SET at = at - 90000000 WHERE actor <> 'fay'`)
      const cleaned = yield* runs(0, ["cleanup", "--older-than", "1d", "--batch", "2", "--yes", "--json", ...flags])
      assert.deepStrictEqual(parsed(cleaned.out), { deleted: 5 })
      assert.deepStrictEqual(yield* say(trail, `SELECT actor FROM ${prefix}_events`), [{ actor: "fay" }])
    }),
    120_000
  )

  live(
    "keeps names and keys of any text: in tables they stay in their line and are not what a terminal obeys",
    Effect.gen(function* () {
      const { flags } = yield* ready(kind)
      const name = `a\nb\u001b[31m"'\\/|é😀\u202e`
      const key = "k\t\r\u0007 ;$(x)"
      const reason = "because\u001b[2J\nof it"
      const done = yield* runs(0, [
        "isolate",
        name,
        "--key",
        key,
        "--reason",
        reason,
        "--new",
        "--yes",
        "--json",
        ...flags
      ])
      assert.deepInclude(parsed(done.out), { name, key })
      const [text, shown] = yield* Effect.all(
        [runs(0, ["list", ...flags]), runs(0, ["show", name, "--key", key, ...flags])],
        few
      )
      assert.strictEqual(text.out.split("\n").length, 5)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      const unprintable = /[\u0000-\u0009\u000b-\u001f\u007f\u202e]/
      for (const { error, out } of [text, shown]) assert.notMatch(out + error, unprintable)
    }),
    60_000
  )

  live(
    "shows a record that it cannot read, and leaves it as it is",
    Effect.gen(function* () {
      const at = yield* ready(kind)
      const { flags, outside } = at
      const newer = JSON.stringify({ v: 2, what: "\u001b[31mnobody knows" })
      yield* record(at, "newer", newer)
      yield* record(at, "corrupt", "\u001b[31m{")
      const [text, json, steered, exported] = yield* Effect.all(
        [
          runs(0, ["list", ...flags]),
          runs(0, ["show", "newer", "--json", ...flags]),
          runs(3, ["reset", "newer", "--yes", ...flags]),
          runs(0, ["export", ...flags])
        ],
        few
      )
      assert.match(text.out, /^newer +Unreadable +written by another version$/m)
      assert.notInclude(text.out + text.error, "\u001b")
      assert.deepInclude(parsed(json.out).circuits[0], { name: "newer", key: null, state: "Unreadable", body: newer })
      assert.match(steered.error, /a record of "newer" that this version cannot read.*\nUse the command line of/)
      assert.deepStrictEqual(parsed(exported.out).circuits, [])
      assert.match(exported.error, /2 records that this version cannot read were not exported: "corrupt", "newer"/)

      const file = join(folder, `${at.prefix}.json`)
      const isolated = { _tag: "Isolated", since: 0, until: null, reason: "r", actor: null }
      const state = { ...isolated, under: { _tag: "Closed", since: 0, openings: 0, openFor: 0, rampUntil: 0 } }
      const circuits = ["newer", "sound"].map((circuit) => ({ circuit, state }))
      writeFileSync(file, JSON.stringify({ version: 1, at: Date.now(), circuits }))
      const imported = yield* runs(3, ["import", file, "--yes", "--json", ...flags])
      assert.deepStrictEqual(parsed(imported.out), { circuits: 1, unreadable: [{ name: "newer", key: null }] })
      const stored = yield* load(outside, "newer")
      assert.strictEqual(stored?.body, newer)
    }),
    60_000
  )

  live(
    "refuses names and keys that no process of a fleet would share",
    Effect.gen(function* () {
      const { flags, outside } = yield* ready(kind)
      const long = "é".repeat(500)
      const asked: ReadonlyArray<readonly [number, ReadonlyArray<string>]> = [
        [1, ["show", ""]],
        [1, ["isolate", "x", "--key", "k".repeat(10_000), "--new", "--yes"]],
        // Indexes of tables, and sort keys of DynamoDB, have a maximum length.
        [kind === "Redis" ? 0 : 1, ["isolate", long, "--new", "--yes"]]
      ]
      const seen = yield* Effect.forEach(asked, ([code, args]) => runs(code, [...args, ...flags]), few)
      for (const { error } of seen.slice(0, 2)) assert.match(error, /^(isolate|inspect): (name|key): expected /)
      const records = yield* listed(outside)
      assert.strictEqual(records.length, kind === "Redis" ? 1 : 0)
    }),
    60_000
  )
})

describe("What is exported", () => {
  live(
    "is imported from a pipe into any other store, 2,000 circuits too, and from a file",
    Effect.gen(function* () {
      const places = yield* Effect.forEach(kinds, ready)
      const [first, last] = [places[0], places.at(-1)]
      if (first === undefined || last === undefined) return assert.fail()
      const under = { _tag: "Closed", since: 0, openings: 0, openFor: 0, rampUntil: 0 }
      const state = { _tag: "Isolated", since: 0, until: 3_600_000, reason: "r", actor: "ann", under }
      const circuits = Array.from({ length: 2_000 }, (_, i) => ({ circuit: `c${i}`, key: "k", state }))
      const many = JSON.stringify({ version: 1, at: Date.now(), circuits })
      const imported = yield* runs(0, ["import", "-", "--yes", "--actor", "bob", ...first.flags], {
        input: many,
        late: true
      })
      assert.strictEqual(imported.out, "2000 circuits imported\n")
      for (const [i, to] of places.slice(1).entries()) {
        const from = places[i] ?? first
        const piped = yield* shell(
          `set -o pipefail; ${inShell(["export", ...from.flags])} | ${inShell(["import", "-", "--yes", ...to.flags])}`
        )
        assert.strictEqual(endsWith(0, piped).out, "2000 circuits imported\n")
      }
      const file = join(folder, "all.json")
      const out = yield* runs(0, ["export", "--out", file, "--json", ...last.flags])
      assert.deepStrictEqual(parsed(out.out), { circuits: 2_000, file, unreadable: 0 })
      const taken = parsed(readFileSync(file, "utf8")).circuits[0]
      assert.deepInclude(taken, { circuit: "c0", key: "k" })
      assert.deepInclude(taken.state, { _tag: "Isolated", reason: "r", actor: "ann" })
      const wrong = yield* runs(1, ["export", "--out", join(folder, "no", "where"), ...last.flags])
      assert.match(wrong.error, /no such file or directory/)
    }),
    120_000
  )

  const texts: ReadonlyArray<readonly [string, string]> = [
    ["garbage", "\u001b[31mgarbage"],
    ["nothing", ""],
    ["a newer version", JSON.stringify({ version: 2, at: 1, circuits: [] })],
    [
      "an unknown state",
      JSON.stringify({ version: 1, at: 1, circuits: [{ circuit: "x", state: { _tag: "\u001b[31m" } }] })
    ]
  ]
  live(
    "is all that can be imported: anything else changes nothing",
    Effect.gen(function* () {
      const { flags, outside } = yield* ready("Redis")
      const seen = yield* Effect.forEach(
        texts,
        ([, text]) => runs(1, ["import", "-", "--yes", ...flags], { input: text }),
        few
      )
      for (const { error, out } of seen) {
        assert.strictEqual(out, "")
        assert.match(error, /^the input: /)
        assert.notInclude(error, "\u001b")
      }
      const none = yield* runs(1, ["import", join(folder, "none.json"), "--yes", "--json", ...flags])
      assert.match(parsed(none.error).error.message, /none\.json: ENOENT/)
      assert.deepStrictEqual(yield* listed(outside), [])
    }),
    60_000
  )

  live(
    "can be waited for, and given up",
    Effect.gen(function* () {
      const { flags } = yield* ready("Redis")
      const waiting = yield* start(["import", "-", "--yes", ...flags], { late: true, input: "", terminal: true })
      yield* Effect.sleep("2 seconds")
      yield* waiting.say("\u0003")
      endsWith(130, yield* Effect.timeout(waiting.ended, "20 seconds"))
    }),
    60_000
  )
})

describe("The trail", () => {
  live(
    "is made and cleaned up in PostgreSQL and SQLite, and nothing is made by looking",
    Effect.gen(function* () {
      const server = all.postgres.url
      const file = join(folder, "made.db")
      const missing = yield* runs(2, ["migrate", "--yes", "--database", `sqlite:${file}`])
      assert.match(missing.error, /the file does not exist/)
      assert.isFalse(existsSync(file))
      writeFileSync(file, "")
      const places = [
        ["--database", server, "--prefix", "made"],
        ["--database", `sqlite:${file}`, "--prefix", "made"]
      ]
      for (const flags of places) {
        const looks = yield* Effect.forEach(
          [["list"], ["history"], ["cleanup", "--older-than", "7d", "--yes"]],
          (args) => runs(2, [...args, ...flags]),
          few
        )
        for (const { error } of looks) assert.match(error, /made_?\w*.*\n?.*effect-fuse migrate/)
        const asked = yield* runs(1, ["migrate", ...flags])
        assert.match(asked.error, /There is no terminal to ask for confirmation: add --yes\./)
        const made = yield* runs(0, ["migrate", "--yes", "--json", ...flags])
        assert.deepStrictEqual(parsed(made.out), { migrated: true })
        const [empty, unsure, cleaned] = yield* Effect.all(
          [
            runs(0, ["history", "--json", ...flags]),
            runs(1, ["cleanup", "--older-than", "7d", ...flags]),
            runs(0, ["cleanup", "--older-than", "7d", "--batch", "1", "--yes", "--json", ...flags])
          ],
          few
        )
        assert.deepStrictEqual(parsed(empty.out), { entries: [] })
        assert.match(unsure.error, /Everything older than 7d will be deleted/)
        assert.deepStrictEqual(parsed(cleaned.out), { deleted: 0 })
      }
    }),
    90_000
  )

  live(
    "is not made where a table has one of its names, which stays as it is; nor by who has no right to",
    Effect.gen(function* () {
      const { trail } = yield* place("PostgreSQL")
      yield* say(trail, "CREATE TABLE alien_events (id int)")
      yield* say(trail, "INSERT INTO alien_events VALUES (7)")
      yield* say(trail, "CREATE ROLE guest LOGIN")
      const guest = all.postgres.url.replace("postgres@", "guest@")
      const [alien, rights] = yield* Effect.all(
        [
          runs(2, ["migrate", "--yes", "--prefix", "alien", "--database", all.postgres.url]),
          runs(2, ["migrate", "--yes", "--prefix", "guest", "--database", guest])
        ],
        few
      )
      assert.match(alien.error, /alien_events/)
      assert.match(rights.error, /permission denied/)
      assert.deepStrictEqual(yield* say(trail, "SELECT * FROM alien_events"), [{ id: 7 }])
    }),
    60_000
  )
})

describe("A question", () => {
  live(
    "is not answered where nobody is there, and then nothing is done",
    Effect.gen(function* () {
      const { flags, outside } = yield* ready("Redis")
      const file = join(folder, "ask.json")
      const under = { _tag: "Closed", since: 0, openings: 0, openFor: 0, rampUntil: 0 }
      const state = { _tag: "Isolated", since: 0, until: null, reason: "r", actor: null, under }
      writeFileSync(file, JSON.stringify({ version: 1, at: Date.now(), circuits: [{ circuit: "c", state }] }))
      const asked = [
        ["isolate", "x", "--new"],
        ["disable", "x", "--new"],
        ["open", "x", "--new"],
        ["reset", "x", "--new", "--json"],
        ["import", file]
      ]
      const seen = yield* Effect.forEach(asked, (args) => runs(1, [...args, ...flags], { input: "y\n" }), few)
      for (const { error, out } of seen) {
        assert.strictEqual(out, "")
        assert.include(error, "There is no terminal to ask for confirmation: add --yes.")
      }
      assert.deepStrictEqual(yield* listed(outside), [])
    }),
    60_000
  )

  live(
    "release asks before it ends another operator's override, but not before it ends the operator's own override",
    Effect.gen(function* () {
      const { flags, outside } = yield* ready("Redis")
      const set = { actor: "ann", reason: "migration\u001b[2J" }
      yield* Operator.isolate(outside, "own", { ...set, for: "1 hour" })
      yield* runs(0, ["release", "own", "--actor", "ann", ...flags])
      yield* Operator.isolate(outside, "ours", set)
      yield* Operator.disable(outside, "ours", { actor: "bob" })
      const refused = yield* runs(1, ["release", "ours", "--actor", "bob", ...flags], { input: "y\n" })
      assert.match(refused.error, /^release will end an override of "ours" that another operator has set: /)
      assert.match(refused.error, /Isolated by ann since \d{4}-[\dT:.-]+Z until it is released: migration/)
      assert.notInclude(refused.error, "by bob")
      assert.notInclude(refused.error, "\u001b")
      assert.include(refused.error, "add --yes.")
      const reset = yield* runs(1, ["reset", "ours", "--actor", "bob", ...flags], { input: "y\n" })
      assert.include(reset.error, "Isolated by ann")
      const { out } = yield* runs(0, ["show", "ours", ...flags])
      assert.match(out, /^also +Disabled by bob since /m)
      const released = yield* runs(0, ["release", "ours", "--actor", "bob", "--yes", "--json", ...flags])
      const { ended, overrides, state } = parsed(released.out)
      assert.deepStrictEqual([state, overrides], ["Closed", []])
      assert.deepStrictEqual(
        ended.map(({ actor, state, until }: Record<string, unknown>) => [state, actor, until]),
        [
          ["Isolated", "ann", null],
          ["Disabled", "bob", null]
        ]
      )
    }),
    60_000
  )

  live(
    "is answered under a terminal: y does it, n does not, and Ctrl-C ends it",
    Effect.gen(function* () {
      const { flags, outside } = yield* ready("Redis")
      const answers = [
        ["y", 0, "yes"],
        ["n", 3, "no"],
        ["\u0003", 130, "gone"]
      ] as const
      const seen = yield* Effect.forEach(
        answers,
        ([key, code, name]) =>
          Effect.scoped(
            Effect.gen(function* () {
              const running = yield* start(["isolate", name, "--new", ...flags], { terminal: true })
              yield* until(
                "it asks",
                Effect.sync(() => running.out().includes("Continue?"))
              )
              yield* running.say(key)
              return endsWith(code, yield* running.ended)
            })
          ),
        few
      )
      assert.include(seen[0]?.out, `"yes" is Isolated`)
      assert.include(seen[1]?.out, "Nothing was changed.")
      const records = yield* listed(outside)
      assert.deepStrictEqual(
        records.map(({ circuit }) => circuit),
        ["yes"]
      )
    }),
    60_000
  )
})

describe("What is asked wrongly", () => {
  const redis = ["--redis", "redis://127.0.0.1:1"]
  const aTable = { CIRCUITS_TABLE: "circuits" }
  const noRegion = { AWS_REGION: undefined, AWS_CONFIG_FILE: "/none", AWS_SHARED_CREDENTIALS_FILE: "/none" }
  const wrong: ReadonlyArray<readonly [args: ReadonlyArray<string>, says: RegExp, env?: Around["env"]]> = [
    [
      ["list"],
      /^No store given\. Add --redis URL, --dynamo TABLE or --database URL, or set .*CIRCUITS_TABLE or DATABASE/
    ],
    [["list", "--dynamo", ""], /^--dynamo: expected the name or the ARN of a table, got an empty text/, aTable],
    [["list", "--dynamo", "a b"], /^--dynamo: expected the name or the ARN of a table .*got "a b"/],
    [["list"], /^CIRCUITS_TABLE: expected the name or the ARN/, { CIRCUITS_TABLE: "redis://u:s3cret@h" }],
    [["list", "--prefix", "redis://u:s3cret@h", "--dynamo", "circuits"], /^--prefix: expected at most 100 letters/],
    [["list", "--dynamo", "circuits", ...redis], /^--redis and --dynamo name two stores/],
    [["list"], /^REDIS_HOST and CIRCUITS_TABLE name two stores.*\nSet CIRCUIT/, { ...aTable, REDIS_HOST: "localhost" }],
    [["list"], /^CIRCUIT_BREAKER_STORE: no dynamo given\nSet CIRCUITS_TABLE/, { CIRCUIT_BREAKER_STORE: "dynamo" }],
    [["list", "--dynamo", "circuits"], /^No AWS region given: Region is missing\nSet AWS_REGION/, noRegion],
    [["history", "--dynamo", "circuits"], /^No database with a trail given\./],
    [["history", ...redis], /^No database with a trail given\./],
    [["list", "--redis", ""], /^--redis: .* got an empty text/, { REDIS_URL: "redis://127.0.0.1:1" }],
    [["list", "--redis", "localhost"], /^--redis: expected a URL such as redis:/],
    [["list", "--redis", "http://localhost"], /^--redis: .* got a URL that begins with http:/],
    [["list", "--redis", "redis://localhost/shop"], /^--redis: expected the number of a database/],
    [["list"], /^REDIS_URL: expected a URL such as redis:/, { REDIS_URL: "localhost" }],
    [["list"], /^DATABASE_URL: .* no client for MySQL/, { DATABASE_URL: "mysql://u:s3cret@h/db" }],
    [["list", "--database", "mariadb://u:s3cret@h/db"], /no client for MySQL and MariaDB\nUse effect-fuse\/Operator/],
    [["list", "--database", "file://elsewhere/x.db"], /^--database: /],
    [["list", "--timeout", "soon", ...redis], /Invalid value for flag --timeout: "soon"/],
    [["isolate", "x", "--for", "0s", ...redis], /a duration above 0/],
    [["isolate", "x", "--for", "99999999999d", "--yes", ...redis], /a duration above 0/],
    [["history", "--limit", "0"], /a whole number of 1 or more/],
    [["history", "--before", "yesterday"], /--before: "yesterday"/],
    [["history", "--key", "k", "--database", "sqlite:x"], /^--key needs the name of a circuit/],
    [["cleanup", "--yes"], /Missing required flag: --older-than/],
    [["show", ...redis], /Missing required argument: name/],
    [["nonsense"], /Unknown subcommand "nonsense"/],
    [["list", "--nonsense"], /Unrecognized flag: --nonsense/]
  ]
  live(
    "ends with 1, and is told on the error output alone",
    Effect.gen(function* () {
      const seen = yield* Effect.forEach(
        wrong,
        ([args, says, env]) => Effect.map(run(args, env ? { env } : {}), (ended) => ({ ended, args, says })),
        few
      )
      for (const { args, ended, says } of seen) {
        endsWith(1, ended)
        assert.match(ended.error, says, args.join(" "))
        assert.strictEqual(ended.out, "", args.join(" "))
        assert.notInclude(ended.error, "s3cret")
      }
    }),
    90_000
  )

  live(
    "may be a prefix or a schema, too",
    Effect.gen(function* () {
      const [redis, sql] = yield* Effect.all(
        [
          runs(1, ["list", "--redis", all.redis.url, "--prefix", "a b", "--json"]),
          runs(1, ["list", "--database", all.postgres.url, "--schema", "a;b", "--prefix", "1"])
        ],
        few
      )
      assert.match(parsed(redis.error).error.message, /^--prefix: expected at most 100 letters/)
      assert.match(sql.error, /^--prefix: .*\n--schema: /)
    }),
    60_000
  )
})

describe("A password", () => {
  const secret = "hunter2"
  live(
    "is printed nowhere, whether the server is there or not and wherever in the URL it is",
    Effect.gen(function* () {
      const redis = all.redis.url.replace("redis://", "")
      const postgres = all.postgres.url.replace("postgres://postgres@", "")
      const cases: ReadonlyArray<readonly [number, ReadonlyArray<string>]> = [
        [2, ["--redis", `redis://someone:${secret}@${redis}`]],
        [2, ["--redis", `redis://:${secret}@127.0.0.1:1`, "--json"]],
        [2, ["--redis", `redis://u:%68unter2@nowhere.invalid:1`, "--log-level", "all"]],
        [1, ["--redis", `redis://u:${secret}%zz@${redis}`]],
        [1, ["--redis", `redis://u:12/${secret}@${redis}`]],
        [2, ["--database", `postgres://u:${secret}@127.0.0.1:1/db`, "--log-level", "all", "--json"]],
        [2, ["--database", `postgres://u:${secret}@${postgres}`]],
        [2, ["--database", `postgres://postgres@${postgres}?password=${secret}&sslmode=require`]],
        [1, ["--database", `postgres://u:${secret}%@${postgres}`, "--log-level", "all"]],
        [1, ["--database", `mysql://u:${secret}@h/db`, "--json"]],
        [1, [`redis://u:${secret}@${redis}`]],
        [1, ["--redsi", `redis://u:${secret}@${redis}`]]
      ]
      const seen = yield* Effect.forEach(
        cases,
        ([code, args]) => Effect.map(run(["list", ...args]), (ended) => ({ args, code, ended })),
        few
      )
      for (const { args, code, ended } of seen) {
        assert.notMatch(ended.out + ended.error, /hunter2|%68unter/, args.join(" "))
        endsWith(code, ended)
      }
      const works = yield* runs(0, ["list", "--redis", `redis://:${secret}@${redis}`, "--log-level", "all", "--json"])
      assert.notInclude(works.out + works.error, secret)
    }),
    90_000
  )
})

describe("A password or a key", () => {
  it.live.each<readonly [args: ReadonlyArray<string>]>([
    [["list", "https://h.example.com/x?api_key=hunter2"]],
    [["list", "redis://h:6379?token=hunter2"]],
    [["list", "--limit", "https://h.example.com/hunter2"]],
    [["list", "--state", "postgres://h/db?sslpassword=hunter2"]],
    [["list", "postgres://u:hunter2 b@h/db"]],
    [["show", "api", "Authorization: Bearer hunter2"]]
  ])("is not printed by a usage error: %j", ([args]) =>
    Effect.gen(function* () {
      const { code, error, out } = yield* run(args)
      assert.notInclude(out + error, "hunter2")
      assert.include(error, "--help shows its usage")
      assert.strictEqual(code, 1)
    })
  )
})

describe("A password", () => {
  // Effect's wizard would repeat what was said with it, as it was said.
  it.live("is not printed by a wizard, as there is none", () =>
    Effect.gen(function* () {
      const { code, error, out } = yield* run(["list", "--redis", "redis://u:hunter2@127.0.0.1:1", "--wizard"])
      assert.notInclude(out + error, "hunter2")
      assert.strictEqual(code, 1)
    })
  )
})

describe("In a shell", () => {
  live(
    "help of every command ends well and names its flags, completions name all commands, and the version is the package's",
    Effect.gen(function* () {
      const names = Object.keys(commands)
      for (const [name, flags] of Object.entries(commands)) {
        const text = yield* helpOf(name)
        for (const flag of [...flags, ...shared]) assert.include(text, flag, name)
      }
      for (const args of [["reset", "--help"], ["--help"]]) {
        const { error, out } = yield* runs(0, args)
        assert.include(out, "USAGE")
        assert.strictEqual(error, "")
      }
      const [version, ...scripts] = yield* Effect.all(
        [runs(0, ["--version"]), ...["bash", "zsh", "fish"].map((shell) => runs(0, ["--completions", shell]))],
        few
      )
      assert.strictEqual(version?.out, `effect-fuse v${manifest.version}\n`)
      for (const { out } of scripts) for (const name of names) assert.match(out, new RegExp(`\\b${name}\\b`))
    }),
    120_000
  )

  live(
    "whoever reads no more is no error",
    Effect.gen(function* () {
      const { flags } = yield* ready("Redis")
      const under = { _tag: "Closed", since: 0, openings: 0, openFor: 0, rampUntil: 0 }
      const state = { _tag: "Isolated", since: 0, until: null, reason: "r".repeat(200), actor: null, under }
      const circuits = Array.from({ length: 1_000 }, (_, i) => ({ circuit: `c${i}`, state }))
      yield* runs(0, ["import", "-", "--yes", ...flags], {
        input: JSON.stringify({ version: 1, at: Date.now(), circuits })
      })
      const piped = yield* shell(`set -o pipefail; ${inShell(["list", "--json", ...flags])} | head -1`)
      assert.strictEqual(endsWith(0, piped).out, "{\n")
      assert.strictEqual(piped.error, "")
    }),
    60_000
  )
})
