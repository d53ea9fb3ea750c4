import { chmodSync, mkdirSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { join } from "node:path"
import { QueryCommand } from "@aws-sdk/client-dynamodb"
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import * as Operator from "effect-fuse/Operator"
import { circuitId } from "../src/store/codec.ts"
import { type Kind, kinds, type Place, startServers } from "./support/cliPlaces.ts"
import { type Around, endsWith, parsed, type Running, runs, start } from "./support/commandLine.ts"
import { circuitsTable, dynamoClient } from "./support/dynamoServer.ts"
import { write } from "./support/fleet.ts"
import { connection, send, until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisProxy } from "./support/redisProxy.ts"
import { ask, say } from "./support/sqlFleet.ts"

const { all, ready: place } = startServers()

const few = { concurrency: 3 }

interface Check {
  readonly check: string
  readonly status: string
  readonly said: string
  readonly advice?: string
}

/** What it found that is not well, and what it advised. */
const examined = (code: number, flags: ReadonlyArray<string>, around?: Around) =>
  Effect.map(runs(code, ["doctor", "--json", ...flags], around), ({ error, out }) => {
    const { checks, ok } = parsed(out) as { readonly checks: ReadonlyArray<Check>; readonly ok: boolean }
    const failed = checks.filter(({ status }) => status === "fail").map(({ check }) => check)
    assert.strictEqual(ok, code === 0)
    if (code !== 0) assert.strictEqual(parsed(error).error.message, `Failed checks: ${failed.join(", ")}`)
    return checks.filter(({ status }) => status !== "ok")
  })

/** Each kind of store has these additional checks. */
const ofKind: Readonly<Record<Kind, ReadonlyArray<string>>> = {
  Redis: ["version", "memory"],
  DynamoDB: ["table", "expiry"],
  PostgreSQL: ["version"],
  SQLite: ["version"]
}

/** These checks warn in tests: the emulator does not delete expired items. */
const warned = (kind: Kind): ReadonlyArray<string> => (kind === "DynamoDB" ? ["expiry"] : [])

const inShort = (found: ReadonlyArray<Check>) => found.map(({ check, status }) => `${status} ${check}`)

/** That what a doctor wrote is on its way out, and concerns nobody. */
const isForgotten = (kind: string, { prefix, trail }: Place) =>
  Effect.gen(function* () {
    if (kind === "Redis") {
      const redis = yield* connection(all.redis.url)
      const keys = yield* send<ReadonlyArray<string>>(redis, `KEYS {${prefix}}:*doctor*`)
      for (const key of keys) {
        const left = Number(yield* send(redis, "PTTL", key))
        assert.isTrue(left === -2 || (left >= 0 && left <= 70_000), `${key}: ${left}`)
      }
      const records = yield* send<ReadonlyArray<string>>(redis, `HVALS {${prefix}}:records`)
      const mine = records.filter((text) => text.includes('"doctor"'))
      assert.isAtLeast(mine.length, 1)
      // The epoch, when it was written, when it ends, and whether it is listed.
      for (const text of mine) {
        const [, at, ends, listed] = text.split(" ")
        assert.strictEqual(listed, "0")
        assert.isAtMost(Number(ends) - Number(at), 10_000, text)
      }
      return
    }
    if (kind === "DynamoDB") {
      const client = yield* dynamoClient(all.dynamo.url)
      const mine = yield* Effect.promise(() =>
        client.send(
          new QueryCommand({
            TableName: circuitsTable,
            KeyConditionExpression: "pk = :pk AND begins_with(sk, :circuits)",
            ExpressionAttributeValues: { ":pk": { S: prefix }, ":circuits": { S: "c#" } }
          })
        )
      )
      assert.isAtLeast(mine.Items?.length ?? 0, 1)
      for (const { at, listed, sk, until } of mine.Items ?? []) {
        assert.include(sk?.S, "doctor")
        assert.deepStrictEqual(listed, { BOOL: false })
        assert.isAtMost(Number(until?.N) - Number(at?.N), 10_000)
      }
      return
    }
    const mine = `FROM ${prefix}s WHERE circuit LIKE '%doctor%'`
    assert.isAtLeast(yield* ask(trail, `SELECT COUNT(*) ${mine}`), 1)
    const stays = "listed <> 0 OR ends_at IS NULL OR ends_at - written_at > 10000"
    assert.strictEqual(yield* ask(trail, `SELECT COUNT(*) ${mine} AND (${stays})`), 0)
  })

describe.each(kinds)("The doctor on %s", (kind) => {
  live(
    "says that all is well beside a fleet, several at once too, and leaves no trace in it",
    Effect.gen(function* () {
      const at = yield* place(kind)
      yield* at.join
      const lives = Effect.map(Operator.list(at.outside), ({ processes }) => processes)
      yield* until(
        "one lives",
        Effect.map(lives, (n) => n === 1)
      )
      const [json, text] = yield* Effect.all(
        [runs(0, ["doctor", "--json", ...at.flags]), runs(0, ["doctor", ...at.flags])],
        few
      )
      const checks = ["server", ...ofKind[kind], "clock", "latency", "records", "announcements", "circuits", "trail"]
      const found = parsed(json.out).checks as ReadonlyArray<Check>
      assert.deepStrictEqual(
        found.map(({ check, status }) => [check, status]),
        checks.map((check) => [check, warned(kind).includes(check) ? "warn" : "ok"])
      )
      assert.isTrue(parsed(json.out).ok)
      const lines = text.out.split("\n").filter((line) => /^\S/.test(line))
      assert.deepStrictEqual(
        lines.map((line) => line.split(/ +/, 2)),
        checks.map((check) => [warned(kind).includes(check) ? "WARN" : "ok", check])
      )
      if (checks.includes("version")) assert.match(text.out, new RegExp(`^ok +version +${kind} \\d+\\.\\d+`, "m"))
      // A running doctor is a voter, so the other doctor may count it.
      assert.match(text.out, /0 circuits not closed, (1 process|2 processes) alive/)
      assert.strictEqual(json.error + text.error, "")

      yield* isForgotten(kind, at)
      assert.strictEqual(yield* lives, 1)
      assert.deepStrictEqual((yield* Operator.list(at.outside)).circuits, [])
      assert.strictEqual(yield* ask(at.trail, `SELECT COUNT(*) FROM ${at.prefix}_events`), 0)
    }),
    60_000
  )

  live(
    "finds records that it cannot read, and that nobody is there, which is no failure",
    Effect.gen(function* () {
      const { circuits: flags, outside } = yield* place(kind)
      const empty = yield* examined(0, flags)
      assert.deepStrictEqual(
        inShort(empty),
        [...warned(kind), "circuits"].map((check) => `warn ${check}`)
      )
      assert.match(empty.at(-1)?.advice ?? "", /they use another store or another --prefix/)
      yield* write(outside, circuitId("odd", undefined), { body: "odd" })
      const odd = (yield* examined(0, flags)).at(-1)
      assert.deepInclude(odd, { check: "circuits", status: "warn" })
      assert.match(odd?.said ?? "", /1 record that this version cannot read/)
      assert.match(odd?.advice ?? "", /They are not changed/)
    }),
    60_000
  )
})

describe("The doctor finds", () => {
  live(
    "what a user of Redis may not do, and what Redis does when its memory is full",
    Effect.gen(function* () {
      const redis = yield* connection(all.redis.url)
      // A running doctor is a voter, so another doctor with the same prefix may count it. Each user has its own prefix.
      const as = (user: string, ...rights: ReadonlyArray<string>) =>
        Effect.as(send(redis, "ACL SETUSER", user, "on", ">s3cret", "~*", "&*", "+@all", ...rights), [
          ...["--redis", all.redis.url.replace("//", `//${user}:s3cret@`)],
          ...["--prefix", user]
        ])
      const cases: ReadonlyArray<readonly [number, ReadonlyArray<string>, ReadonlyArray<string>, RegExp]> = [
        [
          3,
          yield* as("noeval", "-eval", "-evalsha", "-script"),
          ["fail latency", "fail records", "fail circuits"],
          /needs EVAL, EVALSHA, SCRIPT and TIME/
        ],
        [0, yield* as("nosub", "-subscribe"), ["warn announcements", "warn circuits"], /Allow SUBSCRIBE/],
        [
          0,
          yield* as("noinfo", "-info"),
          ["warn version", "warn memory", "warn circuits"],
          /Ignore this if the other checks pass/
        ],
        [3, ["--redis", all.redis.url, "--prefix", "a b"], ["fail store"], /./]
      ]
      const seen = yield* Effect.forEach(
        cases,
        ([code, flags, ...expected]) => Effect.map(examined(code, flags), (found) => ({ expected, found })),
        few
      )
      for (const { expected, found } of seen) {
        const [short, advice] = expected
        assert.deepStrictEqual(inShort(found), short)
        assert.match(found.map(({ advice }) => advice).join("\n"), advice)
        assert.notInclude(JSON.stringify(found), "s3cret")
      }
      yield* send(redis, "CONFIG SET maxmemory 100mb")
      yield* send(redis, "CONFIG SET maxmemory-policy allkeys-lru")
      const full = yield* Effect.ensuring(
        examined(0, ["--redis", all.redis.url]),
        send(redis, "CONFIG SET maxmemory 0")
      )
      assert.deepInclude(full[0], { check: "memory", status: "warn", said: "allkeys-lru of 100.00M" })
      assert.match(full[0]?.advice ?? "", /noeviction/)
    }),
    60_000
  )

  live(
    "what a role of PostgreSQL that may only read cannot do, and that tables are missing",
    Effect.gen(function* () {
      const { prefix, trail } = yield* place("PostgreSQL")
      yield* say(trail, "CREATE ROLE reader LOGIN")
      yield* say(trail, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
      const reader = ["--database", all.postgres.url.replace("postgres@", "reader@"), "--prefix", prefix]
      const [rights, listed, isolated, tables, elsewhere] = yield* Effect.all(
        [
          examined(3, reader),
          runs(0, ["list", ...reader]),
          runs(2, ["isolate", "api", "--new", "--yes", ...reader]),
          examined(3, ["--database", all.postgres.url, "--prefix", "nothing"]),
          examined(3, ["--redis", all.redis.url, "--database", `sqlite:${join(all.folder, "nothing.db")}`])
        ],
        few
      )
      assert.deepStrictEqual(inShort(rights), ["fail records", "warn circuits"])
      assert.match(rights[0]?.advice ?? "", /SELECT, INSERT, UPDATE and DELETE/)
      assert.match(listed.out, /^The store is empty/)
      assert.match(isolated.error, /permission denied/)
      assert.deepStrictEqual(inShort(tables), ["fail store"])
      assert.match(tables[0]?.advice ?? "", /effect-fuse migrate/)
      assert.deepStrictEqual(inShort(elsewhere), ["warn circuits", "fail trail"])
      assert.match(elsewhere[1]?.said ?? "", /the file does not exist/)
    }),
    60_000
  )

  live(
    "that a file of SQLite cannot be written; what is no database is none for any command",
    Effect.gen(function* () {
      const { flags, prefix } = yield* place("SQLite")
      const file = join(all.folder, `${prefix}.db`)
      for (const one of [file, `${file}-wal`, `${file}-shm`]) chmodSync(one, 0o444)
      chmodSync(all.folder, 0o755)
      // Nothing is read-only for root.
      const uid = process.getuid?.() === 0 ? 65_534 : undefined
      const found = yield* examined(3, flags, { uid })
      assert.include(inShort(found), "fail records")
      assert.match(found.map(({ advice }) => advice).join("\n"), /Make the file and its folder writable/)

      const [text, directory] = [join(all.folder, "text.db"), join(all.folder, "directory.db")]
      writeFileSync(text, "this is no database ".repeat(100))
      mkdirSync(directory)
      const seen = yield* Effect.forEach(
        [
          ["doctor", "--database", `sqlite:${text}`],
          ["list", "--json", "--database", `sqlite:${directory}`]
        ],
        (args) => runs(2, args),
        few
      )
      assert.match(seen[0]?.error ?? "", /text\.db: file is not a database/)
      assert.match(parsed(seen[1]?.error ?? "").error.message, /directory\.db: unable to open database file/)
    }),
    60_000
  )
})

describe("A server that", () => {
  live(
    "is not there or says nothing ends it with 2, and is named",
    Effect.gen(function* () {
      const silent = createServer((socket) => socket.on("error", () => {}))
      yield* Effect.acquireRelease(
        Effect.promise(() => new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve))),
        () => Effect.sync(() => silent.close())
      )
      const { port } = silent.address() as AddressInfo
      const at = (host: string) => [
        ["list", "--redis", `redis://u:s3cret@${host}`, "--timeout", "300ms"],
        ["doctor", "--redis", `redis://u:s3cret@${host}`, "--timeout", "300ms"],
        ["history", "--database", `postgres://u:s3cret@${host}/db`, "--timeout", "300ms"]
      ]
      // Longer than the library itself would wait.
      const patient = yield* runs(2, ["list", "--redis", `redis://127.0.0.1:${port}`, "--timeout", "6s"])
      assert.match(patient.error, /: no answer within 6s\n$/)
      const args = [...at(`127.0.0.1:${port}`), ...at("127.0.0.1:1")]
      const seen = yield* Effect.forEach(args, (one) => runs(2, [...one, "--json"]), few)
      seen.forEach(({ error, out }, i) => {
        assert.strictEqual(out, "")
        const { message } = parsed(error).error
        assert.match(message, i < 3 ? /^\w+:\/\/127\.0\.0\.1:\d+\S*: no answer within 300ms$/ : /ECONNREFUSED/)
        assert.notInclude(error, "s3cret")
      })
    }),
    60_000
  )
})

// ---- Watching -------------------------------------------------------------------------------------------------------

const linesOf = ({ out }: Running) =>
  out()
    .split("\n")
    .slice(0, -1)
    .map((line) => parsed(line) as { readonly at: string; readonly circuits: ReadonlyArray<{ name: string }> })

const hasLines = (running: Running, n: number) =>
  until(
    `${n} lines`,
    Effect.sync(() => linesOf(running).length >= n)
  )

const watches = (flags: ReadonlyArray<string>, every = "100ms") =>
  start(["watch", "--json", "--every", every, "--timeout", "1s", ...flags])

const stopped = (running: Running) =>
  Effect.map(Effect.andThen(running.signal("SIGINT"), running.ended), (ended) => endsWith(130, ended))

describe.each(kinds)("Watching %s", (kind) => {
  live(
    "writes a line of JSON for each change, and none where nothing changed",
    Effect.gen(function* () {
      const { flags, outside } = yield* place(kind)
      // Where it hears of changes it need not look.
      const eager = yield* watches(flags)
      const watching = kind === "SQLite" ? [eager] : [eager, yield* watches(flags, "1h")]
      for (const one of watching) yield* hasLines(one, 1)
      // It subscribes after its first look, at the latest.
      yield* Effect.sleep("1 second")
      yield* Operator.isolate(outside, "a")
      for (const one of watching) yield* hasLines(one, 2)
      yield* Effect.sleep("500 millis")
      yield* Operator.isolate(outside, "b", { key: "k" })
      for (const one of watching) yield* hasLines(one, 3)
      yield* Effect.sleep("500 millis")
      for (const one of watching) {
        const { error } = yield* stopped(one)
        assert.strictEqual(error, "")
        assert.deepStrictEqual(
          linesOf(one).map(({ circuits }) => circuits.map(({ name }) => name)),
          [[], ["a"], ["a", "b"]]
        )
      }
    }),
    60_000
  )
})

describe("Watching", () => {
  live(
    "draws anew under a terminal, until it is interrupted",
    Effect.gen(function* () {
      const { flags, outside } = yield* place("Redis")
      const running = yield* start(["watch", "--every", "100ms", ...flags], { terminal: true })
      const drawn = () => running.out().split("\u001b[2J\u001b[H").length - 1
      yield* until(
        "it drew",
        Effect.sync(() => drawn() >= 2)
      )
      yield* Operator.isolate(outside, "a", { reason: "drill" })
      yield* until(
        "it shows it",
        Effect.sync(() => /a +\S*Isolated.*drill/.test(running.out()))
      )
      yield* running.say("\u0003")
      endsWith(130, yield* running.ended)
    }),
    60_000
  )

  const servers = { Redis: () => all.redis, PostgreSQL: () => all.postgres }
  for (const kind of ["Redis", "PostgreSQL"] as const) {
    live(
      `goes on when ${kind} was killed and is back, and says only what is new`,
      Effect.gen(function* () {
        const { flags, outside } = yield* place(kind)
        const running = yield* watches(flags)
        yield* hasLines(running, 1)
        yield* servers[kind]().kill
        yield* until(
          "it says so",
          Effect.sync(() => running.error() !== "")
        )
        yield* servers[kind]().start
        yield* until(
          "the store is back",
          Effect.map(Effect.exit(Operator.list(outside)), (exit) => exit._tag === "Success")
        )
        // It has looked again by then, and has nothing new to say.
        yield* Effect.sleep("2500 millis")
        yield* Operator.isolate(outside, "a")
        yield* until(
          "it shows it",
          Effect.sync(() => linesOf(running).at(-1)?.circuits[0]?.name === "a")
        )
        const { error } = yield* stopped(running)
        assert.strictEqual(linesOf(running).length, 2)
        for (const line of error.trimEnd().split("\n")) assert.strictEqual(parsed(line).error.code, 2)
      }),
      60_000
    )
  }

  live(
    "says which server does not answer, once in a message, and goes on when it does",
    Effect.gen(function* () {
      const { outside, prefix } = yield* place("Redis")
      const proxy = yield* redisProxy(all.redis.port)
      const running = yield* watches(["--redis", proxy.url, "--prefix", prefix])
      yield* hasLines(running, 1)
      yield* proxy.hang
      yield* until(
        "it says so",
        Effect.sync(() => running.error() !== "")
      )
      yield* proxy.mend
      yield* Operator.isolate(outside, "a")
      yield* hasLines(running, 2)
      const { error } = yield* stopped(running)
      const [first = ""] = error.split("\n")
      assert.strictEqual(parsed(first).error.message, `${proxy.url}: no answer within 1s`)
    }),
    60_000
  )
})
