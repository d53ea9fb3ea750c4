import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { postgresUrl } from "./support/postgresServer.ts"
import { program } from "./support/redisServer.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
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
  it("shows three processes with one Redis, and finds all that it claims", async () => {
    // The demo is for those who have a Redis; here one is installed where that is possible.
    const path = `${dirname(program())}${delimiter}${process.env["PATH"]}`
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
        ["rejected, by the word of the fleet; rejected, by the word of the fleet", "paid; paid", ""]
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
      'circuit_breaker_openings_total{name="payments"} 1',
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
    ]
  }

  it("are all here", () => {
    const files = readdirSync(join(root, "examples")).filter((name) => name.endsWith(".ts"))
    const larger = ["audit.ts", "fleet.ts", "quickstart.ts"]
    assert.deepStrictEqual(
      files.filter((name) => !larger.includes(name)).sort(),
      Object.keys(says)
        .map((name) => `${name}.ts`)
        .sort()
    )
  })

  it.each(Object.entries(says))("%s says what it should", async (name, lines) => {
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

/** A line `expression // => value` becomes an assertion, and everything else stays what it is. */
const toProgram = (code: string): string =>
  `import { deepStrictEqual as assertEqual } from "node:assert"\n${code.replaceAll(
    /^(?!\s*\/\/)(?!\s*(?:const|import|export)\b)(\S.*?)\s+\/\/ => (.+)$/gm,
    (_, expression, value) => `assertEqual(${expression}, ${value})`
  )}\nexport {}\n`

const documents = [
  "README.md",
  ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`),
  ...readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.startsWith("internal/"))
    .filter((name) => name !== "testing/SharedStoreContract.ts") // the suite needs a test runner
    .map((name) => `src/${name}`)
]
const examples = documents.flatMap(examplesOf)

describe("every example in the README and in the comments", () => {
  it("compiles under the project's own flags, and says what it says it does", async () => {
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
      writeFileSync(join(folder, "all.ts"), files.map((_, index) => `await import("./${index}.ts")`).join("\n"))
      const ran = await run(process.execPath, [conditions, join(folder, "all.ts")], { cwd: root }).catch(
        (error) => error
      )
      assert.notInstanceOf(ran, Error, String(ran.stderr))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }, 60_000)
})
