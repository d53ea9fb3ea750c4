import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import * as Dashboard from "effect-fuse/Dashboard"
import { linksFor } from "../src/dashboard/links.ts"
import { toLink } from "../src/dashboard/linkTemplate.ts"
import { type Digests, processesOf } from "../src/dashboard/processes.ts"
import { TrafficMeter } from "../src/engine/traffic.ts"
import { differences } from "../src/policy/differences.ts"
import { defaults, type Policy } from "../src/policy/policy.ts"
import { decode, encode, type NameDetails, type NameDigest, type WorstKey } from "../src/store/digest.ts"

const nameDigest = (more: Partial<NameDigest>): NameDigest => ({
  ...{ name: "api", calls: 50, successes: 50, failures: 0, rejected: 0, slow: 0, passed: 0, inFlight: 0, keys: 0 },
  ...{ notClosed: 0, limit: undefined, p50: undefined, p95: undefined, worst: [] },
  ...more
})

const digestsOf = (all: Readonly<Record<string, ReadonlyArray<NameDigest> | string>>): Digests =>
  new Map(
    Object.entries(all).map(([voter, names]) => [
      voter,
      typeof names === "string" ? decode(names) : decode(encode(5_000, names))
    ])
  )

const about = (lastFailure: string | undefined, ...policy: NameDetails["policy"]): NameDetails => ({
  lastFailure,
  policy
})

describe("the reports of the processes", () => {
  it("have the name and the rates per second of each process, and start with the worst process", () => {
    const { processes, reporting } = processesOf(
      digestsOf({
        "shop-1~a1": [nameDigest({ failures: 10 })],
        "shop-2~b2": [nameDigest({ notClosed: 1, calls: 5, failures: 5, rejected: 100 })],
        "shop-3~c3": [nameDigest({}), nameDigest({ name: "mail", notClosed: 1 })],
        "shop-4~d4": [nameDigest({ name: "mail" })],
        "new-1~e5": '{"v":2}'
      }),
      "api",
      undefined
    )
    assert.deepStrictEqual(
      processes.map((one) => [one.process, one.notClosed, one.calls, one.failures, one.rejections]),
      [
        ["shop-2", 1, 1, 1, 20],
        ["shop-1", 0, 10, 2, 0],
        ["shop-3", 0, 10, 0, 0]
      ]
    )
    assert.deepStrictEqual(reporting, { processes: 3, notClosed: 1 })
  })

  it("have a count for equal failures, and the most frequent policy", () => {
    const slow = ["slowCall", "1s"] as const
    const { failures, policies, policy } = processesOf(
      digestsOf({
        a: [nameDigest({ about: about("timeout", slow) })],
        b: [nameDigest({ about: about("HTTP 503", slow) })],
        c: [nameDigest({ about: about("HTTP 503") })],
        d: [nameDigest({ about: about(undefined, slow) })],
        e: [nameDigest({})]
      }),
      "api",
      undefined
    )
    assert.deepStrictEqual(failures, [
      { at: undefined, error: "HTTP 503", processes: 2 },
      { at: undefined, error: "timeout", processes: 1 }
    ])
    assert.deepStrictEqual([policies, policy], [2, [{ name: "slowCall", value: "1s" }]])
  })

  it("about a key omit processes if their digest does not contain the key", () => {
    const worst: ReadonlyArray<WorstKey> = [
      { key: "berlin", state: "Open", failures: 7 },
      { key: "lyon", state: "Closed", failures: 1 }
    ]
    const digests = digestsOf({ a: [nameDigest({ worst, notClosed: 1, keys: 9 })], b: [nameDigest({ keys: 9 })] })
    const views = (key: string) =>
      processesOf(digests, "api", key).processes.map((one) => [one.process, one.state, one.recentFailures])
    assert.deepStrictEqual(views("berlin"), [["a", "Open", 7]])
    assert.deepStrictEqual(views("lyon"), [["a", "Closed", 1]])
    assert.deepStrictEqual(views("oslo"), [])
  })

  it("are bounded and have no control characters, and their count includes all processes", () => {
    const foreign = "\u202e\u0000".repeat(100)
    const all = Object.fromEntries(
      Array.from({ length: 300 }, (_, i) => [
        `p${i}${foreign}~1`,
        [nameDigest({ notClosed: i % 4 === 0 ? 0 : 1, about: about(`${i}${foreign}`) })]
      ])
    )
    const found = processesOf(digestsOf(all), "api", undefined)
    assert.deepStrictEqual([found.processes.length, found.failures.length], [50, 10])
    assert.deepStrictEqual(found.reporting, { processes: 300, notClosed: 225 })
    for (const text of [found.processes[0]?.process ?? "", found.failures[0]?.error ?? ""]) {
      assert.isAbove(text.length, 50)
      assert.notMatch(text, /[\p{Cc}\p{Cf}]/u)
    }
    assert.isBelow(JSON.stringify(found).length, 40_000)
  })
})

describe("the digest of a process", () => {
  it.effect("has the last failure and the policy of a name only while the name fails or is not closed", () =>
    Effect.gen(function* () {
      const meter = new TrafficMeter(yield* BreakerStore.BreakerStore)
      const policy = { trip: Trip.consecutive(2), cooldown: "1 minute" } as const
      const call = (name: string, effect: Effect.Effect<unknown, unknown>) =>
        Effect.exit(CircuitBreaker.protect(effect, name, { policy }))
      const read = Effect.map(meter.read, ({ begin, names }) => {
        begin()
        return new Map(names.map(({ about, name }) => [name, about]))
      })
      const secret = new Error("password=hunter2 for postgres://user:hunter2@db")
      yield* call("healthy", Effect.void)
      yield* call("failing", Effect.fail(new Error("timeout")))
      yield* call("open", Effect.fail(secret))
      yield* call("open", Effect.fail(secret))
      const first = yield* read
      assert.isUndefined(first.get("healthy"))
      assert.deepStrictEqual(first.get("failing"), {
        lastFailure: "Error: timeout",
        policy: [
          ["trip", "2 failures in a row"],
          ["cooldown", "1m"]
        ]
      })
      assert.notInclude(first.get("open")?.lastFailure ?? "", "hunter2")
      const later = yield* read
      assert.isUndefined(later.get("failing"))
      assert.isDefined(later.get("open")?.lastFailure)
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )
})

describe("the policy in words", () => {
  const over = { _tag: "Time", millis: 60_000 } as const
  it.each<readonly [Partial<Policy>, ReadonlyArray<readonly [string, string]>]>([
    [{}, []],
    [
      { cooldown: 5_000, probes: 3 },
      [
        ["cooldown", "5s"],
        ["probes", "3"]
      ]
    ],
    [{ rampMillis: 10_000 }, [["ramp", "10s"]]],
    [{ trip: { _tag: "Consecutive", failures: 1 } }, [["trip", "1 failure in a row"]]],
    [
      {
        trip: {
          _tag: "Any",
          trips: [
            { _tag: "SlowRate", threshold: 0.125, minimumCalls: 10, over },
            { _tag: "Stuck", calls: 3, olderThanMillis: 2_000 }
          ]
        }
      },
      [["trip", "12.5 % slow of at least 10 calls within 1m, or 3 calls running for 2s"]]
    ],
    [{ limit: { objectiveMillis: 0, max: Infinity } }, [["limit", "adaptive"]]],
    [{ cooldown: { exponential: 1_000, factor: 2, jittered: true } }, [["cooldown", "a schedule"]]],
    [
      { enabled: () => false, dependsOn: ["db", "cache"] },
      [
        ["dependsOn", "db, cache"],
        ["enabled", "a flag"]
      ]
    ],
    [
      { fleet: false, mode: "observe" },
      [
        ["mode", "observe"],
        ["fleet", "false"]
      ]
    ]
  ])("%j", (more, expected) => {
    assert.deepStrictEqual(
      differences({ ...defaults, ...more }).map(({ name, value }) => [name, value] as const),
      expected
    )
  })
})

describe("links", () => {
  it.each([
    ["https://grafana.example/d/x?var-circuit={name}&key={key}", true],
    ["http://localhost:3000/{name}", true],
    ["https://logs.example/#/{name}/{key}", true],
    ["https://runbook.example/", true],
    ["javascript:alert('{name}')", false],
    ["data:text/html,{name}", false],
    ["//other.example/{name}", false],
    ["/relative/{name}", false],
    ["https://{name}.example/", false],
    ["https://a.example:{key}/", false],
    ["https://user:secret@a.example/{name}", false],
    ["https://a.example/{circuit}", false],
    [`https://a.example/${"x".repeat(3_000)}`, false]
  ])("%s is accepted: %s", (url, expected) => {
    assert.strictEqual(toLink("Metrics", url) !== undefined, expected)
  })

  it.each([
    ["https://a.example/{name}?key={key}", "a b/../?#", "&x=1", "https://a.example/a%20b%2F..%2F%3F%23?key=%26x%3D1"],
    ["https://a.example/{name}", "half \ud83d", undefined, "https://a.example/half%20%EF%BF%BD"],
    ["https://a.example/{name}/{key}", "{key}", undefined, "https://a.example/%7Bkey%7D/"]
  ])("%s leads to the circuit %j", (url, name, key, href) => {
    const link = toLink("Metrics", url)
    assert.isDefined(link)
    assert.deepStrictEqual(linksFor(link === undefined ? [] : [link], name, key), [{ title: "Metrics", href }])
  })

  it.each([
    [{ Metrics: "javascript:alert(1)" }],
    [{ Metrics: 5 }],
    [{ ["x".repeat(50)]: "https://a.example/" }],
    [Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`l${i}`, "https://a.example/"]))],
    ["https://a.example/"]
  ])("of Dashboard.layer are refused with the name of the field: %j", (links) => {
    const access = () => Effect.succeed({ see: true, steer: false })
    // The types refuse some of these links, too.
    assert.throws(() => Dashboard.layer({ access, links: links as never }), /links: expected an object/)
  })
})
