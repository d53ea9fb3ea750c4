import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Exit, Fiber, Logger, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import * as Simulator from "effect-fuse/Simulator"
import { CircuitTest } from "effect-fuse/testing"
import { isFailureStatus } from "../src/engine/classify.ts"

const parsed = (text: string) => {
  const trace = Simulator.parseTrace(text)
  if (Result.isFailure(trace)) assert.fail(trace.failure.message)
  return trace.success
}

/** A call every 100 milliseconds, each of 10. */
const regular = (seconds: number, down: (at: number) => boolean): Simulator.Trace => {
  const calls = Array.from({ length: seconds * 10 }, (_, i) => ({
    at: i * 100,
    outcome: down(i * 100) ? ("failure" as const) : ("success" as const),
    duration: 10
  }))
  return { calls, outages: [{ from: 1_000, until: 3_000 }], millis: seconds * 1_000 }
}

const one = (trace: Simulator.Trace, policy: BreakerPolicy.Input, options?: Simulator.RunOptions) =>
  Effect.map(Simulator.run(trace, { it: policy }, options), ([report]) => report ?? assert.fail("no report"))

describe("A simulation", () => {
  it.effect("counts what became of calls, and how soon the circuit opened and closed", () =>
    Effect.gen(function* () {
      const trace = regular(6, (at) => at >= 1_000 && at < 3_000)
      const report = yield* one(trace, { trip: Trip.consecutive(3), cooldown: "1 second" })
      // It fails at 1.0, 1.1 and 1.2, opens at 1.21, probes at 2.3 in vain and at 3.4 with success.
      assert.deepInclude(report, {
        policy: "it",
        calls: 60,
        succeeded: 10 + 26,
        failed: 4,
        rejected: 20,
        leaked: 4,
        lost: 4,
        openings: 1,
        flaps: 0
      })
      assert.deepStrictEqual(report.outages, [
        { from: 1_000, until: 3_000, timeToOpen: 210, timeToRecover: 410, leaked: 4 }
      ])
      assert.deepStrictEqual(
        report.moves.map(({ at, to, why }) => [at, to, why]),
        [
          [1_210, "Open", "Tripped"],
          [2_300, "HalfOpen", "CooldownOver"],
          [2_310, "Open", "ProbeFailed"],
          [3_400, "HalfOpen", "CooldownOver"],
          [3_410, "Closed", "Recovered"]
        ]
      )
      assert.deepStrictEqual(report.timeIn, { Closed: 3_800, Open: 2_180, HalfOpen: 20, Isolated: 0, Disabled: 0 })
      const sum = (fate: "succeeded" | "failed" | "rejected") =>
        report.buckets.reduce((all, bucket) => all + bucket[fate], 0)
      assert.deepStrictEqual([sum("succeeded"), sum("failed"), sum("rejected")], [36, 4, 20])
    })
  )

  it.effect("distinguishes needless openings from those of an outage", () =>
    Effect.gen(function* () {
      const trace = regular(10, (at) => (at >= 1_000 && at < 3_000) || at === 5_000 || at === 8_000)
      const hasty = yield* one(trace, { trip: Trip.consecutive(1), cooldown: "500 millis" })
      assert.deepStrictEqual([hasty.openings, hasty.flaps], [3, 2])
      const patient = yield* one(trace, { trip: Trip.consecutive(50) })
      assert.deepInclude(patient, { openings: 0, flaps: 0, rejected: 0, leaked: 20, failed: 22 })
      assert.deepInclude(patient.outages[0], { timeToOpen: undefined, timeToRecover: 0 })
      const slow = yield* one(trace, { trip: Trip.consecutive(3), cooldown: "1 minute" })
      assert.deepInclude(slow.outages[0], { timeToOpen: 210, timeToRecover: undefined })
    })
  )

  it.effect("gives up calls that take too long, and probes by the policy", () =>
    Effect.gen(function* () {
      const calls = Array.from({ length: 40 }, (_, i) => ({
        at: i * 100,
        outcome: "success" as const,
        duration: i < 10 ? Infinity : 10
      }))
      const trace = { calls, outages: [], millis: 4_000 }
      const policy: BreakerPolicy.Input = { trip: Trip.consecutive(2), cooldown: "300 millis" }
      const never = yield* one(trace, policy)
      assert.deepInclude(never, { openings: 0, failed: 10, succeeded: 30 })
      const limited = yield* one(trace, policy, { timeout: "150 millis" })
      assert.deepStrictEqual(
        limited.moves.slice(0, 3).map(({ at, to, why }) => [at, to, why]),
        [
          [250, "Open", "Tripped"],
          [600, "HalfOpen", "CooldownOver"],
          [750, "Open", "ProbeFailed"]
        ]
      )
      const probes = yield* one(trace, { ...policy, probeTimeout: "50 millis" }, { timeout: "150 millis" })
      assert.deepStrictEqual(probes.moves[2], { at: 650, from: "HalfOpen", to: "Open", why: "ProbeTimedOut" })
    })
  )

  it.effect("counts calls that take no time", () =>
    Effect.gen(function* () {
      const calls = Array.from({ length: 20 }, (_, i) => ({
        at: Math.floor(i / 2) * 100,
        duration: 0,
        outcome: i < 10 ? ("success" as const) : ("failure" as const)
      }))
      const [report] = yield* Simulator.run(
        { calls, outages: [], millis: 1_000 },
        { one: { trip: Trip.consecutive(4) } }
      )
      assert.deepStrictEqual([report?.succeeded, report?.failed, report?.rejected], [10, 4, 6])
    })
  )

  it.effect("names what is wrong with its policies and its options", () =>
    Effect.gen(function* () {
      const trace = regular(1, () => false)
      const error = yield* Effect.flip(Simulator.run(trace, { hasty: { cooldown: "soon" as never } }))
      assert.match(error.message, /^hasty.cooldown/)
      assert.throws(
        () => Simulator.run(trace, {}),
        /Simulator.run: policies: expected an object with one policy or more, got/
      )
      assert.throws(() => Simulator.run(trace, { a: {} }, { timeout: -1 }), /timeout/)
      assert.throws(() => Simulator.run(trace, { a: {} }, { patience: 1 } as never), /patience/)
    })
  )

  // What the two steps of a simulation come to is what `protect` does, with fibers that sleep.
  const between = (minimum: number, maximum: number) =>
    Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))
  const some = Arbitrary.array(
    Arbitrary.all({ gap: between(1, 400), fails: Arbitrary.schema(Schema.Boolean), duration: between(1, 900) }),
    { minLength: 1, maxLength: 40 }
  )
  it.effect.prop(
    "comes to what protected calls do in virtual time",
    [some],
    ([raw]) => {
      let at = 0
      const trace: Simulator.Trace = {
        calls: raw.map(({ duration, fails, gap }) => {
          at += gap
          return { at, outcome: fails ? "failure" : "success", duration: duration + 0.5 }
        }),
        outages: [],
        millis: at
      }
      const policy: BreakerPolicy.Input = {
        trip: Trip.consecutive(2),
        cooldown: "700 millis",
        probeTimeout: "600 millis"
      }
      const protectedCalls = Effect.gen(function* () {
        const recording = yield* CircuitTest.record
        const fibers = []
        let now = 0
        let reached = 0
        for (const { at, duration, outcome } of trace.calls) {
          yield* TestClock.adjust(at - now)
          now = at
          const end = Effect.delay(outcome === "success" ? Effect.succeed(1) : Effect.fail("down"), duration)
          const call = Effect.suspend(() => {
            reached++
            return end
          })
          fibers.push(
            yield* Effect.forkChild(Effect.exit(CircuitBreaker.protect(call, "it")), { startImmediately: true })
          )
        }
        yield* TestClock.adjust("1 minute")
        const exits = yield* Effect.forEach(fibers, Fiber.join)
        const succeeded = exits.filter(Exit.isSuccess).length
        return { succeeded, rejected: exits.length - reached, moves: recording.transitions("it") }
      }).pipe(
        Effect.scoped,
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(BreakerPolicy.layer({ default: policy })),
        Effect.provide(Logger.layer([]))
      )
      return Effect.gen(function* () {
        const simulated = yield* one(trace, policy)
        const real = yield* protectedCalls
        assert.deepStrictEqual(
          [
            simulated.succeeded,
            simulated.rejected,
            simulated.moves.map(({ from, to, why }) => `${from} -> ${to}: ${why}`)
          ],
          [real.succeeded, real.rejected, real.moves]
        )
      })
    },
    { arbitrary: { runs: 300 } }
  )

  it.effect("with jitter has the same transitions for the same seed, and others for another seed", () =>
    Effect.gen(function* () {
      const load = Simulator.load({ rate: 20, for: "2 minutes", outages: [{ at: "10 seconds", for: "1 minute" }] })
      const policies = { spread: { cooldown: { exponential: "1 second", jittered: true } } } as const
      const moves = (seed: number) =>
        Effect.map(Simulator.run(load, policies, { seed }), ([report]) => report?.moves.map(({ at }) => at))
      const [one, again, other] = [yield* moves(1), yield* moves(1), yield* moves(2)]
      assert.deepStrictEqual(again, one)
      assert.notDeepEqual(other, one)
    })
  )
})

describe("A described load", () => {
  it("has about the given number of calls and failures, and the same ones for the same seed", () => {
    const options: Simulator.LoadOptions = {
      rate: 100,
      for: "100 seconds",
      errors: 0.1,
      duration: "20 millis",
      outages: [{ at: "50 seconds", for: "10 seconds", errors: 0.8, duration: "1 second" }],
      seed: 7
    }
    const { calls, millis, outages } = Simulator.load(options)
    assert.deepStrictEqual([millis, outages], [100_000, [{ from: 50_000, until: 60_000 }]])
    assert.closeTo(calls.length, 10_000, 400)
    const down = calls.filter(({ at }) => at >= 50_000 && at < 60_000)
    const failing = (some: Simulator.Trace["calls"]) =>
      some.filter(({ outcome }) => outcome === "failure").length / some.length
    assert.closeTo(failing(down), 0.8, 0.05)
    assert.closeTo(failing(calls.filter((call) => !down.includes(call))), 0.1, 0.02)
    assert.isTrue(down.every(({ duration }) => duration >= 500 && duration <= 1_500))
    assert.isTrue(calls.every(({ at }, i) => at >= (calls[i - 1]?.at ?? 0)))
    assert.deepStrictEqual(Simulator.load(options).calls, calls)
    assert.notDeepEqual(Simulator.load({ ...options, seed: 8 }).calls, calls)
  })

  const wrong: ReadonlyArray<readonly [field: string, options: object]> = [
    ["rate", { rate: 0, for: 1 }],
    ["for", { rate: 1, for: "a while" }],
    ["errors", { rate: 1, for: 1, errors: 2 }],
    ["outages.0.at", { rate: 1, for: 1, outages: [{ at: -1, for: 1 }] }],
    ["outages.0.for", { rate: 1, for: 1, outages: [{ at: 1, for: 0 }] }],
    ["seed", { rate: 1, for: 1, seed: 0.5 }],
    ["speed", { rate: 1, for: 1, speed: 1 }]
  ]
  it.each(wrong)("names what is wrong: %s", (field, options) => {
    assert.throws(() => Simulator.load(options as never), new RegExp(`Simulator.load: ${field}`))
  })

  it("has calls whose mean duration is `duration`", () => {
    for (const duration of [40, 200]) {
      const { calls } = Simulator.load({ rate: 50, for: "1 minute", duration })
      const mean = calls.reduce((sum, call) => sum + call.duration, 0) / calls.length
      assert.closeTo(mean, duration, duration * 0.1)
    }
  })
})

describe("A trace", () => {
  const calls = [
    { at: 0, outcome: "success", duration: 10 },
    { at: 500, outcome: "failure", duration: 1.5 },
    { at: 60_000, outcome: "failure", duration: Infinity }
  ]
  const same: ReadonlyArray<readonly [what: string, text: string]> = [
    ["CSV", "time,outcome,duration\n0,success,10\n500,failure,1.5\n60000,error,hang\n"],
    [
      "CSV with other columns, in another order, quoted, with CRLF",
      'id,"Duration",OUTCOME,time\r\na,10,200,100\r\nb,1.5,"503",600\r\n\r\nc,HANG,429,60100\r\n'
    ],
    [
      "CSV with commas and quotes in texts, and empty cells",
      'path,note,time,outcome,duration,\n"/a,b","say ""hi"", then",0,ok,10,\n,,500,503,"1.5",\n"/c","",60000,"error",hang,","\n'
    ],
    [
      "CSV with times of day, not in order",
      "time,outcome,duration\n2026-11-21T10:01:00Z,timeout,hang\n2026-11-21T10:00:00Z,OK,10\n2026-11-21T10:00:00.500Z,Failure,1.5"
    ],
    [
      "JSON",
      JSON.stringify([
        { time: 5, outcome: 404, duration: 10 },
        { time: 505, outcome: "500", duration: "1.5" },
        { time: 60_005, outcome: "failure", duration: "hang", more: 1 }
      ])
    ]
  ]
  it.each(same)("may be %s", (_, text) => {
    assert.deepStrictEqual(parsed(text).calls as unknown, calls)
  })

  it("gives each HTTP status the outcome that a circuit gives it", () => {
    for (let status = 100; status < 600; status++) {
      const [call] = parsed(`time,outcome,duration\n0,${status},10`).calls
      assert.strictEqual(call?.outcome, isFailureStatus(status) ? "failure" : "success", String(status))
    }
  })

  const wrong: ReadonlyArray<readonly [text: string, says: RegExp]> = [
    ["", /line 1: expected the columns time, outcome, duration, got ""/],
    ["time,outcome\n1,ok", /line 1: expected the columns/],
    ["time,outcome,duration\n", /no call/],
    ["time,outcome,duration\n1,ok,1\nsoon,ok,1", /line 3: time must be milliseconds or a time such as .*, got "soon"/],
    ["time,outcome,duration\n1,perhaps,1", /line 2: outcome must be success, failure or an HTTP status, got "perhaps"/],
    ["time,outcome,duration\n1,ok,-1", /line 2: duration must be/],
    ["time,outcome,duration\n1,ok", /line 2: duration must be .*got undefined/],
    ["[]", /no call/],
    ["[1]", /call 1: time must be/],
    ["{}", /expected a list/],
    ["[{", /invalid JSON/],
    ['[{"time":1,"outcome":true,"duration":1}]', /call 1: outcome must be .*got true/]
  ]
  it.each(wrong)("reports where it is wrong: %j", (text, says) => {
    const trace = Simulator.parseTrace(text)
    assert(Result.isFailure(trace))
    assert.match(trace.failure.message, says)
  })

  it.prop(
    "is read as it was written, or refused, whatever it is",
    [
      Arbitrary.schema(Schema.String),
      Arbitrary.schema(Schema.Literals(["", "time,outcome,duration\n", "time,outcome,duration\n1,ok,"]))
    ],
    ([text, before]) => {
      const trace = Simulator.parseTrace(before + text)
      if (Result.isFailure(trace)) return assert.strictEqual(trace.failure._tag, "TraceError")
      for (const { at, duration } of trace.success.calls) assert.isTrue(at >= 0 && duration >= 0)
    }
  )

  it("knows when the dependency was down", () => {
    const rows = [...Array(60).keys()].map((second) => {
      const down = (second >= 10 && second < 20) || second === 40
      return [
        `${second * 1_000},${down ? "failure" : "success"},1`,
        `${second * 1_000 + 500},${down || second === 30 ? "failure" : "success"},1`
      ]
    })
    const { outages } = parsed(`time,outcome,duration\n${rows.flat().join("\n")}`)
    assert.deepStrictEqual(outages, [
      { from: 10_000, until: 19_500 },
      { from: 40_000, until: 40_500 }
    ])
  })
})

describe("What is shown", () => {
  const reports = Effect.suspend(() =>
    Simulator.run(
      regular(6, (at) => at >= 1_000 && at < 3_000),
      {
        '<b>&"x"': { trip: Trip.consecutive(3), cooldown: "1 second" },
        never: { trip: Trip.consecutive(99) }
      }
    )
  )

  it.effect("are figures, a row for each policy", () =>
    Effect.gen(function* () {
      const rows = Simulator.toRows(yield* reports)
      assert.deepStrictEqual(rows[0], ['<b>&"x"', "60", "4", "4", "20", "4", "1", "0", "0.2s", "0.4s", "2.2s"])
      assert.deepStrictEqual(rows[1]?.slice(-3), ["never", "0.0s", "0.0s"])
      assert.strictEqual(rows[0]?.length, Simulator.columns.length)
    })
  )

  it.effect("is a picture and a page, in which a name is only a name", () =>
    Effect.gen(function* () {
      const all = yield* reports
      const svg = Simulator.toSvg(all)
      assert.match(svg, /^<svg [^>]*viewBox="0 0 960 \d+"[\s\S]*<\/svg>$/)
      // One bar for each bucket with rejected calls.
      const rejected = svg.match(/<path class="rejected" d="([^"]+)"><title>/)?.[1] ?? ""
      assert.strictEqual(rejected.match(/M/g)?.length, all[0]?.buckets.filter((bucket) => bucket.rejected > 0).length)
      assert.include(svg, "&lt;b&gt;&amp;&quot;x&quot;")
      assert.notInclude(svg, "<b>")
      const html = Simulator.toHtml(all)
      assert.include(html, svg)
      assert.include(html, "<td>&lt;b&gt;&amp;&quot;x&quot;</td><td>60</td>")
      for (const tag of svg.matchAll(/<(path|text)\b[^>]*>/g)) assert.notMatch(tag[0], /NaN|undefined|Infinity/)
    })
  )
})

describe("effect-fuse simulate", () => {
  const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url))
  const run = (args: ReadonlyArray<string>, input = "") =>
    new Promise<{ readonly code: unknown; readonly out: string; readonly err: string }>((resolve) => {
      const child = execFile(
        process.execPath,
        ["--conditions=@effect-fuse/source", "--disable-warning=ExperimentalWarning", main, "simulate", ...args],
        (error, out, err) => resolve({ code: error === null ? 0 : error.code, out, err })
      )
      child.stdin?.end(input)
    })

  it("compares policies of a file on a described load, in a table, as JSON and as pictures", async () => {
    const folder = mkdtempSync(join(tmpdir(), "simulate-"))
    try {
      const policies = join(folder, "policies.json")
      writeFileSync(
        policies,
        JSON.stringify({ usual: {}, hasty: { trip: { _tag: "Consecutive", failures: 1 }, cooldown: "5 seconds" } })
      )
      const load = [
        "--rate",
        "20",
        "--for",
        "1m",
        "--errors",
        "0.05",
        "--outage",
        "10s+5s",
        "--outage",
        "30s+10s@0.9",
        "--policies",
        policies
      ]
      const [text, json] = await Promise.all([
        run([...load, "--svg", join(folder, "a.svg"), "--html", join(folder, "a.html")]),
        run([...load, "--json"])
      ])
      assert.deepStrictEqual([text.code, text.err, json.code], [0, "", 0])
      const [heads = "", ...rows] = text.out.trimEnd().split("\n")
      assert.match(heads, /^POLICY +CALLS +FAILED +LEAKED +REJECTED +LOST +OPENINGS +FLAPS/)
      const { outages, reports } = JSON.parse(json.out)
      assert.deepStrictEqual(outages, [
        { from: 10_000, until: 15_000 },
        { from: 30_000, until: 40_000 }
      ])
      assert.deepStrictEqual(
        rows.map((row) => row.split(/ +/).slice(0, 2)),
        reports.map((one: Simulator.Report) => [one.policy, String(one.calls)])
      )
      assert.isAbove(reports[1].openings, reports[0].openings)
      assert.match(readFileSync(join(folder, "a.svg"), "utf8"), /^<svg/)
      assert.match(readFileSync(join(folder, "a.html"), "utf8"), /^<!doctype html>/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }, 60_000)

  it("takes the settings of a program for policies, each over what holds for all, and names what is wrong by its name there", async () => {
    const folder = mkdtempSync(join(tmpdir(), "simulate-"))
    try {
      const file = join(folder, "settings.json")
      const load = ["--rate", "20", "--for", "1m", "--policies", file]
      const hasty = { trip: { _tag: "Consecutive", failures: 1 } }
      writeFileSync(
        file,
        JSON.stringify({
          default: hasty,
          breakers: { api: {}, late: { trip: { _tag: "Consecutive", failures: 500 } } }
        })
      )
      const both = JSON.parse((await run([...load, "--json"])).out)
      assert.deepStrictEqual(
        both.reports.map(({ openings, policy }: Simulator.Report) => [policy, openings > 0]),
        [
          ["api", true],
          ["late", false]
        ]
      )
      writeFileSync(file, JSON.stringify({ default: hasty, breakers: { api: { cooldown: "soon" } } }))
      assert.match((await run(load)).err, /^api\.cooldown: /)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }, 60_000)

  it("plays a scenario under the policies of a file, in a table, as JSON and as pictures", async () => {
    const folder = mkdtempSync(join(tmpdir(), "scenario-"))
    try {
      const policies = join(folder, "policies.json")
      writeFileSync(policies, JSON.stringify({ usual: {}, short: { cooldown: "1 second" } }))
      const scenario = ["--scenario", "shards", "--seed", "3", "--policies", policies]
      const [text, json] = await Promise.all([
        run([...scenario, "--svg", join(folder, "a.svg"), "--html", join(folder, "a.html")]),
        run([...scenario, "--json"])
      ])
      assert.deepStrictEqual([text.code, text.err, json.code], [0, "", 0])
      assert.match(text.out, /^PROTECTION +ANSWERED\/S +OF POSSIBLE .+\nusual +\d/)
      const { reports, scenario: name } = JSON.parse(json.out)
      const [usual, short] = Effect.runSync(
        Effect.forEach([{}, { cooldown: 1_000 }], (policy) => {
          const { callers, for: lasts, server, window } = Simulator.scenario("shards")
          return Simulator.play({ server, callers, for: lasts, window, policy, seed: 3 })
        })
      )
      assert.deepStrictEqual(
        [name, reports.map(({ goodput }: Simulator.PlayReport) => goodput)],
        ["shards", [usual?.goodput, short?.goodput]]
      )
      assert.match(readFileSync(join(folder, "a.svg"), "utf8"), /^<svg[\s\S]*>short</)
      assert.match(readFileSync(join(folder, "a.html"), "utf8"), /^<!doctype html>[\s\S]*<h1>Six of ten shards/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }, 60_000)

  it("replays a trace, and reports what is wrong with its arguments", async () => {
    const trace = "time,outcome,duration\n0,200,10\n100,503,10\n"
    const cases: ReadonlyArray<readonly [args: ReadonlyArray<string>, input: string, code: number, says: RegExp]> = [
      [["--trace", "-"], trace, 0, /default {2}2 +1 +0 +0/],
      [["--trace", "-"], `${trace}x,ok,1\n`, 1, /^the input: line 4: time must be/],
      [["--trace", "/nowhere.csv"], "", 1, /\/nowhere.csv: ENOENT/],
      [["--policies", "/nowhere.json"], "", 1, /nowhere.json: ENOENT/],
      [["--outage", "5"], "", 1, /AT\+FOR such as/],
      [["--rate", "0"], "", 1, /rate: expected a number above 0/],
      [["--scenario", "blackout"], "", 1, new RegExp(Simulator.scenarioNames.join(".+"), "s")],
      [["--scenario", "herd", "--rate", "5"], "", 1, /^--rate and --scenario exclude each other/],
      [
        ["--scenario", "herd", "--outage-duration", "5s"],
        "",
        1,
        /^--outage-duration and --scenario exclude each other/
      ],
      [["--scenario", "herd", "--outage", "5s+5s"], "", 1, /^--outage and --scenario exclude each other/],
      [["--errors", "2"], "", 1, /a number from 0 to 1/]
    ]
    const ran = await Promise.all(cases.map(([args, input]) => run(args, input)))
    ran.forEach(({ code, err, out }, i) => {
      assert.strictEqual(code, cases[i]?.[2], err)
      assert.match(code === 0 ? out : err, cases[i]?.[3] ?? /never/)
    })
  }, 60_000)
})
