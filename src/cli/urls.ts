import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { decoded, serverUrl } from "../connection/serverUrl.ts"
import { foreignMessage } from "../core/foreign.ts"
import { CommandFailure } from "./messages.ts"
import type { Explaining } from "./server.ts"

export interface GivenUrl extends Explaining {
  readonly from: string
  readonly url: URL
  readonly text: string
}

export const labelOf = (url: URL): string =>
  url.host === ""
    ? `${url.protocol}${url.pathname}`
    : `${url.protocol}//${url.host}${url.pathname === "/" ? "" : url.pathname}`

/** Replaces the URL's password in the text of an error. */
const withoutPassword = (error: unknown, url: URL): string => {
  const passwords = [url.password, decoded(url.password) ?? "", url.searchParams.get("password") ?? ""]
  return passwords
    .filter((one) => one !== "")
    .reduce((text, secret) => text.replaceAll(secret, "***"), foreignMessage(error))
}

/** Advises the user if a server answers but cannot be used. */
const remedies: ReadonlyArray<readonly [said: RegExp, advice: string]> = [
  [/\bREADONLY\b|read-only/i, "This server is a replica, which takes no writes. Use the URL of the primary."],
  [/\bMASTERDOWN\b/, "This server is a replica that has lost its primary. Use the URL of the primary."],
  [/\bLOADING\b|is starting up/, "The server is still starting. Try again in a moment."],
  [/\b(?:NOAUTH|WRONGPASS)\b|password authentication failed/, "Check the user and the password in the URL."]
]

const fileRemedies: typeof remedies = [[/readonly|read-only/i, "Make the file and its folder writable."]]

/** The URL of a flag or a variable, or `undefined`. The URL may contain a password, so errors do not repeat the URL. */
export const givenUrl = (
  from: string,
  secret: Option.Option<Redacted.Redacted<string>>,
  protocols: ReadonlyArray<string>,
  example: string
): Effect.Effect<GivenUrl | undefined, CommandFailure> => {
  const text = Option.isNone(secret) ? "" : Redacted.value(secret.value).trim()
  if (text === "") {
    return Option.isSome(secret) ? emptyText(from, `a URL such as ${example}`) : Effect.undefined
  }
  const url = URL.parse(text)
  if (url !== null && /^(mysql|mariadb):$/.test(url.protocol)) {
    return Effect.fail(
      new CommandFailure({
        code: 1,
        message: `${from}: this command line has no client for MySQL and MariaDB`,
        advice: "Use effect-fuse/Operator on SqlStore.make with your own SqlClient."
      })
    )
  }
  return Effect.fromResult(
    Result.mapBoth(serverUrl(text, protocols, example), {
      onSuccess: (url) => ({
        from,
        url,
        text,
        label: labelOf(url),
        explain: (error: unknown) => {
          const message = withoutPassword(error, url)
          return {
            message,
            advice: (url.host === "" ? fileRemedies : remedies).find(([pattern]) => pattern.test(message))?.[1]
          }
        }
      }),
      onFailure: ({ advice, message }) => new CommandFailure({ code: 1, message: `${from}: ${message}`, advice })
    })
  )
}

/** An empty variable counts as not set. An empty flag is an error: an unset variable of the shell must not select another store. */
export const emptyText = (from: string, expected: string): Effect.Effect<undefined, CommandFailure> =>
  from.startsWith("--")
    ? Effect.fail(new CommandFailure({ code: 1, message: `${from}: expected ${expected}, got an empty text` }))
    : Effect.undefined
