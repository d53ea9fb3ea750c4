import { readFileSync, writeFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { isRecord } from "../core/fields.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import * as Simulator from "../simulator/Simulator.ts"
import { fileLabel, inFile, readText } from "./files.ts"
import { answer, CommandFailure } from "./messages.ts"
import type { CommandSettings } from "./settings.ts"
import { table } from "./table.ts"

const wrong = (error: unknown): CommandFailure =>
  new CommandFailure({ code: 1, message: error instanceof Error ? error.message : String(error) })

/**
 * Also accepts the settings of a program, which have policies by name. Each policy inherits the default policy, except `dependsOn`,
 * because the simulator has no other circuits.
 */
const byName = (value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  const { breakers, default: given = {}, ...rest } = value
  const { dependsOn: _, ...common } = isRecord(given) ? given : { default: given }
  if (!isRecord(breakers) || Object.keys(rest).some((field) => field !== "names")) return value
  return Object.fromEntries(
    Object.entries(breakers).map(([name, one]) => [name, isRecord(one) ? { ...common, ...one } : one])
  )
}

type PoliciesByName = Readonly<Record<string, BreakerPolicy.Input>>

/** The policies of a file, by name. */
const readPolicies = (path: string): Effect.Effect<PoliciesByName, CommandFailure> =>
  Effect.flatMap(
    inFile(path, (): unknown => JSON.parse(readFileSync(path, "utf8"))),
    (value) => {
      const policies = isRecord(value) ? byName(value) : {}
      return Object.keys(policies).length > 0
        ? // The simulator decodes the policies, and reports invalid ones.
          Effect.succeed(policies as PoliciesByName)
        : Effect.fail(
            wrong(
              `${fileLabel(path)}: expected policies by name, such as { "hasty": { "cooldown": "5 seconds" } }, or the settings of a program`
            )
          )
    }
  )

const readTrace = (path: string): Effect.Effect<Simulator.Trace, CommandFailure> =>
  Effect.flatMap(readText(path), (text) =>
    Effect.fromResult(
      Result.mapError(Simulator.parseTrace(text), ({ message }) => wrong(`${fileLabel(path)}: ${message}`))
    )
  )

type SimulatedOutage = NonNullable<Simulator.LoadOptions["outages"]>[number]

/** The arguments of `simulate`; durations are milliseconds. */
export interface SimulateInput {
  readonly scenario: Option.Option<Simulator.ScenarioName>
  readonly trace: Option.Option<string>
  readonly policies: Option.Option<string>
  readonly rate: Option.Option<number>
  readonly for: Option.Option<number>
  readonly errors: Option.Option<number>
  readonly duration: Option.Option<number>
  readonly outageDuration: Option.Option<number>
  readonly outage: ReadonlyArray<SimulatedOutage>
  readonly callTimeout: Option.Option<number>
  readonly seed: number
  readonly svg: Option.Option<string>
  readonly html: Option.Option<string>
}

const write = (file: Option.Option<string>, content: () => string): Effect.Effect<void, CommandFailure> =>
  Option.match(file, {
    onNone: () => Effect.void,
    onSome: (path) => inFile(path, () => writeFileSync(path, content()))
  })

const headsOf = (columns: ReadonlyArray<string>) => columns.map((column) => ({ head: column.toUpperCase() }))

/** The flags that describe calls. A scenario has its own calls. */
const ofCalls = ["trace", "rate", "for", "errors", "duration", "outageDuration", "callTimeout"] as const

const flagName = (name: string): string => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

const playScenario = (name: Simulator.ScenarioName, input: SimulateInput, settings: CommandSettings) =>
  Effect.gen(function* () {
    const given =
      ofCalls.find((flag) => input[flag]._tag === "Some") ?? (input.outage.length > 0 ? "outage" : undefined)
    if (given !== undefined)
      return yield* wrong(`${flagName(given)} and --scenario exclude each other: a scenario has its own calls`)
    const usual = Simulator.scenario(name)
    const scenario = yield* Option.match(input.policies, {
      onNone: () => Effect.succeed(usual),
      onSome: (path) =>
        Effect.map(
          readPolicies(path),
          (policies): Simulator.Scenario => ({
            ...usual,
            protections: Object.fromEntries(Object.entries(policies).map(([name, policy]) => [name, { policy }]))
          })
        )
    })
    const reports = yield* Effect.mapError(Simulator.compare(scenario, { seed: input.seed }), wrong)
    yield* write(input.svg, () => Simulator.toPlaySvg(scenario, reports))
    yield* write(input.html, () => Simulator.toPlayHtml(scenario, reports))
    yield* answer(
      settings.json,
      { scenario: scenario.name, title: scenario.title, reports },
      table(headsOf(Simulator.playColumns), Simulator.toPlayRows(reports))
    )
  })

const playCalls = (input: SimulateInput, settings: CommandSettings) =>
  Effect.gen(function* () {
    const { outage, outageDuration, seed } = input
    const policies = yield* Option.match(input.policies, {
      onNone: () => Effect.succeed<PoliciesByName>({ default: {} }),
      onSome: readPolicies
    })
    const slow = Option.match(outageDuration, { onNone: () => ({}), onSome: (duration) => ({ duration }) })
    const outages = (outage.length === 0 ? [{ at: 30_000, for: 20_000 }] : outage).map((one) => ({ ...one, ...slow }))
    const load = {
      rate: Option.getOrElse(input.rate, () => 20),
      for: Option.getOrElse(input.for, () => 120_000),
      errors: Option.getOrElse(input.errors, () => 0.01),
      duration: Option.getOrElse(input.duration, () => 50),
      outages,
      seed
    }
    const trace = yield* Option.match(input.trace, {
      onNone: () => Effect.try({ try: () => Simulator.load(load), catch: wrong }),
      onSome: readTrace
    })
    const timeout = Option.getOrUndefined(input.callTimeout)
    const options = timeout === undefined ? { seed } : { seed, timeout }
    const reports = yield* Effect.mapError(Simulator.run(trace, policies, options), wrong)
    yield* write(input.svg, () => Simulator.toSvg(reports))
    yield* write(input.html, () => Simulator.toHtml(reports))
    yield* answer(
      settings.json,
      { millis: trace.millis, outages: trace.outages, reports },
      table(headsOf(Simulator.columns), Simulator.toRows(reports))
    )
  })

export const simulate = (input: SimulateInput, settings: CommandSettings) =>
  Option.match(input.scenario, {
    onNone: () => playCalls(input, settings),
    onSome: (name) => playScenario(name, input, settings)
  })
