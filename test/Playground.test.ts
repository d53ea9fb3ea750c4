import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, type Layer, Result, Schema } from "effect"
import { BreakerPolicy } from "effect-fuse"
import * as Simulator from "effect-fuse/Simulator"
import { codeOf } from "../playground/code.ts"
import { type Field, type Fields, fromText, stopOf, toText, type Value, type Values } from "../playground/fields.ts"
import { difference, type Totals } from "../playground/figures.ts"
import { decode, encode, longest } from "../playground/link.ts"
import { nameOf } from "../playground/names.ts"
import { scenarioOf, withScenario, worldOf } from "../playground/scenarios.ts"
import {
  initial,
  type Policy,
  policyFields,
  presetOf,
  presets,
  type Settings,
  usualPolicy,
  type World,
  withPreset,
  worldFields
} from "../playground/settings.ts"
import { inputOf, playOf } from "../playground/simulation.ts"
import { type Played, simulations } from "../playground/simulations.ts"
import { root } from "./support/root.ts"

const literals = <A extends Value>(values: ReadonlyArray<A>) => Arbitrary.schema(Schema.Literals(values))

/** A value that a field accepts: a stop of its slider, or any other number between its bounds. */
const valueOf = (field: Field) => {
  switch (field.kind) {
    case "number": {
      const [least = 0, most = 0] = [field.stops[0], field.stops.at(-1)]
      const between = [0.1, 1 / 3, 0.7].map((share) => least + (most - least) * share)
      return literals([...field.stops, ...(field.whole ? between.map(Math.round) : between)])
    }
    case "choice":
      return literals(Object.keys(field.choices))
    case "flag":
      return literals([true, false])
  }
}
// The type of `fromEntries` does not connect each name with its value.
const valuesOf = <F extends Fields>(fields: F) =>
  Arbitrary.all(
    Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, valueOf(field)]))
  ) as unknown as Arbitrary.Arbitrary<Values<F>>
const arbitrarySettings: Arbitrary.Arbitrary<Settings> = Arbitrary.all({
  world: valuesOf(worldFields),
  policies: Arbitrary.array(valuesOf(policyFields), { minLength: 1, maxLength: 4 })
})
const runs = { arbitrary: { runs: 300, size: 40, seed: "playground" } }

describe("a link to the settings", () => {
  it.prop(
    "restores all of them",
    [arbitrarySettings],
    ([settings]) => {
      const link = encode(settings)
      assert.isAtMost(link.length, longest)
      assert.match(link, /^[\w.=&%+-]+$/)
      assert.deepStrictEqual(decode(`#${link}`), { settings })
    },
    runs
  )

  it("has only values that differ from the defaults", () => {
    assert.strictEqual(encode({ world: initial.world, policies: [usualPolicy] }), "v=1&n=1")
    const hasty = { ...usualPolicy, failures: 2, limit: true }
    const link = encode({ world: { ...initial.world, rate: 50, service: 40.5 }, policies: [usualPolicy, hasty] })
    assert.strictEqual(link, "v=1&n=2&rate=50&service=40.5&2.failures=2&2.limit=yes")
  })

  it("without settings gives the initial settings", () => {
    assert.deepStrictEqual(decode(""), { settings: initial })
    assert.deepStrictEqual(decode("#"), { settings: initial })
  })

  it.each([
    ["rate=5", /expected version 1, got “no version”/],
    ["v=2&n=1", /expected version 1, got “2”/],
    ["v=1", /n: expected 1 to 4 policies/],
    ["v=1&n=0", /n: expected 1 to 4 policies/],
    ["v=1&n=5", /n: expected 1 to 4 policies/],
    ["v=1&n=1e0", /n: expected 1 to 4 policies/],
    ["v=1&n=1&rate=0", /rate: expected a whole number from 1 to 200, got “0”/],
    ["v=1&n=1&rate=201", /rate: expected/],
    ["v=1&n=1&rate=1e2", /rate: expected/],
    ["v=1&n=1&rate=-5", /rate: expected/],
    ["v=1&n=1&rate=5.5", /rate: expected/],
    ["v=1&n=1&rate=NaN", /rate: expected/],
    ["v=1&n=1&rate=Infinity", /rate: expected/],
    ["v=1&n=1&rate=", /rate: expected/],
    ["v=1&n=1&errors=0.51", /errors: expected a number from 0 to 0.5/],
    ["v=1&n=1&rate=5&rate=6", /a setting twice/],
    ["v=1&n=1&fault=fire", /fault: expected one of none, outage/],
    ["v=1&n=1&fault=constructor", /fault: expected/],
    ["v=1&n=1&shards=true", /shards: expected yes or no/],
    ["v=1&n=1&__proto__=1", /there is no setting “__proto__”/],
    ["v=1&n=1&1.toString=1", /there is no setting “1.toString”/],
    ["v=1&n=1&2.limit=yes", /there is no setting “2.limit”/],
    ["v=1&n=1&limit=yes", /there is no setting “limit”/],
    ["v=1&n=1&%00%1b=1", /there is no setting “/],
    ["v=1&n=1&%ff%fe=1", /there is no setting “/],
    [`v=1&n=1&x=${"y".repeat(longest)}`, /longer than 4000 characters/]
  ])("is refused with the reason: %s", (link, reason) => {
    const { problem = "", settings } = decode(link)
    assert.isUndefined(settings)
    assert.match(problem, reason)
    assert.isBelow(problem.length, 200)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: there must be none
    assert.notMatch(problem, /[\u0000-\u001f]/)
  })

  it("quotes only the start of a long value", () => {
    assert.include(decode(`v=1&n=1&rate=${"9".repeat(900)}`).problem ?? "", `“${"9".repeat(40)}…”`)
  })
})

describe("a field", () => {
  const all = Object.entries({ ...worldFields, ...policyFields }) as ReadonlyArray<readonly [string, Field]>
  it.each(all)("%s has a default, and its slider and a link can have this value", (_, field) => {
    assert.strictEqual(fromText(field, toText(field.default)), field.default as Value)
    if (field.kind !== "number") return
    assert.deepStrictEqual(
      [...new Set(field.stops)].sort((a, b) => a - b),
      [...field.stops],
      "stops in order"
    )
    for (const stop of field.stops) {
      assert.strictEqual(fromText(field, toText(stop)), stop)
      assert.strictEqual(field.stops[stopOf(field, stop)], stop)
    }
  })
})

describe("a scenario of the playground", () => {
  it.each(Simulator.scenarioNames)("%s is the scenario of the documentation with half of the calls", (name) => {
    const documented = Simulator.scenario(name)
    const settings = withScenario(initial, name)
    const { callers, for: lasts, server } = playOf(settings, settings.policies[0] ?? usualPolicy)
    assert.strictEqual(callers.rate, documented.callers.rate / 2)
    assert.strictEqual(callers.processes, documented.callers.processes)
    assert.strictEqual(callers.attempts, documented.callers.attempts ?? 1)
    assert.deepStrictEqual(callers.changes ?? [], documented.callers.changes ?? [])
    assert.strictEqual(lasts, documented.for)
    assert.strictEqual(server.replicas, documented.server.replicas ?? 1)
    assert.strictEqual(server.shards, documented.server.shards ?? false)
    const capacity = ({ service, workers }: Simulator.Server) => workers / (service as number)
    assert.closeTo(capacity(server), capacity(documented.server) / 2, 1e-9)
    const halved = (documented.server.faults ?? []).map((fault) => ({
      ...fault,
      ...(fault.quota === undefined ? {} : { quota: fault.quota / 2 }),
      ...(fault.warmUp === undefined ? {} : { warmUp: fault.warmUp / 2 })
    }))
    assert.deepStrictEqual(server.faults, halved)
    assert.strictEqual(scenarioOf(worldOf(name)), name)
  })

  it("keeps the policies", () => {
    const settings = { ...initial, policies: [{ ...usualPolicy, failures: 2 }] }
    const [policy] = withScenario(settings, "herd").policies
    assert.deepStrictEqual(policy, { ...usualPolicy, failures: 2, attempts: 3 })
  })
})

describe("a simulation of the playground", () => {
  // The options are tested, so the shortest run is enough.
  const short = (settings: Settings): Settings => ({ ...settings, world: { ...settings.world, lengthOf: 30, rate: 1 } })

  it.prop(
    "accepts all settings",
    [arbitrarySettings],
    ([any]) => {
      const settings = short(any)
      for (const policy of settings.policies) {
        const report = Effect.runSync(Simulator.play(playOf(settings, policy)))
        assert.strictEqual(report.seconds.length, 30)
      }
    },
    { arbitrary: { runs: 60, size: 20, seed: "playground" } }
  )

  it("plays the same calls under every policy", () => {
    const settings = { ...initial, policies: [usualPolicy, { ...usualPolicy, failures: 1 }] }
    const [one, other] = settings.policies.map((policy) => Effect.runSync(Simulator.play(playOf(settings, policy))))
    assert.deepStrictEqual(
      one?.seconds.map(({ offered }) => offered),
      other?.seconds.map(({ offered }) => offered)
    )
  })
})

describe("the workers of the playground", () => {
  /** Makes a worker that fails, or answers each request with this report. */
  const worker = (report: Simulator.PlayReport | undefined): Worker => {
    const made: Pick<Worker, "onmessage" | "onerror" | "postMessage"> = {
      onmessage: null,
      onerror: null,
      postMessage: () => {
        const self = made as Worker
        queueMicrotask(() => {
          if (report === undefined) self.onerror?.({ message: "not found" } as ErrorEvent)
          else self.onmessage?.({ data: { report } } as MessageEvent)
        })
      }
    }
    return made as Worker
  }

  it("are replaced after a failure, so the next settings are played", async () => {
    const settings: Settings = { ...initial, policies: [usualPolicy] }
    const report = Effect.runSync(Simulator.play(playOf(settings, usualPolicy)))
    const workers = [worker(undefined), worker(report)]
    const shown: Array<Played> = []
    const problems: Array<string> = []
    const play = simulations(
      () => workers.shift() ?? worker(undefined),
      (played) => shown.push(played),
      (problem) => problems.push(problem)
    )
    // All microtasks end before a timer.
    const playAll = (): Promise<void> => {
      play(settings)
      return new Promise((resolve) => setTimeout(resolve, 0))
    }
    await playAll()
    assert.deepStrictEqual([shown, problems], [[], ["not found"]])
    await playAll()
    assert.deepStrictEqual([shown, problems], [[{ settings, reports: [report] }], ["not found"]])
  })
})

/** Makes the expected policy without the code of the playground. */
const meant = (policy: Policy): BreakerPolicy.Policy => {
  const { cooldown, factor, failuresToReopen, limit, probes, ramp, successesToClose, trip } = policy
  if (policy.kind === "none") return BreakerPolicy.defaults
  const over = { _tag: "Time", millis: policy.window * 1_000 } as const
  const streak = { _tag: "Consecutive", failures: policy.failures } as const
  const rate = { threshold: policy.threshold, minimumCalls: policy.minimumCalls, over }
  const trips = {
    either: { _tag: "Any", trips: [streak, { _tag: "FailureRate", ...rate }] },
    consecutive: streak,
    rate: { _tag: "FailureRate", ...rate },
    slow: { _tag: "SlowRate", ...rate }
  } as const
  return {
    ...BreakerPolicy.defaults,
    trip: trips[trip],
    slowCallMillis: trip === "slow" ? policy.slowCall : 2_000,
    cooldown: factor === 1 ? cooldown * 1_000 : { exponential: cooldown * 1_000, factor, jittered: false },
    ...{ probes, successesToClose, failuresToReopen },
    rampMillis: limit ? 0 : ramp * 1_000,
    limit: limit && { objectiveMillis: 0, max: Infinity }
  }
}

describe("a policy of the playground", () => {
  it.prop(
    "is the library's policy with the same values",
    [valuesOf(policyFields)],
    ([policy]) => {
      const decoded = Result.getOrThrow(BreakerPolicy.decode(inputOf(policy) ?? {}))
      assert.deepStrictEqual(decoded, meant(policy))
    },
    runs
  )
})

/** The test compiles and runs the code of these policies. */
const policies: Readonly<Record<string, readonly [Partial<Policy>, Partial<World>?]>> = {
  ...Object.fromEntries(
    Object.entries(presets).map(([name, policy]) => [name, [policy, { replicas: 3 }] as const] as const)
  ),
  "a streak": [{ trip: "consecutive", failures: 3 }],
  "the usual streak alone": [{ trip: "consecutive" }],
  "a failure rate": [{ trip: "rate", threshold: 0.25, minimumCalls: 50, window: 30 }],
  "slow calls": [{ trip: "slow", slowCall: 500, threshold: 0.8 }],
  "both, changed": [{ failures: 10, threshold: 0.9 }],
  "a growing cooldown": [{ cooldown: 2, factor: 2 }],
  "several probes": [{ probes: 3, successesToClose: 5, failuresToReopen: 2 }],
  "a limit with the cooldown of a breaker": [{ limit: true, cooldown: 30 }],
  "a limit in place of a ramp": [{ limit: true, cooldown: 5, ramp: 10 }],
  "retries and a timeout in milliseconds": [{ attempts: 3, timeout: 250 }],
  "a bulkhead": [{ bulkhead: 10, attempts: 2 }],
  "a circuit for each server, with retries": [{ circuits: "replica", attempts: 3, bulkhead: 5 }, { replicas: 3 }],
  "a pool in turn, with retries": [{ circuits: "roundRobin", attempts: 3 }, { replicas: 3 }],
  "a pool is not for shards": [{ circuits: "fastest" }, { replicas: 3, shards: true }],
  everything: [
    {
      ...{ failures: 7, threshold: 0.4, minimumCalls: 30, window: 20, cooldown: 15, factor: 1.5, probes: 2 },
      ...{ successesToClose: 3, failuresToReopen: 2, ramp: 20, bulkhead: 40, timeout: 1_500, attempts: 4 }
    }
  ]
}

describe("the code of a policy", () => {
  let folder = ""
  const names = Object.keys(policies)
  const policyOf = (name: string): Policy => ({ ...usualPolicy, ...policies[name]?.[0] })
  const file = (name: string) => join(folder, `${names.indexOf(name)}.ts`)

  beforeAll(() => {
    mkdirSync(join(root, ".tmp"), { recursive: true })
    folder = mkdtempSync(join(root, ".tmp", "playground-"))
    for (const name of names)
      writeFileSync(file(name), `${codeOf(policyOf(name), { ...initial.world, ...policies[name]?.[1] })}\n`)
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({ extends: "../../tsconfig.json", compilerOptions: { noUnusedLocals: true }, include: ["."] })
    )
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it("compiles", { timeout: 120_000 }, () => {
    execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder], {
      encoding: "utf8",
      stdio: "pipe"
    })
  })

  it.each(names)("sets the policy that was simulated, and runs: %s", async (name) => {
    const program: {
      readonly Policies?: Layer.Layer<never, BreakerPolicy.PolicyError>
      readonly main?: Effect.Effect<string, unknown>
      readonly call: Effect.Effect<string, unknown>
    } = await import(/* @vite-ignore */ pathToFileURL(file(name)).href)
    const read = Effect.map(BreakerPolicy.Policies, (policies) => policies.get("api"))
    const set = await Effect.runPromise(program.Policies === undefined ? read : Effect.provide(read, program.Policies))
    assert.deepStrictEqual(set, meant(policyOf(name)))
    assert.match(await Effect.runPromise(program.main ?? program.call), /^answer/)
  })

  it("sets only fields that differ from the defaults", () => {
    assert.notInclude(codeOf(usualPolicy, initial.world), "BreakerPolicy")
    const code = codeOf({ ...usualPolicy, trip: "consecutive", failures: 3, cooldown: 10 }, initial.world)
    assert.include(code, `api: { trip: Trip.consecutive(3), cooldown: "10 seconds" }`)
    assert.include(code, `Resilience.timeout("1 second"),\n  CircuitBreaker.protect("api")`)
    assert.notInclude(code, "Resilience.retry")
    const growing = codeOf({ ...usualPolicy, cooldown: 2, factor: 1.5 }, initial.world)
    assert.include(growing, `api: { cooldown: { exponential: "2 seconds", factor: 1.5 } }`)
    assert.notInclude(codeOf({ ...usualPolicy, kind: "none" }, initial.world), "CircuitBreaker")
  })
})

describe("the texts of the playground", () => {
  it("name a policy by its preset, or by the fields that differ from the defaults", () => {
    for (const name of Object.keys(presets)) assert.strictEqual(presetOf(withPreset(usualPolicy, name)), name)
    assert.strictEqual(nameOf(withPreset(usualPolicy, "no breaker"), 0), "A: no breaker")
    assert.strictEqual(nameOf({ ...usualPolicy, attempts: 3 }, 1), "B: default breaker, 3 attempts")
    const hasty: Policy = { ...usualPolicy, trip: "consecutive", failures: 2, cooldown: 10, timeout: 250 }
    assert.strictEqual(nameOf(hasty, 2), "C: breaker: 2 failures in a row, open 10 s, timeout 250 ms")
    assert.strictEqual(nameOf({ ...usualPolicy, probes: 3 }, 3), "D: breaker, changed")
  })

  const base: Totals = {
    ...{ offered: 1_000, answered: 400, failed: 600, rejected: 0, sent: 1_000, openings: 0, p99: 900 },
    recovery: Infinity
  }
  it.each<readonly [Partial<Totals>, string]>([
    [
      { answered: 800, failed: 50, rejected: 150, sent: 850, recovery: 5_000 },
      "Of 1,000 calls, B answers 800 and A 400. With B, 550 fewer calls fail, and 150 fewer calls reach the server. When the fault is over, B recovers after 5 s, and A does not recover in this run."
    ],
    [
      {},
      "Of 1,000 calls, B answers 400 and A 400. With B, the same number of calls fail, and the same number of calls reach the server. Neither recovers in this run."
    ],
    [
      { p99: 120 },
      "Of 1,000 calls, B answers 400 and A 400. With B, the same number of calls fail, and the same number of calls reach the server. 99 % of the answers arrive within 120 ms with B, and within 900 ms with A. Neither recovers in this run."
    ],
    [
      { failed: 601, p99: undefined, recovery: undefined },
      "Of 1,000 calls, B answers 400 and A 400. With B, 1 more call fails, and the same number of calls reach the server."
    ]
  ])("say how two policies differ (%#)", (other, words) => {
    assert.strictEqual(difference("A", base, "B", { ...base, ...other }), words)
  })
})
