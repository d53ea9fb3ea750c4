/**
 * Sends the page to all viewers. One fiber reads for all of them. A viewer first receives the whole view. Then all viewers receive the same
 * changes.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import type { Scope } from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { foreignMessage } from "../core/foreign.ts"
import type { StoreError } from "../store/SharedStore.ts"
import { Board, sampleMillis } from "./board.ts"
import type { CircuitsRead, Reader } from "./reader.ts"
import { bounded } from "./texts.ts"
import type { Change, MoreMessage, RightsView } from "./view.ts"

const readMillis = 1_000
const readsPerSample = sampleMillis / readMillis

/** The server sends a message at least this often. If a viewer gets no message for a longer time, the viewer has lost the server. */
const silentMillis = 5_000

/** A viewer that is this many messages behind is dropped. Its browser connects again. */
const mostWaiting = 64

/** The feed keeps this many messages. If a viewer has missed more messages, the viewer receives the whole view when it reconnects. */
const mostKept = 120

const mostViewers = 500

/** How long the feed keeps reading after the last viewer has left. */
const idleMillis = 120_000

interface Viewer {
  readonly queue: Queue.Queue<Uint8Array>
  readonly rights: RightsView
}

interface FeedRead {
  readonly change: Change
  readonly circuits: CircuitsRead["circuits"] | undefined
}

interface Frame {
  readonly seq: number
  readonly bytes: Uint8Array
}

export interface Feed {
  readonly board: Board
  readonly digests: Reader["digests"]
  /**
   * Returns all further messages for a viewer, or `undefined` if there are too many viewers. `lastEventId` is the id of the last message
   * that the viewer has received.
   */
  readonly join: (
    rights: RightsView,
    lastEventId: string | undefined
  ) => Effect.Effect<Stream.Stream<Uint8Array> | undefined>
  /** Reads now, for example after an action. Starts the feed if it does not run. */
  readonly refresh: Effect.Effect<void>
  readonly viewers: () => number
}

const encoder = new TextEncoder()

const message = (event: "view" | "more" | "change", data: string, id: string | undefined): string =>
  `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\nretry: 1000\ndata: ${data}\n\n`

const circuitsPerMessage = 150

/** Whether a change must be sent now. */
const isNews = ({ circuits, gone, sample, transitions }: Change): boolean =>
  circuits.length > 0 || gone.length > 0 || transitions.length > 0 || sample !== undefined

export interface FeedOptions {
  /** Whether to read while there is no viewer. */
  readonly always: boolean
  /** Runs before a change is sent. `circuits` contains all circuits with a record. If the read failed, `circuits` is `undefined`. */
  readonly onChange?:
    | ((change: Change, circuits: CircuitsRead["circuits"] | undefined) => Effect.Effect<void>)
    | undefined
}

export const makeFeed = (reader: Reader, { always, onChange }: FeedOptions): Effect.Effect<Feed, never, Scope> =>
  Effect.gen(function* () {
    const board = new Board(reader.kind, reader.label)
    const viewers = new Set<Viewer>()
    const life = Math.floor((yield* Random.next) * 36 ** 8).toString(36)
    const one = Semaphore.makeUnsafe(1)
    const fiber = yield* FiberHandle.make<void>()
    let seq = 0
    let kept: Array<Frame> = []
    let reads = 0
    let sentAt = -Infinity
    let watchedAt = -Infinity
    let sampled = false
    let problem: string | undefined
    /** The view of message `viewAt`, as JSON without its first brace. */
    let viewText = ""
    /** These messages contain the other circuits of that view. */
    let moreText = ""
    let viewAt = -1

    /**
     * Only the last message of a view has an id. If the connection breaks before this message, the browser receives the whole view again.
     */
    const viewFor = ({ rights }: Pick<Viewer, "rights">): Uint8Array => {
      const id = `${life}-${seq}`
      if (viewAt !== seq) {
        const { circuits, ...view } = board.view()
        const [first = [], ...others] = Arr.chunksOf(circuits, circuitsPerMessage)
        viewText = JSON.stringify({ ...view, rest: circuits.length - first.length, circuits: first }).slice(1)
        moreText = others
          .map((part, i) =>
            message(
              "more",
              JSON.stringify({ circuits: part } satisfies MoreMessage),
              i === others.length - 1 ? id : undefined
            )
          )
          .join("")
        viewAt = seq
      }
      const text = `{"rights":${JSON.stringify(rights)},${viewText}`
      return encoder.encode(message("view", text, moreText === "" ? id : undefined) + moreText)
    }

    const send = (viewer: Viewer, bytes: Uint8Array) => {
      if (Queue.offerUnsafe(viewer.queue, bytes)) return
      viewers.delete(viewer)
      Queue.shutdownUnsafe(viewer.queue)
    }

    const broadcast = (at: number, change: Change) => {
      seq++
      sentAt = at
      if (board.restarted) {
        kept = []
        for (const viewer of viewers) send(viewer, viewFor(viewer))
        return
      }
      const bytes = encoder.encode(message("change", JSON.stringify(change), `${life}-${seq}`))
      kept.push({ seq, bytes })
      if (kept.length > mostKept) kept.shift()
      for (const viewer of viewers) send(viewer, bytes)
    }

    const read: Effect.Effect<FeedRead, StoreError> = Effect.gen(function* () {
      const circuits = yield* reader.circuits
      // The first read after a failure takes a sample.
      const names = reads % readsPerSample === 0 || !sampled ? yield* reader.names : undefined
      if (names !== undefined) sampled = true
      reads++
      return { change: board.take(yield* Clock.currentTimeMillis, circuits, names), circuits: circuits.circuits }
    })

    const turn: Effect.Effect<void> = one.withPermit(
      Effect.gen(function* () {
        const { change, circuits } = yield* Effect.catch(read, (error) =>
          Effect.map(Clock.currentTimeMillis, (at): FeedRead => {
            sampled = false
            const change = board.fail(at, bounded(foreignMessage(error.cause)) ?? "the store failed")
            return { change, circuits: undefined }
          })
        )
        const at = board.at
        const now = change.source.problem?.message
        const news = isNews(change) || (now === undefined) !== (problem === undefined)
        problem = now
        if (news && onChange !== undefined) yield* onChange(change, circuits)
        if (news || at - sentAt >= silentMillis) broadcast(at, change)
      })
    )

    const loop: Effect.Effect<void> = Effect.suspend(() => {
      const at = board.at
      if (viewers.size > 0) watchedAt = at
      if (!always && at - watchedAt > idleMillis) return Effect.void
      return Effect.andThen(Effect.andThen(Effect.sleep(readMillis), turn), loop)
    })

    /** If the loop does not run, reads once and starts the loop. */
    const start: Effect.Effect<void> = Effect.gen(function* () {
      watchedAt = yield* Clock.currentTimeMillis
      if ((yield* FiberHandle.get(fiber))._tag === "Some") return
      yield* turn
      watchedAt = board.at
      yield* FiberHandle.run(fiber, loop, { onlyIfMissing: true })
    })
    if (always) yield* Effect.forkScoped(start)

    const missed = (lastEventId: string | undefined): ReadonlyArray<Frame> | undefined => {
      const [ofLife, last] = lastEventId?.split("-") ?? []
      if (ofLife !== life || last === undefined) return undefined
      const from = Number(last)
      const frames = kept.filter((one) => one.seq > from)
      return from <= seq && frames.length === seq - from ? frames : undefined
    }

    /** The messages for a viewer. The viewer counts only while the stream runs: a response to HEAD, or to a lost client, never runs it. */
    const stream = (viewer: Viewer, lastEventId: string | undefined): Stream.Stream<Uint8Array> => {
      const { queue } = viewer
      // One step takes the missed messages and adds the viewer, so no message is lost in between.
      const begin = missed(lastEventId)?.map(({ bytes }) => bytes) ?? [viewFor(viewer)]
      viewers.add(viewer)
      const leave = Effect.sync(() => {
        viewers.delete(viewer)
        Queue.shutdownUnsafe(queue)
      })
      return Stream.concat(Stream.fromIterable(begin), Stream.fromQueue(queue)).pipe(Stream.ensuring(leave))
    }

    return {
      board,
      digests: reader.digests,
      viewers: () => viewers.size,
      refresh: Effect.andThen(start, turn),
      join: (rights, lastEventId) =>
        Effect.gen(function* () {
          if (viewers.size >= mostViewers) return undefined
          yield* start
          return Stream.unwrap(
            Effect.map(Queue.dropping<Uint8Array>(mostWaiting), (queue) => stream({ queue, rights }, lastEventId))
          )
        })
    }
  })
