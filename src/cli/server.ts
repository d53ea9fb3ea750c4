import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import type { Decoded, OptionFields } from "../core/fields.ts"
import { decodeFields } from "../shapes/problems.ts"
import type { Database } from "../sql/database.ts"
import { type SharedStore, StoreError } from "../store/SharedStore.ts"
import { wrapped } from "../store/wrapped.ts"
import type { Finding } from "./findings.ts"
import { CommandFailure, lasting } from "./messages.ts"
import { type CommandSettings, masked } from "./settings.ts"

// ---- What a server is -----------------------------------------------------------------------------------------------

/** The message must not contain secrets. */
export interface Explained {
  readonly message: string
  readonly advice?: string | undefined
}

/** A server that a command talks to. */
export interface Explaining {
  /** The address must not contain secrets. */
  readonly label: string
  readonly explain: (error: unknown) => Explained
}

/** A server that flags or variables name. */
export interface Place {
  readonly from: string
  readonly open: (settings: CommandSettings) => Effect.Effect<Server, CommandFailure, Scope.Scope>
}

/** The server's clock is this many milliseconds ahead of this machine's clock. A negative number means behind. */
export interface ClockLead {
  readonly atLeast: number
  readonly atMost: number
}

/** Waits for an answer until `--timeout` is over, and turns an error into a message. */
export type AskServer = <A, E, R>(
  asking: Effect.Effect<A, E, R>,
  advice?: string
) => Effect.Effect<A, CommandFailure, R>

interface AnyServer extends Explaining {
  /** Opens the store on the server. Fails if the server cannot be a store. */
  readonly store: (ask: AskServer) => Effect.Effect<SharedStore, CommandFailure>
  /** Finds up to `most` circuits with a record or ballots. The result includes closed circuits. */
  readonly circuits: (most: number) => Effect.Effect<ReadonlyArray<string>, unknown>
  readonly clockLead: Effect.Effect<ClockLead, unknown>
  /** Explains what happens if the clocks differ. */
  readonly clockAdvice: string
  /** `doctor` runs these checks only on this kind of server. */
  readonly checks: (ask: AskServer) => Effect.Effect<ReadonlyArray<Finding>>
  /** Whether the server announces changes to processes. */
  readonly announces: boolean
  readonly rights: string
}

/** A server that has only circuits. */
export interface StoreServer extends AnyServer {
  readonly kind: "Redis" | "DynamoDB"
  readonly database?: undefined
}

/** A database, which also has the trail. */
export interface DatabaseServer extends AnyServer {
  readonly kind: "PostgreSQL" | "SQLite"
  readonly database: Database
  readonly client: Context.Context<SqlClient.SqlClient>
}

export type Server = StoreServer | DatabaseServer

export interface OpenedServer<S extends Server = Server> {
  readonly server: S
  /** Turns an error of the server into a message. */
  readonly failed: (error: unknown, advice?: string) => CommandFailure
  readonly ask: AskServer
}

// ---- Errors ---------------------------------------------------------------------------------------------------------

const forbidden = /NOPERM|denied|not authorized/i

/** Whether a server denies a right to the user. */
export const isForbidden = (said: string): boolean => forbidden.test(said)

export const rightsAdvice = "effect-fuse doctor shows which rights the user needs."

const failed = ({ explain, label }: Explaining, error: unknown, otherwise?: string): CommandFailure => {
  const { advice, message } = explain(error)
  return new CommandFailure({
    code: 2,
    message: `${label}: ${message || "failed without a message"}`,
    advice: advice ?? (isForbidden(message) ? rightsAdvice : otherwise)
  })
}

export const asking =
  (source: Explaining, { timeout }: CommandSettings): AskServer =>
  (effect, advice) =>
    Effect.timeoutOrElse(
      Effect.mapError(effect, (error) => (error instanceof CommandFailure ? error : failed(source, error, advice))),
      {
        duration: timeout,
        orElse: () =>
          Effect.fail(new CommandFailure({ code: 2, message: `${source.label}: no answer within ${lasting(timeout)}` }))
      }
    )

export const opened = <S extends Server>(server: S, settings: CommandSettings): OpenedServer<S> => ({
  server,
  failed: (error, advice) => failed(server, error, advice),
  ask: asking(server, settings)
})

/** Loads an optional package. */
export const optional = <A>(name: string, load: () => Promise<A>): Effect.Effect<A, CommandFailure> =>
  Effect.tryPromise({
    try: load,
    catch: () =>
      new CommandFailure({
        code: 1,
        message: `The package ${name} is not installed.`,
        advice: `Install it beside effect-fuse: npm install ${name}`
      })
  })

/** Checks values of flags. An error names the field by its entry in `names`, or as the flag `--field`. */
export const checkedFlags = <F extends OptionFields>(
  fields: F,
  options: unknown,
  names: Readonly<Record<string, string>> = {}
): Effect.Effect<Decoded<F>, CommandFailure> =>
  Effect.fromResult(
    Result.mapError(
      decodeFields(fields, options, ""),
      (problems) =>
        new CommandFailure({
          code: 1,
          // A user may have given a URL with a password to the wrong flag.
          message: problems
            .map(({ message, path }) => `${names[path] ?? `--${path}`}: ${message.replace(/, got .*$/, masked)}`)
            .join("\n")
        })
    )
  )

// ---- The store ------------------------------------------------------------------------------------------------------

/** The store on a server. Its operations time out after `--timeout`. */
export const storeOn = ({ ask, server }: OpenedServer): Effect.Effect<SharedStore, CommandFailure> =>
  Effect.map(server.store(ask), (store) =>
    wrapped(store, ({ operation, send }) =>
      Effect.mapError(
        ask(Effect.mapError(send(store), ({ cause }) => cause)),
        (cause) => new StoreError({ operation, cause })
      )
    )
  )

/** Compares the clock of a server, in milliseconds since 1970, with the clock of this machine. */
export const leadOf = <E>(clock: Effect.Effect<number, E>): Effect.Effect<ClockLead, E> =>
  Effect.gen(function* () {
    const before = yield* Clock.currentTimeMillis
    const theirs = yield* clock
    return { atLeast: theirs - (yield* Clock.currentTimeMillis), atMost: theirs - before }
  })
