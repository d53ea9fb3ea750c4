import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, ConfigProvider, Console, Effect, Exit, Layer, Logger, Option, Result } from "effect"
import { CliError, Command } from "effect/cli"
import * as Simulator from "effect-fuse/Simulator"
import { afterAll } from "vitest"
import { command } from "../src/cli/command.ts"
import { answer, CommandFailure, report } from "../src/cli/messages.ts"
import { presentation } from "../src/cli/settings.ts"
import { table } from "../src/cli/table.ts"
import {
  alteredText,
  edited,
  either,
  name,
  numbers,
  oneOf,
  runs,
  text,
  toJson,
  unprintable,
  unprintableInLines
} from "./support/garbage.ts"

// Runs the command line in this process, with arbitrary arguments and arbitrary input.

const folder = mkdtempSync(join(tmpdir(), "fuzz-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Ended {
  readonly code: number
  readonly out: string
  readonly error: string
}

/** A console that records its output. */
const keeping = () => {
  const told = { out: "", error: "" }
  const log = (text: string) => {
    told.out += `${text}\n`
  }
  const error = (text: string) => {
    told.error += `${text}\n`
  }
  return { told, console: { ...globalThis.console, log, error } as Console.Console }
}

/** What it says, and the code that it ends with: an answer, or an error that it knows. Nothing dies, nothing is obeyed. */
const run = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}): Effect.Effect<Ended> =>
  Effect.gen(function* () {
    const { console, told } = keeping()
    const exit = yield* Command.runWith(command, { version: "0" })(args).pipe(
      Effect.provideService(Console.Console, console),
      Effect.provide(
        Layer.mergeAll(
          NodeServices.layer,
          presentation,
          ConfigProvider.layer(ConfigProvider.fromEnv({ env })),
          Logger.layer([])
        )
      ),
      Effect.exit
    )
    const { error, out } = told
    const said = JSON.stringify({ args, out, error })
    assert.notMatch(out, unprintableInLines, said)
    assert.notMatch(error, unprintableInLines, said)
    assert.notMatch(error, /^ +at .*:\d+/m, said)
    if (Exit.isSuccess(exit)) return { code: 0, out, error }
    assert.isFalse(Cause.hasDies(exit.cause), `${said}\n${Cause.pretty(exit.cause)}`)
    const failure: unknown = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
    assert.isTrue(CliError.isCliError(failure) || failure instanceof CommandFailure, said)
    assert.notStrictEqual(error, "", said)
    return { code: failure instanceof CommandFailure ? failure.code : 1, out, error }
  })

/** With `--json`, all output is JSON. */
const isJson = ({ error, out }: Ended): void => {
  for (const text of [out, error]) if (text !== "") JSON.parse(text)
}

describe("Arguments of any kind", () => {
  const verbs = [
    "list",
    "show",
    "watch",
    "history",
    "doctor",
    "isolate",
    "open",
    "reset",
    "export",
    "import",
    "cleanup",
    "simulate"
  ]
  const flags = [
    "--key",
    "--reason",
    "--actor",
    "--for",
    "--limit",
    "--before",
    "--batch",
    "--older-than",
    "--timeout",
    "--every",
    "--name",
    "--state",
    "--sort",
    "--keys",
    "--wide",
    "--new",
    "-y"
  ]
  const others = [
    "--prefix",
    "--schema",
    "--redis",
    "--database",
    "--json",
    "--rate",
    "--outage",
    "--seed",
    "--errors",
    "--help",
    "--"
  ]
  const values = ["1h", "1h30m", "30s+20s@0.5", "2026-11-21T10:00:00Z", "api", ...numbers.map(String)]
  const word = either(
    oneOf([...verbs, ...flags, ...others, ...values]),
    either(edited(oneOf([...flags, ...others, ...values])), text)
  )
  it.live.prop(
    "succeed, or fail with a message about the problem",
    [oneOf(verbs.filter((verb) => verb !== "watch")), Arbitrary.array(word, { maxLength: 4 })],
    ([verb, words]) => {
      const args = words.map((one) => (one === "watch" || one === "-" ? "x" : one))
      return Effect.asVoid(
        run([verb, ...args, "--redis", "redis://127.0.0.1:1", "--yes"].filter((one) => one !== "--completions"))
      )
    },
    runs("words", 400)
  )

  it.live.prop(
    "need not begin with a command",
    [Arbitrary.array(either(text, edited(oneOf([...verbs, ...flags]))), { maxLength: 3 })],
    ([words]) => Effect.asVoid(run(["nonsense", ...words])),
    runs("nonsense", 150)
  )
})

describe("A password", () => {
  const secret = "s3cret"
  const password = Arbitrary.map(
    Arbitrary.all([
      oneOf(["", "", "/", "#", "?", "@", "%", "%2F", ":", " ", "é", "\n", '"', "\u202e"]),
      oneOf(["", "", "/", "#", "@", "%", "@x/"])
    ]),
    ([before, after]) => before + secret + after
  )
  const user = oneOf(["", "u", "u@", "é", "%75", "u/", "u?"])
  const scheme = oneOf([
    "redis",
    "rediss",
    "postgres",
    "postgresql",
    "sqlite",
    "file",
    "mysql",
    "mariadb",
    "http",
    "REDIS",
    "redi s",
    ""
  ])
  const url = Arbitrary.map(
    Arbitrary.all({
      scheme,
      slashes: oneOf(["//", "//", "//", "", "/", "///", "\\\\", ":"]),
      user,
      password,
      host: oneOf(["127.0.0.1:1", "127.0.0.1:1", "[::1]:1", "127.0.0.1:99999", ""]),
      path: oneOf([
        "",
        "/0",
        "/shop",
        "/a%",
        "/a@b",
        "?x=1",
        "#y",
        "/shop?password=s3cret&password=x",
        "/shop?sslrootcert=/none"
      ])
    }),
    ({ host, password, path, scheme, slashes, user }) => `${scheme}:${slashes}${user}:${password}@${host}${path}`
  )
  const places = [
    (url: string) => ["list", "--redis", url],
    (url: string) => ["list", "--database", url],
    (url: string) => ["history", `--database=${url}`],
    (url: string) => [url, "list"],
    (url: string) => ["list", url],
    (url: string) => ["list", `--redsi=${url}`],
    (url: string) => ["list", "--timeout", url],
    (url: string) => ["list", "--prefix", "a", url, url],
    () => ["list"]
  ]
  it.live.prop(
    "is not said, wherever it is written and whatever is wrong with its URL",
    [url, oneOf(places), oneOf([[], ["--json"]])],
    ([url, place, json]) =>
      Effect.gen(function* () {
        const args = [...place(url), ...json, "--timeout", "300ms"]
        const ended = yield* run(args, { REDIS_URL: url, DATABASE_URL: url })
        assert.include([1, 2], ended.code)
        assert.strictEqual(ended.out, "")
        // The name of a file is not one.
        if (/^(sqlite|file):(?!\/\/[^/?#])/.test(url)) return
        assert.notInclude(ended.error, secret, JSON.stringify(args))
      }),
    runs("passwords", 400)
  )
})

describe("The output", () => {
  const rows = Arbitrary.array(Arbitrary.all([text, text]), { maxLength: 3 })
  it.effect.prop(
    "keeps to its lines and columns, and is JSON where that is asked for, whatever a server or a file has said",
    [text, text, rows, oneOf([true, false])],
    ([message, advice, rows, json]) =>
      Effect.gen(function* () {
        const { console, told } = keeping()
        const lines = table([{ head: "A" }, { head: "B" }], rows)
        assert.strictEqual(lines.split("\n").length, rows.length + 1)
        const said = Effect.andThen(
          report(new CommandFailure({ code: 2, message, advice }), json),
          answer(json, { message, rows }, lines)
        )
        yield* Effect.provideService(said, Console.Console, console)
        for (const one of [told.out, told.error]) assert.notMatch(one, unprintableInLines)
        if (!json) return
        isJson({ code: 0, ...told })
        assert.deepStrictEqual(JSON.parse(told.out), { message, rows })
      }),
    runs("said", 300)
  )
})

describe("A file", () => {
  let made = 0
  const file = (content: string): string => {
    const path = join(folder, `${made++ % 20}`)
    writeFileSync(path, content)
    return path
  }
  const call = { time: 1_000, outcome: "failure", duration: 5 }
  const calls = [call, { time: "2026-11-21T10:00:00Z", outcome: "503", duration: "hang" }, { ...call, outcome: "ok" }]
  const cells = either(
    oneOf([...numbers.map(String), "constructor", "__proto__", "toString", "call 7", "0x10", "9".repeat(400)]),
    text
  )
  const csv = Arbitrary.map(
    Arbitrary.array(Arbitrary.all([cells, oneOf(["ok", "503", "error", "constructor"]), cells]), {
      minLength: 1,
      maxLength: 4
    }),
    (rows) => ["time,outcome,duration", ...rows.map((row) => row.join(",")), "1000,failure,5"].join("\n")
  )
  const digits = "9".repeat(400)
  const far = Arbitrary.map(
    Arbitrary.array(
      Arbitrary.all([
        oneOf(["0", "-5", "1e21", "8640000000000001", "-8640000000000000", digits, "+275760-09-13T00:00:00Z"]),
        oneOf(["ok", "503"]),
        oneOf(["0", "5", "hang", "1e300", "1e308", "Infinity", digits])
      ]),
      { minLength: 1, maxLength: 3 }
    ),
    (rows) => ["time,outcome,duration", ...rows.map((row) => row.join(","))].join("\n")
  )
  const traces = either(
    alteredText([calls, [call], [{ ...call, outcome: "constructor" }]]),
    either(either(csv, far), edited(oneOf(["time,outcome,duration\n1,ok,2\n5,failure,9"])))
  )
  const sound = { hasty: { cooldown: "5 seconds", trip: { _tag: "Consecutive", failures: 2 } } }
  const policies = either(
    alteredText([sound, { default: {} }]),
    Arbitrary.map(name, (one) => toJson({ [one]: { cooldown: 1 } }))
  )

  it.effect.prop(
    "that is a trace has calls that can be replayed, or the message names the line without one",
    [traces],
    ([trace]) =>
      Effect.gen(function* () {
        const parsed = Simulator.parseTrace(trace)
        if (Result.isFailure(parsed)) return assert.notMatch(parsed.failure.message, unprintable)
        const { calls } = parsed.success
        assert.isAtLeast(calls.length, 1)
        for (const { at, duration, outcome } of calls) {
          assert.isTrue(at >= 0 && at < Infinity && duration >= 0)
          assert.include(["success", "failure"], outcome)
        }
        const [report] = yield* Simulator.run(parsed.success, { default: {} })
        assert.strictEqual((report?.succeeded ?? 0) + (report?.failed ?? 0) + (report?.rejected ?? 0), calls.length)
        assert.notMatch(JSON.stringify(report), /:null/)
      }),
    runs("calls", 400)
  )

  it.live.prop(
    "that is a trace or has policies is simulated, drawn and reported, or the message names the problem",
    [oneOf([undefined, "good", "good"]), traces, policies, oneOf([[], ["--json"]])],
    ([which, trace, policy, json]) =>
      Effect.gen(function* () {
        const [good, svg, html] = [
          file("time,outcome,duration\n1,ok,2\n5,error,9"),
          join(folder, "svg"),
          join(folder, "html")
        ]
        const ended = yield* run([
          ...[
            "simulate",
            "--trace",
            which === undefined ? file(trace) : good,
            "--policies",
            file(which === undefined ? toJson(sound) : policy)
          ],
          ...["--svg", svg, "--html", html, ...json]
        ])
        if (json.length > 0) isJson(ended)
        if (ended.code > 0) return
        const drawn = readFileSync(svg, "utf8")
        // An invalid character or entity of XML would break the whole picture.
        assert.notMatch(drawn + readFileSync(html, "utf8"), unprintableInLines)
        assert.notMatch(drawn, /&(?!(amp|lt|gt|quot);)/)
        if (which === undefined) assert.notMatch(drawn + ended.out, /NaN|Infinity|undefined/)
      }),
    runs("traces", 120)
  )

  const closed = { _tag: "Closed", since: -5, openings: 2, openFor: 1_000, rampUntil: 500 }
  const isolated = { _tag: "Isolated", since: 0, until: null, reason: "drill", actor: "ann", under: closed }
  const circuits = [
    { circuit: "a", state: closed },
    { circuit: "b", key: "k", state: isolated }
  ]
  const named = Arbitrary.map(Arbitrary.all([name, text, text, text]), ([circuit, key, reason, actor]) =>
    toJson({ version: 1, at: 0, circuits: [{ circuit, key, state: { ...isolated, reason, actor } }] })
  )
  it.live.prop(
    "that is imported is listed, shown, exported and controlled, or the message names the problem",
    [
      either(alteredText([{ version: 1, at: 0, circuits }]), named),
      either(text, oneOf(["ann"])),
      oneOf([[], ["--json"]])
    ],
    ([imported, actor, json]) =>
      Effect.gen(function* () {
        const database = join(folder, "shop.db")
        writeFileSync(database, "")
        const at = ["--database", `sqlite:${database}`]
        yield* run(["migrate", "--yes", ...at])
        const { code } = yield* run(["import", file(imported), `--actor=${actor}`, "--yes", ...at, ...json])
        const [list, exported] = [yield* run(["list", ...at, "--json"]), yield* run(["export", ...at])]
        assert.deepStrictEqual([list.code, exported.code], [0, 0])
        const known = JSON.parse(list.out).circuits as ReadonlyArray<{ name: string; key: string | null }>
        if (code === 1) assert.deepStrictEqual(known, [])
        JSON.parse(exported.out)
        const table = (yield* run(["list", ...at])).out.trimEnd().split("\n")
        assert.strictEqual(table.length, known.length === 0 ? 1 : known.length + 3)
        for (const { key, name } of known.slice(0, 2)) {
          const which = [...(key === null ? [] : [`--key=${key}`]), ...at, "--", name]
          yield* run(["show", ...json, ...which])
          yield* run(["isolate", "--yes", `--reason=${actor}`, ...json, ...which])
          yield* run(["reset", "--yes", ...json, ...which])
        }
      }),
    runs("imported", 15)
  )

  it.live.prop(
    "may be called anything, and be missing",
    [
      text,
      oneOf([
        ["import", "--yes"],
        ["simulate", "--trace"],
        ["simulate", "--policies"],
        ["simulate", "--for=1s", "--svg"]
      ])
    ],
    ([missing, words]) =>
      Effect.gen(function* () {
        const { code, error } = yield* run([...words, `${folder}/nowhere/x${missing}`])
        assert.include([1, 2], code)
        assert.notMatch(error.trimEnd(), unprintable)
      }),
    runs("missing", 100)
  )
})
