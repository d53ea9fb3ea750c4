/**
 * Routes for Effect's `HttpRouter` that report circuits as JSON: `/health` for health checks, and `/breakers` for details.
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { HttpRouter, HttpServer } from "effect/http"
 * import { BreakerStore, CircuitBreaker } from "effect-fuse"
 * import { BreakerRoutes } from "effect-fuse/http"
 *
 * const App = BreakerRoutes.layer({ critical: ["database"] }).pipe(
 *   Layer.provideMerge(BreakerStore.layerMemory),
 *   Layer.provide(HttpServer.layerServices)
 * )
 * const { dispose, handler } = HttpRouter.toWebHandler(App, { disableLogger: true })
 * const response = await handler(new Request("http://local/health"))
 * response.status // => 200
 * await response.json() // => { status: "up", healthy: 0, total: 0, failure_rate: null, unhealthy: [], unknown: ["database"] }
 * await dispose()
 * ```
 *
 * The responses contain the names of circuits, and keys only with `keys: true`, as keys may identify customers. Restrict access to the
 * routes if the names are confidential.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as BreakerHealth from "../breaker/BreakerHealth.ts"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import type { Inspection } from "../breaker/CircuitBreaker.ts"
import { healthOfNames, isHealthy, meanFailureRate } from "../breaker/health.ts"
import { decodeOptions, flag, listOf, optional, text } from "../core/fields.ts"
import { grouped } from "../core/grouped.ts"
import { severity } from "../shapes/states.ts"
import { pathField } from "./exempt.ts"
import { addExempt } from "./exemptRoute.ts"

/**
 * Configures the paths and the content of the routes.
 *
 * @category options
 */
export interface Options {
  /** The path of the health check. Default: `/health`. */
  readonly health?: `/${string}` | undefined
  /** The path of the details. Default: `/breakers`. */
  readonly breakers?: `/${string}` | undefined
  /**
   * The names of circuits that this process cannot work without. While one of them is not healthy, `/health` responds with 503. Default:
   * no circuit, because an open circuit usually means that another service is down, and taking this process out of service does not help.
   */
  readonly critical?: ReadonlyArray<string> | undefined
  /** Whether to report each circuit with its key. Default: `false`, one entry for all circuits of a name. */
  readonly keys?: boolean | undefined
}

const fields = {
  health: optional(pathField),
  breakers: optional(pathField),
  critical: optional(listOf(text)),
  keys: optional(flag)
}

/** Milliseconds; `null` for an infinite duration. */
const millis = (duration: Duration.Duration): number | null =>
  Duration.isFinite(duration) ? Math.round(Duration.toMillis(duration)) : null

/** One circuit, or all circuits of a name. */
interface RouteEntry {
  readonly name: string
  readonly circuits: NonEmptyReadonlyArray<Inspection>
}

const entries = (circuits: ReadonlyArray<Inspection>, keys: boolean): ReadonlyArray<RouteEntry> => {
  if (keys) return circuits.map((one) => ({ name: one.circuit, circuits: [one] }))
  return Array.from(
    grouped(circuits, ({ circuit }) => circuit),
    ([name, circuits]) => ({ name, circuits })
  )
}

const downSince = ({ outage }: Inspection): number => outage?.since ?? Infinity

const isWorse = (one: Inspection, than: Inspection): boolean =>
  one.state === than.state ? downSince(one) < downSince(than) : severity(one.state) < severity(than.state)

/** Finds the circuit in the worst state. If several circuits are in that state, the longest outage decides. */
const worst = (circuits: NonEmptyReadonlyArray<Inspection>): Inspection =>
  circuits.reduce((bad, one) => (isWorse(one, bad) ? one : bad))

const iso = (millis: number | undefined): string | null =>
  millis === undefined ? null : new Date(millis).toISOString()

const brief = ({ circuits, name }: RouteEntry, keys: boolean) => {
  const one = worst(circuits)
  return {
    name,
    ...(keys ? { key: one.key ?? null } : { circuits: circuits.length }),
    state: one.state,
    scope: one.scope,
    since: iso(one.since === 0 ? undefined : one.since),
    down_since: iso(one.outage?.since),
    outage_openings: one.outage?.openings ?? 0,
    retry_after_ms: millis(one.retryAfter),
    detail: one.cause?.detail ?? (one.blockedBy === undefined ? null : `depends on ${one.blockedBy}`)
  }
}

const full = (entry: RouteEntry, keys: boolean) => {
  const sum = (of: (one: Inspection) => number) => entry.circuits.reduce((all, one) => all + of(one), 0)
  return {
    ...brief(entry, keys),
    healthy: entry.circuits.every(isHealthy),
    failure_rate: meanFailureRate(entry.circuits) ?? null,
    in_flight: sum(({ inFlight }) => inFlight),
    limit: entry.circuits.some(({ limit }) => limit !== undefined) ? sum(({ limit }) => limit ?? 0) : null,
    openings: Math.max(...entry.circuits.map(({ openings }) => openings)),
    calls: sum(({ totals }) => totals.calls),
    successes: sum(({ totals }) => totals.successes),
    failures: sum(({ totals }) => totals.failures),
    ignored: sum(({ totals }) => totals.ignored),
    slow: sum(({ totals }) => totals.slow),
    rejected: sum(({ totals }) => totals.rejected),
    passed: sum(({ totals }) => totals.passed)
  }
}

const json = (body: unknown, status = 200) =>
  HttpServerResponse.setHeader(HttpServerResponse.jsonUnsafe(body, { status }), "cache-control", "no-store")

/**
 * Adds the two routes.
 *
 * - `/health` returns `{ status, healthy, total, failure_rate, unhealthy, unknown }`. `status` is `down`, with 503, while a critical
 *   circuit is not healthy; `degraded` while another circuit is not healthy; otherwise `up`. `unknown` lists the critical names that no
 *   call has used yet.
 * - `/breakers` returns a list of all circuits with their counts.
 *
 * `failure_rate` is `null` without recent calls. `down_since` is the start of the outage, or `null`. Failed probes do not change it. Throws
 * a `RangeError` that names the invalid option.
 *
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never, never, HttpRouter.HttpRouter | BreakerStore> => {
  const decoded = decodeOptions("BreakerRoutes.layer", fields, options)
  const { breakers = "/breakers", critical = [], health = "/health", keys = false } = decoded
  return Layer.unwrap(
    BreakerStore.useSync((store) => {
      const check = Effect.provideService(BreakerHealth.check, BreakerStore, store)
      const short = Effect.map(check, ({ circuits, failureRate, healthy, total }) => {
        const ill = circuits.filter((one) => !isHealthy(one))
        const down = ill.some(({ circuit }) => critical.includes(circuit))
        return json(
          {
            status: down ? "down" : ill.length > 0 ? "degraded" : "up",
            healthy,
            total,
            failure_rate: failureRate ?? null,
            unhealthy: entries(ill, keys).map((entry) => brief(entry, keys)),
            unknown: healthOfNames(circuits, critical).unknown
          },
          down ? 503 : 200
        )
      })
      const long = Effect.map(check, ({ circuits }) => json(entries(circuits, keys).map((entry) => full(entry, keys))))
      const exempt = (path: string, answer: typeof short) => addExempt(store, "GET", path as `/${string}`, answer)
      return Layer.mergeAll(exempt(health, short), exempt(breakers, long))
    })
  )
}
