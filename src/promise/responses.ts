import * as Exit from "effect/Exit"
import * as Outcome from "../core/Outcome.ts"
import { type Classify, defaultOutcome, isFailureStatus } from "../engine/classify.ts"
import { failureOf } from "../http/failureWithRetryAfter.ts"
import { safely } from "../shapes/rejections.ts"

interface FetchResponse {
  readonly status: number
  readonly headers: { readonly get: (name: string) => unknown }
}

/** Whether a value is a `Response` of `fetch`, of the platform or of a library such as undici and node-fetch. */
const isResponse = (value: unknown): value is FetchResponse => {
  if (typeof value !== "object" || value === null) return false
  const {
    headers,
    status,
    [Symbol.toStringTag]: tag
  } = value as Partial<FetchResponse> & { [Symbol.toStringTag]?: unknown }
  return tag === "Response" && typeof status === "number" && typeof headers?.get === "function"
}

const ofResponse = ({ headers, status }: FetchResponse): Outcome.Outcome =>
  isFailureStatus(status) ? failureOf(status, headers, Date.now()) : Outcome.success

/** The outcome of a call that returned a value. No option classifies values. */
export const outcomeOf = (value: unknown): Outcome.Outcome => {
  if (typeof value !== "object" || value === null) return Outcome.success
  return safely(() => isResponse(value), false)
    ? ofResponse(value as FetchResponse)
    : defaultOutcome(Exit.succeed(value))
}

/** Classifies responses of `fetch` by their status, as the default classifies responses of Effect's `HttpClient`. */
export const readingResponses =
  (classify: Classify = defaultOutcome): Classify =>
  (exit) =>
    exit._tag === "Success" ? outcomeOf(exit.value) : classify(exit)
