/** A server that speaks the HTTP of Anthropic's Messages API, and a provider of `effect/ai` for it. */
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Duration, Effect, Exit, Layer, Schema, Stream } from "effect"
import { AiError, EmbeddingModel, LanguageModel, Model, type Response } from "effect/ai"
import { Sse } from "effect/encoding"
import { FetchHttpClient, HttpClient, type HttpClientError, HttpClientRequest } from "effect/http"

// ---- The server -----------------------------------------------------------------------------------------------------

/** A response with a body, or a stream of events that then ends, breaks off, or hangs. */
export type Reply =
  | {
      readonly status?: number
      readonly headers?: Readonly<Record<string, string>>
      readonly json: unknown
    }
  | { readonly events: ReadonlyArray<Event>; readonly after?: "end" | "cut" | "hang" }

type Event = { readonly type: string } & Readonly<Record<string, unknown>>

export const answer = (text: string, more: object = {}): Reply => ({
  json: {
    type: "message",
    id: "msg_1",
    content: [{ type: "text", text }],
    stop_reason: "end_turn",
    usage: { input_tokens: 3, output_tokens: 5 },
    ...more
  }
})

export const refusal = (
  status: number,
  type: string,
  headers: Readonly<Record<string, string>> = {},
  message = "no"
): Reply => ({ status, headers, json: { type: "error", error: { type, message } } })

export const begin: Event = { type: "message_start", message: { id: "msg_1" } }
export const token = (text: string): Event => ({
  type: "content_block_delta",
  index: 0,
  delta: { type: "text_delta", text }
})
const opened: Event = { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }
const stopped = (reason: string): ReadonlyArray<Event> => [
  { type: "content_block_stop", index: 0 },
  { type: "message_delta", delta: { stop_reason: reason }, usage: { input_tokens: 3, output_tokens: 5 } },
  { type: "message_stop" }
]
export const errorEvent = (type: string): Event => ({ type: "error", error: { type, message: "no" } })

/** The events of a complete stream. */
export const streamed = (texts: ReadonlyArray<string>, reason = "end_turn"): Reply => ({
  events: [begin, opened, ...texts.map(token), ...stopped(reason)]
})

/** A stream that sends these tokens and then does `after`. */
export const partly = (
  texts: ReadonlyArray<string>,
  after: "end" | "cut" | "hang",
  more: ReadonlyArray<Event> = []
): Reply => ({
  events: [begin, opened, ...texts.map(token), ...more],
  after
})

const send = (reply: Reply, response: ServerResponse): void => {
  if ("json" in reply) {
    response.writeHead(reply.status ?? 200, { "content-type": "application/json", ...reply.headers })
    response.end(typeof reply.json === "string" ? reply.json : JSON.stringify(reply.json))
    return
  }
  response.writeHead(200, { "content-type": "text/event-stream" })
  for (const event of reply.events) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  if (reply.after === "cut") setTimeout(() => response.destroy(), 20)
  else if (reply.after !== "hang") response.end()
}

export interface MessagesApi {
  readonly origin: string
  /** The replies to the next requests. The last one stays. */
  replies: Array<Reply>
  readonly models: Array<string>
}

export const messagesApi = Effect.map(
  Effect.acquireRelease(
    Effect.callback<{ readonly api: MessagesApi; readonly stop: () => Promise<void> }>((resume) => {
      const api = { origin: "", replies: [answer("hello")] as Array<Reply>, models: [] as Array<string> }
      const http = createServer((request, response) => {
        let body = ""
        request.on("data", (chunk) => {
          body += chunk
        })
        request.on("end", () => {
          api.models.push(JSON.parse(body).model)
          const reply = api.replies.length > 1 ? api.replies.shift() : api.replies[0]
          send(reply as Reply, response)
        })
      })
      http.listen(0, "127.0.0.1", () => {
        api.origin = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
        const stop = () => new Promise<void>((done) => void http.close(() => done()).closeAllConnections())
        resume(Effect.succeed({ api, stop }))
      })
    }),
    ({ stop }) => Effect.promise(stop)
  ),
  ({ api }) => api
)

// ---- The provider ---------------------------------------------------------------------------------------------------

const failing = (reason: AiError.AiErrorReason) =>
  AiError.make({ module: "MessagesClient", method: "messages", reason })

const ErrorBody = Schema.Struct({ error: Schema.Struct({ type: Schema.String, message: Schema.String }) })

/** Maps errors as the providers of Effect do. */
const toAiError = (error: HttpClientError.HttpClientError): Effect.Effect<never, AiError.AiError> => {
  const { reason } = error
  switch (reason._tag) {
    case "TransportError":
    case "EncodeError":
    case "InvalidUrlError":
      return Effect.fail(failing(AiError.NetworkError.fromRequestError(reason)))
    case "StatusCodeError":
      return Effect.flatMap(Effect.exit(reason.response.json), (body) => {
        const { headers, status } = reason.response
        const decoded = Schema.decodeUnknownExit(ErrorBody)(Exit.isSuccess(body) ? body.value : undefined)
        const known = Exit.isSuccess(decoded) ? decoded.value.error : undefined
        const http = { response: { status, headers: { ...headers } } }
        if (known?.type === "insufficient_quota") return Effect.fail(failing(new AiError.QuotaExhaustedError({ http })))
        if (status === 429) {
          const seconds = Number(headers["retry-after"])
          const retryAfter = seconds > 0 ? { retryAfter: Duration.seconds(seconds) } : {}
          return Effect.fail(failing(new AiError.RateLimitError({ ...retryAfter, http })))
        }
        return Effect.fail(
          failing(AiError.reasonFromHttpStatus({ status, http, ...(known && { description: known.message }) }))
        )
      })
    default:
      return Effect.fail(failing(new AiError.InvalidOutputError({ description: "Failed to decode response" })))
  }
}

const usage = { inputTokens: { total: 3 }, outputTokens: { total: 5 } } as Response.FinishPartEncoded["usage"]
const reasonOf = (stop: unknown): Response.FinishReason => (stop === "refusal" ? "content-filter" : "stop")

const partsOf = (event: Event): ReadonlyArray<Response.StreamPartEncoded> => {
  const { delta, type } = event as { readonly type: string; readonly delta?: { readonly [name: string]: unknown } }
  switch (type) {
    case "message_start":
      return [
        {
          type: "response-metadata",
          id: "msg_1",
          modelId: undefined,
          timestamp: undefined,
          request: undefined
        } as never
      ]
    case "content_block_start":
      return [{ type: "text-start", id: "0" }]
    case "content_block_delta":
      return [{ type: "text-delta", id: "0", delta: String(delta?.["text"]) }]
    case "content_block_stop":
      return [{ type: "text-end", id: "0" }]
    case "message_delta":
      return [{ type: "finish", reason: reasonOf(delta?.["stop_reason"]), usage } as never]
    case "error":
      return [{ type: "error", error: event["error"] }]
    default:
      return []
  }
}

/** A model of this API: its provider is "messages". */
export const messagesModel = (origin: string, model: string, provider = "messages") =>
  Model.make(
    provider,
    model,
    Layer.effect(
      LanguageModel.LanguageModel,
      Effect.flatMap(HttpClient.HttpClient, (client) => {
        const post = (stream: boolean) =>
          Effect.catch(
            HttpClient.filterStatusOk(client).execute(
              HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(`${origin}/v1/messages`), { model, stream })
            ),
            toAiError
          )
        return LanguageModel.make({
          generateText: () =>
            Effect.flatMap(post(false), (response) =>
              Effect.map(Effect.catch(response.json, toAiError), (json) => {
                const { content, stop_reason } = json as {
                  readonly content: ReadonlyArray<{ readonly text: string }>
                  readonly stop_reason: string
                }
                return [
                  ...content.map(({ text }) => ({ type: "text" as const, text })),
                  { type: "finish", reason: reasonOf(stop_reason), usage } as never
                ]
              })
            ),
          streamText: () =>
            Stream.unwrap(Effect.map(post(true), (response) => response.stream)).pipe(
              Stream.catchIf(
                (error): error is HttpClientError.HttpClientError => !AiError.isAiError(error),
                (error) => Stream.fromEffect(toAiError(error))
              ),
              Stream.decodeText(),
              Stream.pipeThroughChannel(Sse.decode()),
              Stream.map((event) => partsOf(JSON.parse(event.data) as Event)),
              Stream.flattenIterable,
              Stream.mapError((error) =>
                AiError.isAiError(error)
                  ? error
                  : failing(new AiError.InvalidOutputError({ description: "Failed to decode the stream" }))
              )
            )
        })
      })
    )
  ).pipe(Layer.provide(FetchHttpClient.layer))

export const embeddings = (
  embedMany: (inputs: ReadonlyArray<string>) => Effect.Effect<Array<Array<number>>, AiError.AiError>,
  inputTokens?: number
) =>
  Layer.effect(
    EmbeddingModel.EmbeddingModel,
    EmbeddingModel.make({
      embedMany: ({ inputs }) => Effect.map(embedMany(inputs), (results) => ({ results, usage: { inputTokens } }))
    })
  )
