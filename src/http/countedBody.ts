import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Restore } from "../engine/classify.ts"

type ClientResponse = HttpClientResponse.HttpClientResponse
type End = Exit.Exit<unknown, unknown>

/** Whether the response has a body that may still break off. */
export const hasBody = ({ headers, request, status }: ClientResponse): boolean =>
  status >= 200 &&
  status < 300 &&
  status !== 204 &&
  status !== 205 &&
  request.method !== "HEAD" &&
  headers["content-length"] !== "0"

/** The end of a read that the reader ended, not the body. It is a success unless the reader was interrupted. */
const ofReader = (end: End): End => (end._tag === "Failure" && !Cause.hasInterruptsOnly(end.cause) ? Exit.void : end)

/** Whether the body arrived. A body that is empty, too long for its reader or not valid JSON has arrived. */
const arrived = (end: End): boolean => {
  if (end._tag === "Success") return true
  const error = Option.getOrUndefined(Cause.findErrorOption(end.cause))
  if (!HttpClientError.isHttpClientError(error)) return false
  const { reason } = error
  if (reason._tag !== "DecodeError") return reason._tag === "EmptyBodyError"
  const { cause } = reason
  return cause instanceof SyntaxError || (cause instanceof Error && "_tag" in cause && cause._tag === "MaxBytesError")
}

/** Whether the response is a form. Reading any other body as a form always fails. */
const isForm = ({ headers }: ClientResponse): boolean =>
  /^(multipart\/form-data|application\/x-www-form-urlencoded)/i.test(headers["content-type"] ?? "")

const bodies: ReadonlySet<PropertyKey> = new Set(["text", "json", "arrayBuffer", "urlParamsBody", "formData"])

/**
 * Wraps a response so that it reports the end of its body to `settle`: as the response itself if the body arrived or the reader stopped
 * early, otherwise as the failure of the body.
 */
export const counted = (
  response: ClientResponse,
  settle: (end: End, restore: Restore) => Effect.Effect<void> | undefined
): ClientResponse => {
  const ended = (end: End, restore: Restore): Effect.Effect<void> =>
    Effect.suspend(() => settle(arrived(end) ? Exit.succeed(response) : end, restore) ?? Effect.void)
  const watched = (stream: ClientResponse["stream"]): ClientResponse["stream"] =>
    Stream.unwrap(
      Effect.uninterruptibleMask((restore) => {
        let broke: End | undefined
        const noted = Stream.tapCause(stream, (cause) =>
          Effect.sync(() => {
            broke = Exit.failCause(cause)
          })
        )
        return Effect.succeed(Stream.onExit(noted, (end) => ended(broke ?? ofReader(end), restore)))
      })
    )
  const read = (body: ClientResponse["text"], endOf: (end: End) => End): ClientResponse["text"] =>
    Effect.uninterruptibleMask((restore) => Effect.onExit(restore(body), (end) => ended(endOf(end), restore)))
  return new Proxy(response, {
    get: (target, name) => {
      const value = Reflect.get(target, name, target)
      if (name === "stream") return watched(value as ClientResponse["stream"])
      if (name === "formData" && !isForm(response)) {
        return read(value as ClientResponse["text"], ofReader)
      }
      return bodies.has(name) ? read(value as ClientResponse["text"], identity) : value
    }
  })
}
