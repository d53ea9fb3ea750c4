import { Effect } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"

/** A client whose responses have this status and no body. */
export const responding = (status: number, headers: Record<string, string> = {}) =>
  HttpClient.make((request) =>
    Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status, headers })))
  )
