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

/** The policies of a file, by name. Without a file, the default policy. */
const readPolicies = (
  file: Option.Option<string>
): Effect.Effect<Readonly<Record<string, BreakerPolicy.Input>>, CommandFailure> =>
  Option.match(file, {
    onNone: () => Effect.succeed({ default: {} }),
    onSome: (path) =>
      Effect.flatMap(
        inFile(path, (): unknown => JSON.parse(readFileSync(path, "utf8"))),
        (value) => {
          const policies = isRecord(value) ? byName(value) : {}
          return Object.keys(policies).length > 0
            ? // The simulator decodes the policies, and reports invalid ones.
              Effect.succeed(policies as Readonly<Record<string, BreakerPolicy.Input>>)
            : Effect.fail(
                wrong(
                  `${fileLabel(path)}: expected policies by name, such as { "hasty": { "cooldown": "5 seconds" } }, or the settings of a program`
                )
              )
        }
      )
  })

const readTrace = (path: string): Effect.Effect<Simulator.Trace, CommandFailure> =>
  Effect.flatMap(readText(path), (text) =>
    Effect.fromResult(
      Result.mapError(Simulator.parseTrace(text), ({ message }) => wrong(`${fileLabel(path)}: ${message}`))
    )
  )

type SimulatedOutage = NonNullable<Simulator.LoadOptions["outages"]>[number]

/** The arguments of `simulate`; durations are milliseconds. */
export interface SimulateInput {
  readonly trace: Option.Option<string>
  readonly policies: Option.Option<string>
  readonly rate: number
  readonly for: number
  readonly errors: number
  readonly duration: number
  readonly outageDuration: Option.Option<number>
  readonly outage: ReadonlyArray<SimulatedOutage>
  readonly callTimeout: Option.Option<number>
  readonly seed: number
  readonly svg: Option.Option<string>
  readonly html: Option.Option<string>
}

export const simulate = (input: SimulateInput, settings: CommandSettings) =>
  Effect.gen(function* () {
    const { duration, errors, html, outage, outageDuration, rate, seed, svg } = input
    const policies = yield* readPolicies(input.policies)
    const slow = Option.match(outageDuration, { onNone: () => ({}), onSome: (duration) => ({ duration }) })
    const outages = (outage.length === 0 ? [{ at: 30_000, for: 20_000 }] : outage).map((one) => ({ ...one, ...slow }))
    const trace = yield* Option.match(input.trace, {
      onNone: () =>
        Effect.try({
          try: () => Simulator.load({ rate, for: input.for, errors, duration, outages, seed }),
          catch: wrong
        }),
      onSome: readTrace
    })
    const timeout = Option.getOrUndefined(input.callTimeout)
    const options = timeout === undefined ? { seed } : { seed, timeout }
    const reports = yield* Effect.mapError(Simulator.run(trace, policies, options), wrong)
    if (Option.isSome(svg)) yield* inFile(svg.value, () => writeFileSync(svg.value, Simulator.toSvg(reports)))
    if (Option.isSome(html)) yield* inFile(html.value, () => writeFileSync(html.value, Simulator.toHtml(reports)))
    const heads = Simulator.columns.map((column) => ({ head: column.toUpperCase() }))
    yield* answer(
      settings.json,
      { millis: trace.millis, outages: trace.outages, reports },
      table(heads, Simulator.toRows(reports))
    )
  })
