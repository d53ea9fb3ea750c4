import type * as HttpServerRequest from "effect/http/HttpServerRequest"

/**
 * Whether a page of this server sent the request. A browser adds `sec-fetch-site`, `origin` or both to a POST, and no page can set them.
 */
export const isSameOrigin = ({ headers }: Pick<HttpServerRequest.HttpServerRequest, "headers">): boolean => {
  const site = headers["sec-fetch-site"]
  if (site !== undefined) return site === "same-origin"
  // A sandboxed page has the origin `null`, without a host. A request may also lack a `host` header, so this checks that the host is
  // defined.
  const host = URL.parse(headers["origin"] ?? "")?.host
  return host !== undefined && host === headers["host"]
}
