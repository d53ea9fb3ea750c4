import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { promisify } from "node:util"
import { assert, describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { postgresUrl } from "./support/postgresServer.ts"
import { programsOf } from "./support/servers.ts"
import { publicModules, root } from "./support/sources.ts"

const run = promisify(execFile)
const conditions = "--conditions=@effect-fuse/source"

describe("npm start", () => {
  it("shows a real server fail, the circuit open, cool down, probe and close", async () => {
    const { stderr, stdout } = await run(process.execPath, [conditions, "examples/quickstart.ts", "--json"], {
      cwd: root
    })
    const facts = JSON.parse(stdout)
    assert.strictEqual(stderr, "")
    const moves = facts.transitions.map(({ from, to, why }: Record<string, string>) => `${from} ${to} ${why}`)
    assert.deepStrictEqual(moves.slice(0, 2), ["Closed Open Tripped", "Open HalfOpen CooldownOver"])
    assert.include(moves, "HalfOpen Open ProbeFailed")
    assert.strictEqual(moves.at(-1), "HalfOpen Closed Recovered")
    assert.isAbove(facts.spared, facts.reachedWhileDown)
    assert.isAbove(facts.attempts.ok, 0)
    assert.isAbove(facts.attempts.error, 0)
    assert.isAbove(facts.attempts.timeout, 0)
    assert.strictEqual(facts.attempts.rejected, facts.spared)
  }, 60_000)

  it("is plain where the output is not a terminal", async () => {
    const script =
      "import { painter } from './examples/quickstart/timeline.ts'; process.stdout.write(painter(false)('red', 'x'))"
    const { stdout } = await run(process.execPath, [conditions, "--input-type=module", "-e", script], { cwd: root })
    assert.strictEqual(stdout, "x")
  })
})

describe("npm run demo:fleet", () => {
  it("shows three processes with one Redis, and confirms all its claims", async () => {
    // The demo needs a Redis program. `programsOf` finds or installs the program.
    const path = `${dirname((await programsOf("redis")).server)}${delimiter}${process.env["PATH"]}`
    const env = { ...process.env, PATH: path, REDIS_URL: "" }
    const { stdout } = await run(process.execPath, [conditions, "examples/fleet.ts"], { cwd: root, env })
    const [, checked = ""] = stdout.split("What was checked\n")
    assert.strictEqual(checked.match(/^ok /gm)?.length, 6, stdout)
    assert.notMatch(checked.trimEnd(), /^(?!ok | {3})/m)
  }, 240_000)
})

describe("examples/audit.ts", () => {
  it("shows an outage in two processes that share a database, and what the trail has of it", async () => {
    const scope = Effect.runSync(Scope.make())
    try {
      const url = await Effect.runPromise(Scope.provide(postgresUrl, scope))
      const env = { ...process.env, DATABASE_URL: url }
      const { stderr, stdout } = await run(process.execPath, [conditions, "examples/audit.ts"], { cwd: root, env })
      const [rejected, paid, ...trail] = stdout.trimEnd().split("\n")
      assert.deepStrictEqual(
        [rejected, paid, stderr],
        ["rejected by the fleet; rejected by the fleet", "paid; paid", ""]
      )
      assert.includeMembers(trail, [
        "Open -> HalfOpen  CooldownOver, fleet",
        "HalfOpen -> Closed  Recovered, fleet",
        "Closed -> Isolated  Isolated by ann (maintenance), fleet",
        "Isolated -> Closed  Reset by ann, fleet"
      ])
    } finally {
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }, 120_000)
})

describe("examples/cluster.ts", () => {
  it("shows that the processes of a cluster stop calling a server while it is down, even after a kill of one process", async () => {
    const scope = Effect.runSync(Scope.make())
    try {
      const url = await Effect.runPromise(Scope.provide(postgresUrl, scope))
      const env = { ...process.env, DATABASE_URL: url }
      const { stderr, stdout } = await run(process.execPath, [conditions, "examples/cluster.ts"], { cwd: root, env })
      const lines = [
        "30 customers notified, by 3 runners",
        "the mail server is down: the fleet rejects all notifications",
        "a runner is killed: the runners that have its customers now reject them too",
        "requests meanwhile: 0",
        "the mail server is back: 30 customers notified, by 2 runners"
      ]
      assert.deepStrictEqual([stdout.trimEnd().split("\n"), stderr], [lines, ""])
    } finally {
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }, 120_000)
})

const patternPages = readdirSync(join(root, "docs/patterns"))

describe("the small examples", () => {
  const says: Readonly<Record<string, ReadonlyArray<string>>> = {
    pipeline: [
      "timeout inside bulkhead inside breaker inside retry",
      "third time lucky",
      "as usual after a timeout",
      'CircuitOpen: Circuit "api" is isolated (maintenance)',
      "5 calls, 3 failed, 1 rejected, 3 retries"
    ],
    httpClient: [
      "the bad one: answered 503",
      "the bad one: answered 503",
      "the bad one: not asked, for 2 minutes",
      "the good one: hello"
    ],
    httpServer: [
      "acme: 502",
      "acme: 502",
      "acme: 503, retry after 60 s",
      '{"error":"circuit_open","service":"reports","tenant_id":"acme","retry_after":60}',
      "globex: 200",
      "for globex",
      "two words: 400",
      "the handler ran 3 times"
    ],
    rpc: [
      "user 0: there is no user 0",
      "user 1: the server failed",
      "user 2: the server failed",
      "user 3: the server answers that its database is down, for 2 minutes",
      "user 4: users is not called, for 2 minutes",
      "user 5: users is not called, for 2 minutes",
      "queries: 3"
    ],
    environment: ["payments is Open (local)"],
    serverless: [
      "a: 502 the provider does not answer",
      "b: 502 the provider does not answer",
      "c: 502 the provider does not answer",
      "d: 503 payments is open: try again later"
    ],
    languageModels: [
      "hello",
      "hello",
      "hello",
      "the first model was asked 1 time",
      "Open, all models of acme, for 2 hours"
    ],
    effectBreaker: ["answered 503", "answered 503", "Circuit open", "http api: Open, 2 calls"],
    pool: [
      "answered by eu.db.example",
      "us.db.example is down",
      "answered by asia.db.example",
      "answered by eu.db.example",
      "answered by asia.db.example",
      "2 of 3 healthy: eu Closed, us Open, asia Closed",
      "3 of 3 healthy: eu Closed, us Closed, asia Closed"
    ],
    limit: [
      "the server can answer 50 calls a second, of 100",
      "a breaker: 15 a second",
      "a breaker with a limit: 48 a second, 20 at once"
    ],
    slowReplica: [
      "roundRobin: 666 of 2000 calls were slow",
      "fastest: less than 20 of 2000 calls were slow",
      "eu: 20 millis, in use, Closed",
      "us: 20 millis, in use, Closed",
      "asia: 200 millis, left out, Closed",
      "fastest with a hedge: less than 20 of 2000 calls were slow"
    ],
    batch: [
      "a: wrote a",
      "b: wrote b",
      "c: disk full",
      "d: disk full",
      "e: kept 1",
      "f: kept 2",
      "4 calls, for later: e f"
    ],
    jobs: ["sent hello, attempt 1", "no connection", "Open", "claimed meanwhile: nothing", "sent more news, attempt 1"],
    workflow: [
      " 0 s  runs 17",
      " 0 s  charges 17, attempt 1",
      "30 s  runs 17",
      "30 s  charges 17, attempt 2",
      "40 s  the provider is back",
      "60 s  runs 17",
      "60 s  charges 17, attempt 3",
      "70 s  charged 17"
    ],
    stream: [
      "saved 1 (1 pulled)",
      "saved 2 (2 pulled)",
      "saved 3 (3 pulled)",
      "saved 4 (4 pulled)",
      "saved 5 (5 pulled)",
      "8 calls"
    ],
    operator: [
      "paid, paid",
      "2 processes; nothing but Closed",
      "not now: the bank is closed (fleet)",
      "not now: the bank is closed (fleet)",
      "2 processes; payments Isolated: the bank is closed",
      "paid, paid"
    ],
    metrics: [
      'circuit_breaker_calls_total{name="payments",outcome="success"} 0',
      'circuit_breaker_calls_total{name="payments",outcome="failure"} 2',
      'circuit_breaker_calls_total{name="payments",outcome="ignored"} 0',
      'circuit_breaker_rejections_total{name="payments"} 1',
      'circuit_breaker_outages_total{name="payments"} 1',
      "1 of 2 circuits are healthy",
      "circuit_breaker.name: payments",
      "circuit_breaker.state: Open",
      "circuit_breaker.scope: local",
      "circuit_breaker.reason: Cooldown",
      "circuit_breaker.detail: 2 failures in a row (limit 2)"
    ],
    promises: [
      "user 1",
      "failed: connection refused",
      "users: Closed -> Open",
      "failed: connection refused",
      "not now (CIRCUIT_OPEN)",
      "users: Open -> HalfOpen",
      "users: HalfOpen -> Closed",
      "user 3",
      "initials of 4",
      "the user left",
      "2 circuits, 4 calls, 2 failed, 2 rejected"
    ],
    serviceCall: [
      "gold paid",
      "red declined",
      "red declined",
      "red declined",
      "blue down",
      "blue down",
      "gold pay later",
      "the bank was asked 6 times"
    ],
    retryBackoff: [
      "CircuitOpen",
      "4 of 11 attempts were made; the waits were about 100, 200 and 400 ms",
      "hello",
      "1 attempt was made, when the circuit let it through"
    ],
    timeoutRetryBreaker: [
      "right: 3 attempts, ended by CircuitOpen; its breaker saw 3 failed, 0 ignored: Open",
      "timeout outside: 5 attempts, ended by TimeoutError; its breaker saw 0 failed, 5 ignored: Closed",
      "retry inside: 5 attempts, ended by TimeoutError; its breaker saw 1 failed, 0 ignored: Closed"
    ],
    databaseErrors: [
      "order 1",
      "UNIQUE constraint failed: orders.id",
      "UNIQUE constraint failed: orders.id",
      "UNIQUE constraint failed: orders.id",
      "database is locked",
      "database is locked",
      "not asked: the circuit is open",
      "4 answers, 2 failures, 1 rejected"
    ],
    oauthRefresh: [
      "items",
      "items with a new token",
      "api Closed, 0 failed; tokens Closed, 0 failed",
      "TokenError",
      "TokenError",
      "CircuitOpen",
      "api Closed, 0 failed; tokens Open, 2 failed"
    ],
    consumer: [
      " 0 s  sent a",
      " 0 s  sent b",
      "12 s  Open, 2 are waiting",
      "33 s  sent c",
      "33 s  sent d",
      "33 s  sent e",
      "42 s  7 calls for 5 messages"
    ],
    monitoring: [
      "alert: bank is open: 3 failures in a row (limit 3)",
      "resolved: bank is back",
      "alert: bank is open: 3 failures in a row (limit 3)",
      "resolved: bank is back",
      "alert: bank is open: 3 failures in a row (limit 3)",
      "alert: bank is flapping",
      "resolved: bank is back",
      "Closed: 6m",
      "Open: 2m 15s",
      "HalfOpen: 0"
    ],
    structuredLogs: [
      '{"time":"00:00:00","level":"WARN","message":"Circuit \\"bank\\" opened: 2 failures in a row (limit 2); last failure: down","circuit":"bank","from":"Closed","to":"Open","why":"Tripped","openings":1,"retryAfter":"20s"}',
      '{"time":"00:00:20","level":"DEBUG","message":"Circuit \\"bank\\" is probing","circuit":"bank","from":"Open","to":"HalfOpen","why":"CooldownOver","openings":1}',
      '{"time":"00:00:20","level":"INFO","message":"Circuit \\"bank\\" closed","circuit":"bank","from":"HalfOpen","to":"Closed","why":"Recovered","openings":1}',
      '{"time":"00:00:20","level":"WARN","message":"Circuit \\"bank\\" was isolated: maintenance","circuit":"bank","from":"Closed","to":"Isolated","why":"Isolated","openings":1,"retryAfter":"1h","actor":"ann"}',
      '{"time":"00:00:20","level":"INFO","message":"Circuit \\"bank\\" was released","circuit":"bank","from":"Isolated","to":"Closed","why":"Released","openings":1,"actor":"ann"}'
    ],
    customTrip: [
      "at 3 in the morning: 2",
      "at noon: 4",
      "after six successes, failures of weight 2: 2",
      "opening 1: 4",
      "opening 2: 3",
      "opening 3: 2",
      'breakers.a.trip.name: expected the name of a custom trip (byTimeOfDay, heavy, stricterEachTime), got "havey"'
    ],
    customStore: [
      "0 cases of the contract failed",
      "each swap gets a new epoch, above those before, also after the record expired",
      "a record expires when its ttl is over: for load, page, swap and cast",
      "a record lasts for its ttl, and for ever without a ttl",
      "a swap of another epoch does not change how long a record lasts",
      "a page counts the records that are listed, and not those that expired",
      "after a record expired, neither its ballots nor those from before it count again",
      "Isolated, Isolated"
    ],
    severalStores: [
      "paid; a page",
      "paid; rejected: the catalogue moves (local)",
      "rejected: the bank is closed (fleet); a page"
    ],
    majority: [
      "at first: Closed; records: eu 0, us 0, asia 0",
      "us is cut off: Isolated; records: eu 1, us 0, asia 1",
      "us is back: Isolated; records: eu 1, us 1, asia 1",
      "released: Closed; records: eu 0, us 0, asia 0"
    ],
    span: [
      "34 of 3000 calls reached the gateway",
      "the last calls of 32 of 32 keys failed (limit 95%), 34 failures in a row (limit 34)",
      "the probe: rows of shard 7",
      "another shard: rows of shard 500"
    ],
    tenants: [
      "acme: wrong password",
      "acme: wrong password",
      "acme: CircuitOpen",
      "globex: a report for globex",
      "the circuit of acme is Open",
      "the circuit of globex is Closed",
      "globex: a report for globex",
      "acme: wrong password",
      "acme: wrong password",
      "globex: CircuitOpen",
      "the circuit of all is Open",
      "globex: calls 1, failed 0, rejected 1",
      "acme: calls 2, failed 2, rejected 0"
    ],
    primarySecondary: [
      "all is well: 1.10, live",
      "the primary is down: 1.09, delayed",
      "the primary is down: 1.09, delayed",
      "the primary is down: 1.09, delayed",
      "the primary is down: 1.09, delayed",
      "the primary was called 2 times, then rejected",
      "both are down: 1.00, from yesterday",
      "both are down: 1.00, from yesterday",
      "the primary is back: 1.10, live",
      "Closed; Open"
    ],
    dependencies: [
      "checkout: paid",
      'checkout: CircuitOpen: Circuit "checkout" depends on "database", which lets no calls through, retry after 10s',
      'orders: CircuitOpen: Circuit "orders" depends on "database", which lets no calls through, retry after 10s',
      "bank: paid",
      "1 of 4 are healthy",
      "checkout is Closed, and waits 10s for the database",
      "orders is Closed, and waits 10s for the database",
      "checkout: paid",
      "database: Closed"
    ],
    policiesFromDatabase: [
      "at first: 5",
      "not loaded yet: 5",
      "loaded: 2",
      "Circuit breaker policies could not be reloaded, the last good ones stay in force",
      "  breakers.bank.colldown: unknown field (did you mean cooldown?)",
      '  breakers.bank.trip.failures: expected a whole number of 1 or more, got "two"',
      "invalid, so unchanged: 2"
    ],
    observing: [
      "it would be Open (observe)",
      "it would be HalfOpen (observe)",
      "it would be Open (observe)",
      "it would be HalfOpen (observe)",
      "it would be Closed (observe)",
      "60 calls were made, 30 failed, 0 were rejected",
      "enforce would have rejected 38 calls, too many for an outage of 30 seconds"
    ],
    ownProbe: [
      "no connection, Closed",
      "no connection, Open",
      "not asked, Open",
      "4 checks, and 2 queries were made",
      "the next check closes it: Closed",
      "a row, Closed"
    ],
    deadline: [
      "busy after 1 attempt: a retry in an hour does not fit into 3 seconds",
      "TimeoutError, of the deadline: true",
      "without deadlines: 27 calls at the bottom",
      "with deadlines: 3 calls at the bottom"
    ],
    hedgeAndLimit: [
      "copy 2 answered after 250 ms",
      "the circuit saw 1 success, 1 ignored",
      "sent, sent, sent, RateLimiterError, RateLimiterError",
      "the circuit is Closed: 3 successes, 2 ignored, 0 failures"
    ],
    featureFlags: [
      "down",
      "down",
      "down",
      "the flag is on",
      "down",
      "down",
      "CircuitOpen",
      "the flag is off",
      "down",
      "Open: 4 passed, 2 counted, 1 rejected"
    ],
    healthOfMany: [
      "4 of 8 are healthy",
      "search: Isolated, a new index",
      "mail: Open, 2 failures in the last 10 calls (limit 2)",
      "avatars: Open, 2 failures in the last 10 calls (limit 2)",
      "reviews: waits for search",
      "no alarm"
    ],
    snapshots: [
      "minute 1: calls 5, failed 0, rejected 0; Closed",
      "minute 2: calls 6, failed 0, rejected 0; Closed",
      "minute 3: calls 3, failed 2, rejected 3; Open",
      "minute 4: calls 1, failed 1, rejected 5; Open",
      "minute 5: calls 4, failed 0, rejected 2; Closed",
      "minute 6: calls 6, failed 0, rejected 0; Closed"
    ],
    testing: [
      "ok   it recovers",
      "FAIL it opens after one failure",
      'Unexpected: Circuit "bank" should be Open and is Closed',
      "  1 call: 0 succeeded, 1 failed, 1 in a row; 0 running; 0 rejected",
      "  0 openings; retry after 0; decided by this process",
      "Isolated, Isolated, Closed",
      "Isolated, Isolated, Isolated",
      "ok   a process that is cut off learns it later"
    ],
    lazyCreation: [
      "at first: none; 0 forgotten, 0 without room",
      "inspect creates none: none; 0 forgotten, 0 without room",
      "three: a b bad-1 (Open); 0 forgotten, 0 without room",
      "three more: bad-1 (Open) d e; 3 forgotten, 0 without room",
      "two bad ones: bad-1 (Open) bad-2 (Open) bad-3 (Open); 5 forgotten, 0 without room",
      "no room left: bad-1 (Open) bad-2 (Open) bad-3 (Open) (overflow); 5 forgotten, 2 without room"
    ],
    moving: [
      "bank, search",
      "2 circuits",
      "bank: Open, 1 failure in a row (limit 1), 19 more seconds",
      "search: Isolated, a new index, for good",
      "2 in the other store",
      "ImportError"
    ],
    simulate: [
      "usual: opened after 210 ms, 8 calls leaked, 230 rejected needlessly, 0 unnecessary openings",
      "hasty: opened after 0 ms, 3 calls leaked, 1296 rejected needlessly, 14 unnecessary openings",
      "late: never opened, 404 calls leaked, 0 rejected needlessly, 0 unnecessary openings",
      "fewest leaked and rejected calls: usual"
    ]
  }

  it("are all here", () => {
    const files = readdirSync(join(root, "examples")).filter((name) => name.endsWith(".ts"))
    // These have tests of their own.
    const larger = ["audit.ts", "cluster.ts", "fleet.ts", "quickstart.ts", "redisCluster.ts", "redisSentinel.ts"]
    assert.deepStrictEqual(
      files.filter((name) => !larger.includes(name)).sort(),
      Object.keys(says)
        .map((name) => `${name}.ts`)
        .sort()
    )
  })

  it.each(["examples/README.md", "docs/patterns.md"])("are all in %s", (page) => {
    const text = readFileSync(join(root, page), "utf8")
    assert.deepStrictEqual(
      Object.keys(says).filter((name) => !new RegExp(`[(/]${name}\\.ts\\)`).test(text)),
      []
    )
  })

  // To update the pages after a change of a program: npx vitest run examples -t patterns -u
  it.each(patternPages)("docs/patterns/%s shows the current program and its output", async (page) => {
    const path = join(root, "docs/patterns", page)
    const text = readFileSync(path, "utf8")
    const name = text.match(/^\[examples\/(\w+)\.ts\]/m)?.[1]
    const program = name === undefined ? "" : readFileSync(join(root, `examples/${name}.ts`), "utf8")
    const lines = name === undefined ? [] : (says[name] ?? [])
    const current = text
      .replace(/^```typescript\n[\s\S]*?^```/m, () => `\`\`\`typescript\n${program}\`\`\``)
      .replace(/^```text\n[\s\S]*?^```/m, () => `\`\`\`text\n${lines.join("\n")}\n\`\`\``)
    await expect(current).toMatchFileSnapshot(path)
  })

  it.each(Object.entries(says))("%s prints the expected lines", async (name, lines) => {
    const { stderr, stdout } = await run(process.execPath, [conditions, `examples/${name}.ts`], { cwd: root })
    assert.deepStrictEqual([stdout.trimEnd().split("\n"), stderr], [lines, ""])
  })
})

interface Example {
  readonly where: string
  readonly code: string
}

/** The TypeScript blocks of a page, or of the comments of a source file. */
const examplesOf = (path: string): ReadonlyArray<Example> => {
  const text = readFileSync(join(root, path), "utf8")
  const lines = path.endsWith(".ts") ? text.replaceAll(/^ *\* ?/gm, "") : text
  return Array.from(lines.matchAll(/^```ts\n([\s\S]*?)^```/gm), (match, index) => ({
    where: `${path} example ${index + 1}`,
    code: match[1] ?? ""
  }))
}

/** A line `expression // => value` becomes an assertion, also within `console.log`. Other lines stay unchanged. */
const toProgram = (code: string): string =>
  `import { deepStrictEqual as assertEqual } from "node:assert"\n${code.replaceAll(
    /^(?!\s*\/\/)(?!\s*(?:const|import|export)\b)(\S.*?)\s+\/\/ => (.+)$/gm,
    (_, expression: string, value) => `assertEqual(${expression.replace(/^console\.log\((.*)\)$/, "$1")}, ${value})`
  )}\nexport {}\n`

const documents = [
  "README.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
  ...[...publicModules.map(({ name }) => name), "index"]
    .filter((name) => name !== "testing/SharedStoreContract") // the suite needs a test runner
    .map((name) => `src/${name}.ts`)
]
const examples = documents.flatMap(examplesOf)

describe("every example in the README and in the comments", () => {
  it("compiles under the project's own flags, and prints what its comments state", async () => {
    mkdirSync(join(root, ".tmp"), { recursive: true })
    const folder = mkdtempSync(join(root, ".tmp", "examples-"))
    try {
      assert.isAbove(examples.length, 5)
      const files = examples.map(({ code, where }, index) => {
        const file = join(folder, `${index}.ts`)
        writeFileSync(file, `// ${where}\n${toProgram(code)}`)
        return file
      })
      writeFileSync(
        join(folder, "tsconfig.json"),
        JSON.stringify({
          extends: "../../tsconfig.json",
          compilerOptions: { noUnusedLocals: false },
          include: ["*.ts"]
        })
      )
      const tsc = join(root, "node_modules/typescript/bin/tsc")
      const compiled = await run(process.execPath, [tsc, "-p", folder], { cwd: root }).catch((error) => error)
      assert.strictEqual(compiled.stdout, "", "the examples compile")
      // A circuit ignores a timeout after a stall, so an example can fail on a busy machine. A failed example runs a second time.
      const all = files.map((_, index) => `await import("./${index}.ts").catch(() => import("./${index}.ts?again"))`)
      writeFileSync(join(folder, "all.ts"), all.join("\n"))
      const ran = await run(process.execPath, [conditions, join(folder, "all.ts")], { cwd: root }).catch(
        (error) => error
      )
      assert.notInstanceOf(ran, Error, String(ran.stderr))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }, 60_000)
})
