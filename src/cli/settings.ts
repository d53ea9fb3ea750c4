import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Argument from "effect/cli/Argument"
import * as CliConfig from "effect/cli/CliConfig"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { withoutSecrets } from "../core/foreign.ts"
import { expectedDuration, toMillis } from "../core/millis.ts"
import { printable } from "../core/printable.ts"
import { type CommandFailure, report } from "./messages.ts"

/** A thousand years. A store or a date cannot hold a much later moment. */
const longest = 365_000 * 86_400_000

/** The milliseconds of a duration above 0, or `undefined`. */
export const parseMillis = (text: string): number | undefined => {
  const millis = toMillis(text)
  return millis !== undefined && millis > 0 && millis <= longest ? millis : undefined
}

/** Parses the text of a flag. If `parse` returns `undefined`, the error says that `expected` was expected. */
export const parsed = <A>(parse: (text: string) => A | undefined, expected: string) =>
  Flag.filterMap(
    (text: string) => Option.fromUndefinedOr(parse(text)),
    () => expected
  )

/** A flag that is a duration above 0, in milliseconds. */
export const durationFlag = (name: string, description: string): Flag.Flag<number> =>
  Flag.String(name).pipe(
    Flag.withMetavar("DURATION"),
    Flag.withDescription(description),
    parsed(parseMillis, `${expectedDuration.aboveZero}, of at most 1,000 years`)
  )

export const countFlag = (name: string, description: string): Flag.Flag<number> =>
  Flag.Int(name).pipe(
    Flag.withMetavar("N"),
    Flag.withDescription(description),
    Flag.filter(
      (n) => Number.isSafeInteger(n) && n >= 1,
      () => "a whole number of 1 or more"
    )
  )

export const nameArgument = Argument.String("name").pipe(Argument.withDescription("The name of the circuit"))

export const keyFlag = Flag.String("key").pipe(
  Flag.withMetavar("KEY"),
  Flag.withDescription("The circuit of this key, for example of one tenant"),
  Flag.optional
)

export const yesFlag = Flag.Boolean("yes").pipe(
  Flag.withAlias("y"),
  Flag.withDescription("Do not ask for confirmation"),
  Flag.withDefault(false)
)

/** The flags of every command. */
export const root = Command.make("effect-fuse").pipe(
  Command.withSharedFlags({
    redis: Flag.Redacted("redis").pipe(
      Flag.withMetavar("URL"),
      Flag.withDescription(
        "The Redis with the circuits: redis://host:6379. Default: REDIS_URL or REDIS_HOST, unless another store is given"
      ),
      Flag.optional
    ),
    dynamo: Flag.String("dynamo").pipe(
      Flag.withMetavar("TABLE"),
      Flag.withDescription(
        "The DynamoDB table with the circuits, by its name or its ARN. AWS_REGION, AWS_PROFILE and so on say how to reach it. Default: CIRCUITS_TABLE, unless another store is given"
      ),
      Flag.optional
    ),
    database: Flag.Redacted("database").pipe(
      Flag.withMetavar("URL"),
      Flag.withDescription(
        "The database with the trail, and with the circuits unless --redis or --dynamo is given: postgres://host/name, sqlite:file. Default: DATABASE_URL"
      ),
      Flag.optional
    ),
    prefix: Flag.String("prefix").pipe(
      Flag.withMetavar("TEXT"),
      Flag.withDescription(
        "The prefix of the store. Default: EFFECT_FUSE_PREFIX, otherwise effect-fuse in Redis and DynamoDB and circuit_breaker in a database"
      ),
      Flag.withFallbackConfig(Config.NonEmptyString("EFFECT_FUSE_PREFIX")),
      Flag.optional
    ),
    schema: Flag.String("schema").pipe(
      Flag.withMetavar("NAME"),
      Flag.withDescription("The schema of the tables"),
      Flag.optional
    ),
    timeout: durationFlag("timeout", "How long to wait for an answer. Default: 5s").pipe(
      Flag.withDefault(Duration.toMillis("5 seconds"))
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print answers and errors as JSON"), Flag.withDefault(false))
  }),
  Command.withDescription("Inspects and operates the circuits of a fleet.")
)

export type CommandSettings = Effect.Success<typeof root>

/**
 * Runs a command with its settings, and prints why it failed. The code of a command is loaded when the command runs: help and
 * completions need only its flags.
 */
export const handle =
  <Input, R>(
    load: () => Promise<(input: Input, settings: CommandSettings) => Effect.Effect<void, CommandFailure, R>>
  ) =>
  (input: Input): Effect.Effect<void, CommandFailure, R | Effect.Services<typeof root>> =>
    Effect.gen(function* () {
      const settings = yield* root
      const run = yield* Effect.promise(load)
      yield* Effect.tapError(run(input, settings), (failure) => report(failure, settings.json))
    })

// ---- Usage errors ---------------------------------------------------------------------------------------------------

/**
 * A word of the command line without secrets. In a word that may be a URL, everything up to the last `@` is masked, because a password
 * may contain any character.
 */
export const masked = (word: string): string => printable(withoutSecrets(word.replace(/(:\/*)[\s\S]*@/, "$1***@")))

const maskedText = (value: unknown): unknown => (typeof value === "string" ? masked(value) : value)

/** The same error, safe to print: without secrets, such as a URL in the wrong place, and with control characters escaped. */
const harmless = (error: CliError.CliError): CliError.CliError =>
  Object.assign(
    Object.create(Object.getPrototypeOf(error)),
    Object.fromEntries(
      Object.entries(error).map(([field, value]) => [
        field,
        Array.isArray(value) ? value.map(maskedText) : maskedText(value)
      ])
    )
  )

/** Prints a usage error to the error output, without the whole help text. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Effect.flatMap(CliOutput.Formatter, ({ formatErrors }) =>
          Console.error(
            `${formatErrors(event.errors.map(harmless)).trim()}\n\n${event.commandPath.join(" ")} --help shows its usage.`
          )
        )
      : CliOutput.defaultPresenter.present(event)
}

/** How help and usage errors are printed. Effect's wizard is left out: it would print passwords. */
export const presentation = Layer.mergeAll(
  CliConfig.layer({ builtIns: GlobalFlag.BuiltIns.filter((one) => one !== GlobalFlag.Wizard) }),
  CliOutput.layerPresenter(presenter)
)
