import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, type Scope } from "effect"

export interface Sent {
  /** `GetItem`, `UpdateItem` and so on. */
  readonly kind: string
  readonly input: string
}

export interface Refusal {
  readonly error: string
  readonly message: string
}

/**
 * Decides about a request. "pass" forwards the request. "throttle" and a `Refusal` refuse it. "lose the answer" forwards it, and answers with a
 * server error. After a promise, the proxy forwards the request, even if the sender has closed the connection.
 */
export type Fate = Refusal | "pass" | "throttle" | "lose the answer" | Promise<unknown>

/** This proxy for DynamoDB records requests, and can throttle or delay them. */
export interface DynamoProxy {
  readonly url: string
  /** Lists all forwarded requests. `answer` comes from DynamoDB. */
  readonly passed: Array<Sent & { readonly status: number; readonly answer: string }>
  decide: (sent: Sent) => Fate
}

const throttled = JSON.stringify({
  __type: "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
  message: "The level of configured provisioned throughput for the table was exceeded"
})

export const dynamoProxy = (server: string): Effect.Effect<DynamoProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const proxy = { url: "", passed: [] as DynamoProxy["passed"], decide: (): Fate => "pass" } as DynamoProxy
    const handle = async (request: IncomingMessage, response: ServerResponse) => {
      const parts: Array<Buffer> = []
      for await (const part of request) parts.push(part)
      const input = Buffer.concat(parts).toString()
      const kind = String(request.headers["x-amz-target"]).split(".")[1] ?? ""
      const fate = proxy.decide({ kind, input })
      const type = { "content-type": "application/x-amz-json-1.0" }
      if (fate === "throttle") {
        response.writeHead(400, type).end(throttled)
        return
      }
      if (typeof fate === "object" && "error" in fate) {
        response.writeHead(400, type).end(JSON.stringify({ __type: fate.error, message: fate.message }))
        return
      }
      if (typeof fate !== "string") await fate
      const { connection: _, host: __, "content-length": ___, ...headers } = request.headers
      const answer = await fetch(server, { method: "POST", headers: headers as Record<string, string>, body: input })
      const text = await answer.text()
      const date = answer.headers.get("date")
      proxy.passed.push({ kind, input, status: answer.status, answer: text })
      if (fate === "lose the answer") {
        response.writeHead(500, type).end(JSON.stringify({ __type: "InternalServerError" }))
        return
      }
      if (response.writable) response.writeHead(answer.status, { ...type, ...(date && { date }) }).end(text)
    }
    const http = createServer((request, response) => {
      handle(request, response).catch(() => response.destroy())
    })
    yield* Effect.promise(() => new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve)))
    yield* Effect.addFinalizer(() =>
      Effect.promise(() => {
        http.closeAllConnections()
        return new Promise<void>((resolve) => http.close(() => resolve()))
      })
    )
    return Object.assign(proxy, { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}` })
  })
