import { readFileSync, writeFileSync } from "node:fs"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as BreakerPolicy from "../../BreakerPolicy.ts"
import * as Simulator from "../../Simulator.ts"
import { isRecord } from "../fields.ts"
import { fileLabel, inFile, readText } from "./files.ts"
import { durationFlag, handle, parseMillis } from "./settings.ts"
import { answer, Failure, table } from "./words.ts"

const shareFlag = (name: string, description: string) =>
  Flag.Finite(name).pipe(
    Flag.withMetavar("SHARE"),
    Flag.withDescription(description),
    Flag.filter(
      (n) => n >= 0 && n <= 1,
      () => "a number from 0 to 1"
    )
  )

const fileFlag = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar("FILE"), Flag.withDescription(description), Flag.optional)

type Outage = NonNullable<Simulator.LoadOptions["outages"]>[number]

/** `30s+20s`: from when, and for how long; `@0.5` behind it for half of the calls. */
const toOutage = (text: string): Outage | undefined => {
  const [, begins = "", lasts = "", share] = /^([^+@]+)\+([^+@]+)(?:@(\d+(?:\.\d+)?))?$/.exec(text) ?? []
  const at = /^0(ms|s|m|h)?$/.test(begins) ? 0 : parseMillis(begins)
  const millis = parseMillis(lasts)
  const errors = share === undefined ? 1 : Number(share)
  return at === undefined || millis === undefined || errors > 1 ? undefined : { at, for: millis, errors }
}

const outageFlag = Flag.String("outage").pipe(
  Flag.withMetavar("AT+FOR"),
  Flag.withDescription(
    "When the dependency is down, such as 30s+20s, or 30s+20s@0.5 for half of the calls; again for others (30s+20s)"
  ),
  Flag.filterMap(
    (text) => Option.fromUndefinedOr(toOutage(text)),
    () => "AT+FOR such as 30s+20s or 30s+20s@0.5"
  ),
  Flag.atLeast(0)
)

const wrong = (error: unknown): Failure =>
  new Failure({ code: 1, message: error instanceof Error ? error.message : String(error) })

/**
 * The settings of a program are policies by name, too: over what holds for all of them, but for what they depend on, of which
 * there is nothing here.
 */
const byName = (value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  const { breakers, default: given = {}, ...rest } = value
  const { dependsOn: _, ...common } = isRecord(given) ? given : { default: given }
  if (!isRecord(breakers) || Object.keys(rest).some((field) => field !== "names")) return value
  return Object.fromEntries(
    Object.entries(breakers).map(([name, one]) => [name, isRecord(one) ? { ...common, ...one } : one])
  )
}

/** The policies of a file, by name; the library's own if none is given. */
const readPolicies = (
  file: Option.Option<string>
): Effect.Effect<Readonly<Record<string, BreakerPolicy.Input>>, Failure> =>
  Option.match(file, {
    onNone: () => Effect.succeed({ default: {} }),
    onSome: (path) =>
      Effect.flatMap(
        inFile(path, (): unknown => JSON.parse(readFileSync(path, "utf8"))),
        (value) => {
          const policies = isRecord(value) ? byName(value) : {}
          return Object.keys(policies).length > 0
            ? // What is not a policy is said by whoever decodes it.
              Effect.succeed(policies as Readonly<Record<string, BreakerPolicy.Input>>)
            : Effect.fail(
                wrong(
                  `${fileLabel(path)}: expected policies by name, such as { "hasty": { "cooldown": "5 seconds" } }, or the settings of a program`
                )
              )
        }
      )
  })

const readTrace = (path: string): Effect.Effect<Simulator.Trace, Failure> =>
  Effect.flatMap(readText(path), (text) =>
    Effect.fromResult(
      Result.mapError(Simulator.parseTrace(text), ({ message }) => wrong(`${fileLabel(path)}: ${message}`))
    )
  )

export const simulate = Command.make(
  "simulate",
  {
    trace: fileFlag("trace", "Calls as they were: CSV or JSON with time, outcome and duration (-: the input)"),
    policies: fileFlag("policies", "Policies by name, as JSON (the default one)"),
    rate: Flag.Finite("rate").pipe(
      Flag.withMetavar("N"),
      Flag.withDescription("Without a trace: how many calls a second (20)"),
      Flag.withDefault(20)
    ),
    for: durationFlag("for", "For how long (2m)").pipe(Flag.withDefault(120_000)),
    errors: shareFlag("errors", "The share of calls that fail though nothing is down (0.01)").pipe(
      Flag.withDefault(0.01)
    ),
    duration: durationFlag("duration", "How long a call takes on average (50ms)").pipe(Flag.withDefault(50)),
    outageDuration: durationFlag("outage-duration", "How long it takes in an outage (as --duration)").pipe(
      Flag.optional
    ),
    outage: outageFlag,
    callTimeout: durationFlag("call-timeout", "When callers give up (never)").pipe(Flag.optional),
    seed: Flag.Int("seed").pipe(Flag.withDescription("Other chances (1)"), Flag.withDefault(1)),
    svg: fileFlag("svg", "Draw what became of the calls"),
    html: fileFlag("html", "A page with the picture and the figures")
  },
  handle((input, settings) =>
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
      const heads = Simulator.columns.map((column) => column.toUpperCase())
      yield* answer(
        settings.json,
        { millis: trace.millis, outages: trace.outages, reports },
        table(heads, Simulator.toRows(reports))
      )
    })
  )
).pipe(
  Command.withDescription("What policies would have made of the same calls, in virtual time; it needs no store"),
  Command.withExamples([
    { command: "effect-fuse simulate --rate 50 --outage 30s+20s --policies policies.json --html compared.html" },
    { command: "effect-fuse simulate --trace yesterday.csv --policies policies.json" }
  ])
)
