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

/** The paths of the `BreakerRoutes` and of the `Dashboard` of each store. A path that ends with `/*` stands for all paths below it. */
const routes = new WeakMap<object, Set<string>>()

/** Exempts a path, or with `/*` at its end all paths below it, from the breakers of this store. */
export const exemptRoute = (store: object, path: string): void => {
  const known = routes.get(store)
  if (known === undefined) routes.set(store, new Set([path]))
  else known.add(path)
}

const isBelow = (path: string, starts: Iterable<string>): boolean => {
  for (const one of starts) if (one.endsWith("/*") && path.startsWith(one.slice(0, -1))) return true
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
  const below = paths.filter((path) => path.endsWith("/*")).map((path) => path.slice(0, -1))
  return (store, url) => {
    const path = pathOf(url)
    const own = routes.get(store)
    return (
      operational.has(path) ||
      exact.has(path) ||
      (own !== undefined && (own.has(path) || isBelow(path, own))) ||
      below.some((start) => path.startsWith(start))
    )
  }
}
