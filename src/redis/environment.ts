import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { serverUrl } from "../connection/serverUrl.ts"
import type { Problem, Problems } from "../core/fields.ts"
import { withoutSecrets } from "../core/foreign.ts"
import { show } from "../core/printable.ts"
import { PolicyError } from "../policy/BreakerPolicy.ts"

export const protocols = ["redis:", "rediss:"]
export const exampleUrl = "redis://localhost:6379"

const names = ["REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB", "REDIS_TLS"] as const

export interface FromVariable {
  readonly from: "REDIS_URL" | "REDIS_HOST"
  readonly url: string
}

/** The value of a variable. An empty variable counts as not set. */
const variable = (name: string): Effect.Effect<string | undefined, Config.ConfigError> =>
  Effect.map(Config.option(Config.String(name)), (text) =>
    Option.getOrUndefined(Option.filter(text, (text) => text.trim() !== ""))
  )

/** What is wrong with the path of a URL, which must be the number of a database. */
export const databaseProblem = (url: URL): string | undefined =>
  /^\/?\d*$/.test(url.pathname)
    ? undefined
    : `expected the number of a database after the host, such as ${exampleUrl}/0`

type Parts = { readonly [K in (typeof names)[number]]: string | undefined }

/** Shows the value of a variable, without secrets that it contains by mistake. */
const got = (text: string): string => `got ${show(withoutSecrets(text))}`

const hostOf = (text: string): string | Problem => {
  const host = text.trim()
  if (/^\[?[\da-f:.]*:[\da-f:.]*:[\da-f:.]*\]?$/i.test(host)) return `[${host.replaceAll(/[[\]]/g, "")}]`
  if (/^[\w.-]+$/.test(host)) return host
  // It may be a URL with a password, so it is not shown.
  const advice = /^[\w.-]+:\d+$/.test(host) ? "set REDIS_PORT for the port" : "set REDIS_URL for a URL"
  return { path: "REDIS_HOST", message: `expected the name or the address of a host, such as localhost; ${advice}` }
}

const portOf = (text = "6379"): string | Problem => {
  const port = text.trim()
  if (/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535) return port
  const kubernetes = port.startsWith("tcp://")
    ? `; Kubernetes sets it for a service that is named "redis": set it yourself, or set REDIS_URL`
    : ""
  return { path: "REDIS_PORT", message: `expected a port from 1 to 65535, ${got(port)}${kubernetes}` }
}

const databaseOf = (text = "0"): string | Problem =>
  /^\d{1,9}$/.test(text.trim())
    ? text.trim()
    : { path: "REDIS_DB", message: `expected the number of a database, such as 0, ${got(text)}` }

const protocolOf = (text = "false"): string | Problem => {
  const value = text.trim().toLowerCase()
  if (["true", "yes", "on", "1"].includes(value)) return "rediss:"
  if (["false", "no", "off", "0"].includes(value)) return "redis:"
  return { path: "REDIS_TLS", message: `expected "true" or "false", ${got(text)}` }
}

const isProblem = (part: string | Problem): part is Problem => typeof part !== "string"

/** Builds a URL from the variables, or says what is wrong with them. */
const urlOf = (host: string, parts: Parts): Result.Result<string, Problems> => {
  const found = [
    protocolOf(parts.REDIS_TLS),
    hostOf(host),
    portOf(parts.REDIS_PORT),
    databaseOf(parts.REDIS_DB)
  ] as const
  const problems = found.filter(isProblem)
  if (problems.length > 0) return Result.fail(problems)
  const [protocol, address, port, database] = found
  const [user, password] = [parts.REDIS_USERNAME ?? "", parts.REDIS_PASSWORD ?? ""].map(encodeURIComponent)
  const login = parts.REDIS_USERNAME === undefined && parts.REDIS_PASSWORD === undefined ? "" : `${user}:${password}@`
  return Result.succeed(`${protocol}//${login}${address}:${port}/${database}`)
}

/**
 * The Redis that the environment names: by `REDIS_URL`, or otherwise by `REDIS_HOST` and the other variables. `undefined` if neither
 * is set. It does not check `REDIS_URL`.
 */
export const fromVariables: Effect.Effect<FromVariable | undefined, PolicyError | Config.ConfigError> = Effect.gen(
  function* () {
    const url = yield* variable("REDIS_URL")
    if (url !== undefined) return { from: "REDIS_URL", url: url.trim() }
    const values = yield* Effect.forEach(names, variable)
    const parts = Object.fromEntries(names.map((name, i) => [name, values[i]])) as Parts
    if (parts.REDIS_HOST === undefined) return undefined
    const built = urlOf(parts.REDIS_HOST, parts)
    return Result.isSuccess(built)
      ? { from: "REDIS_HOST", url: built.success }
      : yield* new PolicyError({ problems: built.failure })
  }
)

const wrong = (path: string, message: string) => new PolicyError({ problems: [{ path, message }] })

/** The URL of the Redis that the environment names, checked. */
export const redisUrl: Effect.Effect<string, PolicyError | Config.ConfigError> = Effect.gen(function* () {
  const found = yield* fromVariables
  if (found === undefined) {
    return yield* wrong("REDIS_URL", `expected a URL such as ${exampleUrl}, got nothing; or set REDIS_HOST`)
  }
  const url = serverUrl(found.url, protocols, exampleUrl)
  if (Result.isFailure(url)) {
    const { advice, message } = url.failure
    return yield* wrong(found.from, advice === undefined ? message : `${message}. ${advice}`)
  }
  const database = databaseProblem(url.success)
  return database === undefined ? found.url : yield* wrong(found.from, database)
})
