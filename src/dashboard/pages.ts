/** Answers the requests of the page: for files, events and the details of a circuit, and for operator actions. */
import * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Stream from "effect/Stream"
import type { Details } from "./details.ts"
import type { Feed } from "./feed.ts"
import { makeFiles } from "./files.ts"
import { linksFor } from "./links.ts"
import type { Link } from "./linkTemplate.ts"
import { type Act, checkedAction, NotDone } from "./operators.ts"
import { processesOf } from "./processes.ts"
import { isSameOrigin } from "./sameOrigin.ts"
import { bounded } from "./texts.ts"
import type { ActionResponse, CircuitDetail, TransitionView } from "./view.ts"

/** What a viewer may do. */
export interface Access {
  /** Whether the viewer may see the page. */
  readonly see: boolean
  /** Whether the viewer may change circuits. */
  readonly steer: boolean
  /** The name of the viewer as an operator, for overrides, events and the trail. */
  readonly actor?: string | undefined
}

export type PageRequest = HttpServerRequest.HttpServerRequest
type PageResponse = HttpServerResponse.HttpServerResponse

export interface PageOptions {
  readonly feed: Feed
  readonly act: Act
  readonly details: (name: string, key: string | undefined) => Effect.Effect<Details>
  readonly access: (request: PageRequest) => Effect.Effect<Access>
  readonly links: ReadonlyArray<Link>
}

const secured = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store"
}

const json = (body: unknown, status = 200): PageResponse =>
  HttpServerResponse.jsonUnsafe(body, { status, headers: secured })

const plain = (text: string, status: number): PageResponse =>
  HttpServerResponse.text(`${text}\n`, { status, headers: secured })

const notDone = (message: string, status: number): PageResponse =>
  json({ error: message } satisfies ActionResponse, status)

/** A request for an action may have a body of this many bytes. The body contains a name, a key, a reason and an actor. */
const longestBody = 16_384

/** How often the server checks the rights of a viewer. If the rights have changed, the stream ends and the browser connects again. */
const accessMillis = 30_000

/** Resets the browser's last event id. The next connection then begins with the whole view and the new rights. */
const withoutLastId = new TextEncoder().encode("id\n\n")

/** The trail and the page may give the same transition times that differ by this much. */
const sameMillis = 2_000

/** Adds earlier transitions from the trail to the transitions that the page saw. Transitions in both appear once. */
const withEarlier = (
  seen: ReadonlyArray<TransitionView>,
  trail: ReadonlyArray<TransitionView>
): ReadonlyArray<TransitionView> => {
  const first = seen[0]?.at ?? Infinity
  const isSeen = (one: TransitionView) =>
    seen.some(({ at, key, to }) => to === one.to && key === one.key && Math.abs(at - one.at) < sameMillis)
  return [...trail.filter((one) => one.at < first + sameMillis && !isSeen(one)), ...seen]
}

/** Answers a request. `path` is the part of its URL after the path of the page: `/`, `/api/events`, `/effect-fuse/...`. */
export const makePages = ({
  access,
  act,
  details,
  feed,
  links
}: PageOptions): ((request: PageRequest, path: string) => Effect.Effect<PageResponse>) => {
  const files = makeFiles()

  const file = (request: PageRequest, path: string): Effect.Effect<PageResponse> =>
    Effect.match(files, {
      onFailure: ({ message }) => plain(message, 500),
      onSuccess: (all) => {
        const found = all.get(path === "/" ? "index.html" : path.slice(1))
        if (found === undefined) return plain("Not found", 404)
        const zipped = /\bgzip\b/.test(request.headers["accept-encoding"] ?? "")
        return HttpServerResponse.uint8Array(zipped ? found.gzip : found.bytes, {
          contentType: found.type,
          headers: {
            ...secured,
            vary: "accept-encoding",
            ...(zipped ? { "content-encoding": "gzip" } : {}),
            ...(found.immutable ? { "cache-control": "private, max-age=31536000, immutable" } : {})
          }
        })
      }
    })

  const events = (request: PageRequest, { actor, steer }: Access): Effect.Effect<PageResponse> =>
    Effect.map(feed.join({ steer, actor: bounded(actor, 100) }, request.headers["last-event-id"]), (stream) => {
      if (stream === undefined) return plain("Too many viewers", 503)
      const lost = Effect.repeat(Effect.delay(access(request), accessMillis), {
        while: (now) => now.see && now.steer === steer
      })
      return HttpServerResponse.stream(Stream.concat(Stream.interruptWhen(stream, lost), Stream.make(withoutLastId)), {
        contentType: "text/event-stream; charset=utf-8",
        headers: { ...secured, "cache-control": "no-store, no-transform", "x-accel-buffering": "no" }
      })
    })

  const circuit = (request: PageRequest): Effect.Effect<PageResponse> =>
    Effect.suspend(() => {
      const query = new URLSearchParams(request.url.split("?")[1] ?? "")
      const found = feed.board.circuit(query.get("id") ?? "")
      if (found === undefined) return Effect.succeed(notDone("This circuit is not known.", 404))
      const { key, name } = found
      return Effect.map(details(name, key), (here) => {
        const { processes, reporting, ...fleet } = processesOf(feed.digests(), name, key)
        return json({
          circuit: found,
          transitions: withEarlier(feed.board.transitionsOf(name, key), here.transitions),
          failures: here.failures.length > 0 ? here.failures : fleet.failures,
          policy: here.policies > 0 ? here.policy : fleet.policy,
          policies: Math.max(here.policies, fleet.policies),
          processes,
          reporting,
          links: linksFor(links, name, key)
        } satisfies CircuitDetail)
      })
    })

  const action = (request: PageRequest, { actor }: Access): Effect.Effect<PageResponse> =>
    Effect.gen(function* () {
      if (!/^application\/json\b/.test(request.headers["content-type"] ?? "")) {
        return notDone("The request must have the content type application/json.", 415)
      }
      const length = request.headers["content-length"] ?? ""
      if (!/^\d+$/.test(length) || Number(length) > longestBody) return notDone("The request is too long.", 413)
      const body = yield* Effect.mapError(request.text, () => new NotDone({ message: "The request cannot be read." }))
      const asked = yield* checkedAction(body)
      if (!feed.board.has(asked.name)) {
        yield* feed.refresh
        if (!feed.board.has(asked.name)) return notDone("No process uses this name.", 404)
      }
      const state = yield* act({ ...asked, actor: bounded(actor, 100) ?? asked.actor })
      yield* feed.refresh
      return json({ state, processes: feed.board.processCount } satisfies ActionResponse)
    }).pipe(Effect.catchTag("NotDone", ({ message }) => Effect.succeed(notDone(message, 400))))

  return (request, path) =>
    Effect.gen(function* () {
      const { method } = request
      const rights = yield* access(request)
      if (!rights.see) return plain("You may not see this page.", 403)
      if (path === "/api/action") {
        if (method !== "POST") return plain("Use POST", 405)
        if (!rights.steer) return notDone("You may not change circuits.", 403)
        if (!isSameOrigin(request)) return notDone("The request does not come from this page.", 403)
        return yield* action(request, rights)
      }
      if (method !== "GET" && method !== "HEAD") return plain("Use GET", 405)
      if (path === "/api/events") return yield* events(request, rights)
      if (path === "/api/circuit") return yield* circuit(request)
      return yield* file(request, path)
    })
}
