import * as Duration from "effect/Duration"
import * as Outcome from "../../Outcome.ts"
import { type Classify, defaultOutcome, isFailureStatus } from "../engine/reading.ts"
import { safely } from "../rejections.ts"
import { parseRetryAfter } from "../retryAfter.ts"

interface Response {
  readonly status: number
  readonly headers: { readonly get: (name: string) => unknown }
}

/** Whether a value is a `Response` of `fetch`, of the platform or of a library such as undici and node-fetch. */
const isResponse = (value: unknown): value is Response => {
  if (typeof value !== "object" || value === null) return false
  const { headers, status, [Symbol.toStringTag]: tag } = value as Partial<Response> & { [Symbol.toStringTag]?: unknown }
  return tag === "Response" && typeof status === "number" && typeof headers?.get === "function"
}

const ofResponse = ({ headers, status }: Response): Outcome.Outcome => {
  if (!isFailureStatus(status)) return Outcome.success
  const millis = parseRetryAfter(headers, Date.now(), status)
  const detail = `HTTP ${status}`
  return Outcome.failure(millis === undefined ? { detail } : { detail, retryAfter: Duration.millis(millis) })
}

/** Reads the responses of `fetch` by their status, as the default reads those of Effect's `HttpClient`. */
export const readingResponses =
  (classify: Classify = defaultOutcome): Classify =>
  (exit) =>
    exit._tag === "Success" && safely(() => isResponse(exit.value), false)
      ? ofResponse(exit.value as Response)
      : classify(exit)
