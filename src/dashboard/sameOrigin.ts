import type * as HttpServerRequest from "effect/http/HttpServerRequest"

/**
 * Whether a request comes from a page of this server. A browser adds at least one of the two headers to a POST, and no page can set them.
 */
export const isSameOrigin = ({ headers }: Pick<HttpServerRequest.HttpServerRequest, "headers">): boolean => {
  const site = headers["sec-fetch-site"]
  if (site !== undefined) return site === "same-origin"
  const origin = headers["origin"]
  return origin !== undefined && URL.parse(origin)?.host === headers["host"]
}
