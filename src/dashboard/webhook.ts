/** Reports outages and overrides to a webhook, as the JSON that Slack and other services accept: `{ "text": "..." }`. */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import { remember } from "../core/remember.ts"
import { circuitId } from "../store/codec.ts"
import { isNotClosed } from "../store/known.ts"
import { duration } from "./duration.ts"
import type { FeedOptions } from "./feed.ts"
import { bounded } from "./texts.ts"
import type { TransitionView } from "./view.ts"

class NotSent extends Data.TaggedError("NotSent")<{ readonly message: string }> {}

/** One message contains all transitions within this time. */
const gatherMillis = 1_000

/** One message lists at most this many transitions. Its last line counts the other transitions. */
const mostLines = 10

/** Maximum number of transitions that wait for the webhook. Further transitions are dropped. */
const mostWaiting = 500

const timeoutMillis = 5_000

/** Three more attempts, after 1, 4 and 16 seconds. */
const retries = { schedule: Schedule.exponential("1 second", 4), times: 3 }

/** Slack reads these three characters as markup. */
const escaped = (text: string): string =>
  (bounded(text, 200) ?? "").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

const circuitText = ({ key, name }: Pick<TransitionView, "name" | "key">): string =>
  escaped(key === undefined ? name : `${name} [${key}]`)

/** The webhook remembers at most this many outages, and this many overrides. A new outage or override replaces the oldest. */
const mostRemembered = 10_000

/** Remembers outages and overrides, to report each of them once. */
export interface News {
  readonly of: (transitions: ReadonlyArray<TransitionView>) => ReadonlyArray<string>
  /** Forgets all circuits whose id is not in `notClosed`: a record may end without a transition. */
  readonly keep: (notClosed: ReadonlySet<string>) => void
  readonly size: () => number
}

/**
 * Selects the transitions that are news, and describes each in a line. The beginning and the end of an outage are news; its further
 * openings and its probes are not. Transitions before `since` are remembered, but not reported.
 */
export const makeNews = (since: number): News => {
  const down = new Map<string, number>()
  const forced = new Map<string, TransitionView["to"]>()
  const line = (one: TransitionView): string | undefined => {
    const id = circuitId(one.name, one.key)
    // A transition from Closed begins a new outage or override, even if the page did not see the end of the previous one.
    const isNew = one.from === "Closed"
    const why = one.why === undefined ? "" : `: ${escaped(one.why)}`
    const by = one.actor === undefined ? "" : ` by ${escaped(one.actor)}`
    if (one.to === "Isolated" || one.to === "Disabled") {
      if (!isNew && forced.get(id) === one.to) return undefined
      remember(forced, id, one.to, mostRemembered)
      return `${circuitText(one)} was ${one.to === "Isolated" ? "isolated" : "disabled"}${by}${why}`
    }
    const wasForced = forced.delete(id)
    if (one.to === "Closed") {
      const began = down.get(id)
      down.delete(id)
      if (began !== undefined) return `${circuitText(one)} is closed again after ${duration(one.at - began)}`
      return wasForced ? `${circuitText(one)} was released${by}` : undefined
    }
    if (!isNew && down.has(id))
      return wasForced ? `${circuitText(one)} was released${by}, and is still open` : undefined
    remember(down, id, one.at, mostRemembered)
    return `${circuitText(one)} is open${why}`
  }
  return {
    of: (transitions) =>
      transitions.flatMap((one) => {
        const text = line(one)
        return text === undefined || one.at < since ? [] : [text]
      }),
    keep: (notClosed) => {
      for (const among of [down, forced]) for (const id of among.keys()) if (!notClosed.has(id)) among.delete(id)
    },
    size: () => down.size + forced.size
  }
}

const messageOf = (lines: ReadonlyArray<string>): string =>
  lines.length <= mostLines
    ? lines.join("\n")
    : [...lines.slice(0, mostLines), `and ${lines.length - mostLines} more changes`].join("\n")

/** Sends the news to the URL. The URL is a secret, so errors do not contain it. */
export const makeWebhook = (
  url: Redacted.Redacted<string>
): Effect.Effect<NonNullable<FeedOptions["onChange"]>, never, Scope> =>
  Effect.gen(function* () {
    const queue = yield* Queue.dropping<string>(mostWaiting)
    const news = makeNews(yield* Clock.currentTimeMillis)
    const post = (text: string) =>
      Effect.tryPromise({
        try: (signal) =>
          fetch(Redacted.value(url), {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ text }),
            redirect: "error",
            signal
          }),
        catch: () => new NotSent({ message: "the webhook cannot be reached" })
      }).pipe(
        Effect.timeoutOrElse({
          duration: timeoutMillis,
          orElse: () => Effect.fail(new NotSent({ message: "the webhook did not answer" }))
        }),
        Effect.flatMap(({ ok, status }) =>
          ok ? Effect.void : Effect.fail(new NotSent({ message: `the webhook answered ${status}` }))
        )
      )
    const turn = Effect.gen(function* () {
      const first = yield* Queue.take(queue)
      yield* Effect.sleep(gatherMillis)
      const rest = yield* Queue.clear(queue)
      yield* Effect.retry(post(messageOf([first, ...rest])), retries)
    })
    const reported = Effect.catch(turn, ({ message }) => Effect.logWarning(`A notification was not sent: ${message}`))
    yield* Effect.forkScoped(Effect.forever(reported))
    return ({ sample, transitions }, circuits) =>
      Effect.sync(() => {
        for (const one of news.of(transitions)) Queue.offerUnsafe(queue, one)
        // A change without a sample skips this work: the memory may be a few seconds behind.
        if (circuits === undefined || sample === undefined || news.size() === 0) return
        news.keep(new Set(circuits.filter(isNotClosed).map(({ key, name }) => circuitId(name, key))))
      })
  })
