import { listOf, optional, textLike } from "../core/fields.ts"

/** Responses that count as Ignored: rejections by a circuit or a bulkhead, and reports about the health of circuits. */
export const saysNothing = new WeakSet<object>()

/** Paths for checks of the process. They must respond while all other requests are rejected. */
const operational: ReadonlySet<string> = new Set([
  "/health",
  "/healthz",
  "/livez",
  "/readyz",
  "/live",
  "/ready",
  "/breakers",
  "/metrics"
])

/** The paths of the `BreakerRoutes` and the `Dashboard` of each store. A path that ends with `/*` matches all paths below it. */
const routes = new WeakMap<object, Set<string>>()

/** Exempts a path from the breakers of a store. A path that ends with `/*` exempts all paths below it. */
export const exemptRoute = (store: object, path: string): void => {
  const known = routes.get(store)
  if (known === undefined) routes.set(store, new Set([path]))
  else known.add(path)
}

/** Whether a path is below a pattern that ends with `/*`. */
const isBelow = (path: string, patterns: Iterable<string>): boolean => {
  for (const pattern of patterns) if (pattern.endsWith("/*") && path.startsWith(pattern.slice(0, -1))) return true
  return false
}

export const pathField = textLike("a path that begins with /", /^\/[!-~]*$/)

export const exemptField = optional(listOf(pathField))

/** The path of a URL, without query and trailing slash. */
const pathOf = (url: string): string => {
  const end = url.search(/[?#]/)
  const path = end < 0 ? url : url.slice(0, end)
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path
}

/** A predicate for exempt requests, by the request's URL or by the path of its route. */
export const exemption = (paths: ReadonlyArray<string> = []): ((store: object, url: string) => boolean) => {
  const exact = new Set(paths.filter((path) => !path.endsWith("/*")).map(pathOf))
  return (store, url) => {
    const path = pathOf(url)
    const own = routes.get(store)
    return (
      operational.has(path) ||
      exact.has(path) ||
      (own !== undefined && (own.has(path) || isBelow(path, own))) ||
      isBelow(path, paths)
    )
  }
}
